/* cudasim_ptx.h - the meaning on the CPU of the instructions that trainer/ops/cuda/gpu_ptx.h wraps; their shapes are told there
 *
 * Fragment layouts are those of the PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point types" and "ldmatrix": a misreading of
 * them in a kernel and here alike would not show. A lane's registers are on its fiber's stack, where the lane that computes for all reads
 * and writes them: ThreadSanitizer must not see that (PRIVATE), for on a GPU it is no memory. */
#ifndef CUDASIM_PTX_H
#define CUDASIM_PTX_H

#include "cudasim.h"

namespace cudasim {

#define CUDASIM_PRIVATE __attribute__((no_sanitize("thread")))

struct mma_registers {
	float *d;
	const uint32_t *a, *b;
	const float *c;
};

/* Half i (0: low) of a register of two bf16. */
CUDASIM_PRIVATE inline float
half_of(uint32_t two, int i)
{
	return __uint_as_float(i ? two & 0xffff0000u : two << 16);
}

/* D = A B + C on 16 x 16, 16 x 8 and 16 x 8. Lane l has row l/4 (and 8 more) of A, C, D and column l/4 of B. Products of k ascending are
 * added to c in float; the tensor cores' own order is not documented. */
CUDASIM_PRIVATE inline void
mma_lanes(struct lane_part **lanes)
{
	float a[16][16], b[16][8];

	for (int l = 0; l < 32; l++) {
		const struct mma_registers *r = (const struct mma_registers *)lanes[l]->data;
		int row = l / 4, col = l % 4 * 2;

		for (int i = 0; i < 8; i++)
			a[row + (i / 2 % 2) * 8][col + i % 2 + i / 4 * 8] = half_of(r->a[i / 2], i % 2);
		for (int i = 0; i < 4; i++)
			b[col + i % 2 + i / 2 * 8][row] = half_of(r->b[i / 2], i % 2);
	}
	for (int l = 0; l < 32; l++) {
		const struct mma_registers *r = (const struct mma_registers *)lanes[l]->data;

		for (int i = 0; i < 4; i++) {
			int row = l / 4 + i / 2 * 8, col = l % 4 * 2 + i % 2;
			float sum = r->c[i];

			for (int k = 0; k < 16; k++)
				sum += a[row][k] * b[k][col];
			r->d[i] = sum;
		}
	}
}

struct ldmatrix_registers {
	uint32_t *d;
	const void *row;
	int matrices;
	bool transposed;
};

CUDASIM_PRIVATE inline void
give_row(struct lane_part **lanes, int matrix, int row, const uint16_t *values, bool transposed)
{
	for (int k = 0; k < 8; k++) {
		int lane = transposed ? k * 4 + row / 2 : row * 4 + k / 2, half = transposed ? row % 2 : k % 2;
		uint32_t *d = ((const struct ldmatrix_registers *)lanes[lane]->data)->d + matrix;

		*d = (*d & (half ? 0xffffu : 0xffff0000u)) | (uint32_t)values[k] << (16 * half);
	}
}

CUDASIM_PRIVATE inline struct ldmatrix_registers
registers_of(struct lane_part **lanes, int l)
{
	return *(const struct ldmatrix_registers *)lanes[l]->data;
}

/* Row r of matrix m is the 16 bytes that lane 8m + r points to; the sanitizers see them being read. */
inline void
ldmatrix_lanes(struct lane_part **lanes)
{
	for (int l = 0; l < 32; l++) {
		struct ldmatrix_registers r = registers_of(lanes, l);
		uint16_t values[8];

		if (l >= r.matrices * 8)
			break;
		if ((uintptr_t)r.row % 16)
			fail("ldmatrix: the row of lane %d is not aligned to 16 bytes", l);
		memcpy(values, r.row, sizeof values);
		give_row(lanes, l / 8, l % 8, values, r.transposed);
	}
}

inline void
land(void *to, const void *from, int n)
{
	memset(to, 0, 16);
	memcpy(to, from, n);
}

inline void
together(void (*fn)(struct lane_part **), void *data, struct place at)
{
	struct lane_part part = {};

	part.data = data;
	part.fn = fn;
	warp_meet(TOGETHER, ~0u, &part, at);
}

inline void
ldmatrix(uint32_t *d, const void *row, int matrices, bool transposed, struct place at)
{
	struct ldmatrix_registers r = { d, row, matrices, transposed };

	together(ldmatrix_lanes, &r, at);
}

}

inline void
mma_m16n8k16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4], CUDASIM_HERE)
{
	float out[4];	/* d may be c */
	struct cudasim::mma_registers r = { out, a, b, c };

	cudasim::together(cudasim::mma_lanes, &r, at);
	memcpy(d, out, sizeof out);
}

inline float exp2_approx(float x) { return x < -126 ? 0 : exp2f(x); }
inline void ldmatrix_x4(uint32_t d[4], const void *row, CUDASIM_HERE) { cudasim::ldmatrix(d, row, 4, false, at); }
inline void ldmatrix_x4_trans(uint32_t d[4], const void *row, CUDASIM_HERE) { cudasim::ldmatrix(d, row, 4, true, at); }
inline void ldmatrix_x2(uint32_t d[2], const void *row, CUDASIM_HERE) { cudasim::ldmatrix(d, row, 2, false, at); }
inline void ldmatrix_x2_trans(uint32_t d[2], const void *row, CUDASIM_HERE) { cudasim::ldmatrix(d, row, 2, true, at); }
inline void cp_async16(void *shared, const void *src) { cudasim::async_copy(shared, src, 16, cudasim::land); }
inline void cp_async16_or_zero(void *shared, const void *src, bool there) { cudasim::async_copy(shared, src, there ? 16 : 0, cudasim::land); }
inline void cp_async_commit() { cudasim::async_commit(); }
template <int PENDING> inline void cp_async_wait() { cudasim::async_wait(PENDING); }

#endif
