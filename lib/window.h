/* window.h - records between being read and being written, in input order
 *
 * A record enters with its number of bytes and leaves when it and all before it are finished. The window is full at so many records
 * or so many bytes (one record is let in whatever its length); then nothing more is read, which bounds memory whatever the input.
 *
 * Lines are passed on by reference. A finished one that waits behind an unfinished one keeps the block it was read into; as the window's
 * records are one stretch of the input, that is at most the window's bytes over again, and two blocks. */
#ifndef SA_WINDOW_H
#define SA_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "block.h"
#include "output.h"

struct window;

struct window *window_new(size_t records, size_t bytes);	/* memory is taken as records enter */
void window_unordered(struct window *w);	/* before any has entered: a finished record waits for no other one */
void window_free(struct window *w);
bool window_full(const struct window *w);
bool window_empty(const struct window *w);
size_t window_enter(struct window *w, size_t bytes);	/* the record's place */
void window_finish(struct window *w, size_t place, struct slice line);	/* takes the reference; block == NULL: no line */
/* The same, but written to `to` when its turn comes, and not counted. */
void window_finish_to(struct window *w, size_t place, struct slice line, struct output *to);
/* Those that are finished, in order: up to the first that is not; unordered: all, in the order of finishing; in both cases only as long as the
 * output is not full. How many lines that were. */
size_t window_write(struct window *w, struct output *o);

bool window_ready(const struct window *w);	/* there is one that window_write() would write */

#endif
