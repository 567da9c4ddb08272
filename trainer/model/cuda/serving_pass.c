/* serving_pass.c - the layers and the head over a slice, in the order of kernels.h; products have all rows of their array (serving.h) */
#include <string.h>

#include "layer.h"
#include "serving_inside.h"

/* out[rows,out] from x[rows,in] */
static int
product(struct serving *g, int i, enum joined which, uint16_t *out, const uint16_t *x)
{
	uint16_t *const *w = g->place.layer[i].w;
	struct columns c = layer_columns(&g->c, which);

	return gpu_linear(g->device.products, out, c.out, x, w[c.weight[0]], c.has_bias ? w[c.bias[0]] : NULL, g->shape.tokens, c.in, c.out);
}

/* From h to what attention adds, in branch. */
static int
attention(struct serving *g, int i)
{
	const struct config *c = &g->c;
	const struct serving_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int S = qkv_width(c), q = q_width(c), kv = kv_width(c), e = product(g, i, QKV, p->qkv, p->h);

	g->kv.at = (size_t)i * gpu_kv_elements(c->kv_heads, c->head_dim);
	if (!e)
		e = layer_rotate(gpu, c, p->layer[i].w, p->qkv, (struct qk_rstd){ NULL, NULL }, p->qkv, g->pos, p->inv_freq, g->T);
	if (!e)
		e = gpu_kv_put(gpu, &g->kv, p->qkv + q, p->qkv + q + kv, S, c->kv_heads, c->head_dim);
	if (!e)
		e = gpu_attend_cached(gpu, p->att, p->qkv, S, &g->kv, p->scratch, c->heads, c->kv_heads, c->head_dim);
	return e ? e : product(g, i, O, p->branch, p->att);
}

/* From h to what the MLP adds, in branch. */
static int
mlp(struct serving *g, int i)
{
	const struct serving_place *p = &g->place;
	int e = product(g, i, GATE_UP, p->gate_up, p->h);

	if (!e)
		e = gpu_swiglu(&g->device.gpu, p->act, p->gate_up, g->T, g->c.ffn);
	return e ? e : product(g, i, DOWN, p->branch, p->act);
}

int
serving_layers(struct serving *g)
{
	const struct serving_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int C = g->c.hidden, e = gpu_embed(gpu, p->x, p->embed, g->ids, g->T, C);

	for (int i = 0; !e && i < g->c.layers; i++) {
		e = gpu_rmsnorm(gpu, p->h, NULL, i > 0 ? p->x : NULL, p->x, i > 0 ? p->branch : NULL, p->layer[i].w[LN1], g->c.eps, g->T, C);
		if (!e)
			e = attention(g, i);
		if (!e)
			e = gpu_rmsnorm(gpu, p->h, NULL, p->x, p->x, p->branch, p->layer[i].w[LN2], g->c.eps, g->T, C);
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
