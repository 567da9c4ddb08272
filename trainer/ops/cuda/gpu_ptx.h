/* gpu_ptx.h - the instructions that CUDA C++ has no name for, each wrapped once
 *
 * All need sm_80 or later. mma and ldmatrix are done by a whole warp: all 32 lanes call together. None of them orders memory: what other
 * threads wrote to shared memory needs __syncthreads() or __syncwarp() before it is read by ldmatrix, and what was read, before it is
 * overwritten. On the CPU these are tests/cudasim/cudasim_ptx.h.
 *
 * Lane l of a warp, r = l / 4, c = l % 4 * 2; two bf16 in a register, the first in the low half (PTX ISA, mma.m16n8k16):
 *     A[16,16]      a[0]: (r, c..c+1)   a[1]: (r+8, c..)   a[2]: (r, c+8..)   a[3]: (r+8, c+8..)
 *     B[16,8]       b[0]: (c..c+1, r)   b[1]: (c+8.., r)             that is row r of B^T
 *     C, D[16,8]    [0], [1]: (r, c), (r, c+1)   [2], [3]: (r+8, c), (r+8, c+1) */
#ifndef SA_GPU_PTX_H
#define SA_GPU_PTX_H

#include "gpu.h"

#ifndef __CUDACC__
#include <cudasim_ptx.h>
#else

/* 2 to the x, within 2^-22 of itself: exp2f without its care for results below 2^-126, which are 0 here. */
static __device__ __forceinline__ float
exp2_approx(float x)
{
	float y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

/* d = a b + c, bf16 in, float out; d may be c. */
static __device__ __forceinline__ void
mma_m16n8k16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
		     : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

static __device__ __forceinline__ unsigned
shared_address(const void *p)
{
	return (unsigned)__cvta_generic_to_shared(p);
}

/* Four matrices of 8 x 8 bf16 from shared memory: lane l points to row l % 8 (16 bytes, aligned to 16) of matrix l / 8. d[m] gets of matrix m
 * what an mma operand holds: (r, c..c+1); _trans: (c..c+1, r). */
static __device__ __forceinline__ void
ldmatrix_x4(uint32_t d[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}

static __device__ __forceinline__ void
ldmatrix_x4_trans(uint32_t d[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}

/* Two: lanes 0..15 point; what the others give is not looked at. */
static __device__ __forceinline__ void
ldmatrix_x2(uint32_t d[2], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(d[0]), "=r"(d[1]) : "r"(shared_address(row)) : "memory");
}

static __device__ __forceinline__ void
ldmatrix_x2_trans(uint32_t d[2], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(d[0]), "=r"(d[1]) : "r"(shared_address(row)) : "memory");
}

/* 16 bytes from global to shared memory, both aligned to 16, past the registers. They are there after cp_async_wait() in the thread that asked,
 * for the others after a barrier as well. */
static __device__ __forceinline__ void
cp_async16(void *shared, const void *src)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(shared_address(shared)), "l"(src) : "memory");
}

/* The same, or 16 zero bytes when not `there`: src is then not read, but must be aligned. */
static __device__ __forceinline__ void
cp_async16_or_zero(void *shared, const void *src, bool there)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared_address(shared)), "l"(src), "r"(there ? 16 : 0) : "memory");
}

/* Close this thread's group of copies. */
static __device__ __forceinline__ void
cp_async_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until at most PENDING of this thread's newest groups are under way. */
template <int PENDING> static __device__ __forceinline__ void
cp_async_wait()
{
	asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

#endif
#endif
