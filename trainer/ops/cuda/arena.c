/* arena.c - the arena of arena.h: pointers are made by adding, so that a plan and a run are the same code */
#include <stdint.h>
#include <string.h>

#include "arena.h"

void
arena_begin(struct arena *a, void *base, size_t size)
{
	memset(a, 0, sizeof *a);
	a->base = base;
	a->size = size;
}

/* The line of a name; names past ARENA_LINES share the last. */
static int
line_of(struct arena *a, const char *what)
{
	int i;

	for (i = 0; i < a->line_count; i++)
		if (!strcmp(a->lines[i].what, what))
			return i;
	if (a->line_count == ARENA_LINES)
		return ARENA_LINES - 1;
	a->lines[a->line_count].what = what;
	return a->line_count++;
}

static void
count(struct arena *a, const char *what, size_t size)
{
	int line = line_of(a, what);
	struct arena_line *l = &a->lines[line];

	a->pieces[a->piece_count++] = (struct arena_piece){ line, size };
	l->now += size;
	if (l->now > l->most)
		l->most = l->now;
	a->used += size;
	if (a->used > a->most)
		a->most = a->used;
}

void *
arena_take(struct arena *a, const char *what, size_t bytes)
{
	size_t at = a->used, size = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	int fits = size >= bytes && a->size >= at && size <= a->size - at;

	if (!fits)
		a->full = 1;
	if ((!fits && a->base) || size < bytes || size > SIZE_MAX / 2 - at || a->piece_count == ARENA_PIECES) {
		a->full = 1;
		return NULL;
	}
	count(a, what, size);
	return a->base ? a->base + at : (void *)(ARENA_ALIGN + at);	/* never followed, and not NULL */
}

size_t
arena_mark(const struct arena *a)
{
	return a->used;
}

void
arena_release(struct arena *a, size_t mark)
{
	while (a->used > mark) {
		const struct arena_piece *p = &a->pieces[--a->piece_count];

		a->lines[p->line].now -= p->size;
		a->used -= p->size;
	}
}

void
arena_print(const struct arena *a, FILE *f)
{
	double mib = 1 << 20;

	for (int i = 0; i < a->line_count; i++)
		fprintf(f, "%12.1f MiB  %s\n", a->lines[i].most / mib, a->lines[i].what);
	fprintf(f, "%12.1f MiB  at most at one time, of %.1f\n", a->most / mib, a->size / mib);
}
