/* model.c - the weights of a checkpoint: their layout, loading, making and saving */
#include "model.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "forward.h"
#include "forward_device.h"
#include "huge.h"
#include "layout.h"
#include "lora.h"
#include "text.h"

/* ---- layout ---- */

static const char *const layer_names[PER_LAYER] = {
	[LN1] = "input_layernorm.weight", [WQ] = "self_attn.q_proj.weight", [BQ] = "self_attn.q_proj.bias", [QNORM] = "self_attn.q_norm.weight",
	[WK] = "self_attn.k_proj.weight", [BK] = "self_attn.k_proj.bias", [KNORM] = "self_attn.k_norm.weight", [WV] = "self_attn.v_proj.weight",
	[BV] = "self_attn.v_proj.bias", [WO] = "self_attn.o_proj.weight", [LN2] = "post_attention_layernorm.weight", [WGATE] = "mlp.gate_proj.weight",
	[WUP] = "mlp.up_proj.weight", [WDOWN] = "mlp.down_proj.weight",
};

/* No rows: the family does not have it. */
static void
layer_shape(const struct config *c, enum slot s, int64_t *rows, int64_t *cols)
{
	int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, norm = c->qk_norm ? c->head_dim : 0;
	const int64_t shapes[PER_LAYER][2] = {
		[LN1] = { c->hidden, 0 }, [WQ] = { q, c->hidden }, [BQ] = { c->qkv_bias ? q : 0, 0 }, [QNORM] = { norm, 0 },
		[WK] = { kv, c->hidden }, [BK] = { c->qkv_bias ? kv : 0, 0 }, [KNORM] = { norm, 0 }, [WV] = { kv, c->hidden },
		[BV] = { c->qkv_bias ? kv : 0, 0 }, [WO] = { c->hidden, q }, [LN2] = { c->hidden, 0 }, [WGATE] = { c->ffn, c->hidden },
		[WUP] = { c->ffn, c->hidden }, [WDOWN] = { c->hidden, c->ffn },
	};

	*rows = shapes[s][0];
	*cols = shapes[s][1];
}

/* The slots that the family has, in order; how many. */
static int
layer_slots(const struct config *c, enum slot *list)
{
	int64_t rows, cols;
	int n = 0, s;

	for (s = 0; s < PER_LAYER; s++) {
		layer_shape(c, s, &rows, &cols);
		if (rows > 0)
			list[n++] = s;
	}
	return n;
}

static void
set_tensor(struct tensor_at *t, int64_t rows, int64_t cols, size_t offset)
{
	t->ndim = cols ? 2 : 1;
	t->shape[0] = rows;
	t->shape[1] = cols;
	t->count = rows * (cols ? cols : 1);
	t->offset = offset;
}

static size_t
layer_floats(const struct config *c)
{
	size_t n = 0;
	int64_t rows, cols;
	int s;

	for (s = 0; s < PER_LAYER; s++) {
		layer_shape(c, s, &rows, &cols);
		n += rows * (cols ? cols : 1);
	}
	return n;
}

/* Where in the allocation a layer's tensor begins. */
static size_t
layer_offset(const struct config *c, int layer, enum slot slot)
{
	size_t at = (size_t)c->vocab * c->hidden + layer * layer_floats(c);
	int64_t rows, cols;
	int s;

	for (s = 0; s < (int)slot; s++) {
		layer_shape(c, s, &rows, &cols);
		at += rows * (cols ? cols : 1);
	}
	return at;
}

int
model_tensors(const struct config *c)
{
	enum slot slots[PER_LAYER];

	return 1 + c->layers * layer_slots(c, slots) + 1 + !c->tied;
}

/* Order: embedding, the layers, the final norm, the head unless tied, the adapters. */
int
model_tensor(const struct config *c, int i, struct tensor_at *t)
{
	enum slot slots[PER_LAYER];
	int per_layer = layer_slots(c, slots), in_layers = c->layers * per_layer, layer = (i - 1) / per_layer;
	size_t after = layer_offset(c, c->layers, 0);
	int64_t rows, cols;

	if (i == 0) {
		snprintf(t->name, sizeof t->name, "model.embed_tokens.weight");
		set_tensor(t, c->vocab, c->hidden, 0);
	} else if (i > 0 && i <= in_layers) {
		enum slot slot = slots[(i - 1) % per_layer];

		layer_shape(c, slot, &rows, &cols);
		snprintf(t->name, sizeof t->name, "model.layers.%d.%s", layer, layer_names[slot]);
		set_tensor(t, rows, cols, layer_offset(c, layer, slot));
	} else if (i == in_layers + 1) {
		snprintf(t->name, sizeof t->name, "model.norm.weight");
		set_tensor(t, c->hidden, 0, after);
	} else if (i == in_layers + 2 && !c->tied) {
		snprintf(t->name, sizeof t->name, "lm_head.weight");
		set_tensor(t, c->vocab, c->hidden, after + c->hidden);
	} else {
		return lora_tensor(c, i - model_tensors(c), after + c->hidden + (c->tied ? 0 : (size_t)c->vocab * c->hidden), t);
	}
	return 0;
}

enum slot
model_slot(const struct config *c, int i, int *layer)
{
	enum slot slots[PER_LAYER];
	int per_layer = layer_slots(c, slots), in_layers = c->layers * per_layer;

	*layer = -1;
	if (i == 0)
		return EMBED;
	if (i >= model_tensors(c)) {
		bool b;
		enum projection p = lora_place(c, i - model_tensors(c), layer, &b);

		return (enum slot)((b ? LORA_B : LORA_A) + (int)p);
	}
	if (i > in_layers)
		return i == in_layers + 1 ? NORM : HEAD;
	*layer = (i - 1) / per_layer;
	return slots[(i - 1) % per_layer];
}

/* Where w keeps its pointer to tensor i. */
static float **
tensor_pointer(struct weights *w, const struct config *c, int i)
{
	static const size_t field[PER_LAYER] = {
#define AT(member) offsetof(struct layer, member)
		[LN1] = AT(ln1), [WQ] = AT(wq), [BQ] = AT(bq), [QNORM] = AT(qnorm), [WK] = AT(wk), [BK] = AT(bk), [KNORM] = AT(knorm), [WV] = AT(wv),
		[BV] = AT(bv), [WO] = AT(wo), [LN2] = AT(ln2), [WGATE] = AT(wgate), [WUP] = AT(wup), [WDOWN] = AT(wdown),
#undef AT
	};
	enum slot s;
	int layer;

	if (i >= model_tensors(c))
		return lora_pointer(w, c, i - model_tensors(c));
	s = model_slot(c, i, &layer);
	if (layer < 0)
		return s == EMBED ? &w->embed : s == NORM ? &w->norm : &w->head;
	return (float **)((char *)&w->layer[layer] + field[s]);
}

float *
weights_tensor(const struct weights *w, const struct config *c, int i)
{
	return *tensor_pointer((struct weights *)w, c, i);
}

static size_t
count_some(const struct config *c, const bool *some)
{
	struct tensor_at t;
	size_t n = 0;
	int i;

	for (i = 0; model_tensor(c, i, &t) == 0; i++)
		n += !some || some[i] ? t.count : 0;
	return n;
}

/* Point to the tensors in w->all. */
static void
place_some(struct weights *w, const struct config *c, const bool *some)
{
	struct tensor_at t;
	size_t at = 0;
	int i;

	memset(w->layer, 0, c->layers * sizeof *w->layer);
	for (i = 0; model_tensor(c, i, &t) == 0; i++)
		if (!some || some[i]) {
			*tensor_pointer(w, c, i) = w->all + at;
			at += t.count;
		}
	if (c->tied)
		w->head = w->embed;
}

void
weights_some(struct weights *w, const struct config *c, const bool *some)
{
	*w = (struct weights){ .layer = xcalloc(c->layers, sizeof *w->layer), .n = count_some(c, some) };
	w->all = xcalloc(w->n, sizeof *w->all);
	huge_advise(w->all, w->n * sizeof *w->all);
	place_some(w, c, some);
}

void
weights_like(struct weights *w, const struct config *c)
{
	weights_some(w, c, NULL);
}

void
weights_extend(struct weights *w, const struct config *c)
{
	size_t was = w->n;

	w->n = count_some(c, NULL);
	w->all = xreallocarray(w->all, w->n, sizeof *w->all);
	if (w->n > was)
		memset(w->all + was, 0, (w->n - was) * sizeof *w->all);
	place_some(w, c, NULL);
}

void
weights_free(struct weights *w)
{
	free(w->all);
	free(w->layer);
	memset(w, 0, sizeof *w);
}

/* ---- loading ---- */

static int
check_tensor(const char *dir, const struct tensor_at *want, const struct tensor *got, struct err *e)
{
	if (!got)
		return err_set(e, "%s: tensor %s: missing", dir, want->name);
	if (got->ndim != want->ndim || got->shape[0] != want->shape[0] || (want->ndim == 2 && got->shape[1] != want->shape[1]))
		return err_set(e, "%s: tensor %s: shape [%lld%s%.0lld] where config.json makes it [%lld%s%.0lld]", dir, want->name, (long long)got->shape[0],
			       got->ndim > 1 ? "," : "", got->ndim > 1 ? (long long)got->shape[1] : 0, (long long)want->shape[0], want->ndim > 1 ? "," : "",
			       want->ndim > 1 ? (long long)want->shape[1] : 0);
	return 0;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Every tensor is there, of its shape, and there is none that the model would silently leave out: only what old checkpoints are known
 * to carry on top (a copy of tied weights, the rotary table) is ignored. */
int
model_check(const struct config *c, const char *dir, const struct tensors *ts, struct err *e)
{
	struct tensor_at want;
	size_t known = 0, i;
	int j;

	for (j = 0; model_tensor(c, j, &want) == 0; j++, known++)
		if (check_tensor(dir, &want, tensors_find(ts, want.name), e) < 0)
			return -1;
	if (tensors_count(ts) == known)
		return 0;
	for (i = 0; i < tensors_count(ts); i++) {
		const char *name = tensors_at(ts, i)->name;

		if ((c->tied && strcmp(name, "lm_head.weight") == 0) || ends_with(name, ".rotary_emb.inv_freq"))
			continue;
		for (j = 0; model_tensor(c, j, &want) == 0 && strcmp(want.name, name) != 0; j++)
			;
		if (model_tensor(c, j, &want) < 0)
			return err_set(e, "%s: tensor %s: not a part of %s", dir, name, c->arch);
	}
	return 0;
}

void
tensor_drop_pages(const struct tensor *t)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)t->data, to = from + t->count * dtype_size(t->dtype);

	from = (from + page - 1) / page * page;
	to = to / page * page;
	if (to > from)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static struct model *
model_alloc(const struct config *c, const struct ops *ops, struct mach *mach)
{
	struct model *m = xcalloc(1, sizeof *m);

	m->c = *c;
	m->ops = ops;
	m->mach = mach;
	weights_like(&m->w, c);
	view_floats(m);
	m->inv_freq = xcalloc(c->head_dim / 2, sizeof *m->inv_freq);
	config_inv_freq(c, m->inv_freq);
	return m;
}

struct model *
model_load(const char *dir, const struct ops *ops, struct mach *mach, struct err *e)
{
	struct tensors *ts = NULL;
	struct model *m = NULL;
	struct tensor_at at;
	struct config c;
	int i;

	if (config_read(&c, dir, e) < 0)
		return NULL;
	ts = tensors_open(dir, e);
	if (!ts || model_check(&c, dir, ts, e) < 0)
		goto out;
	m = model_alloc(&c, ops, mach);
	for (i = 0; model_tensor(&c, i, &at) == 0; i++) {
		const struct tensor *t = tensors_find(ts, at.name);

		to_float(m->w.all + at.offset, t->data, t->dtype, t->count);
		tensor_drop_pages(t);
	}
out:
	tensors_close(ts);
	return m;
}

void
model_free(struct model *m)
{
	if (!m)
		return;
	weights_free(&m->w);
	view_free(m);
	free(m->inv_freq);
	forward_work_free(m->work);
	if (m->device)
		m->device->close(m->device);
	free(m);
}

/* ---- making and saving ---- */

/* About normal(0, 1): twelve uniforms of 16 bits, summed in integers. Nothing here depends on the machine or its libm, as a logarithm
 * would, and the missing tail past 6 sigma is of no use to a weight. */
static float
next_normal(uint64_t *state)
{
	int64_t sum = 0;
	int i, j;

	for (i = 0; i < 3; i++) {
		uint64_t r = text_random(state);

		for (j = 0; j < 4; j++)
			sum += r >> 16 * j & 0xffff;
	}
	return (float)(2 * sum + 12 - (12 << 16)) / (1 << 17);
}

struct model *
model_new(const struct config *c, uint64_t seed, const struct ops *ops, struct mach *mach)
{
	struct model *m = model_alloc(c, ops, mach);
	struct tensor_at at;
	size_t j;
	int i;

	for (i = 0; model_tensor(c, i, &at) == 0; i++) {
		uint64_t state = seed;

		state = text_random(&state) + i;	/* each tensor its own stream */
		for (j = 0; j < at.count; j++)
			m->w.all[at.offset + j] = at.ndim > 1 ? c->init_range * next_normal(&state) : ends_with(at.name, ".bias") ? 0 : 1;
	}
	return m;
}

int
model_save(const struct model *m, const char *dir, enum dtype d, struct err *e)
{
	int n = model_tensors(&m->c), i;
	struct tensor_at *at = xcalloc(n, sizeof *at);
	struct tensor_out *out = xcalloc(n, sizeof *out);
	char path[PATH_MAX];
	int rc = -1;

	for (i = 0; i < n && model_tensor(&m->c, i, &at[i]) == 0; i++)
		out[i] = (struct tensor_out){
			.name = at[i].name, .ndim = at[i].ndim, .shape = { at[i].shape[0], at[i].shape[1] }, .data = m->w.all + at[i].offset,
		};
	if (snprintf(path, sizeof path, "%s/model.safetensors", dir) >= (int)sizeof path)
		err_set(e, "%.200s...: path is too long", dir);
	else
		rc = tensors_write(path, out, i, d, e);
	free(at);
	free(out);
	return rc;
}
