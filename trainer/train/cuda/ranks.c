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
	r->host = malloc(g->place.staged * sizeof *r->host);
	if (!r->spread || !r->host)
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
	free(r->host);
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

		e = failed(g, "summing gradients", r->nccl.ncclReduceScatter(p->grad + b->at, p->grad + b->own.at, b->own.n, NCCL_FLOAT, NCCL_SUM, r->with, r->stream));
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
	if (to_ranks(g) || failed(g, "the norm", r->nccl.ncclAllGather(p->parts + (size_t)r->comm->rank * p->own_parts, p->parts, p->own_parts * sizeof *p->parts,
								       NCCL_INT8, r->with, r->stream)))
		return -1;
	return from_ranks(g);
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

/* ---- to the host and back ----
 *
 * The host's moments are divided among the ranks too, but by zero.h and in the order of the tensors. So a part of every rank's piece of a bucket goes to all of
 * them and each takes what its host has; and the other way each rank sends what its host has, zeros elsewhere, and the sum of the bits is what goes to a piece. */

/* Elements of a rank's piece at a time: what all ranks have of it lies in `stage`. */
static size_t
stride(const struct cuda *g)
{
	return g->place.staged / (size_t)g->ranks.count / 4 * 4;
}

/* A part of the trained array that lies within one tensor; floats `from` on of it. */
struct within {
	const struct gpu_tensor *tensor;
	size_t at, n, from;
};

/* The one of tensor i in at..at+n; false: none. */
static bool
within(const struct cuda *g, int i, size_t at, size_t n, struct within *w)
{
	size_t begin = g->place.at[i], end = begin + g->tensors[i].count, to = at + n < end ? at + n : end;

	w->tensor = &g->tensors[i];
	w->at = at > begin ? at : begin;
	w->n = w->at < to ? to - w->at : 0;
	w->from = w->at - begin;
	return w->tensor->trained && w->n > 0;
}

/* Weights at..at+n of the trained array, to where the host has them. */
static void
keep_weights(const struct cuda *g, const float *x, size_t at, size_t n)
{
	struct within w;

	for (int i = 0; i < g->run.count; i++)
		if (within(g, i, at, n, &w))
			memcpy(w.tensor->host + w.from, x + w.at - at, w.n * sizeof *x);
}

/* Of moments at..at+n of the trained array those that the host has: into the host, or out of it. */
static void
pass_moments(const struct cuda *g, float *host, float *x, size_t at, size_t n, bool in)
{
	struct within w;

	for (int i = 0; i < g->run.count; i++) {
		if (!within(g, i, at, n, &w))
			continue;
		for (int k = 0; k < g->ranks.own_count; k++) {
			const struct own *o = &g->ranks.own[k];
			size_t first = w.tensor->moments + w.from, from = o->at > first ? o->at : first, to = o->at + o->n < first + w.n ? o->at + o->n : first + w.n;
			float *own = host + o->place + from - o->at, *there = x + w.at - at + from - first;

			if (from < to && in)
				memcpy(own, there, (to - from) * sizeof *own);
			else if (from < to)
				memcpy(there, own, (to - from) * sizeof *own);
		}
	}
}

/* Wait for stage, n floats for each rank. */
static const float *
staged(struct cuda *g, size_t n)
{
	return device_fetch(&g->device, 1, g->place.stage, (size_t)g->ranks.count * n * sizeof(float)) ? NULL : device_fetched(&g->device, 1);
}

/* `bytes` bytes of all ranks to all, one behind the other. */
static int
gather(struct cuda *g, void *all, const void *own, size_t bytes)
{
	struct ranks *r = &g->ranks;

	if (to_ranks(g) || failed(g, "gathering", r->nccl.ncclAllGather(own, all, bytes, NCCL_INT8, r->with, r->stream)))
		return -1;
	return from_ranks(g);
}

static int
get_weights(struct cuda *g, const struct gpu_bucket *b, size_t from, size_t n)
{
	struct gpu_place *p = &g->place;
	const float *host;
	int e = gather(g, p->stage_low, p->low + b->own.place + from, n * sizeof *p->low);

	for (int k = 0; !e && k < g->ranks.count; k++)
		e = gpu_adamw_join(&g->device.gpu, p->stage + (size_t)k * n, p->weights + b->at + (size_t)k * b->own.n + from, p->stage_low + (size_t)k * n, n);
	if (e || !(host = staged(g, n)))
		return -1;
	for (int k = 0; k < g->ranks.count; k++)
		keep_weights(g, host + (size_t)k * n, b->at + (size_t)k * b->own.n + from, n);
	return 0;
}

static int
get_moments(struct cuda *g, const struct gpu_bucket *b, size_t from, size_t n, float *to, const float *x)
{
	const float *host;

	if (gather(g, g->place.stage, x + b->own.place + from, n * sizeof *x) || !(host = staged(g, n)))
		return -1;
	memcpy(g->ranks.host, host, (size_t)g->ranks.count * n * sizeof *host);
	for (int k = 0; k < g->ranks.count; k++)
		pass_moments(g, to, g->ranks.host + (size_t)k * n, b->at + (size_t)k * b->own.n + from, n, true);
	return 0;
}

static int
put_moments(struct cuda *g, const struct gpu_bucket *b, size_t from, size_t n, float *x, float *of)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	size_t all = (size_t)r->count * n;

	memset(r->host, 0, all * sizeof *r->host);
	for (int k = 0; k < r->count; k++)
		pass_moments(g, of, r->host + (size_t)k * n, b->at + (size_t)k * b->own.n + from, n, false);
	if (device_send(&g->device, p->stage, r->host, all * sizeof *r->host) || to_ranks(g) ||
	    failed(g, "moments", r->nccl.ncclReduceScatter(p->stage, x + b->own.place + from, n, NCCL_UINT32, NCCL_SUM, r->with, r->stream)))
		return -1;
	return from_ranks(g);
}

int
cuda_ranks_put(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	int e = 0;

	for (int b = 0; !e && b < p->bucket_count; b++)
		for (size_t k = 0, n; !e && k < p->buckets[b].own.n; k += n) {
			n = p->buckets[b].own.n - k < stride(g) ? p->buckets[b].own.n - k : stride(g);
			e = put_moments(g, &p->buckets[b], k, n, p->m, g->optim->m);
			if (!e)
				e = put_moments(g, &p->buckets[b], k, n, p->v, g->optim->v);
		}
	return e;
}

int
cuda_ranks_get(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	int e = cuda_ranks_settle(g);	/* weights on their way: what is gathered comes after them */

	for (int b = 0; !e && b < p->bucket_count; b++)
		for (size_t k = 0, n; !e && k < p->buckets[b].own.n; k += n) {
			n = p->buckets[b].own.n - k < stride(g) ? p->buckets[b].own.n - k : stride(g);
			e = get_weights(g, &p->buckets[b], k, n) || get_moments(g, &p->buckets[b], k, n, g->optim->m, p->m) ||
			    get_moments(g, &p->buckets[b], k, n, g->optim->v, p->v) ? -1 : 0;
		}
	return e;
}
