/* attend.cu - causal attention over packed sequences, forward and backward: a warp a row, to be right; not yet fast
 *
 * It has run under tests/cudasim only, not on a GPU. Backward, as in plain/attend.c: with p = exp(s - lse), delta = dout . out and
 * ds = scale p (dout . v - delta): dq = sum ds k, dk = sum ds q, dv = sum p dout. */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256, WARPS = THREADS / WARP, LANE_MOST = 128 / WARP };

struct shape {
	const uint16_t *q, *k, *v;
	const int *cu;
	int nseq, stride, T, H, G, D;
	float scale;
};

/* The sequence of row t. */
static __device__ int
sequence_of(const int *cu, int nseq, int t)
{
	int low = 0, high = nseq;

	while (high - low > 1) {
		int mid = (low + high) / 2;

		if (cu[mid] <= t)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static __device__ float
dot(const uint16_t *a, const uint16_t *b, int D)
{
	float sum = 0;

	for (int i = threadIdx.x % WARP; i < D; i += WARP)
		sum += bf16_up(a[i]) * bf16_up(b[i]);
	return warp_sum(sum);
}

static __device__ void
add_row(float acc[LANE_MOST], float by, const uint16_t *x, int D)
{
	for (int j = 0, i = threadIdx.x % WARP; i < D; j++, i += WARP)
		acc[j] += by * bf16_up(x[i]);
}

static __device__ void
store_row(uint16_t *out, const float acc[LANE_MOST], float by, int D)
{
	for (int j = 0, i = threadIdx.x % WARP; i < D; j++, i += WARP)
		out[i] = bf16_down(by * acc[j]);
}

static __global__ void __launch_bounds__(THREADS)
forward_kernel(uint16_t *out, float *lse, struct shape s)
{
	size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
	int t = (int)(row / s.H), h = (int)(row % s.H), D = s.D;
	float acc[LANE_MOST] = {}, most = -INFINITY, sum = 0;

	if (t >= s.T)
		return;
	for (int j = s.cu[sequence_of(s.cu, s.nseq, t)]; j <= t; j++) {
		size_t at = (size_t)j * s.stride + h / (s.H / s.G) * D;
		float x = s.scale * dot(s.q + (size_t)t * s.stride + h * D, s.k + at, D), top = fmaxf(most, x), shrink = expf(most - top), p = expf(x - top);

		for (int i = 0; i < LANE_MOST; i++)
			acc[i] *= shrink;
		add_row(acc, p, s.v + at, D);
		sum = sum * shrink + p;
		most = top;
	}
	store_row(out + row * D, acc, 1 / sum, D);
	if (lse && threadIdx.x % WARP == 0)
		lse[row] = most + logf(sum);
}

/* p and ds of one query and key. */
static __device__ float
pair_of(float *ds, struct shape s, const uint16_t *q, const uint16_t *k, const uint16_t *v, const uint16_t *dout, const uint16_t *out, float lse)
{
	float p = expf(s.scale * dot(q, k, s.D) - lse);

	*ds = s.scale * p * (dot(dout, v, s.D) - dot(dout, out, s.D));
	return p;
}

static __global__ void __launch_bounds__(THREADS)
query_kernel(uint16_t *dq, int dstride, const uint16_t *dout, const uint16_t *out, const float *lse, struct shape s)
{
	size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
	int t = (int)(row / s.H), h = (int)(row % s.H), D = s.D;
	float acc[LANE_MOST] = {}, ds;

	if (t >= s.T)
		return;
	for (int j = s.cu[sequence_of(s.cu, s.nseq, t)]; j <= t; j++) {
		size_t at = (size_t)j * s.stride + h / (s.H / s.G) * D;

		pair_of(&ds, s, s.q + (size_t)t * s.stride + h * D, s.k + at, s.v + at, dout + row * D, out + row * D, lse[row]);
		add_row(acc, ds, s.k + at, D);
	}
	store_row(dq + (size_t)t * dstride + h * D, acc, 1, D);
}

static __global__ void __launch_bounds__(THREADS)
key_kernel(uint16_t *dk, uint16_t *dv, int dstride, const uint16_t *dout, const uint16_t *out, const float *lse, struct shape s)
{
	size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
	int j = (int)(row / s.G), g = (int)(row % s.G), D = s.D, group = s.H / s.G;
	float acc_k[LANE_MOST] = {}, acc_v[LANE_MOST] = {}, ds;
	size_t at = (size_t)j * s.stride + g * D;

	if (j >= s.T)
		return;
	for (int h = g * group; h < (g + 1) * group; h++)
		for (int t = j; t < s.cu[sequence_of(s.cu, s.nseq, j) + 1]; t++) {
			size_t r = (size_t)t * s.H + h;
			const uint16_t *q = s.q + (size_t)t * s.stride + h * D;
			float p = pair_of(&ds, s, q, s.k + at, s.v + at, dout + r * D, out + r * D, lse[r]);

			add_row(acc_k, ds, q, D);
			add_row(acc_v, p, dout + r * D, D);
		}
	store_row(dk + (size_t)j * dstride + g * D, acc_k, 1, D);
	store_row(dv + (size_t)j * dstride + g * D, acc_v, 1, D);
}

static int
check(struct gpu *g, int stride, int nseq, int longest, int T, int H, int G, int D)
{
	if (D != 16 && D != 32 && D != 64 && D != 128)
		return gpu_refuse(g, "attention: heads of %d: only 16, 32, 64 and 128 are done on a GPU", D);
	if (H < 1 || G < 1 || H % G || stride % 8 || stride < G * D || T < 0 || nseq < 0 || longest < 0 || longest > T)
		return gpu_refuse(g, "attention: %d tokens of %d and %d heads, %d apart; the longest of %d sequences is %d", T, H, G, stride, nseq, longest);
	return 0;
}

static int
row_blocks(int T, int heads)
{
	return (int)(((size_t)T * heads + WARPS - 1) / WARPS);
}

extern "C" int
gpu_attend(struct gpu *g, uint16_t *out, float *lse, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const int *cu, int nseq, int longest, int T, int H, int G, int D)
{
	struct shape s = { q, k, v, cu, nseq, stride, T, H, G, D, 1 / sqrtf((float)D) };

	if (check(g, stride, nseq, longest, T, H, G, D))
		return -1;
	if (T == 0)
		return 0;
	LAUNCH(forward_kernel, row_blocks(T, H), THREADS, 0, g->stream, out, lse, s);
	return gpu_launched(g, "attention");
}

extern "C" size_t
gpu_attend_back_scratch(int T, int H, int G, int D)
{
	(void)G;
	(void)D;
	return (size_t)T * H * sizeof(float);
}

extern "C" int
gpu_attend_back(struct gpu *g, uint16_t *dq, uint16_t *dk, uint16_t *dv, int dstride, const uint16_t *dout, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const uint16_t *out, const float *lse, const int *cu, int nseq, int longest, void *scratch, int T, int H, int G, int D)
{
	struct shape s = { q, k, v, cu, nseq, stride, T, H, G, D, 1 / sqrtf((float)D) };

	(void)scratch;
	if (check(g, stride, nseq, longest, T, H, G, D) || check(g, dstride, nseq, longest, T, H, G, D))
		return -1;
	if (T == 0)
		return 0;
	LAUNCH(query_kernel, row_blocks(T, H), THREADS, 0, g->stream, dq, dstride, dout, out, lse, s);
	LAUNCH(key_kernel, row_blocks(T, G), THREADS, 0, g->stream, dk, dv, dstride, dout, out, lse, s);
	return gpu_launched(g, "attention backward");
}
