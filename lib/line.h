/* line.h - lines of a descriptor, with their number
 *
 * LF and CRLF end a line (and are cut off); a missing final newline and a byte-order mark on the first line are accepted; blank lines are
 * skipped and counted. NUL bytes are ordinary. Reads block; nothing is ever set on the descriptor.
 *
 * Reading and splitting are apart, so that each may be on a thread of its own: lines_read() reads into blocks and hands on all whole lines that
 * one read brought, at once, be it a single one; split_next() takes them one by one, where they lie. lines_next() is both. */
#ifndef SA_LINE_H
#define SA_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "block.h"
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

/* Whole lines, one behind the other, that are not yet split. Whoever has it holds the block and may write to the n bytes. */
struct range {
	struct block *block;
	char *p;
	size_t n;
	bool cut;	/* one line only, without its end */
};

/* The next lines: 1 (the reference is the caller's), 0, -1 as above. Blocks are of 128 KiB; longer lines have larger ones, of up to twice max. */
int lines_read(struct lines *l, struct range *r, struct err *e);

/* A line where it was read. p[n] is a newline, whatever stood there. */
struct line {
	struct block *block;	/* the range's: block_hold() it to keep the line */
	const char *p;
	size_t n;
	size_t at;		/* its number, from 1 */
	bool too_long;		/* cut */
};

/* Where in the stream its ranges have been split up to; all 0 but max at the beginning. */
struct split {
	size_t max;
	size_t at, blank;	/* lines so far; the blank ones among them */
};

/* Take the next line that is not blank out of the range; false when none is left. */
bool split_next(struct split *s, struct range *r, struct line *out);

#endif
