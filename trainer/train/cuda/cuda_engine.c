/* cuda_engine.c - a GPU as engine.h wants it
 *
 * The host is ahead of the device: the losses are fetched between the head and the backward of the layers, so that while it reads them, and gathers and
 * submits the next micro-batch, the device has two thirds of this one still to do. It waits once more in a step, for the norm of the gradients. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

enum { LOSSES = 0, NORM_OF = 2 };	/* slots of fetches; 1 is for what is looked at at once */

/* ---- inputs ---- */

/* n ints behind the others; where they will be on the device. */
static const int *
pack(struct cuda *g, int *n, const void *from, int count)
{
	const int *to = g->place.inputs + *n;

	memcpy(g->packed + *n, from, (size_t)count * sizeof(int));
	*n += count;
	return to;
}

/* The supervised rows, their targets and weights, of b. */
static void
pack_rows(struct cuda *g, int *n, const struct batch *b)
{
	int *rows = g->packed + *n, *target, count = 0;
	float *weight;

	for (int t = 0; t < b->T; t++)
		if (b->target[t] >= 0)
			rows[count++] = t;
	target = rows + count;
	weight = (float *)target + count;
	for (int k = 0; k < count; k++) {
		target[k] = b->target[rows[k]];
		weight[k] = b->weight ? b->weight[rows[k]] : 1;
	}
	g->supervised = count;
	g->rows = g->place.inputs + *n;
	g->target = g->rows + count;
	g->weight = b->weight ? (const float *)g->target + count : NULL;
	*n += 3 * count;
}

static int
pack_sorted(struct cuda *g, int *n, const struct batch *b)
{
	int *at = g->packed + *n, *first = at + b->T, *id = first + b->T + 1;

	g->different = gpu_embed_sort(at, first, id, b->ids, b->T);
	if (g->different < 0)
		return gpu_refuse(&g->device.gpu, "out of memory");
	g->at = g->place.inputs + *n;
	g->first = g->at + b->T;
	g->id = g->first + b->T + 1;
	*n += 2 * b->T + 1 + g->different;
	return 0;
}

static int
load(struct cuda *g, const struct batch *b)
{
	int n = 0;

	if (b->T > g->run.tokens)
		return gpu_refuse(&g->device.gpu, "a micro-batch of %d tokens; %d were planned", b->T, g->run.tokens);
	g->T = b->T;
	g->nseq = b->nseq;
	g->longest = 0;
	for (int s = 0; s < b->nseq; s++)
		if (b->cu[s + 1] - b->cu[s] > g->longest)
			g->longest = b->cu[s + 1] - b->cu[s];
	g->ids = pack(g, &n, b->ids, b->T);
	g->pos = pack(g, &n, b->pos, b->T);
	g->cu = pack(g, &n, b->cu, b->nseq + 1);
	pack_rows(g, &n, b);
	if (pack_sorted(g, &n, b))
		return -1;
	return device_send(&g->device, g->place.inputs, g->packed, (size_t)n * sizeof *g->packed);
}

/* ---- passes ---- */

/* Wait for the losses: their sum, and each in its place. */
static int
read_losses(struct cuda *g, const struct batch *b, double *sum)
{
	const float *loss;
	int k = 0;

	*sum = 0;
	if (g->supervised == 0)
		return 0;
	loss = device_fetched(&g->device, LOSSES);
	if (!loss)
		return -1;
	for (int t = 0; t < b->T; t++)
		if (b->target[t] >= 0) {
			*sum += b->weight ? (double)b->weight[t] * loss[k] : loss[k];
			if (b->loss)
				b->loss[t] = loss[k];
			k++;
		}
	return 0;
}

static struct cuda *
cuda_of(struct engine *en, struct err *e)
{
	struct cuda *g = (struct cuda *)en;	/* its first member */

	g->device.gpu.err = e;
	return g;
}

static int
clear(struct cuda *g)
{
	if (cudaMemsetAsync(g->place.grad, 0, g->place.trained * sizeof *g->place.grad, g->device.gpu.stream) != cudaSuccess)
		return gpu_launched(&g->device.gpu, "zero");
	return 0;
}

static int
zero(struct engine *en, struct err *e)
{
	struct cuda *g = cuda_of(en, e);

	cuda_ranks_begin(g);
	return clear(g);
}

static void
last(struct engine *en)
{
	((struct cuda *)en)->ranks.last = true;
}

static int
pass(struct engine *en, const struct batch *b, bool back, float scale, double *loss, struct err *e)
{
	struct cuda *g = cuda_of(en, e);

	if (load(g, b) || cuda_forward(g) || cuda_head(g, back, scale))
		return -1;
	if (g->supervised > 0 && device_fetch(&g->device, LOSSES, g->place.loss, (size_t)g->supervised * sizeof(float)))
		return -1;
	if (back && (cuda_ranks_done(g, g->c.layers) || cuda_backward(g)))
		return -1;
	return read_losses(g, b, loss);
}

static int
back_alone(struct engine *en, const struct batch *b, float scale, struct err *e)
{
	struct cuda *g = cuda_of(en, e);

	return load(g, b) || cuda_head(g, true, scale) || cuda_ranks_done(g, g->c.layers) || cuda_backward(g) ? -1 : 0;
}

/* ---- update ---- */

/* From the first n sums of squares in place.parts. */
static int
norm_of(struct cuda *g, size_t n, double *out)
{
	struct gpu_place *p = &g->place;
	const float *clip;

	if (gpu_clip(&g->device.gpu, p->clip, p->parts, n, 1, (float)g->optim->clip) ||
	    device_fetch(&g->device, NORM_OF, p->clip, sizeof *clip) || !(clip = device_fetched(&g->device, NORM_OF)))
		return -1;
	*out = *clip;
	return 0;
}

static int
norm(struct engine *en, double *norm_out, struct err *e)
{
	struct cuda *g = cuda_of(en, e);

	return cuda_ranks_squares(g) ? -1 : norm_of(g, (size_t)g->ranks.count * g->place.own_parts, norm_out);
}

/* Of this rank's own gradients. */
static int
norm_alone(struct cuda *g, double *out)
{
	struct gpu_place *p = &g->place;

	return gpu_sumsq(&g->device.gpu, p->parts, p->grad, p->trained) ? -1 : norm_of(g, gpu_sumsq_parts(p->trained), out);
}

static int
settle(struct engine *en, struct err *e)
{
	return cuda_ranks_settle(cuda_of(en, e));
}

/* The norm is the device's own, of the last norm(). */
static int
step(struct engine *en, double norm_in, double lr, struct err *e)
{
	(void)norm_in;
	return cuda_update(cuda_of(en, e), lr);
}

static int
put(struct engine *en, struct err *e)
{
	return cuda_put(cuda_of(en, e));
}

static int
get(struct engine *en, struct err *e)
{
	return cuda_get(cuda_of(en, e));
}

static int
inspect(struct engine *en, const struct batch *b, float scale, bool *bad, char name[MODEL_BAD], struct err *e)
{
	struct cuda *g = cuda_of(en, e);
	double loss, of_gradients;
	int rc;

	if (clear(g) || pass(en, b, true, scale, &loss, e) || norm_alone(g, &of_gradients))
		return -1;
	*bad = !isfinite(loss) || !isfinite(of_gradients);
	if (!*bad)
		return 0;
	g->bad = false;
	strcpy(g->name, "the logits");
	rc = cuda_bad_weights(g);
	g->watching = true;
	if (!rc && !g->bad)
		rc = clear(g) || pass(en, b, true, scale, &loss, e);
	g->watching = false;
	if (!rc && !g->bad && isfinite(loss))
		rc = cuda_bad_gradients(g);
	memcpy(name, g->name, sizeof g->name);
	return rc ? -1 : 0;
}

/* ---- opening ---- */

static void
close_all(struct engine *en)
{
	struct cuda *g = (struct cuda *)en;

	cuda_ranks_close(g);
	device_close(&g->device);
	gpu_place_free(&g->place);
	free(g->packed);
	free(g->host);
	free(g->tensors);
	free(g);
}

/* How many bytes the run takes, what is kept chosen; 0 with a message when they are not there. */
static size_t
choose(struct cuda *g, const struct cuda_start *s, int device, struct err *e)
{
	double gib = 1 << 30;
	size_t room, bytes, beside = s->comm->size > 1 ? CUDA_NCCL : 0;

	if (fit_room(&room, device, s->limit, e))
		return 0;
	room = room > beside ? room - beside : 0;
	bytes = gpu_place_choose(&g->run, s->only, room);
	if (bytes <= room)
		return bytes;
	err_set(e, "--device cuda: a micro-batch of %d tokens takes %.2f GiB, %.2f are to be had: lower --batch or --cutoff, or train a part (--freeze), or adapters (--lora)%s",
		g->run.tokens, (double)bytes / gib, (double)room / gib, s->only ? ", or leave --recompute to auto" : "");
	return 0;
}

/* What was planned is taken, and nothing else. */
static int
take(struct cuda *g, const struct cuda_start *s, size_t bytes)
{
	struct gpu_place *p = &g->place;
	struct gpu *gpu = &g->device.gpu;

	gpu_place(p, &g->device.arena, &g->run);
	if (g->device.arena.full || g->device.arena.most != bytes)
		return gpu_refuse(gpu, "%s: %zu bytes were planned, %zu are needed", g->device.name, bytes, g->device.arena.most);
	if (cuda_tune(g, s))
		return -1;
	g->host = malloc(p->staged * sizeof *g->host);
	if (!g->host)
		return gpu_refuse(gpu, "out of memory");
	if (cudaMemsetAsync(p->weights, 0, p->trained * sizeof *p->weights, gpu->stream) != cudaSuccess ||
	    cudaMemsetAsync(p->low, 0, p->own * sizeof *p->low, gpu->stream) != cudaSuccess ||
	    cudaMemsetAsync(p->grad, 0, p->trained * sizeof *p->grad, gpu->stream) != cudaSuccess ||
	    cudaMemsetAsync(p->m, 0, p->own * sizeof *p->m, gpu->stream) != cudaSuccess ||
	    cudaMemsetAsync(p->v, 0, p->own * sizeof *p->v, gpu->stream) != cudaSuccess)
		return gpu_launched(gpu, "zero");
	return 0;
}

/* Of several ranks on a machine each takes its own, unless the launcher shows it but one. */
static int
find_device(const struct cuda_start *s, struct err *e)
{
	const struct comm *c = s->comm;
	int n = 0;

	if (c->size == 1)
		return s->device;
	if (s->device > 0)
		return err_set(e, "--device cuda:%d is for one process; of several each takes a GPU by itself: --device cuda", s->device);
	if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0)
		return 0;	/* what opens it says why */
	if (n > 1 && c->local > n)
		return err_set(e, "--device cuda: %d processes on this machine, and %d GPUs: start one process a GPU", c->local, n);
	return n > 1 ? c->local_rank : 0;
}

static int
open_device(struct cuda *g, const struct cuda_start *s, struct err *e)
{
	int device = find_device(s, e);
	size_t bytes;

	if (device < 0 || cuda_ranks_open(g, s, e))
		return -1;

	g->run = s->run;
	g->run.c = &g->c;
	g->run.tensors = g->tensors;
	g->run.rank = s->comm->rank;
	g->run.ranks = s->comm->size;
	bytes = choose(g, s, device, e);
	if (!bytes || device_open(&g->device, device, bytes, e) || take(g, s, bytes))
		return -1;
	g->en.bytes = bytes;
	return device_send(&g->device, g->place.inv_freq, s->inv_freq, (size_t)(g->c.head_dim / 2) * sizeof(float));
}

struct engine *
cuda_engine(int version, const struct cuda_start *s, struct err *e)
{
	size_t table = (size_t)s->run.count * sizeof *s->run.tensors;
	struct cuda *g;

	if (version != CUDA_VERSION) {
		err_set(e, "it is of version %d, sa-train of %d", CUDA_VERSION, version);
		return NULL;
	}
	if (fit_shape(s->run.c, e))
		return NULL;
	g = calloc(1, sizeof *g);
	if (!g || !(g->tensors = malloc(table)) || !(g->packed = malloc(GPU_INPUTS(s->run.tokens) * sizeof *g->packed))) {
		err_set(e, "out of memory");
		goto bad;
	}
	memcpy(g->tensors, s->run.tensors, table);
	g->c = *s->run.c;
	g->optim = s->optim;
	g->en = (struct engine){ .put = put, .get = get, .zero = zero, .last = last, .pass = pass, .back = back_alone, .norm = norm, .step = step, .settle = settle,
				 .inspect = inspect, .close = close_all };
	if (open_device(g, s, e) == 0)
		return &g->en;
bad:
	if (g)
		close_all(&g->en);
	return NULL;
}
