/* attend.cu - causal attention over packed sequences: FlashAttention-2 (Dao 2023) by mma.sync
 *
 * A block takes 128 queries of one head, each warp 32 of them, and looks at the keys up to theirs, 64 at a time (32 where heads are 128 wide, or the
 * registers would not do), with an online softmax. The values are fetched while scores are computed, the next keys while the weights are
 * multiplied with the values. Warps take 32 rows because a fragment of keys, once read from shared memory, then serves two products: with 16,
 * reading would take as long as multiplying (256 bytes for a product of 16 x 8 x 16, at 128 a clock, and 2 clocks a product on an A100).
 *
 * Keys go upwards, so that the first tile has a key for every row; only tiles on the diagonal are masked. Keys
 * past the end of a sequence lie above the diagonal of all its rows. It has run under tests/cudasim only, not on a GPU. */
#include "attend.h"

enum { M = 2, ROWS = ATTEND_WARPS * M * 16 };

template <int D> static constexpr int keys_of = D > 64 ? 32 : 64;

/* grid: head, part from the last; the longest rows come first. */
template <int D> static __global__ void __launch_bounds__(ATTEND_THREADS, 2)
forward_kernel(uint16_t *out, float *lse, struct attention at, float scale)
{
	const int KEYS = keys_of<D>;
	DYN_SHARED(uint16_t, q);
	uint16_t *k = q + ROWS * D, *v = k + KEYS * D;
	struct part p = part_of<ROWS>(at.cu, 1, at.nseq, gridDim.y - 1 - blockIdx.y);
	int h = blockIdx.x, own = threadIdx.x / WARP * M * 16, lane = threadIdx.x % WARP, end = min(p.row + ROWS, p.len);
	size_t from = (size_t)p.first * at.stride + h / (at.H / at.G) * D;
	float acc[M][D / 8][4] = {}, s[M][KEYS / 8][4], most[M][2], sum[M][2] = {};
	int last[M][2];	/* key of a row */

	if (p.len == 0)
		return;
	for (int m = 0; m < M; m++)
		for (int half = 0; half < 2; half++) {
			most[m][half] = ATTEND_LEAST;
			last[m][half] = p.row + own + m * 16 + half * 8 + lane / 4;
		}
	tile_load<D, ROWS>(q, at.q + (size_t)p.first * at.stride + h * D, at.stride, p.row, p.len);
	tile_load<D, KEYS>(k, at.k + from, at.stride, 0, p.len);
	cp_async_commit();
	for (int key = 0; key < end; key += KEYS) {
		bool seen = key < p.row + own + M * 16 && p.row + own < p.len;	/* by some row of this warp */

		cp_async_wait<0>();
		__syncthreads();	/* the keys are there, the values before them no longer used */
		tile_load<D, KEYS>(v, at.v + from, at.stride, key, p.len);
		cp_async_commit();
		if (seen)
			scores<D, M, KEYS>(s, q, own, k);
		cp_async_wait<0>();
		__syncthreads();	/* the values are there, the keys no longer used */
		if (key + KEYS < end)
			tile_load<D, KEYS>(k, at.k + from, at.stride, key + KEYS, p.len);
		cp_async_commit();
		if (!seen)
			continue;
		if (key + KEYS > p.row + own)
			mask<M, KEYS>(s, last, key);
		soften<D, M, KEYS>(s, acc, most, sum, scale * LOG2_E);
		add_values<D, M, KEYS>(acc, s, v);
	}
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int half = 0; half < 2; half++) {
			float total = row_sum(sum[m][half]);

			sum[m][half] = 1 / total;
			if (lse && lane % 4 == 0 && last[m][half] < p.len)
				lse[(size_t)(p.first + last[m][half]) * at.H + h] = most[m][half] * LN_2 + logf(total);
		}
	store_rows<D, M>(out + ((size_t)p.first * at.H + h) * D, at.H * D, p.row + own, p.len, acc, sum, q, own);
}

template <int D> static int
forward(struct gpu *g, uint16_t *out, float *lse, struct attention at)
{
	size_t bytes = (size_t)(ROWS + 2 * keys_of<D>) * D * sizeof *out;

	if (attend_shared(g, (const void *)forward_kernel<D>, bytes))
		return -1;
	LAUNCH(forward_kernel<D>, dim3(at.H, parts_most<ROWS>(at.T, at.nseq)), ATTEND_THREADS, bytes, g->stream, out, lse, at, 1 / sqrtf((float)D));
	return gpu_launched(g, "attention");
}

extern "C" int
gpu_attend(struct gpu *g, uint16_t *out, float *lse, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const int *cu, int nseq, int longest, int T, int H, int G, int D)
{
	struct attention at = { q, k, v, cu, nseq, stride, T, H, G };

	if (attend_check(g, stride, nseq, longest, T, H, G, D))
		return -1;
	if (T == 0)
		return 0;
	switch (D) {
	case 16:
		return forward<16>(g, out, lse, at);
	case 32:
		return forward<32>(g, out, lse, at);
	case 64:
		return forward<64>(g, out, lse, at);
	default:
		return forward<128>(g, out, lse, at);
	}
}
