/* quantise.c - a row of weights as int8 with a scale for each group */
#include <math.h>

#include "matrix.h"
#include "vec.h"

/* The larger; NaN when one of them is. */
INLINE float
worse(float a, float b)
{
	return b > a || b != b ? b : a;
}

INLINE float
largest(const float *x, size_t n)
{
	float most = 0;
	size_t i;

	for (i = 0; i < n; i++)
		most = worse(most, fabsf(x[i]));
	return most;
}

INLINE signed char
nearest(float x)
{
	x = rintf(x);
	x = x > -127 ? x : -127;
	return x < 127 ? x : 127;
}

CLONES void
matrix_quantise(signed char *q, float *scale, const float *row, int K)
{
	size_t k, i, n;

	for (k = 0; k < (size_t)K; k += n, row += n, q += n, scale++) {
		float by;

		n = K - k < MATRIX_GROUP ? K - k : MATRIX_GROUP;
		*scale = largest(row, n) / 127;
		by = *scale > 0 ? 1 / *scale : 0;	/* NaN: the scale alone says so */
		for (i = 0; i < n; i++)
			q[i] = nearest(row[i] * by);
	}
}
