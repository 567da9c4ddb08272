/* buf.c - a growing byte buffer with a mandatory maximum */
#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

/* Room for `more` bytes and the NUL behind them. Doubling keeps a long series of adds linear. */
static int
reserve(struct buf *b, size_t more)
{
	size_t need, cap;

	if (more > b->max - b->n || more >= SIZE_MAX - b->n)
		return -1;
	need = b->n + more + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap < 64 ? 64 : b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
	if (cap - 1 > b->max)
		cap = b->max + 1;
	if (cap < need)
		cap = need;
	b->p = xreallocarray(b->p, cap, 1);
	b->cap = cap;
	return 0;
}

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf)BUF_INIT(max);
}

void
buf_free(struct buf *b)
{
	free(b->p);
	buf_init(b, b->max);
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	if (reserve(b, 0) == 0)
		b->p[0] = '\0';
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	if (reserve(b, n) < 0)
		return -1;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
	return 0;
}

int
buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int
buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || reserve(b, n) < 0)
		return -1;
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += n;
	return 0;
}

static int
add_escaped(struct buf *b, unsigned char c)
{
	static const char from[] = "\"\\\n\t\r\b\f", to[] = "\"\\ntrbf";
	const char *at = c ? strchr(from, c) : NULL;

	if (at)
		return buf_add(b, (char[]){ '\\', to[at - from] }, 2);
	return buf_addf(b, "\\u%04x", c);
}

/* Past the bytes that stand for themselves in a JSON string, by eight where as many come. */
static size_t
plain(const char *s, size_t i, size_t n)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
	uint64_t v, quote, backslash;

	for (; n - i >= 8; i += 8) {
		memcpy(&v, s + i, 8);
		quote = v ^ ones * '"';
		backslash = v ^ ones * '\\';
		if ((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((v - ones * ' ') & ~v)) & tops)
			break;
	}
	while (i < n && (unsigned char)s[i] >= ' ' && s[i] != '"' && s[i] != '\\')
		i++;
	return i;
}

int
buf_json(struct buf *b, const char *s, size_t n)
{
	size_t old = b->n, from = 0;

	if (buf_addc(b, '"') < 0)
		return -1;
	for (size_t i = 0; (i = plain(s, i, n)) < n; from = ++i)
		if (buf_add(b, s + from, i - from) < 0 || add_escaped(b, (unsigned char)s[i]) < 0)
			goto full;
	if (buf_add(b, s + from, n - from) == 0 && buf_addc(b, '"') == 0)
		return 0;
full:
	b->n = old;
	b->p[old] = '\0';
	return -1;
}

char *
buf_take(struct buf *b)
{
	char *p = b->p ? b->p : xstrdup("");

	buf_init(b, b->max);
	return p;
}

/* Read to the end of the file; a byte too many shows that it is too large. */
static int
read_all(struct buf *b, int fd, const char *path, struct err *e)
{
	char extra;
	ssize_t got;

	for (;;) {
		size_t room = b->max - b->n;

		if (room > 65536)
			room = 65536;
		if (reserve(b, room) < 0)
			return err_set(e, "%s: too large", path);
		got = room ? read(fd, b->p + b->n, room) : read(fd, &extra, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(e, "%s: %s", path, strerror(errno));
		if (got > 0 && !room)
			return err_set(e, "%s: larger than %zu bytes", path, b->max);
		b->n += got;
		b->p[b->n] = '\0';
		if (got == 0)
			return 0;
	}
}

int
buf_read_file(struct buf *b, const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	buf_clear(b);
	rc = read_all(b, fd, path, e);
	close(fd);
	return rc;
}
