/* line.h - lines of a descriptor, with their number
 *
 * LF and CRLF end a line (and are cut off); a missing final newline and a byte-order mark on the first line are accepted;
 * blank lines are skipped and counted. NUL bytes are ordinary. Reads block; nothing is ever set on the descriptor. */
#ifndef SA_LINE_H
#define SA_LINE_H

#include <stddef.h>

#include "err.h"

#define LINE_MAX_DEFAULT ((size_t)16 << 20)

struct lines;

/* `name` is for messages ("stdin" or a path). A line longer than `max` bytes is returned cut at `max` with *too_long set, the
 * rest of it skipped. The reader does not own the descriptor. */
struct lines *lines_open(int fd, const char *name, size_t max);
void lines_free(struct lines *l);

/* 1 with the line in *p,*n (valid until the next call), 0 at the end, -1 on a read error with a message. */
int lines_next(struct lines *l, char **p, size_t *n, int *too_long, struct err *e);

/* The number of the line returned last, from 1, blank ones counted; and how many blank ones there were. */
size_t lines_at(const struct lines *l);
size_t lines_blank(const struct lines *l);

#endif
