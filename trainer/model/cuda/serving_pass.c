/* serving_pass.c - the layers and the head over a slice, in the order of kernels.h; products have all rows of their array (serving.h) */
#include <string.h>

#include "serving_inside.h"

static int
rotate(struct serving *g, const struct serving_layer *w)
{
	const struct config *c = &g->c;
	struct gpu *gpu = &g->device.gpu;
	uint16_t *q = g->place.qkv, *k = q + (size_t)c->heads * (size_t)c->head_dim;
	int S = serving_width(c), e = 0;

	if (c->qk_norm) {
		e = gpu_headnorm(gpu, q, S, NULL, q, S, w->qnorm, c->eps, g->T, c->heads, c->head_dim);
		if (!e)
			e = gpu_headnorm(gpu, k, S, NULL, k, S, w->knorm, c->eps, g->T, c->kv_heads, c->head_dim);
	}
	if (!e)
		e = gpu_rope(gpu, q, S, g->pos, g->place.inv_freq, 1, g->T, c->heads, c->head_dim);
	return e ? e : gpu_rope(gpu, k, S, g->pos, g->place.inv_freq, 1, g->T, c->kv_heads, c->head_dim);
}

/* From h to what attention adds, in branch. */
static int
attention(struct serving *g, int i)
{
	const struct config *c = &g->c;
	const struct serving_place *p = &g->place;
	const struct serving_layer *w = &p->layer[i];
	struct gpu *gpu = &g->device.gpu;
	struct gpu_matmul *m = g->device.products;
	int S = serving_width(c), q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, rows = g->shape.tokens;
	int e = gpu_linear(m, p->qkv, S, p->h, w->qkv, w->bias, rows, c->hidden, S);

	g->kv.at = (size_t)i * gpu_kv_elements(c->kv_heads, c->head_dim);
	if (!e)
		e = rotate(g, w);
	if (!e)
		e = gpu_kv_put(gpu, &g->kv, p->qkv + q, p->qkv + q + kv, S, c->kv_heads, c->head_dim);
	if (!e)
		e = gpu_attend_cached(gpu, p->att, p->qkv, S, &g->kv, p->scratch, c->heads, c->kv_heads, c->head_dim);
	return e ? e : gpu_linear(m, p->branch, c->hidden, p->att, w->o, NULL, rows, q, c->hidden);
}

/* From h to what the MLP adds, in branch. */
static int
mlp(struct serving *g, int i)
{
	const struct serving_place *p = &g->place;
	struct gpu_matmul *m = g->device.products;
	int C = g->c.hidden, F = g->c.ffn, rows = g->shape.tokens, e = gpu_linear(m, p->gate_up, 2 * F, p->h, p->layer[i].gate_up, NULL, rows, C, 2 * F);

	if (!e)
		e = gpu_swiglu(&g->device.gpu, p->act, p->gate_up, g->T, F);
	return e ? e : gpu_linear(m, p->branch, C, p->act, p->layer[i].down, NULL, rows, F, C);
}

int
serving_layers(struct serving *g)
{
	const struct serving_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int C = g->c.hidden, e = gpu_embed(gpu, p->x, p->embed, g->ids, g->T, C);

	for (int i = 0; !e && i < g->c.layers; i++) {
		e = gpu_rmsnorm(gpu, p->h, NULL, i > 0 ? p->x : NULL, p->x, i > 0 ? p->branch : NULL, p->layer[i].ln1, g->c.eps, g->T, C);
		if (!e)
			e = attention(g, i);
		if (!e)
			e = gpu_rmsnorm(gpu, p->h, NULL, p->x, p->x, p->branch, p->layer[i].ln2, g->c.eps, g->T, C);
		if (!e)
			e = mlp(g, i);
	}
	return e ? e : gpu_add(gpu, p->x, p->branch, (size_t)g->T * (size_t)C);
}

/* n wanted rows from `at` on, on their way to the host through slot `which`. */
static int
head_rows(struct serving *g, int at, int n, int which)
{
	const struct serving_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int C = g->c.hidden, e = gpu_embed(gpu, p->hx, p->x, g->rows + at, n, C);

	if (!e)
		e = gpu_rmsnorm(gpu, p->hh, NULL, NULL, p->hx, NULL, p->norm, g->c.eps, n, C);
	if (!e)
		e = gpu_linear_float(g->device.products, p->logits, p->logit_stride, p->hh, p->head, p->head_rows, C, g->c.vocab);
	return e ? e : device_fetch(&g->device, which, p->logits, (size_t)n * (size_t)p->logit_stride * sizeof *p->logits);
}

static int
hand_over(struct serving *g, int at, int n, int which)
{
	const float *logits = device_fetched(&g->device, which);

	for (int i = 0; logits && i < n; i++)
		memcpy(g->to[at + i], logits + (size_t)i * (size_t)g->place.logit_stride, (size_t)g->c.vocab * sizeof *logits);
	return logits ? 0 : -1;
}

/* The host copies one part while the device makes the next. */
int
serving_head(struct serving *g)
{
	int R = g->place.head_rows, parts = (g->wanted + R - 1) / R, e = 0;

	for (int i = 0; !e && i <= parts; i++) {
		if (i < parts)
			e = head_rows(g, i * R, g->wanted - i * R < R ? g->wanted - i * R : R, i % 2);
		if (!e && i > 0)
			e = hand_over(g, (i - 1) * R, g->wanted - (i - 1) * R < R ? g->wanted - (i - 1) * R : R, (i - 1) % 2);
	}
	return e;
}
