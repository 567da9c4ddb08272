/* forward.c - the serving pass: several sequences a call, each with its key-value cache
 *
 * All tokens of a call go through a layer together; only attention tells one sequence from another. The operations are
 * batch-invariant, so how tokens are grouped never shows in the logits: a long call is run in slices to bound the scratch. */
#include "forward.h"

#include <stdlib.h>
#include <string.h>

#include "forward_device.h"
#include "model.h"

#define SLICE 512		/* tokens a pass: enough for the matrix products, small enough for the cache */
#define HEAD_ROWS 128		/* rows of logits at a time: more would gain nothing in the product */

/* A run of one chunk's tokens inside a slice. */
struct piece {
	struct chunk *c;
	int from, n;		/* tokens of the chunk */
	int row;		/* its first row in the slice */
};

struct forward_work {
	int ids[SLICE], pos[SLICE];
	struct piece piece[SLICE];
	struct kv_span span[SLICE];	/* of each piece */
	int npieces, T;
	float *x, *h, *q, *k, *v, *att, *gate, *up;
	float *all;
	float *logits;		/* [HEAD_ROWS,V], when they do not go straight to the caller */
};

static struct forward_work *
forward_work_new(const struct config *c)
{
	struct forward_work *w = xcalloc(1, sizeof *w);
	size_t qd = (size_t)c->heads * c->head_dim, kd = (size_t)c->kv_heads * c->head_dim;
	float *p;

	p = w->all = xcalloc(SLICE * (2 * ((size_t)c->hidden + qd + kd + c->ffn)), sizeof *p);
	w->x = p;
	w->h = w->x + SLICE * (size_t)c->hidden;
	w->q = w->h + SLICE * (size_t)c->hidden;
	w->att = w->q + SLICE * qd;
	w->k = w->att + SLICE * qd;
	w->v = w->k + SLICE * kd;
	w->gate = w->v + SLICE * kd;
	w->up = w->gate + SLICE * (size_t)c->ffn;
	return w;
}

void
forward_work_free(struct forward_work *w)
{
	if (!w)
		return;
	free(w->all);
	free(w->logits);
	free(w);
}

/* Queries, keys and values of the slice, rotated. */
static void
run_qkv(struct model *m, struct forward_work *w, const struct view_layer *l)
{
	const struct config *c = &m->c;
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	const struct product qkv[] = { { &l->wq, l->bq, w->q }, { &l->wk, l->bk, w->k }, { &l->wv, l->bv, w->v } };
	int T = w->T, H = c->heads, G = c->kv_heads, D = c->head_dim;

	o->products(mach, qkv, 3, w->h, T);
	if (l->qnorm) {
		o->rmsnorm(mach, w->q, NULL, w->q, l->qnorm, c->eps, T * H, D);
		o->rmsnorm(mach, w->k, NULL, w->k, l->knorm, c->eps, T * G, D);
	}
	o->rope(mach, w->q, w->pos, m->inv_freq, 1, T, H, D);
	o->rope(mach, w->k, w->pos, m->inv_freq, 1, T, G, D);
}

static void
run_layer(struct model *m, struct forward_work *w, int layer)
{
	const struct view_layer *l = &m->v.layer[layer];
	const struct config *c = &m->c;
	const struct ops *o = m->ops;
	struct mach *mach = m->mach;
	const struct product gate_up[] = { { &l->wgate, NULL, w->gate }, { &l->wup, NULL, w->up } };
	int T = w->T, C = c->hidden, F = c->ffn;
	size_t at = layer * o->kv_floats(c->kv_heads, c->head_dim);

	o->rmsnorm(mach, w->h, NULL, w->x, l->ln1, c->eps, T, C);
	run_qkv(m, w, l);
	o->kv_put(mach, w->span, w->npieces, at, w->k, w->v, c->kv_heads, c->head_dim);
	o->attend_cached(mach, w->att, w->q, w->span, w->npieces, at, c->heads, c->kv_heads, c->head_dim);
	o->products(mach, &(struct product){ &l->wo, NULL, w->h }, 1, w->att, T);
	o->add(mach, w->x, w->h, (size_t)T * C);
	o->rmsnorm(mach, w->h, NULL, w->x, l->ln2, c->eps, T, C);
	o->products(mach, gate_up, 2, w->h, T);
	o->swiglu(mach, w->gate, w->gate, w->up, T, F);
	o->products(mach, &(struct product){ &l->wdown, NULL, w->h }, 1, w->gate, T);
	o->add(mach, w->x, w->h, (size_t)T * C);
}

/* Where the logits of row r of a piece go; NULL when they are not wanted. */
static float *
logits_of(const struct piece *p, int r, int V)
{
	int token = p->from + r;

	return token < p->c->first_logits ? NULL : p->c->logits + (size_t)(token - p->c->first_logits) * V;
}

/* Straight to where they go when that is one piece of memory, as a server's are. */
static void
run_head(struct model *m, struct forward_work *w, float *const *to, int n)
{
	int C = m->c.hidden, V = m->c.vocab, i;
	struct product p = { &m->v.head, NULL, to[0] };

	m->ops->rmsnorm(m->mach, w->h, NULL, w->h, m->v.norm, m->c.eps, n, C);
	for (i = 1; i < n && to[i] == to[0] + (size_t)i * V; i++)
		;
	if (i == n) {
		m->ops->products(m->mach, &p, 1, w->h, n);
		return;
	}
	if (!w->logits)
		w->logits = xcalloc((size_t)HEAD_ROWS * V, sizeof *w->logits);
	p.out = w->logits;
	m->ops->products(m->mach, &p, 1, w->h, n);
	for (i = 0; i < n; i++)
		memcpy(to[i], w->logits + (size_t)i * V, V * sizeof(float));
}

/* Gather the rows whose logits are wanted and run the head over them. */
static void
run_heads(struct model *m, struct forward_work *w)
{
	int C = m->c.hidden, n = 0, i, r;
	float *to[HEAD_ROWS];

	for (i = 0; i < w->npieces; i++)
		for (r = 0; r < w->piece[i].n; r++) {
			to[n] = logits_of(&w->piece[i], r, m->c.vocab);
			if (!to[n])
				continue;
			memcpy(w->h + (size_t)n * C, w->x + (size_t)(w->piece[i].row + r) * C, C * sizeof(float));
			if (++n == HEAD_ROWS) {
				run_head(m, w, to, n);
				n = 0;
			}
		}
	if (n > 0)
		run_head(m, w, to, n);
}

static void
run_slice(struct model *m, struct forward_work *w)
{
	int i;

	m->ops->gather(m->mach, w->x, &m->v.embed, w->ids, w->T);
	for (i = 0; i < m->c.layers; i++)
		run_layer(m, w, i);
	run_heads(m, w);
	w->npieces = w->T = 0;
}

/* Put as much of the chunk's rest as fits into the slice; how many tokens that was. */
static int
add_piece(struct forward_work *w, struct chunk *c, int from)
{
	int n = c->n - from < SLICE - w->T ? c->n - from : SLICE - w->T, past = kv_len(c->kv), i;

	kv_append(c->kv, c->ids + from, n);
	w->piece[w->npieces] = (struct piece){ .c = c, .from = from, .n = n, .row = w->T };
	w->span[w->npieces++] = (struct kv_span){ .page = kv_pages(c->kv), .past = past, .n = n };
	for (i = 0; i < n; i++) {
		w->ids[w->T + i] = c->ids[from + i];
		w->pos[w->T + i] = past + i;
	}
	w->T += n;
	return n;
}

static int
check_chunk(const struct model *m, const struct chunk *c, struct err *e)
{
	int i;

	for (i = 0; i < c->n; i++)
		if (c->ids[i] < 0 || c->ids[i] >= m->c.vocab)
			return err_set(e, "token id %d is not in the vocabulary of %d", c->ids[i], m->c.vocab);
	if (kv_reserve(c->kv, kv_len(c->kv) + c->n) < 0)
		return err_set(e, "no memory for %d tokens after %d: the limit of the key-value caches", c->n, kv_len(c->kv));
	return 0;
}

int
model_forward(struct model *m, struct chunk *c, int nchunks, struct err *e)
{
	struct forward_work *w;
	int i, at;

	for (i = 0; i < nchunks; i++)
		if (check_chunk(m, &c[i], e) < 0)
			return -1;
	if (m->device)
		return forward_on_device(m, c, nchunks, e);
	if (!m->work)
		m->work = forward_work_new(&m->c);
	w = m->work;
	for (i = 0; i < nchunks; i++)
		for (at = 0; at < c[i].n;) {
			at += add_piece(w, &c[i], at);
			if (w->T == SLICE)
				run_slice(m, w);
		}
	if (w->T > 0)
		run_slice(m, w);
	for (i = 0; i < nchunks; i++)
		kv_publish(c[i].kv);
	return 0;
}
