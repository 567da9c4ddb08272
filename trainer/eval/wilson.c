/* wilson.c - see wilson.h */

#include "wilson.h"

#include <math.h>

#define Z95 1.959963984540054	/* 97.5% quantile of the normal distribution */

struct interval
wilson(size_t k, size_t n)
{
	double p, z2 = Z95 * Z95, half, mid, scale;

	if (n == 0)
		return (struct interval){ 0, 1 };
	p = (double)k / (double)n;
	scale = 1 / (1 + z2 / (double)n);
	mid = scale * (p + z2 / (2 * (double)n));
	half = scale * Z95 * sqrt(p * (1 - p) / (double)n + z2 / (4 * (double)n * (double)n));
	/* At the ends the exact bound is 0 or 1; rounding must not leave it a hair off. */
	return (struct interval){ k == 0 ? 0 : mid - half, k == n ? 1 : mid + half };
}
