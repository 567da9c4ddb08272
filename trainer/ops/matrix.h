/* matrix.h - a weight matrix as serving reads it: the checkpoint's rows, where they lie
 *
 * The rows [N,K] are stored one behind the other as in the file, usually in its mapping: nothing is converted, packed or copied, so that a
 * checkpoint is loaded by mapping it and processes share its pages. Rows need no alignment and stay the owner's.
 *
 * DT_INT8 is weight-only quantisation: element (n, k) is q * scale[n][k / MATRIX_GROUP] with q in -127..127. */
#ifndef SA_MATRIX_H
#define SA_MATRIX_H

#include <stdbool.h>

#include "dtype.h"

#define MATRIX_GROUP 32		/* weights along K that share a scale */

struct matrix {
	enum dtype dtype;
	bool wide;		/* multiply in float even where the machine has a product of this dtype */
	int N, K;
	const void *rows;	/* [N,K] of dtype */
	const float *scale;	/* [N, matrix_groups(K)]; DT_INT8 only */
};

/* One of several products of the same x: out[T,N] = x[T,K] * w[N,K]^T (+ bias[N] unless NULL) */
struct product {
	const struct matrix *w;
	const float *bias;
	float *out;
};

static inline size_t
matrix_groups(int K)
{
	return (K + MATRIX_GROUP - 1) / MATRIX_GROUP;
}

/* Elements k..k+n of row r as floats; k a multiple of MATRIX_GROUP. */
void matrix_floats(float *out, const struct matrix *w, size_t r, size_t k, size_t n);
/* One row of K floats as int8 with scales: each group's largest magnitude becomes 127. */
void matrix_quantise(signed char *q, float *scale, const float *row, int K);

#endif
