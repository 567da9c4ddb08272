/* runtime.cpp - the functions of cuda_runtime_api.h: one device, whose work is stream.cpp's; by more names when they are asked for */
#include <cstdio>
#include <cstdlib>
#include <map>

#include "sim.h"

using namespace cudasim;

/* What would be a sticky error on a GPU ends the program here, but for the one that CUDASIM_LOST asks for. */
static cudaError_t last_error;
static unsigned long long launches;	/* that CUDASIM_LOST counts */

static cudaError_t
result(cudaError_t e)
{
	if (e != cudaSuccess)
		last_error = e;
	return e;
}

static bool
lost(void)
{
	return options()->lost && launches >= options()->lost;
}

static bool
counts(const char *kernel)
{
	const char *name = options()->lost_kernel;

	return !name || !strncmp(kernel, name, strcspn(name, ":"));
}

/* What a call that waits says once the device is lost. */
static cudaError_t
waited(void)
{
	return result(lost() ? cudaErrorLaunchFailure : cudaSuccess);
}

/* ---- what was read back, for comparing runs ---- */

static unsigned long long copies, bytes_back, hash_back;

static void
print_hash(void)
{
	printf("# read back %llu bytes, hash %016llx\n", bytes_back, hash_back);
}

/* FNV-1a over the bytes; a sum over the copies, each with its number, for they run in any order. */
static void
add_hash(const void *p, size_t n, unsigned long long number)
{
	const unsigned char *c = (const unsigned char *)p;
	unsigned long long h = 1469598103934665603ull ^ number;
	size_t i;

	if (bytes_back == 0)
		atexit(print_hash);
	for (i = 0; i < n; i++)
		h = (h ^ c[i]) * 1099511628211ull;
	hash_back += h * (2 * number + 1);
	bytes_back += n;
}

/* ---- memory ---- */

extern "C" cudaError_t
cudaMalloc(void **p, size_t n)
{
	*p = n ? device_alloc(n) : nullptr;
	return result(*p || !n ? cudaSuccess : cudaErrorMemoryAllocation);
}

extern "C" cudaError_t
cudaFree(void *p)
{
	all_wait();
	device_free(p);
	return cudaSuccess;
}

extern "C" cudaError_t
cudaMallocAsync(void **p, size_t n, cudaStream_t)
{
	return cudaMalloc(p, n);
}

extern "C" cudaError_t
cudaFreeAsync(void *p, cudaStream_t s)
{
	submit(stream_of(s), [=] { device_free(p); });
	return cudaSuccess;
}

extern "C" cudaError_t
cudaHostAlloc(void **p, size_t n, unsigned int)
{
	*p = pinned_alloc(n);
	return result(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}

#undef cudaMallocHost	/* NVIDIA's header has it as a template too, for C++ */
extern "C" cudaError_t
cudaMallocHost(void **p, size_t n)
{
	return cudaHostAlloc(p, n, cudaHostAllocDefault);
}

extern "C" cudaError_t
cudaFreeHost(void *p)
{
	all_wait();
	pinned_free(p);
	return cudaSuccess;
}

extern "C" cudaError_t
cudaMemGetInfo(size_t *free, size_t *total)
{
	*total = options()->memory;
	*free = *total - device_used();
	return cudaSuccess;
}

static void
check_copy(const void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
	bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
	bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;

	if (n && kind != cudaMemcpyDefault && (device_range(dst, n) != to || device_range(src, n) != from))
		fail("cudaMemcpy of %zu bytes: the direction %d does not fit the pointers, or it passes the end of an allocation", n, (int)kind);
}

extern "C" cudaError_t
cudaMemcpyAsync(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t s)
{
	bool back = !device_range(dst, n);
	unsigned long long number = copies++;

	check_copy(dst, src, n, kind);
	submit(stream_of(s), [=] {
		memmove(dst, src, n);
		time_passes(1e-3f + (float)n * 1e-7f);
		if (back)
			add_hash(dst, n, number);
	});
	return cudaSuccess;
}

extern "C" cudaError_t
cudaMemcpy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
	cudaMemcpyAsync(dst, src, n, kind, nullptr);
	return cudaStreamSynchronize(nullptr);
}

extern "C" cudaError_t
cudaMemsetAsync(void *dst, int value, size_t n, cudaStream_t s)
{
	if (n && !device_range(dst, n))
		fail("cudaMemset of %zu bytes passes the end of an allocation", n);
	submit(stream_of(s), [=] {
		memset(dst, value, n);
		time_passes(1e-3f);
	});
	return cudaSuccess;
}

extern "C" cudaError_t
cudaMemset(void *dst, int value, size_t n)
{
	return cudaMemsetAsync(dst, value, n, nullptr);
}

/* ---- streams and events ---- */

extern "C" cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *s, unsigned int flags)
{
	*s = (cudaStream_t)stream_new(flags & cudaStreamNonBlocking);
	return cudaSuccess;
}

extern "C" cudaError_t
cudaStreamCreate(cudaStream_t *s)
{
	return cudaStreamCreateWithFlags(s, cudaStreamDefault);
}

/* The order is random in any case. */
extern "C" cudaError_t
cudaStreamCreateWithPriority(cudaStream_t *s, unsigned int flags, int)
{
	return cudaStreamCreateWithFlags(s, flags);
}

extern "C" cudaError_t
cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
	*least = 0;
	*greatest = -5;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaStreamDestroy(cudaStream_t s)
{
	stream_free(stream_of(s));
	return cudaSuccess;
}

extern "C" cudaError_t
cudaStreamSynchronize(cudaStream_t s)
{
	stream_wait(stream_of(s));
	return waited();
}

extern "C" cudaError_t
cudaStreamQuery(cudaStream_t s)
{
	if (!stream_idle(stream_of(s)))
		work_goes_on();
	return stream_idle(stream_of(s)) ? cudaSuccess : cudaErrorNotReady;
}

extern "C" cudaError_t
cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned int)
{
	event_follow(stream_of(s), (struct event *)e);
	return cudaSuccess;
}

extern "C" cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *e, unsigned int)
{
	*e = (cudaEvent_t)event_new();
	return cudaSuccess;
}

extern "C" cudaError_t
cudaEventCreate(cudaEvent_t *e)
{
	return cudaEventCreateWithFlags(e, cudaEventDefault);
}

extern "C" cudaError_t
cudaEventDestroy(cudaEvent_t e)
{
	event_free((struct event *)e);
	return cudaSuccess;
}

extern "C" cudaError_t
cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
	event_record((struct event *)e, stream_of(s));
	return cudaSuccess;
}

extern "C" cudaError_t
cudaEventSynchronize(cudaEvent_t e)
{
	event_wait((struct event *)e);
	return waited();
}

extern "C" cudaError_t
cudaEventQuery(cudaEvent_t e)
{
	if (!event_done((struct event *)e))
		work_goes_on();
	return event_done((struct event *)e) ? cudaSuccess : cudaErrorNotReady;
}

extern "C" cudaError_t
cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	return result(event_elapsed(ms, (struct event *)from, (struct event *)to) ? cudaSuccess : cudaErrorNotReady);
}

extern "C" cudaError_t
cudaDeviceSynchronize(void)
{
	all_wait();
	return waited();
}

/* ---- launches ---- */

static std::map<const void *, int> dynamic_limit;	/* by cudaFuncSetAttribute */

extern "C" cudaError_t
cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attr, int value)
{
	if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize)
		return cudaSuccess;
	if (value < 0 || value > SHARED_BLOCK_MAX)
		return result(cudaErrorInvalidValue);
	dynamic_limit[kernel] = value;
	return cudaSuccess;
}

void
cudasim::launch(const void *kernel, const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t s, std::function<void()> thread)
{
	size_t limit = (size_t)(dynamic_limit.count(kernel) ? dynamic_limit[kernel] : (int)SHARED_STATIC_MAX);
	struct grid g = { name, grid, block, shared, std::move(thread) };
	uint64_t threads = (uint64_t)block.x * block.y * block.z;

	if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || !threads || threads > 1024 || block.z > 64)
		result(cudaErrorInvalidConfiguration);
	else if (shared > limit)
		result(cudaErrorInvalidValue);
	else if (launches += counts(name), !lost())
		submit(stream_of(s), [g] {
			grid_run(&g);
			time_passes(1e-2f);
		});
}

/* Registers are not modelled. */
extern "C" cudaError_t
cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads, size_t shared)
{
	int by_threads = threads > 0 ? 2048 / threads : 0, by_shared = shared ? (int)((228 << 10) / (shared + 1024)) : 32;

	*blocks = by_threads < by_shared ? by_threads : by_shared;
	return cudaSuccess;
}

/* ---- the device, and errors ---- */

extern "C" cudaError_t
cudaGetDevice(int *device)
{
	*device = 0;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaSetDevice(int device)
{
	return result(device >= options()->devices ? cudaErrorInvalidDevice : cudaSuccess);
}

extern "C" cudaError_t
cudaGetDeviceCount(int *count)
{
	*count = options()->devices;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
	if (device >= options()->devices)
		return result(cudaErrorInvalidDevice);
	memset(p, 0, sizeof *p);
	snprintf(p->name, sizeof p->name, "cudasim");
	p->totalGlobalMem = options()->memory;
	p->major = 8;
	p->multiProcessorCount = options()->sms;
	p->maxThreadsPerMultiProcessor = 2048;
	p->l2CacheSize = 4 << 20;
	p->sharedMemPerMultiprocessor = 228 << 10;
	p->sharedMemPerBlockOptin = SHARED_BLOCK_MAX;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
	struct cudaDeviceProp p;

	if (cudaGetDeviceProperties(&p, device) != cudaSuccess)
		return cudaErrorInvalidDevice;
	switch (attr) {
	case cudaDevAttrMultiProcessorCount:
		*value = p.multiProcessorCount;
		return cudaSuccess;
	case cudaDevAttrL2CacheSize:
		*value = p.l2CacheSize;
		return cudaSuccess;
	case cudaDevAttrMaxThreadsPerMultiProcessor:
		*value = p.maxThreadsPerMultiProcessor;
		return cudaSuccess;
	case cudaDevAttrComputeCapabilityMajor:
		*value = p.major;
		return cudaSuccess;
	case cudaDevAttrComputeCapabilityMinor:
		*value = p.minor;
		return cudaSuccess;
	case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
		*value = (int)p.sharedMemPerMultiprocessor;
		return cudaSuccess;
	case cudaDevAttrMaxSharedMemoryPerBlockOptin:
		*value = (int)p.sharedMemPerBlockOptin;
		return cudaSuccess;
	default:
		fail("cudaDeviceGetAttribute: attribute %d is not modelled", (int)attr);
	}
}

extern "C" cudaError_t
cudaDriverGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaRuntimeGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return cudaSuccess;
}

extern "C" cudaError_t
cudaGetLastError(void)
{
	cudaError_t e = last_error;

	last_error = cudaSuccess;
	return e;
}

extern "C" cudaError_t
cudaPeekAtLastError(void)
{
	return last_error;
}

extern "C" const char *
cudaGetErrorName(cudaError_t e)
{
	return e == cudaSuccess ? "cudaSuccess" : "cudaError";
}

extern "C" const char *
cudaGetErrorString(cudaError_t e)
{
	switch (e) {
	case cudaSuccess:
		return "no error";
	case cudaErrorInvalidValue:
		return "invalid argument";
	case cudaErrorMemoryAllocation:
		return "out of memory";
	case cudaErrorInvalidConfiguration:
		return "invalid configuration argument";
	case cudaErrorLaunchFailure:
		return "unspecified launch failure";
	default:
		return "another error";
	}
}
