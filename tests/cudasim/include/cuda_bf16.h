/* cuda_bf16.h - CUDA's bfloat16 numbers, as much as is in use: see cuda_runtime_api.h beside it */
#ifndef CUDASIM_CUDA_BF16_H
#define CUDASIM_CUDA_BF16_H

#include <string.h>

#include "vector_functions.h"

struct alignas(2) __nv_bfloat16 { unsigned short bits; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };

static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short u) { return { u }; }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }

static inline float
__bfloat162float(__nv_bfloat16 b)
{
	unsigned int u = (unsigned int)b.bits << 16;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

/* To nearest, ties to even; every NaN becomes 0x7fff, as on the GPU. */
static inline __nv_bfloat16
__float2bfloat16_rn(float f)
{
	unsigned int u;

	memcpy(&u, &f, sizeof u);
	if ((u & 0x7fffffff) > 0x7f800000)
		return { 0x7fff };
	return { (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16) };
}

static inline __nv_bfloat162
__floats2bfloat162_rn(float x, float y)
{
	return { __float2bfloat16_rn(x), __float2bfloat16_rn(y) };
}

static inline float2
__bfloat1622float2(__nv_bfloat162 b)
{
	return { __bfloat162float(b.x), __bfloat162float(b.y) };
}

#endif
