/* tile.c - the register tile of a matrix product for each instruction set, and packing */
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "gemm.h"

#ifdef __x86_64__

#define NAME(x) avx512_##x
#define TARGET __attribute__((target("avx512f")))
#define V __m512
#define WIDE 16
#define ROWS 12
#define SPLAT(p) _mm512_set1_ps(*(p))
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "tile.h"

#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2,fma")))
#define V __m256
#define WIDE 8
#define ROWS 6
#define SPLAT(p) _mm256_set1_ps(*(p))
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "tile.h"

static const struct tile avx512 = { ISA_AVX512, 32, avx512_run };
static const struct tile avx2 = { ISA_AVX2, 16, avx2_run };

#endif

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

#define NAME(x) base_##x
#define TARGET
#define V v4
#define WIDE 4
#define ROWS 6
#define SPLAT(p) ((v4){ *(p), *(p), *(p), *(p) })
#define LOAD(p) ((v4)*(const v4u *)(p))
#define STORE(p, v) (*(v4u *)(p) = (v))
#define FMA(a, b, c) ((a) * (b) + (c))
#include "tile.h"

static const struct tile base = { ISA_PLAIN, 8, base_run };

const struct tile *const tiles[] = {
#ifdef __x86_64__
	&avx512, &avx2,
#endif
	&base, NULL,
};

const struct tile *
tile_best(void)
{
	int i = 0;

	while (tiles[i]->isa > isa_now())
		i++;
	return tiles[i];
}

/* Whole panels: with the width known the copy is a few moves instead of a call. */
static inline __attribute__((always_inline)) void
copy_rows(float *panel, const int width, const float *b, size_t ld, size_t k)
{
	size_t i;

	for (i = 0; i < k; i++)
		memcpy(panel + i * width, b + i * ld, width * sizeof *b);
}

void
pack_rows(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols)
{
	size_t i;

	if (cols == 32 && width == 32) {
		copy_rows(panel, 32, b, ld, k);
	} else if (cols == 16 && width == 16) {
		copy_rows(panel, 16, b, ld, k);
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

void
pack_cols(float *panel, int width, const float *b, size_t ld, size_t k, size_t cols)
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
