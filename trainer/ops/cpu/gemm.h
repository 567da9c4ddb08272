/* gemm.h - matrix products whose bits depend on nothing but the numbers
 *
 * Every element of a product is one chain of fused multiply-adds in ascending order of the summed index, begun from zero or from what
 * was there. Blocking, the number of rows and the threads only decide who computes a chain and when, never its order, so a row's result is
 * the same alone and in a batch, and the same with AVX-512 and AVX2 (a machine without FMA rounds twice). OpenBLAS promises none of this: its
 * kernels differ by shape and its threads split the sum.
 *
 * Method: Goto & van de Geijn 2008. B is packed into panels of `width` columns, [k][width]; a tile of rows x width is kept in registers. */
#ifndef SA_GEMM_H
#define SA_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "isa.h"
#include "mach.h"

struct tile {
	enum isa isa;	/* it needs */
	int width;	/* columns of a panel */
	/* c[rows,cols] = (accum ? c : 0) + a * panel, with a's element (r, i) at a[r * row + i * col], i < k, cols <= width. */
	void (*run)(float *c, size_t ldc, const float *a, size_t row, size_t col, const float *panel, size_t k, size_t rows, size_t cols, bool accum);
};

#define TILE_MAX_WIDTH 32

extern const struct tile *const tiles[];	/* fastest first, NULL at the end; the last one needs nothing */
const struct tile *tile_best(void);	/* of isa_now() */

/* One panel [k][width] of B's columns 0..cols, zeros past cols. from_rows: B's element (i, j) is at b[i * ld + j]; from_cols: at b[j * ld + i]. */
void pack_rows(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols);
void pack_cols(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols);

struct mat {
	const float *p;
	size_t row, col;	/* strides; one of them is 1 */
};

/* out[M,N] (row stride ldo) = (accum ? out : 0) + a[M,K] * b[K,N] */
void gemm(struct mach *m, float *out, size_t ldo, bool accum, struct mat a, struct mat b, size_t M, size_t N, size_t K);

#endif
