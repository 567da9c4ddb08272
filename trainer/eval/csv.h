/* csv.h - comma-separated values, RFC 4180, as Python's csv and pandas read them. Pure.
 *
 * A cell in double quotes may hold commas, newlines and quotes ("" is one); CR LF or LF ends a row outside of quotes. Blank lines are
 * passed over, as is a byte-order mark. Every cell is text: what looks like a number or like None stays as it is. */
#ifndef SA_EVAL_CSV_H
#define SA_EVAL_CSV_H

#include <stddef.h>

#include "err.h"

#define CSV_CELLS 16	/* of a row at most */

struct csv {
	const char *p, *end;
	size_t line;		/* of the row that was read last, from 1 */
	size_t next_line;
	char *cell[CSV_CELLS];	/* of that row; valid until the next */
	size_t cells;
};

/* The text must stay as long as the reader is used. */
void csv_init(struct csv *c, const char *text, size_t n);
/* 1 with a row, 0 at the end, -1 with why: a quote that is not closed or is followed by text, a NUL, too many cells. */
int csv_next(struct csv *c, struct err *e);
void csv_free(struct csv *c);

#endif
