/* dots.h - scalar products of rows of x with rows of a weight matrix, for each instruction set
 *
 * Both lie along K, so nothing is packed: a register tile of `rows` x 4 sums has a vector of lanes a sum. Lane l takes the elements l, l + lanes, ...
 * of a block of K (pairs of them where the machine has a bf16 product); after a block the lanes are added as a tree, and blocks are added in
 * order. That order depends on K and the instruction set alone: neither on the rows, nor on the neighbours in the tile, nor on the threads. */
#ifndef SA_DOTS_H
#define SA_DOTS_H

#include <stdbool.h>
#include <stddef.h>

#include "isa.h"
#include "matrix.h"

#define STRIP 4		/* rows of the matrix in a tile */
#define BLOCK_BYTES 2048	/* of x, in a block of K: six rows of x and four of the matrix lie in the first cache together */
#define FETCH 4		/* most runs fetched with a tile */

/* Four rows of the matrix, from some element on; past the matrix's last row, that one again. */
struct strip {
	const char *w[STRIP];
	const float *scale[STRIP];	/* DT_INT8 only */
};

struct dots {
	enum dtype native;	/* of x, and of rows that were widened */
	size_t lanes;		/* elements of a vector: x is followed by zeros up to a multiple of that */
	size_t rows;		/* most rows of x in a tile */
	/* n floats as `native`, zeros up to a multiple of lanes */
	void (*take)(void *to, const float *x, size_t n);
	/* n elements of a row of dtype d as `native`; the same zeros */
	void (*widen)(void *to, enum dtype d, const char *w, const float *scale, size_t n);
	/* out[r, 0..cols) = (accum ? out : 0) + x[r, 0..k) w^T, cols <= STRIP. ldx in bytes. Meanwhile what k elements of a row take is fetched from
	 * each of ahead[0..fetch), fetch 0, 1, 2 or 4. */
	void (*run[DT_INT8 + 1])(float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum,
				 const char *const *ahead, int fetch);
};

/* What this matrix is multiplied with on that instruction set. */
const struct dots *dots_for(enum isa i, const struct matrix *w);

#endif
