/* golden.h - checkpoints and what transformers makes of them (goldens/make_model.py, make_families.py): what the tests of the model share */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "small.h"

#define MAX_SEQS 8

struct golden {
	struct tensors *file;
	int nseq, T, cu[MAX_SEQS + 1];
	int *ids, *pos, *target;	/* packed */
};

static inline const struct tensor *
numbered(const struct golden *g, const char *what, int i)
{
	char name[32];

	snprintf(name, sizeof name, "%s.%d", what, i);
	return tensors_find(g->file, name);
}

static inline float *
floats(const struct tensor *t)
{
	float *p = malloc((t->count + 1) * sizeof *p);

	to_float(p, t->data, t->dtype, t->count);
	return p;
}

static inline void
add_sequence(struct golden *g, const struct tensor *ids, const struct tensor *target)
{
	float *id = floats(ids), *to = floats(target);
	size_t n = ids->count, i;

	g->ids = realloc(g->ids, (g->T + n) * sizeof *g->ids);
	g->pos = realloc(g->pos, (g->T + n) * sizeof *g->pos);
	g->target = realloc(g->target, (g->T + n) * sizeof *g->target);
	for (i = 0; i < n; i++) {
		g->ids[g->T + i] = id[i];
		g->target[g->T + i] = to[i];
		g->pos[g->T + i] = i;
	}
	g->T += n;
	g->cu[++g->nseq] = g->T;
	free(id);
	free(to);
}

static inline int
golden_open(struct golden *g, const char *dir)
{
	struct err e;

	memset(g, 0, sizeof *g);
	g->file = tensors_open(dir, &e);
	if (!g->file) {
		printf("# %s\n", e.msg);
		return CHECK(g->file);
	}
	while (g->nseq < MAX_SEQS && numbered(g, "ids", g->nseq))
		add_sequence(g, numbered(g, "ids", g->nseq), numbered(g, "target", g->nseq));
	return CHECK(g->nseq > 0);
}

static inline void
golden_close(struct golden *g)
{
	tensors_close(g->file);
	free(g->ids);
	free(g->pos);
	free(g->target);
}

static inline struct model *
load(const char *dir, const struct ops *ops)
{
	struct err e;
	struct model *m = model_load(dir, ops, mach, &e);

	if (!m)
		printf("# %s\n", e.msg);
	CHECK(m);
	return m;
}

/* -log softmax(row)[id] */
static inline double
surprise(const float *row, int V, int id)
{
	double max = -INFINITY, sum = 0;
	int v;

	for (v = 0; v < V; v++)
		max = fmax(max, row[v]);
	for (v = 0; v < V; v++)
		sum += exp(row[v] - max);
	return max + log(sum) - row[id];
}

/* ---- against transformers ---- */

static inline void
check_sequence(struct model *m, const struct golden *g, int s)
{
	const struct tensor *all = numbered(g, "logits", s), *last = numbered(g, "last", s), *loss = numbered(g, "loss", s);
	int n = g->cu[s + 1] - g->cu[s], V = m->c.vocab, t;
	const int *ids = g->ids + g->cu[s];
	float *got = run(m, ids, n), *want = floats(all ? all : last), *nll = floats(loss);
	size_t rows = (all ? all : last)->shape[0];
	double off = 0;

	CHECK_NUM(largest_difference(got + (n - rows) * V, want, rows * V), 0, 1e-4);
	for (t = 0; t + 1 < n; t++)
		off = fmax(off, fabs(surprise(got + (size_t)t * V, V, ids[t + 1]) - nll[t]));
	CHECK_NUM(off, 0, 1e-4);
	free(got);
	free(want);
	free(nll);
}

static inline int
supervised(const struct golden *g)
{
	int n = 0, t;

	for (t = 0; t < g->T; t++)
		n += g->target[t] >= 0;
	return n;
}

/* Sum of the golden losses where supervised. */
static inline double
golden_loss(const struct golden *g)
{
	double sum = 0;
	int s, t;

	for (s = 0; s < g->nseq; s++) {
		float *nll = floats(numbered(g, "loss", s));

		for (t = g->cu[s]; t < g->cu[s + 1]; t++)
			if (g->target[t] >= 0)
				sum += nll[t - g->cu[s]];
		free(nll);
	}
	return sum;
}

/* Direction and length: cosine and ratio of norms, never an absolute bound alone. */
struct bounds {
	double loss, cosine, ratio;
};

static const struct bounds float_bounds = { 1e-4, 0.99999, 1e-4 };

static inline void
check_gradient(const struct golden *g, const struct weights *grad, const struct tensor_at *at, const struct bounds *within)
{
	char name[128];
	const struct tensor *t;
	double dot = 0, a = 0, b = 0;
	float *want;
	size_t i;

	snprintf(name, sizeof name, "grad.%s", at->name);
	t = tensors_find(g->file, name);
	if (!CHECK(t) || !CHECK_INT(t->count, at->count))
		return;
	want = floats(t);
	for (i = 0; i < at->count; i++) {
		double x = grad->all[at->offset + i], y = want[i];

		dot += x * y;
		a += x * x;
		b += y * y;
	}
	if (!CHECK(dot / sqrt(a * b) >= within->cosine && fabs(sqrt(a / b) - 1) <= within->ratio))
		printf("#   %s: cosine %.8f, norm ratio %.8f\n", name, dot / sqrt(a * b), sqrt(a / b));
	free(want);
}

/* Frees m, which may be NULL. */
static inline void
check_model(struct model *m, const char *golden)
{
	struct golden g;
	int s;

	if (m && golden_open(&g, golden)) {
		for (s = 0; s < g.nseq; s++)
			check_sequence(m, &g, s);
		golden_close(&g);
	}
	model_free(m);
}

static inline void
check_logits(const char *checkpoint, const char *golden, const struct ops *ops)
{
	check_model(load(checkpoint, ops), golden);
}

/* The parameters that torch has: none may be missing here. */
static inline int
golden_parameters(const struct golden *g)
{
	int n = 0;
	size_t i;

	for (i = 0; i < tensors_count(g->file); i++)
		n += strncmp(tensors_at(g->file, i)->name, "grad.", 5) == 0;
	return n;
}

static inline void
check_gradients_within(const char *dir, const char *golden, const struct ops *ops, const struct bounds *within)
{
	struct model *m = load(dir, ops);
	struct tensor_at at;
	struct weights grad;
	struct golden g;
	struct acts *a;
	double loss;
	int i;

	if (!m || !golden_open(&g, golden))
		return;
	weights_like(&grad, &m->c);
	a = acts_new(m, g.T + 5, KEEP_ALL);
	loss = model_train(m, a, &(struct batch){ g.T, g.ids, g.pos, g.target, g.cu, g.nseq, NULL, NULL }, &grad, 1.0f / supervised(&g));
	CHECK_NUM(loss, golden_loss(&g), within->loss * loss);
	for (i = 0; model_tensor(&m->c, i, &at) == 0; i++)
		check_gradient(&g, &grad, &at, within);
	CHECK_INT(i, golden_parameters(&g));
	CHECK(model_train(m, a, &(struct batch){ g.T, g.ids, g.pos, g.target, g.cu, g.nseq, NULL, NULL }, NULL, 1) == loss);
	acts_free(a);
	weights_free(&grad);
	golden_close(&g);
	model_free(m);
}

static inline void
check_gradients(const char *dir, const char *golden, const struct ops *ops)
{
	check_gradients_within(dir, golden, ops, &float_bounds);
}

#endif
