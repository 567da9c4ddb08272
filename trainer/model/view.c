/* view.c - the weights as the serving pass reads them: over a model's floats, or over a mapped checkpoint */
#include <stddef.h>
#include <stdlib.h>

#include "layout.h"

static size_t
layer_field(enum slot s)
{
	static const size_t field[PER_LAYER] = {
#define AT(member) offsetof(struct view_layer, member)
		[LN1] = AT(ln1), [WQ] = AT(wq), [BQ] = AT(bq), [QNORM] = AT(qnorm), [WK] = AT(wk), [BK] = AT(bk), [KNORM] = AT(knorm), [WV] = AT(wv),
		[BV] = AT(bv), [WO] = AT(wo), [LN2] = AT(ln2), [WGATE] = AT(wgate), [WUP] = AT(wup), [WDOWN] = AT(wdown),
#undef AT
	};

	return field[s];
}

static struct matrix *
matrix_of(struct view *v, const struct config *c, int i)
{
	int layer;
	enum slot s = model_slot(c, i, &layer);

	if (layer < 0)
		return s == EMBED ? &v->embed : &v->head;
	return (struct matrix *)((char *)&v->layer[layer] + layer_field(s));
}

static const float **
vector_of(struct view *v, const struct config *c, int i)
{
	int layer;
	enum slot s = model_slot(c, i, &layer);

	return layer < 0 ? &v->norm : (const float **)((char *)&v->layer[layer] + layer_field(s));
}

static void
finish(struct view *v, const struct config *c)
{
	if (c->tied)
		v->head = v->embed;
}

void
view_floats(struct model *m)
{
	int n = model_tensors(&m->c), i;
	struct tensor_at t;

	m->v.layer = xcalloc(m->c.layers, sizeof *m->v.layer);
	for (i = 0; i < n && model_tensor(&m->c, i, &t) == 0; i++) {
		float *w = weights_tensor(&m->w, &m->c, i);

		if (t.ndim == 2)
			*matrix_of(&m->v, &m->c, i) = (struct matrix){ .dtype = DT_F32, .N = t.shape[0], .K = t.shape[1], .rows = w };
		else
			*vector_of(&m->v, &m->c, i) = w;
	}
	finish(&m->v, &m->c);
}

static size_t
vector_floats(const struct config *c)
{
	struct tensor_at t;
	size_t n = 0;
	int i;

	for (i = 0; model_tensor(c, i, &t) == 0; i++)
		n += t.ndim == 1 ? t.count : 0;
	return n;
}

void
view_file(struct model *m, enum weights_as as)
{
	struct view *v = &m->v;
	struct tensor_at t;
	float *at;
	int i;

	v->layer = xcalloc(m->c.layers, sizeof *v->layer);
	at = v->vectors = xcalloc(vector_floats(&m->c), sizeof *at);
	for (i = 0; model_tensor(&m->c, i, &t) == 0; i++) {
		const struct tensor *f = tensors_find(m->file, t.name);

		if (t.ndim == 2) {
			*matrix_of(v, &m->c, i) = (struct matrix){ .dtype = f->dtype, .wide = as == WEIGHTS_F32, .N = t.shape[0], .K = t.shape[1], .rows = f->data };
		} else {
			to_float(at, f->data, f->dtype, t.count);
			*vector_of(v, &m->c, i) = at;
			at += t.count;
		}
	}
	finish(v, &m->c);
}

void
view_free(struct model *m)
{
	free(m->v.layer);
	free(m->v.vectors);
	tensors_close(m->file);
}

struct model *
model_open(const char *dir, enum weights_as as, const struct ops *ops, struct mach *mach, struct err *e)
{
	struct model *m = xcalloc(1, sizeof *m);

	m->ops = ops;
	m->mach = mach;
	if (config_read(&m->c, dir, e) < 0 || !(m->file = tensors_open(dir, e)) || model_check(&m->c, dir, m->file, e) < 0) {
		model_free(m);
		return NULL;
	}
	view_file(m, as);
	m->inv_freq = xcalloc(m->c.head_dim / 2, sizeof *m->inv_freq);
	config_inv_freq(&m->c, m->inv_freq);
	return m;
}
