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

/* Where lines go: write(arg, line, n) or, when NULL, standard output, in whole lines by blocking writes. */
struct output;

struct output *output_new(int (*write)(void *arg, const char *line, size_t n), void *arg);
void output_free(struct output *o);
void output_slice(struct output *o, struct slice s);	/* whole lines; takes the reference, kept until a flush or until there is enough for one */
void output_line(struct output *o, const char *line, size_t n);	/* the same of a copy, with its newline */
/* Write what is kept. 0, or the errno of the first write that failed (then and ever after); EIO when a write callback failed. */
int output_flush(struct output *o);
bool output_gone(const struct output *o);	/* nobody reads the standard output any more */

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
/* Those that are finished, in order: up to the first that is not; unordered: all, in the order of finishing. How many lines that were. */
size_t window_write(struct window *w, struct output *o);

#endif
