/* data.c - reads the data file record by record */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "data.h"
#include "line.h"

#define ARRAY_MAX ((size_t)16 << 30)	/* an array is read whole */

struct reading {
	struct samples *s;
	struct sampler *how;
	const char *path;
	XXH3_state_t *hash;
	bool array;
	size_t left;		/* records that are still wanted */
};

static const char *
place(const char *path)
{
	return strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

/* The one that was added last. "data.json:1: record 17: ...": an array may be one line. */
static int
about_record(const struct reading *r, size_t line, const char *what, const char *why, struct err *e)
{
	char number[40] = "";

	if (r->array)
		snprintf(number, sizeof number, "record %zu: ", r->s->record);
	return err_set(e, "%s:%zu: %s%s%.400s", r->path, line, number, what, why);
}

/* One parsed record, which this releases; `text` is what it was parsed from. */
static int
add(struct reading *r, json_t *record, const char *text, size_t n, size_t line, struct err *e)
{
	struct err why;
	int rc = samples_add(r->s, r->how, record, line, &why);

	json_decref(record);
	if (rc < 0)
		return about_record(r, line, "", why.msg, e);
	if (rc > 0 && r->s->broken++ == 0) {
		about_record(r, line, "left out: ", why.msg, e);
		warn("%s; others are counted", e->msg);
	}
	XXH3_64bits_update(r->hash, text, n);
	r->left--;
	return 0;
}

/* Python writes and reads it; no text that is trained on has one. */
static const char *
said(const json_error_t *je)
{
	return json_error_code(je) == json_error_null_character ? "a string has a NUL (\\u0000) in it" : je->text;
}

/* What is wrong with a line that is no record. */
static int
no_record(const struct reading *r, size_t line, const char *text, size_t n, const char *why, struct err *e)
{
	static const char *const packed[] = { "\x1f\x8b\x08", "\x28\xb5\x2f", "\xfd\x37\x7a", "BZh" };	/* gzip, zstd, xz, bzip2 */

	for (size_t i = 0; n >= 3 && i < sizeof packed / sizeof *packed; i++)
		if (memcmp(text, packed[i], 3) == 0)
			return err_set(e, "%s: compressed; give what it unpacks to, as in: zcat FILE | sa-train --data -", r->path);
	if (n > 0 && *text == '[' && r->s->record == 0)
		return err_set(e, "%s:%zu: an array; out of a pipe one record a line is read, as jq -c '.[]' makes of it", r->path, line);
	return err_set(e, "%s:%zu: not a JSON record on one line: %.300s", r->path, line, why);
}

static int
read_lines(struct reading *r, int fd, struct err *e)
{
	struct lines *in = lines_open(fd, r->path, LINE_MAX_DEFAULT);
	char *p;
	size_t n;
	int too_long, got = 0, rc = -1;

	while (r->left > 0 && (got = lines_next(in, &p, &n, &too_long, e)) > 0) {
		json_error_t je;
		json_t *record = too_long ? NULL : json_loadb(p, n, JSON_DECODE_INT_AS_REAL, &je);

		if (!record || (json_is_array(record) && r->s->record == 0)) {
			no_record(r, lines_at(in), p, n, too_long ? "longer than 16 MiB" : said(&je), e);
			json_decref(record);
			goto out;
		}
		if (add(r, record, p, n, lines_at(in), e) < 0)
			goto out;
	}
	rc = got < 0 ? -1 : 0;
out:
	lines_free(in);
	return rc;
}

static const char *
skip_space(const char *p, const char *end, size_t *line)
{
	for (; p < end && memchr(" \t\r\n", *p, 4); p++)
		*line += *p == '\n';
	return p;
}

static size_t
newlines(const char *p, const char *end)
{
	size_t n = 0;

	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		n++;
		p++;
	}
	return n;
}

/* p is behind the opening bracket. jansson says how many bytes each element took, so no more than one is in memory as a tree. */
static int
read_elements(struct reading *r, const char *p, const char *end, size_t line, struct err *e)
{
	p = skip_space(p, end, &line);
	while (p < end && *p != ']' && r->left > 0) {
		json_error_t je;
		json_t *record = json_loadb(p, (size_t)(end - p), JSON_DECODE_INT_AS_REAL | JSON_DISABLE_EOF_CHECK, &je);
		const char *next;

		if (!record)
			return err_set(e, "%s:%zu: record %zu: %s", r->path, line + (size_t)(je.line > 0 ? je.line - 1 : 0), r->s->record + 1, said(&je));
		next = p + je.position;
		if (add(r, record, p, (size_t)(next - p), line, e) < 0)
			return -1;
		line += newlines(p, next);
		p = skip_space(next, end, &line);
		if (p < end && *p == ',') {
			p = skip_space(p + 1, end, &line);
			if (p < end && *p == ']')
				return err_set(e, "%s:%zu: ',' before ']'", r->path, line);
		} else if (p < end && *p != ']') {
			return err_set(e, "%s:%zu: ',' or ']' expected between records", r->path, line);
		}
	}
	if (r->left == 0)
		return 0;
	if (p == end)
		return err_set(e, "%s:%zu: the array does not end", r->path, line);
	p = skip_space(p + 1, end, &line);
	return p == end ? 0 : err_set(e, "%s:%zu: text after the array", r->path, line);
}

static int
read_array(struct reading *r, struct err *e)
{
	struct buf b = BUF_INIT(ARRAY_MAX);
	const char *open;
	int rc = buf_read_file(&b, place(r->path), e);

	if (rc == 0) {
		open = strchr(b.p, '[');
		rc = read_elements(r, open + 1, b.p + b.n, 1 + newlines(b.p, open), e);
	}
	buf_free(&b);
	return rc;
}

/* Is the first character, after a byte-order mark and white space, an opening bracket? */
static bool
is_array(int fd)
{
	char head[4096];
	ssize_t n = pread(fd, head, sizeof head, 0);
	const char *p = head;
	size_t line = 0;

	if (n <= 0)
		return false;
	if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	p = skip_space(p, head + n, &line);
	return p < head + n && *p == '[';
}

int
data_read(struct samples *s, struct sampler *how, const char *path, size_t most, uint64_t *hash, struct err *e)
{
	struct reading r = { .s = s, .how = how, .path = path, .hash = XXH3_createState(), .left = most ? most : SIZE_MAX };
	int fd = open(place(path), O_RDONLY | O_CLOEXEC), rc = -1;

	s->record = 0;
	if (!r.hash)
		die(STATUS_IO, "out of memory");
	XXH3_64bits_reset_withSeed(r.hash, *hash);
	if (fd < 0)
		err_set(e, "%s: %s", path, strerror(errno));
	else
		rc = (r.array = is_array(fd)) ? read_array(&r, e) : read_lines(&r, fd, e);
	*hash = XXH3_64bits_digest(r.hash);
	XXH3_freeState(r.hash);
	if (fd >= 0)
		close(fd);
	return rc;
}
