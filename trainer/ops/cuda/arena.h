/* arena.h - all memory of a device as one piece that smaller ones are cut from, and the plan of it by the same code (device.h); needs no CUDA */
#ifndef SA_ARENA_H
#define SA_ARENA_H

#include <stddef.h>
#include <stdio.h>

enum { ARENA_ALIGN = 256, ARENA_LINES = 64, ARENA_PIECES = 1024 };

/* What the pieces of one name take together at most. */
struct arena_line {
	const char *what;	/* the caller's, not copied */
	size_t now, most;
};

struct arena {
	char *base;		/* NULL: a plan */
	size_t size, used, most;
	struct arena_line lines[ARENA_LINES];
	struct arena_piece {
		int line;
		size_t size;
	} pieces[ARENA_PIECES];	/* that are taken, the newest last */
	int line_count, piece_count;
	int full;		/* arena_take() failed */
};

/* base: `size` bytes aligned to ARENA_ALIGN, the caller's; NULL: a plan for a card with so much. */
void arena_begin(struct arena *a, void *base, size_t size);
/* `bytes` bytes, aligned; pieces of the same `what` are counted together. NULL: it does not fit, and the arena is `full` from then on; a plan
 * counts on and gives pointers all the same, to say how much is missing. */
void *arena_take(struct arena *a, const char *what, size_t bytes);
size_t arena_mark(const struct arena *a);
/* Give back all that was taken since the mark. */
void arena_release(struct arena *a, size_t mark);
/* The plan: a line a name, the most they ever took, and the most that was taken at one time. */
void arena_print(const struct arena *a, FILE *f);

#endif
