/* load.c - see load.h */

#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "line.h"

char *
path_join(const char *dir, const char *name)
{
	struct buf b = BUF_INIT(65536);

	if (buf_addf(&b, "%s/%s", dir, name) < 0)
		die(STATUS_USAGE, "%s: the path is too long", dir);
	return buf_take(&b);
}

json_t *
load_object(const char *path, struct err *e)
{
	json_error_t je;
	json_t *o = json_load_file(path, 0, &je);

	if (json_is_object(o))
		return o;
	if (o)
		err_set(e, "%s:1: not an object", path);
	else if (je.line < 0)
		err_set(e, "%s: %s", path, je.text);
	else
		err_set(e, "%s:%d: %s", path, je.line, je.text);
	json_decref(o);
	return NULL;
}

static int
each_line(struct lines *l, const char *path, int (*take)(void *arg, json_t *o, size_t at, struct err *e), void *arg, struct err *e)
{
	char *line;
	size_t n;
	int got, too_long;

	while ((got = lines_next(l, &line, &n, &too_long, e)) > 0) {
		json_error_t je = { .text = "the line is too long" };
		json_t *o = too_long ? NULL : json_loadb(line, n, JSON_ALLOW_NUL, &je);
		struct err why;
		int rc;

		if (!json_is_object(o)) {
			err_set(e, "%s:%zu: %s", path, lines_at(l), o ? "not an object" : je.text);
			json_decref(o);
			return -1;
		}
		rc = take(arg, o, lines_at(l), &why);
		json_decref(o);
		if (rc < 0)
			return err_set(e, "%s:%zu: %s", path, lines_at(l), why.msg);
	}
	return got < 0 ? -1 : 1;
}

int
load_lines(const char *path, int (*take)(void *arg, json_t *o, size_t at, struct err *e), void *arg, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	struct lines *l;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	l = lines_open(fd, path, LINE_MAX_DEFAULT);
	rc = each_line(l, path, take, arg, e);
	lines_free(l);
	close(fd);
	return rc;
}

static int
visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

int
list_dir(const char *path, char ***names, size_t *n, struct err *e)
{
	struct dirent **found;
	int got = scandir(path, &found, visible, versionsort);

	*names = NULL;
	*n = 0;
	if (got < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_set(e, "%s: %s", path, strerror(errno));
	*names = xcalloc((size_t)got + 1, sizeof **names);
	for (; *n < (size_t)got; ++*n) {
		(*names)[*n] = xstrdup(found[*n]->d_name);
		free(found[*n]);
	}
	free(found);
	return 0;
}

void
list_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

void
numbers_add(struct numbers *x, double v)
{
	if (x->n == x->cap) {
		x->cap = x->cap ? 2 * x->cap : 1024;
		x->v = xreallocarray(x->v, x->cap, sizeof *x->v);
	}
	x->v[x->n++] = v;
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void
numbers_sort(struct numbers *x)
{
	if (x->n)
		qsort(x->v, x->n, sizeof *x->v, ascending);
}

double
numbers_quantile(const struct numbers *x, double q)
{
	size_t at = (size_t)(q * (double)x->n);

	return x->v[at < x->n ? at : x->n - 1];
}
