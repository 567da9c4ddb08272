/* lse.c - log of a sum of exponentials: a row of logits' normaliser */
#include <math.h>

#include "op.h"
#include "vec.h"

#define BLOCK 1024	/* terms that are added in float */

CLONES static float
largest(const float *x, size_t n)
{
	return row_max(x, n);
}

/* Sum of exp(x[i] - shift). */
CLONES static float
sum_exp(const float *x, float shift, size_t n)
{
	float lane[LANES] = { 0 };
	size_t i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] += fast_exp(x[i + l] - shift);
	for (l = 0; i + l < n; l++)
		lane[l] += fast_exp(x[i + l] - shift);
	return lanes_sum(lane);
}

double
log_sum_exp(const float *x, size_t n)
{
	float max = n > 0 ? largest(x, n) : -INFINITY;
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i += BLOCK)
		sum += sum_exp(x + i, max, n - i < BLOCK ? n - i : BLOCK);
	return isfinite(max) ? max + log(sum) : NAN;
}
