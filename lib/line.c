/* line.c - lines of a descriptor, with their number
 *
 * One buffer: bytes [start, end) are read and not yet returned. It grows only for a long line, to at most twice max + SLACK + CHUNK. */
#include "line.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536	/* one read: a pipe's whole capacity */
#define SLACK 4		/* a line of `max` bytes may also have a byte-order mark and a CR */

struct lines {
	int fd;
	const char *name;
	size_t max;
	char *p;
	size_t cap, start, end;
	size_t at, blank;
	bool eof;
	bool skipping;	/* the rest of a line that was too long comes first */
};

struct lines *
lines_open(int fd, const char *name, size_t max)
{
	struct lines *l = xcalloc(1, sizeof *l);

	*l = (struct lines){ .fd = fd, .name = name, .max = max };
	return l;
}

void
lines_free(struct lines *l)
{
	if (!l)
		return;
	free(l->p);
	free(l);
}

/* Read on, behind the bytes there are; moves them to the front of the buffer. Another program may have left the descriptor
 * non-blocking (the flag is shared by everyone who has the file open), so that is waited out. */
static int
fill(struct lines *l, struct err *e)
{
	size_t have = l->end - l->start;
	ssize_t got;

	if (l->start)
		memmove(l->p, l->p + l->start, have);
	l->start = 0;
	l->end = have;
	if (l->cap - have < CHUNK) {
		l->cap = have + CHUNK > l->cap * 2 ? have + CHUNK : l->cap * 2;
		l->p = xreallocarray(l->p, l->cap, 1);
	}
	while ((got = read(l->fd, l->p + have, CHUNK)) < 0) {
		if (errno == EAGAIN)
			poll(&(struct pollfd){ .fd = l->fd, .events = POLLIN }, 1, -1);
		else if (errno != EINTR)
			return err_set(e, "%s: %s", l->name, strerror(errno));
	}
	l->eof = got == 0;
	l->end += got;
	return 0;
}

static bool
is_blank(const char *p, size_t n)
{
	while (n && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++, n--;
	return n == 0;
}

/* Find the next line's bytes without its LF; from *p they are valid until the next fill(). 1, 0 at the end, -1. */
static int
raw_line(struct lines *l, char **p, size_t *n, struct err *e)
{
	size_t seen = 0;

	for (;;) {
		size_t have = l->end - l->start;
		char *lf = have > seen ? memchr(l->p + l->start + seen, '\n', have - seen) : NULL;

		*p = l->p + l->start;
		if (lf) {
			*n = lf - *p;
			l->start += *n + 1;
			return 1;
		}
		if (have > l->max + SLACK) {
			*n = have;
			l->start = l->end;
			l->skipping = true;
			return 1;
		}
		if (l->eof) {
			*n = have;
			l->start = l->end;
			return have > 0;
		}
		seen = have;
		if (fill(l, e) < 0)
			return -1;
	}
}

/* Drop bytes up to and with the next LF. */
static int
skip_rest(struct lines *l, struct err *e)
{
	for (;;) {
		size_t have = l->end - l->start;
		char *lf = have ? memchr(l->p + l->start, '\n', have) : NULL;

		l->skipping = !lf && !l->eof;
		l->start = lf ? (size_t)(lf - l->p) + 1 : l->end;
		if (!l->skipping)
			return 0;
		if (fill(l, e) < 0)
			return -1;
	}
}

int
lines_next(struct lines *l, char **p, size_t *n, int *too_long, struct err *e)
{
	int rc;

	for (;;) {
		if (l->skipping && skip_rest(l, e) < 0)
			return -1;
		rc = raw_line(l, p, n, e);
		if (rc <= 0)
			return rc;
		if (++l->at == 1 && *n >= 3 && memcmp(*p, "\xef\xbb\xbf", 3) == 0) {
			*p += 3;
			*n -= 3;
		}
		if (*n && !l->skipping && (*p)[*n - 1] == '\r')
			--*n;
		*too_long = *n > l->max;
		if (*too_long)
			*n = l->max;
		if (*too_long || !is_blank(*p, *n))
			return 1;
		l->blank++;
	}
}

size_t
lines_at(const struct lines *l)
{
	return l->at;
}

size_t
lines_blank(const struct lines *l)
{
	return l->blank;
}
