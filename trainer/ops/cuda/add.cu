/* add.cu - sum of two arrays */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS)
add_kernel(uint16_t *out_acc, const uint16_t *x, size_t eights)
{
	size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
		struct eight a = load8(out_acc + i * 8), b = load8(x + i * 8);

		for (int k = 0; k < 8; k++)
			a.f[k] += b.f[k];
		store8(out_acc + i * 8, &a);
	}
}

extern "C" int
gpu_add(struct gpu *g, uint16_t *out_acc, const uint16_t *x, size_t n)
{
	if (n % 8)
		return gpu_refuse(g, "add: %zu is no multiple of 8", n);
	if (n == 0)
		return 0;
	LAUNCH(add_kernel, gpu_blocks(g, n / 8, THREADS), THREADS, 0, g->stream, out_acc, x, n / 8);
	return gpu_launched(g, "add");
}
