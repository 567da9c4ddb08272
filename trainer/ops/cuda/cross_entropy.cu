/* cross_entropy.cu - softmax cross entropy and its gradient in place, one block a row, and the sum of the losses
 *
 * Two looks at the row: the first keeps a running maximum and the sum of exponentials below it (Milakov & Gimelshein 2018), the second writes
 * scale * weight * (softmax - one at the target). In float32 from bf16 logits, as HF transformers does. Rows x vocabulary passes 2^31 at 16,744 rows of
 * 128,256: offsets are 64-bit. */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 512, SUM_THREADS = 256 };

/* The maximum and the sum of exp(x - maximum) of this thread's columns. */
static __device__ __forceinline__ void
look(const uint16_t *x, int V, int Vp, float *max_out, float *sum_out)
{
	float most = -INFINITY, sum = 0;

	for (int c = threadIdx.x * 8; c < Vp; c += THREADS * 8) {
		struct eight v = load8(x + c);
		float was = most;

		for (int k = 0; k < 8; k++)
			if (c + k < V)
				most = fmaxf(most, v.f[k]);
		if (most > was)
			sum *= expf(was - most);
		for (int k = 0; k < 8; k++)
			if (c + k < V)
				sum += expf(v.f[k] - most);
	}
	*max_out = most;
	*sum_out = sum;
}

static __global__ void __launch_bounds__(THREADS)
cross_entropy_kernel(uint16_t *logits, float *loss, const int *target, const float *weight, float scale, int V, int Vp)
{
	uint16_t *x = logits + (size_t)blockIdx.x * Vp;
	int right = target[blockIdx.x];
	float at_target = bf16_up(x[right]), own, most, sum;

	if (weight)
		scale *= weight[blockIdx.x];
	look(x, V, Vp, &own, &sum);
	most = block_max(own);
	sum = block_sum(sum > 0 ? sum * expf(own - most) : sum);	/* a thread without columns: 0, not 0 * exp(-inf + inf); NaN stays NaN */
	if (threadIdx.x == 0)
		loss[blockIdx.x] = most + logf(sum) - at_target;
	for (int c = threadIdx.x * 8; c < Vp; c += THREADS * 8) {
		struct eight v = load8(x + c);

		for (int k = 0; k < 8; k++)
			v.f[k] = c + k < V ? scale * (expf(v.f[k] - most) / sum - (c + k == right ? 1.0f : 0.0f)) : 0.0f;
		store8(x + c, &v);
	}
}

static __global__ void __launch_bounds__(SUM_THREADS)
sum_kernel(double *sum_acc, const float *x, const float *weight, size_t n)
{
	double sum = 0;

	for (size_t i = threadIdx.x; i < n; i += SUM_THREADS)
		sum += weight ? (double)weight[i] * x[i] : x[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0)
		*sum_acc += sum;
}

extern "C" int
gpu_cross_entropy(struct gpu *g, uint16_t *logits, float *loss, const int *target, const float *weight, float scale, int T, int V, int Vp)
{
	if (T < 0 || V < 1 || Vp < V || Vp % 8)
		return gpu_refuse(g, "cross entropy: %d rows of %d logits, %d apart", T, V, Vp);
	if (T == 0)
		return 0;
	LAUNCH(cross_entropy_kernel, T, THREADS, 0, g->stream, logits, loss, target, weight, scale, V, Vp);
	return gpu_launched(g, "cross entropy");
}

extern "C" int
gpu_sum(struct gpu *g, double *sum_acc, const float *x, const float *weight, size_t n)
{
	LAUNCH(sum_kernel, 1, SUM_THREADS, 0, g->stream, sum_acc, x, weight, n);
	return gpu_launched(g, "sum");
}
