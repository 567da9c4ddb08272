/* place.c - see place.h */
#include <stdlib.h>
#include <string.h>

#include "place.h"
#include "scratch.h"

/* Slots that lie behind one another when there are any of them. */
static const enum slot groups[][3] = {
	{ LN1, LN1, LN1 }, { WQ, WK, WV }, { BQ, BK, BV }, { QNORM, QNORM, QNORM }, { KNORM, KNORM, KNORM }, { WO, WO, WO }, { LN2, LN2, LN2 },
	{ WGATE, WUP, WUP }, { WDOWN, WDOWN, WDOWN }, { EMBED, EMBED, EMBED }, { NORM, NORM, NORM }, { HEAD, HEAD, HEAD },
#define ADAPTER(p) { LORA_A + p, LORA_A + p, LORA_A + p }, { LORA_B + p, LORA_B + p, LORA_B + p }
	ADAPTER(PROJ_Q), ADAPTER(PROJ_K), ADAPTER(PROJ_V), ADAPTER(PROJ_O), ADAPTER(PROJ_GATE), ADAPTER(PROJ_UP), ADAPTER(PROJ_DOWN),
#undef ADAPTER
};

#define GROUPS (sizeof groups / sizeof *groups)
#define GROUP_ALIGN 64

/* ---- parameters ---- */

static int
find(const struct gpu_run *run, int layer, enum slot slot)
{
	for (int i = 0; i < run->count; i++)
		if (run->tensors[i].layer == layer && run->tensors[i].slot == slot)
			return i;
	return -1;
}

/* The group's tensors; how many. */
static int
members(const struct gpu_run *run, int layer, const enum slot *group, int *member)
{
	int n = 0;

	for (int k = 0; k < 3; k++) {
		int i = k > 0 && group[k] == group[k - 1] ? -1 : find(run, layer, group[k]);

		if (i >= 0)
			member[n++] = i;
	}
	return n;
}

static size_t
ranks_of(const struct gpu_run *run)
{
	return run->ranks > 1 ? (size_t)run->ranks : 1;
}

static void
add_span(struct gpu_place *p, size_t at, size_t n, bool decays)
{
	struct gpu_span *last = p->span_count ? &p->spans[p->span_count - 1] : NULL;

	if (last && last->decays == decays && last->own.at + last->own.n == at)
		last->own.n += n;
	else
		p->spans[p->span_count++] = (struct gpu_span){ { at, n, at }, decays };
}

/* To the bucket of gradients that are done after `layer`; each begins where every rank's piece of the one before it is whole. */
static void
add_to_bucket(struct gpu_place *p, const struct gpu_run *run, int layer)
{
	struct gpu_bucket *b = &p->buckets[p->bucket_count];
	size_t whole = GROUP_ALIGN * ranks_of(run);

	if (p->bucket_count > 0 && b[-1].layer == layer)
		return;
	p->trained = (p->trained + whole - 1) / whole * whole;
	*b = (struct gpu_bucket){ .at = p->trained, .layer = layer };
	p->bucket_count++;
}

/* Give the group its place. The gap behind it is updated with it: zeros to zeros. done[i]: the layer after which the matrices of layer i count as done. */
static void
place_group(struct gpu_place *p, const struct gpu_run *run, const int *member, int n, const int *done)
{
	const struct gpu_tensor *first = &run->tensors[*member];
	bool trained = false;
	size_t *end;

	for (int k = 0; k < n; k++)
		trained = trained || run->tensors[member[k]].trained;
	if (trained && (ranks_of(run) == 1 || !first->matrix || first->slot == EMBED))
		add_to_bucket(p, run, -1);
	else if (trained)
		add_to_bucket(p, run, first->layer < 0 ? run->c->layers : done[first->layer]);
	end = trained ? &p->trained : &p->frozen;
	for (int k = 0; k < n; k++) {
		const struct gpu_tensor *t = &run->tensors[member[k]];
		size_t gap = k + 1 < n ? 0 : (GROUP_ALIGN - (*end + t->count) % GROUP_ALIGN) % GROUP_ALIGN;

		p->at[member[k]] = *end;
		p->in_trained[member[k]] = trained;
		if (t->trained)
			add_span(p, *end, t->count + gap, t->matrix);
		*end += t->count + gap;
	}
}

/* Layers whose matrices make a bucket together are done after the lowest of them. Small models have several buckets too. */
static void
join_layers(const struct gpu_run *run, int *done)
{
	size_t all = 0, n = 0, least;
	int i, above = run->c->layers;

	for (i = 0; i < run->count; i++)
		all += run->tensors[i].trained ? run->tensors[i].count : 0;
	least = all / 8 < GPU_BUCKET ? all / 8 : GPU_BUCKET;
	for (i = run->c->layers - 1; i >= 0; i--) {
		for (int k = 0; k < run->count; k++)
			if (run->tensors[k].layer == i && run->tensors[k].trained && run->tensors[k].matrix)
				n += run->tensors[k].count;
		if (n < least && i > 0)
			continue;
		while (above > i)
			done[--above] = i;
		n = 0;
	}
}

/* Cut the spans at the pieces of buckets that are this rank's. */
static void
cut_spans(struct gpu_place *p, int count)
{
	struct gpu_span *whole = p->spans;
	int n = p->span_count;

	p->span_count = 0;
	p->spans = calloc((size_t)(count + p->bucket_count), sizeof *p->spans);
	if (!p->spans)
		abort();
	for (int b = p->bucket_count - 1; b >= 0; b--)
		for (int i = 0; i < n; i++) {
			struct gpu_own own = p->buckets[b].own, span = whole[i].own;
			size_t from = own.at > span.at ? own.at : span.at, to = own.at + own.n < span.at + span.n ? own.at + own.n : span.at + span.n;

			if (from < to)
				p->spans[p->span_count++] = (struct gpu_span){ { from, to - from, own.place + from - own.at }, whole[i].decays };
		}
	free(whole);
}

/* The buckets' lengths and this rank's pieces, in the order of the backward. */
static void
divide(struct gpu_place *p, const struct gpu_run *run)
{
	size_t ranks = ranks_of(run), whole = GROUP_ALIGN * ranks;

	p->trained = (p->trained + whole - 1) / whole * whole;
	p->own = p->trained / ranks;
	for (int b = 0; b < p->bucket_count; b++) {
		struct gpu_bucket *is = &p->buckets[b];

		is->n = (b + 1 < p->bucket_count ? is[1].at : p->trained) - is->at;
		is->own = (struct gpu_own){ is->at + (size_t)run->rank * (is->n / ranks), is->n / ranks, is->at / ranks };
		p->own_parts += gpu_sumsq_parts(is->own.n);
	}
	for (int b = 1; b < p->bucket_count; b++)	/* insertion: those that are done together stay in place */
		for (int k = b; k > 0 && p->buckets[k - 1].layer < p->buckets[k].layer; k--) {
			struct gpu_bucket was = p->buckets[k];

			p->buckets[k] = p->buckets[k - 1];
			p->buckets[k - 1] = was;
		}
	cut_spans(p, run->count);
}

bool
gpu_own(const struct gpu_place *p, size_t at, size_t end, struct gpu_own *part)
{
	*part = (struct gpu_own){ .at = end };
	for (int b = 0; b < p->bucket_count; b++) {
		const struct gpu_own *own = &p->buckets[b].own;
		size_t from = own->at > at ? own->at : at, to = own->at + own->n < end ? own->at + own->n : end;

		if (from < to && from < part->at)
			*part = (struct gpu_own){ from, to - from, own->place + from - own->at };
	}
	return part->at < end;
}

bool
gpu_part(const struct gpu_tensor *t, size_t at, size_t end, struct gpu_part *part)
{
	size_t row = at / t->pitch, column = at % t->pitch, left;

	if (column >= t->row) {
		row++;
		column = 0;
	}
	at = row * t->pitch + column;
	left = t->row - column;
	*part = (struct gpu_part){ .at = at, .n = at + left < end ? left : end - at, .host = row * t->row + column };
	return at < end;
}

/* Matrices first, then vectors: two spans when everything is trained, by one rank. */
static void
place_parameters(struct gpu_place *p, const struct gpu_run *run)
{
	int member[3], *done = calloc((size_t)run->c->layers, sizeof *done);

	p->at = calloc((size_t)run->count, sizeof *p->at);
	p->in_trained = calloc((size_t)run->count, sizeof *p->in_trained);
	p->spans = calloc((size_t)run->count, sizeof *p->spans);
	p->buckets = calloc((size_t)run->c->layers + 3, sizeof *p->buckets);
	if (!done || !p->at || !p->in_trained || !p->spans || !p->buckets)
		abort();
	join_layers(run, done);
	for (int matrix = 1; matrix >= 0; matrix--)
		for (int layer = -1; layer < run->c->layers; layer++)
			for (size_t g = 0; g < GROUPS; g++) {
				int n = members(run, layer, groups[g], member);

				if (n > 0 && run->tensors[member[0]].matrix == matrix)
					place_group(p, run, member, n, done);
			}
	free(done);
	divide(p, run);
}

static void
point(struct gpu_place *p, const struct gpu_run *run, int i)
{
	const struct gpu_tensor *t = &run->tensors[i];
	uint16_t *w = (p->in_trained[i] ? p->weights : p->fixed) + p->at[i];
	float *dw = t->trained ? p->grad + p->at[i] : NULL;

	if (t->slot >= LORA_B) {
		p->layer[t->layer].lora[t->slot - LORA_B].b = w;
		p->layer[t->layer].lora[t->slot - LORA_B].db = dw;
	} else if (t->slot >= LORA_A) {
		p->layer[t->layer].lora[t->slot - LORA_A].a = w;
		p->layer[t->layer].lora[t->slot - LORA_A].da = dw;
	} else if (t->layer >= 0) {
		p->layer[t->layer].w[t->slot] = w;
		p->layer[t->layer].dw[t->slot] = dw;
	} else if (t->slot == EMBED) {
		p->embed = p->head = w;
		p->dembed = p->dhead = dw;
	} else if (t->slot == NORM) {
		p->norm = w;
		p->dnorm = dw;
	} else {
		p->head = w;
		p->dhead = dw;
	}
}

static void
take_parameters(struct gpu_place *p, struct arena *a, const struct gpu_run *run)
{
	place_parameters(p, run);
	p->weights = arena_take(a, "weights that are trained, high halves", p->trained * sizeof *p->weights);
	p->low = arena_take(a, "weights that are trained, low halves", p->own * sizeof *p->low);
	p->fixed = arena_take(a, "weights that are not trained, bfloat16", p->frozen * sizeof *p->fixed);
	p->grad = arena_take(a, "gradients, float", p->trained * sizeof *p->grad);
	p->m = arena_take(a, "first moments, float", p->own * sizeof *p->m);
	p->v = arena_take(a, "second moments, float", p->own * sizeof *p->v);
	p->layer = calloc((size_t)run->c->layers, sizeof *p->layer);
	if (!p->layer)
		abort();
	for (int i = 0; i < run->count && !(a->full && a->base); i++)
		point(p, run, i);
}

/* ---- activations ---- */

/* Of every layer, each its own; or one for all. */
static void *
of_layers(struct arena *a, bool each, const struct gpu_run *run, size_t bytes)
{
	return arena_take(a, each ? "activations, bfloat16" : "a layer's, made again", (each ? (size_t)run->c->layers : 1) * bytes);
}

/* What each layer has of its own, or what they share. Sizes are multiples of 16 bytes where rows are, see kernels.h. */
static void
take_layers(struct gpu_place *p, struct arena *a, const struct gpu_run *run, bool own)
{
	const struct config *c = run->c;
	size_t T = (size_t)run->tokens, D = (size_t)c->head_dim, q = (size_t)c->heads * D, S = q + 2 * (size_t)c->kv_heads * D, C = (size_t)c->hidden;
	size_t F = (size_t)c->ffn, qk = c->qk_norm ? S : 0, qn = c->qk_norm ? (size_t)c->heads : 0, kn = c->qk_norm ? (size_t)c->kv_heads : 0;
	bool all = run->keep == KEEP_ALL, products = run->keep != KEEP_BLOCKS;
	const struct {
		size_t field, bytes;
		bool each;
	} pieces[] = {
#define AT(member) offsetof(struct gpu_acts, member)
		{ AT(x), 2 * T * C, true }, { AT(h1), 2 * T * C, all }, { AT(qkv), 2 * T * S, products }, { AT(qk), 2 * T * qk, all },
		{ AT(att), 2 * T * q, products }, { AT(x2), 2 * T * C, products }, { AT(h2), 2 * T * C, all }, { AT(gate_up), 4 * T * F, products },
		{ AT(act), 2 * T * F, all }, { AT(rstd1), 4 * T, products }, { AT(qrstd), 4 * T * qn, products }, { AT(krstd), 4 * T * kn, products },
		{ AT(lse), 4 * T * (size_t)c->heads, products }, { AT(rstd2), 4 * T, products },
#undef AT
	};

	for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
		char *from = pieces[k].each == own ? of_layers(a, own, run, pieces[k].bytes) : NULL;

		for (int i = 0; i < c->layers && from; i++) {
			char **to = (char **)((char *)&p->acts[i] + pieces[k].field);

			*to = from + (pieces[k].each ? (size_t)i * pieces[k].bytes : 0);
		}
	}
	for (int i = 0; i < c->layers && !c->qk_norm; i++)
		p->acts[i].qk = p->acts[i].qkv;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t
scratch_size(const struct gpu_run *run)
{
	const struct config *c = run->c;
	int T = run->tokens, H = c->heads, G = c->kv_heads, D = c->head_dim;
	size_t n = gpu_rmsnorm_back_scratch(T, c->hidden);

	for (int t = 1; t <= T; t++)	/* fewer tokens may take more */
		n = larger(n, gpu_attend_back_scratch(t, H, G, D));
	if (c->qk_norm)
		n = larger(n, gpu_rmsnorm_back_scratch(T * H, D));
	return larger(n, c->qkv_bias ? gpu_bias_back_scratch(T, (H + 2 * G) * D) : 0);
}

static void
take_shared(struct gpu_place *p, struct arena *a, const struct gpu_run *run)
{
	const struct config *c = run->c;
	size_t T = (size_t)run->tokens, C = (size_t)c->hidden, S = (size_t)(c->heads + 2 * c->kv_heads) * (size_t)c->head_dim;

	p->dh = arena_take(a, "gradients of activations", 2 * T * C);
	p->dwide = arena_take(a, "gradients of activations", 2 * T * larger((size_t)c->ffn, S + (size_t)c->heads * (size_t)c->head_dim));
	p->lora_rank = (c->lora.r + 7) / 8 * 8;
	p->ax = arena_take(a, "between an adapter's products", 2 * T * (size_t)p->lora_rank);
	p->dax = arena_take(a, "between an adapter's products", 2 * 3 * T * (size_t)p->lora_rank);
}

static void
take_head(struct gpu_place *p, struct arena *a, const struct gpu_run *run)
{
	size_t C = (size_t)run->c->hidden, stride = ((size_t)run->c->vocab + 7) / 8 * 8, rows = GPU_LOGITS / 2 / stride / 128 * 128, R;

	R = larger(rows, 128);
	R = R < (size_t)run->tokens ? R : (size_t)run->tokens;
	p->head_rows = (int)R;
	p->logit_stride = (int)stride;
	p->hx = arena_take(a, "rows of the head", 2 * R * C);
	p->hh = arena_take(a, "rows of the head", 2 * R * C);
	p->dhx = arena_take(a, "rows of the head", 2 * R * C);
	p->hrstd = arena_take(a, "rows of the head", 4 * R);
	p->logits = arena_take(a, "logits, a chunk", 2 * R * stride);
}

void
gpu_place(struct gpu_place *p, struct arena *a, const struct gpu_run *run)
{
	size_t mark, row = 2 * (size_t)run->tokens * (size_t)run->c->hidden;

	*p = (struct gpu_place){ 0 };
	p->acts = calloc((size_t)run->c->layers, sizeof *p->acts);
	if (!p->acts)
		abort();
	take_parameters(p, a, run);
	p->inputs = arena_take(a, "inputs, losses, norms", GPU_INPUTS(run->tokens) * sizeof *p->inputs);
	p->inv_freq = arena_take(a, "inputs, losses, norms", (size_t)run->c->head_dim / 2 * sizeof *p->inv_freq);
	p->clip = arena_take(a, "inputs, losses, norms", 2 * sizeof *p->clip);
	p->parts = arena_take(a, "inputs, losses, norms", ranks_of(run) * p->own_parts * sizeof *p->parts);
	mark = arena_mark(a);
	for (int i = 0; i < run->count; i++)
		p->staged = larger(p->staged, run->tensors[i].count);
	p->staged = larger(p->staged < GPU_STAGE ? p->staged : GPU_STAGE, GROUP_ALIGN * ranks_of(run));
	p->stage = arena_take(a, "weights on their way, before and after", p->staged * sizeof *p->stage);
	p->stage_low = arena_take(a, "weights on their way, before and after", p->staged * sizeof *p->stage_low);
	arena_release(a, mark);
	take_layers(p, a, run, true);
	p->branch = arena_take(a, "a branch's output", row);
	p->dx = arena_take(a, "gradients of activations", row);
	p->scratch = arena_take(a, "scratch of sums", scratch_size(run));
	p->loss = arena_take(a, "inputs, losses, norms", 4 * (size_t)run->tokens);
	mark = arena_mark(a);	/* between the forward and the backward of the layers there is the head, and nothing of theirs that is shared */
	take_layers(p, a, run, false);
	take_shared(p, a, run);
	arena_release(a, mark);
	take_head(p, a, run);
}

void
gpu_place_free(struct gpu_place *p)
{
	free(p->at);
	free(p->in_trained);
	free(p->spans);
	free(p->buckets);
	free(p->layer);
	free(p->acts);
	*p = (struct gpu_place){ 0 };
}

size_t
gpu_place_plan(const struct gpu_run *run, struct arena *plan)
{
	struct arena own, *a = plan ? plan : &own;
	struct gpu_place p;

	arena_begin(a, NULL, SIZE_MAX / 4);
	arena_take(a, "workspace of products", GPU_WORKSPACE);
	gpu_place(&p, a, run);
	gpu_place_free(&p);
	return a->most;
}

bool
gpu_place_fits(enum keep keep, bool only, size_t bytes, size_t most)
{
	return bytes <= (keep == KEEP_ALL && !only ? most - most / 8 : most);
}

size_t
gpu_place_choose(struct gpu_run *run, bool only, size_t most)
{
	size_t bytes = gpu_place_plan(run, NULL);

	while (!gpu_place_fits(run->keep, only, bytes, most) && !only && run->keep + 1 < KEEPS) {
		run->keep++;
		bytes = gpu_place_plan(run, NULL);
	}
	return bytes;
}
