/* compare.h - numbers to the device and back, and how near they are: what the tests of the CUDA operations share
 *
 * Everything that these give, on the device or not, lives until device_done(). Inputs are drawn as bf16 numbers and kept as float, so that the
 * oracle gets exactly what the kernel gets. */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdint.h>

#include "err.h"
#include "kernels.h"
#include "op.h"
#include "t.h"

static struct gpu gpu;
static struct err gpu_err;
static uint64_t noise_state = 1;
static void *kept_host[4096], *kept_device[4096];
static int host_count, device_count;

static inline void *
host_alloc(size_t n)
{
	return kept_host[host_count++] = calloc(n ? n : 1, 1);
}

/* A copy of n bytes on the device; x NULL: left as it comes. */
static inline void *
device_copy(const void *x, size_t n)
{
	void *p;

	if (cudaMalloc(&p, n) != cudaSuccess || (x && cudaMemcpy(p, x, n, cudaMemcpyHostToDevice) != cudaSuccess)) {
		printf("# no device memory\n");
		exit(1);
	}
	return kept_device[device_count++] = p;
}

/* n bytes from the device, after all work of the stream. */
static inline void *
device_back(const void *p, size_t n)
{
	void *x = host_alloc(n);

	cudaStreamSynchronize(gpu.stream);
	cudaMemcpy(x, p, n, cudaMemcpyDeviceToHost);
	return x;
}

static inline void
device_begin(void)
{
	cudaStream_t s;

	cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
	if (gpu_open(&gpu, 0, s, &gpu_err)) {
		printf("# %s\n", gpu_err.msg);
		exit(1);
	}
}

static inline int
device_done(void)
{
	cudaStreamDestroy(gpu.stream);
	while (device_count)
		cudaFree(kept_device[--device_count]);
	while (host_count)
		free(kept_host[--host_count]);
	return t_done();
}

/* ---- numbers ---- */

static inline float
from_bf16(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

static inline uint16_t
to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return isnan(f) ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

/* Uniform in -1..1. */
static inline float
rnd(void)
{
	noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
	return (float)(noise_state >> 40) / (1 << 23) - 1;
}

static inline float *
noise(size_t n)
{
	float *x = host_alloc(n * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = rnd();
	return x;
}

static inline float *
noise16(size_t n)
{
	float *x = noise(n);

	for (size_t i = 0; i < n; i++)
		x[i] = from_bf16(to_bf16(x[i]));
	return x;
}

static inline float *
copy(const float *x, size_t n)
{
	return memcpy(host_alloc(n * sizeof *x), x, n * sizeof *x);
}

static inline uint16_t *
dev16(const float *x, size_t n)
{
	uint16_t *b = host_alloc(n * sizeof *b);

	for (size_t i = 0; i < n; i++)
		b[i] = to_bf16(x[i]);
	return device_copy(b, n * sizeof *b);
}

static inline float *
dev32(const float *x, size_t n)
{
	return device_copy(x, n * sizeof *x);
}

static inline float *
back16(const uint16_t *p, size_t n)
{
	uint16_t *b = device_back(p, n * sizeof *b);
	float *x = host_alloc(n * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = from_bf16(b[i]);
	return x;
}

static inline float *
back32(const float *p, size_t n)
{
	return device_back(p, n * sizeof *p);
}

/* ---- how near: cosine, ratio of norms, the largest difference as a part of the largest value ---- */

struct gate {
	double cosine, ratio, off;
};

struct nearness {
	double cosine, ratio, off;
	double spread;	/* how many numbers make up the wanted norm: n when all are alike */
};

static inline struct nearness
nearness(const float *got, const float *want, size_t n)
{
	double gw = 0, gg = 0, ww = 0, fourth = 0, most = 0, diff = 0;

	for (size_t i = 0; i < n; i++) {
		double g = got[i], w = want[i];

		gw += g * w;
		gg += g * g;
		ww += w * w;
		fourth += w * w * w * w;
		most = fmax(most, fabs(w));
		diff = isnan(g) ? INFINITY : fmax(diff, fabs(g - w));
	}
	if (ww == 0)
		return (struct nearness){ gg == 0, gg == 0 ? 1 : INFINITY, gg == 0 ? 0 : INFINITY, 1 };
	return (struct nearness){ gw / sqrt(gg * ww), sqrt(gg / ww), diff / most, ww * ww / fourth };
}

static inline int
alike(const char *file, int line, const char *what, const float *got, const float *want, size_t n, struct gate by)
{
	struct nearness is = nearness(got, want, n);
	int ok = is.cosine >= by.cosine && fabs(is.ratio - 1) <= by.ratio && is.off <= by.off;

	if (!t_report(ok, file, line, what))
		printf("#   1 - cosine %.3g, ratio of norms - 1 %.3g, largest difference %.3g; %.0f numbers count\n", 1 - is.cosine, is.ratio - 1, is.off, is.spread);
	return ok;
}

/* One rounding to bf16: each number is off by 1/256 of itself at most, 1/600 on average, and their norm by so much less as there are more. */
static inline int
alike16(const char *file, int line, const char *what, const float *got, const float *want, size_t n)
{
	double ratio = 4 / 600.0 / sqrt(nearness(got, want, n).spread);

	return alike(file, line, what, got, want, n, (struct gate){ 1 - 8e-6, fmin(ratio, 1 / 256.0) + 2e-5, 1 / 256.0 });
}

#define CHECK_ALIKE(got, want, n, ...) alike(__FILE__, __LINE__, #got, got, want, n, (struct gate){ __VA_ARGS__ })
#define CHECK_BF16(got, want, n) alike16(__FILE__, __LINE__, #got, got, want, n)
/* Sums of float32 in another order. */
#define CHECK_F32(got, want, n) CHECK_ALIKE(got, want, n, 1 - 1e-9, 1e-5, 1e-5)
#define CHECK_OK(call) do { if (!CHECK((call) == 0)) printf("#   %s\n", gpu_err.msg); } while (0)

#endif
