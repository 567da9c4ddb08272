/* families.c - every architecture against transformers (goldens/make_families.py): logits, gradients, greedy continuations and long contexts; alone, in
 * a batch and in chunks; from floats and out of the mapped files, on every instruction set that is here */
#include "families.h"

#include <unistd.h>

#include "cpu/isa.h"
#include "golden.h"

#define FAMILY "tests/goldens/family/"
#define GREEDY 24
#define LONG 8448	/* past the 8,192 positions from which llama3's scaling is told */

static const char *const names[] = { "llama", "qwen2", "qwen2-tied", "qwen3" };

#define EACH(name) for (size_t at_ = 0; at_ < sizeof names / sizeof *names && ((name) = names[at_]); at_++)

static const char *
path(const char *name, const char *more)
{
	static char room[2][128];
	static int turn;

	turn = !turn;
	snprintf(room[turn], sizeof room[turn], FAMILY "%s%s", name, more);
	return room[turn];
}

static void
logits_equal_those_of_transformers(void)
{
	const char *name;

	EACH(name)
		check_logits(path(name, ""), path(name, "/expect"), &ops_cpu);
	check_logits(FAMILY "qwen2", FAMILY "qwen2/expect", &ops_plain);
	check_logits(FAMILY "qwen3", FAMILY "qwen3/expect", &ops_plain);
}

static struct model *
open_mapped(const char *name, enum weights_as as)
{
	struct err e = { "" };
	struct model *m = model_open(path(name, ""), as, mach, &e);

	if (!CHECK(m))
		printf("# %s\n", e.msg);
	return m;
}

static void
mapped_checkpoints_have_the_logits_of_transformers_on_every_instruction_set(void)
{
	enum isa was = isa_now();
	const char *name;

	for (enum isa i = 0; i < ISA_COUNT; i++) {
		int bad = t_bad;

		if (!isa_usable(i))
			continue;
		isa_use(i);
		EACH(name)
			check_model(open_mapped(name, WEIGHTS_F32), path(name, "/expect"));
		if (t_bad > bad)
			printf("#   SA_CPU=%s\n", isa_names[i]);
	}
	isa_use(was);
}

static void
gradients_equal_those_of_torch(void)
{
	const char *name;

	EACH(name)
		check_gradients(path(name, ""), path(name, "/expect"), &ops_cpu);
	check_gradients(FAMILY "qwen2", FAMILY "qwen2/expect", &ops_plain);
	check_gradients(FAMILY "qwen3", FAMILY "qwen3/expect", &ops_plain);
}

/* Call `check` with each family's model and golden. */
static void
each_model(void (*check)(struct model *m, const struct golden *g))
{
	const char *name;

	EACH(name) {
		struct model *m = load(path(name, ""), &ops_cpu);
		struct golden g;
		int bad = t_bad;

		if (m && golden_open(&g, path(name, "/expect"))) {
			check(m, &g);
			golden_close(&g);
		}
		if (t_bad > bad)
			printf("#   %s\n", name);
		model_free(m);
	}
}

static int
likeliest(const float *row, int V)
{
	int best = 0, v;

	for (v = 1; v < V; v++)
		if (row[v] > row[best])
			best = v;
	return best;
}

static void
continue_greedily(struct model *m, const struct tensor *prompt, const struct tensor *greedy)
{
	float *ask = floats(prompt), *want = floats(greedy), *logits = malloc(m->c.vocab * sizeof *logits);
	int n = prompt->count, ids[64], i, same = 0;
	struct kv_pool *pool = pool_for(m, n + GREEDY);
	struct kv *kv = kv_new(pool);
	struct err e;

	for (i = 0; i < n; i++)
		ids[i] = ask[i];
	for (i = 0; i < GREEDY; i++) {
		CHECK_INT(model_forward(m, &(struct chunk){ kv, ids, n, n - 1, logits }, 1, &e), 0);
		ids[0] = likeliest(logits, m->c.vocab);
		n = 1;
		same += ids[0] == (int)want[i];
	}
	CHECK_INT(same, GREEDY);
	kv_free(kv);
	kv_pool_free(pool);
	free(logits);
	free(want);
	free(ask);
}

static void
check_greedy(struct model *m, const struct golden *g)
{
	for (int i = 0; i < 3; i++)
		if (CHECK(numbered(g, "prompt", i) && numbered(g, "greedy", i)))
			continue_greedily(m, numbered(g, "prompt", i), numbered(g, "greedy", i));
}

static void
greedy_continuations_are_those_of_transformers(void)
{
	each_model(check_greedy);
}

/* All sequences of the golden in one call: the bits of each one alone, which other tests compare with transformers. */
static void
check_batch(struct model *m, const struct golden *g)
{
	int V = m->c.vocab, s, n[MAX_SEQS];
	float *logits = malloc((size_t)g->T * V * sizeof *logits), *alone;
	struct kv_pool *pool = pool_for(m, g->T + g->nseq * KV_PAGE);
	struct chunk c[MAX_SEQS];
	struct err e;

	for (s = 0; s < g->nseq; s++) {
		n[s] = g->cu[s + 1] - g->cu[s];
		c[s] = (struct chunk){ kv_new(pool), g->ids + g->cu[s], n[s], 0, logits + (size_t)g->cu[s] * V };
	}
	CHECK_INT(g->nseq, 8);
	CHECK_INT(model_forward(m, c, g->nseq, &e), 0);
	for (s = 0; s < g->nseq; s++) {
		alone = run(m, g->ids + g->cu[s], n[s]);
		CHECK(memcmp(alone, c[s].logits, (size_t)n[s] * V * sizeof *alone) == 0);
		free(alone);
		kv_free(c[s].kv);
	}
	kv_pool_free(pool);
	free(logits);
}

static void
a_batch_of_eight_has_the_bits_of_each_alone(void)
{
	each_model(check_batch);
}

/* With the products of the checkpoint's own dtype. */
static void
a_batch_of_eight_has_them_out_of_the_mapped_files_too(void)
{
	const char *name;

	EACH(name) {
		struct model *m = open_mapped(name, WEIGHTS_AUTO);
		struct golden g;

		if (m && golden_open(&g, path(name, "/expect"))) {
			check_batch(m, &g);
			golden_close(&g);
		}
		model_free(m);
	}
}

#define COMPANY 7

/* In chunks of odd sizes, among seven others that come with every chunk. */
static void
run_long(struct model *m, const int *ids, float *logits)
{
	static const int cuts[] = { 4001, 1, 777, 2048, 1, 1620 }, ncuts = sizeof cuts / sizeof *cuts;
	struct kv_pool *pool = pool_for(m, LONG + 2 * COMPANY * KV_PAGE);
	struct chunk c[COMPANY + 1] = { { .kv = kv_new(pool) } };
	struct err e;
	int at = 0, k;

	for (k = 1; k <= COMPANY; k++)
		c[k] = (struct chunk){ kv_new(pool), ids + k, k, k, NULL };
	for (int i = 0; i < ncuts; at += cuts[i++]) {
		c[0] = (struct chunk){ c[0].kv, ids + at, cuts[i], 0, logits + (size_t)at * m->c.vocab };
		if (!CHECK(model_forward(m, c, COMPANY + 1, &e) == 0))
			printf("# %s\n", e.msg);
	}
	CHECK_INT(at, LONG);
	for (k = 0; k <= COMPANY; k++)
		kv_free(c[k].kv);
	kv_pool_free(pool);
}

/* The bits of the long sequence at once and alone. */
static void
check_once(struct model *m, const int *ids, const float *logits)
{
	float *once = run(m, ids, LONG);

	CHECK(memcmp(once, logits, (size_t)LONG * m->c.vocab * sizeof *once) == 0);
	free(once);
}

static void
check_long(struct model *m, const struct golden *g)
{
	const struct tensor *last = tensors_find(g->file, "long.last"), *loss = tensors_find(g->file, "long.loss");
	int V = m->c.vocab, *ids, t;
	float *logits, *want, *nll;
	double off = 0;

	if (m->c.heads == 7)	/* qwen2, which has none */
		return;
	ids = malloc(LONG * sizeof *ids);
	logits = malloc((size_t)LONG * V * sizeof *logits);
	want = floats(last);
	nll = floats(loss);
	fill_ids(ids, LONG, V, 5);
	run_long(m, ids, logits);
	CHECK_NUM(largest_difference(logits + (size_t)(LONG - last->shape[0]) * V, want, last->count), 0, 1e-4);
	for (t = 0; t + 1 < LONG; t += 16)
		off = fmax(off, fabs(surprise(logits + (size_t)t * V, V, ids[t + 1]) - nll[t / 16]));
	CHECK_NUM(off, 0, 1e-4);
	if (m->c.rope_llama3)	/* one of them is enough */
		check_once(m, ids, logits);
	free(ids);
	free(want);
	free(nll);
	free(logits);
}

static void
long_contexts_are_those_of_transformers_in_chunks_and_at_once(void)
{
	each_model(check_long);
}

static void
a_long_context_out_of_the_mapped_file_has_one_form_of_its_bits(void)
{
	struct model *m = open_mapped("qwen3", WEIGHTS_AUTO);
	int *ids = malloc(LONG * sizeof *ids);
	float *logits;

	if (m) {
		logits = malloc((size_t)LONG * m->c.vocab * sizeof *logits);
		fill_ids(ids, LONG, m->c.vocab, 5);
		run_long(m, ids, logits);
		check_once(m, ids, logits);
		free(logits);
	}
	free(ids);
	model_free(m);
}

/* ---- files ---- */

static char tmp[] = "/tmp/sa-families.XXXXXX";

static void
put_config(const char *from)
{
	char line[256], to[256];
	FILE *in = fopen(from, "r"), *out;

	snprintf(to, sizeof to, "%s/config.json", tmp);
	out = fopen(to, "w");
	while (CHECK(in && out) && fgets(line, sizeof line, in))
		fputs(line, out);
	fclose(in);
	fclose(out);
}

/* Saved as its own dtype and loaded again: every tensor of the family is there, bit for bit. */
static void
a_saved_checkpoint_has_all_tensors_of_its_family(void)
{
	static const enum dtype stored[] = { DT_F32, DT_F16, DT_BF16, DT_BF16 };
	char file[256];
	struct err e;

	for (int i = 0; i < 4; i++) {
		struct model *m = load(path(names[i], ""), &ops_cpu), *again;

		put_config(path(names[i], "/config.json"));
		CHECK_INT(model_save(m, tmp, stored[i], &e), 0);
		again = load(tmp, &ops_cpu);
		CHECK(again && again->w.n == m->w.n && memcmp(again->w.all, m->w.all, m->w.n * sizeof(float)) == 0);
		model_free(again);
		model_free(m);
	}
	snprintf(file, sizeof file, "%s/config.json", tmp);
	unlink(file);
	snprintf(file, sizeof file, "%s/model.safetensors", tmp);
	unlink(file);
}

static void
a_new_model_begins_without_bias_and_with_norms_of_one(void)
{
	struct config c = mid_config();
	struct model *m;

	c.qkv_bias = c.qk_norm = true;
	m = model_new(&c, 1, &ops_cpu, mach);
	CHECK(m->w.layer[1].bq[0] == 0 && m->w.layer[1].bv[31] == 0 && m->w.layer[0].qnorm[15] == 1 && m->w.layer[1].knorm[0] == 1);
	CHECK(m->w.layer[1].wk[0] != 0);
	model_free(m);
}

static void
a_family_without_them_has_no_place_for_biases_and_norms(void)
{
	struct config c = mid_config();
	struct model *m = model_new(&c, 1, &ops_cpu, mach);

	CHECK(!m->w.layer[0].bq && !m->w.layer[0].bk && !m->w.layer[0].bv && !m->w.layer[0].qnorm && !m->w.layer[0].knorm);
	model_free(m);
}

static void
the_list_names_every_family(void)
{
	char text[256];

	family_list(text, sizeof text);
	CHECK_STR(text, "LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM");
	CHECK(family_find("Qwen2ForCausalLM")->qkv_bias && family_find("Qwen3ForCausalLM")->qk_norm && !family_find("Qwen3MoeForCausalLM"));
}

int
main(void)
{
	mach = mach_new(2);
	if (!mkdtemp(tmp))
		return 99;
	RUN(logits_equal_those_of_transformers);
	RUN(mapped_checkpoints_have_the_logits_of_transformers_on_every_instruction_set);
	RUN(gradients_equal_those_of_torch);
	RUN(greedy_continuations_are_those_of_transformers);
	RUN(a_batch_of_eight_has_the_bits_of_each_alone);
	RUN(a_batch_of_eight_has_them_out_of_the_mapped_files_too);
	RUN(long_contexts_are_those_of_transformers_in_chunks_and_at_once);
	RUN(a_long_context_out_of_the_mapped_file_has_one_form_of_its_bits);
	RUN(a_saved_checkpoint_has_all_tensors_of_its_family);
	RUN(a_new_model_begins_without_bias_and_with_norms_of_one);
	RUN(a_family_without_them_has_no_place_for_biases_and_norms);
	RUN(the_list_names_every_family);
	rmdir(tmp);
	mach_free(mach);
	return t_done();
}
