/* tile.c - the register tile of a matrix product for each instruction set */
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

/* Pairs of bf16 numbers. The raw bits go through registers of floats, which change nothing in a load or a store. */

#define NAME(x) pairs512_##x
#define TARGET __attribute__((target("avx512f,avx512bf16")))
#define V __m512
#define WIDE 16
#define ROWS 12
#define SPLAT(p) _mm512_set1_ps(*(p))
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define FMA(a, b, c) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#include "tile.h"

/* The second of a pair is its high half as it is, the first one a shift away. */
#define LOW512(a) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 16))
#define HIGH512(a) _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0xffff0000)))

#define NAME(x) split512_##x
#define TARGET __attribute__((target("avx512f")))
#define V __m512
#define WIDE 16
#define ROWS 12
#define SPLAT(p) _mm512_set1_ps(*(p))
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define FMA(a, b, c) _mm512_fmadd_ps(HIGH512(a), HIGH512(b), _mm512_fmadd_ps(LOW512(a), LOW512(b), c))
#include "tile.h"

#define LOW256(a) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 16))
#define HIGH256(a) _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)))

#define NAME(x) split256_##x
#define TARGET __attribute__((target("avx2,fma")))
#define V __m256
#define WIDE 8
#define ROWS 4
#define SPLAT(p) _mm256_set1_ps(*(p))
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define FMA(a, b, c) _mm256_fmadd_ps(HIGH256(a), HIGH256(b), _mm256_fmadd_ps(LOW256(a), LOW256(b), c))
#include "tile.h"

static const struct tile avx512 = { ISA_AVX512, DT_F32, 32, avx512_run };
static const struct tile avx2 = { ISA_AVX2, DT_F32, 16, avx2_run };
static const struct tile pairs512 = { ISA_AVX512BF16, DT_BF16, 32, pairs512_run };
static const struct tile split512 = { ISA_AVX512, DT_BF16, 32, split512_run };
static const struct tile split256 = { ISA_AVX2, DT_BF16, 16, split256_run };

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

typedef uint32_t u4 __attribute__((vector_size(16)));

#define NAME(x) split_##x
#define TARGET
#define V v4
#define WIDE 4
#define ROWS 4
#define SPLAT(p) ((v4){ *(p), *(p), *(p), *(p) })
#define LOAD(p) ((v4)*(const v4u *)(p))
#define STORE(p, v) (*(v4u *)(p) = (v))
#define FMA(a, b, c) ((v4)((u4)(a) & 0xffff0000) * (v4)((u4)(b) & 0xffff0000) + ((v4)((u4)(a) << 16) * (v4)((u4)(b) << 16) + (c)))
#include "tile.h"

static const struct tile base = { ISA_PLAIN, DT_F32, 8, base_run };
static const struct tile split = { ISA_PLAIN, DT_BF16, 8, split_run };

const struct tile *const tiles[] = {
#ifdef __x86_64__
	&avx512, &avx2,
#endif
	&base,
#ifdef __x86_64__
	&pairs512, &split512, &split256,
#endif
	&split, NULL,
};

const struct tile *
tile_best(enum dtype d)
{
	int i = 0;

	while (tiles[i]->isa > isa_now() || tiles[i]->dtype != d)
		i++;
	return tiles[i];
}
