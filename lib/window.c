/* window.c - records between being read and being written, in input order */

#include "window.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "buf.h"
#include "err.h"

#define CHUNK ((size_t)64 << 10)	/* bytes from which a flush is worth a write: a pipe's capacity */

struct output {
	int (*write)(void *arg, const char *line, size_t n);
	void *arg;
	struct buf kept;	/* whole lines */
	int error;
};

struct output *
output_new(int (*write_line)(void *arg, const char *line, size_t n), void *arg)
{
	struct output *o = xcalloc(1, sizeof *o);

	o->write = write_line;
	o->arg = arg;
	buf_init(&o->kept, SIZE_MAX / 2);
	return o;
}

void
output_free(struct output *o)
{
	buf_free(&o->kept);
	free(o);
}

void
output_line(struct output *o, const char *line, size_t n)
{
	if (o->error)
		return;
	if (o->write) {
		if (o->write(o->arg, line, n) < 0)
			o->error = EIO;
		return;
	}
	/* A line never shares a write with the beginning of another that does not fit. */
	if (o->kept.n > 0 && o->kept.n + n > CHUNK)
		output_flush(o);
	buf_add(&o->kept, line, n);
	if (o->kept.n >= CHUNK)
		output_flush(o);
}

int
output_flush(struct output *o)
{
	size_t done = 0;

	while (!o->error && done < o->kept.n) {
		ssize_t n = write(STDOUT_FILENO, o->kept.p + done, o->kept.n - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)	/* somebody else made it non-blocking: wait as a blocking write would */
			poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
		else if (errno != EINTR)
			o->error = errno;
	}
	if (o->kept.cap > 4 * CHUNK)
		buf_free(&o->kept);
	else
		buf_clear(&o->kept);
	return o->error;
}

bool
output_gone(const struct output *o)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return !o->write && poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* ---- the window ---- */

struct slot {
	bool finished;
	size_t held;	/* bytes counted */
	size_t n;
	char *line;
	struct output *to;	/* NULL: the one that window_write() is given */
};

struct window {
	struct slot *slot;	/* a ring: the record in place p is at p % records */
	size_t records, bytes;	/* limits */
	size_t head, tail;	/* places of the oldest record and of the next to enter */
	size_t held;
};

struct window *
window_new(size_t records, size_t bytes)
{
	struct window *w = xcalloc(1, sizeof *w);

	w->slot = xcalloc(records, sizeof *w->slot);
	w->records = records;
	w->bytes = bytes;
	return w;
}

void
window_free(struct window *w)
{
	for (; w->head != w->tail; w->head++)
		free(w->slot[w->head % w->records].line);
	free(w->slot);
	free(w);
}

bool
window_full(const struct window *w)
{
	return w->tail - w->head >= w->records || w->held >= w->bytes;
}

bool
window_empty(const struct window *w)
{
	return w->head == w->tail;
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
	struct slot *s = &w->slot[w->tail % w->records];

	*s = (struct slot){ 0 };
	hold(w, s, bytes);
	return w->tail++;
}

void
window_finish(struct window *w, size_t place, char *line, size_t n)
{
	struct slot *s = &w->slot[place % w->records];

	s->finished = true;
	s->line = line;
	s->n = n;
	hold(w, s, n);
}

void
window_finish_to(struct window *w, size_t place, char *line, size_t n, struct output *to)
{
	window_finish(w, place, line, n);
	w->slot[place % w->records].to = to;
}

size_t
window_write(struct window *w, struct output *o)
{
	size_t lines = 0;

	for (; w->head != w->tail; w->head++) {
		struct slot *s = &w->slot[w->head % w->records];

		if (!s->finished)
			break;
		if (s->line)
			output_line(s->to ? s->to : o, s->line, s->n);
		lines += s->line && !s->to;
		free(s->line);
		s->line = NULL;
		hold(w, s, 0);
	}
	return lines;
}
