/* ranks_state.c - weights and moments of several ranks between their GPUs and the host
 *
 * The host's moments are divided among the ranks too, but by zero.h and in the order of the tensors. So a part of every rank's piece of a bucket goes to all of
 * them and each takes what its host has; and the other way each rank sends what its host has, zeros elsewhere, and the sum of the bits is what goes to a
 * piece. All this is before the first step and where a checkpoint is written: the host waits for each part. */
#include <string.h>

#include "comm.h"
#include "inside.h"
#include "zero.h"

/* Elements of a rank's piece at a time: what all ranks have of it lies in `stage`. */
static size_t
stride(const struct cuda *g)
{
	return g->place.staged / (size_t)g->ranks.count / 4 * 4;
}

/* The first part of at..end of the trained array that lies within tensor i; false: none. `at` of it is in the array too. */
static bool
within(const struct cuda *g, int i, size_t at, size_t end, struct gpu_part *part)
{
	const struct gpu_tensor *t = &g->tensors[i];
	size_t begin = g->place.at[i];

	at = at > begin ? at : begin;
	end = end < begin + t->count ? end : begin + t->count;
	if (!t->trained || at >= end || !gpu_part(t, at - begin, end - begin, part))
		return false;
	part->at += begin;
	return true;
}

/* Weights at..at+n of the trained array, to where the host has them. */
static void
keep_weights(const struct cuda *g, const float *x, size_t at, size_t n)
{
	struct gpu_part part;

	for (int i = 0; i < g->run.count; i++)
		for (size_t from = at; within(g, i, from, at + n, &part); from = part.at + part.n)
			memcpy(g->tensors[i].host + part.host, x + part.at - at, part.n * sizeof *x);
}

/* Moments first..first+n of all, in the order of the tensors, which lie at `there`: those of them that the host has. */
static void
pass_part(const struct cuda *g, float *host, float *there, size_t first, size_t n, bool in)
{
	for (int k = 0; k < g->ranks.own_count; k++) {
		const struct own *o = &g->ranks.own[k];
		size_t end = first + n, from = o->at > first ? o->at : first, to = o->at + o->n < end ? o->at + o->n : end;
		float *own, *x;

		if (from >= to)
			continue;
		own = host + o->place + (from - o->at);
		x = there + (from - first);
		memcpy(in ? own : x, in ? x : own, (to - from) * sizeof *own);
	}
}

/* Of moments at..at+n of the trained array those that the host has: into the host, or out of it. */
static void
pass_moments(const struct cuda *g, float *host, float *x, size_t at, size_t n, bool in)
{
	struct gpu_part part;

	for (int i = 0; i < g->run.count; i++)
		for (size_t from = at; within(g, i, from, at + n, &part); from = part.at + part.n)
			pass_part(g, host, x + part.at - at, g->tensors[i].moments + part.host, part.n, in);
}

/* Wait for stage, n floats for each rank. */
static const float *
staged(struct cuda *g, size_t n)
{
	return device_fetch(&g->device, 1, g->place.stage, (size_t)g->ranks.count * n * sizeof(float)) ? NULL : device_fetched(&g->device, 1);
}

static int
get_weights(struct cuda *g, const struct gpu_bucket *b, size_t from, size_t n)
{
	struct gpu_place *p = &g->place;
	const float *host;
	int e = cuda_ranks_gather(g, p->stage_low, p->low + b->own.place + from, n * sizeof *p->low);

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

	if (cuda_ranks_gather(g, g->place.stage, x + b->own.place + from, n * sizeof *x) || !(host = staged(g, n)))
		return -1;
	memcpy(g->host, host, (size_t)g->ranks.count * n * sizeof *host);
	for (int k = 0; k < g->ranks.count; k++)
		pass_moments(g, to, g->host + (size_t)k * n, b->at + (size_t)k * b->own.n + from, n, true);
	return 0;
}

static int
put_moments(struct cuda *g, const struct gpu_bucket *b, size_t from, size_t n, float *x, float *of)
{
	struct gpu_place *p = &g->place;
	struct ranks *r = &g->ranks;
	size_t all = (size_t)r->count * n;

	memset(g->host, 0, all * sizeof *g->host);
	for (int k = 0; k < r->count; k++)
		pass_moments(g, of, g->host + (size_t)k * n, b->at + (size_t)k * b->own.n + from, n, false);
	if (device_send(&g->device, p->stage, g->host, all * sizeof *g->host))
		return -1;
	return cuda_ranks_scatter_bits(g, x + b->own.place + from, p->stage, n);
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
