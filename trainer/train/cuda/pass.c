/* pass.c - forward and backward through the layers, in the order of kernels.h */
#include <math.h>
#include <stdio.h>

#include "inside.h"
#include "layer.h"

/* ---- looking for what is not finite ---- */

int
cuda_look(struct cuda *g, int layer, const char *name, const uint16_t *x, int stride, int from, int to)
{
	const uint16_t *host;

	if (!g->watching || g->bad)
		return 0;
	if (device_fetch(&g->device, 1, x, (size_t)g->T * (size_t)stride * sizeof *x) || !(host = device_fetched(&g->device, 1)))
		return -1;
	for (int t = 0; t < g->T && !g->bad; t++)
		for (int k = from; k < to && !g->bad; k++)
			g->bad = (host[(size_t)t * (size_t)stride + (size_t)k] & 0x7f80) == 0x7f80;	/* infinity and NaN */
	if (g->bad && layer >= 0)
		snprintf(g->name, sizeof g->name, "the output of model.layers.%d.%s", layer, name);
	else if (g->bad)
		snprintf(g->name, sizeof g->name, "the output of %s", name);
	return 0;
}

/* ---- forward ---- */

/* out[T,out] from x[T,in], with bias and adapters. */
static int
product(struct cuda *g, int i, enum joined which, uint16_t *out, const uint16_t *x)
{
	const struct gpu_layer *w = &g->place.layer[i];
	struct columns c = layer_columns(&g->c, which);
	int at = 0, e = gpu_linear(g->device.products, out, c.out, x, w->w[c.weight[0]], c.has_bias ? w->w[c.bias[0]] : NULL, g->T, c.in, c.out);

	for (int k = 0; !e && k < c.n; at += c.width[k++])
		e = cuda_adapter(g, i, c.projection[k], out + at, c.out, x);
	return e;
}

/* x of a layer from what the one before it left, or as it is when `from` is NULL; and its norm. */
static int
norm_input(struct cuda *g, int i, const uint16_t *from)
{
	const struct gpu_layer *w = &g->place.layer[i];
	const struct gpu_acts *l = &g->place.acts[i];
	int e = gpu_rmsnorm(&g->device.gpu, l->h1, l->rstd1, from ? l->x : NULL, from ? from : l->x, from ? g->place.branch : NULL, w->w[LN1], g->c.eps, g->T,
			    g->c.hidden);

	if (!e)
		e = cuda_look(g, i, "input", l->x, g->c.hidden, 0, g->c.hidden);
	return e ? e : cuda_look(g, i, "input_layernorm", l->h1, g->c.hidden, 0, g->c.hidden);
}

static int
rotate(struct cuda *g, int i)
{
	const struct gpu_acts *l = &g->place.acts[i];

	return layer_rotate(&g->device.gpu, &g->c, g->place.layer[i].w, l->qk, (struct qk_rstd){ l->qrstd, l->krstd }, l->qkv, g->pos, g->place.inv_freq, g->T);
}

static int
look_at_attention(struct cuda *g, int i)
{
	const struct gpu_acts *l = &g->place.acts[i];
	int S = qkv_width(&g->c), q = q_width(&g->c), kv = kv_width(&g->c), e = 0;

	e = cuda_look(g, i, g->c.qk_norm ? "self_attn.q_proj" : "self_attn.q", l->qkv, S, 0, q);
	if (!e)
		e = cuda_look(g, i, g->c.qk_norm ? "self_attn.k_proj" : "self_attn.k", l->qkv, S, q, q + kv);
	if (!e && g->c.qk_norm)
		e = cuda_look(g, i, "self_attn.q", l->qk, S, 0, q);
	if (!e && g->c.qk_norm)
		e = cuda_look(g, i, "self_attn.k", l->qk, S, q, q + kv);
	if (!e)
		e = cuda_look(g, i, "self_attn.v_proj", l->qkv, S, q + kv, S);
	return e ? e : cuda_look(g, i, "self_attn", l->att, q, 0, q);
}

/* From h1 to what attention adds, in branch. */
static int
attention(struct cuda *g, int i)
{
	const struct config *c = &g->c;
	const struct gpu_acts *l = &g->place.acts[i];
	int S = qkv_width(&g->c), q = q_width(&g->c), kv = kv_width(&g->c), e = product(g, i, QKV, l->qkv, l->h1);

	if (!e)
		e = rotate(g, i);
	if (!e)
		e = gpu_attend(&g->device.gpu, l->att, l->lse, l->qk, l->qk + q, l->qkv + q + kv, S, g->cu, g->nseq, g->longest, g->T, c->heads, c->kv_heads,
			       c->head_dim);
	if (!e)
		e = look_at_attention(g, i);
	return e ? e : product(g, i, O, g->place.branch, l->att);
}

/* From branch, what attention adds, to what the MLP adds. */
static int
mlp(struct cuda *g, int i)
{
	const struct config *c = &g->c;
	const struct gpu_layer *w = &g->place.layer[i];
	const struct gpu_acts *l = &g->place.acts[i];
	struct gpu *gpu = &g->device.gpu;
	int C = c->hidden, F = c->ffn, T = g->T, e = gpu_rmsnorm(gpu, l->h2, l->rstd2, l->x2, l->x, g->place.branch, w->w[LN2], c->eps, T, C);

	if (!e)
		e = cuda_look(g, i, "self_attn.o_proj", l->x2, C, 0, C);
	if (!e)
		e = cuda_look(g, i, "post_attention_layernorm", l->h2, C, 0, C);
	if (!e)
		e = product(g, i, GATE_UP, l->gate_up, l->h2);
	if (!e)
		e = cuda_look(g, i, "mlp.gate_proj", l->gate_up, 2 * F, 0, F);
	if (!e)
		e = cuda_look(g, i, "mlp.up_proj", l->gate_up, 2 * F, F, 2 * F);
	if (!e)
		e = gpu_swiglu(gpu, l->act, l->gate_up, T, F);
	if (!e)
		e = cuda_look(g, i, "mlp.act_fn", l->act, F, 0, F);
	return e ? e : product(g, i, DOWN, g->place.branch, l->act);
}

int
cuda_forward(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;
	int last = g->c.layers - 1, e = cuda_ranks_need(g, -1);

	if (!e)
		e = gpu_embed(gpu, p->acts[0].x, p->embed, g->ids, g->T, g->c.hidden);
	for (int i = 0; !e && i <= last; i++) {
		e = cuda_ranks_need(g, i);
		if (!e)
			e = norm_input(g, i, i > 0 ? p->acts[i - 1].x2 : NULL);
		if (!e)
			e = attention(g, i);
		if (!e)
			e = mlp(g, i);
	}
	if (!e)
		e = cuda_ranks_need(g, g->c.layers);
	if (!e)
		e = gpu_add(gpu, p->branch, p->acts[last].x2, (size_t)g->T * (size_t)g->c.hidden);
	return e ? e : cuda_look(g, -1, "the last layer", p->branch, g->c.hidden, 0, g->c.hidden);
}

/* ---- backward ---- */

/* dx[T,in], the gradient of a product's input. */
static int
product_back_x(struct cuda *g, int i, enum joined which, uint16_t *dx, const uint16_t *dout)
{
	struct columns c = layer_columns(&g->c, which);
	int at = 0, e = gpu_linear_back_x(g->device.products, dx, 0, dout, c.out, g->place.layer[i].w[c.weight[0]], g->T, c.in, c.out);

	for (int k = 0; !e && k < c.n; at += c.width[k++])
		e = cuda_adapter_back_x(g, i, c.projection[k], k, dx, dout + at, c.out);
	return e;
}

/* Gradients of the weights, biases and adapters, after that: one product for as many weights as lie behind one another and are trained. */
static int
product_back_w(struct cuda *g, int i, enum joined which, const uint16_t *dout, const uint16_t *x)
{
	const struct gpu_layer *w = &g->place.layer[i];
	struct columns c = layer_columns(&g->c, which);
	int at = 0, e = 0;

	for (int k = 0, next; !e && k < c.n; k = next) {
		int width = c.width[k];
		float *dw = w->dw[c.weight[k]];

		for (next = k + 1; dw && next < c.n && w->dw[c.weight[next]]; next++)
			width += c.width[next];
		if (dw)
			e = gpu_linear_back_w(g->device.products, dw, dout + at, c.out, x, g->T, c.in, width);
		at += width;
	}
	at = 0;
	for (int k = 0; !e && k < c.n; at += c.width[k++]) {
		if (c.has_bias && w->dw[c.bias[k]])
			e = gpu_bias_back(&g->device.gpu, w->dw[c.bias[k]], dout + at, c.out, g->place.scratch, g->T, c.width[k]);
		if (!e)
			e = cuda_adapter_back_w(g, i, c.projection[k], k, dout + at, c.out, x);
	}
	return e;
}

static int
mlp_back(struct cuda *g, int i)
{
	struct gpu_place *p = &g->place;
	const struct gpu_layer *w = &p->layer[i];
	const struct gpu_acts *l = &p->acts[i];
	struct gpu *gpu = &g->device.gpu;
	int C = g->c.hidden, F = g->c.ffn, T = g->T, e = product_back_x(g, i, DOWN, p->dwide, p->dx);

	if (!e)	/* its gradient takes gate_up's place, SwiGLU's output is made again where it is not kept */
		e = gpu_swiglu_back(gpu, l->gate_up, g->run.keep == KEEP_PRODUCTS ? l->act : NULL, p->dwide, l->gate_up, T, F);
	if (!e)
		e = product_back_w(g, i, DOWN, p->dx, l->act);
	if (!e)
		e = product_back_x(g, i, GATE_UP, p->dh, l->gate_up);
	if (!e && g->run.keep == KEEP_PRODUCTS)
		e = gpu_rmsnorm(gpu, l->h2, l->rstd2, NULL, l->x2, NULL, w->w[LN2], g->c.eps, T, C);
	if (!e)
		e = product_back_w(g, i, GATE_UP, l->gate_up, l->h2);
	return e ? e : gpu_rmsnorm_back(gpu, p->dx, w->dw[LN2], p->dh, l->x2, w->w[LN2], l->rstd2, p->scratch, T, C);
}

/* From the gradients of what attention read to those of the product, in place. */
static int
rotate_back(struct cuda *g, int i, uint16_t *dqkv)
{
	const struct config *c = &g->c;
	const struct gpu_layer *w = &g->place.layer[i];
	const struct gpu_acts *l = &g->place.acts[i];
	struct gpu *gpu = &g->device.gpu;
	int S = qkv_width(&g->c), q = q_width(&g->c), H = c->heads, G = c->kv_heads, D = c->head_dim, T = g->T;
	int e = gpu_rope(gpu, dqkv, S, g->pos, g->place.inv_freq, -1, T, H, D);

	if (!e)
		e = gpu_rope(gpu, dqkv + q, S, g->pos, g->place.inv_freq, -1, T, G, D);
	if (!e && c->qk_norm)
		e = gpu_headnorm_back(gpu, dqkv, w->dw[QNORM], dqkv, S, l->qkv, S, w->w[QNORM], l->qrstd, g->place.scratch, T, H, D);
	if (!e && c->qk_norm)
		e = gpu_headnorm_back(gpu, dqkv + q, w->dw[KNORM], dqkv + q, S, l->qkv + q, S, w->w[KNORM], l->krstd, g->place.scratch, T, G, D);
	return e;
}

static int
attention_back(struct cuda *g, int i)
{
	const struct config *c = &g->c;
	struct gpu_place *p = &g->place;
	const struct gpu_layer *w = &p->layer[i];
	const struct gpu_acts *l = &p->acts[i];
	struct gpu *gpu = &g->device.gpu;
	int C = c->hidden, S = qkv_width(&g->c), q = q_width(&g->c), kv = kv_width(&g->c), T = g->T;
	uint16_t *dqkv = p->dwide, *datt = p->dwide + (size_t)T * (size_t)S;
	int e = product_back_x(g, i, O, datt, p->dx);

	if (!e)
		e = product_back_w(g, i, O, p->dx, l->att);
	if (!e && g->run.keep == KEEP_PRODUCTS) {
		e = gpu_rmsnorm(gpu, l->h1, l->rstd1, NULL, l->x, NULL, w->w[LN1], c->eps, T, C);
		if (!e && c->qk_norm)
			e = rotate(g, i);
	}
	if (!e)
		e = gpu_attend_back(gpu, dqkv, dqkv + q, dqkv + q + kv, S, datt, l->qk, l->qk + q, l->qkv + q + kv, S, l->att, l->lse, g->cu, g->nseq, g->longest,
				    p->scratch, T, c->heads, c->kv_heads, c->head_dim);
	if (!e)
		e = rotate_back(g, i, dqkv);
	if (!e)
		e = product_back_x(g, i, QKV, p->dh, dqkv);
	if (!e)
		e = product_back_w(g, i, QKV, dqkv, l->h1);
	return e ? e : gpu_rmsnorm_back(gpu, p->dx, w->dw[LN1], p->dh, l->x, w->w[LN1], l->rstd1, p->scratch, T, C);
}

static bool
trains(const struct gpu_layer *w)
{
	for (int s = 0; s < PER_LAYER; s++)
		if (w->dw[s])
			return true;
	for (int p = 0; p < PROJECTIONS; p++)
		if (w->lora[p].da || w->lora[p].db)
			return true;
	return false;
}

/* The lowest layer in which something is trained, or that the embedding's gradient goes through. */
static int
lowest_layer(const struct cuda *g)
{
	int i = 0;

	while (!g->place.dembed && i < g->c.layers && !trains(&g->place.layer[i]))
		i++;
	return i;
}

int
cuda_backward(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	bool watching = g->watching;
	int lowest = lowest_layer(g), e = 0;

	g->watching = false;	/* what is made again was looked at */
	for (int i = g->c.layers - 1; !e && i >= lowest; i--) {
		if (g->run.keep == KEEP_BLOCKS) {
			e = norm_input(g, i, NULL);
			if (!e)
				e = attention(g, i);
			if (!e)
				e = mlp(g, i);
		}
		if (!e)
			e = mlp_back(g, i);
		if (!e)
			e = attention_back(g, i);
		if (!e)
			e = cuda_ranks_done(g, i);
	}
	g->watching = watching;
	if (!e && p->dembed)
		e = gpu_embed_back(&g->device.gpu, p->dembed, p->dx, g->at, g->first, g->id, g->different, g->c.hidden);
	return e ? e : cuda_ranks_done(g, -1);
}
