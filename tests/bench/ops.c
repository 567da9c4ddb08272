/* ops.c - the matrix products of the model engine beside what the machine can do, by instruction set
 *
 *     bench-ops [THREADS [MILLISECONDS a figure]]
 *
 * Peaks first: multiply-adds in registers and reading of 1 GiB (4 KiB and huge pages). Then the products of a 1B Llama shape, best of some
 * repetitions: GFLOP/s and the part of the instruction set's own peak for 512 rows and 32; GB/s of weights and the part of the reading speed for
 * 8 rows and 1. The matrices of a layer follow each other in memory, so that one row reads them from there and not from a cache. Last the products of
 * training, forward and both backward ones, of bf16 numbers where the instruction set has them. */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "cpu/isa.h"
#include "err.h"
#include "num.h"
#include "op.h"

#define MEMORY ((size_t)1 << 30)

static struct mach *mach;
static double seconds = 0.3;	/* a figure */
static char *memory;

/* The shortest of the runs that fit into the time, at least two. */
static double
best(void (*fn)(void *arg, int part, int parts), void *arg, bool here)
{
	double end = clock_seconds() + seconds, least = 1e9, was;
	int i;

	for (i = 0; i < 2 || clock_seconds() < end; i++) {
		was = clock_seconds();
		if (here)
			fn(arg, 0, 1);
		else
			mach_run(mach, fn, arg);
		least = clock_seconds() - was < least ? clock_seconds() - was : least;
	}
	return least;
}

/* ---- peaks ---- */

#define TURNS 2000000L
#define CHAINS 12

#define PEAK(name, features, V, zero, fma) \
static __attribute__((target(features))) void \
name(void *arg, int part, int parts) \
{ \
	V sum[CHAINS], x = zero; \
	long n; \
	int i; \
	(void)arg; (void)part; (void)parts; \
	for (i = 0; i < CHAINS; i++) \
		sum[i] = zero; \
	for (n = 0; n < TURNS; n++) { \
		_Pragma("GCC unroll 12") \
		for (i = 0; i < CHAINS; i++) \
			sum[i] = fma; \
		__asm__ volatile("" : "+v"(x)); \
	} \
	for (i = 0; i < CHAINS; i++) \
		__asm__ volatile("" : : "v"(sum[i])); \
}
PEAK(peak_sse, "sse2", __m128, _mm_setzero_ps(), _mm_add_ps(_mm_mul_ps(x, x), sum[i]))
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(x, x, sum[i]))
PEAK(peak_avx512, "avx512f", __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(x, x, sum[i]))
PEAK(peak_bf16, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), _mm512_dpbf16_ps(sum[i], (__m512bh)x, (__m512bh)x))

static double
peak(enum isa i)
{
	static const struct {
		void (*fn)(void *arg, int part, int parts);
		int flops;
	} p[ISA_COUNT] = { { peak_sse, 8 }, { peak_avx2, 16 }, { peak_avx512, 32 }, { peak_bf16, 64 } };

	return (double)mach_threads(mach) * TURNS * CHAINS * p[i].flops / best(p[i].fn, NULL, false) / 1e9;
}

static void
read_part(void *arg, int part, int parts)
{
	const char *p = memory + MEMORY / parts / 64 * 64 * part, *end = p + MEMORY / parts / 256 * 256;
	__m128i a = _mm_setzero_si128(), b = a, c = a, d = a;

	(void)arg;
	for (; p < end; p += 64) {
		const __m128i *v = (const __m128i *)p;

		__builtin_prefetch(p + 2048);
		a = _mm_xor_si128(a, v[0]);
		b = _mm_xor_si128(b, v[1]);
		c = _mm_xor_si128(c, v[2]);
		d = _mm_xor_si128(d, v[3]);
	}
	a = _mm_xor_si128(_mm_xor_si128(a, b), _mm_xor_si128(c, d));
	__asm__ volatile("" : : "x"(a));
}

/* Leaves `memory` filled with small bf16 numbers. */
static double
reading(int advice)
{
	size_t i;

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, MEMORY, advice);
	for (i = 0; i < MEMORY / 2; i++)
		((uint16_t *)memory)[i] = 0x3c00 + i % 256;
	return MEMORY / best(read_part, NULL, false) / 1e9;
}

/* ---- products ---- */

struct shape {
	const char *name;
	int n, N[3], K;		/* products of one x */
};

static const struct shape shapes[] = {
	{ "q, k, v", 3, { 2048, 512, 512 }, 2048 }, { "o", 1, { 2048 }, 2048 }, { "gate, up", 2, { 8192, 8192 }, 2048 },
	{ "down", 1, { 2048 }, 8192 }, { "head", 1, { 128256 }, 2048 },
};

struct task {
	struct product p[3];
	struct matrix w[3];
	int n, T;
	float *x;
	size_t step, at;	/* bytes of weights; where they lie */
};

static void
products(void *arg, int part, int parts)
{
	struct task *t = arg;
	int i;

	(void)part;
	(void)parts;
	if (t->at + t->step > MEMORY)
		t->at = 0;
	for (i = 0; i < t->n; i++) {
		t->w[i].rows = memory + t->at;
		t->at += (size_t)t->w[i].N * t->w[i].K * dtype_size(t->w[i].dtype);
	}
	ops_cpu.products(mach, t->p, t->n, t->x, t->T);
}

static void
time_shape(const struct shape *s, enum dtype d, int T, double flops, double bytes)
{
	static const char *const names[] = { "f32", "f16", "bf16", "int8" };
	struct task t = { .n = s->n, .T = T, .x = calloc((size_t)T * s->K, sizeof(float)) };
	size_t weights = 0;
	double took;
	int i;

	for (i = 0; i < T * s->K; i++)
		t.x[i] = i % 7 - 3;
	for (i = 0; i < s->n; i++) {
		size_t groups = s->N[i] * matrix_groups(s->K), g;
		float *scale = malloc(groups * sizeof *scale);

		for (g = 0; g < groups; g++)
			scale[g] = 1e-3f;
		t.w[i] = (struct matrix){ .dtype = d, .N = s->N[i], .K = s->K, .scale = scale };
		t.p[i] = (struct product){ &t.w[i], NULL, malloc((size_t)T * s->N[i] * sizeof(float)) };
		weights += (size_t)s->N[i] * s->K;
	}
	t.step = weights * dtype_size(d);
	took = best(products, &t, true);
	if (T > 8)
		printf("  %-9s %-5s %4d rows %7.1f GFLOP/s %4.0f%%\n", s->name, names[d], T, 2.0 * weights * T / took / 1e9, 200.0 * weights * T / took / flops / 1e9);
	else
		printf("  %-9s %-5s %4d rows %7.1f GB/s    %4.0f%%\n", s->name, names[d], T, t.step / took / 1e9, 100 * t.step / took / bytes / 1e9);
	for (i = 0; i < s->n; i++) {
		free(t.p[i].out);
		free((float *)t.w[i].scale);
	}
	free(t.x);
}

/* ---- training ---- */

struct step {
	const struct ops *ops;
	int what, T, K, N;	/* what: forward, gradient of the input, of the weight */
	float *x, *w, *out, *dw;
};

static void
step(void *arg, int part, int parts)
{
	struct step *s = arg;

	(void)part;
	(void)parts;
	if (s->what == 0)
		s->ops->linear(mach, s->out, s->x, s->w, NULL, s->T, s->K, s->N);
	else
		s->ops->linear_back(mach, s->what == 1 ? s->x : NULL, 0, s->what == 2 ? s->dw : NULL, NULL, s->out, s->x, s->w, s->T, s->K, s->N);
}

static float *
numbers(size_t n)
{
	float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);

	for (size_t i = 0; p && i < n; i++)
		p[i] = (float)(i % 7) / 8 - 0.375f;
	return p;
}

static void
time_training(const struct ops *ops, double flops)
{
	static const struct { const char *name; int T, K, N; } of[] = {
		{ "60M q, o", 2048, 512, 512 }, { "60M gate", 2048, 512, 1536 }, { "60M head", 256, 512, 32000 }, { "5M q, o", 2048, 192, 192 }, { "1B o", 2048, 2048, 2048 },
	};

	for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
		size_t T = (size_t)of[i].T, K = (size_t)of[i].K, N = (size_t)of[i].N;
		struct step s = { ops, 0, of[i].T, of[i].K, of[i].N, numbers(T * K), numbers(N * K), numbers(T * N), numbers(N * K) };

		printf("  %-9s training", of[i].name);
		for (s.what = 0; s.what < 3; s.what++) {
			double took = best(step, &s, true);

			printf("  %s %7.1f GFLOP/s %3.0f%%", (const char *[]){ "forward", "dx", "dw" }[s.what], 2.0 * T * K * N / took / 1e9, 200.0 * T * K * N / took / flops / 1e9);
		}
		putchar('\n');
		free(s.x);
		free(s.w);
		free(s.out);
		free(s.dw);
	}
}

static void
one_isa(enum isa i, int threads)
{
	static const int rows[] = { 512, 130, 32, 8, 1 };
	double flops, small, huge;
	size_t r, s;

	setenv("SA_CPU", isa_names[i], 1);
	mach = mach_new(threads);
	flops = peak(i);
	small = reading(MADV_NOHUGEPAGE);
	munmap(memory, MEMORY);
	huge = reading(MADV_HUGEPAGE);
	printf("%s, %d threads: %.0f GFLOP/s, reading %.1f GB/s, huge pages %.1f GB/s\n", isa_names[i], mach_threads(mach), flops, small, huge);
	for (enum dtype d = i == ISA_AVX512BF16 ? DT_BF16 : DT_F32; d <= DT_INT8; d++)
		for (r = 0; r < sizeof rows / sizeof *rows; r++)
			for (s = 0; s < sizeof shapes / sizeof *shapes; s++)
				if (d != DT_F16 && (rows[r] < 500 || s < 4) && (d != DT_F32 || s < 4))
					time_shape(&shapes[s], d, rows[r], flops, huge);
	time_training(i == ISA_AVX512BF16 ? &ops_cpu_bf16 : &ops_cpu, flops);
	mach_free(mach);
	munmap(memory, MEMORY);
}

int
main(int argc, char **argv)
{
	long long threads = 0;
	double ms = seconds * 1e3;
	struct err e;
	int i;

	prog_init(argv[0]);
	if (argc > 3 || (argc > 1 && num_int(argv[1], 1, 256, &threads, &e) < 0) || (argc > 2 && num_real(argv[2], 1, 1e6, &ms, &e) < 0))
		die(STATUS_USAGE, "usage: bench-ops [THREADS [MILLISECONDS a figure]]");
	seconds = ms / 1e3;
	for (i = ISA_COUNT - 1; i >= 0; i--) {
		if (!isa_usable(i) || (getenv("SA_CPU") && strcmp(getenv("SA_CPU"), isa_names[i]) != 0))
			continue;
		fflush(stdout);
		if (fork() == 0) {
			one_isa(i, (int)threads);
			exit(0);
		}
		wait(NULL);
	}
	return 0;
}
