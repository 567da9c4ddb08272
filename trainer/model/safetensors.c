/* safetensors.c - tensors of a checkpoint, mapped; every number of the file is checked before it is used */
#include "safetensors.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "mapping.h"

#define MAX_HEADER ((uint64_t)100 << 20)	/* the reference implementation's limit */
#define MAX_INDEX ((size_t)100 << 20)
#define MAX_SHARDS 4096

struct tensors {
	struct mapping **maps;
	size_t nmaps;
	struct tensor *v;	/* sorted by name */
	size_t n, cap;
};

static const char *const dtypes[] = { [DT_F32] = "F32", [DT_F16] = "F16", [DT_BF16] = "BF16" };

static uint64_t
le64(const uint8_t *p)
{
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* ---- one file's header ---- */

struct header {
	const char *path;
	const uint8_t *data;	/* after the header */
	size_t size;		/* bytes of data */
	struct err *e;
};

static int
read_dtype(const struct header *h, const char *name, const json_t *o, enum dtype *out)
{
	const char *s = json_string_value(json_object_get(o, "dtype"));
	size_t i;

	for (i = 0; s && i < sizeof dtypes / sizeof *dtypes; i++)
		if (strcmp(s, dtypes[i]) == 0) {
			*out = i;
			return 0;
		}
	return err_set(h->e, "%s: tensor %s: dtype %s is not supported (F32, F16 and BF16 are)", h->path, name, s ? s : "(none)");
}

static int
read_shape(const struct header *h, const char *name, const json_t *o, struct tensor *t)
{
	const json_t *shape = json_object_get(o, "shape"), *dim;
	size_t i, count = 1;

	if (!json_is_array(shape) || json_array_size(shape) > 4)
		return err_set(h->e, "%s: tensor %s: shape must be a list of at most 4 sizes", h->path, name);
	json_array_foreach(shape, i, dim) {
		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return err_set(h->e, "%s: tensor %s: shape holds something that is no size", h->path, name);
		t->shape[i] = json_integer_value(dim);
		if (__builtin_mul_overflow(count, (size_t)t->shape[i], &count))
			return err_set(h->e, "%s: tensor %s: shape overflows", h->path, name);
	}
	t->ndim = json_array_size(shape);
	t->count = count;
	return 0;
}

static int
read_offsets(const struct header *h, const char *name, const json_t *o, struct tensor *t)
{
	const json_t *pair = json_object_get(o, "data_offsets"), *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
	json_int_t from = json_integer_value(a), to = json_integer_value(b);
	size_t bytes;

	if (json_array_size(pair) != 2 || !json_is_integer(a) || !json_is_integer(b) || from < 0 || to < from)
		return err_set(h->e, "%s: tensor %s: data_offsets must be two ascending offsets", h->path, name);
	if ((uint64_t)to > h->size)
		return err_set(h->e, "%s: tensor %s: data_offsets %lld..%lld lie past the end of the file (%zu bytes of data)", h->path, name, (long long)from,
			       (long long)to, h->size);
	if (__builtin_mul_overflow(t->count, dtype_size(t->dtype), &bytes) || bytes != (size_t)(to - from))
		return err_set(h->e, "%s: tensor %s: shape and data_offsets do not match (%zu elements in %lld bytes)", h->path, name, t->count,
			       (long long)(to - from));
	t->data = h->data + from;
	return 0;
}

static int
add_tensor(struct tensors *all, const struct header *h, const char *name, const json_t *o)
{
	struct tensor t = { 0 };

	if (read_dtype(h, name, o, &t.dtype) < 0 || read_shape(h, name, o, &t) < 0 || read_offsets(h, name, o, &t) < 0)
		return -1;
	if (all->n == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 64;
		all->v = xreallocarray(all->v, all->cap, sizeof *all->v);
	}
	t.name = xstrdup(name);
	all->v[all->n++] = t;
	return 0;
}

static int
by_data(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->data != y->data)
		return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
	return (x->count > y->count) - (x->count < y->count);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static void
sort(struct tensor *v, size_t n, int (*by)(const void *, const void *))
{
	if (n > 1)
		qsort(v, n, sizeof *v, by);
}

static int
check_overlaps(const struct header *h, struct tensor *v, size_t n)
{
	size_t i;

	sort(v, n, by_data);
	for (i = 1; i < n; i++) {
		const uint8_t *end = (const uint8_t *)v[i - 1].data + v[i - 1].count * dtype_size(v[i - 1].dtype);

		if ((const uint8_t *)v[i].data < end)
			return err_set(h->e, "%s: tensor %s: its data overlaps that of %s", h->path, v[i].name, v[i - 1].name);
	}
	return 0;
}

static int
read_header(struct tensors *all, const struct mapping *m, struct err *e)
{
	uint64_t n = le64(m->p);
	struct header h = { .path = m->path, .e = e };
	size_t first = all->n;
	json_error_t je;
	const char *name;
	json_t *root, *o;
	int rc = -1;

	if (n > MAX_HEADER || n > m->n - 8)
		return err_set(e, "%s: header of %llu bytes does not fit in the file", m->path, (unsigned long long)n);
	root = json_loadb((const char *)m->p + 8, n, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(root)) {
		err_set(e, "%s: header is not a JSON object: %s", m->path, root ? "another type" : je.text);
		goto out;
	}
	h.data = m->p + 8 + n;
	h.size = m->n - 8 - n;
	json_object_foreach(root, name, o)
		if (strcmp(name, "__metadata__") != 0 && add_tensor(all, &h, name, o) < 0)
			goto out;
	rc = all->n > first ? check_overlaps(&h, all->v + first, all->n - first) : 0;
out:
	json_decref(root);
	return rc;
}

/* ---- a checkpoint: one file, or an index and its shards ---- */

static int
open_file(struct tensors *t, const char *path, struct err *e)
{
	t->maps = xreallocarray(t->maps, t->nmaps + 1, sizeof *t->maps);
	t->maps[t->nmaps] = mapping_open(path, e);
	if (!t->maps[t->nmaps])
		return -1;
	return read_header(t, t->maps[t->nmaps++], e);
}

static int
open_shard(struct tensors *t, const char *dir, const char *index, const char *file, struct err *e)
{
	char path[PATH_MAX];
	size_t i;

	if (!file || !*file || strchr(file, '/'))
		return err_set(e, "%s: weight_map must name files beside it, not \"%s\"", index, file ? file : "");
	if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
		return err_set(e, "%s: path of a shard is too long", index);
	for (i = 0; i < t->nmaps; i++)
		if (strcmp(t->maps[i]->path, path) == 0)
			return 0;
	if (t->nmaps == MAX_SHARDS)
		return err_set(e, "%s: more than %d shards", index, MAX_SHARDS);
	return open_file(t, path, e);
}

static int
check_names(const struct tensors *t, const char *dir, struct err *e)
{
	size_t i;

	for (i = 1; i < t->n; i++)
		if (strcmp(t->v[i - 1].name, t->v[i].name) == 0)
			return err_set(e, "%s: tensor %s: in two shards", dir, t->v[i].name);
	return 0;
}

/* The mapping that a tensor's data lies in, by the file's name. */
static const char *
shard_of(const struct tensors *t, const struct tensor *one)
{
	const uint8_t *data = one->data;
	size_t i = 0;

	while (i + 1 < t->nmaps && !(data > t->maps[i]->p && data <= t->maps[i]->p + t->maps[i]->n))
		i++;
	return strrchr(t->maps[i]->path, '/') + 1;
}

/* Where the index says they are: an index and shards that do not belong together are two checkpoints' files. */
static int
check_places(const struct tensors *t, const char *index, const json_t *map, struct err *e)
{
	const char *name, *found;
	json_t *file;

	json_object_foreach((json_t *)map, name, file) {
		const struct tensor *one = tensors_find(t, name);

		if (!one)
			return err_set(e, "%s: tensor %s: not in %s", index, name, json_string_value(file));
		found = shard_of(t, one);
		if (strcmp(found, json_string_value(file)) != 0)
			return err_set(e, "%s: tensor %s: not in %s but in %s", index, name, json_string_value(file), found);
	}
	return 0;
}

static int
open_shards(struct tensors *t, const char *dir, const char *index, const json_t *map, struct err *e)
{
	const char *name;
	json_t *file;

	json_object_foreach((json_t *)map, name, file)
		if (open_shard(t, dir, index, json_string_value(file), e) < 0)
			return -1;
	sort(t->v, t->n, by_name);
	return check_names(t, dir, e) < 0 ? -1 : check_places(t, index, map, e);
}

static int
open_index(struct tensors *t, const char *dir, const char *index, struct err *e)
{
	struct buf b = BUF_INIT(MAX_INDEX);
	json_error_t je;
	json_t *root = NULL, *map;
	int rc = -1;

	if (buf_read_file(&b, index, e) < 0)
		goto out;
	root = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, &je);
	map = json_object_get(root, "weight_map");
	if (!json_is_object(map))
		err_set(e, "%s: %s", index, root ? "no weight_map" : je.text);
	else
		rc = open_shards(t, dir, index, map, e);
out:
	json_decref(root);
	buf_free(&b);
	return rc;
}

struct tensors *
tensors_open(const char *dir, struct err *e)
{
	struct tensors *t = xcalloc(1, sizeof *t);
	char one[PATH_MAX], index[PATH_MAX];
	int rc;

	if (snprintf(one, sizeof one, "%s/model.safetensors", dir) >= (int)sizeof one ||
	    snprintf(index, sizeof index, "%s/model.safetensors.index.json", dir) >= (int)sizeof index)
		rc = err_set(e, "%.200s...: path is too long", dir);
	else if (access(one, F_OK) < 0 && access(index, F_OK) == 0)
		rc = open_index(t, dir, index, e);
	else
		rc = open_file(t, one, e);
	if (rc == 0) {
		sort(t->v, t->n, by_name);
		rc = check_names(t, dir, e);
	}
	if (rc == 0)
		return t;
	tensors_close(t);
	return NULL;
}

void
tensors_close(struct tensors *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->nmaps; i++)
		mapping_close(t->maps[i]);
	for (i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->maps);
	free(t->v);
	free(t);
}

const struct tensor *
tensors_find(const struct tensors *t, const char *name)
{
	struct tensor key = { .name = (char *)name };

	return t->n ? bsearch(&key, t->v, t->n, sizeof *t->v, by_name) : NULL;
}

size_t
tensors_count(const struct tensors *t)
{
	return t->n;
}

const struct tensor *
tensors_at(const struct tensors *t, size_t i)
{
	return &t->v[i];
}

struct mapping *
tensors_mapping(const struct tensors *t, size_t i)
{
	return i < t->nmaps ? t->maps[i] : NULL;
}
