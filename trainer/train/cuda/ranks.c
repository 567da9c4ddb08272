/* ranks.c - the ranks of a run, each with a GPU: what goes between the GPUs, by NCCL
 *
 * All of it is in one stream beside the device's own, and events order the two: what is to be sent waits for what makes it, what is received is waited for by
 * what reads it. So the gradients of a layer are on their way while the backward goes on below it, and the weights of the layers while the forward of the next
 * step goes on before them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm.h"
#include "inside.h"

/* ---- NCCL and the two streams ---- */

static int
failed(struct cuda *g, const char *what, unsigned e)
{
	struct ranks *r = &g->ranks;

	if (e == NCCL_SUCCESS)
		return 0;
	return gpu_refuse(&g->device.gpu, "%s: NCCL: %s: %s", g->device.name, what, r->nccl.ncclGetErrorString(e));
}

static int
wrong(struct cuda *g, cudaError_t e)
{
	return e == cudaSuccess ? 0 : gpu_refuse(&g->device.gpu, "%s: between streams: %s", g->device.name, cudaGetErrorString(e));
}

/* What is submitted to `second` from here on runs after what `first` has. */
static int
follow(struct cuda *g, cudaStream_t second, cudaStream_t first, cudaEvent_t by)
{
	cudaError_t e = cudaEventRecord(by, first);

	return wrong(g, e == cudaSuccess ? cudaStreamWaitEvent(second, by, 0) : e);
}

static int
to_ranks(struct cuda *g)
{
	return follow(g, g->ranks.stream, g->device.gpu.stream, g->ranks.made);
}

static int
from_ranks(struct cuda *g)
{
	return follow(g, g->device.gpu.stream, g->ranks.stream, g->ranks.come);
}

int
cuda_ranks_gather(struct cuda *g, void *all, const void *own, size_t bytes)
{
	struct ranks *r = &g->ranks;

	if (to_ranks(g) || failed(g, "gathering", r->nccl.ncclAllGather(own, all, bytes, NCCL_INT8, r->with, r->stream)))
		return -1;
	return from_ranks(g);
}

int
cuda_ranks_scatter_bits(struct cuda *g, void *own, const void *all, size_t n)
{
	struct ranks *r = &g->ranks;

	if (to_ranks(g) || failed(g, "scattering", r->nccl.ncclReduceScatter(all, own, n, NCCL_UINT32, NCCL_SUM, r->with, r->stream)))
		return -1;
	return from_ranks(g);
}

/* Called while the host waits for the device: another rank may be gone, and what is waited for with it. */
static int
watch(void *of)
{
	struct cuda *g = of;
	struct ranks *r = &g->ranks;
	unsigned state = NCCL_SUCCESS, e;

	if (!r->with)
		return 0;
	e = r->nccl.ncclCommGetAsyncError(r->with, &state);
	state = e == NCCL_SUCCESS ? state : e;
	if (state == NCCL_SUCCESS || state == NCCL_IN_PROGRESS) {
		usleep(20);	/* the device is a good part of a micro-batch behind */
		return 0;
	}
	r->nccl.ncclCommAbort(r->with);	/* ends what waits on the device too */
	r->with = NULL;
	return failed(g, "waiting for the other ranks", state);
}

int
cuda_ranks_open(struct cuda *g, const struct cuda_start *s, struct err *e)
{
	struct ranks *r = &g->ranks;

	r->comm = s->comm;
	r->count = s->comm->size;
	if (r->count == 1)
		return 0;
	r->own = malloc((size_t)s->own_count * sizeof *r->own);
	if (!r->own)
		return err_set(e, "out of memory");
	memcpy(r->own, s->own, (size_t)s->own_count * sizeof *r->own);
	r->own_count = s->own_count;
	return nccl_load(&r->nccl, e);
}

static int
start_streams(struct cuda *g)
{
	struct ranks *r = &g->ranks;
	int least, greatest;
	cudaError_t e = cudaDeviceGetStreamPriorityRange(&least, &greatest);

	if (e == cudaSuccess)	/* a product has blocks waiting for every processor: NCCL's few would come after them */
		e = cudaStreamCreateWithPriority(&r->stream, cudaStreamNonBlocking, greatest);
	if (e == cudaSuccess)
		e = cudaEventCreateWithFlags(&r->made, cudaEventDisableTiming);
	if (e == cudaSuccess)
		e = cudaEventCreateWithFlags(&r->come, cudaEventDisableTiming);
	r->spread = calloc((size_t)g->place.bucket_count, sizeof *r->spread);
	if (!r->spread)
		return gpu_refuse(&g->device.gpu, "out of memory");
	for (int b = 0; e == cudaSuccess && b < g->place.bucket_count; b++)
		e = cudaEventCreateWithFlags(&r->spread[b], cudaEventDisableTiming);
	return wrong(g, e);
}

/* NCCL connects the ranks when a call is the first of its kind and size, and the host waits for the others in it. In a step they may be waiting for this one by
 * then, in MPI, having no sample of it or a signal. So each call of a step is made once where all ranks are. Gradients are zero. */
static int
rehearse(struct cuda *g)
{
	int e;

	cuda_ranks_begin(g);
	e = cuda_ranks_squares(g);
	for (int b = g->place.bucket_count - 1; !e && b >= 0; b--)
		e = cuda_ranks_spread(g, b);
	return e ? e : cuda_ranks_need(g, g->c.layers);
}

int
cuda_ranks_join(struct cuda *g)
{
	struct ranks *r = &g->ranks;
	struct nccl_id id = { { 0 } };

	if (r->count == 1 || r->with)
		return 0;
	if (start_streams(g) || (r->comm->rank == 0 && failed(g, "an id", r->nccl.ncclGetUniqueId(&id))))
		return -1;
	r->comm->way->broadcast(&id, sizeof id);
	if (failed(g, "joining the other ranks", r->nccl.ncclCommInitRank(&r->with, r->count, id, r->comm->rank)))
		return -1;
	g->device.watch = watch;
	g->device.watched = g;
	return rehearse(g);
}

void
cuda_ranks_close(struct cuda *g)
{
	struct ranks *r = &g->ranks;

	if (r->with && r->begun)	/* a step that was left: the others may never send what is waited for here */
		r->nccl.ncclCommAbort(r->with);
	else if (r->with && cudaStreamSynchronize(r->stream) == cudaSuccess)
		r->nccl.ncclCommDestroy(r->with);
	for (int b = 0; r->spread && b < g->place.bucket_count; b++)
		if (r->spread[b])
			cudaEventDestroy(r->spread[b]);
	if (r->made)
		cudaEventDestroy(r->made);
	if (r->come)
		cudaEventDestroy(r->come);
	if (r->stream)
		cudaStreamDestroy(r->stream);
	free(r->spread);
	free(r->own);
}

/* ---- a step ---- */

void
cuda_ranks_begin(struct cuda *g)
{
	g->ranks.begun = g->ranks.count > 1;
	g->ranks.last = false;
	g->ranks.summed = 0;
}

int
cuda_ranks_sum(struct cuda *g, int layer)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	int e = 0;

	if (!r->begun || r->summed == p->bucket_count || p->buckets[r->summed].layer < layer)
		return 0;
	e = to_ranks(g);
	for (; !e && r->summed < p->bucket_count && p->buckets[r->summed].layer >= layer; r->summed++) {
		const struct gpu_bucket *b = &p->buckets[r->summed];

		e = failed(g, "summing gradients",
			   r->nccl.ncclReduceScatter(p->grad + b->at, p->grad + b->own.at, b->own.n, NCCL_FLOAT, NCCL_SUM, r->with, r->stream));
	}
	return e;
}

int
cuda_ranks_done(struct cuda *g, int layer)
{
	return g->ranks.last ? cuda_ranks_sum(g, layer) : 0;
}

int
cuda_ranks_settle(struct cuda *g)
{
	if (!g->ranks.begun)
		return 0;
	if (cuda_ranks_sum(g, -1) || from_ranks(g) || device_fetch(&g->device, 1, g->place.clip, sizeof *g->place.clip) || !device_fetched(&g->device, 1))
		return -1;
	g->ranks.begun = false;
	return 0;
}

int
cuda_ranks_squares(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	double *part = p->parts + (size_t)r->comm->rank * p->own_parts;
	int e = r->count > 1 && (cuda_ranks_sum(g, -1) || from_ranks(g)) ? -1 : 0;

	for (int b = 0; !e && b < p->bucket_count; b++) {
		e = gpu_sumsq(&g->device.gpu, part, p->grad + p->buckets[b].own.at, p->buckets[b].own.n);
		part += gpu_sumsq_parts(p->buckets[b].own.n);
	}
	if (e || r->count == 1)
		return e;
	r->begun = false;
	return cuda_ranks_gather(g, p->parts, p->parts + (size_t)r->comm->rank * p->own_parts, p->own_parts * sizeof *p->parts);
}

int
cuda_ranks_spread(struct cuda *g, int b)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	const struct gpu_bucket *is = &p->buckets[b];

	if (r->count == 1)
		return 0;
	r->waited = 0;
	if (to_ranks(g) || failed(g, "spreading weights", r->nccl.ncclAllGather(p->weights + is->own.at, p->weights + is->at, is->own.n * sizeof *p->weights,
										NCCL_INT8, r->with, r->stream)))
		return -1;
	return wrong(g, cudaEventRecord(r->spread[b], r->stream));
}

int
cuda_ranks_need(struct cuda *g, int layer)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	int e = 0;

	for (; !e && r->count > 1 && r->waited < p->bucket_count && p->buckets[p->bucket_count - 1 - r->waited].layer <= layer; r->waited++)
		e = wrong(g, cudaStreamWaitEvent(g->device.gpu.stream, r->spread[p->bucket_count - 1 - r->waited], 0));
	return e;
}
