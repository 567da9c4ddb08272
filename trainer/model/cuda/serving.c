/* serving.c - see serving.h: opening, weights to the device, and a slice's tables */
#include "serving.h"

#include <stdlib.h>
#include <string.h>

#include "layer.h"
#include "serving_inside.h"

#define SEND ((size_t)2 << 20)		/* elements of weights a transfer; the host keeps DEVICE_SENDS times that page-locked */
#define CONVERT 4096			/* elements at a time */

/* ---- a slice ---- */

/* Where the next `count` ints of the tables will be on the device. */
static const int *
next(struct serving *g, int *n, int count)
{
	const int *at = g->place.tables + *n;

	*n += count;
	return at;
}

/* Ids, positions and wanted rows of the slice's tokens. */
static void
pack_tokens(struct serving *g, int *n, const struct forward_span *s, int spans)
{
	int *ids = g->packed + *n, *pos = ids + g->T, *rows = pos + g->T, t = 0;

	g->wanted = 0;
	for (int i = 0; i < spans; i++)
		for (int k = 0; k < s[i].n; k++, t++) {
			ids[t] = s[i].ids[k];
			pos[t] = s[i].past + k;
			if (k < s[i].first_logits)
				continue;
			g->to[g->wanted] = s[i].logits + (size_t)(k - s[i].first_logits) * (size_t)g->c.vocab;
			rows[g->wanted++] = t;
		}
	g->ids = next(g, n, g->T);
	g->pos = next(g, n, g->T);
	g->rows = next(g, n, g->wanted);
}

static int
pages_of(int tokens)
{
	return (tokens + KV_PAGE - 1) / KV_PAGE;
}

/* Where the spans begin and end, and their pages. */
static void
pack_spans(struct serving *g, int *n, const struct forward_span *s, int spans)
{
	int *past = g->packed + *n, *cu = past + spans, *table = cu + spans + 1, stride = pages_of(g->kv.longest);

	cu[0] = 0;
	for (int i = 0; i < spans; i++) {
		past[i] = s[i].past;
		cu[i + 1] = cu[i] + s[i].n;
		memcpy(table + (size_t)i * (size_t)stride, s[i].page, (size_t)pages_of(s[i].past + s[i].n) * sizeof *table);
	}
	g->kv.past = next(g, n, spans);
	g->kv.cu = next(g, n, spans + 1);
	g->kv.table = next(g, n, spans * stride);
	g->kv.table_stride = stride;
}

/* The tables of the slice go to the device. */
static int
load(struct serving *g, const struct forward_span *s, int spans)
{
	struct gpu_kv *kv = &g->kv;
	int n = 0;

	*kv = (struct gpu_kv){ .pages = g->place.pages, .stride = g->place.page, .nspans = spans };
	for (int i = 0; i < spans; i++) {
		kv->T += s[i].n;
		kv->most = s[i].n > kv->most ? s[i].n : kv->most;
		kv->longest = s[i].past + s[i].n > kv->longest ? s[i].past + s[i].n : kv->longest;
	}
	g->T = kv->T;
	if (spans > g->shape.spans || kv->T > g->shape.tokens || kv->longest > g->shape.context)
		return gpu_refuse(&g->device.gpu, "a slice of %d tokens in %d sequences of at most %d; planned were %d, %d and %d", kv->T, spans, kv->longest,
				  g->shape.tokens, g->shape.spans, g->shape.context);
	pack_tokens(g, &n, s, spans);
	pack_spans(g, &n, s, spans);
	return device_send(&g->device, g->place.tables, g->packed, (size_t)n * sizeof *g->packed);
}

static int
run(struct forward_device *d, const struct forward_span *s, int n, struct err *e)
{
	struct serving *g = (struct serving *)d;	/* its first member */

	g->device.gpu.err = e;
	return load(g, s, n) || serving_layers(g) || serving_head(g) ? -1 : 0;
}

/* ---- opening ---- */

static void
close_all(struct forward_device *d)
{
	struct serving *g = (struct serving *)d;

	cudaSetDevice(g->device.gpu.device);	/* the thread may be another one */
	device_close(&g->device);
	serving_place_free(&g->place);
	free(g->packed);
	free(g->to);
	free(g);
}

static int
put_converted(struct serving *g, uint16_t *to, const struct serving_tensor *t, size_t from, size_t n, uint16_t *low)
{
	float wide[CONVERT];

	for (size_t k = 0, m; k < n; k += m) {
		m = n - k < CONVERT ? n - k : CONVERT;
		to_float(wide, (const char *)t->data + (from + k) * dtype_size(t->dtype), t->dtype, m);
		from_float(low + k, wide, DT_BF16, m);
	}
	return device_send(&g->device, to, low, n * sizeof *low);
}

static int
put_weights(struct serving *g, const struct serving_start *s)
{
	uint16_t *low = xcalloc(SEND, sizeof *low);
	int e = 0;

	for (int i = 0; !e && i < s->count; i++) {
		const struct serving_tensor *t = &s->tensors[i];
		uint16_t *to = serving_tensor_at(&g->place, t->slot, t->layer);

		for (size_t k = 0, n; !e && k < t->count; k += n) {
			n = t->count - k < SEND ? t->count - k : SEND;
			if (t->dtype == DT_BF16)
				e = device_send(&g->device, to + k, (const char *)t->data + k * sizeof *to, n * sizeof *to);
			else
				e = put_converted(g, to + k, t, k, n, low);
		}
	}
	free(low);
	return e;
}

/* How many bytes are taken, with as many pages as there is room for; 0 with a message. */
static size_t
choose(struct serving *g, const struct serving_start *s, struct err *e)
{
	double gib = 1 << 30, weights = (double)serving_weights(&g->c) / gib;
	struct serving_shape least, *shape = &g->shape;
	size_t room, page = serving_page(&g->c);
	int asked = shape->pages;

	if (fit_room(&room, s->device, s->limit, e))
		return 0;
	if (serving_choose(shape, room) == 0 && (!s->kv_bytes || shape->pages == asked))
		return serving_plan(shape);
	if (serving_plan(shape) <= room) {
		err_set(e, "--kv-bytes: %zu bytes are asked for, %zu are left on the GPU beside %.2f GiB of weights and what a turn takes", s->kv_bytes,
			(size_t)shape->pages * page, weights);
		return 0;
	}
	least = *shape;
	least.tokens = least.spans = KV_PAGE;
	err_set(e, "--device cuda: the weights take %.2f GiB, with turns of %d tokens %.2f; %.2f are to be had: %s", weights, shape->tokens,
		(double)serving_plan(shape) / gib, (double)room / gib, serving_plan(&least) <= room ? "lower --turn-tokens" : "too little for this model");
	return 0;
}

/* The products of serving_pass.c, before anything is in the memory that they are timed in. */
static int
tune(struct serving *g, const struct serving_start *s)
{
	struct gpu_shape products[JOINED + 1];

	for (int which = 0; which < JOINED; which++) {
		struct columns c = layer_columns(&g->c, (enum joined)which);

		products[which] = (struct gpu_shape){ c.has_bias ? GPU_FORWARD_BIAS : GPU_FORWARD, c.out, g->shape.tokens, c.in, c.out };
	}
	products[JOINED] = (struct gpu_shape){ GPU_FORWARD_FLOAT, g->place.logit_stride, g->place.head_rows, g->c.hidden, g->c.vocab };
	return gpu_matmul_tune(g->device.products, products, JOINED + 1, s->tuned, (char *)g->device.memory + GPU_WORKSPACE,
			       g->device.arena.size - GPU_WORKSPACE, s->say);
}

/* What was planned is taken, and nothing else. */
static int
take(struct serving *g, const struct serving_start *s, size_t bytes)
{
	struct arena *a = &g->device.arena;

	serving_place(&g->place, a, &g->shape);
	if (a->full || a->most != bytes)
		return gpu_refuse(&g->device.gpu, "%s: %zu bytes were planned, %zu are needed", g->device.name, bytes, a->most);
	if (tune(g, s))
		return -1;
	g->packed = xcalloc(serving_tables(&g->shape), sizeof *g->packed);
	g->to = xcalloc((size_t)g->shape.tokens, sizeof *g->to);
	return 0;
}

static int
open_device(struct serving *g, const struct serving_start *s, struct err *e)
{
	size_t bytes = choose(g, s, e);

	if (!bytes || device_open(&g->device, s->device, bytes, e) || take(g, s, bytes))
		return -1;
	if (device_send(&g->device, g->place.inv_freq, s->inv_freq, (size_t)(g->c.head_dim / 2) * sizeof(float)) || put_weights(g, s) || device_wait(&g->device))
		return -1;
	g->fd.bytes = bytes;
	g->fd.pages = g->shape.pages;
	g->fd.page = serving_page(&g->c);
	g->fd.tokens = g->shape.tokens;
	g->fd.spans = g->shape.spans;
	g->fd.context = g->shape.context;
	snprintf(g->fd.name, sizeof g->fd.name, "%s", g->device.name);
	return 0;
}

/* The most pages that are wanted. */
static int
most_pages(const struct serving_start *s)
{
	size_t a_sequence = ((size_t)s->context + KV_PAGE - 1) / KV_PAGE, n = s->kv_bytes ? s->kv_bytes / serving_page(&s->c) : a_sequence * (size_t)s->sequences;

	return n < INT32_MAX / KV_PAGE ? (int)n : INT32_MAX / KV_PAGE;
}

struct forward_device *
cuda_serving(int version, const struct serving_start *s, struct err *e)
{
	int pages = version == SERVING_VERSION ? most_pages(s) : 0;
	struct serving *g;

	if (version != SERVING_VERSION) {
		err_set(e, "it is of version %d, the program of %d", SERVING_VERSION, version);
		return NULL;
	}
	if (fit_shape(&s->c, e))
		return NULL;
	if (pages < 1) {
		err_set(e, "--kv-bytes: a page of %d tokens takes %zu bytes", KV_PAGE, serving_page(&s->c));
		return NULL;
	}
	g = xcalloc(1, sizeof *g);
	g->c = s->c;
	g->shape = (struct serving_shape){ .c = &g->c, .tokens = s->tokens, .spans = s->sequences < s->tokens ? s->sequences : s->tokens,
					   .context = s->context, .pages = pages };
	g->fd.run = run;
	g->fd.close = close_all;
	if (open_device(g, s, e) == 0)
		return &g->fd;
	close_all(&g->fd);
	return NULL;
}
