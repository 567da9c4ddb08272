/* state.c - weights and moments to the GPU and back, and their update */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inside.h"

static size_t
piece(const struct cuda *g, size_t left)
{
	return left < g->place.staged ? left : g->place.staged;
}

/* Elements at..at+n of a tensor as they lie on the device, from the host's numbers, or an array like those; between them zeros. */
static void
pad(const struct gpu_tensor *t, float *to, const float *host, size_t at, size_t n)
{
	struct gpu_part part;

	memset(to, 0, n * sizeof *to);
	for (size_t from = at; gpu_part(t, from, at + n, &part); from = part.at + part.n)
		memcpy(to + part.at - at, host + part.host, part.n * sizeof *to);
}

/* And back. */
static void
unpad(const struct gpu_tensor *t, float *host, const float *from, size_t at, size_t n)
{
	struct gpu_part part;

	for (size_t k = at; gpu_part(t, k, at + n, &part); k = part.at + part.n)
		memcpy(host + part.host, from + part.at - at, part.n * sizeof *host);
}

/* Elements at..at+n of a tensor, from the host's numbers, to the device. */
static int
send(struct cuda *g, const struct gpu_tensor *t, float *to, const float *host, size_t at, size_t n)
{
	if (t->row == t->pitch)
		return device_send(&g->device, to, host + at, n * sizeof *to);
	pad(t, g->host, host, at, n);
	return device_send(&g->device, to, g->host, n * sizeof *to);
}

/* Of the low halves of trained at..at+n, which stage_low has, those that are this rank's. */
static int
keep_low(struct cuda *g, size_t at, size_t n)
{
	struct gpu_place *p = &g->place;
	struct gpu_own part;

	for (size_t from = at; gpu_own(p, from, at + n, &part); from = part.at + part.n)
		if (cudaMemcpyAsync(p->low + part.place, p->stage_low + part.at - at, part.n * sizeof *p->low, cudaMemcpyDeviceToDevice, g->device.gpu.stream) !=
		    cudaSuccess)
			return gpu_launched(&g->device.gpu, "low halves");
	return 0;
}

static int
put_weights(struct cuda *g, int i)
{
	struct gpu_place *p = &g->place;
	const struct gpu_tensor *t = &g->tensors[i];
	uint16_t *to = (p->in_trained[i] ? p->weights : p->fixed) + p->at[i];
	int e = 0;

	for (size_t k = 0, n; !e && k < t->count; k += n) {
		n = piece(g, t->count - k);
		e = send(g, t, p->stage, t->host, k, n);
		if (!e)
			e = gpu_adamw_split(&g->device.gpu, to + k, p->stage_low, p->stage, n);
		if (!e && p->in_trained[i])
			e = keep_low(g, p->at[i] + k, n);
	}
	return e;
}

static int
put_moments(struct cuda *g, const struct gpu_tensor *t, float *to, const float *from)
{
	int e = 0;

	for (size_t k = 0, n; !e && k < t->count; k += n) {
		n = piece(g, t->count - k);
		e = send(g, t, to + k, from, k, n);
	}
	return e;
}

int
cuda_put(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	bool alone = g->ranks.count == 1;
	int e = cuda_ranks_join(g);

	for (int i = 0; !e && i < g->run.count; i++) {
		const struct gpu_tensor *t = &g->tensors[i];

		e = put_weights(g, i);
		if (!e && t->trained && alone)
			e = put_moments(g, t, p->m + p->at[i], g->optim->m + t->moments);
		if (!e && t->trained && alone)
			e = put_moments(g, t, p->v + p->at[i], g->optim->v + t->moments);
	}
	if (!e && !alone)
		e = cuda_ranks_put(g);
	g->current = !e;
	return e;
}

/* Elements at..at+n of a tensor, to the host's numbers; a piece at most. */
static int
fetch(struct cuda *g, const struct gpu_tensor *t, float *to, const float *from, size_t at, size_t n)
{
	const float *host;

	if (device_fetch(&g->device, 1, from, n * sizeof *from) || !(host = device_fetched(&g->device, 1)))
		return -1;
	unpad(t, to, host, at, n);
	return 0;
}

static int
get_moments(struct cuda *g, const struct gpu_tensor *t, float *to, const float *from)
{
	int e = 0;

	for (size_t k = 0, n; !e && k < t->count; k += n) {
		n = piece(g, t->count - k);
		e = fetch(g, t, to, from + k, k, n);
	}
	return e;
}

static int
get_weights(struct cuda *g, int i)
{
	struct gpu_place *p = &g->place;
	const struct gpu_tensor *t = &g->tensors[i];
	int e = 0;

	for (size_t k = 0, n; !e && k < t->count; k += n) {
		n = piece(g, t->count - k);
		e = gpu_adamw_join(&g->device.gpu, p->stage, p->weights + p->at[i] + k, p->low + p->at[i] + k, n);
		if (!e)
			e = fetch(g, t, t->host, p->stage, k, n);
	}
	return e;
}

int
cuda_get(struct cuda *g)
{
	struct gpu_place *p = &g->place;
	int e = 0;

	if (g->ranks.count > 1 && !g->current)
		e = cuda_ranks_get(g);
	for (int i = 0; !e && g->ranks.count == 1 && !g->current && i < g->run.count; i++) {
		const struct gpu_tensor *t = &g->tensors[i];

		if (!t->trained)
			continue;
		e = get_weights(g, i);
		if (!e)
			e = get_moments(g, t, g->optim->m + t->moments, p->m + p->at[i]);
		if (!e)
			e = get_moments(g, t, g->optim->v + t->moments, p->v + p->at[i]);
	}
	g->current = g->current || !e;
	return e;
}

static int
update(struct cuda *g, const struct gpu_span *s, double lr)
{
	struct gpu_place *p = &g->place;
	const struct optim *o = g->optim;
	size_t at = s->own.at, place = s->own.place;
	struct gpu_adamw a = { .copy = p->weights + at, .low = p->low + place, .m = p->m + place, .v = p->v + place, .n = s->own.n, .first = at };

	return gpu_adamw(&g->device.gpu, &a, p->grad + at, p->clip + 1, (float)lr, (float)o->beta1, (float)o->beta2, (float)o->eps, s->decays ? (float)o->decay : 0,
			 o->step, 0);
}

int
cuda_update(struct cuda *g, double lr)
{
	struct gpu_place *p = &g->place;
	struct optim *o = g->optim;
	int e = 0;

	o->step++;
	g->current = false;
	for (int b = p->bucket_count - 1, i = 0; !e && b >= 0; b--) {
		const struct gpu_own *own = &p->buckets[b].own;

		for (; !e && i < p->span_count && p->spans[i].own.place >= own->place && p->spans[i].own.place < own->place + own->n; i++)
			e = update(g, &p->spans[i], lr);
		if (!e)
			e = cuda_ranks_spread(g, b);
	}
	return e;
}

/* By their high halves, which all ranks have. */
int
cuda_bad_weights(struct cuda *g)
{
	struct gpu_place *p = &g->place;

	if (cuda_ranks_need(g, g->c.layers))
		return -1;
	for (int i = 0; i < g->run.count && !g->bad; i++) {
		const struct gpu_tensor *t = &g->tensors[i];
		const uint16_t *from = (p->in_trained[i] ? p->weights : p->fixed) + p->at[i];

		for (size_t k = 0, n; k < t->count && !g->bad; k += n) {
			const uint16_t *host;

			n = piece(g, t->count - k);
			if (device_fetch(&g->device, 1, from + k, n * sizeof *host) || !(host = device_fetched(&g->device, 1)))
				return -1;
			for (size_t j = 0; j < n && !g->bad; j++)
				g->bad = (host[j] & 0x7f80) == 0x7f80;	/* infinity and NaN */
		}
		if (g->bad)
			snprintf(g->name, sizeof g->name, "the weights %s", t->name);
	}
	return 0;
}

static void
look_at_floats(struct cuda *g, const char *what, const char *name, const float *x, size_t n)
{
	for (size_t k = 0; k < n && !g->bad; k++)
		g->bad = !isfinite(x[k]);
	if (g->bad)
		snprintf(g->name, sizeof g->name, "%s %s", what, name);
}

int
cuda_bad_gradients(struct cuda *g)
{
	for (int i = g->run.count - 1; i >= 0 && !g->bad; i--) {
		const struct gpu_tensor *t = &g->tensors[i];

		for (size_t k = 0, n; t->trained && k < t->count && !g->bad; k += n) {
			const float *host;

			n = piece(g, t->count - k);
			if (device_fetch(&g->device, 1, g->place.grad + g->place.at[i] + k, n * sizeof *host) || !(host = device_fetched(&g->device, 1)))
				return -1;
			look_at_floats(g, "the gradient of", t->name, host, n);
		}
	}
	return 0;
}
