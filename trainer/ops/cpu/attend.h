/* attend.h - what the attentions share: one block of queries against all keys before them */
#ifndef SA_ATTEND_H
#define SA_ATTEND_H

#include "gemm.h"

#define QUERIES 48	/* rows of a block: four register tiles; half a block of keys is masked on average, so not many more */

/* Keys and values of one kv head as panels of the tile's units: kt for q k^T ([n/width][D][width]), v for p v ([D/width][n][width]). Either of all keys, or
 * of KV_PAGE keys in each page, at its float kt_at and v_at. */
struct panels {
	const struct tile *tile;
	float *kt, *v;
	size_t n;	/* keys */
	int D;
	float *const *page;	/* NULL: kt and v */
	size_t kt_at, v_at;
	int heads;		/* kv heads that lie one after the other in a page, `head` floats apart; 1 where there are no pages */
	size_t head;
};

size_t panels_floats(const struct tile *t, size_t n, int D);	/* enough for either */
void pack_keys(const struct tile *t, float *kt, const float *k, size_t stride, size_t n, int D);
void pack_values(const struct tile *t, float *v, const float *from, size_t stride, size_t n, int D);

/* Rows of x as the tile reads them: floats where they are, else in `room` of rows * tile_units(t, D) floats. */
struct mat taken(const struct tile *t, const float *x, size_t ld, int D, size_t rows, float *room);
/* s[rows, n rounded up to the width] = q k^T, not scaled; q as taken() leaves it */
void scores(const struct tile *t, float *s, size_t lds, struct mat q, const float *kt, int D, size_t rows, size_t n);
/* Row stride of scores against n keys: whole vectors, and rows do not lie a multiple of the page apart. */
size_t scores_stride(size_t n);
/* c[rows, D] (+)= a[rows, n] * b[n, D], a as take_rows() leaves it, b in panels that hold `held` >= n rows each */
void times_panels(const struct tile *t, float *c, size_t ldc, struct mat a, const float *panels, size_t held, size_t n, int D, size_t rows, bool accum);

/* Floats of scratch for attend_rows() against n keys. */
size_t attend_room(size_t n, int D);
/* out[rows, D]: query i sees keys 0..first + i * step. The first rows / heads of them are the first kv head's, and so on. lse[i * ldlse] unless NULL.
 * rows <= QUERIES. */
void attend_rows(const struct panels *p, float *out, size_t ldo, float *lse, size_t ldlse, const float *q, size_t ldq, size_t rows, size_t first, size_t step,
		 float *room);

#endif
