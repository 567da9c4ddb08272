/* line.c - lines of a descriptor, with their number
 *
 * Of the block that is read into, bytes [start, end) are not yet handed on: the beginning of a line. It moves to the next block when this one is
 * full; while nobody else holds the block, it is used again from its start. */
#include "line.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK ((size_t)128 << 10)	/* two pipefuls; with a reader and a writer at work on some of them, still in a core's cache */
#define ROOM ((size_t)8 << 10)		/* less is not worth a read */
#define SLACK 4		/* a line of `max` bytes may also have a byte-order mark and a CR */

struct lines {
	int fd;
	const char *name;
	size_t max;
	struct block *block;
	size_t start, end;
	bool eof;
	bool skipping;	/* the rest of a line that was too long comes first */
	struct range range;	/* lines_next(): what is being split */
	struct split split;
};

struct lines *
lines_open(int fd, const char *name, size_t max)
{
	struct lines *l = xcalloc(1, sizeof *l);

	*l = (struct lines){ .fd = fd, .name = name, .max = max, .split.max = max };
	return l;
}

void
lines_free(struct lines *l)
{
	if (!l)
		return;
	block_drop(l->range.block);
	block_drop(l->block);
	free(l);
}

/* See that there is room behind the bytes there are. A block that a long line made large is left when the line is through. */
static void
make_room(struct lines *l)
{
	size_t have = l->end - l->start;
	struct block *b = l->block;
	bool ours = b && __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) == 1;

	if (b && (b->cap == BLOCK || have > BLOCK / 2) && b->cap - l->end > ROOM && (have || !ours))
		return;
	if (!ours || b->cap != BLOCK || have > BLOCK / 2)
		l->block = block_new(have > BLOCK / 2 ? 2 * have : BLOCK);
	if (have)
		memmove(l->block->p, b->p + l->start, have);
	if (l->block != b)
		block_drop(b);
	l->start = 0;
	l->end = have;
}

/* Read on, with a byte to spare for the newline that the last line may lack. Another program may have left the descriptor non-blocking (the
 * flag is shared by everyone who has the file open), so that is waited out. */
static int
fill(struct lines *l, struct err *e)
{
	ssize_t got;

	make_room(l);
	while ((got = read(l->fd, l->block->p + l->end, l->block->cap - l->end - 1)) < 0) {
		if (errno == EAGAIN)
			poll(&(struct pollfd){ .fd = l->fd, .events = POLLIN }, 1, -1);
		else if (errno != EINTR)
			return err_set(e, "%s: %s", l->name, strerror(errno));
	}
	l->eof = got == 0;
	l->end += (size_t)got;
	return 0;
}

/* Drop bytes up to and with the next LF. */
static void
skip_rest(struct lines *l)
{
	size_t have = l->end - l->start;
	char *lf = have ? memchr(l->block->p + l->start, '\n', have) : NULL;

	l->skipping = !lf;
	l->start = lf ? (size_t)(lf - l->block->p) + 1 : l->end;
}

/* Hand on the bytes up to `to`. */
static int
give(struct lines *l, size_t to, bool cut, struct range *r)
{
	*r = (struct range){ .block = block_hold(l->block), .p = l->block->p + l->start, .n = to - l->start, .cut = cut };
	l->start = to;
	l->skipping = cut;
	return 1;
}

int
lines_read(struct lines *l, struct range *r, struct err *e)
{
	size_t seen = l->start;		/* no LF before it */

	for (;;) {
		char *lf;

		if (l->skipping) {
			skip_rest(l);
			seen = l->start;
		}
		lf = l->end > seen ? memrchr(l->block->p + seen, '\n', l->end - seen) : NULL;
		if (lf)
			return give(l, (size_t)(lf - l->block->p) + 1, false, r);
		if (l->end - l->start > l->max + SLACK)
			return give(l, l->end, true, r);
		if (l->eof) {
			if (l->end == l->start)
				return 0;
			l->block->p[l->end++] = '\n';
			return give(l, l->end, false, r);
		}
		seen = l->end - l->start;
		if (fill(l, e) < 0)
			return -1;
		seen += l->start;
	}
}

static bool
is_blank(const char *p, size_t n)
{
	while (n && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++, n--;
	return n == 0;
}

bool
split_next(struct split *s, struct range *r, struct line *out)
{
	while (r->n) {
		char *p = r->p, *lf = memchr(p, '\n', r->n);
		size_t n = lf ? (size_t)(lf - p) : r->n, whole = lf ? n + 1 : n;

		r->p += whole;
		r->n -= whole;
		if (++s->at == 1 && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
			p += 3;
			n -= 3;
		}
		if (n && lf && p[n - 1] == '\r')
			p[--n] = '\n';
		*out = (struct line){ .block = r->block, .p = p, .n = n, .at = s->at, .too_long = n > s->max };
		if (out->too_long) {
			out->n = s->max;
			p[s->max] = '\n';
		}
		if (out->too_long || !is_blank(p, n))
			return true;
		s->blank++;
	}
	return false;
}

int
lines_next(struct lines *l, char **p, size_t *n, int *too_long, struct err *e)
{
	struct line line;
	int rc;

	while (!split_next(&l->split, &l->range, &line)) {
		block_drop(l->range.block);
		l->range = (struct range){ 0 };
		rc = lines_read(l, &l->range, e);
		if (rc <= 0)
			return rc;
	}
	*p = (char *)line.p;
	*n = line.n;
	*too_long = line.too_long;
	return 1;
}

size_t
lines_at(const struct lines *l)
{
	return l->split.at;
}

size_t
lines_blank(const struct lines *l)
{
	return l->split.blank;
}
