/* dtype.c - F16 and BF16 to float (exact) and back (round to nearest even) */
#include <string.h>

#include "dtype.h"

static float
float_of(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

static uint32_t
bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	return bits;
}

static float
half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;

	if (exponent == 31)
		return float_of(sign | 0x7f800000 | mantissa << 13);
	if (exponent == 0)	/* zero and subnormals: mantissa x 2^-24 is exact in float */
		return sign ? -(mantissa * 0x1p-24f) : mantissa * 0x1p-24f;
	return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Drop the low `shift` bits of v, rounding to nearest even. */
static uint32_t
round_bits(uint32_t v, int shift)
{
	return (v + (1u << (shift - 1)) - 1 + (v >> shift & 1)) >> shift;
}

static uint16_t
float_to_half(float f)
{
	uint32_t bits = bits_of(f), sign = bits >> 16 & 0x8000, u = bits & 0x7fffffff;

	if (u > 0x7f800000)
		return sign | 0x7e00;
	if (u >= 0x47800000)			/* 65536 and more */
		return sign | 0x7c00;
	if (u >= 0x38800000)			/* normal; a carry out of the mantissa rightly bumps the exponent, up to infinity */
		return sign | (round_bits(u, 13) - (112u << 10));
	if (u < 0x33000000)			/* below half of the least subnormal */
		return sign;
	return sign | round_bits((u & 0x7fffff) | 0x800000, 126 - (int)(u >> 23));
}

static uint16_t
float_to_bf16(float f)
{
	uint32_t bits = bits_of(f);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return bits >> 16 | 0x40;	/* stays a NaN whatever its payload */
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

void
to_float(float *out, const void *in, enum dtype d, size_t n)
{
	const unsigned char *p = in;
	uint16_t u;
	size_t i;

	if (d == DT_F32) {
		memcpy(out, in, n * sizeof *out);
		return;
	}
	for (i = 0; i < n; i++) {
		memcpy(&u, p + 2 * i, sizeof u);
		out[i] = d == DT_BF16 ? float_of((uint32_t)u << 16) : half_to_float(u);
	}
}

void
from_float(void *out, const float *in, enum dtype d, size_t n)
{
	unsigned char *p = out;
	uint16_t u;
	size_t i;

	if (d == DT_F32) {
		memcpy(out, in, n * sizeof *in);
		return;
	}
	for (i = 0; i < n; i++) {
		u = d == DT_BF16 ? float_to_bf16(in[i]) : float_to_half(in[i]);
		memcpy(p + 2 * i, &u, sizeof u);
	}
}
