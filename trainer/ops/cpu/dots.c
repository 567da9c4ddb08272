/* dots.c - the register tile of scalar products for each instruction set */
#include "dots.h"

#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define FETCH_LINE 64

INLINE void
put4(float *out, v4 sums, size_t cols, bool accum)
{
	size_t j;

	if (cols == STRIP) {
		*(v4u *)out = accum ? (v4)*(v4u *)out + sums : sums;
		return;
	}
	for (j = 0; j < cols; j++)
		out[j] = accum ? out[j] + sums[j] : sums[j];
}

#define WIDENED RUN(DT_F32, f32) RUN(DT_F16, f16) RUN(DT_BF16, bf16) RUN(DT_INT8, int8)

/* ---- the base instruction set ---- */

#define NAME(x) base_##x
#define TARGET
#define NATIVE DT_F32
#define E float
#define V v4
#define X v4
#define LANES 4
#define ROWS 2
#define FORMATS WIDENED
#define KEEP(x) (void)0

INLINE v4
base_x_at(const char *x)
{
	return *(const v4u *)x;
}

INLINE v4
base_w_at(const enum dtype d, const char *w, size_t i, const float *scale)
{
	const signed char *q = (const signed char *)w + i;
	float f[4];

	if (d == DT_INT8)
		return (v4){ q[0], q[1], q[2], q[3] } * scale[i / MATRIX_GROUP];
	to_float(f, w + i * dtype_size(d), d, 4);
	return *(const v4u *)f;
}

INLINE v4
base_mac(v4 sum, v4 a, v4 b)
{
	return a * b + sum;
}

INLINE v4
base_sum4(v4 a, v4 b, v4 c, v4 d)
{
	return (v4){ a[0] + a[2], b[0] + b[2], c[0] + c[2], d[0] + d[2] } + (v4){ a[1] + a[3], b[1] + b[3], c[1] + c[3], d[1] + d[3] };
}

INLINE void
base_put(float *out, const float *x)
{
	*(v4u *)out = *(const v4u *)x;
}

#include "dots-tile.h"

#ifdef __x86_64__

/* ---- AVX2 and FMA ---- */

#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define NATIVE DT_F32
#define E float
#define V __m256
#define X __m256
#define LANES 8
#define ROWS 3
#define FORMATS WIDENED
#define KEEP(x) (void)0

INLINE TARGET __m256
avx2_x_at(const char *x)
{
	return _mm256_load_ps((const float *)x);
}

INLINE TARGET __m256
avx2_w_at(const enum dtype d, const char *w, size_t i, const float *scale)
{
	const void *p = w + i * dtype_size(d);

	if (d == DT_F32)
		return _mm256_loadu_ps(p);
	if (d == DT_F16)
		return _mm256_cvtph_ps(_mm_loadu_si128(p));
	if (d == DT_BF16)
		return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
	return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p))), _mm256_set1_ps(scale[i / MATRIX_GROUP]));
}

INLINE TARGET __m256
avx2_mac(__m256 sum, __m256 a, __m256 b)
{
	return _mm256_fmadd_ps(a, b, sum);
}

INLINE TARGET v4
avx2_sum4(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
	__m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
	__m256 all = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));

	return (v4)_mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

INLINE TARGET void
avx2_put(float *out, const float *x)
{
	_mm256_storeu_ps(out, _mm256_loadu_ps(x));
}

#include "dots-tile.h"

/* ---- AVX-512 ---- */

#define AVX512 __attribute__((target("avx512f")))

INLINE AVX512 v4
sum4_512(__m512 a, __m512 b, __m512 c, __m512 d)
{
	__m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	__m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
	__m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
	__m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(all), 1)));

	return (v4)_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

INLINE AVX512 __m512
int8_512(const char *w, float scale)
{
	return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)w))), _mm512_set1_ps(scale));
}

#define NAME(x) avx512_##x
#define TARGET AVX512
#define NATIVE DT_F32
#define E float
#define V __m512
#define X __m512
#define LANES 16
#define ROWS 6
#define FORMATS WIDENED
#define KEEP(x) __asm__("" : "+v"(x))

INLINE TARGET __m512
avx512_x_at(const char *x)
{
	return _mm512_load_ps(x);
}

INLINE TARGET __m512
avx512_w_at(const enum dtype d, const char *w, size_t i, const float *scale)
{
	const void *p = w + i * dtype_size(d);

	if (d == DT_F32)
		return _mm512_loadu_ps(p);
	if (d == DT_F16)
		return _mm512_cvtph_ps(_mm256_loadu_si256(p));
	if (d == DT_BF16)
		return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
	return int8_512(p, scale[i / MATRIX_GROUP]);
}

INLINE TARGET __m512
avx512_mac(__m512 sum, __m512 a, __m512 b)
{
	return _mm512_fmadd_ps(a, b, sum);
}

#define avx512_sum4 sum4_512

INLINE TARGET void
avx512_put(float *out, const float *x)
{
	_mm512_storeu_ps(out, _mm512_loadu_ps(x));
}

#include "dots-tile.h"

/* ---- AVX-512 with the bf16 product: x is rounded to bf16, pairs are multiplied and added in float ---- */

#define NAME(x) bf16_##x
#define TARGET __attribute__((target("avx512f,avx512bf16")))
#define NATIVE DT_BF16
#define E uint16_t
#define V __m512
#define X __m512bh
#define LANES 32
#define ROWS 6
#define FORMATS RUN(DT_BF16, bf16) RUN(DT_INT8, int8)
#define KEEP(x) __asm__("" : "+v"(x))

INLINE TARGET __m512bh
bf16_x_at(const char *x)
{
	return (__m512bh)_mm512_load_si512(x);
}

INLINE TARGET __m512bh
bf16_w_at(const enum dtype d, const char *w, size_t i, const float *scale)
{
	if (d == DT_BF16)
		return (__m512bh)_mm512_loadu_si512(w + 2 * i);
	return _mm512_cvtne2ps_pbh(int8_512(w + i + 16, scale[i / MATRIX_GROUP]), int8_512(w + i, scale[i / MATRIX_GROUP]));
}

INLINE TARGET __m512
bf16_mac(__m512 sum, __m512bh a, __m512bh b)
{
	return _mm512_dpbf16_ps(sum, a, b);
}

#define bf16_sum4 sum4_512

INLINE TARGET void
bf16_put(uint16_t *out, const float *x)
{
	_mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
}

#include "dots-tile.h"

#endif

const struct dots *
dots_for(enum isa i, const struct matrix *w)
{
#ifdef __x86_64__
	if (i == ISA_AVX512BF16 && !w->wide && bf16_dots.run[w->dtype])
		return &bf16_dots;
	if (i >= ISA_AVX512)
		return &avx512_dots;
	if (i == ISA_AVX2)
		return &avx2_dots;
#endif
	(void)i;
	(void)w;
	return &base_dots;
}
