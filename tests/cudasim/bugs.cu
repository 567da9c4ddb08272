/* bugs.cu NAME - what the simulator is to find: small kernels and programs, each right, and wrong when "bug" is the second argument
 *
 * tests/cuda.bats runs each both ways and says by what the wrong one must be noticed. A right one prints the bytes that were read back
 * (cudasim's hash) and ends with status 0; some wrong ones do so too, and are noticed by another order having other bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "gpu_ptx.h"

enum { THREADS = 64 };

/* ---- memory ---- */

__global__ void
shared_bounds(float *out, bool bug)
{
	SHARED(float, s, [THREADS]);

	s[threadIdx.x] = threadIdx.x;
	__syncthreads();
	out[threadIdx.x] = s[(threadIdx.x + 1) % THREADS + (bug ? 8 : 0)];
}

__global__ void
dynamic_bounds(float *out, bool bug)
{
	DYN_SHARED(float, s);

	s[threadIdx.x + bug] = threadIdx.x;
	__syncthreads();
	out[threadIdx.x] = s[threadIdx.x];
}

__global__ void
global_bounds(float *out, bool bug)
{
	for (int i = threadIdx.x; i < THREADS + bug; i += blockDim.x)
		out[i] = i;
}

__global__ void
misaligned(float *out, bool bug)
{
	const float *p = out + bug;
	float4 v = threadIdx.x == 0 ? *reinterpret_cast<const float4 *>(p) : make_float4(0, 0, 0, 0);

	if (threadIdx.x == 0)
		out[0] = v.x + v.w;
}

__global__ void
uninitialised(float *out, bool bug)
{
	SHARED(float, s, [THREADS]);

	if (threadIdx.x < (bug ? THREADS - 1u : (unsigned)THREADS))
		s[threadIdx.x] = 1;
	__syncthreads();
	out[threadIdx.x] = s[threadIdx.x];
}

/* ---- barriers and warps ---- */

__global__ void
missing_barrier(float *out, bool bug)
{
	SHARED(float, s, [THREADS]);

	s[threadIdx.x] = threadIdx.x;
	if (!bug)
		__syncthreads();
	out[threadIdx.x] = s[THREADS - 1 - threadIdx.x];
}

__global__ void
missing_second_barrier(float *out, bool bug)
{
	SHARED(float, s, [1]);
	float sum = 0;

	for (int i = 0; i < 3; i++) {
		if (threadIdx.x == 0)
			s[0] = 1 << i;
		__syncthreads();
		sum += s[0];
		if (!bug)
			__syncthreads();
	}
	out[threadIdx.x] = sum;
}

__global__ void
missing_syncwarp(float *out, bool bug)
{
	SHARED(float, s, [THREADS]);

	s[threadIdx.x] = threadIdx.x;
	if (!bug)
		__syncwarp();
	out[threadIdx.x] = s[threadIdx.x ^ 1];
}

__global__ void
divergent(float *out, bool bug)
{
	if (bug && threadIdx.x >= 40)
		__syncthreads();
	else
		__syncthreads();
	out[threadIdx.x] = 1;
}

__global__ void
left_early(float *out, bool bug)
{
	out[threadIdx.x] = 1;
	if (bug && threadIdx.x >= 40)
		return;
	__syncthreads();
}

__global__ void
wrong_mask(float *out, bool bug)
{
	float v = threadIdx.x % 32;

	if (threadIdx.x % 32 < 16)
		v += __shfl_xor_sync(bug ? ALL_LANES : 0xffffu, v, 1);
	out[threadIdx.x] = v;
}

__global__ void
outside_mask(float *out, bool bug)
{
	float v = threadIdx.x % 32;

	if (threadIdx.x % 32 < 16)
		v += __shfl_xor_sync(0xffffu, v, bug ? 16 : 8);
	out[threadIdx.x] = v;
}

/* ---- blocks ---- */

__global__ void
between_blocks(float *out, bool bug)
{
	if (threadIdx.x == 0)
		out[blockIdx.x] = 1 + blockIdx.x;
	if (threadIdx.x == 0 && bug)
		out[(blockIdx.x + 1) % gridDim.x] += 1;
}

__global__ void
float_atomics(float *out, bool bug)
{
	if (bug || threadIdx.x + blockIdx.x == 0)
		atomicAdd(out, 1.0f / (1 + threadIdx.x + blockIdx.x * THREADS));
}

/* ---- cp.async, ldmatrix, mma ---- */

/* Two buffers: each is read by all threads while the other fills. `late`: the wait lets the newest be under way, and one more than may be. */
template <bool LATE> static __device__ void
two_buffers(float *out, bool bug)
{
	SHARED(float, s, [2][THREADS * 4]);
	float sum = 0;

	cp_async16(&s[0][threadIdx.x * 4], out + threadIdx.x * 4);
	cp_async_commit();
	for (int i = 0; i < 4; i++) {
		if (!LATE && !bug)
			__syncthreads();	/* all have read what is overwritten now */
		cp_async16(&s[(i + 1) % 2][threadIdx.x * 4], out + ((i + 1) * THREADS + threadIdx.x) * 4);
		cp_async_commit();
		if (LATE && bug)
			cp_async_wait<2>();
		else
			cp_async_wait<1>();
		__syncthreads();
		sum += s[i % 2][THREADS * 4 - 1 - threadIdx.x];
		if (LATE)
			__syncthreads();
	}
	cp_async_wait<0>();
	out[threadIdx.x + 5 * THREADS * 4] = sum;
}

__global__ void
missing_wait(float *out, bool bug)
{
	two_buffers<true>(out, bug);
}

__global__ void
early_overwrite(float *out, bool bug)
{
	two_buffers<false>(out, bug);
}

__global__ void
copy_bounds(float *out, bool bug)
{
	SHARED(float, s, [THREADS * 4]);

	cp_async16_or_zero(&s[threadIdx.x * 4], out + (threadIdx.x + 1) * 4, bug || threadIdx.x < THREADS - 1);
	cp_async_commit();
	cp_async_wait<0>();
	out[(int)threadIdx.x - THREADS] = s[threadIdx.x * 4];
}

__global__ void
unfinished_copy(float *out, bool bug)
{
	SHARED(float, s, [THREADS * 4]);

	cp_async16(&s[threadIdx.x * 4], out + threadIdx.x * 4);
	cp_async_commit();
	if (!bug)
		cp_async_wait<0>();
	__syncthreads();	/* others read what this one is about to write */
	out[threadIdx.x] = threadIdx.x;
}

/* Rows that one warp stored, read by ldmatrix. */
__global__ void
unordered_ldmatrix(float *out, bool bug)
{
	SHARED(uint4, s, [WARP]);
	uint32_t d[4];

	s[threadIdx.x] = make_uint4(threadIdx.x, 1, 2, 3);
	if (!bug)
		__syncwarp();
	ldmatrix_x4(d, &s[threadIdx.x]);
	out[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

/* ---- the host's side ---- */

static float *device, *pinned;
static cudaStream_t one, two;
enum { N = 8 * THREADS * 4 };

static void
read_back(void)
{
	static float host[N];

	cudaDeviceSynchronize();
	cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
	for (float v : host)
		if (v != v) {
			fprintf(stderr, "NaN was read back\n");
			exit(1);
		}
}

/* One stream's copy of what another makes. */
static void
missing_event(bool bug)
{
	cudaEvent_t made;

	cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
	LAUNCH(missing_barrier, 1, THREADS, 0, one, device, false);
	cudaEventRecord(made, one);
	if (!bug)
		cudaStreamWaitEvent(two, made, 0);
	cudaMemcpyAsync(pinned, device, THREADS * sizeof *pinned, cudaMemcpyDeviceToHost, two);
	cudaStreamSynchronize(two);
	cudaEventDestroy(made);
}

static void
missing_sync(bool bug)
{
	memset(pinned, 0, THREADS * sizeof *pinned);
	cudaMemcpyAsync(pinned, device, THREADS * sizeof *pinned, cudaMemcpyDeviceToHost, one);
	if (!bug)
		cudaStreamSynchronize(one);
	if (pinned[0] != 0.5f) {
		fprintf(stderr, "read before it came\n");
		exit(1);
	}
	cudaStreamSynchronize(one);
}

static void
host_access(bool bug)
{
	if (bug)
		device[0] = 1;
}

static void
host_pointer(bool bug)
{
	static float mine[THREADS];

	LAUNCH(missing_barrier, 1, THREADS, 0, one, bug ? mine : device, false);
}

static void
use_after_free(bool bug)
{
	float *p;

	cudaMalloc((void **)&p, THREADS * sizeof *p);
	cudaMemset(p, 0, THREADS * sizeof *p);
	if (bug)
		cudaFree(p);
	LAUNCH(missing_barrier, 1, THREADS, 0, one, p, false);
	cudaStreamSynchronize(one);
	if (!bug)
		cudaFree(p);
}

static void
double_free(bool bug)
{
	float *p;

	cudaMalloc((void **)&p, 4);
	cudaFree(p);
	if (bug)
		cudaFree(p);
}

static void
long_copy(bool bug)
{
	cudaMemcpy(pinned, device, (N + bug) * sizeof *pinned, cudaMemcpyDeviceToHost);
}

static void
wrong_direction(bool bug)
{
	cudaMemcpy(pinned, device, 4, bug ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost);
}

static void
past_memory(bool bug)
{
	void *p;

	if (cudaMalloc(&p, bug ? (size_t)1 << 40 : 4) != cudaSuccess) {
		fprintf(stderr, "%s\n", cudaGetErrorString(cudaGetLastError()));
		exit(1);
	}
}

/* ---- the list ---- */

struct kernel_bug {
	const char *name;
	void (*kernel)(float *out, bool bug);
	int blocks, threads;
	size_t shared;
};

static const struct kernel_bug kernels[] = {
	{ "shared_bounds", shared_bounds, 1, THREADS, 0 },
	{ "dynamic_bounds", dynamic_bounds, 1, THREADS, THREADS * sizeof(float) },
	{ "global_bounds", global_bounds, 1, THREADS, 0 },
	{ "misaligned", misaligned, 1, THREADS, 0 },
	{ "uninitialised", uninitialised, 1, THREADS, 0 },
	{ "missing_barrier", missing_barrier, 1, THREADS, 0 },
	{ "missing_second_barrier", missing_second_barrier, 1, THREADS, 0 },
	{ "missing_syncwarp", missing_syncwarp, 1, THREADS, 0 },
	{ "divergent", divergent, 1, THREADS, 0 },
	{ "left_early", left_early, 1, THREADS, 0 },
	{ "wrong_mask", wrong_mask, 1, THREADS, 0 },
	{ "outside_mask", outside_mask, 1, THREADS, 0 },
	{ "between_blocks", between_blocks, 8, THREADS, 0 },
	{ "float_atomics", float_atomics, 8, THREADS, 0 },
	{ "missing_wait", missing_wait, 1, THREADS, 0 },
	{ "early_overwrite", early_overwrite, 1, THREADS, 0 },
	{ "copy_bounds", copy_bounds, 1, THREADS, 0 },
	{ "unfinished_copy", unfinished_copy, 1, THREADS, 0 },
	{ "unordered_ldmatrix", unordered_ldmatrix, 1, WARP, 0 },
};

static const struct host_bug {
	const char *name;
	void (*run)(bool bug);
} hosts[] = {
	{ "missing_event", missing_event }, { "missing_sync", missing_sync }, { "host_access", host_access }, { "host_pointer", host_pointer },
	{ "use_after_free", use_after_free }, { "double_free", double_free }, { "long_copy", long_copy }, { "wrong_direction", wrong_direction },
	{ "past_memory", past_memory },
};

static bool
run(const char *name, bool bug)
{
	for (const struct kernel_bug &k : kernels)
		if (!strcmp(k.name, name)) {
			/* these two are to pass the end of the allocation */
			int from = !strcmp(name, "global_bounds") ? N - THREADS : !strcmp(name, "copy_bounds") ? N - THREADS * 4 : 0;
			float *out = device + from;

			LAUNCH(k.kernel, k.blocks, k.threads, k.shared, one, out, bug);
			return true;
		}
	for (const struct host_bug &h : hosts)
		if (!strcmp(h.name, name)) {
			h.run(bug);
			return true;
		}
	return false;
}

int
main(int argc, char **argv)
{
	bool bug = argc > 2 && !strcmp(argv[2], "bug");

	cudaMalloc((void **)&device, N * sizeof *device);
	cudaMallocHost((void **)&pinned, (N + 1) * sizeof *pinned);
	for (int i = 0; i < N; i++)
		pinned[i] = 0.5f + i % 3;
	cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
	cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking);
	cudaMemcpy(device, pinned, N * sizeof *device, cudaMemcpyHostToDevice);
	if (argc < 2 || !run(argv[1], bug)) {
		fprintf(stderr, "usage: bugs NAME [bug]\n");
		return 2;
	}
	read_back();
	if (cudaGetLastError() != cudaSuccess)
		return 3;
	return 0;
}
