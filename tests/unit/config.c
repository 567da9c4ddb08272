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
	refused("{" BASE ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", "quantization_config");
	refused("{" BASE ",\"hidden_act\":\"gelu\"}", "hidden_act \"gelu\"");
	refused("{" BASE ",\"hidden_act\":3}", "hidden_act");
	refused("{" BASE ",\"attention_bias\":true}", "attention_bias");
	refused("{" BASE ",\"mlp_bias\":true}", "mlp_bias");
	refused("{" BASE ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}}", "rope type \"yarn\"");
	refused("{" BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", "rope type \"linear\"");
	refused("{" BASE ",\"rope_scaling\":{\"factor\":2}}", "rope type \"\"");
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
	RUN(both_spellings_of_the_rope_settings_mean_the_same);
	RUN(absent_members_have_the_defaults_of_transformers);
	RUN(generation_config_comes_first_among_the_ends);
	RUN(what_is_not_known_is_refused_by_name);
	RUN(sizes_out_of_range_are_refused_by_name);
	RUN(what_is_no_config_is_refused);
	forget("config.json");
	rmdir(dir);
	return t_done();
}
