/* gpu.c - a device as the launchers see it: kernels.h */
#include <stdarg.h>
#include <stdio.h>

#include "err.h"
#include "kernels.h"

static int
attribute(struct gpu *g, int *value, enum cudaDeviceAttr which)
{
	cudaError_t e = cudaDeviceGetAttribute(value, which, g->device);

	return e == cudaSuccess ? 0 : gpu_refuse(g, "CUDA device %d: %s", g->device, cudaGetErrorString(e));
}

int
gpu_open(struct gpu *g, int device, cudaStream_t s, struct err *err)
{
	int major, shared;
	cudaError_t e = cudaSetDevice(device);

	*g = (struct gpu){ .device = device, .stream = s, .err = err };
	if (e != cudaSuccess) {
		cudaGetLastError();	/* not to be found by the next launch */
		return gpu_refuse(g, "CUDA device %d: %s", device, cudaGetErrorString(e));
	}
	if (attribute(g, &major, cudaDevAttrComputeCapabilityMajor) || attribute(g, &g->sms, cudaDevAttrMultiProcessorCount) ||
	    attribute(g, &g->threads, cudaDevAttrMaxThreadsPerMultiProcessor) || attribute(g, &shared, cudaDevAttrMaxSharedMemoryPerBlockOptin))
		return -1;
	g->shared = (size_t)shared;
	if (major < 8)
		return gpu_refuse(g, "CUDA device %d is older than compute capability 8.0 (Ampere): it has no bf16", device);
	return 0;
}

int
gpu_refuse(struct gpu *g, const char *fmt, ...)
{
	char msg[sizeof ((struct err *)0)->msg];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	return err_set(g->err, "%s", msg);
}

int
gpu_launched(struct gpu *g, const char *what)
{
	cudaError_t e = cudaGetLastError();

	return e == cudaSuccess ? 0 : gpu_refuse(g, "%s: %s", what, cudaGetErrorString(e));
}

/* As many as the device holds at once; each block then takes several pieces when there are more. */
int
gpu_blocks(const struct gpu *g, size_t items, int threads)
{
	size_t most = (size_t)g->sms * (size_t)(g->threads / threads), need = (items + (size_t)threads - 1) / (size_t)threads;

	return (int)(need < most ? need : most);
}
