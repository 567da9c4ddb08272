/* output.h - where finished lines go: standard output, or a function
 *
 * Writes to standard output block (its descriptor is shared with other processes, so its flags are never touched), and whoever reads it may take its
 * time: the next stage of a pipe is slower more often than not. So that replies are read meanwhile, and no request runs into its time-out because
 * of it, what may block is written by a thread of its own (output_thread()); what cannot, a regular file or a short line into a pipe with room, at once. */
#ifndef SA_OUTPUT_H
#define SA_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "block.h"

struct output;

/* To write(arg, line, n) or, when it is NULL, to standard output, in whole lines. */
struct output *output_new(int (*write)(void *arg, const char *line, size_t n), void *arg);
void output_free(struct output *o);	/* what is kept is dropped */

/* From now on writes that may block happen on a thread, and `wake` is sent when one is through. NULL: no more wakes; the thread goes on. */
void output_thread(struct output *o, uv_async_t *wake);

void output_slice(struct output *o, struct slice s);	/* whole lines; takes the reference, kept until a flush or until there is enough for one */
void output_line(struct output *o, const char *line, size_t n);	/* the same of a copy, with its newline */
bool output_full(const struct output *o);	/* a write is under way and there is enough for another: nothing more is to be given now */

/* Write what is kept, or, while the thread is at it, leave it for the wake. 0, or the errno of the first write that failed (then and ever after);
 * EIO when a write callback failed. */
int output_flush(struct output *o);
int output_finish(struct output *o);	/* the same, and wait for it */

bool output_gone(const struct output *o);	/* nobody reads the standard output any more */

#endif
