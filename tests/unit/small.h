/* small.h - a small model without a file, and its logits: what the tests of the model share */
#ifndef SMALL_H
#define SMALL_H

#include "model.h"
#include "t.h"

static struct mach *mach;

static inline struct config
mid_config(void)
{
	return (struct config){ .hidden = 64, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96, .vocab = 301, .max_pos = 1024, .eps = 1e-5f,
				.tied = true, .rope_theta = 10000, .init_range = 0.2f };
}

static inline void
fill_ids(int *ids, int n, int V, unsigned seed)
{
	int i;

	for (i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		ids[i] = (seed >> 8) % V;
	}
}

/* Caches of `tokens` in all. */
static inline struct kv_pool *
pool_for(const struct model *m, int tokens)
{
	return kv_pool_new(&m->c, m->ops, (tokens + KV_PAGE - 1) / KV_PAGE * kv_page_bytes(&m->c, m->ops));
}

/* The logits of ids[0..n), all rows, in one go. */
static inline float *
run(struct model *m, const int *ids, int n)
{
	float *logits = malloc((size_t)n * m->c.vocab * sizeof *logits);
	struct kv_pool *pool = pool_for(m, n);
	struct kv *kv = kv_new(pool);
	struct err e;

	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids, n, 0, logits }, 1, &e), 0);
	CHECK_INT(kv_len(kv), n);
	kv_free(kv);
	kv_pool_free(pool);
	return logits;
}

static inline double
largest_difference(const float *a, const float *b, size_t n)
{
	double most = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (isnan(a[i]) || isnan(b[i]))
			return INFINITY;
		most = fmax(most, fabs((double)a[i] - b[i]));
	}
	return most;
}

#endif
