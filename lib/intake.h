/* intake.h - input lines, read by a thread of their own
 *
 * Reads block (the descriptor's flags are shared with other processes and are never touched), so they happen on a thread; a queue bounded in lines
 * and in bytes hands them to the loop. `wake` is sent when the queue stops being empty and at the end. A thread that hangs in read(2) keeps
 * nobody waiting: intake_stop() leaves it behind, and it ends with the process or when its read returns. */
#ifndef SA_INTAKE_H
#define SA_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "err.h"

#define INTAKE_LINES 1024
#define INTAKE_BYTES ((size_t)4 << 20)	/* one line is let in whatever its length */

struct intake;

/* A line; free() it. */
struct input {
	struct input *next;
	size_t at;		/* its number, from 1 */
	bool too_long;		/* cut at max_line */
	size_t n;
	char text[];
};

enum intake_state { INTAKE_WAIT, INTAKE_LINE, INTAKE_END, INTAKE_ERROR };

/* Start reading: from next(arg), or from standard input when it is NULL, where lines of more than max_line bytes are cut. */
struct intake *intake_start(int (*next)(void *arg, char **p, size_t *n, struct err *e), void *arg, size_t max_line, uv_async_t *wake);

/* The next line in *out, if there is one now. INTAKE_ERROR leaves its message in *e. */
enum intake_state intake_take(struct intake *in, struct input **out, struct err *e);

size_t intake_blank(struct intake *in);	/* blank lines so far */

/* No more lines and no more wakes: after this `wake` may be closed and *in is gone. */
void intake_stop(struct intake *in);

#endif
