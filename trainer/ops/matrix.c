/* matrix.c - rows of a weight matrix to floats, and to int8 */
#include "matrix.h"

#include <math.h>

static void
from_int8(float *out, const struct matrix *w, size_t r, size_t k, size_t n)
{
	const signed char *q = (const signed char *)w->rows + r * w->K + k;
	const float *scale = w->scale + r * matrix_groups(w->K) + k / MATRIX_GROUP;
	size_t i;

	for (i = 0; i < n; i++)
		out[i] = scale[i / MATRIX_GROUP] * q[i];
}

void
matrix_floats(float *out, const struct matrix *w, size_t r, size_t k, size_t n)
{
	if (w->dtype == DT_INT8)
		from_int8(out, w, r, k, n);
	else
		to_float(out, (const char *)w->rows + (r * w->K + k) * dtype_size(w->dtype), w->dtype, n);
}

/* NaN when one of them is: it must not be lost. */
static float
largest(const float *x, int n)
{
	float most = 0;
	int i;

	for (i = 0; i < n && !isnan(most); i++)
		if (!(fabsf(x[i]) <= most))
			most = fabsf(x[i]);
	return most;
}

void
matrix_quantise(signed char *q, float *scale, const float *row, int K)
{
	int k, i, n;

	for (k = 0; k < K; k += n, row += n, q += n, scale++) {
		n = K - k < MATRIX_GROUP ? K - k : MATRIX_GROUP;
		*scale = largest(row, n) / 127;
		for (i = 0; i < n; i++)
			q[i] = *scale > 0 ? fminf(fmaxf(rintf(row[i] / *scale), -127), 127) : 1;	/* 1: a scale of 0 stays 0, and NaN stays */
	}
}
