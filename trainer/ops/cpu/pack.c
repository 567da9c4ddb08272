/* pack.c - factors of a product in the form that the register tiles read: floats as they are, or rounded to pairs of bf16 numbers */
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "gemm.h"
#include "vec.h"

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

/* ---- floats ---- */

/* Whole panels: with the width known the copy is a few moves instead of a call. */
static inline __attribute__((always_inline)) void
copy_panel(float *panel, const int width, const float *b, size_t ld, size_t k)
{
	size_t i;

	for (i = 0; i < k; i++)
		memcpy(panel + i * width, b + i * ld, width * sizeof *b);
}

static void
float_rows(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t i;

	if (cols == 32 && width == 32) {
		copy_panel(panel, 32, b, ld, k);
	} else if (cols == 16 && width == 16) {
		copy_panel(panel, 16, b, ld, k);
	} else {
		for (i = 0; i < k; i++, panel += width, b += ld) {
			memcpy(panel, b, cols * sizeof *b);
			memset(panel + cols, 0, (width - cols) * sizeof *panel);
		}
	}
}

/* Four columns, four elements of each: a 4 x 4 transpose in registers. */
static inline void
turn4(float *panel, int width, const float *b, size_t ld)
{
	typedef int i4 __attribute__((vector_size(16)));
	v4 a0 = *(const v4u *)b, a1 = *(const v4u *)(b + ld), a2 = *(const v4u *)(b + 2 * ld), a3 = *(const v4u *)(b + 3 * ld);
	v4 lo01 = __builtin_shuffle(a0, a1, (i4){ 0, 4, 1, 5 }), hi01 = __builtin_shuffle(a0, a1, (i4){ 2, 6, 3, 7 });
	v4 lo23 = __builtin_shuffle(a2, a3, (i4){ 0, 4, 1, 5 }), hi23 = __builtin_shuffle(a2, a3, (i4){ 2, 6, 3, 7 });

	*(v4u *)panel = __builtin_shuffle(lo01, lo23, (i4){ 0, 1, 4, 5 });
	*(v4u *)(panel + width) = __builtin_shuffle(lo01, lo23, (i4){ 2, 3, 6, 7 });
	*(v4u *)(panel + 2 * width) = __builtin_shuffle(hi01, hi23, (i4){ 0, 1, 4, 5 });
	*(v4u *)(panel + 3 * width) = __builtin_shuffle(hi01, hi23, (i4){ 2, 3, 6, 7 });
}

/* Elements of each column at a time: the part of the panel being written stays in the first cache. */
#define STRIP 64

/* Fetch the strip that comes a panel's worth of work (some 200 ns) later: at batch 1 packing is all there is to a product, and its short runs
 * are too many for the hardware to foresee. */
static inline void
fetch(const float *b, size_t ld)
{
	int j, i;

	for (j = 0; j < 4; j++)
		for (i = 0; i < STRIP; i += 16)
			__builtin_prefetch(b + j * ld + i);
}

/* Elements i..end of columns j..j+3. */
static inline void
turn_strip(float *panel, int width, const float *b, size_t ld, size_t i, size_t end, size_t j)
{
	b += j * ld;
	panel += j;
	for (; i + 4 <= end; i += 4)
		turn4(panel + i * width, width, b + i, ld);
	for (; i < end; i++)
		memcpy(panel + i * width, (float[]){ b[i], b[ld + i], b[2 * ld + i], b[3 * ld + i] }, 4 * sizeof *b);
}

static void
float_cols(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t i0, i, end, j;

	for (i0 = 0; i0 < k; i0 = end) {
		end = k - i0 < STRIP ? k : i0 + STRIP;
		for (j = 0; j + 4 <= cols; j += 4) {
			if (end < k)
				fetch(b + j * ld + end, ld);
			else
				fetch(b + (width + j) * ld, ld);	/* most likely the next panel */
			turn_strip(panel, width, b, ld, i0, end, j);
		}
		for (; j < (size_t)width; j++)
			for (i = i0; i < end; i++)
				panel[i * width + j] = j < cols ? b[j * ld + i] : 0;
	}
}

/* ---- pairs of bf16 numbers: by the instruction of AVX512_BF16 ---- */

#ifdef __x86_64__

#define TARGET __attribute__((target("avx512f,avx512bw,avx512bf16")))

/* The lowest n of 16 lanes. */
static inline __mmask16
lanes(size_t n)
{
	return n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff;
}

/* lo[0] hi[0] lo[1] hi[1] ... */
static inline TARGET __m512i
zip(__m512 lo, __m512 hi)
{
	const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

	return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}

static TARGET void
fast_rows(float *panel, const float *b, size_t ld, size_t k, size_t cols)
{
	__mmask16 left = lanes(cols), right = cols > 16 ? lanes(cols - 16) : 0;
	size_t i;

	for (i = 0; i < k; i += 2, b += 2 * ld, panel += 32) {
		bool both = i + 1 < k;

		_mm512_storeu_si512(panel, zip(_mm512_maskz_loadu_ps(left, b), both ? _mm512_maskz_loadu_ps(left, b + ld) : _mm512_setzero_ps()));
		_mm512_storeu_si512(panel + 16, zip(_mm512_maskz_loadu_ps(right, b + 16), both ? _mm512_maskz_loadu_ps(right, b + ld + 16) : _mm512_setzero_ps()));
	}
}

/* Up to 32 floats as 16 units, zeros past them. */
static inline TARGET __m512i
units_at(const float *x, size_t n)
{
	return (__m512i)_mm512_cvtne2ps_pbh(n > 16 ? _mm512_maskz_loadu_ps(lanes(n - 16), x + 16) : _mm512_setzero_ps(), _mm512_maskz_loadu_ps(lanes(n), x));
}

/* v[i][j] becomes v[j][i]: within quarters of the registers, then quarter by quarter. */
static inline TARGET void
transpose16(__m512i v[16])
{
	__m512i t[16];
	int i;

#pragma GCC unroll 16
	for (i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
	}
#pragma GCC unroll 4
	for (i = 0; i < 16; i += 4) {
		v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (i = 0; i < 4; i++) {
		__m512i even = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88), odd = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
		__m512i even2 = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88), odd2 = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);

		t[i] = _mm512_shuffle_i32x4(even, even2, 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
		t[i + 8] = _mm512_shuffle_i32x4(even, even2, 0xdd);
		t[i + 12] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
	}
#pragma GCC unroll 16
	for (i = 0; i < 16; i++)
		v[i] = t[i];
}

static TARGET void
fast_cols(float *panel, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t i, j, c, u;
	__m512i v[16];

	for (i = 0; i < k; i += 32)
		for (j = 0; j < 32; j += 16) {
#pragma GCC unroll 16
			for (c = 0; c < 16; c++)
				v[c] = j + c < cols ? units_at(b + (j + c) * ld + i, k - i) : _mm512_setzero_si512();
			transpose16(v);
#pragma GCC unroll 16
			for (u = 0; u < 16; u++)
				if (i + 2 * u < k)
					_mm512_storeu_si512(panel + (i / 2 + u) * 32 + j, v[u]);
		}
}

static TARGET void
fast_take_rows(float *to, size_t stride, const float *a, size_t ld, size_t rows, size_t k)
{
	size_t r, i;

	for (r = 0; r < rows; r++, a += ld, to += stride) {
		for (i = 0; i + 32 <= k; i += 32)
			_mm512_storeu_si512(to + i / 2, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(a + i)));
		if (i < k)
			_mm512_mask_storeu_epi32(to + i / 2, lanes((k - i + 1) / 2), units_at(a + i, k - i));
	}
}

static TARGET void
fast_take_cols(float *to, const float *a, size_t ld, size_t rows, size_t k)
{
	__mmask16 some = lanes(rows);
	size_t i;

	for (i = 0; i < k; i += 2, a += 2 * ld, to += TALL)
		_mm512_mask_storeu_epi32(to, some, zip(_mm512_maskz_loadu_ps(some, a), i + 1 < k ? _mm512_maskz_loadu_ps(some, a + ld) : _mm512_setzero_ps()));
}

#endif

/* ---- the same on any machine ---- */

/* To nearest, ties to even; a NaN stays one. */
INLINE uint32_t
bf16_bits(float f)
{
	uint32_t b;

	memcpy(&b, &f, sizeof b);
	return (b & 0x7fffffff) > 0x7f800000 ? b >> 16 | 0x40 : (b + 0x7fff + (b >> 16 & 1)) >> 16;
}

/* Unit j is the pair of low[j] and high[j] (NULL: zeros). */
CLONES static void
zip_floats(float *to, const float *low, const float *high, size_t n)
{
	uint32_t u;
	size_t j;

	for (j = 0; j < n; j++) {
		u = bf16_bits(low[j]) | (high ? bf16_bits(high[j]) << 16 : 0);
		memcpy(to + j, &u, sizeof u);
	}
}

/* n floats as units, `step` apart. */
CLONES static void
pair_floats(float *to, size_t step, const float *x, size_t n)
{
	uint32_t u;
	size_t i;

	for (i = 0; i < n; i += 2) {
		u = bf16_bits(x[i]) | (i + 1 < n ? bf16_bits(x[i + 1]) << 16 : 0);
		memcpy(to + i / 2 * step, &u, sizeof u);
	}
}

static void
slow_rows(float *panel, size_t width, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t i;

	for (i = 0; i < k; i += 2, b += 2 * ld, panel += width) {
		zip_floats(panel, b, i + 1 < k ? b + ld : NULL, cols);
		memset(panel + cols, 0, (width - cols) * sizeof *panel);
	}
}

static void
slow_cols(float *panel, size_t width, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t j, i;

	for (j = 0; j < width; j++)
		if (j < cols)
			pair_floats(panel + j, width, b + j * ld, k);
		else
			for (i = 0; i < k; i += 2)
				panel[i / 2 * width + j] = 0;
}

/* ---- either ---- */

/* Does this tile's machine round by itself? */
static bool
fast(const struct tile *t)
{
	return t->dtype == DT_BF16 && t->isa == ISA_AVX512BF16;
}

void
pack_rows(const struct tile *t, float *panel, const float *b, size_t ld, size_t k, size_t cols)
{
	if (t->dtype == DT_F32)
		float_rows(panel, t->width, b, ld, k, cols);
#ifdef __x86_64__
	else if (fast(t))
		fast_rows(panel, b, ld, k, cols);
#endif
	else
		slow_rows(panel, (size_t)t->width, b, ld, k, cols);
}

void
pack_cols(const struct tile *t, float *panel, const float *b, size_t ld, size_t k, size_t cols)
{
	if (t->dtype == DT_F32)
		float_cols(panel, t->width, b, ld, k, cols);
#ifdef __x86_64__
	else if (fast(t))
		fast_cols(panel, b, ld, k, cols);
#endif
	else
		slow_cols(panel, (size_t)t->width, b, ld, k, cols);
}

void
take_rows(const struct tile *t, float *to, size_t stride, const float *a, size_t ld, size_t rows, size_t k)
{
	size_t r;

#ifdef __x86_64__
	if (fast(t)) {
		fast_take_rows(to, stride, a, ld, rows, k);
		return;
	}
#endif
	for (r = 0; r < rows; r++)
		if (t->dtype == DT_F32)
			memcpy(to + r * stride, a + r * ld, k * sizeof *to);
		else
			pair_floats(to + r * stride, 1, a + r * ld, k);
}

void
take_cols(const struct tile *t, float *to, const float *a, size_t ld, size_t rows, size_t k)
{
	size_t i;

#ifdef __x86_64__
	if (fast(t)) {
		fast_take_cols(to, a, ld, rows, k);
		return;
	}
#endif
	if (t->dtype == DT_F32 && rows == TALL)	/* with the length known the copy is a few moves instead of a call */
		for (i = 0; i < k; i++)
			memcpy(to + i * TALL, a + i * ld, TALL * sizeof *to);
	else if (t->dtype == DT_F32)
		for (i = 0; i < k; i++)
			memcpy(to + i * TALL, a + i * ld, rows * sizeof *to);
	else
		for (i = 0; i < k; i += 2)
			zip_floats(to + i / 2 * TALL, a + i * ld, i + 1 < k ? a + (i + 1) * ld : NULL, rows);
}
