/* add.c - sum of two arrays, and an array times a number, plain */
#include "plain.h"

void
plain_add(struct mach *m, float *out_acc, const float *x, size_t n)
{
	size_t i;

	(void)m;
	for (i = 0; i < n; i++)
		out_acc[i] += x[i];
}

void
plain_scale(struct mach *m, float *x, float by, size_t n)
{
	size_t i;

	(void)m;
	for (i = 0; i < n; i++)
		x[i] *= by;
}
