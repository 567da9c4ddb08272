/* attend_rows.c - softmax(q k^T) v for one block of queries, over the tiles of gemm.h
 *
 * A block's scores against all earlier keys are held at once ([48, n], never [T, T]), so the softmax needs no rescaling and
 * every sum runs over absolute key positions: the result of a row does not depend on which rows share its block. With a tile of bf16 numbers q, k, v
 * and the exponentials are rounded, while scores and all sums, that of the exponentials too, are float. */
#include "attend.h"

#include <math.h>
#include <string.h>

#include "vec.h"

static size_t
round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

size_t
panels_floats(const struct tile *t, size_t n, int D)
{
	return round_up(n, t->width) * round_up(D, t->width);
}

void
pack_keys(const struct tile *t, float *kt, const float *k, size_t stride, size_t n, int D)
{
	size_t w = t->width, j;

	for (j = 0; j < n; j += w, kt += tile_units(t, D) * w)
		pack_cols(t, kt, k + j * stride, stride, D, n - j < w ? n - j : w);
}

void
pack_values(const struct tile *t, float *v, const float *from, size_t stride, size_t n, int D)
{
	int w = t->width, d;

	for (d = 0; d < D; d += w, v += tile_units(t, n) * w)
		pack_rows(t, v, from + d, stride, n, D - d < w ? D - d : w);
}

size_t
scores_stride(size_t n)
{
	return round_up(n, TILE_MAX_WIDTH) + LANES;
}

struct mat
taken(const struct tile *t, const float *x, size_t ld, int D, size_t rows, float *room)
{
	size_t units = tile_units(t, D);

	if (t->dtype == DT_F32)
		return (struct mat){ x, ld, 1 };
	take_rows(t, room, units, x, ld, rows, D);
	return (struct mat){ room, units, 1 };
}

void
scores(const struct tile *t, float *s, size_t lds, struct mat q, const float *kt, int D, size_t rows, size_t n)
{
	size_t w = t->width, units = tile_units(t, D), j;

	for (j = 0; j < n; j += w)
		t->run(s + j, lds, q.p, q.row, q.col, kt + j * units, units, rows, w, false);
}

void
times_panels(const struct tile *t, float *c, size_t ldc, struct mat a, const float *panels, size_t held, size_t n, int D, size_t rows, bool accum)
{
	int w = t->width, d;

	for (d = 0; d < D; d += w, panels += tile_units(t, held) * w)
		t->run(c + d, ldc, a.p, a.row, a.col, panels, tile_units(t, n), rows, D - d < w ? D - d : w, accum);
}

/* s[0..n) becomes exp(scale s - max), what is past n up to `end` zero. Returns the sum. */
CLONES static float
softmax(float *s, size_t n, size_t end, float scale, float *max)
{
	*max = row_max(s, n) * scale;
	memset(s + n, 0, (end - n) * sizeof *s);
	return row_exp(s, scale, *max, n);
}

CLONES static void
times(float *x, float by, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		x[i] *= by;
}

/* The scores of all rows against keys 0..last: page by page, and of a page head by head, as they lie in memory. */
static void
all_scores(const struct panels *p, float *s, size_t lds, struct mat q, size_t rows, size_t last)
{
	size_t each = rows / p->heads, j, n, g;

	if (!p->page)
		scores(p->tile, s, lds, q, p->kt, p->D, rows, last);
	for (j = 0; p->page && j < last; j += KV_PAGE) {
		n = last - j < KV_PAGE ? last - j : KV_PAGE;
		for (g = 0; g < (size_t)p->heads; g++)
			scores(p->tile, s + g * each * lds + j, lds, (struct mat){ q.p + g * each * q.row, q.row, 1 }, p->page[j / KV_PAGE] + p->kt_at + g * p->head,
			       p->D, each, n);
	}
}

/* out[rows, D] = s * values 0..last, s in units: one chain a number, carried on from page to page. */
static void
all_values(const struct panels *p, float *out, size_t ldo, const float *s, size_t lds, size_t rows, size_t last)
{
	size_t each = rows / p->heads, j, n, g;

	if (!p->page)
		times_panels(p->tile, out, ldo, (struct mat){ s, lds, 1 }, p->v, p->n, last, p->D, rows, false);
	for (j = 0; p->page && j < last; j += KV_PAGE) {
		n = last - j < KV_PAGE ? last - j : KV_PAGE;
		for (g = 0; g < (size_t)p->heads; g++)
			times_panels(p->tile, out + g * each * ldo, ldo, (struct mat){ s + g * each * lds + tile_units(p->tile, j), lds, 1 },
				     p->page[j / KV_PAGE] + p->v_at + g * p->head, KV_PAGE, n, p->D, each, j > 0);
	}
}

size_t
attend_room(size_t n, int D)
{
	return QUERIES * (scores_stride(n) + D);
}

void
attend_rows(const struct panels *p, float *out, size_t ldo, float *lse, size_t ldlse, const float *q, size_t ldq, size_t rows, size_t first, size_t step, float *room)
{
	size_t last = first + (rows - 1) * step + 1, lds = scores_stride(p->n), i;
	float *s = room, scale = 1 / sqrtf(p->D), max, sum[QUERIES];

	all_scores(p, s, lds, taken(p->tile, q, ldq, p->D, rows, room + QUERIES * lds), rows, last);
	for (i = 0; i < rows; i++) {
		sum[i] = softmax(s + i * lds, first + i * step + 1, last, scale, &max);
		if (lse)
			lse[i * ldlse] = max + logf(sum[i]);
	}
	if (p->tile->dtype != DT_F32)
		take_rows(p->tile, s, lds, s, lds, rows, last);
	all_values(p, out, ldo, s, lds, rows, last);
	for (i = 0; i < rows; i++)
		times(out + i * ldo, 1 / sum[i], p->D);
}
