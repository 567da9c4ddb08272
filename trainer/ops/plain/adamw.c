/* adamw.c - one AdamW update, plain */
#include <math.h>

#include "plain.h"

void
plain_adamw(struct mach *m, float *w, const float *g, float *mom, float *var, size_t n, float gscale, float lr, float b1, float b2, float eps, float decay, long step)
{
	double c1 = 1 - pow(b1, step), c2 = 1 - pow(b2, step);
	size_t i;

	(void)m;
	for (i = 0; i < n; i++) {
		double d = (double)g[i] * gscale;

		mom[i] = b1 * (double)mom[i] + (1 - (double)b1) * d;
		var[i] = b2 * (double)var[i] + (1 - (double)b2) * d * d;
		w[i] -= lr * (mom[i] / c1 / (sqrt(var[i] / c2) + eps) + decay * w[i]);
	}
}
