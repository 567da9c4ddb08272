/* cudaload.c - see cudaload.h */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cudaload.h"
#include "device_option.h"

static size_t
up(int64_t r)
{
	return ((size_t)r + 7) / 8 * 8;
}

/* How it lies on the device: place.h. */
static void
lay(struct gpu_tensor *t, const struct tensor_at *at)
{
	t->row = t->pitch = t->count = at->count;
	if (t->slot >= LORA_B) {
		t->row = (size_t)at->shape[1];
		t->pitch = up(at->shape[1]);
		t->count = (size_t)at->shape[0] * t->pitch;
	} else if (t->slot >= LORA_A) {
		t->pitch = t->count = up(at->shape[0]) * (size_t)at->shape[1];
	}
}

struct gpu_tensor *
gpu_tensors(const struct config *c, const struct weights *w, const bool *trained, int *n)
{
	struct gpu_tensor *table;
	struct tensor_at at;
	size_t moments = 0;

	for (*n = 0; model_tensor(c, *n, &at) == 0;)
		++*n;
	table = xcalloc((size_t)*n, sizeof *table);
	for (int i = 0; model_tensor(c, i, &at) == 0; i++) {
		struct gpu_tensor *t = &table[i];

		t->slot = model_slot(c, i, &t->layer);
		t->matrix = at.ndim > 1;
		t->trained = !trained || trained[i];
		lay(t, &at);
		t->host = w ? weights_tensor(w, c, i) : NULL;
		t->moments = moments;
		moments += t->trained ? at.count : 0;
		snprintf(t->name, sizeof t->name, "%s", at.name);
	}
	return table;
}

/* Where sa-cuda.so is: the environment's, or beside the executable. */
static int
find(char path[PATH_MAX + 16], struct err *e)
{
	const char *own = getenv("SA_CUDA");
	ssize_t n;

	if (own && *own) {
		snprintf(path, PATH_MAX, "%s", own);
		return access(path, F_OK) == 0 ? 0 : err_set(e, "--device cuda: SA_CUDA=%s is not there", path);
	}
	n = readlink("/proc/self/exe", path, PATH_MAX);
	while (n > 0 && path[n - 1] != '/')
		n--;
	strcpy(path + (n > 0 ? n : 0), "sa-cuda.so");
	return access(path, F_OK) == 0 ? 0 : err_set(e, "--device cuda: %s is not there: `make cuda` builds it where CUDA is installed", path);
}

static cuda_engine_fn *
load(char path[PATH_MAX + 16], struct err *e)
{
	cuda_engine_fn *make = NULL;
	void *lib;

	if (find(path, e) < 0)
		return NULL;
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);	/* for as long as the process is there */
	if (lib)
		make = (cuda_engine_fn *)dlsym(lib, "cuda_engine");
	if (!make)
		err_set(e, "--device cuda: %s", dlerror());
	return make;
}

/* All parts that are this rank's, the caller's to free; *n of them. */
static struct own *
own_parts(const struct zero *z, int *n)
{
	struct own *all = NULL, part;

	*n = 0;
	for (size_t at = 0; zero_own(z, at, z->n, &part); at = part.at + part.n) {
		all = xrealloc(all, (size_t)(*n + 1) * sizeof *all);
		all[(*n)++] = part;
	}
	return all;
}

struct engine *
gpu_engine(struct model *m, struct optim *o, const bool *trained, int tokens, const struct device *d, int recompute, struct err *e)
{
	struct cuda_start s = { .only = recompute != 0, .device = d->index, .inv_freq = m->inv_freq, .optim = o, .comm = o->zero.comm };
	struct own *own;
	struct engine *en = NULL;
	struct gpu_tensor *table;
	char path[PATH_MAX + 16];
	cuda_engine_fn *make;
	char *tuned;
	struct err why;

	make = load(path, e);
	if (!make)
		return NULL;
	table = gpu_tensors(&m->c, &m->w, trained, &s.run.count);
	own = own_parts(&o->zero, &s.own_count);
	s.own = own;
	s.run.c = &m->c;
	s.run.tensors = table;
	s.run.tokens = tokens;
	s.run.keep = recompute ? (enum keep)(recompute - 1) : KEEP_ALL;
	s.limit = d->memory > CUDA_CONTEXT ? (size_t)d->memory - CUDA_CONTEXT : d->memory > 0 ? 1 : 0;
	s.tuned = tuned = device_option_tuned();
	s.say = warn;
	en = make(CUDA_VERSION, &s, &why);
	free(tuned);
	if (!en)
		err_set(e, "%s%s%s", strncmp(why.msg, "--", 2) == 0 ? "" : path, strncmp(why.msg, "--", 2) == 0 ? "" : ": ", why.msg);
	free(own);
	free(table);
	return en;
}
