/* vec.h - what the elementwise operations share: one compilation per instruction set, an exp that vectorises, sums in a fixed order
 *
 * A function marked CLONES is compiled for AVX-512, AVX2 and the base instruction set, and the loader picks. Nothing in them is fused or
 * reassociated (-ffp-contract=off), so all three give the same bits. Sums run over 16 lanes that are then added as a tree: lane i takes the
 * elements i, i+16, ..., whatever the registers are. */
#ifndef SA_VEC_H
#define SA_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The resolver of a clone runs before the sanitizer's own start-up and crashes in it. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16

/* exp(x) within 2 units in the last place; x is clamped to where the result is a normal number. 2^n from the exponent bits, the rest by the
 * polynomial of Cephes' expf (Moshier). Adding 1.5 x 2^23 rounds to an integer that is then the low bits. */
INLINE float
fast_exp(float x)
{
	const float magic = 12582912.0f;
	float n, p;
	int32_t e;

	x = x > 88.3f ? 88.3f : x;
	x = x < -87.3f ? -87.3f : x;
	n = x * 1.44269504f + magic;
	memcpy(&e, &n, sizeof e);
	n -= magic;
	x -= n * 0.693359375f;
	x += n * 2.12194440e-4f;
	p = 1.9875691500e-4f;
	p = p * x + 1.3981999507e-3f;
	p = p * x + 8.3334519073e-3f;
	p = p * x + 4.1665795894e-2f;
	p = p * x + 1.6666665459e-1f;
	p = p * x + 5.0000001201e-1f;
	p = p * (x * x) + x + 1;
	e = (int32_t)((uint32_t)e << 23) + 0x3f800000;
	memcpy(&n, &e, sizeof n);
	return p * n;
}

INLINE float
lanes_sum(const float *lane)
{
	float a[8], b[4];
	int i;

	for (i = 0; i < 8; i++)
		a[i] = lane[i] + lane[i + 8];
	for (i = 0; i < 4; i++)
		b[i] = a[i] + a[i + 4];
	return (b[0] + b[2]) + (b[1] + b[3]);
}

INLINE float
lanes_max(const float *lane)
{
	float max = lane[0];
	int i;

	for (i = 1; i < LANES; i++)
		max = lane[i] > max ? lane[i] : max;
	return max;
}

/* Sum of x[i] y[i]. */
INLINE float
lanes_dot(const float *x, const float *y, size_t n)
{
	float lane[LANES] = { 0 };
	size_t i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] += x[i + l] * y[i + l];
	for (l = 0; i + l < n; l++)
		lane[l] += x[i + l] * y[i + l];
	return lanes_sum(lane);
}

INLINE float
row_max(const float *x, size_t n)
{
	float lane[LANES];
	size_t i, l;

	for (l = 0; l < LANES; l++)
		lane[l] = x[l < n ? l : 0];
	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
	for (l = 0; i + l < n; l++)
		lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
	return lanes_max(lane);
}

/* x[i] = exp(scale x[i] - shift); returns their sum. */
INLINE float
row_exp(float *x, float scale, float shift, size_t n)
{
	float lane[LANES] = { 0 };
	size_t i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++) {
			x[i + l] = fast_exp(x[i + l] * scale - shift);
			lane[l] += x[i + l];
		}
	for (l = 0; i + l < n; l++) {
		x[i + l] = fast_exp(x[i + l] * scale - shift);
		lane[l] += x[i + l];
	}
	return lanes_sum(lane);
}

#endif
