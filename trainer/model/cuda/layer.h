/* layer.h - what training and serving on a GPU share of a layer: which of its matrices are one product, and queries and keys before attention
 *
 * Projections of one input lie behind one another, weights and biases, and so do the columns of their product. The operations, in the order of kernels.h,
 * stand in each pass of its own, train/cuda/pass.c and serving_pass.c: between any two of them training looks for what is not finite, adds adapters and keeps
 * what the backward reads, and serving has products of more rows than tokens and attention over pages. */
#ifndef SA_LAYER_H
#define SA_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

struct gpu;

enum joined { QKV, O, GATE_UP, DOWN, JOINED };

struct columns {
	enum slot weight[3], bias[3];
	enum projection projection[3];
	int width[3], n;
	int in, out;	/* all of them */
	bool has_bias;
};

struct columns layer_columns(const struct config *c, enum joined which);

/* Elements of a token: queries, keys or values alone, all three. */
static inline int
q_width(const struct config *c)
{
	return c->heads * c->head_dim;
}

static inline int
kv_width(const struct config *c)
{
	return c->kv_heads * c->head_dim;
}

static inline int
qkv_width(const struct config *c)
{
	return q_width(c) + 2 * kv_width(c);
}

/* Norms' statistics of queries and keys, [T,H] [T,G]; NULL: not kept. */
struct qk_rstd {
	float *q, *k;
};

/* Queries and keys as attention takes them, into the rows of qk, from those of the product qkv, both [T,S]: with their norms, where the family has some,
 * and turned by position. qk may be qkv, and is where there are no norms. w: by slot. */
int layer_rotate(struct gpu *g, const struct config *c, uint16_t *const *w, uint16_t *qk, struct qk_rstd rstd, const uint16_t *qkv, const int *pos,
		 const float *inv_freq, int T);

#endif
