/* spike.c - the median of the last losses */
#include <math.h>
#include <string.h>

#include "spike.h"

static double
median_of(const double *x, int n)
{
	double v[SPIKE_LAST];

	for (int i = 0; i < n; i++) {
		int k = i;

		for (; k > 0 && v[k - 1] > x[i]; k--)
			v[k] = v[k - 1];
		v[k] = x[i];
	}
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void
remember(struct recent *r, double loss)
{
	if (r->n == SPIKE_LAST)
		memmove(r->loss, r->loss + 1, (size_t)--r->n * sizeof *r->loss);
	r->loss[r->n++] = loss;
}

bool
spike_next(struct recent *r, double loss, double *median)
{
	double apart[SPIKE_LAST], sd;
	bool spike = false;

	*median = 0;
	if (r->n >= SPIKE_LEAST) {
		*median = median_of(r->loss, r->n);
		for (int i = 0; i < r->n; i++)
			apart[i] = fabs(r->loss[i] - *median);
		sd = 1.4826 * median_of(apart, r->n);
		spike = loss - *median > fmax(6 * sd, 0.1 * *median);
	}
	remember(r, loss);
	return spike;
}
