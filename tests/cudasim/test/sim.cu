/* sim.cu - the simulator against what CUDA's manuals say: warp operations, mma, ldmatrix, cp.async, launches */
#include "gpu.h"
#include "gpu_ptx.h"
#include "t.h"

static cudaStream_t stream;

/* out[lane] of one warp. */
template <class T, int N = 32> static T *
warp_result(void (*kernel)(T *out))
{
	static T host[N];
	void *p;

	cudaMalloc(&p, sizeof host);
	LAUNCH(kernel, 1, 32, 0, stream, (T *)p);
	CHECK_INT(cudaGetLastError(), cudaSuccess);
	cudaStreamSynchronize(stream);
	cudaMemcpy(host, p, sizeof host, cudaMemcpyDeviceToHost);
	cudaFree(p);
	return host;
}

static __global__ void
shuffle_kernel(int *out)
{
	int l = threadIdx.x, v = 100 + l, up = __shfl_up_sync(ALL_LANES, v, 3, 16), down = __shfl_down_sync(ALL_LANES, v, 3, 16);

	out[l] = __shfl_sync(ALL_LANES, v, 5, 8) + 1000 * up + 1000000 * down;
}

static void
shuffles_stay_in_their_segments(void)
{
	int *out = warp_result(shuffle_kernel);

	for (int l = 0; l < 32; l++) {
		int s = l & 16, up = l - 3 < s ? l : l - 3, down = l + 3 >= s + 16 ? l : l + 3;

		CHECK_INT(out[l], 100 + (l & 24) + 5 + 1000 * (100 + up) + 1000000 * (100 + down));
	}
}

static __global__ void
vote_kernel(unsigned *out)
{
	unsigned l = threadIdx.x, r = 0;

	r |= __ballot_sync(ALL_LANES, l % 3 == 0) == 0x49249249u;
	r |= (unsigned)(__any_sync(ALL_LANES, l == 7) && !__any_sync(ALL_LANES, l == 40)) << 1;
	r |= (unsigned)(__all_sync(ALL_LANES, l < 32) && !__all_sync(ALL_LANES, l < 31)) << 2;
	r |= (unsigned)(__reduce_add_sync(ALL_LANES, l) == 496) << 3;
	r |= (unsigned)(__reduce_max_sync(ALL_LANES, l) == 31 && __reduce_min_sync(ALL_LANES, l + 1) == 1) << 4;
	r |= (unsigned)(__match_any_sync(ALL_LANES, l / 8) == 0xffu << (l / 8 * 8)) << 5;
	if (l < 16)
		r |= (unsigned)(__ballot_sync(0xffffu, 1) == 0xffffu) << 6;
	out[l] = r;
}

static void
votes_count_the_lanes_of_the_mask(void)
{
	unsigned *out = warp_result(vote_kernel);

	for (int l = 0; l < 32; l++)
		CHECK_INT(out[l], l < 16 ? 127 : 63);
}

static __global__ void
predicate_kernel(int *out)
{
	int l = threadIdx.x, n = __syncthreads_count(l < 5), any = __syncthreads_or(l == 31), all = __syncthreads_and(l < 31);

	out[l] = n + 100 * any + 1000 * all;
}

static void
barriers_count_predicates(void)
{
	CHECK_INT(warp_result(predicate_kernel)[9], 105);
}

/* gpu.h's sums, one after the other through the same shared memory. */
static __global__ void
sums_kernel(int *out)
{
	int wrong = 0;

	for (int i = 0; i < 4; i++) {
		float sum = block_sum((float)(threadIdx.x + i)), most = block_max((float)(threadIdx.x * (i + 1)));

		wrong += sum != 2016 + 64 * i || most != 63 * (i + 1);
	}
	out[threadIdx.x] = wrong;
}

static void
block_sums_follow_each_other(void)
{
	static int host[64];
	void *p;

	cudaMalloc(&p, sizeof host);
	LAUNCH(sums_kernel, 1, 64, 0, stream, (int *)p);
	cudaStreamSynchronize(stream);
	cudaMemcpy(host, p, sizeof host, cudaMemcpyDeviceToHost);
	cudaFree(p);
	for (int t = 0; t < 64; t++)
		CHECK_INT(host[t], 0);
}

static __host__ __device__ __forceinline__ float
a_of(int row, int k)
{
	return (row * 16 + k) % 29 - 14;
}

static __host__ __device__ __forceinline__ float
b_of(int k, int col)
{
	return (k * 8 + col) % 23 - 11;
}

/* A through ldmatrix_x4, B (kept as rows of k) through ldmatrix_x2_trans, C by hand. */
static __global__ void
mma_kernel(float *out)
{
	SHARED(uint4, a_rows, [32]);
	SHARED(uint4, b_rows, [16]);
	uint16_t *as = (uint16_t *)a_rows, *bs = (uint16_t *)b_rows;
	int l = threadIdx.x, r = l / 4, c = l % 4 * 2;
	float d[4];
	uint32_t a[4], b[2];

	for (int i = l; i < 256; i += 32)
		as[i] = bf16_down(a_of(i / 16, i % 16));
	for (int i = l; i < 128; i += 32)
		bs[i] = bf16_down(b_of(i / 8, i % 8));
	__syncwarp();
	ldmatrix_x4(a, as + l % 16 * 16 + l / 16 * 8);
	ldmatrix_x2_trans(b, bs + l % 16 * 8);
	for (int i = 0; i < 4; i++)
		d[i] = 1000 * (r + i / 2 * 8) + c + i % 2;
	mma_m16n8k16(d, a, b, d);
	for (int i = 0; i < 4; i++)
		out[(r + i / 2 * 8) * 8 + c + i % 2] = d[i];
}

static void
mma_of_what_ldmatrix_gives_is_a_product(void)
{
	float *out = warp_result<float, 128>(mma_kernel);

	for (int row = 0; row < 16; row++)
		for (int col = 0; col < 8; col++) {
			float want = 1000 * row + col;

			for (int k = 0; k < 16; k++)
				want += a_of(row, k) * b_of(k, col);
			CHECK(out[row * 8 + col] == want);
		}
}

/* The other two: a[2], a[3] by x2 without transposition are columns 8.. of A; x4_trans of A^T is A. */
static __global__ void
ldmatrix_kernel(unsigned *out)
{
	SHARED(uint4, rows, [32]);
	SHARED(uint4, turned, [32]);
	uint16_t *s = (uint16_t *)rows, *t = (uint16_t *)turned;
	int l = threadIdx.x;
	uint32_t whole[4], half[2], back[4];

	for (int i = l; i < 256; i += 32) {
		s[i] = i;
		t[i % 16 * 16 + i / 16] = i;
	}
	__syncwarp();
	ldmatrix_x4(whole, s + l % 16 * 16 + l / 16 * 8);
	ldmatrix_x2(half, s + l % 16 * 16 + 8);
	ldmatrix_x4_trans(back, t + (l % 8 + l / 16 * 8) * 16 + l / 8 % 2 * 8);
	out[l] = whole[2] == half[0] && whole[3] == half[1] && whole[0] == back[0] && whole[1] == back[1] && whole[2] == back[2] && whole[3] == back[3] &&
		 (whole[0] & 0xffff) == (unsigned)(l / 4 * 16 + l % 4 * 2) && whole[0] >> 16 == (whole[0] & 0xffff) + 1;
}

static void
ldmatrix_transposed_or_not(void)
{
	unsigned *out = warp_result(ldmatrix_kernel);

	for (int l = 0; l < 32; l++)
		CHECK_INT(out[l], 1);
}

static __global__ void
copy_kernel(float *out)
{
	SHARED(float, s, [128]);
	int l = threadIdx.x;

	out[l] = l;
	__syncwarp();
	cp_async16_or_zero(s + l * 4, out + l % 8 * 4, l < 8);
	cp_async_commit();
	cp_async_wait<0>();
	__syncwarp();
	out[l] = s[l] + s[l + 32];
}

static void
copies_land_or_are_zero(void)
{
	float *out = warp_result(copy_kernel);

	for (int l = 0; l < 32; l++)
		CHECK(out[l] == l);
}

static __global__ void
dynamic_kernel(int *out)
{
	DYN_SHARED(int, s);

	s[50000 / 4 + threadIdx.x] = threadIdx.x;
	__syncthreads();
	out[threadIdx.x] = s[50000 / 4 + 31 - threadIdx.x];
}

static void
launches_past_the_limits_are_refused(void)
{
	void *p;

	cudaMalloc(&p, 128);
	LAUNCH(dynamic_kernel, 1, 2048, 0, stream, (int *)p);
	CHECK_INT(cudaGetLastError(), cudaErrorInvalidConfiguration);
	LAUNCH(dynamic_kernel, dim3(1, 65536), 32, 0, stream, (int *)p);
	CHECK_INT(cudaGetLastError(), cudaErrorInvalidConfiguration);
	LAUNCH(dynamic_kernel, 1, 32, 50128, stream, (int *)p);
	CHECK_INT(cudaGetLastError(), cudaErrorInvalidValue);
	CHECK_INT(cudaFuncSetAttribute((const void *)dynamic_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 << 10), cudaErrorInvalidValue);
	cudaGetLastError();
	CHECK_INT(cudaFuncSetAttribute((const void *)dynamic_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50128), cudaSuccess);
	LAUNCH(dynamic_kernel, 1, 32, 50128, stream, (int *)p);
	CHECK_INT(cudaGetLastError(), cudaSuccess);
	CHECK_INT(cudaFree(p), cudaSuccess);
}

/* Two sanitizer-visible blocks of three dimensions: every thread has its own index. */
static __global__ void
index_kernel(int *out)
{
	int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
	int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);

	atomicAdd(out + (block * 24 + thread) % 32, 1);
}

static void
every_thread_of_every_block_runs_once(void)
{
	static int host[32];
	void *p;

	cudaMalloc(&p, sizeof host);
	cudaMemset(p, 0, sizeof host);
	cudaDeviceSynchronize();
	LAUNCH(index_kernel, dim3(2, 2, 2), dim3(4, 3, 2), 0, stream, (int *)p);
	cudaStreamSynchronize(stream);
	cudaMemcpy(host, p, sizeof host, cudaMemcpyDeviceToHost);
	for (int i = 0; i < 32; i++)
		CHECK_INT(host[i], 6);
	cudaFree(p);
}

static void
events_measure_and_order(void)
{
	cudaEvent_t from, to;
	float ms = -1;
	void *p;

	cudaMalloc(&p, 128);
	cudaEventCreate(&from);
	cudaEventCreate(&to);
	cudaEventRecord(from, stream);
	cudaMemsetAsync(p, 0, 128, stream);
	cudaEventRecord(to, stream);
	CHECK_INT(cudaEventSynchronize(to), cudaSuccess);
	CHECK_INT(cudaEventElapsedTime(&ms, from, to), cudaSuccess);
	CHECK(ms > 0);
	cudaEventDestroy(from);
	cudaEventDestroy(to);
	cudaFree(p);
}

int
main(void)
{
	cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	RUN(shuffles_stay_in_their_segments);
	RUN(votes_count_the_lanes_of_the_mask);
	RUN(barriers_count_predicates);
	RUN(block_sums_follow_each_other);
	RUN(mma_of_what_ldmatrix_gives_is_a_product);
	RUN(ldmatrix_transposed_or_not);
	RUN(copies_land_or_are_zero);
	RUN(launches_past_the_limits_are_refused);
	RUN(every_thread_of_every_block_runs_once);
	RUN(events_measure_and_order);
	cudaStreamDestroy(stream);
	return t_done();
}
