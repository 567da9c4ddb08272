/* draw.h - from a row of logits to a token
 *
 * Pure: the same logits, settings and generator state give the same token whatever else the server does. Sums run in a fixed
 * order. Where logits are equal the lower id comes first, everywhere. Order of the filters, as in vLLM: temperature, min_p, top_k,
 * top_p. What comes before them is in adjust.h. */
#ifndef SA_DRAW_H
#define SA_DRAW_H

#include <stdint.h>

struct sampling {
	double temperature;	/* 0: the most likely token */
	double top_p;		/* keep the fewest most likely tokens whose probability reaches this; 1: all */
	int top_k;		/* keep the k most likely; 0: all */
	double min_p;		/* keep those with at least this share of the most likely one's probability (arXiv:2407.01082); 0: all */
};

struct candidate {
	float logit;
	int id;
};

/* log(sum(exp(x[i]))), nats (op.h: log_sum_exp); not finite when a logit is NaN or +inf. */
double draw_lse(const float *x, int V);

/* The most likely id, or -1 when a logit is NaN or the largest is not finite. */
int draw_argmax(const float *x, int V);

/* Draw an id, or -1 as above. *rng advances by one step when temperature > 0. `scratch` has room for V candidates. */
int draw_token(const float *x, int V, const struct sampling *how, uint64_t *rng, struct candidate *scratch);

/* The n most likely ids, best first; returns how many (n, or V when that is less). */
int draw_top(const float *x, int V, int n, int *ids);

/* The place of `id` among all, most likely first, from 1. */
int draw_rank(const float *x, int V, int id);

/* The generator's state for choice number `choice` of a request with `seed`. */
uint64_t draw_seed(uint64_t seed, int choice);

#endif
