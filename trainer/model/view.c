/* view.c - the weights as the serving pass reads them: over a model's floats, or over a mapped checkpoint */
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "layout.h"
#include "mach.h"

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

static void
view_file(struct model *m, bool wide)
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
			*matrix_of(v, &m->c, i) = (struct matrix){ .dtype = f->dtype, .wide = wide, .N = t.shape[0], .K = t.shape[1], .rows = f->data };
		} else {
			to_float(at, f->data, f->dtype, t.count);
			*vector_of(v, &m->c, i) = at;
			at += t.count;
		}
	}
	finish(v, &m->c);
}

/* ---- conversion ---- */

struct conversion {
	struct matrix from, to;
	struct mach *mach;
};

static void
convert_rows(void *arg, int part, int parts)
{
	const struct conversion *c = arg;
	size_t n, end, K = c->to.K;
	float *row = mach_scratch(c->mach, part, K);

	for (mach_range(c->to.N, 1, part, parts, &n, &end); n < end; n++) {
		char *to = (char *)c->to.rows + n * K * dtype_size(c->to.dtype);

		matrix_floats(row, &c->from, n, 0, K);
		if (c->to.dtype == DT_INT8)
			matrix_quantise((signed char *)to, (float *)c->to.scale + n * matrix_groups(K), row, K);
		else
			from_float(to, row, c->to.dtype, K);
	}
}

/* Room for a matrix as d: rows, then scales, each from a line of the cache on. */
static size_t
room(const struct matrix *w, enum dtype d)
{
	size_t rows = (size_t)w->N * w->K * dtype_size(d), scales = d == DT_INT8 ? w->N * matrix_groups(w->K) * sizeof(float) : 0;

	return (rows + 63) / 64 * 64 + (scales + 63) / 64 * 64;
}

static void
convert(struct mach *mach, struct matrix *w, enum dtype d, char *to)
{
	struct conversion c = { .from = *w, .to = *w, .mach = mach };

	c.to.dtype = d;
	c.to.rows = to;
	c.to.scale = d == DT_INT8 ? (float *)(to + ((size_t)w->N * w->K + 63) / 64 * 64) : NULL;
	mach_run(mach, convert_rows, &c);
	*w = c.to;
}

/* The matrix that tensor i is multiplied as; NULL: as none (a vector; the table of tokens). The head of a tied model is a matrix of its own. */
static struct matrix *
multiplied(struct model *m, const struct tensor_at *t, int i)
{
	if (t->ndim < 2 || (i == 0 && !m->c.tied))
		return NULL;
	return i == 0 ? &m->v.head : matrix_of(&m->v, &m->c, i);
}

static int
convert_all(struct model *m, enum dtype d, struct err *e)
{
	struct view *v = &m->v;
	struct tensor_at t;
	struct matrix *w;
	char *at;
	int i;

	for (i = 0; model_tensor(&m->c, i, &t) == 0; i++)
		if ((w = multiplied(m, &t, i)) && w->dtype != d)
			v->converted_bytes += room(w, d);
	if (v->converted_bytes == 0)
		return 0;
	at = mmap(NULL, v->converted_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return err_set(e, "no memory for %zu MiB of converted weights", v->converted_bytes >> 20);
	v->converted = at;
	madvise(at, v->converted_bytes, MADV_HUGEPAGE);
	for (i = 0; model_tensor(&m->c, i, &t) == 0; i++)
		if ((w = multiplied(m, &t, i)) && w->dtype != d) {
			size_t bytes = room(w, d);

			convert(m->mach, w, d, at);
			at += bytes;
			tensor_drop_pages(tensors_find(m->file, t.name));
		}
	return 0;
}

void
view_free(struct model *m)
{
	free(m->v.layer);
	free(m->v.vectors);
	if (m->v.converted)
		munmap(m->v.converted, m->v.converted_bytes);
	tensors_close(m->file);
}

struct model *
model_open(const char *dir, enum weights_as as, struct mach *mach, struct err *e)
{
	struct model *m = xcalloc(1, sizeof *m);

	m->mach = mach;
	if (config_read(&m->c, dir, e) < 0 || !(m->file = tensors_open(dir, e)) || model_check(&m->c, dir, m->file, e) < 0) {
		model_free(m);
		return NULL;
	}
	view_file(m, as == WEIGHTS_F32);
	if ((as == WEIGHTS_BF16 && convert_all(m, DT_BF16, e) < 0) || (as == WEIGHTS_INT8 && convert_all(m, DT_INT8, e) < 0)) {
		model_free(m);
		return NULL;
	}
	m->ops = ops_cpu_for(&m->v.layer[0].wk);
	m->inv_freq = xcalloc(m->c.head_dim / 2, sizeof *m->inv_freq);
	config_inv_freq(&m->c, m->inv_freq);
	return m;
}
