/* window.h - records between being read and being written, in input order
 *
 * A record enters with its number of bytes and leaves when it and all before it are finished. The window is full at so many records
 * or so many bytes (one record is let in whatever its length); then nothing more is read, which bounds memory whatever the input. */
#ifndef SA_WINDOW_H
#define SA_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

/* Where lines go: write(arg, line, n) or, when NULL, standard output, in whole lines by blocking writes. */
struct output;

struct output *output_new(int (*write)(void *arg, const char *line, size_t n), void *arg);
void output_free(struct output *o);
void output_line(struct output *o, const char *line, size_t n);	/* with its newline; kept until a flush or until there is enough for one */
/* Write what is kept. 0, or the errno of the first write that failed (then and ever after); EIO when a write callback failed. */
int output_flush(struct output *o);
bool output_gone(const struct output *o);	/* nobody reads the standard output any more */

struct window;

struct window *window_new(size_t records, size_t bytes);
void window_free(struct window *w);
bool window_full(const struct window *w);
bool window_empty(const struct window *w);
size_t window_enter(struct window *w, size_t bytes);	/* the record's place */
void window_finish(struct window *w, size_t place, char *line, size_t n);	/* takes the malloc'd line; NULL: none */
/* The same, but written to `to` when its turn comes, and not counted. */
void window_finish_to(struct window *w, size_t place, char *line, size_t n, struct output *to);
size_t window_write(struct window *w, struct output *o);	/* the finished ones at the head; how many lines that were */

#endif
