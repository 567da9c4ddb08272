/* lora.c - adapters: where they lie, how they begin, how they are merged and saved */
#include "lora.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "num.h"
#include "project.h"
#include "text.h"

static const char *const modules[PROJECTIONS] = {
	[PROJ_Q] = "self_attn.q_proj", [PROJ_K] = "self_attn.k_proj", [PROJ_V] = "self_attn.v_proj", [PROJ_O] = "self_attn.o_proj",
	[PROJ_GATE] = "mlp.gate_proj", [PROJ_UP] = "mlp.up_proj", [PROJ_DOWN] = "mlp.down_proj",
};

/* "q_proj" */
static const char *
short_name(enum projection p)
{
	return strchr(modules[p], '.') + 1;
}

/* ---- the command line ---- */

/* The projection of a name of n characters, "q" or "q_proj"; PROJECTIONS when there is none. */
static enum projection
find(const char *name, size_t n)
{
	enum projection p;

	for (p = 0; p < PROJECTIONS; p++) {
		const char *full = short_name(p);
		size_t whole = strlen(full), brief = whole - strlen("_proj");

		if ((n == whole || n == brief) && memcmp(name, full, n) == 0)
			break;
	}
	return p;
}

static int
parse_targets(struct lora *l, const char *s, struct err *e)
{
	size_t n;

	l->targets = 0;
	if (strcmp(s, "all") == 0) {
		l->targets = (1u << PROJECTIONS) - 1;
		return 0;
	}
	for (;; s += n + 1) {
		enum projection p;

		n = strcspn(s, ",");
		p = find(s, n);
		if (p == PROJECTIONS)
			return err_set(e, "lora: \"%.*s\" is none of q, k, v, o, gate, up, down and all", n < 40 ? (int)n : 40, s);
		l->targets |= 1u << p;
		if (!s[n])
			return 0;
	}
}

int
lora_parse(struct lora *l, const char *text, struct err *e)
{
	size_t rank = strcspn(text, ":"), alpha = text[rank] ? strcspn(text + rank + 1, ":") : 0;
	char number[32];
	struct err why;
	long long r;

	if (!text[rank] || !text[rank + 1 + alpha] || rank >= sizeof number || alpha >= sizeof number)
		return err_set(e, "lora: \"%.80s\" is not r:alpha:targets, as 16:32:q,v or 8:16:all", text);
	snprintf(number, sizeof number, "%.*s", (int)rank, text);
	if (num_int(number, 1, LORA_MAX_RANK, &r, &why) < 0)
		return err_set(e, "lora: r: %s", why.msg);
	snprintf(number, sizeof number, "%.*s", (int)alpha, text + rank + 1);
	if (num_real(number, 1e-6, 1e6, &l->alpha, &why) < 0)
		return err_set(e, "lora: alpha: %s", why.msg);
	l->r = (int)r;
	return parse_targets(l, text + rank + 1 + alpha + 1, e);
}

/* ---- layout: layer by layer, of each adapted projection A and then B ---- */

static int
targets(const struct config *c)
{
	return __builtin_popcount(c->lora.targets);
}

/* The k-th adapted projection of a layer. */
static enum projection
nth(const struct config *c, int k)
{
	enum projection p = 0;

	for (;; p++)
		if (c->lora.targets >> p & 1 && k-- == 0)
			return p;
}

/* Floats of a projection's A (b: B). */
static size_t
floats(const struct config *c, enum projection p, bool b)
{
	int in, out;

	projection_shape(c, p, &out, &in);
	return (size_t)c->lora.r * (b ? out : in);
}

/* Floats before tensor j of a layer. */
static size_t
before(const struct config *c, int j)
{
	size_t n = 0;

	for (int i = 0; i < j; i++)
		n += floats(c, nth(c, i / 2), i % 2);
	return n;
}

int
lora_tensor(const struct config *c, int k, size_t offset, struct tensor_at *t)
{
	int per_layer = 2 * targets(c), in, out;
	enum projection p;

	if (c->lora.r == 0 || k >= c->layers * per_layer)
		return -1;
	p = nth(c, k % per_layer / 2);
	projection_shape(c, p, &out, &in);
	snprintf(t->name, sizeof t->name, "model.layers.%d.%s.lora_%c.weight", k / per_layer, modules[p], "AB"[k % 2]);
	t->ndim = 2;
	t->shape[0] = k % 2 ? out : c->lora.r;
	t->shape[1] = k % 2 ? c->lora.r : in;
	t->count = floats(c, p, k % 2);
	t->offset = offset + k / per_layer * before(c, per_layer) + before(c, k % per_layer);
	return 0;
}

enum projection
lora_place(const struct config *c, int k, int *layer, bool *b)
{
	int per_layer = 2 * targets(c);

	*layer = k / per_layer;
	*b = k % 2;
	return nth(c, k % per_layer / 2);
}

float **
lora_pointer(const struct weights *w, const struct config *c, int k)
{
	int layer;
	bool b;
	enum projection p = lora_place(c, k, &layer, &b);
	struct adapter *ad = &w->layer[layer].lora[p];

	return b ? &ad->b : &ad->a;
}

/* ---- a model with adapters ---- */

static bool
is_adapter(const struct tensor_at *t)
{
	return strstr(t->name, ".lora_") != NULL;
}

/* As many tensors as m->c says; the serving pass, which has none of the adapters, looks for the others where they are now. */
static void
move(struct model *m)
{
	view_free(m);
	weights_extend(&m->w, &m->c);
	view_floats(m);
}

void
lora_attach(struct model *m, const struct lora *l, uint64_t seed)
{
	struct tensor_at t;
	int i;

	m->c.lora = *l;
	move(m);
	for (i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		uint64_t state = seed + 1;
		float *p = m->w.all + t.offset, bound = 1 / sqrtf(t.shape[1]);

		if (!is_adapter(&t))
			continue;
		state = text_random(&state) + i;	/* each tensor its own stream */
		for (size_t j = 0; j < t.count; j++)
			p[j] = strstr(t.name, ".lora_A.") ? ((float)(text_random(&state) >> 40) / (1 << 23) - 1) * bound : 0;
	}
}

static void
merge_one(struct model *m, float *w, const struct adapter *ad, enum projection p)
{
	size_t n = floats(&m->c, p, true);
	float *scaled = xreallocarray(NULL, n, sizeof *scaled);
	int in, out;

	projection_shape(&m->c, p, &out, &in);
	memcpy(scaled, ad->b, n * sizeof *scaled);
	m->ops->scale(m->mach, scaled, lora_scale(&m->c), n);
	m->ops->linear_back(m->mach, w, 1, NULL, NULL, scaled, w, ad->a, out, in, m->c.lora.r);	/* w += scaled A */
	free(scaled);
}

void
lora_merge(struct model *m)
{
	for (int i = 0; i < m->c.layers; i++)
		for (enum projection p = 0; p < PROJECTIONS; p++)
			if (m->w.layer[i].lora[p].a)
				merge_one(m, projection_weight(&m->w.layer[i], p), &m->w.layer[i].lora[p], p);
	m->c.lora.r = 0;
	move(m);
}

/* ---- PEFT's files ---- */

char *
lora_config(const struct config *c, const char *base)
{
	json_t *names = json_array(), *j;
	char *text;

	for (enum projection p = 0; p < PROJECTIONS; p++)
		if (c->lora.targets >> p & 1)
			json_array_append_new(names, json_string(short_name(p)));
	j = json_pack("{ss ss ss ss si sf sf so sb sb sb sn}", "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path", base, "bias", "none",
		      "r", c->lora.r, "lora_alpha", c->lora.alpha, "lora_dropout", 0.0, "target_modules", names, "fan_in_fan_out", 0, "inference_mode", 1,
		      "init_lora_weights", 1, "modules_to_save");
	text = json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (!text)
		die(STATUS_USAGE, "%s: not a name that JSON can hold", base);
	return text;
}

int
lora_save(const struct model *m, const char *dir, enum dtype d, struct err *e)
{
	int n = 2 * PROJECTIONS * m->c.layers, k = 0;
	char (*name)[sizeof(((struct tensor_at *)0)->name) + 32] = xcalloc(n, sizeof *name);
	struct tensor_out *out = xcalloc(n, sizeof *out);
	char path[PATH_MAX];
	struct tensor_at t;
	int rc = -1;

	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++)
		if (is_adapter(&t)) {
			snprintf(name[k], sizeof name[k], "base_model.model.%s", t.name);
			out[k] = (struct tensor_out){ .name = name[k], .ndim = 2, .shape = { t.shape[0], t.shape[1] }, .data = m->w.all + t.offset };
			k++;
		}
	if (snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir) >= (int)sizeof path)
		err_set(e, "%.200s...: path is too long", dir);
	else
		rc = tensors_write(path, out, k, d, e);
	free(name);
	free(out);
	return rc;
}
