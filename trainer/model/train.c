/* train.c - forward and backward over packed sequences; what a layer made is kept for its backward, or made again (enum keep) */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "huge.h"
#include "model.h"
#include "project.h"

#define HEAD_FLOATS (2 << 20)	/* logits at a time: 8 MB stays in a shared cache */
#define HEAD_MOST (32 << 20)	/* where only fewer than MIN_HEAD_ROWS would: what is read once a block is the head and its gradient, so few blocks */
#define MIN_HEAD_ROWS 256
#define MAX_HEAD_ROWS 1024

struct layer_acts {
	float *x;		/* [T,C] what came in */
	float *rstd1, *h1;	/* [T] [T,C] */
	float *q, *k, *v;	/* [T,H,D] [T,G,D], rotated */
	float *q0, *k0;		/* [T,H,D] [T,G,D] before their norm; NULL in families without one */
	float *qrstd, *krstd;	/* [T,H] [T,G] */
	float *att, *lse;	/* [T,H,D] [T,H] */
	float *x2;		/* [T,C] after attention */
	float *rstd2, *h2;	/* [T] [T,C] */
	float *gate, *up, *act;	/* [T,F] */
	float *low[PROJECTIONS];	/* [T,r] where there is an adapter */
};

struct acts {
	enum keep keep;
	int max_T, head_rows;
	struct layer_acts *layer;
	float *x;			/* [T,C] after the last layer */
	float *dx, *dh;			/* [T,C] */
	float *datt, *dq, *dk, *dv;	/* [T,H,D] [T,G,D] */
	float *dq0, *dk0;		/* [T,H,D] [T,G,D] before the norm */
	float *dact, *dgate, *dup;	/* [T,F] */
	float *wide, *dlow;		/* [T,the widest projection] [T,r], with adapters */
	float *hx, *hh, *hrstd, *dhx, *dhh;	/* the head's rows: [R,C], [R] */
	float *logits;			/* [R,V] */
	float *weight, *loss;		/* [T] [R] of the supervised rows */
	int *rows, *target;		/* [T] the supervised rows and their targets */
	float *all;
	size_t bytes;
};

/* ---- memory: one allocation, handed out in order ---- */

struct arena {
	float *base;	/* NULL: only measure */
	size_t n;
};

static float *
take(struct arena *p, size_t n)
{
	float *at = p->base ? p->base + p->n : NULL;

	p->n += (n + 15) / 16 * 16;
	return at;
}

/* n numbers of layer i: its own ones when `own`, else those of the first layer. */
#define TAKE(member, own, n) (l->member = i == 0 || (own) ? take(p, n) : a->layer[0].member)

static void
place_layer(struct acts *a, int i, const struct config *c, struct arena *p)
{
	size_t T = a->max_T, qd = (size_t)c->heads * c->head_dim, kd = (size_t)c->kv_heads * c->head_dim;
	bool all = a->keep == KEEP_ALL, most = a->keep != KEEP_BLOCKS;
	struct layer_acts *l = &a->layer[i];

	TAKE(x, true, T * c->hidden);
	TAKE(rstd1, most, T);
	TAKE(h1, all, T * c->hidden);
	TAKE(q, most, T * qd);
	TAKE(k, most, T * kd);
	TAKE(v, most, T * kd);
	if (c->qk_norm) {
		TAKE(q0, most, T * qd);
		TAKE(k0, most, T * kd);
		TAKE(qrstd, most, T * c->heads);
		TAKE(krstd, most, T * c->kv_heads);
	}
	TAKE(att, most, T * qd);
	TAKE(lse, most, T * c->heads);
	TAKE(x2, most, T * c->hidden);
	TAKE(rstd2, most, T);
	TAKE(h2, all, T * c->hidden);
	TAKE(gate, most, T * c->ffn);
	TAKE(up, most, T * c->ffn);
	TAKE(act, all, T * c->ffn);
	for (int j = 0; j < PROJECTIONS; j++)
		if (c->lora.targets >> j & 1)
			TAKE(low[j], most || j == PROJ_DOWN, T * c->lora.r);	/* that product is not made again */
}

static size_t
widest(const struct config *c)
{
	int most = 0, out, in;

	for (enum projection p = 0; p < PROJECTIONS; p++) {
		projection_shape(c, p, &out, &in);
		most = out > most ? out : most;
	}
	return most;
}

static void
place_shared(struct acts *a, const struct config *c, struct arena *p)
{
	size_t T = a->max_T, R = a->head_rows, qd = (size_t)c->heads * c->head_dim, kd = (size_t)c->kv_heads * c->head_dim;

	a->x = take(p, T * c->hidden);
	a->dx = take(p, T * c->hidden);
	a->dh = take(p, T * c->hidden);
	a->datt = take(p, T * qd);
	a->dq = take(p, T * qd);
	a->dk = take(p, T * kd);
	a->dv = take(p, T * kd);
	a->dq0 = c->qk_norm ? take(p, T * qd) : a->dq;
	a->dk0 = c->qk_norm ? take(p, T * kd) : a->dk;
	a->dact = take(p, T * c->ffn);
	a->dgate = take(p, T * c->ffn);
	a->dup = take(p, T * c->ffn);
	a->wide = take(p, c->lora.r ? T * widest(c) : 0);
	a->dlow = take(p, T * c->lora.r);
	a->hx = take(p, R * c->hidden);
	a->hh = take(p, R * c->hidden);
	a->dhx = take(p, R * c->hidden);
	a->dhh = take(p, R * c->hidden);
	a->hrstd = take(p, R);
	a->logits = take(p, R * c->vocab);
	a->weight = take(p, T);
	a->loss = take(p, R);
}

/* Lay everything out from `base`; how many floats that takes. */
static size_t
place(struct acts *a, const struct config *c, float *base)
{
	struct arena p = { .base = base };
	int i;

	for (i = 0; i < c->layers; i++)
		place_layer(a, i, c, &p);
	place_shared(a, c, &p);
	return p.n;
}

/* Of logits at a time. */
static int
head_rows(int vocab, int max_T)
{
	int rows = HEAD_FLOATS / vocab;

	if (rows < MIN_HEAD_ROWS) {
		rows = HEAD_MOST / vocab / 16 * 16;
		rows = rows < MIN_HEAD_ROWS ? MIN_HEAD_ROWS : rows > MAX_HEAD_ROWS ? MAX_HEAD_ROWS : rows;
	}
	return rows < max_T ? rows : max_T;
}

/* Its sizes, without the memory. */
static struct acts *
acts_measure(const struct config *c, int max_T, enum keep keep)
{
	struct acts *a = xcalloc(1, sizeof *a);

	a->keep = keep;
	a->max_T = max_T;
	a->head_rows = head_rows(c->vocab, max_T);
	a->layer = xcalloc(c->layers, sizeof *a->layer);
	a->bytes = place(a, c, NULL) * sizeof *a->all + 2 * max_T * sizeof(int);
	return a;
}

size_t
acts_size(const struct config *c, int max_T, enum keep keep)
{
	struct acts *a = acts_measure(c, max_T, keep);
	size_t bytes = a->bytes;

	acts_free(a);
	return bytes;
}

struct acts *
acts_new(const struct model *m, int max_T, enum keep keep)
{
	struct acts *a = acts_measure(&m->c, max_T, keep);
	size_t n = a->bytes - 2 * max_T * sizeof(int);

	a->rows = xcalloc(max_T, sizeof *a->rows);
	a->target = xcalloc(max_T, sizeof *a->target);
	a->all = aligned_alloc(64, n);
	if (!a->all)
		die(STATUS_IO, "out of memory: activations of %d tokens need %zu MB", max_T, n >> 20);
	huge_advise(a->all, n);
	place(a, &m->c, a->all);
	return a;
}

void
acts_free(struct acts *a)
{
	if (!a)
		return;
	free(a->layer);
	free(a->rows);
	free(a->target);
	free(a->all);
	free(a);
}

size_t
acts_bytes(const struct acts *a)
{
	return a->bytes;
}

/* ---- forward ---- */

/* Queries, keys and values, rotated; what their norms come from is kept beside them. */
static void
qkv_forward(struct model *m, struct acts *a, const struct batch *b, const struct layer *w, struct layer_acts *l)
{
	const struct config *c = &m->c;
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	int T = b->T, H = c->heads, G = c->kv_heads, D = c->head_dim;

	project(m, w, PROJ_Q, w->qnorm ? l->q0 : l->q, l->h1, T, l->low[PROJ_Q], a->wide);
	project(m, w, PROJ_K, w->knorm ? l->k0 : l->k, l->h1, T, l->low[PROJ_K], a->wide);
	project(m, w, PROJ_V, l->v, l->h1, T, l->low[PROJ_V], a->wide);
	if (w->qnorm) {
		o->rmsnorm(mach, l->q, l->qrstd, l->q0, w->qnorm, c->eps, T * H, D);
		o->rmsnorm(mach, l->k, l->krstd, l->k0, w->knorm, c->eps, T * G, D);
	}
	o->rope(mach, l->q, b->pos, m->inv_freq, 1, T, H, D);
	o->rope(mach, l->k, b->pos, m->inv_freq, 1, T, G, D);
}

/* A layer up to what its last product is of. */
static void
layer_inside(struct model *m, struct acts *a, const struct batch *b, int i)
{
	const struct config *c = &m->c;
	const struct layer *w = &m->w.layer[i];
	const struct ops *o = m->ops;
	struct layer_acts *l = &a->layer[i];
	struct mach *mach = m->mach;
	int T = b->T, C = c->hidden, H = c->heads, G = c->kv_heads, D = c->head_dim, F = c->ffn;

	o->rmsnorm(mach, l->h1, l->rstd1, l->x, w->ln1, c->eps, T, C);
	qkv_forward(m, a, b, w, l);
	o->attend(mach, l->att, l->lse, l->q, l->k, l->v, b->cu, b->nseq, H, G, D);
	project(m, w, PROJ_O, l->x2, l->att, T, l->low[PROJ_O], a->wide);
	o->add(mach, l->x2, l->x, (size_t)T * C);
	o->rmsnorm(mach, l->h2, l->rstd2, l->x2, w->ln2, c->eps, T, C);
	project(m, w, PROJ_GATE, l->gate, l->h2, T, l->low[PROJ_GATE], a->wide);
	project(m, w, PROJ_UP, l->up, l->h2, T, l->low[PROJ_UP], a->wide);
	o->swiglu(mach, l->act, l->gate, l->up, T, F);
}

static void
layer_forward(struct model *m, struct acts *a, const struct batch *b, int i)
{
	struct layer_acts *l = &a->layer[i];
	float *out = i + 1 < m->c.layers ? a->layer[i + 1].x : a->x;

	layer_inside(m, a, b, i);
	project(m, &m->w.layer[i], PROJ_DOWN, out, l->act, b->T, l->low[PROJ_DOWN], a->wide);
	m->ops->add(m->mach, out, l->x2, (size_t)b->T * m->c.hidden);
}

/* What of layer i is not kept, the same bits as before. */
static void
layer_again(struct model *m, struct acts *a, const struct batch *b, int i)
{
	const struct config *c = &m->c;
	const struct layer *w = &m->w.layer[i];
	struct layer_acts *l = &a->layer[i];

	if (a->keep == KEEP_BLOCKS)
		layer_inside(m, a, b, i);
	if (a->keep != KEEP_PRODUCTS)
		return;
	m->ops->rmsnorm(m->mach, l->h1, l->rstd1, l->x, w->ln1, c->eps, b->T, c->hidden);
	m->ops->rmsnorm(m->mach, l->h2, l->rstd2, l->x2, w->ln2, c->eps, b->T, c->hidden);
	m->ops->swiglu(m->mach, l->act, l->gate, l->up, b->T, c->ffn);
}

/* ---- the head, over supervised rows only ---- */

static int
supervised(struct acts *a, const struct batch *b)
{
	int n = 0, t;

	for (t = 0; t < b->T; t++)
		if (b->target[t] >= 0) {
			a->rows[n] = t;
			if (b->weight)
				a->weight[n] = b->weight[t];
			a->target[n++] = b->target[t];
		}
	return n;
}

static void
head_backward(struct model *m, struct acts *a, const int *rows, int n, struct weights *grad)
{
	int C = m->c.hidden, V = m->c.vocab, r;

	m->ops->linear_back(m->mach, a->dhh, 0, grad->head, NULL, a->logits, a->hh, m->w.head, n, C, V);
	memset(a->dhx, 0, (size_t)n * C * sizeof(float));
	m->ops->rmsnorm_back(m->mach, a->dhx, grad->norm, a->dhh, a->hx, m->w.norm, a->hrstd, n, C);
	for (r = 0; r < n; r++)
		memcpy(a->dx + (size_t)rows[r] * C, a->dhx + (size_t)r * C, C * sizeof(float));
}

/* The sum of losses; dx becomes the gradient of what the last layer put out. */
static double
head(struct model *m, struct acts *a, const struct batch *b, struct weights *grad, float scale)
{
	int C = m->c.hidden, V = m->c.vocab, count = supervised(a, b), at, n, r;
	double loss = 0;

	if (grad)
		memset(a->dx, 0, (size_t)b->T * C * sizeof(float));
	for (at = 0; at < count; at += n) {
		n = count - at < a->head_rows ? count - at : a->head_rows;
		for (r = 0; r < n; r++)
			memcpy(a->hx + (size_t)r * C, a->x + (size_t)a->rows[at + r] * C, C * sizeof(float));
		m->ops->rmsnorm(m->mach, a->hh, a->hrstd, a->hx, m->w.norm, m->c.eps, n, C);
		m->ops->linear(m->mach, a->logits, a->hh, m->w.head, NULL, n, C, V);
		loss += m->ops->cross_entropy(m->mach, a->logits, a->loss, a->target + at, b->weight ? a->weight + at : NULL, scale, n, V);
		for (r = 0; b->loss && r < n; r++)
			b->loss[a->rows[at + r]] = a->loss[r];
		if (grad)
			head_backward(m, a, a->rows + at, n, grad);
	}
	return loss;
}

/* ---- backward: dx comes in as the gradient of the layer's output and leaves as that of its input ---- */

static void
mlp_backward(struct model *m, struct acts *a, int T, int i, const struct layer *g)
{
	const struct layer *w = &m->w.layer[i];
	const struct layer_acts *l = &a->layer[i];
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	int C = m->c.hidden, F = m->c.ffn;

	project_back(m, w, g, PROJ_DOWN, a->dact, 0, a->dx, l->act, l->low[PROJ_DOWN], a->dlow, T);
	o->swiglu_back(mach, a->dgate, a->dup, a->dact, l->gate, l->up, T, F);
	project_back(m, w, g, PROJ_GATE, a->dh, 0, a->dgate, l->h2, l->low[PROJ_GATE], a->dlow, T);
	project_back(m, w, g, PROJ_UP, a->dh, 1, a->dup, l->h2, l->low[PROJ_UP], a->dlow, T);
	o->rmsnorm_back(mach, a->dx, g->ln2, a->dh, l->x2, w->ln2, l->rstd2, T, C);
}

/* From dq, dk, dv to dh. */
static void
qkv_backward(struct model *m, struct acts *a, const struct batch *b, int i, const struct layer *g)
{
	const struct config *c = &m->c;
	const struct layer *w = &m->w.layer[i];
	const struct layer_acts *l = &a->layer[i];
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	int T = b->T, H = c->heads, G = c->kv_heads, D = c->head_dim;

	o->rope(mach, a->dq, b->pos, m->inv_freq, -1, T, H, D);
	o->rope(mach, a->dk, b->pos, m->inv_freq, -1, T, G, D);
	if (w->qnorm) {
		memset(a->dq0, 0, (size_t)T * H * D * sizeof(float));
		memset(a->dk0, 0, (size_t)T * G * D * sizeof(float));
		o->rmsnorm_back(mach, a->dq0, g->qnorm, a->dq, l->q0, w->qnorm, l->qrstd, T * H, D);
		o->rmsnorm_back(mach, a->dk0, g->knorm, a->dk, l->k0, w->knorm, l->krstd, T * G, D);
	}
	project_back(m, w, g, PROJ_Q, a->dh, 0, a->dq0, l->h1, l->low[PROJ_Q], a->dlow, T);
	project_back(m, w, g, PROJ_K, a->dh, 1, a->dk0, l->h1, l->low[PROJ_K], a->dlow, T);
	project_back(m, w, g, PROJ_V, a->dh, 1, a->dv, l->h1, l->low[PROJ_V], a->dlow, T);
}

static void
attention_backward(struct model *m, struct acts *a, const struct batch *b, int i, const struct layer *g)
{
	const struct layer *w = &m->w.layer[i];
	const struct layer_acts *l = &a->layer[i];
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	int T = b->T, C = m->c.hidden, H = m->c.heads, G = m->c.kv_heads, D = m->c.head_dim;

	project_back(m, w, g, PROJ_O, a->datt, 0, a->dx, l->att, l->low[PROJ_O], a->dlow, T);
	o->attend_back(mach, a->dq, a->dk, a->dv, a->datt, l->q, l->k, l->v, l->att, l->lse, b->cu, b->nseq, H, G, D);
	qkv_backward(m, a, b, i, g);
	o->rmsnorm_back(mach, a->dx, g->ln1, a->dh, l->x, w->ln1, l->rstd1, T, C);
}

/* The lowest layer that the gradient is wanted in; below it nothing is to be done. */
static int
lowest_layer(const struct config *c, const struct weights *grad)
{
	static const struct layer none;
	int i;

	for (i = 0; i < c->layers && !grad->embed && memcmp(&grad->layer[i], &none, sizeof none) == 0; i++)
		;
	return i;
}

static void
layers_backward(struct model *m, struct acts *a, const struct batch *b, struct weights *grad)
{
	int lowest = lowest_layer(&m->c, grad), i;

	for (i = m->c.layers - 1; i >= lowest; i--) {
		if (i + 1 < m->c.layers)	/* the last one's are still there */
			layer_again(m, a, b, i);
		mlp_backward(m, a, b->T, i, &grad->layer[i]);
		attention_backward(m, a, b, i, &grad->layer[i]);
	}
	if (grad->embed)
		m->ops->embed_back(m->mach, grad->embed, a->dx, b->ids, b->T, m->c.hidden);
}

void
model_back(struct model *m, struct acts *a, const struct batch *b, struct weights *grad, float scale)
{
	head(m, a, b, grad, scale);
	layers_backward(m, a, b, grad);
}

double
model_train(struct model *m, struct acts *a, const struct batch *b, struct weights *grad, float scale)
{
	double loss;
	int i;

	assert(b->T <= a->max_T);
	m->ops->embed(m->mach, a->layer[0].x, m->w.embed, b->ids, b->T, m->c.hidden);
	for (i = 0; i < m->c.layers; i++)
		layer_forward(m, a, b, i);
	loss = head(m, a, b, grad, scale);
	if (grad)
		layers_backward(m, a, b, grad);
	return loss;
}

/* ---- looking for what is not finite ---- */

static bool
all_finite(const float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n && isfinite(x[i]); i++)
		;
	return i == n;
}

/* The first tensor of `w` that is not finite, from the last to the first when `back`. */
static bool
bad_tensor(const struct config *c, const struct weights *w, bool back, const char *what, char name[MODEL_BAD])
{
	struct tensor_at t;
	int n = 0, i;

	while (model_tensor(c, n, &t) == 0)
		n++;
	for (i = 0; i < n; i++) {
		const float *x = weights_tensor(w, c, back ? n - 1 - i : i);

		model_tensor(c, back ? n - 1 - i : i, &t);
		if (x && !all_finite(x, t.count)) {
			snprintf(name, MODEL_BAD, "%s %s", what, t.name);
			return true;
		}
	}
	return false;
}

static bool
bad_activation(struct model *m, struct acts *a, const struct batch *b, char name[MODEL_BAD])
{
	const struct config *c = &m->c;
	size_t n = b->T, C = n * c->hidden, Q = n * c->heads * c->head_dim, K = n * c->kv_heads * c->head_dim, F = n * c->ffn, k;
	int i;

	for (i = 0; i < c->layers; i++) {
		const struct layer_acts *l = &a->layer[i];
		const struct { const char *name; const float *x; size_t n; } kept[] = {
			{ "input", l->x, C }, { "input_layernorm", l->h1, C }, { "self_attn.q_proj", l->q0, Q }, { "self_attn.k_proj", l->k0, K },
			{ "self_attn.q", l->q, Q }, { "self_attn.k", l->k, K }, { "self_attn.v_proj", l->v, K }, { "self_attn", l->att, Q },
			{ "self_attn.o_proj", l->x2, C }, { "post_attention_layernorm", l->h2, C }, { "mlp.gate_proj", l->gate, F },
			{ "mlp.up_proj", l->up, F }, { "mlp.act_fn", l->act, F },
		};

		layer_again(m, a, b, i);
		for (k = 0; k < sizeof kept / sizeof *kept; k++)
			if (kept[k].x && !all_finite(kept[k].x, kept[k].n)) {
				snprintf(name, MODEL_BAD, "the output of model.layers.%d.%s", i, kept[k].name);
				return true;
			}
	}
	snprintf(name, MODEL_BAD, "the output of the last layer");
	return !all_finite(a->x, C);
}

bool
model_first_bad(struct model *m, struct acts *a, const struct batch *b, const struct weights *grad, char name[MODEL_BAD])
{
	if (bad_tensor(&m->c, &m->w, false, "the weights", name) || bad_activation(m, a, b, name) || bad_tensor(&m->c, grad, true, "the gradient of", name))
		return true;
	snprintf(name, MODEL_BAD, "the logits");
	return false;
}
