/* swiglu.cu - silu(gate) * up. silu(g) = g s with s = 1 / (1 + exp(-g)); its derivative is s (1 + g (1 - s)). */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256 };

static __device__ __forceinline__ float
sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

static __global__ void __launch_bounds__(THREADS)
forward_kernel(uint16_t *out, const uint16_t *gate_up, size_t eights, int F)
{
	size_t step = (size_t)gridDim.x * blockDim.x;
	int row = F / 8;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
		const uint16_t *gate = gate_up + i / row * 2 * F + i % row * 8;
		struct eight v = load8(gate), up = load8(gate + F);

		for (int k = 0; k < 8; k++)
			v.f[k] = v.f[k] * sigmoid(v.f[k]) * up.f[k];	/* in the order of the backward, which makes it again */
		store8(out + i * 8, &v);
	}
}

/* dgate_up may be gate_up: each thread writes only what it has read. */
static __global__ void __launch_bounds__(THREADS)
backward_kernel(uint16_t *dgate_up, uint16_t *out, const uint16_t *dout, const uint16_t *gate_up, size_t eights, int F)
{
	size_t step = (size_t)gridDim.x * blockDim.x;
	int row = F / 8;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
		size_t at = i / row * 2 * F + i % row * 8;
		struct eight gate = load8(gate_up + at), up = load8(gate_up + at + F), d = load8(dout + i * 8), act;

		for (int k = 0; k < 8; k++) {
			float x = gate.f[k], s = sigmoid(x), silu = x * s;

			act.f[k] = silu * up.f[k];
			gate.f[k] = d.f[k] * up.f[k] * s * (1 + x * (1 - s));
			up.f[k] = d.f[k] * silu;
		}
		store8(dgate_up + at, &gate);
		store8(dgate_up + at + F, &up);
		if (out)
			store8(out + i * 8, &act);
	}
}

static int
check(struct gpu *g, int T, int F)
{
	return T < 0 || F < 8 || F % 8 ? gpu_refuse(g, "swiglu: %d x %d: rows must be multiples of 8", T, F) : 0;
}

extern "C" int
gpu_swiglu(struct gpu *g, uint16_t *out, const uint16_t *gate_up, int T, int F)
{
	size_t eights;

	if (check(g, T, F))
		return -1;
	eights = (size_t)T * (size_t)(F / 8);
	if (T == 0)
		return 0;
	LAUNCH(forward_kernel, gpu_blocks(g, eights, THREADS), THREADS, 0, g->stream, out, gate_up, eights, F);
	return gpu_launched(g, "swiglu");
}

extern "C" int
gpu_swiglu_back(struct gpu *g, uint16_t *dgate_up, uint16_t *out, const uint16_t *dout, const uint16_t *gate_up, int T, int F)
{
	size_t eights;

	if (check(g, T, F))
		return -1;
	eights = (size_t)T * (size_t)(F / 8);
	if (T == 0)
		return 0;
	LAUNCH(backward_kernel, gpu_blocks(g, eights, THREADS), THREADS, 0, g->stream, dgate_up, out, dout, gate_up, eights, F);
	return gpu_launched(g, "swiglu backward");
}
