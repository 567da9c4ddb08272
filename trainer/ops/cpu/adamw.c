/* adamw.c - one AdamW update, threaded */
#include <math.h>

#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *w, *mom, *var;
	const float *g;
	size_t n;
	float gscale, lr, b1, b2, eps, decay;
	float c1, c2;	/* 1 / (1 - b^step): the bias corrections */
};

CLONES static void
update(float *restrict w, const float *restrict g, float *restrict mom, float *restrict var, size_t n, const struct job *j)
{
	float gscale = j->gscale, lr = j->lr, b1 = j->b1, b2 = j->b2, eps = j->eps, decay = j->decay, c1 = j->c1, c2 = j->c2;
	float a1 = 1 - (double)b1, a2 = 1 - (double)b2;
	size_t i;

	for (i = 0; i < n; i++) {
		float d = g[i] * gscale;

		mom[i] = b1 * mom[i] + a1 * d;
		var[i] = b2 * var[i] + a2 * (d * d);
		w[i] -= lr * (mom[i] * c1 / (sqrtf(var[i] * c2) + eps) + decay * w[i]);
	}
}

static void
part_update(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t from, to;

	mach_range(j->n, LANES, part, parts, &from, &to);
	update(j->w + from, j->g + from, j->mom + from, j->var + from, to - from, j);
}

void
cpu_adamw(struct mach *m, float *w, const float *g, float *mom, float *var, size_t n, float gscale, float lr, float b1, float b2, float eps, float decay, long step)
{
	struct job j = { w, mom, var, g, n, gscale, lr, b1, b2, eps, decay, 1 / (1 - pow(b1, step)), 1 / (1 - pow(b2, step)) };

	mach_run_if(m, 10.0 * n, part_update, &j);
}
