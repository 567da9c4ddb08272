/* serving_place.c - see serving_place.h */
#include "serving_place.h"

#include <stdint.h>
#include <stdlib.h>

#include "err.h"
#include "kernels.h"
#include "layer.h"

#define LOGITS ((size_t)64 << 20)	/* bytes of logits at a time */
#define ALIGN 64			/* elements: where an array of weights may begin */

static int
pages_of(int tokens)
{
	return tokens / KV_PAGE + (tokens % KV_PAGE > 0);
}

size_t
serving_tables(const struct serving_shape *s)
{
	return 3 * (size_t)s->tokens + 2 * (size_t)s->spans + 1 + (size_t)s->spans * (size_t)pages_of(s->context);
}

static size_t
page_elements(const struct config *c)
{
	return (size_t)c->layers * gpu_kv_elements(c->kv_heads, c->head_dim);
}

size_t
serving_page(const struct config *c)
{
	return page_elements(c) * sizeof(uint16_t);
}

/* ---- weights ---- */

/* The next n elements, behind those before them; from == NULL: only counted. */
static uint16_t *
behind(uint16_t *from, size_t *at, size_t n)
{
	uint16_t *to = from ? from + *at : NULL;

	*at += n;
	return to;
}

static uint16_t *
next(uint16_t *from, size_t *at, size_t n)
{
	*at = (*at + ALIGN - 1) / ALIGN * ALIGN;
	return behind(from, at, n);
}

static void
lay_layer(uint16_t **w, const struct config *c, uint16_t *from, size_t *at)
{
	size_t C = (size_t)c->hidden, D = (size_t)c->head_dim;

	w[LN1] = next(from, at, C);
	w[LN2] = next(from, at, C);
	if (c->qk_norm) {
		w[QNORM] = next(from, at, D);
		w[KNORM] = next(from, at, D);
	}
	for (int which = 0; which < JOINED; which++) {
		struct columns j = layer_columns(c, (enum joined)which);

		for (int k = 0; k < j.n; k++)
			w[j.weight[k]] = (k ? behind : next)(from, at, (size_t)j.width[k] * (size_t)j.in);
		for (int k = 0; k < j.n && j.has_bias; k++)
			w[j.bias[k]] = (k ? behind : next)(from, at, (size_t)j.width[k]);
	}
}

/* Point to the weights in the array at `from`; how many elements that are. */
static size_t
lay_weights(struct serving_place *p, const struct config *c, uint16_t *from)
{
	size_t C = (size_t)c->hidden, V = (size_t)c->vocab, at = 0;

	p->embed = next(from, &at, V * C);
	p->norm = next(from, &at, C);
	p->head = c->tied ? p->embed : next(from, &at, V * C);
	for (int i = 0; i < c->layers; i++)
		lay_layer(p->layer[i].w, c, from, &at);
	return at;
}

static void
take_weights(struct serving_place *p, struct arena *a, const struct config *c)
{
	uint16_t *from;

	p->layer = xcalloc((size_t)c->layers, sizeof *p->layer);
	from = arena_take(a, "weights, bfloat16", lay_weights(p, c, NULL) * sizeof *from);
	if (a->base && from)
		lay_weights(p, c, from);
}

size_t
serving_weights(const struct config *c)
{
	struct serving_place p = { .layer = xcalloc((size_t)c->layers, sizeof *p.layer) };
	size_t n = lay_weights(&p, c, NULL);

	serving_place_free(&p);
	return n * sizeof(uint16_t);
}

uint16_t *
serving_tensor_at(const struct serving_place *p, enum slot slot, int layer)
{
	if (layer >= 0)
		return p->layer[layer].w[slot];
	return slot == EMBED ? p->embed : slot == NORM ? p->norm : p->head;
}

/* ---- the rest ---- */

static void
take_slice(struct serving_place *p, struct arena *a, const struct serving_shape *s)
{
	const struct config *c = s->c;
	size_t row = 2 * (size_t)s->tokens, C = (size_t)c->hidden, F = (size_t)c->ffn;

	p->x = arena_take(a, "activations of a slice", row * C);
	p->h = arena_take(a, "activations of a slice", row * C);
	p->branch = arena_take(a, "activations of a slice", row * C);
	p->qkv = arena_take(a, "activations of a slice", row * (size_t)qkv_width(c));
	p->att = arena_take(a, "activations of a slice", row * (size_t)q_width(c));
	p->gate_up = arena_take(a, "activations of a slice", row * 2 * F);
	p->act = arena_take(a, "activations of a slice", row * F);
	p->scratch = arena_take(a, "scratch of attention", gpu_attend_cached_scratch(s->spans, s->context, c->heads, c->head_dim));
}

static void
take_head(struct serving_place *p, struct arena *a, const struct serving_shape *s)
{
	size_t C = (size_t)s->c->hidden, stride = ((size_t)s->c->vocab + 7) / 8 * 8, R = LOGITS / sizeof *p->logits / stride / 32 * 32;

	R = R < 32 ? 32 : R;
	R = R < (size_t)s->tokens ? R : (size_t)s->tokens;
	p->head_rows = (int)R;
	p->logit_stride = (int)stride;
	p->hx = arena_take(a, "rows of the head", 2 * R * C);
	p->hh = arena_take(a, "rows of the head", 2 * R * C);
	p->logits = arena_take(a, "logits, a part", R * stride * sizeof *p->logits);
}

void
serving_place(struct serving_place *p, struct arena *a, const struct serving_shape *s)
{
	*p = (struct serving_place){ .page = page_elements(s->c) };
	take_weights(p, a, s->c);
	p->inv_freq = arena_take(a, "tables of a slice", (size_t)s->c->head_dim / 2 * sizeof *p->inv_freq);
	p->tables = arena_take(a, "tables of a slice", serving_tables(s) * sizeof *p->tables);
	take_slice(p, a, s);
	take_head(p, a, s);
	p->pages = arena_take(a, "key-value caches", (size_t)s->pages * p->page * sizeof *p->pages);
}

void
serving_place_free(struct serving_place *p)
{
	free(p->layer);
	*p = (struct serving_place){ 0 };
}

size_t
serving_plan(const struct serving_shape *s)
{
	struct serving_place p;
	struct arena a;

	arena_begin(&a, NULL, SIZE_MAX / 4);
	arena_take(&a, "workspace of products", GPU_WORKSPACE);
	serving_place(&p, &a, s);
	serving_place_free(&p);
	return a.most;
}

/* s with so many pages. */
static struct serving_shape
with_pages(const struct serving_shape *s, int pages)
{
	struct serving_shape t = *s;

	t.pages = pages;
	if (pages < pages_of(s->context))
		t.context = pages * KV_PAGE;
	return t;
}

/* What it takes grows with the pages, so the most that fit are found by halving. */
int
serving_choose(struct serving_shape *s, size_t room)
{
	struct serving_shape wanted = *s;
	int low = 1, high = s->pages;

	while (low < high) {
		int mid = low + (high - low + 1) / 2;
		struct serving_shape t = with_pages(&wanted, mid);

		if (serving_plan(&t) <= room)
			low = mid;
		else
			high = mid - 1;
	}
	*s = with_pages(&wanted, low);
	return serving_plan(s) <= room ? 0 : -1;
}
