/* attend.h - what the attention kernels share: tiles of rows in shared memory, their fragments, an online softmax, and which rows a block takes
 *
 * A block has four warps (one where single tokens are decoded); each takes M x 16 rows of a tile and all of its columns, so that warps share nothing but
 * what they read.
 *
 * All this has run under tests/cudasim only, not on a GPU. What is known of one is computed, by nvcc 13.0 for sm_80 to sm_120. Registers a thread, shared
 * memory a block, and blocks that fit one multiprocessor, where it has 100 KiB (sm_86, 89, 120) as well as where it has more:
 *     forward     D = 64: 214-240   32 KiB   2      D = 128: 239-254   48 KiB   2
 *     dk and dv           255       34 KiB   2               255       33 KiB   2
 *     dq                  206-224   32 KiB   2               202-232   32 KiB   2
 * Nothing is spilled on sm_80 to 90; on sm_100 and 120 up to four words of dk and dv's outer loop are. Their inner loops take 190 to 280 instructions for 48
 * to 64 products of 16 x 8 x 16, the forward's 700 for 128 (off the diagonal): at the 8 clocks that a product takes of an A100's scheduler, and 32 of a
 * consumer card's, the tensor cores are what is waited for; at Hopper's 4 to 6, issuing takes about as long. */
#ifndef SA_ATTEND_H
#define SA_ATTEND_H

#include <float.h>

#include "gpu.h"
#include "gpu_ptx.h"
#include "kernels.h"

enum { ATTEND_WARPS = 4, ATTEND_THREADS = ATTEND_WARPS * WARP };

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

struct attention {
	const uint16_t *q, *k, *v;	/* tokens stride apart */
	const int *cu;
	int nseq, stride, T, H, G;
};

/* ---- which rows ---- */

/* Rows `row`.. of a sequence of `len` rows that begins at row `first`; len = 0: there is nothing to do. */
struct part {
	int sequence, first, len, row;
};

/* How many blocks of ROWS rows are enough for any nseq sequences of T rows together. */
template <int ROWS> static inline int
parts_most(int T, int nseq)
{
	return T / ROWS + nseq;
}

/* The index'th part, where a token is `each` rows. Sequence s, from row a on to row b, has the indices from floor(a / ROWS) + s on: at least as many as it has
 * parts, for floor(b / n) - floor(a / n) + 1 >= ceil((b - a) / n). So no list need be made, and the host need not know the lengths. */
template <int ROWS> static __device__ __forceinline__ struct part
part_of(const int *cu, int each, int nseq, int index)
{
	int low = 0, high = nseq, first, len, row;

	while (high - low > 1) {
		int mid = (low + high) / 2;

		if (cu[mid] * each / ROWS + mid <= index)
			low = mid;
		else
			high = mid;
	}
	first = cu[low] * each;
	len = cu[low + 1] * each - first;
	row = (index - first / ROWS - low) * ROWS;
	return { low, first, row < len ? len : 0, row };
}

/* ---- tiles: rows of D bf16 in shared memory ---- */

/* Where the 16 bytes `piece` of a row lie. Eight rows one after the other, read at the same piece by ldmatrix, fall into all 32 banks. */
template <int D> static __device__ __forceinline__ int
tile_at(int row, int piece)
{
	const int pieces = D / 8, rows_a_line = pieces < 8 ? 8 / pieces : 1, mask = (pieces < 8 ? pieces : 8) - 1;

	return row * D + (piece ^ (row / rows_a_line & mask)) * 8;
}

/* Begin to copy rows row..row+ROWS-1 of x, `stride` apart, whose number is len: those from len on are zero. A thread keeps its piece, and goes a multiple of
 * eight rows down at a time, so that it keeps its place in the swizzle. */
template <int D, int ROWS> static __device__ __forceinline__ void
tile_load(uint16_t *tile, const uint16_t *x, int stride, int row, int len)
{
	const int step = ATTEND_THREADS / (D / 8);
	int piece = threadIdx.x % (D / 8), first = threadIdx.x / (D / 8);
	const uint16_t *from = x + (size_t)(row + first) * stride + piece * 8;
	uint16_t *to = tile + tile_at<D>(first, piece);

	static_assert(step % 8 == 0 && ROWS % step == 0, "");
#pragma unroll
	for (int r = 0; r < ROWS; r += step, from += (size_t)step * stride) {
		bool there = row + first + r < len;

		cp_async16_or_zero(to + r * D, there ? from : x, there);
	}
}

/* Operand A: 16 rows from `row` on, columns 16 step... (In what order lanes point to the four matrices is chosen so that each operand comes in
 * registers that lie together: mma asks for that.) */
template <int D> static __device__ __forceinline__ void
rows_a(uint32_t a[4], const uint16_t *tile, int row, int step)
{
	int lane = threadIdx.x % WARP;

	ldmatrix_x4(a, tile + tile_at<D>(row + lane % 16, step * 2 + lane / 16));
}

/* Operand B of a product with the transposed tile, twice: its columns are rows row..row+7, and in b[2], b[3] the eight after; summed over columns
 * 16 step... */
template <int D> static __device__ __forceinline__ void
rows_b(uint32_t b[4], const uint16_t *tile, int row, int step)
{
	int lane = threadIdx.x % WARP;

	ldmatrix_x4(b, tile + tile_at<D>(row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
}

/* Operand B of a product with the tile, twice: summed over 16 rows from `row` on; columns 16 step.., and in b[2], b[3] the eight after. */
template <int D> static __device__ __forceinline__ void
columns_b(uint32_t b[4], const uint16_t *tile, int row, int step)
{
	int lane = threadIdx.x % WARP;

	ldmatrix_x4_trans(b, tile + tile_at<D>(row + lane % 16, step * 2 + lane / 16));
}

/* Operand A from the results of two products side by side, [16,8] each. */
static __device__ __forceinline__ void
results_a(uint32_t a[4], const float left[4], const float right[4])
{
	a[0] = bf16_pair(left[0], left[1]);
	a[1] = bf16_pair(left[2], left[3]);
	a[2] = bf16_pair(right[0], right[1]);
	a[3] = bf16_pair(right[2], right[3]);
}

/* acc[M x 16, D] += a[M x 16, 16] times 16 rows of the tile. */
template <int D, int M> static __device__ __forceinline__ void
add_rows(float acc[M][D / 8][4], const uint32_t a[M][4], const uint16_t *tile, int row)
{
#pragma unroll
	for (int n = 0; n < D / 16; n++) {
		uint32_t b[4];

		columns_b<D>(b, tile, row, n);
#pragma unroll
		for (int m = 0; m < M; m++) {
			mma_m16n8k16(acc[m][2 * n], a[m], b, acc[m][2 * n]);
			mma_m16n8k16(acc[m][2 * n + 1], a[m], b + 2, acc[m][2 * n + 1]);
		}
	}
}

/* Round M x 16 rows of acc into the tile's rows from `own` on, which only this warp uses; half a row of acc[m] is times[m][0], or [1] (rows 8 and on). */
template <int D, int M> static __device__ __forceinline__ void
round_rows(uint16_t *tile, int own, float acc[M][D / 8][4], const float times[M][2])
{
	int lane = threadIdx.x % WARP;

	__syncwarp();	/* the rows were operands until now */
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < D / 8; n++)
#pragma unroll
			for (int half = 0; half < 2; half++) {
				uint16_t *to = tile + tile_at<D>(own + m * 16 + half * 8 + lane / 4, n) + lane % 4 * 2;

				*(uint32_t *)to = bf16_pair(acc[m][n][2 * half] * times[m][half], acc[m][n][2 * half + 1] * times[m][half]);
			}
	__syncwarp();
}

/* The same, and from there into rows `row`.. of x, as far as they are below len, 16 bytes at a time. */
template <int D, int M> static __device__ __forceinline__ void
store_rows(uint16_t *x, int stride, int row, int len, float acc[M][D / 8][4], const float times[M][2], uint16_t *tile, int own)
{
	round_rows<D, M>(tile, own, acc, times);
#pragma unroll
	for (int i = threadIdx.x % WARP; i < M * 16 * D / 8; i += WARP) {
		int r = i / (D / 8), piece = i % (D / 8);

		if (row + r < len)
			*(uint4 *)(x + (size_t)(row + r) * stride + piece * 8) = *(const uint4 *)(tile + tile_at<D>(own + r, piece));
	}
}

/* ---- weights: online softmax of the rows that a warp has ---- */

/* log2 of how far a weight may pass 1 before the sums of its row are brought to a new maximum, which is seldom then (as FlashAttention-4 does). */
#define ATTEND_SLACK 8
/* The maximum of no scores: finite, so that rows that see nothing of a tile come to weights of 0. */
#define ATTEND_LEAST (-FLT_MAX)

/* s[M x 16, KEYS] = queries times keys^T */
template <int D, int M, int KEYS> static __device__ __forceinline__ void
scores(float s[M][KEYS / 8][4], const uint16_t *q, int own, const uint16_t *k)
{
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				s[m][n][i] = 0;
#pragma unroll
	for (int step = 0; step < D / 16; step++) {
		uint32_t a[M][4], b[4];

#pragma unroll
		for (int m = 0; m < M; m++)
			rows_a<D>(a[m], q, own + m * 16, step);
#pragma unroll
		for (int n = 0; n < KEYS / 16; n++) {
			rows_b<D>(b, k, n * 16, step);
#pragma unroll
			for (int m = 0; m < M; m++) {
				mma_m16n8k16(s[m][2 * n], a[m], b, s[m][2 * n]);
				mma_m16n8k16(s[m][2 * n + 1], a[m], b + 2, s[m][2 * n + 1]);
			}
		}
	}
}

/* Leave the keys up to the last one that each of this lane's rows may see; key: the tile's first. */
template <int M, int KEYS> static __device__ __forceinline__ void
mask(float s[M][KEYS / 8][4], const int last[M][2], int key)
{
	key += threadIdx.x % 4 * 2;
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				if (key + n * 8 + i % 2 > last[m][i / 2])
					s[m][n][i] = -INFINITY;
}

/* Bring the sums of a row to a new maximum: half a row of acc[m]. */
template <int D> static __device__ __forceinline__ void
shrink(float acc[D / 8][4], float *sum, int half, float by)
{
	*sum *= by;
#pragma unroll
	for (int n = 0; n < D / 8; n++) {
		acc[n][2 * half] *= by;
		acc[n][2 * half + 1] *= by;
	}
}

/* Scores of rows become weights exp2(by s - most); most follows the maximum of by s; sum is this lane's part of the row's. */
template <int D, int M, int KEYS> static __device__ __forceinline__ void
soften(float s[M][KEYS / 8][4], float acc[M][D / 8][4], float most[M][2], float sum[M][2], float by)
{
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int half = 0; half < 2; half++) {
			float was = most[m][half], top = s[m][0][2 * half];

#pragma unroll
			for (int n = 0; n < KEYS / 8; n++)
				top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
			top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 1));
			top = by * fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 2));
			if (__any_sync(ALL_LANES, top > was + ATTEND_SLACK)) {
				most[m][half] = top > was + ATTEND_SLACK ? top : was;
				shrink<D>(acc[m], &sum[m][half], half, exp2_approx(was - most[m][half]));
			}
#pragma unroll
			for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
				for (int i = 2 * half; i < 2 * half + 2; i++) {
					s[m][n][i] = exp2_approx(fmaf(s[m][n][i], by, -most[m][half]));
					sum[m][half] += s[m][n][i];
				}
		}
}

template <int D, int M, int KEYS> static __device__ __forceinline__ void
add_values(float acc[M][D / 8][4], float s[M][KEYS / 8][4], const uint16_t *v)
{
#pragma unroll
	for (int n = 0; n < KEYS / 16; n++) {
		uint32_t a[M][4];

#pragma unroll
		for (int m = 0; m < M; m++)
			results_a(a[m], s[m][2 * n], s[m][2 * n + 1]);
		add_rows<D, M>(acc, a, v, n * 16);
	}
}

/* What the four lanes of a row have together. */
static __device__ __forceinline__ float
row_sum(float v)
{
	v += __shfl_xor_sync(ALL_LANES, v, 1);
	return v + __shfl_xor_sync(ALL_LANES, v, 2);
}

/* ---- launching ---- */

/* Let a kernel have `bytes` of dynamic shared memory. */
static inline int
attend_shared(struct gpu *g, const void *kernel, size_t bytes)
{
	if (bytes > g->shared)
		return gpu_refuse(g, "attention: a block needs %zu bytes of shared memory, this device gives %zu", bytes, g->shared);
	if (bytes > 48 << 10 && cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes) != cudaSuccess)
		return gpu_launched(g, "attention");
	return 0;
}

static inline int
attend_check(struct gpu *g, int stride, int nseq, int longest, int T, int H, int G, int D)
{
	if (D != 16 && D != 32 && D != 64 && D != 128)
		return gpu_refuse(g, "attention: heads of %d: only 16, 32, 64 and 128 are done on a GPU", D);
	if (H < 1 || G < 1 || H % G || H > 65535 || stride % 8 || stride < H * D)
		return gpu_refuse(g, "attention: %d and %d heads of %d, tokens %d apart", H, G, D, stride);
	if (T < 0 || nseq < 0 || longest > T || (int64_t)longest * nseq < T)
		return gpu_refuse(g, "attention: %d tokens in %d sequences of at most %d", T, nseq, longest);
	return 0;
}

#endif
