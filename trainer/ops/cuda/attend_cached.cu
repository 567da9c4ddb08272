/* attend_cached.cu - attention of new tokens over keys and values in pages, for serving
 *
 * The query heads that share a key head are rows of one tile (a token's next to each other), so that keys and values are read once for all of
 * them: that is what decoding waits for. The keys of a sequence are split into pieces of SPLIT, each has a softmax of its own, and these are merged from
 * the first to the last. A span of one token has a block, of one warp, for each piece, and a second kernel that merges; where more tokens come, there
 * are rows enough, and a block goes over all pieces and merges in registers. Both do the same operations in the same order for a row, and keys that it may
 * not see change nothing: its bits depend on its own keys alone. It has run under tests/cudasim only, not on a GPU. */
#include "attend.h"
#include "op.h"

enum { SPLIT = 256, THREADS = 256 };

template <int D> static constexpr int keys_of = D > 64 ? 32 : 64;

static __device__ __forceinline__ size_t
key_at(const struct gpu_kv &kv, int s, int position, int g, int D)
{
	return kv.table[(size_t)s * kv.table_stride + position / KV_PAGE] * kv.stride + kv.at + (size_t)(g * KV_PAGE + position % KV_PAGE) * D;
}

/* ---- kv_put ---- */

static __global__ void __launch_bounds__(THREADS)
put_kernel(struct gpu_kv kv, const uint16_t *k, const uint16_t *v, int stride, int G, int D)
{
	size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, t = i / (G * D / 8);
	int column = i % (G * D / 8) * 8, low = 0, high = kv.nspans;
	size_t from = t * stride + column, to;

	if (t >= (size_t)kv.T)
		return;
	while (high - low > 1) {
		int mid = (low + high) / 2;

		if (kv.cu[mid] <= (int)t)
			low = mid;
		else
			high = mid;
	}
	to = key_at(kv, low, kv.past[low] + (int)t - kv.cu[low], column / D, D) + column % D;
	*(uint4 *)(kv.pages + to) = *(const uint4 *)(k + from);
	*(uint4 *)(kv.pages + to + (size_t)G * KV_PAGE * D) = *(const uint4 *)(v + from);
}

/* ---- the parts of a block ---- */

/* Begin to copy rows of a span's [tokens x heads of a key head, D] queries. */
template <int D, int WARPS> static __device__ __forceinline__ void
load_queries(uint16_t *tile, const uint16_t *q, int stride, struct part p, int g, int group)
{
	for (int i = threadIdx.x; i < WARPS * 16 * D / 8; i += WARPS * WARP) {
		int r = i / (D / 8), piece = i % (D / 8), row = p.first + p.row + r;
		bool there = p.row + r < p.len;

		cp_async16_or_zero(tile + tile_at<D>(r, piece), there ? q + (size_t)(row / group) * stride + (g * group + row % group) * D + piece * 8 : q, there);
	}
}

/* And a tile of keys, and of values behind it: positions key.. below len. */
template <int D, int WARPS> static __device__ __forceinline__ void
load_keys(uint16_t *tiles, const struct gpu_kv &kv, int s, int g, int G, int key, int len)
{
	const int KEYS = keys_of<D>;

#pragma unroll 4
	for (int i = threadIdx.x; i < KEYS * D / 8; i += WARPS * WARP) {
		int r = i / (D / 8), piece = i % (D / 8);
		bool there = key + r < len;
		const uint16_t *from = there ? kv.pages + key_at(kv, s, key + r, g, D) + piece * 8 : kv.pages;

		cp_async16_or_zero(tiles + tile_at<D>(r, piece), from, there);
		cp_async16_or_zero(tiles + KEYS * D + tile_at<D>(r, piece), there ? from + (size_t)G * KV_PAGE * D : from, there);
	}
	cp_async_commit();
}

/* How two pieces' sums are brought to one maximum. */
struct balance {
	float was, is;
};

static __device__ __forceinline__ struct balance
balance(float *most, float other)
{
	float top = fmaxf(*most, other);
	struct balance b = { exp2_approx(*most - top), exp2_approx(other - top) };

	*most = top;
	return b;
}

static __device__ __forceinline__ float
merge(float sum, float other, struct balance b)
{
	return fmaf(other, b.is, sum * b.was);	/* written so that both kernels round alike */
}

/* The sums of a piece into those of all before it; and begin the next piece. */
template <int D> static __device__ __forceinline__ void
merge_rows(float total[1][D / 8][4], float total_most[1][2], float total_sum[1][2], float acc[1][D / 8][4], float most[1][2], float sum[1][2])
{
#pragma unroll
	for (int half = 0; half < 2; half++) {
		struct balance b = balance(&total_most[0][half], most[0][half]);

		total_sum[0][half] = merge(total_sum[0][half], row_sum(sum[0][half]), b);
#pragma unroll
		for (int n = 0; n < D / 8; n++)
#pragma unroll
			for (int i = 2 * half; i < 2 * half + 2; i++) {
				total[0][n][i] = merge(total[0][n][i], acc[0][n][i], b);
				acc[0][n][i] = 0;
			}
		most[0][half] = ATTEND_LEAST;
		sum[0][half] = 0;
	}
}

/* ---- spans of several tokens ---- */

enum { MANY_WARPS = 4 };

/* grid: key head, part from the last */
template <int D> static __global__ void __launch_bounds__(MANY_WARPS * WARP, 2)
many_kernel(uint16_t *out, const uint16_t *q, int stride, struct gpu_kv kv, int H, int G, float scale)
{
	const int KEYS = keys_of<D>, STAGE = 2 * KEYS * D, ROWS = MANY_WARPS * 16;
	DYN_SHARED(uint16_t, tile);
	uint16_t *stages = tile + ROWS * D;
	int g = blockIdx.x, group = H / G, own = threadIdx.x / WARP * 16, lane = threadIdx.x % WARP, last[1][2], end, len;
	struct part p = part_of<ROWS>(kv.cu, group, kv.nspans, gridDim.y - 1 - blockIdx.y);
	float acc[1][D / 8][4] = {}, s[1][KEYS / 8][4], most[1][2] = { { ATTEND_LEAST, ATTEND_LEAST } }, sum[1][2] = {};
	float total[1][D / 8][4] = {}, total_most[1][2] = { { ATTEND_LEAST, ATTEND_LEAST } }, total_sum[1][2] = {};

	if (p.len <= group)
		return;	/* no token, or one */
	len = kv.past[p.sequence] + p.len / group;
	end = min(len, kv.past[p.sequence] + (p.row + ROWS - 1) / group + 1);
	for (int half = 0; half < 2; half++)
		last[0][half] = kv.past[p.sequence] + (p.row + own + half * 8 + lane / 4) / group;
	load_queries<D, MANY_WARPS>(tile, q, stride, p, g, group);
	load_keys<D, MANY_WARPS>(stages, kv, p.sequence, g, G, 0, len);
	for (int key = 0, stage = 0; key < end; key += KEYS, stage ^= 1) {
		const uint16_t *k = stages + stage * STAGE;

		cp_async_wait<0>();
		__syncthreads();	/* this stage is there, the other no longer used */
		if (key + KEYS < end)
			load_keys<D, MANY_WARPS>(stages + (1 - stage) * STAGE, kv, p.sequence, g, G, key + KEYS, len);
		if (key > 0 && key % SPLIT == 0)
			merge_rows<D>(total, total_most, total_sum, acc, most, sum);
		if (p.row + own >= p.len || key > kv.past[p.sequence] + (p.row + own + 15) / group)
			continue;	/* this warp has no rows, or none that sees it */
		scores<D, 1, KEYS>(s, tile, own, k);
		if (key + KEYS > kv.past[p.sequence] + (p.row + own) / group)
			mask<1, KEYS>(s, last, key);
		soften<D, 1, KEYS>(s, acc, most, sum, scale * LOG2_E);
		add_values<D, 1, KEYS>(acc, s, k + KEYS * D);
	}
	merge_rows<D>(total, total_most, total_sum, acc, most, sum);
	for (int half = 0; half < 2; half++)
		total_sum[0][half] = 1 / total_sum[0][half];
	round_rows<D, 1>(tile, own, total, total_sum);
	for (int i = lane; i < 16 * D / 8; i += WARP) {
		int r = p.row + own + i / (D / 8), row = p.first + r;

		if (r < p.len)
			*(uint4 *)(out + ((size_t)(row / group) * H + g * group + row % group) * D + i % (D / 8) * 8) =
				*(const uint4 *)(tile + tile_at<D>(own + i / (D / 8), i % (D / 8)));
	}
}

/* ---- spans of one token ---- */

/* What a piece of the keys gives for a head: sums of weights times values [nspans,H,pieces,D], maximum and sum of the weights [nspans,H,pieces]. */
struct pieces {
	float *acc;
	float2 *edge;
	int count;
};

/* grid: key head and 16 of its query heads, span, piece */
template <int D> static __global__ void __launch_bounds__(WARP, 8)
one_kernel(struct pieces to, const uint16_t *q, int stride, struct gpu_kv kv, int H, int G, float scale)
{
	const int KEYS = keys_of<D>, STAGE = 2 * KEYS * D;
	DYN_SHARED(uint16_t, tile);
	uint16_t *stages = tile + 16 * D;
	int group = H / G, g = blockIdx.x % G, lane = threadIdx.x, span = blockIdx.y, from = blockIdx.z * SPLIT, len = kv.past[span] + 1, end = min(from + SPLIT, len);
	struct part p = { span, kv.cu[span] * group, (kv.cu[span + 1] - kv.cu[span]) * group, (int)blockIdx.x / G * 16 };
	float acc[1][D / 8][4] = {}, s[1][KEYS / 8][4], most[1][2] = { { ATTEND_LEAST, ATTEND_LEAST } }, sum[1][2] = {};
	int last[1][2] = { { kv.past[span], kv.past[span] } };

	if (p.len != group || from >= len)
		return;
	load_queries<D, 1>(tile, q, stride, p, g, group);
	load_keys<D, 1>(stages, kv, span, g, G, from, len);
	for (int key = from, stage = 0; key < end; key += KEYS, stage ^= 1) {
		const uint16_t *k = stages + stage * STAGE;

		cp_async_wait<0>();
		__syncthreads();	/* this stage is there, the other no longer used */
		if (key + KEYS < end)
			load_keys<D, 1>(stages + (1 - stage) * STAGE, kv, span, g, G, key + KEYS, len);
		scores<D, 1, KEYS>(s, tile, 0, k);
		if (key + KEYS > len)
			mask<1, KEYS>(s, last, key);
		soften<D, 1, KEYS>(s, acc, most, sum, scale * LOG2_E);
		add_values<D, 1, KEYS>(acc, s, k + KEYS * D);
	}
#pragma unroll
	for (int half = 0; half < 2; half++) {
		int r = p.row + half * 8 + lane / 4;
		size_t row = ((size_t)span * H + g * group + r) * to.count + blockIdx.z;
		float of_row = row_sum(sum[0][half]);

		if (r >= group)
			continue;
		if (lane % 4 == 0)
			to.edge[row] = make_float2(most[0][half], of_row);
#pragma unroll
		for (int n = 0; n < D / 8; n++)
			*(float2 *)(to.acc + row * D + n * 8 + lane % 4 * 2) = make_float2(acc[0][n][2 * half], acc[0][n][2 * half + 1]);
	}
}

/* A warp merges the pieces of one head. */
template <int D> static __global__ void __launch_bounds__(THREADS)
merge_kernel(uint16_t *out, struct pieces from, struct gpu_kv kv, int H)
{
	int head = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP, span = head / H, lane = threadIdx.x % WARP;
	float acc[D > WARP ? D / WARP : 1] = {}, most = ATTEND_LEAST, sum = 0;

	if (span >= kv.nspans || kv.cu[span + 1] - kv.cu[span] != 1)
		return;
	for (int piece = 0; piece * SPLIT <= kv.past[span]; piece++) {
		size_t row = (size_t)head * from.count + piece;
		float2 edge = from.edge[row];
		struct balance b = balance(&most, edge.x);

		sum = merge(sum, edge.y, b);
		for (int i = lane, k = 0; i < D; i += WARP, k++)
			acc[k] = merge(acc[k], from.acc[row * D + i], b);
	}
	for (int i = lane, k = 0; i < D; i += WARP, k++)
		out[((size_t)kv.cu[span] * H + head % H) * D + i] = bf16_down(acc[k] * (1 / sum));
}

/* ---- launching ---- */

static int
pieces_of(int longest)
{
	return (longest + SPLIT - 1) / SPLIT;
}

template <int D> static int
cached(struct gpu *g, uint16_t *out, const uint16_t *q, int stride, struct gpu_kv kv, void *scratch, int H, int G)
{
	int group = H / G, heads = kv.nspans * H;
	size_t tiles = (size_t)4 * keys_of<D> * D * sizeof *q, row = 16 * D * sizeof *q, rows = (size_t)heads * pieces_of(kv.longest);
	struct pieces to = { (float *)scratch, (float2 *)((float *)scratch + rows * D), pieces_of(kv.longest) };
	float scale = 1 / sqrtf((float)D);

	if (attend_shared(g, (const void *)many_kernel<D>, tiles + MANY_WARPS * row))
		return -1;
	if (kv.most > 1)
		LAUNCH(many_kernel<D>, dim3(G, parts_most<MANY_WARPS * 16>(kv.T * group, kv.nspans)), MANY_WARPS * WARP, tiles + MANY_WARPS * row,
		       g->stream, out, q, stride, kv, H, G, scale);
	if (kv.most == 1 || kv.nspans > 1) {
		LAUNCH(one_kernel<D>, dim3(G * ((group + 15) / 16), kv.nspans, to.count), WARP, tiles + row, g->stream, to, q, stride, kv, H, G, scale);
		LAUNCH(merge_kernel<D>, (heads + THREADS / WARP - 1) / (THREADS / WARP), THREADS, 0, g->stream, out, to, kv, H);
	}
	return gpu_launched(g, "attention over pages");
}

static int
check(struct gpu *g, const struct gpu_kv *kv, int stride, int H, int G, int D)
{
	if (attend_check(g, stride, kv->nspans, kv->most, kv->T, H, G, D))
		return -1;
	if (kv->stride % 8 || kv->at % 8 || kv->at + gpu_kv_elements(G, D) > kv->stride)
		return gpu_refuse(g, "attention over pages: a layer from element %zu on does not fit into pages of %zu", kv->at, kv->stride);
	if (kv->longest < kv->most || kv->longest > (int64_t)kv->table_stride * KV_PAGE || kv->nspans > 65535 || pieces_of(kv->longest) > 65535)
		return gpu_refuse(g, "attention over pages: %d spans, of %d tokens at most, %d of them new", kv->nspans, kv->longest, kv->most);
	return 0;
}

extern "C" size_t
gpu_kv_elements(int G, int D)
{
	return (size_t)2 * KV_PAGE * G * D;
}

extern "C" int
gpu_kv_put(struct gpu *g, const struct gpu_kv *kv, const uint16_t *k, const uint16_t *v, int stride, int G, int D)
{
	if (check(g, kv, stride, G, G, D))
		return -1;
	if (kv->T == 0)
		return 0;
	LAUNCH(put_kernel, (unsigned)(((size_t)kv->T * G * D / 8 + THREADS - 1) / THREADS), THREADS, 0, g->stream, *kv, k, v, stride, G, D);
	return gpu_launched(g, "keys and values into pages");
}

extern "C" size_t
gpu_attend_cached_scratch(int nspans, int longest, int H, int D)
{
	return (size_t)nspans * H * pieces_of(longest) * (D * sizeof(float) + sizeof(float2));
}

extern "C" int
gpu_attend_cached(struct gpu *g, uint16_t *out, const uint16_t *q, int stride, const struct gpu_kv *kv, void *scratch, int H, int G, int D)
{
	if (check(g, kv, stride, H, G, D))
		return -1;
	if (kv->T == 0)
		return 0;
	switch (D) {
	case 16:
		return cached<16>(g, out, q, stride, *kv, scratch, H, G);
	case 32:
		return cached<32>(g, out, q, stride, *kv, scratch, H, G);
	case 64:
		return cached<64>(g, out, q, stride, *kv, scratch, H, G);
	default:
		return cached<128>(g, out, q, stride, *kv, scratch, H, G);
	}
}
