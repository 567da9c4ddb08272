/* intake.h - input lines, read by a thread of their own
 *
 * Reads block (the descriptor's flags are shared with other processes and are never touched), so they happen on a thread; a queue bounded in
 * bytes hands what each read brought to the loop, which splits it into lines. `wake` is sent when the queue stops being empty and at the end. A
 * thread that hangs in read(2) keeps nobody waiting: intake_stop() leaves it behind, and it ends with the process or when its read returns.
 *
 * A line that is kept where it lies keeps the block that it was read into, 128 KiB. One that will wait for something is therefore to be copied
 * (rec_own()); one that is finished leaves with its neighbours, so that in order of the input the blocks held are those that the window's lines
 * came in, and one at each end. */
#ifndef SA_INTAKE_H
#define SA_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "err.h"
#include "line.h"

#define INTAKE_BYTES ((size_t)1 << 20)	/* one read is let in whatever its length */

struct intake;

enum intake_state { INTAKE_WAIT, INTAKE_LINE, INTAKE_END, INTAKE_ERROR };

/* Start reading: from next(arg), or from standard input when it is NULL, where lines of more than max_line bytes are cut. */
struct intake *intake_start(int (*next)(void *arg, char **p, size_t *n, struct err *e), void *arg, size_t max_line, uv_async_t *wake);

/* The next line in *out, if there is one now; it is there until the next call, longer for whoever holds its block. INTAKE_ERROR leaves its
 * message in *e. */
enum intake_state intake_line(struct intake *in, struct line *out, struct err *e);

size_t intake_blank(const struct intake *in);	/* blank lines so far */

/* No more lines and no more wakes: after this `wake` may be closed and *in is gone. */
void intake_stop(struct intake *in);

#endif
