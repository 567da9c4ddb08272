/* gemm.h - matrix products whose bits depend on nothing but the numbers
 *
 * Every element of a product is one chain of fused multiply-adds in ascending order of the summed index, begun from zero or from what
 * was there. Blocking, the number of rows and the threads only decide who computes a chain and when, never its order, so a row's result is
 * the same alone and in a batch, and the same with AVX-512 and AVX2 (a machine without FMA rounds twice). OpenBLAS promises none of this: its
 * kernels differ by shape and its threads split the sum.
 *
 * The same with bf16 numbers: both factors are rounded to bf16 (to nearest, ties to even) as they are packed, their products are exact and are added
 * in float, a pair of neighbouring summed elements at a time. AVX512_BF16 has an instruction for that; elsewhere it is done by shifts and two
 * multiply-adds, slower than float and not quite the same bits, since the instruction takes subnormal numbers for zero.
 *
 * Method: Goto & van de Geijn 2008. B is packed into panels of `width` columns, [k][width]; a tile of rows x width is kept in registers. What is packed
 * comes in units of 4 bytes: a float, or a pair of bf16 numbers, the first one low; an odd last one has a zero beside it. */
#ifndef SA_GEMM_H
#define SA_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "isa.h"
#include "mach.h"

#define TALL 12			/* rows of a packed A; a multiple of every register tile's */
#define TILE_MAX_WIDTH 32

struct tile {
	enum isa isa;	/* it needs */
	enum dtype dtype;	/* DT_F32, DT_BF16 */
	int width;	/* columns of a panel */
	/* c[rows,cols] = (accum ? c : 0) + a * panel, with a's unit (r, i) at a[r * row + i * col], i < k, cols <= width. */
	void (*run)(float *c, size_t ldc, const float *a, size_t row, size_t col, const float *panel, size_t k, size_t rows, size_t cols, bool accum);
};

extern const struct tile *const tiles[];	/* of each dtype the fastest first, those of DT_BF16 behind; NULL at the end; the last of each needs nothing */
const struct tile *tile_best(enum dtype d);	/* of isa_now() */

/* Units that k summed elements take. */
static inline size_t
tile_units(const struct tile *t, size_t k)
{
	return t->dtype == DT_BF16 ? (k + 1) / 2 : k;
}

/* One panel of B's columns 0..cols, k elements of each, zeros past cols. pack_rows: B's element (i, j) is at b[i * ld + j]; pack_cols: at b[j * ld + i]. */
void pack_rows(const struct tile *t, float *panel, const float *b, size_t ld, size_t k, size_t cols);
void pack_cols(const struct tile *t, float *panel, const float *b, size_t ld, size_t k, size_t cols);

/* Rows of A as the tile reads them, k elements of each. take_rows: A's element (r, i) is at a[r * ld + i]; row r's units go to to[r * stride] and on.
 * take_cols: at a[i * ld + r], rows <= TALL; unit (r, i) goes to to[i * TALL + r]. */
void take_rows(const struct tile *t, float *to, size_t stride, const float *a, size_t ld, size_t rows, size_t k);
void take_cols(const struct tile *t, float *to, const float *a, size_t ld, size_t rows, size_t k);

struct mat {
	const float *p;
	size_t row, col;	/* strides; one of them is 1 */
};

/* out[M,N] (row stride ldo) = (accum ? out : 0) + a[M,K] * b[K,N], both taken as numbers of dtype d: DT_F32 or DT_BF16 */
void gemm(struct mach *m, enum dtype d, float *out, size_t ldo, bool accum, struct mat a, struct mat b, size_t M, size_t N, size_t K);

#endif
