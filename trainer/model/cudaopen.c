/* cudaopen.c - see cudaopen.h */
#include "cudaopen.h"

#include <stdlib.h>
#include <string.h>

#include "serving.h"
#include "plugin.h"

static const struct plugin cuda = { .file = "sa-cuda.so", .variable = "SA_CUDA", .symbol = "cuda_serving", .made = "by `make cuda` where CUDA is installed" };

/* The tensors as they lie in the checkpoint's files, or in the model's floats. The caller's. */
static struct serving_tensor *
tensors_of(const struct model *m, int *n)
{
	struct serving_tensor *table = xcalloc(model_tensors(&m->c), sizeof *table);
	struct tensor_at at;

	*n = model_tensors(&m->c);
	for (int i = 0; i < *n && model_tensor(&m->c, i, &at) == 0; i++) {
		const struct tensor *f = m->file ? tensors_find(m->file, at.name) : NULL;
		struct serving_tensor *t = &table[i];

		t->slot = model_slot(&m->c, i, &t->layer);
		t->count = at.count;
		t->dtype = f ? f->dtype : DT_F32;
		t->data = f ? f->data : weights_tensor(&m->w, &m->c, i);
	}
	return table;
}

static void
drop_pages(const struct model *m)
{
	for (size_t i = 0; m->file && i < tensors_count(m->file); i++)
		tensor_drop_pages(tensors_at(m->file, i));
}

/* CUDA's context is not of the memory that is given as a card's. */
static size_t
limit_of(const struct device_option *d)
{
	return d->memory > CUDA_CONTEXT ? (size_t)d->memory - CUDA_CONTEXT : d->memory > 0 ? 1 : 0;
}

int
cuda_open(struct model *m, const struct cuda_wish *w, struct err *e)
{
	struct serving_start s = { .c = m->c, .inv_freq = m->inv_freq, .device = w->device.index, .limit = limit_of(&w->device), .kv_bytes = w->kv_bytes,
				   .tokens = w->tokens < KV_PAGE ? KV_PAGE : w->tokens, .sequences = w->sequences, .context = w->context };
	struct serving_tensor *table;
	cuda_serving_fn *make;
	char *tuned;
	struct err why;

	make = (cuda_serving_fn *)plugin_load(&cuda, &why);
	if (!make)
		return err_set(e, "--device cuda: %s", why.msg);
	s.tensors = table = tensors_of(m, &s.count);
	s.tuned = tuned = device_option_tuned();
	s.say = warn;
	m->device = make(SERVING_VERSION, &s, &why);
	free(tuned);
	free(table);
	if (!m->device)
		return err_set(e, "%s%s", strncmp(why.msg, "--", 2) == 0 ? "" : "--device cuda: ", why.msg);
	drop_pages(m);
	return 0;
}
