/* layer.c - see layer.h */
#include "layer.h"

#include "kernels.h"

struct columns
layer_columns(const struct config *c, enum joined which)
{
	int C = c->hidden, F = c->ffn, q = q_width(c), kv = kv_width(c);

	switch (which) {
	case QKV:
		return (struct columns){ .weight = { WQ, WK, WV }, .bias = { BQ, BK, BV }, .projection = { PROJ_Q, PROJ_K, PROJ_V }, .width = { q, kv, kv }, .n = 3,
					 .in = C, .out = qkv_width(c), .has_bias = c->qkv_bias };
	case O:
		return (struct columns){ .weight = { WO }, .projection = { PROJ_O }, .width = { C }, .n = 1, .in = q, .out = C };
	case GATE_UP:
		return (struct columns){ .weight = { WGATE, WUP }, .projection = { PROJ_GATE, PROJ_UP }, .width = { F, F }, .n = 2, .in = C, .out = 2 * F };
	default:
		return (struct columns){ .weight = { WDOWN }, .projection = { PROJ_DOWN }, .width = { C }, .n = 1, .in = F, .out = C };
	}
}

int
layer_rotate(struct gpu *g, const struct config *c, uint16_t *const *w, uint16_t *qk, struct qk_rstd rstd, const uint16_t *qkv, const int *pos,
	     const float *inv_freq, int T)
{
	int S = qkv_width(c), q = q_width(c), e = 0;

	if (c->qk_norm) {
		e = gpu_headnorm(g, qk, S, rstd.q, qkv, S, w[QNORM], c->eps, T, c->heads, c->head_dim);
		if (!e)
			e = gpu_headnorm(g, qk + q, S, rstd.k, qkv + q, S, w[KNORM], c->eps, T, c->kv_heads, c->head_dim);
	}
	if (!e)
		e = gpu_rope(g, qk, S, pos, inv_freq, 1, T, c->heads, c->head_dim);
	return e ? e : gpu_rope(g, qk + q, S, pos, inv_freq, 1, T, c->kv_heads, c->head_dim);
}
