/* samples.c - the questions of a benchmark, and the lines made of them: see eval.h */

#include <stdlib.h>
#include <string.h>

#include "eval.h"

void
samples_add(struct samples *l, const struct sample *s)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 256;
		l->v = xreallocarray(l->v, l->cap, sizeof *l->v);
	}
	l->v[l->n++] = *s;
}

void
sample_free(struct sample *s)
{
	free(s->id);
	free(s->prompt);
	for (size_t i = 0; i < s->noptions; i++)
		free(s->options[i]);
}

void
samples_free(struct samples *l)
{
	for (size_t i = 0; i < l->n; i++)
		sample_free(&l->v[i]);
	free(l->v);
	*l = (struct samples){ 0 };
}

static size_t
categories(const struct samples *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		if ((size_t)l->v[i].category >= n)
			n = (size_t)l->v[i].category + 1;
	return n;
}

/* How many samples each category may keep: dealt out one at a time, first category first. */
static void
deal(const struct samples *l, size_t *quota, size_t n, size_t limit)
{
	size_t *have = xcalloc(n, sizeof *have), given = 0, before;

	for (size_t i = 0; i < l->n; i++)
		have[l->v[i].category]++;
	do {
		before = given;
		for (size_t c = 0; c < n && given < limit; c++)
			if (quota[c] < have[c]) {
				quota[c]++;
				given++;
			}
	} while (given > before);
	free(have);
}

void
samples_limit(struct samples *l, size_t limit)
{
	size_t n = categories(l), kept = 0, *quota;

	if (limit == 0 || limit >= l->n)
		return;
	quota = xcalloc(n, sizeof *quota);
	deal(l, quota, n, limit);
	for (size_t i = 0; i < l->n; i++) {
		if (quota[l->v[i].category]) {
			quota[l->v[i].category]--;
			l->v[kept++] = l->v[i];
		} else {
			sample_free(&l->v[i]);
		}
	}
	l->n = kept;
	free(quota);
}

int
samples_check_ids(const struct samples *l, const char *path, struct err *e)
{
	json_t *seen = json_object();
	int rc = 0;

	for (size_t i = 0; i < l->n && rc == 0; i++) {
		if (json_object_get(seen, l->v[i].id))
			rc = err_set(e, "%s: id %s is there twice", path, l->v[i].id);
		json_object_set_new(seen, l->v[i].id, json_true());
	}
	json_decref(seen);
	return rc;
}

void
feed_add(struct feed *f, char *line)
{
	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 256;
		f->v = xreallocarray(f->v, f->cap, sizeof *f->v);
	}
	f->v[f->n++] = line;
}

void
feed_free(struct feed *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i]);
	free(f->v);
	*f = (struct feed){ 0 };
}
