/* window.c - records between being read and being written, in input order */

#include "window.h"

#include <stdint.h>
#include <stdlib.h>

#include "err.h"

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
slot(const struct window *w, size_t place)
{
	return &w->slot[place & (w->cap - 1)];
}

bool
window_ready(const struct window *w)
{
	return w->unordered ? w->first != NONE : w->head != w->tail && slot(w, w->head)->finished;
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

		if (output_full(s->to ? s->to : o))
			break;
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
	for (; w->head != w->tail && slot(w, w->head)->finished; w->head++) {
		if (output_full(slot(w, w->head)->to ? slot(w, w->head)->to : o))
			break;
		lines += leave(w, slot(w, w->head), o);
	}
	return lines;
}
