/* roof - what this machine can do at most, measured: the roof under which the figures of `make bench-infer` are read
 *
 *     bench-roof [THREADS]
 *
 * One JSON line: {"bf16","fp32"} the peak of the widest multiply-add that the CPU has, in GFLOP/s (bf16: products of pairs that are added to
 * float, null where there is no such instruction), out of registers alone; {"read","read_huge"} how fast 1 GiB that was just written is read, in
 * GB/s, from pages of 4 KiB and from huge ones. Each the best of five, by THREADS threads (2). */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <immintrin.h>

#include "clock.h"
#include "err.h"
#include "num.h"

#define BYTES ((size_t)1 << 30)
#define HUGE ((size_t)2 << 20)
#define ROUNDS 20000000		/* of products: a few tenths of a second */
#define SUMS 12			/* that do not wait for each other: more than latency times throughput, and they fit the registers */
#define MAX_THREADS 256

typedef void work(const char *p, size_t n);

struct share {
	work *work;
	const char *p;
	size_t n;
};

static volatile float sink;	/* what was computed is used */

#define PRODUCTS(name, isa, type, set, fma)					\
	__attribute__((target(isa))) static void				\
	name(const char *p, size_t n)						\
	{									\
		type c[SUMS];							\
		float out[sizeof(type) / sizeof(float)];			\
										\
		(void)p;							\
		_Pragma("GCC unroll 12")					\
		for (int i = 0; i < SUMS; i++)					\
			c[i] = set((float)i);					\
		for (size_t k = 0; k < n; k++) {				\
			_Pragma("GCC unroll 12")	/* into registers */	\
			for (int i = 0; i < SUMS; i++)				\
				c[i] = fma;					\
			__asm__ volatile("" ::: "memory");			\
		}								\
		_Pragma("GCC unroll 12")					\
		for (int i = 1; i < SUMS; i++)					\
			c[0] += c[i];						\
		memcpy(out, c, sizeof out);					\
		sink = out[0];							\
	}

#define QUARTERS ((__m512bh)_mm512_set1_epi16(0x3e80))
PRODUCTS(bf16_512, "avx512f,avx512bf16", __m512, _mm512_set1_ps, _mm512_dpbf16_ps(c[i], QUARTERS, QUARTERS))
PRODUCTS(fp32_512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps(c[i], _mm512_set1_ps(0.5F), _mm512_set1_ps(0.25F)))
PRODUCTS(fp32_256, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps(c[i], _mm256_set1_ps(0.5F), _mm256_set1_ps(0.25F)))

#define READ(name, isa, type, load, add)					\
	__attribute__((target(isa))) static void				\
	name(const char *p, size_t n)						\
	{									\
		type a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };		\
										\
		for (const type *v = (const type *)p, *end = (const type *)(p + n); v < end; v += 4) {	\
			a = add(a, load(v));					\
			b = add(b, load(v + 1));				\
			c = add(c, load(v + 2));				\
			d = add(d, load(v + 3));				\
		}								\
		a = add(add(a, b), add(c, d));					\
		sink = (float)a[0];						\
	}

READ(read_512, "avx512f", __m512i, _mm512_load_si512, _mm512_add_epi64)
READ(read_256, "avx2", __m256i, _mm256_load_si256, _mm256_add_epi64)

static void *
run_share(void *arg)
{
	const struct share *s = arg;

	s->work(s->p, s->n);
	return NULL;
}

/* The least seconds of five that `threads` take, each with n of it, of its own where there is a p. */
static double
best(work *w, const char *p, size_t n, int threads)
{
	pthread_t t[MAX_THREADS];
	struct share s[MAX_THREADS];
	double least = 1e9, from;

	for (int r = 0; r < 5; r++) {
		from = clock_seconds();
		for (int i = 0; i < threads; i++) {
			s[i] = (struct share){ w, p ? p + n * (size_t)i : NULL, n };
			if (pthread_create(&t[i], NULL, run_share, &s[i]) != 0)
				die(STATUS_IO, "no thread to be had");
		}
		for (int i = 0; i < threads; i++)
			pthread_join(t[i], NULL);
		least = clock_seconds() - from < least ? clock_seconds() - from : least;
	}
	return least;
}

/* lanes: multiply-adds in one instruction. */
static double
gflops(work *w, int lanes, int threads)
{
	return 2.0 * lanes * SUMS * ROUNDS * threads / best(w, NULL, ROUNDS, threads) / 1e9;
}

static double
bandwidth(bool huge, int threads)
{
	char *room = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;
	size_t share = BYTES / (size_t)threads / 4096 * 4096;
	double s;

	if (room == MAP_FAILED)
		die(STATUS_IO, "no memory");
	p = room + HUGE - (size_t)room % HUGE;
	madvise(p, BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(p, 1, BYTES);
	s = best(__builtin_cpu_supports("avx512f") ? read_512 : read_256, p, share, threads);
	munmap(room, BYTES + HUGE);
	return (double)share * threads / s / 1e9;
}

int
main(int argc, char **argv)
{
	long long threads = 2;
	bool wide = __builtin_cpu_supports("avx512f");
	struct err e;

	prog_init(argv[0]);
	if (argc > 2 || (argc > 1 && num_int(argv[1], 1, MAX_THREADS, &threads, &e) < 0))
		die(STATUS_USAGE, "usage: bench-roof [THREADS]");
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		die(STATUS_USAGE, "this CPU has no AVX2");
	printf("{\"bf16\":");
	if (__builtin_cpu_supports("avx512bf16"))
		printf("%.0f", gflops(bf16_512, 32, (int)threads));
	else
		printf("null");
	printf(",\"fp32\":%.0f", wide ? gflops(fp32_512, 16, (int)threads) : gflops(fp32_256, 8, (int)threads));
	printf(",\"read\":%.1f,\"read_huge\":%.1f}\n", bandwidth(false, (int)threads), bandwidth(true, (int)threads));
	return 0;
}
