/* rmsnorm.cu - root mean square normalisation of rows: of the residual stream with the sum before it, and of single heads (Qwen3)
 *
 * A warp takes a row, 16 bytes a lane at a time; its second look at the row comes from the cache. With r = rstd and y = x r:
 * d loss/d x_c = r (w_c dout_c - y_c mean_j(w_j dout_j y_j)); d loss/d w_c = sum over rows of dout_c y_c (columns.h). */
#include "columns.h"
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256, WARPS = THREADS / WARP };

/* Where row r of a matrix of heads begins: token r / heads, head r % heads. */
struct layout {
	int heads, stride, C;
};

static __device__ __forceinline__ size_t
row_at(struct layout l, int r)
{
	return (size_t)(r / l.heads) * l.stride + (size_t)(r % l.heads) * l.C;
}

/* x + branch as bf16, kept in sum; its squares' sum over this lane's columns. */
static __device__ float
add_branch(uint16_t *sum, const uint16_t *x, const uint16_t *branch, int C)
{
	float squares = 0;

	for (int c = threadIdx.x % WARP * 8; c < C; c += WARP * 8) {
		struct eight v = load8(x + c), b = load8(branch + c);

		for (int k = 0; k < 8; k++) {
			v.f[k] = bf16_up(bf16_down(v.f[k] + b.f[k]));
			squares += v.f[k] * v.f[k];
		}
		store8(sum + c, &v);
	}
	return squares;
}

static __device__ float
sum_squares(const uint16_t *x, int C)
{
	float squares = 0;

	for (int c = threadIdx.x % WARP * 8; c < C; c += WARP * 8) {
		struct eight v = load8(x + c);

		for (int k = 0; k < 8; k++)
			squares += v.f[k] * v.f[k];
	}
	return squares;
}

/* sum and x may be the same array: not __restrict__. */
static __global__ void __launch_bounds__(THREADS)
forward_kernel(uint16_t *out, struct layout to, float *rstd, uint16_t *sum, const uint16_t *x, struct layout from, const uint16_t *branch, const uint16_t *w, float eps, int rows)
{
	int C = from.C;

	for (int r = blockIdx.x * WARPS + threadIdx.x / WARP; r < rows; r += gridDim.x * WARPS) {
		size_t at = row_at(from, r), out_at = row_at(to, r);
		const uint16_t *normed = branch ? sum + at : x + at;
		float squares = branch ? add_branch(sum + at, x + at, branch + at, C) : sum_squares(x + at, C);
		float scale = rsqrtf(warp_sum(squares) / C + eps);

		for (int c = threadIdx.x % WARP * 8; c < C; c += WARP * 8) {
			struct eight v = load8(normed + c), wv = load8(w + c);

			for (int k = 0; k < 8; k++)
				v.f[k] *= scale * wv.f[k];
			store8(out + out_at + c, &v);
		}
		if (rstd && threadIdx.x % WARP == 0)
			rstd[r] = scale;
	}
}

template <bool ADD> static __global__ void __launch_bounds__(THREADS)
backward_kernel(uint16_t *dx, const uint16_t *dout, struct layout dl, const uint16_t *x, struct layout xl, const uint16_t *w, const float *rstd, int rows)
{
	int C = xl.C;

	for (int r = blockIdx.x * WARPS + threadIdx.x / WARP; r < rows; r += gridDim.x * WARPS) {
		const uint16_t *xr = x + row_at(xl, r), *dr = dout + row_at(dl, r);
		uint16_t *to = dx + row_at(dl, r);
		float scale = rstd[r], dot = 0;

		for (int c = threadIdx.x % WARP * 8; c < C; c += WARP * 8) {
			struct eight xv = load8(xr + c), dv = load8(dr + c), wv = load8(w + c);

			for (int k = 0; k < 8; k++)
				dot += wv.f[k] * dv.f[k] * (xv.f[k] * scale);
		}
		dot = warp_sum(dot) / C;
		for (int c = threadIdx.x % WARP * 8; c < C; c += WARP * 8) {
			struct eight xv = load8(xr + c), dv = load8(dr + c), wv = load8(w + c), v = {};

			if (ADD)
				v = load8(to + c);
			for (int k = 0; k < 8; k++)
				v.f[k] += scale * (wv.f[k] * dv.f[k] - xv.f[k] * scale * dot);
			store8(to + c, &v);
		}
	}
}

struct weight_gradient {
	const uint16_t *dout, *x;
	struct layout dl, xl;
	const float *rstd;

	__device__ struct eight
	at(int row, int c) const
	{
		struct eight v = load8(dout + row_at(dl, row) + c), xv = load8(x + row_at(xl, row) + c);

		for (int k = 0; k < 8; k++)
			v.f[k] *= xv.f[k] * rstd[row];
		return v;
	}
};

static int
row_blocks(const struct gpu *g, int rows)
{
	return gpu_blocks(g, (size_t)rows * WARP, THREADS);
}

extern "C" int
gpu_rmsnorm(struct gpu *g, uint16_t *out, float *rstd, uint16_t *sum, const uint16_t *x, const uint16_t *branch, const uint16_t *w, float eps, int T, int C)
{
	struct layout l = { 1, C, C };

	if (T < 0 || C < 8 || C % 8)
		return gpu_refuse(g, "rmsnorm: %d x %d: rows must be multiples of 8", T, C);
	if (T == 0)
		return 0;
	LAUNCH(forward_kernel, row_blocks(g, T), THREADS, 0, g->stream, out, l, rstd, sum, x, l, branch, w, eps, T);
	return gpu_launched(g, "rmsnorm");
}

extern "C" int
gpu_rmsnorm_back(struct gpu *g, uint16_t *dx_acc, float *dw_acc, const uint16_t *dout, const uint16_t *x, const uint16_t *w, const float *rstd, void *scratch, int T, int C)
{
	struct layout l = { 1, C, C };
	struct weight_gradient dw = { dout, x, l, l, rstd };

	if (T < 0 || C < 8 || C % 8)
		return gpu_refuse(g, "rmsnorm: %d x %d: rows must be multiples of 8", T, C);
	if (T == 0)
		return 0;
	if (dw_acc && columns_add(g, "rmsnorm backward", dw_acc, dw, scratch, T, C))
		return -1;
	LAUNCH(backward_kernel<true>, row_blocks(g, T), THREADS, 0, g->stream, dx_acc, dout, l, x, l, w, rstd, T);
	return gpu_launched(g, "rmsnorm backward");
}

static int
check_heads(struct gpu *g, int stride, int T, int heads, int D)
{
	if (T < 0 || heads < 1 || D < 8 || D % 8 || stride % 8 || stride < heads * D || (size_t)T * heads > 0x7fffffff)
		return gpu_refuse(g, "head norm: %d tokens of %d heads of %d, %d apart", T, heads, D, stride);
	return 0;
}

extern "C" int
gpu_headnorm(struct gpu *g, uint16_t *out, int out_stride, float *rstd, const uint16_t *x, int x_stride, const uint16_t *w, float eps, int T, int heads, int D)
{
	struct layout to = { heads, out_stride, D }, from = { heads, x_stride, D };

	if (check_heads(g, out_stride, T, heads, D) || check_heads(g, x_stride, T, heads, D))
		return -1;
	if (T == 0)
		return 0;
	LAUNCH(forward_kernel, row_blocks(g, T * heads), THREADS, 0, g->stream, out, to, rstd, (uint16_t *)NULL, x, from, (const uint16_t *)NULL, w, eps, T * heads);
	return gpu_launched(g, "head norm");
}

extern "C" int
gpu_headnorm_back(struct gpu *g, uint16_t *dx, float *dw_acc, const uint16_t *dout, int d_stride, const uint16_t *x, int x_stride, const uint16_t *w, const float *rstd, void *scratch, int T, int heads, int D)
{
	struct layout dl = { heads, d_stride, D }, xl = { heads, x_stride, D };
	struct weight_gradient dw = { dout, x, dl, xl, rstd };

	if (check_heads(g, d_stride, T, heads, D) || check_heads(g, x_stride, T, heads, D))
		return -1;
	if (T == 0)
		return 0;
	if (dw_acc && columns_add(g, "head norm backward", dw_acc, dw, scratch, T * heads, D))	/* first: dx may be dout */
		return -1;
	LAUNCH(backward_kernel<false>, row_blocks(g, T * heads), THREADS, 0, g->stream, dx, dout, dl, x, xl, w, rstd, T * heads);
	return gpu_launched(g, "head norm backward");
}
