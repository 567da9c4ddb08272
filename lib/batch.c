/* batch.c - requests and results as OpenAI batch lines */
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache.h"
#include "json.h"

#define LINE_BYTES ((size_t)512 << 20)	/* twice the largest request */

void
batch_id(char out[BATCH_ID], const char *path, const char *body, size_t n, long sample)
{
	struct cache_key k = cache_key("", path, body, n, sample);

	strcpy(out, "sa-");
	for (size_t i = 0; i < sizeof k.b; i++)
		snprintf(out + 3 + 2 * i, 3, "%02x", k.b[i]);
}

int
batch_line(struct buf *out, const char *id, const char *path, const char *body, size_t n)
{
	size_t from = out->n;

	if (buf_adds(out, "{\"custom_id\":") == 0 && buf_json(out, id, strlen(id)) == 0 && buf_adds(out, ",\"method\":\"POST\",\"url\":\"/v1") == 0 &&
	    buf_adds(out, path) == 0 && buf_adds(out, "\",\"body\":") == 0 && buf_add(out, body, n) == 0 && buf_adds(out, "}\n") == 0)
		return 0;
	out->n = from;
	if (out->p)
		out->p[from] = 0;
	return -1;
}

/* ---- a result ---- */

/* A piece of the line. */
struct text {
	const char *p;
	size_t n;
};

/* The value of a member of the object `in`; p NULL when it is not there or null. The last one of a name counts. 0, or -1: no object. */
static int
members(struct text in, const char *const *name, struct text *out, struct err *e)
{
	struct json_object o;
	int rc = json_scan(in.p, in.n, &o, e);

	for (size_t k = 0; name[k]; k++) {
		out[k] = (struct text){ NULL, 0 };
		for (size_t i = rc < 0 ? 0 : o.n; i-- > 0;) {
			struct json_span *s = &o.span[i];

			if (s->key_end - s->key != strlen(name[k]) + 2 || memcmp(in.p + s->key + 1, name[k], strlen(name[k])) != 0)
				continue;
			if (s->value_end - s->value != 4 || memcmp(in.p + s->value, "null", 4) != 0)
				out[k] = (struct text){ in.p + s->value, s->value_end - s->value };
			break;
		}
	}
	json_object_done(&o);
	return rc;
}

/* A string as it is, anything else as its JSON text. */
static char *
words(struct text t)
{
	json_t *v = json_read(t.p, t.n);
	char *s = json_is_string(v) ? xstrndup(json_string_value(v), json_string_length(v)) : xstrndup(t.p, t.n);

	json_decref(v);
	return s;
}

/* The Batch API has {code, message}; vLLM a text, or the error object of its server, whose code is a number, or that within an "error". */
static char *
error_words(struct text t)
{
	static const char *const name[] = { "code", "message", "error", NULL };
	struct text m[3];
	char *code, *message, *s;

	if (members(t, name, m, NULL) < 0)
		return words(t);
	if (!m[1].p && m[2].p && *m[2].p == '{')
		return error_words(m[2]);
	if (!m[1].p)
		return words(t);
	message = words(m[1]);
	code = m[0].p ? words(m[0]) : NULL;
	if (asprintf(&s, "%s%s%s", code ? code : "", code ? ": " : "", message) < 0)
		die(STATUS_IO, "out of memory");
	free(code);
	free(message);
	return s;
}

static int
read_response(struct batch_result *r, struct text t, struct err *e)
{
	static const char *const name[] = { "status_code", "body", NULL };
	struct text m[2];
	json_t *v;

	if (*t.p != '{' || members(t, name, m, e) < 0)
		return err_set(e, "response is no object");
	v = m[0].p ? json_read(m[0].p, m[0].n) : NULL;
	r->status = json_is_integer(v) ? (long)json_integer_value(v) : m[0].p ? -1 : 200;
	json_decref(v);
	if (r->status < 100 || r->status > 999)
		return err_set(e, "response.status_code is no HTTP status");
	if (m[1].p) {
		r->body = memcpy(xmalloc(m[1].n + 1), m[1].p, m[1].n);
		r->body[r->n = m[1].n] = 0;
	}
	return 0;
}

static int
read_id(struct batch_result *r, struct text t, struct err *e)
{
	json_t *v = t.p ? json_read(t.p, t.n) : NULL;
	bool good = json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);

	if (good)
		r->id = xstrdup(json_string_value(v));
	json_decref(v);
	return good ? 0 : err_set(e, "no custom_id");
}

int
batch_result_parse(struct batch_result *r, const char *line, size_t n, struct err *e)
{
	static const char *const name[] = { "custom_id", "response", "error", NULL };
	struct text m[3];

	*r = (struct batch_result){ 0 };
	if (members((struct text){ line, n }, name, m, e) < 0 || read_id(r, m[0], e) < 0 || (m[1].p && read_response(r, m[1], e) < 0))
		goto fail;
	if (m[2].p)
		r->error = error_words(m[2]);
	if (!r->body && !r->error) {
		err_set(e, "neither a response nor an error");
		goto fail;
	}
	return 0;
fail:
	batch_result_free(r);
	return -1;
}

void
batch_result_free(struct batch_result *r)
{
	free(r->id);
	free(r->body);
	free(r->error);
	*r = (struct batch_result){ 0 };
}

/* ---- writing requests ---- */

struct batch_out {
	FILE *file;
	char *path;
	struct buf line;
	XXH128_hash_t *seen;	/* ids, hashed once more; open addressing, 0 0: free */
	size_t n, cap;		/* cap is a power of two */
};

/* Is it what standard output writes to? /dev/null is nobody's. */
static bool
is_stdout(const struct stat *st)
{
	struct stat out;

	return fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == st->st_dev && out.st_ino == st->st_ino &&
		!(S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3));
}

struct batch_out *
batch_out_open(const char *path, struct err *e)
{
	struct batch_out *b;
	struct stat st;
	int fd;

	/* Emptied only when it is known not to be where the records go. */
	fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
	} else if (strcmp(path, "-") == 0 || is_stdout(&st)) {
		err_set(e, "%s: standard output is for the records: give --batch-out another file", path);
	} else if (S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
	} else {
		b = xcalloc(1, sizeof *b);
		b->path = xstrdup(path);
		buf_init(&b->line, LINE_BYTES);
		b->cap = 1024;
		b->seen = xcalloc(b->cap, sizeof *b->seen);
		b->file = fdopen(fd, "w");
		if (!b->file)
			die(STATUS_IO, "out of memory");
		return b;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static XXH128_hash_t *
place(struct batch_out *b, XXH128_hash_t h)
{
	size_t i = h.low64 & (b->cap - 1);

	while ((b->seen[i].low64 || b->seen[i].high64) && !XXH128_isEqual(b->seen[i], h))
		i = (i + 1) & (b->cap - 1);
	return &b->seen[i];
}

static void
grow(struct batch_out *b)
{
	XXH128_hash_t *old = b->seen;
	size_t n = b->cap;

	b->cap *= 2;
	b->seen = xcalloc(b->cap, sizeof *b->seen);
	for (size_t i = 0; i < n; i++)
		if (old[i].low64 || old[i].high64)
			*place(b, old[i]) = old[i];
	free(old);
}

/* True the first time. */
static bool
is_new(struct batch_out *b, const char *id)
{
	XXH128_hash_t h = XXH3_128bits(id, strlen(id)), *at = place(b, h);

	if (at->low64 || at->high64)
		return false;
	*at = h;
	if (++b->n > b->cap / 2)
		grow(b);
	return true;
}

int
batch_out_add(struct batch_out *b, const char *id, const char *path, const char *body, size_t n, struct err *e)
{
	if (!is_new(b, id))
		return 0;
	buf_clear(&b->line);
	if (batch_line(&b->line, id, path, body, n) < 0)
		return err_set(e, "%s: a request is longer than 512 MiB", b->path);
	if (fwrite(b->line.p, 1, b->line.n, b->file) != b->line.n)
		return err_set(e, "%s: %s", b->path, strerror(errno));
	return 0;
}

int
batch_out_close(struct batch_out *b, long long *lines, struct err *e)
{
	int rc = ferror(b->file) ? EIO : 0;

	if (fflush(b->file) != 0)
		rc = errno;
	if (fclose(b->file) != 0 && rc == 0)
		rc = errno;
	if (rc)
		err_set(e, "%s: %s", b->path, strerror(rc));
	if (lines)
		*lines = (long long)b->n;
	free(b->path);
	free(b->seen);
	buf_free(&b->line);
	free(b);
	return rc ? -1 : 0;
}

/* ---- reading results ---- */

struct entry {
	uint64_t hash;	/* of the id */
	uint64_t at;	/* where its line begins */
	uint64_t good : 1, n : 63;	/* the line's length */
};

struct batch_in {
	char *path;
	int fd;
	struct entry *entry;	/* by hash, those of one hash with the one that counts first */
	size_t n, cap;
};

static int
by_hash(const void *x, const void *y)
{
	const struct entry *a = x, *b = y;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	if (a->good != b->good)
		return a->good ? -1 : 1;
	return a->at > b->at ? -1 : a->at < b->at;
}

static void
note(struct batch_in *b, const struct batch_result *r, uint64_t at, size_t n)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->entry = xreallocarray(b->entry, b->cap, sizeof *b->entry);
	}
	b->entry[b->n++] = (struct entry){ XXH3_64bits(r->id, strlen(r->id)), at, r->status == 200 && r->body && !r->error, n };
}

static bool
is_blank(const char *p, size_t n)
{
	return strspn(p, " \t\r\n") >= n;
}

static int
read_line(struct batch_in *b, const char *p, size_t n, uint64_t at, size_t number, struct err *e)
{
	struct batch_result r;
	struct err why;

	if (number == 1 && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
		p += 3;
		n -= 3;
		at += 3;
	}
	if (is_blank(p, n))
		return 0;
	if (n > LINE_BYTES)
		return err_set(e, "%s:%zu: longer than 512 MiB", b->path, number);
	if (batch_result_parse(&r, p, n, &why) < 0)
		return err_set(e, "%s:%zu: no line of batch results: %s", b->path, number, why.msg);
	note(b, &r, at, n);
	batch_result_free(&r);
	return 0;
}

static int
read_all(struct batch_in *b, struct err *e)
{
	FILE *f = fdopen(dup(b->fd), "r");
	size_t cap = 0, number = 0;
	char *p = NULL;
	uint64_t at = 0;
	ssize_t n;
	int rc = 0;

	if (!f)
		return err_set(e, "%s: %s", b->path, strerror(errno));
	while (rc == 0 && (n = getline(&p, &cap, f)) > 0) {
		rc = read_line(b, p, (size_t)n, at, ++number, e);
		at += (size_t)n;
	}
	if (rc == 0 && ferror(f))
		rc = err_set(e, "%s: %s", b->path, strerror(errno));
	free(p);
	fclose(f);
	return rc;
}

struct batch_in *
batch_in_open(const char *path, struct err *e)
{
	struct batch_in *b = xcalloc(1, sizeof *b);
	struct stat st;

	b->path = xstrdup(path);
	b->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (b->fd < 0 || fstat(b->fd, &st) < 0)
		err_set(e, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(e, "%s: batch results are read from a regular file", path);
	else if (read_all(b, e) == 0) {
		if (b->n)
			qsort(b->entry, b->n, sizeof *b->entry, by_hash);
		return b;
	}
	batch_in_close(b);
	return NULL;
}

/* The line as it is now; it must be the one that was indexed. 1: it is of that id, 0: of another. */
static int
read_entry(struct batch_in *b, const struct entry *x, const char *id, struct batch_result *r, struct err *e)
{
	char *p = xmalloc(x->n ? x->n : 1);
	struct err why = { "it ends early" };
	size_t got = 0;
	ssize_t n;
	int rc = -1;

	while (got < x->n && (n = pread(b->fd, p + got, x->n - got, (off_t)(x->at + got))) != 0) {
		if (n < 0 && errno != EINTR) {
			err_set(&why, "%s", strerror(errno));
			break;
		}
		got += n > 0 ? (size_t)n : 0;
	}
	if (got == x->n)
		rc = batch_result_parse(r, p, x->n, &why);
	free(p);
	if (rc == 0 && XXH3_64bits(r->id, strlen(r->id)) != x->hash) {
		batch_result_free(r);
		rc = err_set(&why, "another line stands there");
	}
	if (rc < 0)
		return err_set(e, "%s: changed while it was in use: %s", b->path, why.msg);
	if (strcmp(r->id, id) == 0)
		return 1;
	batch_result_free(r);
	return 0;
}

int
batch_in_get(struct batch_in *b, const char *id, struct batch_result *r, struct err *e)
{
	uint64_t hash = XXH3_64bits(id, strlen(id));
	size_t lo = 0, hi = b->n, mid;
	int rc;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (b->entry[mid].hash < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < b->n && b->entry[lo].hash == hash; lo++)
		if ((rc = read_entry(b, &b->entry[lo], id, r, e)) != 0)
			return rc;
	return 0;
}

void
batch_in_close(struct batch_in *b)
{
	if (b->fd >= 0)
		close(b->fd);
	free(b->path);
	free(b->entry);
	free(b);
}
