/* results.c - see results.h */

#include "results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_MAX ((size_t)4 << 30)

static char *
join(const char *dir, const char *name)
{
	struct buf b = BUF_INIT(65536);

	if (buf_addf(&b, "%s/%s", dir, name) < 0)
		die(STATUS_USAGE, "%s: the path is too long", dir);
	return buf_take(&b);
}

/* mkdir -p */
static int
make_dir(const char *dir, struct err *e)
{
	char *path = xstrdup(dir);
	int rc = 0;

	for (char *p = path + 1; rc == 0; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0777) < 0 && errno != EEXIST)
			rc = err_set(e, "%s: cannot make the directory: %s", path, strerror(errno));
		*p = c;
		if (!c)
			break;
	}
	free(path);
	return rc;
}

/* Take in one whole line of the file. */
static int
add_line(struct results *r, const char *line, size_t n, size_t at, struct err *e)
{
	json_error_t je;
	json_t *o = json_loadb(line, n, 0, &je);
	const char *id = json_string_value(json_object_get(o, "id"));

	if (!o || !id) {
		err_set(e, "%s:%zu: %s", r->path, at, o ? "no result of this program: it has no id" : je.text);
		json_decref(o);
		return -1;
	}
	json_object_set_new(r->by_id, id, o);
	return 0;
}

static int
read_lines(struct results *r, struct err *e)
{
	struct buf b = BUF_INIT(FILE_MAX);
	size_t at = 0, line = 0;
	char *end;
	int rc = -1;

	if (buf_read_file(&b, r->path, e) < 0)
		goto out;
	for (; b.n > at && (end = memchr(b.p + at, '\n', b.n - at)); at = (size_t)(end - b.p) + 1)
		if (add_line(r, b.p + at, (size_t)(end - b.p) - at, ++line, e) < 0)
			goto out;
	if (at < b.n && ftruncate(r->fd, (off_t)at) < 0) {
		err_set(e, "%s: cannot cut the half line at its end: %s", r->path, strerror(errno));
		goto out;
	}
	rc = 0;
out:
	buf_free(&b);
	return rc;
}

int
results_open(struct results *r, const char *dir, const char *name, struct err *e)
{
	*r = (struct results){ .fd = -1, .by_id = json_object(), .path = join(dir, name) };
	if (make_dir(dir, e) < 0)
		return -1;
	r->fd = open(r->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (r->fd < 0)
		return err_set(e, "%s: %s", r->path, strerror(errno));
	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, "%s: another sa-eval is writing it", r->path);
	return read_lines(r, e);
}

void
results_close(struct results *r)
{
	if (r->fd >= 0)
		close(r->fd);
	json_decref(r->by_id);
	free(r->path);
}

json_t *
results_get(const struct results *r, const char *id)
{
	return json_object_get(r->by_id, id);
}

/* ---- the run ---- */

struct link {
	struct results *r;
	struct feed *feed;
};

static int
next_line(void *arg, char **p, size_t *n, struct err *e)
{
	struct feed *f = ((struct link *)arg)->feed;

	(void)e;
	if (f->at == f->n)
		return 0;
	*p = f->v[f->at++];
	*n = strlen(*p);
	return 1;
}

static int
write_all(struct results *r, const char *line, size_t n)
{
	while (n) {
		ssize_t k = write(r->fd, line, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			snprintf(r->error, sizeof r->error, "%s: %s", r->path, strerror(errno));
			return -1;
		}
		line += k;
		n -= (size_t)k;
	}
	return 0;
}

int
results_put(struct results *r, json_t *o, struct err *e)
{
	char *text = json_dumps(o, JSON_COMPACT);
	struct buf line = BUF_INIT(BUF_MAX_TEXT);
	int rc;

	buf_addf(&line, "%s\n", text);
	rc = write_all(r, line.p, line.n);
	if (rc < 0)
		err_set(e, "%s", r->error);
	json_object_set_new(r->by_id, json_string_value(json_object_get(o, "id")), o);
	buf_free(&line);
	free(text);
	return rc;
}

static int
take_line(void *arg, const char *line, size_t n)
{
	struct results *r = ((struct link *)arg)->r;
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *id = json_string_value(json_object_get(o, "id"));
	int rc = 0;

	if (!id || json_object_get(o, "sa_error")) {
		json_decref(o);
		return 0;
	}
	rc = write_all(r, line, n);
	json_object_set_new(r->by_id, id, o);
	return rc;
}

int
results_run(struct results *r, const struct filter *f, const struct run *run, struct feed *feed)
{
	struct link link = { r, feed };
	struct run mine = *run;
	int status;

	if (feed->n == 0)
		return STATUS_OK;
	mine.next = next_line;
	mine.write = take_line;
	mine.arg = &link;
	status = filter_run(f, &mine);
	if (r->error[0])
		warn("%s", r->error);
	return status;
}

/* ---- settings and small files ---- */

int
write_file(const char *dir, const char *name, const char *text, size_t n, struct err *e)
{
	char *path = join(dir, name), *tmp = join(dir, ".tmp");
	FILE *f = fopen(tmp, "we");
	int rc = 0;

	if (!f)
		rc = err_set(e, "%s: %s", tmp, strerror(errno));
	if (f && (fwrite(text, 1, n, f) != n) | (fclose(f) != 0))
		rc = err_set(e, "%s: %s", tmp, strerror(errno));
	if (rc == 0 && rename(tmp, path) < 0)
		rc = err_set(e, "%s: %s", path, strerror(errno));
	free(path);
	free(tmp);
	return rc;
}

/* The first member of `now` that `then` has otherwise, as a message. */
static int
differs(const char *dir, const char *name, json_t *then, json_t *now, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach(now, key, value) {
		json_t *old = json_object_get(then, key);
		char *a, *b;

		if (old && json_equal(old, value))
			continue;
		a = json_is_null(old) ? NULL : json_dumps(old, JSON_ENCODE_ANY);
		b = json_is_null(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
		err_set(e, "%s/%s was made with %s %s, now it is %s: remove it or give another --out", dir, name, key, a ? a : "unset",
			b ? b : "unset");
		free(a);
		free(b);
		return -1;
	}
	return 0;
}

int
settings_check(const char *dir, const char *name, json_t *settings, struct err *e)
{
	char *path = join(dir, "settings.json"), *text = NULL, *results = join(dir, name);
	json_error_t je;
	json_t *all = NULL, *then;
	struct stat st;
	int rc = 0;

	if (access(path, F_OK) < 0)
		all = json_object();
	else
		all = json_load_file(path, 0, &je);
	if (!json_is_object(all)) {
		rc = err_set(e, "%s:%d: %s", path, je.line, all ? "not an object" : je.text);
		goto out;
	}
	then = json_object_get(all, name);
	/* A results file that was removed, or never got a line, binds nothing. */
	if (then && stat(results, &st) == 0 && st.st_size > 0) {
		rc = differs(dir, name, then, settings, e);
		goto out;
	}
	json_object_set(all, name, settings);
	text = json_dumps(all, JSON_INDENT(1));
	rc = write_file(dir, "settings.json", text, strlen(text), e);
out:
	free(text);
	free(path);
	free(results);
	json_decref(all);
	json_decref(settings);
	return rc;
}

int
hash_file(const char *path, char out[17], struct err *e)
{
	struct buf b = BUF_INIT((size_t)1 << 30);

	if (buf_read_file(&b, path, e) < 0)
		return -1;
	snprintf(out, 17, "%016llx", (unsigned long long)XXH3_64bits(b.p, b.n));
	buf_free(&b);
	return 0;
}
