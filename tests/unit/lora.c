/* lora.c - adapters against HF PEFT (goldens/make_lora.py): loss and gradients for each family; how they begin, are merged and spelled */
#include "lora.h"

#include "golden.h"

static const struct {
	const char *name, *targets;
} cases[] = { { "llama", "all" }, { "qwen2-tied", "q,v" }, { "qwen3", "k_proj,o,down" } };

#define CASES (sizeof cases / sizeof *cases)

static char *
path(const char *format, const char *name)
{
	static char room[2][128];
	static int turn;

	turn = !turn;
	snprintf(room[turn], sizeof room[turn], format, name);
	return room[turn];
}

static struct lora
spec(int r, double alpha, const char *targets)
{
	char text[128];
	struct err e;
	struct lora l;

	snprintf(text, sizeof text, "%d:%g:%s", r, alpha, targets);
	if (!CHECK_INT(lora_parse(&l, text, &e), 0))
		printf("#   %s\n", e.msg);
	return l;
}

/* The adapters' tensors among all; how many. */
static int
choose(const struct config *c, bool *some)
{
	struct tensor_at t;
	int n = 0, i;

	for (i = 0; model_tensor(c, i, &t) == 0; i++)
		n += some[i] = strstr(t.name, ".lora_") != NULL;
	return n;
}

static void
take_factors(struct model *m, const struct golden *g)
{
	struct tensor_at t;

	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		const struct tensor *w = tensors_find(g->file, path("w.%s", t.name));

		if (w && CHECK_INT(w->count, t.count))
			to_float(weights_tensor(&m->w, &m->c, i), w->data, w->dtype, w->count);
	}
}

/* A model of case k with the golden's factors; *g is open. */
static struct model *
adapted(size_t k, const struct ops *ops, struct golden *g)
{
	struct lora l = spec(3, 7, cases[k].targets);
	struct model *m = load(path("tests/goldens/family/%s", cases[k].name), ops);

	if (!m || !golden_open(g, path("tests/goldens/lora/%s", cases[k].name)))
		return NULL;
	lora_attach(m, &l, 1);
	take_factors(m, g);
	return m;
}

static double
golden_sum(const struct golden *g)
{
	float *sum = floats(tensors_find(g->file, "loss"));
	double loss = *sum;

	free(sum);
	return loss;
}

static double
loss_of(struct model *m, const struct golden *g, struct weights *grad)
{
	struct acts *a = acts_new(m, g->T, KEEP_ALL);
	double loss = model_train(m, a, &(struct batch){ .T = g->T, .ids = g->ids, .pos = g->pos, .target = g->target, .cu = g->cu, .nseq = g->nseq }, grad,
				  1.0f / supervised(g));

	acts_free(a);
	return loss;
}

static void
check_case(size_t k, const struct ops *ops)
{
	struct golden g;
	struct model *m = adapted(k, ops, &g);
	bool some[128];
	struct weights grad;
	struct tensor_at t;
	int n;

	if (!m)
		return;
	n = choose(&m->c, some);
	weights_some(&grad, &m->c, some);
	CHECK_NUM(loss_of(m, &g, &grad), golden_sum(&g), 1e-5 * golden_sum(&g));
	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++)
		if (some[i]) {
			t.offset = weights_tensor(&grad, &m->c, i) - grad.all;
			check_gradient(&g, &grad, &t, &float_bounds);
			n--;
		}
	CHECK_INT(n, 0);
	weights_free(&grad);
	golden_close(&g);
	model_free(m);
}

static void
loss_and_gradients_are_those_of_peft(void)
{
	for (size_t k = 0; k < CASES; k++) {
		check_case(k, &ops_cpu);
		check_case(k, &ops_plain);
	}
}

static void
a_merged_model_is_the_adapted_one(void)
{
	for (size_t k = 0; k < CASES; k++) {
		struct golden g;
		struct model *m = adapted(k, &ops_cpu, &g);
		size_t with = m->w.n;

		lora_merge(m);
		CHECK(m->c.lora.r == 0 && m->w.n < with && !m->w.layer[0].lora[PROJ_Q].a);
		CHECK_NUM(loss_of(m, &g, NULL), golden_sum(&g), 1e-5 * golden_sum(&g));
		golden_close(&g);
		model_free(m);
	}
}

/* The serving pass has the same logits in both: it finds the weights where they are now. */
static void
check_serving(struct model *plain, struct model *with, const int *ids)
{
	float *a = run(plain, ids, 30), *b = run(with, ids, 30);

	CHECK(memcmp(a, b, (size_t)30 * plain->c.vocab * sizeof *a) == 0);
	free(a);
	free(b);
}

/* All gradients of a model with adapters: those of the weights beside them are the same as without, since B is zero. */
static void
adapters_begin_as_nothing(void)
{
	struct config c = mid_config();
	struct lora l = spec(5, 10, "all");
	struct model *plain = model_new(&c, 2, &ops_cpu, mach), *with = model_new(&c, 2, &ops_cpu, mach);
	struct golden g = { .T = 30, .cu = { 0, 30 }, .nseq = 1, .ids = malloc(30 * sizeof(int)), .pos = malloc(30 * sizeof(int)), .target = malloc(30 * sizeof(int)) };
	struct weights a, b;

	lora_attach(with, &l, 9);
	fill_ids(g.ids, 30, c.vocab, 3);
	for (int t = 0; t < 30; t++) {
		g.pos[t] = t;
		g.target[t] = g.ids[(t + 1) % 30];
	}
	weights_like(&a, &plain->c);
	weights_like(&b, &with->c);
	CHECK(loss_of(plain, &g, &a) == loss_of(with, &g, &b));
	CHECK(a.n < b.n && memcmp(a.all, b.all, a.n * sizeof *a.all) == 0);
	weights_free(&a);
	weights_free(&b);
	check_serving(plain, with, g.ids);
	lora_merge(with);
	check_serving(plain, with, g.ids);
	free(g.ids);
	free(g.pos);
	free(g.target);
	model_free(plain);
	model_free(with);
}

static void
a_begins_uniform_within_the_bound_of_its_width_and_as_its_seed_says(void)
{
	struct config c = mid_config();
	struct lora l = spec(16, 16, "q,down");
	struct model *m[3];
	double sum = 0, squares = 0, most = 0;
	float *a;

	for (int i = 0; i < 3; i++) {
		m[i] = model_new(&c, 1, &ops_cpu, mach);
		lora_attach(m[i], &l, i == 2);
	}
	CHECK(memcmp(m[0]->w.all, m[1]->w.all, m[0]->w.n * sizeof(float)) == 0);
	a = m[0]->w.layer[1].lora[PROJ_DOWN].a;
	CHECK(a && m[0]->w.layer[1].lora[PROJ_Q].b && !m[0]->w.layer[1].lora[PROJ_UP].a);
	CHECK(memcmp(a, m[2]->w.layer[1].lora[PROJ_DOWN].a, 16 * c.ffn * sizeof *a) != 0);
	for (int i = 0; i < 16 * c.ffn; i++) {
		sum += a[i];
		squares += a[i] * a[i];
		most = fmax(most, fabsf(a[i]));
	}
	CHECK(most <= 1 / sqrt(c.ffn) && most > 0.98 / sqrt(c.ffn));
	CHECK_NUM(sum / (16 * c.ffn), 0, 0.05 / sqrt(c.ffn));
	CHECK_NUM(squares / (16 * c.ffn), 1.0 / 3 / c.ffn, 0.05 / c.ffn);
	for (int i = 0; i < 3; i++)
		model_free(m[i]);
}

static void
tensors_are_named_and_placed_behind_the_models(void)
{
	struct config c = mid_config();
	struct tensor_at t;
	size_t end = 0;
	int i, n = 0;

	while (model_tensor(&c, n, &t) == 0)
		n++;
	c.lora = spec(4, 8, "v,o");
	for (i = 0; model_tensor(&c, i, &t) == 0; i++) {
		CHECK_INT(t.offset, end);
		end += t.count;
		if (i == n + 5)
			CHECK_STR(t.name, "model.layers.1.self_attn.v_proj.lora_B.weight");
		if (i == n + 5)
			CHECK(t.shape[0] == 32 && t.shape[1] == 4);
	}
	CHECK_INT(i, n + 8);
}

static void
a_specification_that_is_wrong_is_refused(void)
{
	static const char *const bad[] = { "", "16", "16:32", "16:32:", "0:1:q", "x:1:q", "16:x:q", "16:0:q", "16:32:q,", "16:32:,q", "16:32:q;v", "16:32:lm_head",
					   "5000:1:q", "16:32:q_pro", "16:32:q:v", ":1:q", "1::q" };
	struct lora l;
	struct err e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(lora_parse(&l, bad[i], &e) < 0))
			printf("#   \"%s\"\n", bad[i]);
	CHECK_INT(lora_parse(&l, "8:16.5:gate_proj,up,down,q,k,v,o", &e), 0);
	CHECK(l.r == 8 && l.alpha == 16.5 && l.targets == (1u << PROJECTIONS) - 1);
}

int
main(void)
{
	mach = mach_new(2);
	RUN(loss_and_gradients_are_those_of_peft);
	RUN(a_merged_model_is_the_adapted_one);
	RUN(adapters_begin_as_nothing);
	RUN(a_begins_uniform_within_the_bound_of_its_width_and_as_its_seed_says);
	RUN(tensors_are_named_and_placed_behind_the_models);
	RUN(a_specification_that_is_wrong_is_refused);
	mach_free(mach);
	return t_done();
}
