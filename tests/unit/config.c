/* config.c - what a config.json says, and the unknown refused by name */
#include "config.h"

#include <unistd.h>

#include "t.h"

static char dir[] = "/tmp/sa-config.XXXXXX";

static void
put_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	if (CHECK(f)) {
		fputs(text, f);
		fclose(f);
	}
}

static void
forget(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	unlink(path);
}

/* Later members win in jansson, so that each test appends what it changes. */
#define BASE "\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":2048,\"num_hidden_layers\":16,\"num_attention_heads\":32,\"num_key_value_heads\":8," \
	"\"head_dim\":64,\"intermediate_size\":8192,\"vocab_size\":128256,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,\"rope_theta\":500000.0," \
	"\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"bos_token_id\":128000,\"eos_token_id\":[128001,128008,128009]"
#define LLAMA3 "{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}"

static int
reads(struct config *c, const char *json)
{
	struct err e = { "" };
	int rc;

	put_file("config.json", json);
	rc = config_read(c, dir, &e);
	if (rc < 0)
		printf("# %s\n", e.msg);
	return CHECK(rc == 0);
}

static void
refused(const char *json, const char *why)
{
	struct err e = { "" };
	struct config c;

	put_file("config.json", json);
	CHECK_INT(config_read(&c, dir, &e), -1);
	if (!CHECK(strstr(e.msg, "config.json: ") && strstr(e.msg, why)))
		printf("#   got %s\n#   want %s\n", e.msg, why);
}

static void
llama_3_2_1b_is_read_as_published(void)
{
	struct config c;

	if (!reads(&c, "{" BASE ",\"rope_scaling\":" LLAMA3 "}"))
		return;
	CHECK_STR(c.arch, "LlamaForCausalLM");
	CHECK_STR(c.dtype, "bfloat16");
	CHECK_INT(c.hidden, 2048);
	CHECK_INT(c.layers, 16);
	CHECK_INT(c.heads, 32);
	CHECK_INT(c.kv_heads, 8);
	CHECK_INT(c.head_dim, 64);
	CHECK_INT(c.ffn, 8192);
	CHECK_INT(c.vocab, 128256);
	CHECK_INT(c.max_pos, 131072);
	CHECK_NUM(c.eps, 1e-5, 1e-12);
	CHECK(c.tied && c.rope_llama3);
	CHECK_NUM(c.rope_factor, 32, 0);
	CHECK_INT(c.rope_old, 8192);
	CHECK_INT(c.bos, 128000);
	CHECK_INT(c.neos, 3);
	CHECK_INT(c.eos[2], 128009);
}

/* The test vector of the published checkpoint: index 15 is the first that the scaling changes. */
static void
llama3_scaling_gives_the_published_frequencies(void)
{
	static const double want[][2] = {
		{ 0, 1 }, { 15, 1.29054793e-3 }, { 16, 4.29556797e-4 }, { 17, 9.70828780e-5 }, { 18, 1.94616382e-5 }, { 31, 9.41830673e-8 },
	};
	float freq[32];
	struct config c;

	if (!reads(&c, "{" BASE ",\"rope_scaling\":" LLAMA3 "}"))
		return;
	config_inv_freq(&c, freq);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		CHECK_NUM(freq[(int)want[i][0]] / want[i][1], 1, 1e-6);
	c.rope_llama3 = false;
	config_inv_freq(&c, freq);
	CHECK_NUM(freq[16] / pow(500000, -0.5), 1, 1e-6);
}

/* What config.json says of the published checkpoints, as far as it is not the same for all; both spellings of the rope settings. */
static const struct {
	const char *json;
	int hidden, layers, heads, kv_heads, head_dim, ffn, vocab;
	double factor;		/* 0: not scaled */
	bool tied, qkv_bias, qk_norm;
} published[] = {
#define LLAMA "\"architectures\":[\"LlamaForCausalLM\"],\"rms_norm_eps\":1e-5,\"attention_bias\":false,\"mlp_bias\":false,\"vocab_size\":128256," \
	"\"rope_theta\":500000.0,"
#define SCALED(factor) "\"rope_scaling\":{\"factor\":" factor ",\"high_freq_factor\":4.0,\"low_freq_factor\":1.0," \
	"\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},"
#define WINDOW "\"rms_norm_eps\":1e-06,\"use_sliding_window\":false,\"sliding_window\":131072,\"max_window_layers\":28,"
#define QWEN2 "\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_act\":\"silu\",\"rope_theta\":1000000.0," WINDOW
#define QWEN3 "\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":false,\"head_dim\":128,\"rope_scaling\":null,\"rope_theta\":1000000," WINDOW \
	"\"vocab_size\":151936,"
#define TIED(t) "\"tie_word_embeddings\":" #t ","
#define SIZES(c, l, h, kv, f) "\"hidden_size\":" #c ",\"num_hidden_layers\":" #l ",\"num_attention_heads\":" #h ",\"num_key_value_heads\":" #kv \
	",\"intermediate_size\":" #f "}"
	/* Llama-3.2-1B, 3.2-3B, 3.1-8B, 3-8B */
	{ "{" LLAMA SCALED("32.0") "\"head_dim\":64," TIED(true) SIZES(2048, 16, 32, 8, 8192), 2048, 16, 32, 8, 64, 8192, 128256, 32, true, false, false },
	{ "{" LLAMA SCALED("32.0") "\"head_dim\":128," TIED(true) SIZES(3072, 28, 24, 8, 8192), 3072, 28, 24, 8, 128, 8192, 128256, 32, true, false, false },
	{ "{" LLAMA SCALED("8.0") TIED(false) SIZES(4096, 32, 32, 8, 14336), 4096, 32, 32, 8, 128, 14336, 128256, 8, false, false, false },
	{ "{" LLAMA "\"rope_scaling\":null," SIZES(4096, 32, 32, 8, 14336), 4096, 32, 32, 8, 128, 14336, 128256, 0, false, false, false },
	/* Qwen2.5-0.5B, 7B */
	{ "{" QWEN2 "\"vocab_size\":151936," TIED(true) SIZES(896, 24, 14, 2, 4864), 896, 24, 14, 2, 64, 4864, 151936, 0, true, true, false },
	{ "{" QWEN2 "\"vocab_size\":152064," TIED(false) SIZES(3584, 28, 28, 4, 18944), 3584, 28, 28, 4, 128, 18944, 152064, 0, false, true, false },
	/* Qwen3-0.6B, 8B */
	{ "{" QWEN3 TIED(true) SIZES(1024, 28, 16, 8, 3072), 1024, 28, 16, 8, 128, 3072, 151936, 0, true, false, true },
	{ "{" QWEN3 TIED(false) SIZES(4096, 36, 32, 8, 12288), 4096, 36, 32, 8, 128, 12288, 151936, 0, false, false, true },
};

static void
published_checkpoints_are_read_as_they_are(void)
{
	struct config c;

	for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
		int bad = t_bad;

		if (reads(&c, published[i].json)) {
			CHECK_INT(c.hidden, published[i].hidden);
			CHECK_INT(c.layers, published[i].layers);
			CHECK_INT(c.heads, published[i].heads);
			CHECK_INT(c.kv_heads, published[i].kv_heads);
			CHECK_INT(c.head_dim, published[i].head_dim);
			CHECK_INT(c.ffn, published[i].ffn);
			CHECK_INT(c.vocab, published[i].vocab);
			CHECK_NUM(c.rope_factor, published[i].factor, 0);
			CHECK_NUM(c.rope_theta, strstr(c.arch, "Qwen") ? 1e6 : 5e5, 0);
			CHECK(c.rope_llama3 == (published[i].factor > 0) && c.tied == published[i].tied);
			CHECK(c.qkv_bias == published[i].qkv_bias && c.qk_norm == published[i].qk_norm);
		}
		if (t_bad > bad)
			printf("#   published[%zu]\n", i);
	}
}

static void
both_spellings_of_the_rope_settings_mean_the_same(void)
{
	struct config a, b;

	if (!reads(&a, "{" BASE ",\"rope_scaling\":" LLAMA3 "}") ||
	    !reads(&b, "{" BASE ",\"rope_theta\":null,\"rope_parameters\":{\"rope_theta\":500000.0,\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
		   "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}"))
		return;
	CHECK(a.rope_theta == b.rope_theta && a.rope_llama3 == b.rope_llama3 && a.rope_factor == b.rope_factor && a.rope_low == b.rope_low &&
	      a.rope_high == b.rope_high && a.rope_old == b.rope_old);
	if (reads(&b, "{" BASE ",\"rope_scaling\":null}"))
		CHECK(!b.rope_llama3);
	if (reads(&b, "{" BASE ",\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":\"default\"}}"))
		CHECK(!b.rope_llama3 && b.rope_theta == 10000);
	if (reads(&b, "{" BASE ",\"rope_scaling\":{\"rope_theta\":1000000,\"rope_type\":\"default\",\"partial_rotary_factor\":1.0}}"))
		CHECK(!b.rope_llama3 && b.rope_theta == 1000000);
	if (reads(&b, "{" BASE ",\"rope_scaling\":{\"type\":\"default\"}}"))
		CHECK(!b.rope_llama3 && b.rope_theta == 500000);
}

static void
absent_members_have_the_defaults_of_transformers(void)
{
	struct config c;

	if (!reads(&c, "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":96,\"num_hidden_layers\":1,\"num_attention_heads\":4,\"intermediate_size\":8,\"vocab_size\":10}"))
		return;
	CHECK_INT(c.kv_heads, 4);
	CHECK_INT(c.head_dim, 24);
	CHECK_INT(c.max_pos, 2048);
	CHECK_NUM(c.eps, 1e-6, 1e-12);
	CHECK_NUM(c.rope_theta, 10000, 0);
	CHECK_NUM(c.init_range, 0.02, 1e-8);
	CHECK(!c.tied);
	CHECK_INT(c.bos, -1);
	CHECK_INT(c.neos, 0);
	CHECK_STR(c.dtype, "");
}

static void
absent_members_have_the_defaults_of_their_family(void)
{
	struct config c;

	if (reads(&c, "{\"architectures\":[\"Qwen3ForCausalLM\"],\"hidden_size\":96,\"num_hidden_layers\":1,\"num_attention_heads\":64,\"intermediate_size\":8,\"vocab_size\":10}")) {
		CHECK_INT(c.kv_heads, 32);
		CHECK_INT(c.head_dim, 128);
		CHECK_INT(c.max_pos, 32768);
	}
	if (reads(&c, "{\"architectures\":[\"Qwen2ForCausalLM\"],\"attention_bias\":true,\"hidden_size\":96,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
		  "\"num_key_value_heads\":1,\"intermediate_size\":8,\"vocab_size\":10}"))
		CHECK_INT(c.head_dim, 24);
}

static void
generation_config_comes_first_among_the_ends(void)
{
	struct config c;
	struct err e;

	put_file("generation_config.json", "{\"eos_token_id\":[9,128001,900000,-1]}");
	if (reads(&c, "{" BASE "}")) {
		CHECK_INT(c.neos, 4);
		CHECK_INT(c.eos[0], 9);
		CHECK_INT(c.eos[1], 128001);
		CHECK_INT(c.eos[2], 128008);
		CHECK_INT(c.eos[3], 128009);
	}
	put_file("generation_config.json", "{\"eos_token_id\":");
	CHECK_INT(config_read(&c, dir, &e), -1);
	CHECK(strstr(e.msg, "generation_config.json: line 1"));
	forget("generation_config.json");
	if (reads(&c, "{" BASE ",\"eos_token_id\":7}"))
		CHECK(c.neos == 1 && c.eos[0] == 7);
	if (reads(&c, "{" BASE ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11]}"))
		CHECK_INT(c.neos, CONFIG_MAX_EOS);
}

static void
what_is_not_known_is_refused_by_name(void)
{
	refused("{" BASE ",\"architectures\":[\"MambaForCausalLM\"]}", "architecture \"MambaForCausalLM\" is not supported");
	refused("{" BASE ",\"architectures\":[]}", "architecture \"\" is not supported");
	refused("{" BASE ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", "quantization_config: quantised checkpoints (gptq) are not supported");
	refused("{" BASE ",\"quantization_config\":{}}", "quantization_config: quantised checkpoints are not supported");
	refused("{" BASE ",\"hidden_act\":\"gelu\"}", "hidden_act \"gelu\"");
	refused("{" BASE ",\"hidden_act\":3}", "hidden_act");
	refused("{" BASE ",\"attention_bias\":true}", "attention_bias");
	refused("{" BASE ",\"mlp_bias\":true}", "mlp_bias is not supported");
	refused("{" BASE ",\"architectures\":[\"Qwen3MoeForCausalLM\"]}", "(LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM are)");
	refused("{" BASE ",\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":true}", "attention_bias is not supported");
	refused("{" BASE ",\"num_experts\":8}", "num_experts: mixtures of experts");
	refused("{" BASE ",\"num_local_experts\":8}", "num_local_experts: mixtures of experts");
	refused("{" BASE ",\"use_sliding_window\":true}", "use_sliding_window is not supported");
	refused("{" BASE ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "layer_types[1] is not supported");
	refused("{" BASE ",\"partial_rotary_factor\":0.5}", "partial_rotary_factor 0.5 is not supported");
	refused("{" BASE ",\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.25}}", "rope_parameters: partial_rotary_factor 0.25");
	refused("{" BASE ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}", "rope_parameters: settings for full_attention alone");
	refused("{" BASE ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}}", "rope type \"yarn\"");
	refused("{" BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", "rope type \"linear\"");
	refused("{" BASE ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", "rope type \"dynamic\"");
	refused("{" BASE ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]}}", "rope type \"longrope\"");
	refused("{" BASE ",\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[16,24,24]}}", "rope type \"mrope\"");
	refused("{" BASE ",\"rope_scaling\":{\"factor\":2}}", "rope type \"\"");
}

/* Of what people have on their disks: decoders that look much the same and are not. */
static void
every_other_architecture_is_refused_by_name(void)
{
	static const char *const others[] = {
		"MistralForCausalLM", "MixtralForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Phi3ForCausalLM", "PhiForCausalLM",
		"GPT2LMHeadModel", "GPTNeoXForCausalLM", "FalconForCausalLM", "BloomForCausalLM", "OPTForCausalLM", "OlmoForCausalLM", "Olmo2ForCausalLM",
		"GraniteForCausalLM", "CohereForCausalLM", "StableLmForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "GlmForCausalLM",
		"ChatGLMModel", "BaichuanForCausalLM", "InternLM2ForCausalLM", "MiniCPMForCausalLM", "SmolLM3ForCausalLM", "GptOssForCausalLM",
		"Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM", "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration",
		"Llama4ForConditionalGeneration", "MllamaForConditionalGeneration", "LlamaForSequenceClassification", "LlamaModel", "T5ForConditionalGeneration",
	};
	char json[1024], why[128];

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		snprintf(json, sizeof json, "{" BASE ",\"architectures\":[\"%s\"]}", others[i]);
		snprintf(why, sizeof why, "architecture \"%s\" is not supported (LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM are)", others[i]);
		refused(json, why);
	}
}

static void
sizes_out_of_range_are_refused_by_name(void)
{
	refused("{" BASE ",\"hidden_size\":0}", "hidden_size must be an integer in 1..");
	refused("{" BASE ",\"hidden_size\":-4}", "hidden_size");
	refused("{" BASE ",\"hidden_size\":null}", "no hidden_size");
	refused("{" BASE ",\"hidden_size\":\"64\"}", "hidden_size must be an integer");
	refused("{" BASE ",\"vocab_size\":99999999999}", "vocab_size");
	refused("{" BASE ",\"num_key_value_heads\":5}", "num_attention_heads (32) is not a multiple of num_key_value_heads (5)");
	refused("{" BASE ",\"head_dim\":63}", "head_dim (63) must be even");
	refused("{" BASE ",\"hidden_size\":16777216,\"intermediate_size\":16777216}", "more parameters");
	refused("{" BASE ",\"rms_norm_eps\":0}", "rms_norm_eps must be a number above 0");
	refused("{" BASE ",\"initializer_range\":1e39}", "initializer_range must be a number above 0");	/* no float */
	refused("{" BASE ",\"rope_theta\":\"x\"}", "rope_theta must be a number");
	refused("{" BASE ",\"tie_word_embeddings\":1}", "tie_word_embeddings must be true or false");
	refused("{" BASE ",\"rope_scaling\":7}", "rope_scaling must be an object");
	refused("{" BASE ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", "low_freq_factor must be a number");
	refused("{" BASE ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,\"original_max_position_embeddings\":8}}",
		"high_freq_factor must be above");
}

static void
what_is_no_config_is_refused(void)
{
	struct config c;
	struct err e;

	refused("", "line");
	refused("[]", "not a JSON object");
	refused("{", "line 1");
	forget("config.json");
	CHECK_INT(config_read(&c, dir, &e), -1);
	CHECK(strstr(e.msg, "config.json"));
	CHECK_INT(config_read_file(&c, "/nowhere.json", &e), -1);
	CHECK(strstr(e.msg, "/nowhere.json"));
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 1;
	RUN(llama_3_2_1b_is_read_as_published);
	RUN(llama3_scaling_gives_the_published_frequencies);
	RUN(published_checkpoints_are_read_as_they_are);
	RUN(both_spellings_of_the_rope_settings_mean_the_same);
	RUN(absent_members_have_the_defaults_of_transformers);
	RUN(absent_members_have_the_defaults_of_their_family);
	RUN(generation_config_comes_first_among_the_ends);
	RUN(what_is_not_known_is_refused_by_name);
	RUN(every_other_architecture_is_refused_by_name);
	RUN(sizes_out_of_range_are_refused_by_name);
	RUN(what_is_no_config_is_refused);
	forget("config.json");
	rmdir(dir);
	return t_done();
}
