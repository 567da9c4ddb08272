/* sumsq.c - sum of squares, plain */
#include "plain.h"

double
plain_sumsq(struct mach *m, const float *x, size_t n)
{
	double sum = 0;
	size_t i;

	(void)m;
	for (i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	return sum;
}
