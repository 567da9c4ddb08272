/* bias.cu - the gradient of a bias: sums of columns (its sum in the forward pass is the product's epilogue, matmul.c) */
#include "columns.h"
#include "gpu.h"
#include "kernels.h"

struct rows_of {
	const uint16_t *x;
	int stride;

	__device__ struct eight
	at(int row, int c) const
	{
		return load8(x + (size_t)row * stride + c);
	}
};

extern "C" int
gpu_bias_back(struct gpu *g, float *dbias_acc, const uint16_t *dout, int stride, void *scratch, int T, int N)
{
	struct rows_of rows = { dout, stride };

	if (T < 0 || N < 8 || N % 8 || stride < N || stride % 8)
		return gpu_refuse(g, "bias: %d rows of %d, %d apart: rows must be multiples of 8", T, N, stride);
	if (T == 0)
		return 0;
	return columns_add(g, "bias backward", dbias_acc, rows, scratch, T, N);
}
