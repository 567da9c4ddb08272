/* columns.h - sums over the rows of a matrix, one a column, in two launches and always in the same order
 *
 * The first: a block takes PART_ROWS rows of 256 columns, each of its eight warps every eighth of them and each lane 8 columns, and writes one
 * row of part[parts,C]. The second adds the parts to the result. What is summed is told by a struct with
 *     __device__ struct eight at(int row, int column) const;     columns column..column+7 of a row */
#ifndef SA_COLUMNS_H
#define SA_COLUMNS_H

#include "gpu.h"
#include "kernels.h"

enum { COLUMNS_WARPS = 8, COLUMNS_THREADS = COLUMNS_WARPS * WARP, COLUMNS_BLOCK = WARP * 8 };

static inline int
columns_parts(int rows)
{
	return (rows + PART_ROWS - 1) / PART_ROWS;
}

template <class VALUE> static __global__ void __launch_bounds__(COLUMNS_THREADS)
columns_kernel(float *part, VALUE value, int rows, int C)
{
	SHARED(float, sums, [COLUMNS_WARPS][COLUMNS_BLOCK]);
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, c = blockIdx.x * COLUMNS_BLOCK + lane * 8;
	int from = blockIdx.y * PART_ROWS, to = min(rows, from + PART_ROWS);
	struct eight sum = {};

	for (int r = from + warp; c < C && r < to; r += COLUMNS_WARPS) {
		struct eight v = value.at(r, c);

		for (int k = 0; k < 8; k++)
			sum.f[k] += v.f[k];
	}
	for (int k = 0; k < 8; k++)
		sums[warp][lane * 8 + k] = sum.f[k];
	__syncthreads();
	c = blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
	if (c < C) {
		float total = 0;

		for (int w = 0; w < COLUMNS_WARPS; w++)
			total += sums[w][threadIdx.x];
		part[(size_t)blockIdx.y * C + c] = total;
	}
}

static __global__ void __launch_bounds__(COLUMNS_THREADS)
columns_finish(float *out_acc, const float *part, int parts, int C)
{
	SHARED(float, sums, [COLUMNS_WARPS][WARP]);
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, c = blockIdx.x * WARP + lane;
	float sum = 0;

	for (int p = warp; c < C && p < parts; p += COLUMNS_WARPS)
		sum += part[(size_t)p * C + c];
	sums[warp][lane] = sum;
	__syncthreads();
	if (warp == 0 && c < C) {
		float total = out_acc[c];

		for (int w = 0; w < COLUMNS_WARPS; w++)
			total += sums[w][lane];
		out_acc[c] = total;
	}
}

/* out_acc[C] += the columns' sums over `rows` rows. C is a multiple of 8; scratch: as gpu_bias_back_scratch(). */
template <class VALUE> static int
columns_add(struct gpu *g, const char *what, float *out_acc, VALUE value, void *scratch, int rows, int C)
{
	int parts = columns_parts(rows);

	if (parts > 65535)
		return gpu_refuse(g, "%s: %d rows are too many", what, rows);
	LAUNCH(columns_kernel<VALUE>, dim3((C + COLUMNS_BLOCK - 1) / COLUMNS_BLOCK, parts), COLUMNS_THREADS, 0, g->stream, (float *)scratch, value, rows, C);
	LAUNCH(columns_finish, (C + WARP - 1) / WARP, COLUMNS_THREADS, 0, g->stream, out_acc, (const float *)scratch, parts, C);
	return gpu_launched(g, what);
}

#endif
