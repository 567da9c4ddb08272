/* window.c - records between being read and being written, in input order */

#include "window.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"

#define CHUNK ((size_t)64 << 10)	/* bytes from which a flush is worth a write: a pipe's capacity */
#define PIECES 256		/* in one write; lines that lie side by side are one piece */

struct output {
	int (*write)(void *arg, const char *line, size_t n);
	void *arg;
	struct slice piece[PIECES];	/* whole lines, not written yet */
	size_t n, bytes;
	int error;
};

struct output *
output_new(int (*write_line)(void *arg, const char *line, size_t n), void *arg)
{
	struct output *o = xcalloc(1, sizeof *o);

	o->write = write_line;
	o->arg = arg;
	return o;
}

static void
drop_pieces(struct output *o)
{
	for (size_t i = 0; i < o->n; i++)
		block_drop(o->piece[i].block);
	o->n = o->bytes = 0;
}

void
output_free(struct output *o)
{
	drop_pieces(o);
	free(o);
}

static void
keep(struct output *o, struct slice s)
{
	struct slice *last = o->n ? &o->piece[o->n - 1] : NULL;

	o->bytes += s.n;
	if (last && last->block == s.block && last->p + last->n == s.p) {
		last->n += s.n;
		block_drop(s.block);
	} else {
		o->piece[o->n++] = s;
	}
}

void
output_slice(struct output *o, struct slice s)
{
	if (o->error || o->write) {
		if (!o->error && o->write(o->arg, s.p, s.n) < 0)
			o->error = EIO;
		block_drop(s.block);
		return;
	}
	/* A line never shares a write with the beginning of another that does not fit. */
	if (o->n > 0 && o->bytes + s.n > CHUNK)
		output_flush(o);
	keep(o, s);
	if (o->bytes >= CHUNK || o->n == PIECES)
		output_flush(o);
}

void
output_line(struct output *o, const char *line, size_t n)
{
	struct block *b = o->write ? NULL : block_new(n);

	if (b)
		line = memcpy(b->p, line, n);
	output_slice(o, (struct slice){ b, line, n });
}

/* The first `done` bytes of *v and those behind it are written. */
static struct iovec *
skip(struct iovec *v, size_t done)
{
	for (; done > 0 && done >= v->iov_len; v++)
		done -= v->iov_len;
	if (done > 0) {
		v->iov_base = (char *)v->iov_base + done;
		v->iov_len -= done;
	}
	return v;
}

int
output_flush(struct output *o)
{
	struct iovec vec[PIECES], *v = vec;
	size_t left = o->bytes;

	for (size_t i = 0; i < o->n; i++)
		vec[i] = (struct iovec){ .iov_base = (char *)o->piece[i].p, .iov_len = o->piece[i].n };
	while (!o->error && left > 0) {
		ssize_t n = writev(STDOUT_FILENO, v, (int)(vec + o->n - v));

		if (n >= 0) {
			left -= (size_t)n;
			v = skip(v, (size_t)n);
		} else if (errno == EAGAIN) {	/* somebody else made it non-blocking: wait as a blocking write would */
			poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
		} else if (errno != EINTR) {
			o->error = errno;
		}
	}
	drop_pieces(o);
	return o->error;
}

bool
output_gone(const struct output *o)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return !o->write && poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* ---- the window ---- */

#define NONE SIZE_MAX

struct slot {
	struct slice line;
	size_t held;	/* bytes counted */
	struct output *to;	/* NULL: the one that window_write() is given */
	size_t next;	/* unordered: in the list of the finished or of the free */
	bool finished;
};

struct window {
	struct slot *slot;	/* grows as they are used */
	size_t cap;		/* a power of two */
	size_t records, bytes;	/* limits */
	size_t count, held;	/* now */
	size_t head, tail;	/* places of the oldest record and of the next to enter, in a ring: p is at p % cap */
	bool unordered;		/* a place is an index, and up to tail they have been used; head is of no meaning */
	size_t free, first, last;	/* lists, NONE: empty */
};

struct window *
window_new(size_t records, size_t bytes)
{
	struct window *w = xcalloc(1, sizeof *w);

	w->records = records;
	w->bytes = bytes;
	w->free = w->first = w->last = NONE;
	return w;
}

void
window_unordered(struct window *w)
{
	w->unordered = true;
}

void
window_free(struct window *w)
{
	for (size_t i = 0; i < w->cap; i++)
		block_drop(w->slot[i].line.block);
	free(w->slot);
	free(w);
}

bool
window_full(const struct window *w)
{
	return w->count >= w->records || w->held >= w->bytes;
}

bool
window_empty(const struct window *w)
{
	return w->count == 0;
}

static struct slot *
slot(struct window *w, size_t place)
{
	return &w->slot[place & (w->cap - 1)];
}

/* Room for one more; those that are there keep their places. */
static void
grow(struct window *w)
{
	struct window old = *w;

	w->cap = old.cap ? old.cap * 2 : 64;
	w->slot = xcalloc(w->cap, sizeof *w->slot);
	for (size_t i = 0; i < old.cap; i++)
		*slot(w, w->tail - old.cap + i) = *slot(&old, w->tail - old.cap + i);
	free(old.slot);
}

static void
hold(struct window *w, struct slot *s, size_t bytes)
{
	w->held += bytes - s->held;
	s->held = bytes;
}

size_t
window_enter(struct window *w, size_t bytes)
{
	size_t place = w->free;

	if (place != NONE)
		w->free = slot(w, place)->next;
	else if (w->tail - w->head == w->cap)
		grow(w);
	if (place == NONE)
		place = w->tail++;
	*slot(w, place) = (struct slot){ 0 };
	hold(w, slot(w, place), bytes);
	w->count++;
	return place;
}

void
window_finish(struct window *w, size_t place, struct slice line)
{
	struct slot *s = slot(w, place);

	s->finished = true;
	s->line = line;
	s->next = NONE;
	hold(w, s, line.n);
	if (!w->unordered)
		return;
	if (w->first == NONE)
		w->first = place;
	else
		slot(w, w->last)->next = place;
	w->last = place;
}

void
window_finish_to(struct window *w, size_t place, struct slice line, struct output *to)
{
	window_finish(w, place, line);
	slot(w, place)->to = to;
}

/* The record leaves. 1 when it has a line for this output. */
static size_t
leave(struct window *w, struct slot *s, struct output *o)
{
	struct slice line = s->line;

	s->line = (struct slice){ 0 };
	hold(w, s, 0);
	w->count--;
	if (!line.block)
		return 0;
	output_slice(s->to ? s->to : o, line);
	return !s->to;
}

static size_t
write_unordered(struct window *w, struct output *o)
{
	size_t lines = 0;

	while (w->first != NONE) {
		size_t place = w->first;
		struct slot *s = slot(w, place);

		w->first = s->next;
		lines += leave(w, s, o);
		s->next = w->free;
		w->free = place;
	}
	return lines;
}

size_t
window_write(struct window *w, struct output *o)
{
	size_t lines = 0;

	if (w->unordered)
		return write_unordered(w, o);
	for (; w->head != w->tail && slot(w, w->head)->finished; w->head++)
		lines += leave(w, slot(w, w->head), o);
	return lines;
}
