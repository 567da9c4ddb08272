/* attend_back.cu - the gradients of causal attention: FlashAttention-2's (Dao 2023) by mma.sync, with the same bits in every run
 *
 * With p = exp(scale q.k - lse), delta = dout . out and ds = p (dout . v - delta), as in plain/attend.c: dq = scale sum ds k, dk = scale sum ds q,
 * dv = sum p dout. First delta is summed, a row after the other; then one kernel goes over the queries for dk and dv, and one over the keys for
 * dq: p and ds are computed in both, seven products instead of five, and nothing is added up by atomics. Key heads that several query heads share take
 * these one after the other; where that makes few blocks (gpu_attend_heads() of scratch.c), blocks share them, and a last kernel adds up their float32 sums in order.
 *
 * Both are one template. A block owns rows of two matrices, in registers as operand A, and rows of two others stream by, 16 at a time:
 *     OF_KEYS   owns k, v       q, dout stream by    p^T = exp2(k q^T), dp^T = v dout^T    dk += ds^T q, dv += p^T dout
 *     else      owns q, dout    k, v stream by       p = exp2(q k^T), dp = dout v^T        dq += ds k
 * so what a warp computed of p and ds is its next operand A without a move. It has run under tests/cudasim only, not on a GPU. */
#include "attend.h"

/* M x 16 rows a warp: as many as the registers hold. The rows that a block owns pass through the two stages of the stream, which are of their size. */
template <int D> static constexpr int ms = D > 64 ? 1 : 2;
template <int D> static constexpr int own_rows = ATTEND_WARPS * 16 * ms<D>;
template <int D> static constexpr int stream_rows = own_rows<D> / 2;

enum { DELTA_THREADS = 256, ADD_THREADS = 256 };

/* Of a row of one head: what p and ds need. Four floats, to be copied as 16 bytes. */
struct alignas(16) edge {
	float lse;	/* log2 */
	float delta;
	float unused[2];
};
static_assert(sizeof(struct edge) == EDGE_BYTES && own_rows<128> == ATTEND_OWN_128 && own_rows<64> == ATTEND_OWN_64, "scratch.h");

/* edge[H,T] */
template <int D> static __global__ void __launch_bounds__(DELTA_THREADS)
delta_kernel(struct edge *edge, const uint16_t *dout, const uint16_t *out, const float *lse, int T, int H)
{
	size_t i = (size_t)blockIdx.x * DELTA_THREADS + threadIdx.x, row = i / (D / 8), rows = (size_t)T * H;
	float delta = 0;

	if (row < rows) {
		struct eight a = load8(dout + i * 8), b = load8(out + i * 8);

		for (int k = 0; k < 8; k++)
			delta += a.f[k] * b.f[k];
	}
	for (int by = D / 16; by > 0; by /= 2)
		delta += __shfl_xor_sync(ALL_LANES, delta, by);
	if (row < rows && i % (D / 8) == 0)
		edge[row % H * T + row / H] = { lse[row] * LOG2_E, delta, {} };
}

/* Rows of q and dout, or of k and v, of one head of a sequence: ROWS of each from `row` on, one tile after the other. */
template <int D, int ROWS> static __device__ __forceinline__ void
load_queries(uint16_t *tiles, const struct attention &at, const uint16_t *dout, struct part p, int h, int row)
{
	tile_load<D, ROWS>(tiles, at.q + (size_t)p.first * at.stride + h * D, at.stride, row, p.len);
	tile_load<D, ROWS>(tiles + ROWS * D, dout + ((size_t)p.first * at.H + h) * D, at.H * D, row, p.len);
}

template <int D, int ROWS> static __device__ __forceinline__ void
load_keys(uint16_t *tiles, const struct attention &at, struct part p, int g, int row)
{
	size_t from = (size_t)p.first * at.stride + g * D;

	tile_load<D, ROWS>(tiles, at.k + from, at.stride, row, p.len);
	tile_load<D, ROWS>(tiles + ROWS * D, at.v + from, at.stride, row, p.len);
}

/* A stage of the stream. */
template <int D, bool OF_KEYS> static __device__ __forceinline__ void
fetch(uint16_t *tiles, struct edge *edges, const struct attention &at, const uint16_t *dout, const struct edge *edge, struct part p, int h, int row)
{
	int mine = row + threadIdx.x;

	if (OF_KEYS)
		load_queries<D, stream_rows<D>>(tiles, at, dout, p, h, row);
	else
		load_keys<D, stream_rows<D>>(tiles, at, p, h / (at.H / at.G), row);
	if (OF_KEYS && threadIdx.x < stream_rows<D>)
		cp_async16_or_zero(edges + threadIdx.x, mine < p.len ? edge + (size_t)h * at.T + p.first + mine : edge, mine < p.len);
	cp_async_commit();
}

/* acc[M x 16, 16] = a times 16 rows of the tile, transposed */
template <int D, int M> static __device__ __forceinline__ void
times_rows(float acc[M][2][4], const uint32_t a[M][D / 16][4], const uint16_t *tile, int row)
{
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int i = 0; i < 8; i++)
			acc[m][i / 4][i % 4] = 0;
#pragma unroll
	for (int step = 0; step < D / 16; step++) {
		uint32_t b[4];

		rows_b<D>(b, tile, row, step);
#pragma unroll
		for (int m = 0; m < M; m++) {
			mma_m16n8k16(acc[m][0], a[m][step], b, acc[m][0]);
			mma_m16n8k16(acc[m][1], a[m][step], b + 2, acc[m][1]);
		}
	}
}

/* The edge of element i of an [M x 16, 16] product: of this lane's M x 2 rows, or OF_KEYS of its columns. */
template <bool OF_KEYS> static __device__ __forceinline__ const struct edge *
edge_of(const struct edge *edges, int m, int i)
{
	return edges + (OF_KEYS ? threadIdx.x % 4 * 2 + i / 4 * 8 + i % 2 : m * 2 + i % 4 / 2);
}

/* s becomes p. ahead: by how many rows of the sequence the 16 that stream by are ahead of the warp's own. On the diagonal what a query may not see is 0. */
template <int M, bool OF_KEYS> static __device__ __forceinline__ void
soften(float s[M][2][4], const struct edge *edges, int ahead, float by)
{
	int lane = threadIdx.x % WARP;

#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int i = 0; i < 8; i++)
			s[m][i / 4][i % 4] = exp2_approx(fmaf(s[m][i / 4][i % 4], by, -edge_of<OF_KEYS>(edges, m, i)->lse));
	if (OF_KEYS ? ahead >= M * 16 - 1 : ahead <= -15)
		return;
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int i = 0; i < 8; i++) {
			int mine = lane / 4 + m * 16 + i % 4 / 2 * 8, other = ahead + lane % 4 * 2 + i / 4 * 8 + i % 2;

			if (OF_KEYS ? mine > other : other > mine)
				s[m][i / 4][i % 4] = 0;
		}
}

/* dp becomes ds. */
template <int M, bool OF_KEYS> static __device__ __forceinline__ void
differentiate(float dp[M][2][4], const float p[M][2][4], const struct edge *edges)
{
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int i = 0; i < 8; i++)
			dp[m][i / 4][i % 4] = p[m][i / 4][i % 4] * (dp[m][i / 4][i % 4] - edge_of<OF_KEYS>(edges, m, i)->delta);
}

template <int M> static __device__ __forceinline__ void
operands(uint32_t a[M][4], const float acc[M][2][4])
{
#pragma unroll
	for (int m = 0; m < M; m++)
		results_a(a[m], acc[m][0], acc[m][1]);
}

/* What this warp makes of 16 rows that stream by: x, y are its own, tile_x and tile_y have theirs from r on. */
template <int D, bool OF_KEYS> static __device__ __forceinline__ void
add_gradients(float acc_x[][D / 8][4], float acc_y[][D / 8][4], const uint32_t x[][D / 16][4], const uint32_t y[][D / 16][4], const uint16_t *tile_x,
	      const uint16_t *tile_y, int r, const struct edge *edges, int ahead, float by)
{
	const int M = ms<D>;
	float s[M][2][4], dp[M][2][4];
	uint32_t a[M][4];

	times_rows<D, M>(s, x, tile_x, r);
	soften<M, OF_KEYS>(s, edges, ahead, by);
	if (OF_KEYS) {
		operands<M>(a, s);
		add_rows<D, M>(acc_y, a, tile_y, r);
	}
	times_rows<D, M>(dp, y, tile_y, r);
	differentiate<M, OF_KEYS>(dp, s, edges);
	operands<M>(a, dp);
	add_rows<D, M>(acc_x, a, tile_x, r);
}

/* acc as it is: M x 16 rows of sums[T,D], from `row` of the sequence on. */
template <int D, int M> static __device__ __forceinline__ void
store_sums(float *sums, struct part p, int row, float acc[M][D / 8][4])
{
	int lane = threadIdx.x % WARP;

	for (int m = 0; m < M; m++)
		for (int half = 0; half < 2; half++) {
			int mine = row + m * 16 + half * 8 + lane / 4;

			if (mine >= p.len)
				continue;
#pragma unroll
			for (int n = 0; n < D / 8; n++)
				*(float2 *)(sums + (size_t)(p.first + mine) * D + n * 8 + lane % 4 * 2) = make_float2(acc[m][n][2 * half], acc[m][n][2 * half + 1]);
		}
}

/* Gradients [T,heads,D] from what `each` blocks made of a head: sums[heads * each,T,D], added up in order. */
static __global__ void __launch_bounds__(ADD_THREADS)
add_kernel(uint16_t *dx, int dstride, const float *sums, int each, float scale, int T, int heads, int D)
{
	size_t i = (size_t)blockIdx.x * ADD_THREADS + threadIdx.x, row = i * 8 / D, rows = (size_t)T * heads;
	struct eight sum = {};

	if (row >= rows)
		return;
	for (int e = 0; e < each; e++)
		for (int k = 0; k < 8; k++)
			sum.f[k] += sums[((row % heads * each + e) * T + row / heads) * D + i * 8 % D + k];
	for (int k = 0; k < 8; k++)
		sum.f[k] *= scale;
	store8(dx + row / heads * dstride + row % heads * D + i * 8 % D, &sum);
}

/* grid: head (OF_KEYS: `heads` query heads of one key head), part, those with the most to do first. dx, dy: dk, dv or dq, none; or, unless NULL, sums[2]
 * [H / heads,T,D] are written. */
template <int D, bool OF_KEYS> static __global__ void __launch_bounds__(ATTEND_THREADS, 2)
backward_kernel(uint16_t *dx, uint16_t *dy, int dstride, float *sums, int heads, struct attention at, const uint16_t *dout,
		const struct edge *edge, float scale, float scale_log2)
{
	const int M = ms<D>, OWN = own_rows<D>, STREAM = stream_rows<D>, STAGE = 2 * STREAM * D;
	DYN_SHARED(uint16_t, tiles);
	struct edge *edges = (struct edge *)(tiles + 2 * STAGE), own_edges[M * 2] = {};
	SHARED(struct part, kept, [1]);	/* not in registers, of which there is none to spare */
	const struct part &p = kept[0];
	int own = threadIdx.x / WARP * M * 16, lane = threadIdx.x % WARP, h = blockIdx.x * heads;
	float acc_x[M][D / 8][4] = {}, acc_y[OF_KEYS ? M : 1][D / 8][4] = {}, times[M][2];
	uint32_t x[M][D / 16][4], y[M][D / 16][4];

	if (threadIdx.x == 0)
		kept[0] = part_of<OWN>(at.cu, 1, at.nseq, OF_KEYS ? blockIdx.y : gridDim.y - 1 - blockIdx.y);
	__syncthreads();
	if (p.len == 0)
		return;
	if (OF_KEYS)
		load_keys<D, OWN>(tiles, at, p, h / (at.H / at.G), p.row);
	else
		load_queries<D, OWN>(tiles, at, dout, p, h, p.row);
	cp_async_commit();
	cp_async_wait<0>();
	__syncthreads();
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int step = 0; step < D / 16; step++) {
			rows_a<D>(x[m][step], tiles, own + m * 16, step);
			rows_a<D>(y[m][step], tiles + OWN * D, own + m * 16, step);
		}
	if (!OF_KEYS)
		for (int i = 0; i < M * 2; i++)
			if (p.row + own + i * 8 + lane / 4 < p.len)
				own_edges[i] = edge[(size_t)h * at.T + p.first + p.row + own + i * 8 + lane / 4];
	__syncthreads();	/* the stream may begin */
	fetch<D, OF_KEYS>(tiles, edges, at, dout, edge, p, h, OF_KEYS ? p.row : 0);
	for (int row = OF_KEYS ? p.row : 0, stage = 0, last = h + heads; h < last; stage ^= 1) {
		const uint16_t *tile = tiles + stage * STAGE;
		int ahead = row - p.row - own, rows = p.row + own < p.len ? min(STREAM, p.len - row) : 0;

		cp_async_wait<0>();
		__syncthreads();	/* this stage is there, the other no longer used */
		row += STREAM;
		if (row >= (OF_KEYS ? p.len : min(p.row + OWN, p.len))) {
			row = OF_KEYS ? p.row : 0;
			h++;
		}
		if (h < last)
			fetch<D, OF_KEYS>(tiles + (1 - stage) * STAGE, edges + (1 - stage) * STREAM, at, dout, edge, p, h, row);
#pragma unroll 1
		for (int r = 0; r < rows; r += 16)
			if (OF_KEYS ? ahead + r > -16 : ahead + r < M * 16)	/* something is seen */
				add_gradients<D, OF_KEYS>(acc_x, acc_y, x, y, tile, tile + STREAM * D, r, OF_KEYS ? edges + stage * STREAM + r : own_edges, ahead + r,
							  scale_log2);
	}
	__syncthreads();	/* the stream is over */
	if (OF_KEYS && sums) {
		store_sums<D, M>(sums + (size_t)blockIdx.x * at.T * D, p, p.row + own, acc_x);
		store_sums<D, M>(sums + (size_t)(gridDim.x + blockIdx.x) * at.T * D, p, p.row + own, acc_y);
		return;
	}
	for (int m = 0; m < M; m++)
		times[m][0] = times[m][1] = scale;
	store_rows<D, M>(dx + (size_t)p.first * dstride + blockIdx.x * D, dstride, p.row + own, p.len, acc_x, times, tiles, own);
	for (int m = 0; m < M; m++)
		times[m][0] = times[m][1] = 1;
	if (OF_KEYS)
		store_rows<D, M>(dy + (size_t)p.first * dstride + blockIdx.x * D, dstride, p.row + own, p.len, acc_y, times, tiles + OWN * D, own);
}

template <int D> static int
backward(struct gpu *g, uint16_t *dq, uint16_t *dk, uint16_t *dv, int dstride, struct attention at, const uint16_t *dout, const uint16_t *out, const float *lse, struct edge *edge)
{
	size_t tiles = (size_t)4 * stream_rows<D> * D * sizeof *dq, edges = 2 * stream_rows<D> * sizeof *edge, rows = (size_t)at.T * at.H;
	int parts = parts_most<own_rows<D>>(at.T, at.nseq);
	int heads = gpu_attend_heads(at.T, at.H, at.G, D), adds = (int)(((size_t)at.T * at.G * D / 8 + ADD_THREADS - 1) / ADD_THREADS);
	float scale = 1 / sqrtf((float)D), *sums = gpu_attend_back_sums(at.T, at.H, at.G, D) ? (float *)(edge + rows) : NULL;

	if (attend_shared(g, (const void *)backward_kernel<D, true>, tiles + edges))
		return -1;
	LAUNCH(delta_kernel<D>, (unsigned)((rows * (D / 8) + DELTA_THREADS - 1) / DELTA_THREADS), DELTA_THREADS, 0, g->stream, edge, dout, out, lse, at.T, at.H);
	LAUNCH((backward_kernel<D, true>), dim3(at.H / heads, parts), ATTEND_THREADS, tiles + edges, g->stream, dk, dv, dstride, sums, heads, at, dout, edge, scale,
	       scale * LOG2_E);
	if (sums) {
		int each = at.H / at.G / heads;

		LAUNCH(add_kernel, adds, ADD_THREADS, 0, g->stream, dk, dstride, sums, each, scale, at.T, at.G, D);
		LAUNCH(add_kernel, adds, ADD_THREADS, 0, g->stream, dv, dstride, sums + gpu_attend_back_sums(at.T, at.H, at.G, D), each, 1, at.T, at.G, D);
	}
	LAUNCH((backward_kernel<D, false>), dim3(at.H, parts), ATTEND_THREADS, tiles, g->stream, dq, (uint16_t *)NULL, dstride, (float *)NULL, 1, at, dout, edge,
	       scale, scale * LOG2_E);
	return gpu_launched(g, "attention backward");
}

extern "C" int
gpu_attend_back(struct gpu *g, uint16_t *dq, uint16_t *dk, uint16_t *dv, int dstride, const uint16_t *dout, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const uint16_t *out, const float *lse, const int *cu, int nseq, int longest, void *scratch, int T, int H, int G, int D)
{
	struct attention at = { q, k, v, cu, nseq, stride, T, H, G };
	struct edge *edge = (struct edge *)scratch;

	if (attend_check(g, stride, nseq, longest, T, H, G, D) || attend_check(g, dstride, nseq, longest, T, H, G, D))
		return -1;
	if (T == 0)
		return 0;
	switch (D) {
	case 16:
		return backward<16>(g, dq, dk, dv, dstride, at, dout, out, lse, edge);
	case 32:
		return backward<32>(g, dq, dk, dv, dstride, at, dout, out, lse, edge);
	case 64:
		return backward<64>(g, dq, dk, dv, dstride, at, dout, out, lse, edge);
	default:
		return backward<128>(g, dq, dk, dv, dstride, at, dout, out, lse, edge);
	}
}
