/* matrix.c - rows of a weight matrix to floats */
#include "matrix.h"

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
