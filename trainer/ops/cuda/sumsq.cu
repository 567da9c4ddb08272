/* sumsq.cu - the norm of a gradient and the factor that clips it, in two launches and without the host
 *
 * A block takes PIECE numbers: a thread's 64 squares in float32, its block's in float64. Then one block adds the pieces. */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256, PIECE = SUMSQ_PIECE, CLIP_THREADS = 1024 };

static __global__ void __launch_bounds__(THREADS)
sumsq_kernel(double *part, const float *x, size_t n)
{
	size_t from = (size_t)blockIdx.x * PIECE, to = from + PIECE < n ? from + PIECE : n;
	float sum = 0;
	double total;

	for (size_t i = from + threadIdx.x * 4; i < to; i += THREADS * 4) {
		float4 v = *reinterpret_cast<const float4 *>(x + i);

		sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
	}
	total = block_sum((double)sum);
	if (threadIdx.x == 0)
		part[blockIdx.x] = total;
}

static __global__ void __launch_bounds__(CLIP_THREADS)
clip_kernel(float *clip, const double *part, size_t parts, float gscale, float max_norm)
{
	double sum = 0;

	for (size_t i = threadIdx.x; i < parts; i += CLIP_THREADS)
		sum += part[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0) {
		float norm = gscale * (float)sqrt(sum), factor = max_norm / (norm + 1e-6f);

		clip[0] = norm;
		clip[1] = gscale * (max_norm > 0 && !(factor >= 1) ? factor : 1);	/* NaN goes through */
	}
}

extern "C" int
gpu_sumsq(struct gpu *g, double *part, const float *x, size_t n)
{
	if (n % 4 || gpu_sumsq_parts(n) > 0x7fffffff)
		return gpu_refuse(g, "sumsq: %zu is no multiple of 4, or too many", n);
	if (n == 0)
		return 0;
	LAUNCH(sumsq_kernel, (unsigned)gpu_sumsq_parts(n), THREADS, 0, g->stream, part, x, n);
	return gpu_launched(g, "sumsq");
}

extern "C" int
gpu_clip(struct gpu *g, float *clip, const double *part, size_t parts, float gscale, float max_norm)
{
	LAUNCH(clip_kernel, 1, CLIP_THREADS, 0, g->stream, clip, part, parts, gscale, max_norm);
	return gpu_launched(g, "clip");
}
