/* pitfalls.c - the ten ways in which fine-tuning goes wrong without a word, one test each: those that can be seen inside the trainer. (What takes a whole
 * run, killed and resumed, is in tests/pitfalls.bats.) */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data.h"
#include "files.h"
#include "golden.h"
#include "optim.h"
#include "run.h"
#include "schedule.h"

#define TINY "tests/goldens/train/tiny"
#define DATA "tests/goldens/train/data.jsonl"

static char dir[] = "/tmp/sa-pitfalls.XXXXXX", out[64], file[64];
static struct err e;

/* ---- what tests share ---- */

static double
norm_of(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	return sqrt(sum);
}

/* Direction and length, never a bare distance. */
static void
check_same_direction(const char *what, const float *got, const float *want, size_t n, double cosine, double ratio)
{
	double dot = 0, a = norm_of(got, n), b = norm_of(want, n);

	for (size_t i = 0; i < n; i++)
		dot += (double)got[i] * want[i];
	if (!CHECK(dot / (a * b) >= cosine && fabs(a / b - 1) <= ratio))
		printf("#   %s: cosine %.9f, norm ratio %.9f\n", what, dot / (a * b), a / b);
}

static uint64_t seed;

/* Uniform in -1..1. */
static double
uniform(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (double)(seed >> 11) / (double)(1ull << 52) - 1;
}

static float
normal(double sd)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += uniform();
	return (float)(sd * sum / 2);
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!CHECK(f))
		return;
	fputs(text, f);
	fclose(f);
}

/* ---- 1 ---- */

static const char *const data_files[] = { DATA, DATA };

static struct settings
settings_of(int batch, int accum, bool pack, int loss_norm)
{
	return (struct settings){ .model = TINY, .init = TINY "/config.json", .out = out, .data = { (const char **)data_files, 2 }, .batch = batch, .accum = accum,
				  .pack = pack, .loss_norm = loss_norm, .cutoff = 256, .seed = 7, .threads = 1, .epochs = 1, .max_samples = 25, .max_steps = 1,
				  .schedule = SCHEDULE_CONSTANT, .lr = 1, .eps = 1 };
}

/* What one step does to the weights. Without moments and with an eps of 1 AdamW's step is g / (|g| + 1): the gradient itself, nearly. */
static float *
moved(int batch, int accum, bool pack, int loss_norm, size_t *n)
{
	struct settings set = settings_of(batch, accum, pack, loss_norm);
	struct model *first, *m;
	float *by = NULL;
	int sig;

	dir_remove(out);
	if (!CHECK_INT(train(&set, &sig), 0))
		return NULL;
	m = load(out, &ops_cpu);
	first = model_new(&m->c, 7, &ops_cpu, mach);
	*n = m->w.n;
	by = malloc(*n * sizeof *by);
	for (size_t i = 0; i < *n; i++)
		by[i] = first->w.all[i] - m->w.all[i];
	model_free(first);
	model_free(m);
	return by;
}

static void
pitfall_1_accumulation_changes_no_gradient(void)
{
	static const struct { int batch, accum; bool pack; } shapes[] = { { 1, 50, false }, { 50, 1, false }, { 5, 10, false }, { 1, 50, true }, { 50, 1, true }, { 3, 7, true } };
	float *first[2];
	size_t n = 0;

	for (int norm = LOSS_TOKEN; norm <= LOSS_SAMPLE; norm++) {
		first[norm] = moved(1, 50, false, norm, &n);
		for (size_t i = 1; first[norm] && i < sizeof shapes / sizeof *shapes; i++) {
			float *other = moved(shapes[i].batch, shapes[i].accum, shapes[i].pack, norm, &n);

			if (other)
				check_same_direction(norm == LOSS_TOKEN ? "token" : "sample", other, first[norm], n, 0.9999999, 1e-6);
			free(other);
		}
	}
	if (first[0] && first[1]) {	/* the two are not the same thing */
		double apart = 0;

		for (size_t i = 0; i < n; i++)
			apart += pow(first[0][i] - first[1][i], 2);
		CHECK(sqrt(apart) > 0.05 * norm_of(first[0], n));	/* (that each is what it is said to be: tests/pitfalls.bats) */
	}
	free(first[0]);
	free(first[1]);
}

/* ---- 2, 3, 4: what a sample is ---- */

static struct tok *tok;

/* The samples of `text`, read with this tokenizer, template (NULL: detected) and cutoff. */
static struct samples
sampled(const char *text, const struct tok *t, const char *template, int cutoff)
{
	struct samples s = { 0 };
	struct sampler how;
	uint64_t hash = 0;

	sampler_init(&how, t, TINY, -1);
	how.template_name = template;
	how.vocab = tok_size(t);
	how.cutoff = cutoff;
	write_text(file, text);
	if (!CHECK_INT(data_read(&s, &how, file, 0, &hash, &e), 0))
		printf("#   %s\n", e.msg);
	sampler_free(&how);
	return s;
}

/* How many tokens of a sample are prompt, up to the first supervised one. */
static int
prompt_of(const struct samples *s, size_t i)
{
	int n = 1;

	while (n < s->v[i].n && s->target[s->v[i].at + (size_t)n - 1] < 0)
		n++;
	return n;
}

/* A record whose prompt and reply are p and r tokens long, headers and end included. */
static void
put_sized(FILE *f, int p, int r)
{
	fprintf(f, "{\"prompt\":\"");
	for (int i = 0; i < p; i++)
		fputc('Q', f);
	fprintf(f, "\",\"response\":\"");
	for (int i = 0; i < r; i++)
		fputc('Q', f);
	fprintf(f, "\"}\n");
}

/* infer_seqlen(prompt, reply, 32) of LLaMA-Factory's src/llamafactory/data/processor/processor_utils.py */
static void
pitfall_2_cut_and_masked_samples_are_counted_and_never_silent(void)
{
	static const struct { int p, r, want_p, want_r; } cuts[] = {
		{ 40, 10, 22, 10 }, { 14, 40, 14, 18 }, { 30, 30, 16, 16 }, { 40, 3, 29, 3 }, { 60, 20, 24, 8 }, { 15, 40, 15, 17 }, { 100, 2, 30, 2 },
	};
	struct samples s = sampled("{\"prompt\":\"\",\"response\":\"\"}\n", tok, NULL, 256);
	int header = prompt_of(&s, 0), n = (int)(sizeof cuts / sizeof *cuts);
	char text[4096];
	FILE *f = fmemopen(text, sizeof text, "w");

	CHECK_INT(s.v[0].n, header + 1);
	samples_free(&s);
	for (int i = 0; i < n; i++)
		put_sized(f, cuts[i].p - header, cuts[i].r - 1);
	fputs("{\"messages\":[{\"role\":\"user\",\"content\":\"only a question\"}]}\n{\"text\":\"\"}\n", f);
	fclose(f);
	s = sampled(text, tok, NULL, 32);
	if (!CHECK_INT(s.n, n + 1))
		return;
	for (int i = 0; i < n; i++) {
		CHECK_INT(prompt_of(&s, (size_t)i), cuts[i].want_p);
		CHECK_INT(s.v[i].n - prompt_of(&s, (size_t)i), cuts[i].want_r);
	}
	CHECK_INT(s.dropped, 1);
	CHECK_INT(s.cut, n);
	CHECK_INT(s.cut_header, 5);
	CHECK_INT(s.cut_end, 4);
	samples_free(&s);
	s = sampled("{\"prompt\":\"QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ\",\"response\":\"\"}\n", tok, NULL, 8);
	CHECK_INT(s.n + s.dropped, 1);
	CHECK(s.n == 0 || s.v[0].supervised > 0);	/* a sample that is kept has a loss */
	samples_free(&s);
}

static int
count(const struct samples *s, size_t i, int id)
{
	int n = 0;

	for (int t = 0; t < s->v[i].n; t++)
		n += s->ids[s->v[i].at + (size_t)t] == id;
	return n;
}

/* (Byte for byte against transformers' templates: tests/unit/template.c.) There is no padding here, so that nothing can be taken for it. */
static void
pitfall_3_one_bos_the_end_supervised_and_special_strings_are_text(void)
{
	static const char text[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a <|eot_id|> <|begin_of_text|> b\"},{\"role\":\"assistant\",\"content\":\"c <|eot_id|>\"},"
		"{\"role\":\"user\",\"content\":\"d\"},{\"role\":\"assistant\",\"content\":\"e\"}]}\n{\"prompt\":\"x\",\"response\":\"y\"}\n";
	static const char *const templates[] = { NULL, "llama3", "llama3.2", "llamafactory" };
	int eot = tok_id(tok, "<|eot_id|>"), bos = tok_id(tok, "<|begin_of_text|>");

	for (size_t k = 0; k < sizeof templates / sizeof *templates; k++) {
		struct samples s = sampled(text, tok, templates[k], 256);
		bool system = templates[k] && strcmp(templates[k], "llama3.2") == 0;
		int ends = 0;

		if (!CHECK_INT(s.n, 2))
			return;
		for (size_t i = 0; i < 2; i++) {
			CHECK_INT(count(&s, i, bos), 1);
			CHECK_INT(s.ids[s.v[i].at], bos);
			CHECK_INT(count(&s, i, eot), (i == 0 ? 4 : 2) + system);
		}
		for (size_t t = 0; t < s.tokens; t++)
			ends += s.target[t] == eot;
		CHECK_INT(ends, 3);
		samples_free(&s);
	}
}

/* A sample's ids must be what serving sees and is to say: the prompt up to the assistant's header, then the reply's own tokens. */
static void
check_reply(const char *template, const struct tok *t, const char *reply, const char *escaped)
{
	struct render render = { .add_generation = true, .no_thinking = true, .date = "26 Jul 2024" };
	struct ids want = { 0 };
	enum template which;
	struct samples s;
	char text[200];
	bool same;

	if (!CHECK(template_by_name(template, &which, &e) == 0) ||
	    !CHECK(template_ids(t, which, (struct msg[]){ { "user", "hi" } }, 1, &render, &want, NULL, &e) == 0))
		return;
	tok_encode(t, reply, strlen(reply), false, &want);
	snprintf(text, sizeof text, "{\"prompt\":\"hi\",\"response\":\"%s\"}\n", escaped);
	s = sampled(text, t, template, 256);
	same = s.n == 1 && (size_t)s.v[0].n > want.n;
	for (size_t i = 0; same && i < want.n; i++)
		same = s.ids[i] == want.v[i];
	if (!CHECK(same && s.target[want.n - 1] >= 0))
		printf("#   template %s, reply \"%s\"\n", template, escaped);
	samples_free(&s);
	ids_free(&want);
}

/* The Qwen tokenizer with a token for two newlines, as the published one has, in the place of its last merge: encoded jointly, the newline of a header and one
 * that a reply begins with would be one token. */
static struct tok *
tok_with_newlines(void)
{
	json_t *root = json_load_file("tests/goldens/tokenizer-qwen/tokenizer.json", 0, NULL), *model = json_object_get(root, "model");
	json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
	const char *last = json_string_value(json_array_get(merges, json_array_size(merges) - 1));
	int half = (int)strcspn(last, " ");
	char merged[200], path[100];
	struct tok *t = NULL;

	snprintf(merged, sizeof merged, "%.*s%s", half, last, last + half + 1);
	if (CHECK(json_object_get(vocab, merged))) {
		json_object_set(vocab, "\u010a\u010a", json_object_get(vocab, merged));
		json_object_del(vocab, merged);
		json_array_set_new(merges, json_array_size(merges) - 1, json_string("\u010a \u010a"));
		snprintf(path, sizeof path, "%s/tokenizer.json", dir);
		CHECK_INT(json_dump_file(root, path, 0), 0);
		t = tok_load(dir, &e);
		unlink(path);
	}
	json_decref(root);
	return t;
}

static bool
has_text(const struct tok *t, const struct ids *ids, const char *text)
{
	for (size_t i = 0; i < ids->n; i++) {
		size_t n;
		const char *p = tok_bytes(t, ids->v[i], &n);

		if (n == strlen(text) && memcmp(p, text, n) == 0)
			return true;
	}
	return false;
}

static void
pitfall_4_a_reply_that_starts_with_white_space_is_trained_as_it_is_said(void)
{
	static const char *const replies[][2] = { { "hi", "hi" }, { " hi", " hi" }, { "\nhi", "\\nhi" }, { "\n\nhi", "\\n\\nhi" }, { "\n", "\\n" }, { "\t hi", "\\t hi" } };
	struct tok *qwen = tok_with_newlines();
	struct ids joint = { 0 };

	if (!CHECK(qwen))
		return;
	tok_encode(qwen, "assistant\n\nhi", 13, false, &joint);
	CHECK(has_text(qwen, &joint, "\n\n"));	/* or nothing would be tested */
	ids_free(&joint);

	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		check_reply("llamafactory", tok, replies[i][0], replies[i][1]);
		check_reply("chatml", qwen, replies[i][0], replies[i][1]);
		check_reply("qwen2.5", qwen, replies[i][0], replies[i][1]);
		if (replies[i][0][0] != '\n')	/* Qwen3's template takes newlines away */
			check_reply("qwen3", qwen, replies[i][0], replies[i][1]);
	}
	tok_free(qwen);
}

/* ---- 5 ---- */

static void
pitfall_5_a_pack_s_samples_do_not_see_each_other(void)
{
	enum { A = 61, B = 40, C = 75, T = A + B + C };
	struct config c = mid_config();
	struct model *m = model_new(&c, 5, &ops_cpu, mach);
	struct acts *a = acts_new(m, T, KEEP_ALL);
	int ids[T], pos[T], target[T], cu[4] = { 0, A, A + B, T };
	float loss[2][T];
	struct weights grad[2];

	for (int k = 0; k < 2; k++) {
		fill_ids(ids, T, c.vocab, 9);
		for (int t = 0; t < T; t++) {
			bool second = t >= A && t < A + B;

			pos[t] = t - (t < A ? 0 : second ? A : A + B);
			target[t] = second && t + 1 < A + B ? ids[t + 1] : -1;	/* B's gradient alone */
			loss[k][t] = 0;
		}
		if (k == 1) {	/* other neighbours on both sides */
			fill_ids(ids, A, c.vocab, 77);
			fill_ids(ids + A + B, C, c.vocab, 78);
		}
		weights_like(&grad[k], &c);
		model_train(m, a, &(struct batch){ T, ids, pos, target, cu, 3, NULL, loss[k] }, &grad[k], 0.01f);
	}
	CHECK(memcmp(loss[0], loss[1], sizeof loss[0]) == 0);
	CHECK(loss[0][A] > 0);
	CHECK(memcmp(grad[0].all, grad[1].all, grad[0].n * sizeof(float)) == 0);
	CHECK(norm_of(grad[0].all, grad[0].n) > 0);
	weights_free(&grad[0]);
	weights_free(&grad[1]);
	acts_free(a);
	model_free(m);
}

/* The same of what the trainer lays into a micro-batch: bounds, and positions that begin at 0 in each sample. */
static void
pitfall_5_positions_begin_at_0_in_each_sample_of_a_pack(void)
{
	struct settings set = settings_of(2, 4, true, LOSS_TOKEN);
	struct comm alone = { .size = 1, .local = 1 };
	struct batch b;
	struct run r;
	int k = 0;

	dir_remove(out);
	if (!CHECK_INT(run_setup(&r, &set, &alone, &e), 0)) {
		printf("#   %s\n", e.msg);
		return;
	}
	b = run_gather(&r, &r.data, run_order(&r, 0), 0, 2);
	CHECK(b.nseq > 2 && b.cu[0] == 0 && b.cu[b.nseq] == b.T);
	for (int t = 0; t < b.T; t++) {
		k += t == b.cu[k + 1];
		CHECK_INT(b.pos[t], t - b.cu[k]);
		if (t + 1 == b.cu[k + 1])
			CHECK_INT(b.target[t], -1);	/* no sample foretells the next one's first token */
	}
	run_free(&r);
}

/* ---- 6 ---- */

static float
to_bf16(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, 4);
	bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
	memcpy(&x, &bits, 4);
	return x;
}

/* AdamW in double precision, from the paper's formula. */
static void
adamw_double(double *w, double *m, double *v, const float *g, size_t n, double lr, long step)
{
	for (size_t i = 0; i < n; i++) {
		m[i] = 0.9 * m[i] + 0.1 * g[i];
		v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
		w[i] -= lr * (m[i] / (1 - pow(0.9, step))) / (sqrt(v[i] / (1 - pow(0.999, step))) + 1e-8);
	}
}

/* A thousand steps at the paper's rate on weights ~ N(0, 0.02): how far did they go beside the reference? bf16: weights are stored in 16 bits. */
static void
walk(bool bf16, double *cosine, double *ratio)
{
	enum { N = 2048, STEPS = 1000 };
	static float w[N], first[N], m[N], v[N], g[N], drift[N];
	static double W[N], M[N], V[N];
	double dot = 0, a = 0, b = 0;

	seed = 1;
	for (int i = 0; i < N; i++) {
		w[i] = first[i] = to_bf16(normal(0.02));	/* as a checkpoint of 16 bits has them */
		W[i] = first[i];
		m[i] = v[i] = 0;
		M[i] = V[i] = 0;
		drift[i] = normal(1e-3);
	}
	for (long step = 1; step <= STEPS; step++) {
		for (int i = 0; i < N; i++)
			g[i] = drift[i] + (float)(2e-3 * uniform());
		ops_cpu.adamw(mach, w, g, m, v, N, 1, 6e-7f, 0.9f, 0.999f, 1e-8f, 0, step);
		for (int i = 0; bf16 && i < N; i++)
			w[i] = to_bf16(w[i]);
		adamw_double(W, M, V, g, N, 6e-7, step);
	}
	for (int i = 0; i < N; i++) {
		double x = (double)w[i] - first[i], y = W[i] - first[i];

		dot += x * y;
		a += x * x;
		b += y * y;
	}
	*cosine = dot / sqrt(a * b);
	*ratio = sqrt(a / b);
}

static void
pitfall_6_at_a_rate_of_6e_7_the_weights_move_as_in_double_precision(void)
{
	double cosine, ratio;

	walk(false, &cosine, &ratio);
	CHECK_NUM(cosine, 1, 1e-6);
	CHECK_NUM(ratio, 1, 1e-3);
	walk(true, &cosine, &ratio);	/* what the master in 32 bits is there for */
	CHECK(cosine < 0.5 || ratio < 0.5);
	printf("#   weights of 16 bits: cosine %.3f, %.3f of the way\n", cosine, ratio);
}

/* ---- 7 ---- */

/* The norm of the gradient that a step uses, where its own is `norm`: without beta1 that is the first moment. */
static double
norm_used(double norm, double clip)
{
	struct config c = mid_config();
	struct model *m = model_new(&c, 5, &ops_cpu, mach);
	struct weights grad;
	struct optim o;
	double was, used;

	weights_like(&grad, &c);
	optim_init(&o, &(struct comm){ .size = 1 }, grad.n);
	o.beta1 = 0;
	o.clip = clip;
	seed = 3;
	for (size_t i = 0; i < grad.n; i++)
		grad.all[i] = (float)uniform();
	was = norm_of(grad.all, grad.n);
	for (size_t i = 0; i < grad.n; i++)
		grad.all[i] *= (float)(norm / was);
	was = optim_reduce(&o, m, &grad);
	CHECK_NUM(was, norm, 1e-5 * norm);
	optim_step(&o, m, &grad, was, 1e-3);
	used = norm_of(o.m, o.zero.own);
	optim_free(&o);
	weights_free(&grad);
	model_free(m);
	return used;
}

/* torch.nn.utils.clip_grad_norm_(p, 1.0) leaves 0.5, 0.999999 and 0.99999975; the rates are get_cosine_schedule_with_warmup's (tests/unit/schedule.c). */
static void
pitfall_7_clipping_and_the_first_rates_are_torch_s(void)
{
	struct schedule s = { SCHEDULE_COSINE, 6e-7, 12000, schedule_warmup(12000, 0.0005) };

	CHECK_NUM(norm_used(0.5, 1), 0.5, 1e-6);
	CHECK_NUM(norm_used(1, 1), 0.999999, 1e-6);
	CHECK_NUM(norm_used(4, 1), 0.99999975, 1e-6);
	CHECK_NUM(norm_used(4, 0), 4, 1e-5);
	CHECK_INT(s.warmup, 6);
	for (int k = 0; k <= 6; k++)
		CHECK_NUM(schedule_lr(&s, k), k * 1e-7, 1e-21);
	CHECK(schedule_lr(&s, 7) < 6e-7 && schedule_lr(&s, 11999) > 0);
}

/* ---- 9 ---- */

/* LlamaRotaryEmbedding of transformers 5.24: theta 500,000, head_dim 64, llama3 scaling with this factor from 8,192 positions on. */
static void
pitfall_9_the_rope_factor_is_the_configuration_s(void)
{
	static const struct { float factor; double at[5]; } want[] = {
		{ 32, { 1, 3.2114461e-3, 4.29556705e-4, 1.94616387e-5, 9.41830649e-8 } }, { 8, { 1, 3.2114461e-3, 5.24846022e-4, 7.78465546e-5, 3.7673226e-7 } },
		{ 0, { 1, 3.2114461e-3, 1.41421345e-3, 6.22772437e-4, 3.01385808e-6 } },
	};
	static const int index[] = { 0, 14, 16, 18, 31 };
	float freq[32];

	for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
		struct config c = { .head_dim = 64, .rope_theta = 500000, .rope_llama3 = want[k].factor > 0, .rope_factor = want[k].factor, .rope_low = 1, .rope_high = 4,
				    .rope_old = 8192 };

		config_inv_freq(&c, freq);
		for (size_t i = 0; i < 5; i++)
			CHECK_NUM(freq[index[i]] / want[k].at[i], 1, 1e-6);
	}
}

/* A sequence past 8,192 positions: training's losses are those of the serving pass, which tests/unit/families.c compares with transformers there. */
static void
pitfall_9_positions_past_8192_are_trained_as_they_are_served(void)
{
	enum { T = 8320, FROM = 8100 };
	struct config c = mid_config();
	struct model *m;
	struct acts *a;
	int *ids = malloc(T * sizeof *ids), *pos = malloc(T * sizeof *pos), *target = malloc(T * sizeof *target), cu[2] = { 0, T };
	float *loss = calloc(T, sizeof *loss), *logits;
	double most = 0;

	c.max_pos = 16384;
	c.layers = 1;
	c.rope_llama3 = true;
	c.rope_factor = 32;
	c.rope_low = 1;
	c.rope_high = 4;
	c.rope_old = 8192;
	m = model_new(&c, 3, &ops_cpu, mach);
	fill_ids(ids, T, c.vocab, 4);
	for (int t = 0; t < T; t++) {
		pos[t] = t;
		target[t] = t >= FROM && t + 1 < T ? ids[t + 1] : -1;
	}
	a = acts_new(m, T, KEEP_ALL);
	model_train(m, a, &(struct batch){ T, ids, pos, target, cu, 1, NULL, loss }, NULL, 1);
	logits = run(m, ids, T);
	for (int t = FROM; t + 1 < T; t++)
		most = fmax(most, fabs(surprise(logits + (size_t)t * c.vocab, c.vocab, ids[t + 1]) - loss[t]));
	CHECK_NUM(most, 0, 1e-4);
	acts_free(a);
	model_free(m);
	free(ids); free(pos); free(target); free(loss); free(logits);
}

/* Gradients of a model whose head is its embedding, and of one that has both apart, with the same numbers in them. */
static void
pitfall_9_a_tied_gradient_is_the_head_s_and_the_embedding_s(void)
{
	enum { T = 60 };
	struct config c = mid_config(), apart = c;
	struct model *tied = model_new(&c, 5, &ops_cpu, mach), *two;
	size_t n = (size_t)c.vocab * c.hidden;
	int ids[T], pos[T], target[T], cu[2] = { 0, T };
	struct weights g, h;
	struct acts *a;

	apart.tied = false;
	two = model_new(&apart, 5, &ops_cpu, mach);
	memcpy(two->w.all, tied->w.all, tied->w.n * sizeof(float));
	memcpy(two->w.head, tied->w.embed, n * sizeof(float));
	fill_ids(ids, T, c.vocab, 8);
	for (int t = 0; t < T; t++) {
		pos[t] = t;
		target[t] = t + 1 < T ? ids[t + 1] : -1;
	}
	weights_like(&g, &c);
	weights_like(&h, &apart);
	a = acts_new(tied, T, KEEP_ALL);
	model_train(tied, a, &(struct batch){ T, ids, pos, target, cu, 1, NULL, NULL }, &g, 0.1f);
	model_train(two, a, &(struct batch){ T, ids, pos, target, cu, 1, NULL, NULL }, &h, 0.1f);
	CHECK(norm_of(h.embed, n) > 0 && norm_of(h.head, n) > 0);
	for (size_t i = 0; i < n; i++)
		h.embed[i] += h.head[i];
	check_same_direction("embedding", g.embed, h.embed, n, 0.9999999, 1e-6);
	acts_free(a);
	weights_free(&g);
	weights_free(&h);
	model_free(two);
	model_free(tied);
}

static void
pitfall_9_qwen_s_biases_have_torch_s_gradient(void)
{
	check_gradients("tests/goldens/family/qwen2", "tests/goldens/family/qwen2/expect", &ops_cpu);
	check_gradients("tests/goldens/family/qwen2-tied", "tests/goldens/family/qwen2-tied/expect", &ops_cpu);
}

/* ---- 10 ---- */

/* A row of logits and what its loss and gradient are, in double precision. */
static void
check_row(float *row, int V, int target, float scale)
{
	double max = -INFINITY, sum = 0, loss;
	float *want = malloc((size_t)V * sizeof *want), one;

	for (int v = 0; v < V; v++)
		max = fmax(max, row[v]);
	for (int v = 0; v < V; v++)
		sum += exp(row[v] - max);
	for (int v = 0; v < V; v++)
		want[v] = (float)(scale * (exp(row[v] - max) / sum - (v == target)));
	loss = max + log(sum) - row[target];
	CHECK_NUM(ops_cpu.cross_entropy(mach, row, &one, &target, NULL, scale, 1, V), loss, 1e-6 * loss + 1e-6);
	CHECK(isfinite(one));
	if (norm_of(want, V) > 0)
		check_same_direction("a row", row, want, V, 0.9999999, 1e-5);
	free(want);
}

static void
pitfall_10_odd_vocabularies_large_logits_and_one_row(void)
{
	static const int sizes[] = { 1, 2, 7, 9, 4099, 128256, 128259 };

	seed = 11;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int scale = 1; scale <= 10000; scale *= 100) {
			float *row = malloc((size_t)sizes[s] * sizeof *row);

			for (int v = 0; v < sizes[s]; v++)
				row[v] = (float)(scale * uniform());
			check_row(row, sizes[s], sizes[s] - 1, 0.125f);
			free(row);
		}
}

/* 16,400 rows of 131,072 logits are past 2^31 of them. All but the last two rows are the same half MiB of memory, mapped again and again; what the op makes of
 * those means nothing, but the last must come out right, where an offset of 32 bits would not reach. */
static void
pitfall_10_rows_times_vocabulary_past_2_31(void)
{
	enum { V = 131072, T = 16400 };
	size_t row = V * sizeof(float), all = T * row;
	int fd = memfd_create("logits", MFD_CLOEXEC), *target = calloc(T, sizeof *target);
	float *x = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *last, *want, *loss = calloc(T, sizeof *loss);
	double sum = 0;

	if (!CHECK(fd >= 0 && ftruncate(fd, (off_t)row) == 0 && x != MAP_FAILED))
		return;
	for (size_t t = 0; t + 2 < T; t++)
		CHECK(mmap((char *)x + t * row, row, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
	last = x + (size_t)(T - 1) * V;
	want = malloc(row);
	seed = 12;
	for (int v = 0; v < V; v++) {
		last[v] = (float)(4 * uniform());
		sum += exp(last[v]);
	}
	target[T - 1] = V - 1;
	for (int v = 0; v < V; v++)
		want[v] = (float)(exp(last[v]) / sum - (v == V - 1));
	sum = log(sum) - last[V - 1];
	ops_cpu.cross_entropy(mach, x, loss, target, NULL, 1, T, V);
	CHECK_NUM(loss[T - 1], sum, 1e-5 * sum);
	check_same_direction("the last row", last, want, V, 0.9999999, 1e-5);
	munmap(x, all);
	close(fd);
	free(target); free(want); free(loss);
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 99;
	snprintf(out, sizeof out, "%s/out", dir);
	snprintf(file, sizeof file, "%s/data.jsonl", dir);
	mach = mach_new(2);
	tok = tok_load(TINY, &e);
	if (!tok)
		return 99;
	RUN(pitfall_1_accumulation_changes_no_gradient);
	RUN(pitfall_2_cut_and_masked_samples_are_counted_and_never_silent);
	RUN(pitfall_3_one_bos_the_end_supervised_and_special_strings_are_text);
	RUN(pitfall_4_a_reply_that_starts_with_white_space_is_trained_as_it_is_said);
	RUN(pitfall_5_a_pack_s_samples_do_not_see_each_other);
	RUN(pitfall_5_positions_begin_at_0_in_each_sample_of_a_pack);
	RUN(pitfall_6_at_a_rate_of_6e_7_the_weights_move_as_in_double_precision);
	RUN(pitfall_7_clipping_and_the_first_rates_are_torch_s);
	RUN(pitfall_9_the_rope_factor_is_the_configuration_s);
	RUN(pitfall_9_positions_past_8192_are_trained_as_they_are_served);
	RUN(pitfall_9_a_tied_gradient_is_the_head_s_and_the_embedding_s);
	RUN(pitfall_9_qwen_s_biases_have_torch_s_gradient);
	RUN(pitfall_10_odd_vocabularies_large_logits_and_one_row);
	RUN(pitfall_10_rows_times_vocabulary_past_2_31);
	tok_free(tok);
	mach_free(mach);
	dir_remove(out);
	unlink(file);
	rmdir(dir);
	return t_done();
}
