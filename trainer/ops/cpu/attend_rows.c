/* attend_rows.c - softmax(q k^T) v for one block of queries, over the tiles of gemm.h
 *
 * A block's scores against all earlier keys are held at once ([48, n], never [T, T]), so the softmax needs no rescaling and
 * every sum runs over absolute key positions: the result of a row does not depend on which rows share its block. With a tile of bf16 numbers q, k, v
 * and the exponentials are rounded, while scores and all sums, that of the exponentials too, are float. */
#include "attend.h"

#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

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

#ifdef __x86_64__

#define TARGET __attribute__((target("avx512f,avx512bw,avx512bf16")))

/* 2^x, x <= 0, within 2e-7: the polynomial of Cephes' exp2f (Moshier). */
static inline TARGET __m512
exp2_512(__m512 x)
{
	__m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT), f = _mm512_sub_ps(x, n), p = _mm512_set1_ps(1.535336188319500e-4f);

	p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.339887440266574e-3f));
	p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.618437357674640e-3f));
	p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550332471162809e-2f));
	p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.402264791363012e-1f));
	p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.931472028550421e-1f));
	return _mm512_scalef_ps(_mm512_fmadd_ps(p, f, _mm512_set1_ps(1)), n);
}

/* Lanes i..n of a row's vector that begins at i. */
static inline __mmask16
lanes(size_t i, size_t n)
{
	return i + LANES <= n ? 0xffff : i < n ? (__mmask16)((1u << (n - i)) - 1) : 0;
}

/* softmax() that leaves the exponentials as pairs of bf16 numbers. */
static TARGET float
softmax_pairs(float *s, size_t n, size_t end, float scale, float *max)
{
	__m512 most = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps(), by = _mm512_set1_ps(scale * 1.44269504f), low, high;
	size_t i;

	for (i = 0; i < n; i += LANES)
		most = _mm512_mask_max_ps(most, lanes(i, n), _mm512_maskz_loadu_ps(lanes(i, n), s + i), most);
	*max = _mm512_reduce_max_ps(most);
	most = _mm512_set1_ps(*max);
	*max *= scale;
	for (i = 0; i < end; i += 2 * LANES) {
		__mmask16 l = lanes(i, n), h = lanes(i + LANES, n);

		low = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(l, s + i), most), by);
		high = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(h, s + i + LANES), most), by);
		low = _mm512_maskz_mov_ps(l, exp2_512(low));
		high = _mm512_maskz_mov_ps(h, exp2_512(high));
		sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
		_mm512_storeu_si512(s + i / 2, (__m512i)_mm512_cvtne2ps_pbh(high, low));
	}
	return _mm512_reduce_add_ps(sum);
}

#endif

/* The exponentials of a row as the tile takes them, and their sum. */
static float
row_softmax(const struct tile *t, float *s, size_t n, size_t end, float scale, float *max)
{
	float sum;

#ifdef __x86_64__
	if (t->dtype == DT_BF16 && t->isa == ISA_AVX512BF16)
		return softmax_pairs(s, n, end, scale, max);
#endif
	sum = softmax(s, n, end, scale, max);
	if (t->dtype == DT_BF16)
		take_rows(t, s, 0, s, 0, 1, end);
	return sum;
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
		sum[i] = row_softmax(p->tile, s + i * lds, first + i * step + 1, last, scale, &max);
		if (lse)
			lse[i * ldlse] = max + logf(sum[i]);
	}
	all_values(p, out, ldo, s, lds, rows, last);
	for (i = 0; i < rows; i++)
		times(out + i * ldo, 1 / sum[i], p->D);
}
