/* add.c - sum of two arrays, plain */
#include "plain.h"

void
plain_add(struct mach *m, float *out_acc, const float *x, size_t n)
{
	size_t i;

	(void)m;
	for (i = 0; i < n; i++)
		out_acc[i] += x[i];
}
