/* embed.cu - rows of a table, and the sums of their gradients in the order of the tokens
 *
 * A row's gradient is the sum over the tokens that read it. Adding them as they come would need atomics, whose order is chance; so the host, which
 * has the ids, sorts the tokens by id, and a block takes an id and adds its tokens in order. */
#include <stdlib.h>

#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS)
forward_kernel(uint16_t *out, const uint16_t *table, const int *ids, size_t eights, int C)
{
	size_t step = (size_t)gridDim.x * blockDim.x;
	int row = C / 8;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
		size_t from = (size_t)ids[i / row] * row + i % row;

		*reinterpret_cast<uint4 *>(out + i * 8) = *reinterpret_cast<const uint4 *>(table + from * 8);
	}
}

static __global__ void __launch_bounds__(THREADS)
scatter_kernel(uint16_t *out, const uint16_t *x, const int *rows, size_t eights, int C)
{
	size_t step = (size_t)gridDim.x * blockDim.x;
	int row = C / 8;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
		size_t to = (size_t)rows[i / row] * row + i % row;

		*reinterpret_cast<uint4 *>(out + to * 8) = *reinterpret_cast<const uint4 *>(x + i * 8);
	}
}

static __global__ void __launch_bounds__(THREADS)
backward_kernel(float *dtable_acc, const uint16_t *dout, const int *at, const int *first, const int *id, int C)
{
	int from = first[blockIdx.x], to = first[blockIdx.x + 1];
	float *row = dtable_acc + (size_t)id[blockIdx.x] * C;

	for (int c = threadIdx.x * 8; c < C; c += blockDim.x * 8) {
		float4 *p = reinterpret_cast<float4 *>(row + c), low = p[0], high = p[1];

		for (int i = from; i < to; i++) {
			struct eight d = load8(dout + (size_t)at[i] * C + c);

			low = make_float4(low.x + d.f[0], low.y + d.f[1], low.z + d.f[2], low.w + d.f[3]);
			high = make_float4(high.x + d.f[4], high.y + d.f[5], high.z + d.f[6], high.w + d.f[7]);
		}
		p[0] = low;
		p[1] = high;
	}
}

extern "C" int
gpu_embed(struct gpu *g, uint16_t *out, const uint16_t *table, const int *ids, int T, int C)
{
	size_t eights;

	if (T < 0 || C < 8 || C % 8)
		return gpu_refuse(g, "embed: %d x %d: rows must be multiples of 8", T, C);
	if (T == 0)
		return 0;
	eights = (size_t)T * (size_t)(C / 8);
	LAUNCH(forward_kernel, gpu_blocks(g, eights, THREADS), THREADS, 0, g->stream, out, table, ids, eights, C);
	return gpu_launched(g, "embed");
}

extern "C" int
gpu_scatter(struct gpu *g, uint16_t *out, const uint16_t *x, const int *rows, int n, int C)
{
	size_t eights;

	if (n < 0 || C < 8 || C % 8)
		return gpu_refuse(g, "scatter: %d x %d: rows must be multiples of 8", n, C);
	if (n == 0)
		return 0;
	eights = (size_t)n * (size_t)(C / 8);
	LAUNCH(scatter_kernel, gpu_blocks(g, eights, THREADS), THREADS, 0, g->stream, out, x, rows, eights, C);
	return gpu_launched(g, "scatter");
}

/* By id, then by position: both in one number. */
static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

extern "C" int
gpu_embed_sort(int *at, int *first, int *id, const int *ids, int T)
{
	uint64_t *keys = (uint64_t *)malloc((size_t)T * sizeof *keys);
	int n = 0;

	if (!keys && T > 0)
		return -1;
	for (int t = 0; t < T; t++)
		keys[t] = (uint64_t)ids[t] << 32 | (unsigned)t;
	if (T > 0)
		qsort(keys, (size_t)T, sizeof *keys, compare);
	for (int i = 0; i < T; i++) {
		at[i] = (int)(unsigned)keys[i];
		if (i == 0 || keys[i] >> 32 != keys[i - 1] >> 32) {
			first[n] = i;
			id[n++] = (int)(keys[i] >> 32);
		}
	}
	first[n] = T;
	free(keys);
	return n;
}

extern "C" int
gpu_embed_back(struct gpu *g, float *dtable_acc, const uint16_t *dout, const int *at, const int *first, const int *id, int n, int C)
{
	if (n < 0 || C < 8 || C % 8)
		return gpu_refuse(g, "embed backward: %d rows of %d: they must be multiples of 8", n, C);
	if (n == 0)
		return 0;
	LAUNCH(backward_kernel, n, THREADS, 0, g->stream, dtable_acc, dout, at, first, id, C);
	return gpu_launched(g, "embed backward");
}
