/* gpu.h - the one header that a kernel's source includes: CUDA's names by nvcc, and their meaning on the CPU by g++
 *
 * The same .cu file is compiled by nvcc for a GPU and by g++ for tests/cudasim, which runs it on the CPU under sanitizers and in shuffled
 * thread orders (tests/cudasim/README.md says how, and how a kernel is tested). So a kernel writes
 *     SHARED(float, tile, [32][33]);               __shared__ float tile[32][33];
 *     DYN_SHARED(float, row);                      float *row: the dynamic shared memory of the launch, aligned to 16 bytes
 *     LAUNCH(kernel, grid, block, shared, stream, args...);     kernel<<<grid, block, shared, stream>>>(args...);
 *     LAUNCH((kernel<64, true>), ...)              a template with more than one argument stands in parentheses
 * instead of the forms that only nvcc reads, and takes inline PTX from gpu_ptx.h alone. Not to be used: printf and malloc in kernels,
 * textures, cooperative groups, grid-wide barriers, inter-block ordering by fences.
 *
 * bf16 numbers are uint16_t, their bits: conversion up is a shift (exact), down is the GPU's own rounding to nearest even. */
#ifndef SA_GPU_H
#define SA_GPU_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#define SHARED(type, name, dims) __shared__ type name dims
#define DYN_SHARED(type, name) \
	extern __shared__ __align__(16) unsigned char gpu_shared[]; \
	type *name = reinterpret_cast<type *>(gpu_shared)
#define LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#else
#include <cudasim.h>
#endif

enum { WARP = 32 };
#define ALL_LANES 0xffffffffu

/* ---- bf16 ---- */

static __device__ __forceinline__ float
bf16_up(uint16_t b)
{
	return __uint_as_float((unsigned)b << 16);
}

static __device__ __forceinline__ uint16_t
bf16_down(float f)
{
	return __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

/* Two in a register, the first in its low half: as mma takes them. One instruction, which the compiler does not always make of two conversions. */
static __device__ __forceinline__ uint32_t
bf16_pair(float low, float high)
{
	__nv_bfloat162 two = __floats2bfloat162_rn(low, high);
	uint32_t bits;

	memcpy(&bits, &two, sizeof bits);
	return bits;
}

/* Eight at a time: one 16-byte access. p is aligned to 16 bytes. */
struct eight {
	float f[8];
};

static __device__ __forceinline__ struct eight
load8(const uint16_t *p)
{
	uint4 u = *reinterpret_cast<const uint4 *>(p);
	unsigned w[4] = { u.x, u.y, u.z, u.w };
	struct eight v;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		v.f[2 * i] = __uint_as_float(w[i] << 16);
		v.f[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
	}
	return v;
}

static __device__ __forceinline__ void
store8(uint16_t *p, const struct eight *v)
{
	*reinterpret_cast<uint4 *>(p) = make_uint4(bf16_pair(v->f[0], v->f[1]), bf16_pair(v->f[2], v->f[3]), bf16_pair(v->f[4], v->f[5]),
						   bf16_pair(v->f[6], v->f[7]));
}

/* ---- sums and maxima over a warp and a block: every thread gets the result; the order is fixed ---- */

template <class T> static __device__ __forceinline__ T
warp_sum(T v)
{
#pragma unroll
	for (int by = WARP / 2; by > 0; by /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, by);
	return v;
}

static __device__ __forceinline__ float
warp_max(float v)
{
#pragma unroll
	for (int by = WARP / 2; by > 0; by /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, by));
	return v;
}

/* All threads of the block call it; blockDim.x is a multiple of WARP, the block has one dimension. */
template <class T> static __device__ T
block_sum(T v)
{
	SHARED(T, part, [WARP]);
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;

	v = warp_sum(v);
	if (lane == 0)
		part[warp] = v;
	__syncthreads();
	v = warp_sum(lane < warps ? part[lane] : (T)0);
	__syncthreads();	/* before the next call writes */
	return v;
}

static __device__ __forceinline__ float
block_max(float v)
{
	SHARED(float, part, [WARP]);
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;

	v = warp_max(v);
	if (lane == 0)
		part[warp] = v;
	__syncthreads();
	v = warp_max(lane < warps ? part[lane] : -INFINITY);
	__syncthreads();	/* before the next call writes */
	return v;
}

#endif
