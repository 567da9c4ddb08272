/* device.c - see device.h */
#include <string.h>

#include "device.h"
#include "err.h"
#include "scratch.h"

static int
check(struct device *d, const char *what, cudaError_t e)
{
	if (e == cudaSuccess)
		return 0;
	cudaGetLastError();	/* it is told here: the next launch is not to be blamed for it */
	return gpu_refuse(&d->gpu, "%s: %s: %s", d->name, what, cudaGetErrorString(e));
}

int
device_free_memory(size_t *bytes, int index, struct err *err)
{
	size_t total;
	cudaError_t e = cudaSetDevice(index);

	if (e == cudaSuccess)
		e = cudaMemGetInfo(bytes, &total);
	return e == cudaSuccess ? 0 : err_set(err, "CUDA device %d: %s", index, cudaGetErrorString(e));
}

static int
open_slots(struct device *d)
{
	int i;

	for (i = 0; i < DEVICE_SENDS; i++)
		if (check(d, "an event", cudaEventCreateWithFlags(&d->send[i].done, cudaEventDisableTiming)))
			return -1;
	for (i = 0; i < DEVICE_FETCHES; i++) {
		struct device_slot *s = &d->fetch[i];

		if (check(d, "an event", cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming)))
			return -1;
	}
	return 0;
}

static int
open_products(struct device *d)
{
	struct cudaDeviceProp prop;
	void *workspace;

	if (check(d, "properties", cudaGetDeviceProperties(&prop, d->gpu.device)))
		return -1;
	snprintf(d->name, sizeof d->name, "%s", prop.name);
	if (!(workspace = arena_take(&d->arena, "workspace of products", GPU_WORKSPACE)))
		return gpu_refuse(&d->gpu, "%s: %zu bytes are too few: the products alone need %zu", d->name, d->arena.size, (size_t)GPU_WORKSPACE);
	d->products = gpu_matmul_new(&d->gpu, workspace, GPU_WORKSPACE);
	return d->products ? 0 : -1;
}

int
device_open(struct device *d, int index, size_t bytes, struct err *err)
{
	memset(d, 0, sizeof *d);
	snprintf(d->name, sizeof d->name, "CUDA device %d", index);
	if (gpu_open(&d->gpu, index, NULL, err))
		return -1;
	if (check(d, "a stream", cudaStreamCreateWithFlags(&d->gpu.stream, cudaStreamNonBlocking)) ||
	    check(d, "its memory", cudaMalloc(&d->memory, bytes)))
		goto bad;
	arena_begin(&d->arena, d->memory, bytes);
	if (open_slots(d) || open_products(d))
		goto bad;
	return 0;
bad:
	device_close(d);
	return -1;
}

static void
close_slot(struct device_slot *s)
{
	if (s->done)
		cudaEventDestroy(s->done);
	if (s->host)
		cudaFreeHost(s->host);
}

void
device_close(struct device *d)
{
	int i;

	if (d->gpu.stream)
		cudaStreamSynchronize(d->gpu.stream);
	gpu_matmul_free(d->products);
	for (i = 0; i < DEVICE_SENDS; i++)
		close_slot(&d->send[i]);
	for (i = 0; i < DEVICE_FETCHES; i++)
		close_slot(&d->fetch[i]);
	if (d->memory)
		cudaFree(d->memory);
	if (d->gpu.stream)
		cudaStreamDestroy(d->gpu.stream);
	memset(d, 0, sizeof *d);
}

static int
wait_for(struct device *d, cudaEvent_t done)
{
	cudaError_t e = d->watch ? cudaEventQuery(done) : cudaEventSynchronize(done);

	while (e == cudaErrorNotReady) {
		cudaGetLastError();	/* not to be found by the next launch */
		if (d->watch(d->watched))
			return -1;
		e = cudaEventQuery(done);
	}
	return check(d, "waiting for a transfer", e);
}

/* A slot whose last transfer is over, grown to n bytes. */
static int
ready(struct device *d, struct device_slot *s, size_t n)
{
	if (wait_for(d, s->done))
		return -1;
	if (s->size >= n)
		return 0;
	if (s->host)
		cudaFreeHost(s->host);
	s->host = NULL;
	s->size = 0;
	if (check(d, "page-locked memory", cudaMallocHost(&s->host, n)))
		return -1;
	s->size = n;
	return 0;
}

static struct device_slot *
send_slot(struct device *d, size_t n)
{
	struct device_slot *s = &d->send[d->next_send];

	if (ready(d, s, n))
		return NULL;
	d->next_send = (d->next_send + 1) % DEVICE_SENDS;
	return s;
}

int
device_send(struct device *d, void *dst, const void *src, size_t n)
{
	struct device_slot *s;

	if (n == 0)
		return 0;
	s = send_slot(d, n);
	if (!s)
		return -1;
	memcpy(s->host, src, n);
	if (check(d, "a transfer", cudaMemcpyAsync(dst, s->host, n, cudaMemcpyHostToDevice, d->gpu.stream)))
		return -1;
	return check(d, "a transfer", cudaEventRecord(s->done, d->gpu.stream));
}

int
device_fetch(struct device *d, int which, const void *src, size_t n)
{
	struct device_slot *s = &d->fetch[which];

	if (ready(d, s, n))
		return -1;
	if (check(d, "a transfer", cudaMemcpyAsync(s->host, src, n, cudaMemcpyDeviceToHost, d->gpu.stream)))
		return -1;
	return check(d, "a transfer", cudaEventRecord(s->done, d->gpu.stream));
}

const void *
device_fetched(struct device *d, int which)
{
	return wait_for(d, d->fetch[which].done) ? NULL : d->fetch[which].host;
}

int
device_wait(struct device *d)
{
	return check(d, "waiting", cudaStreamSynchronize(d->gpu.stream));
}
