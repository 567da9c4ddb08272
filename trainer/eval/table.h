/* table.h - figures with their intervals, as JSON and as an aligned table */
#ifndef SA_EVAL_TABLE_H
#define SA_EVAL_TABLE_H

#include <jansson.h>
#include <stddef.h>

#include "buf.h"

/* A figure of n samples of which at least `sure` and at most `possible` count: {"n","score","range":[least,most],"low","high"} in per
 * cent. score is null while the two differ; low and high: the 95% interval (Wilson) of the least and of the most. */
json_t *figure(size_t sure, size_t possible, size_t n);

/* "61.3" or, while it is a range, "58.0-66.0"; "-" when n is 0. */
void figure_text(const json_t *f, char *out, size_t max);
/* "55.0 .. 67.2" */
void figure_interval(const json_t *f, char *out, size_t max);

/* Rows of cells (UTF-8, ended by NULL rows): the first row is the header; the first `left` columns are aligned left, the others right. */
#define TABLE_COLUMNS 10
struct table {
	char *cell[64][TABLE_COLUMNS];
	size_t rows, columns, left;
};

/* Append a row of `columns` cells (copied). */
void table_row(struct table *t, ...);
void table_print(const struct table *t, struct buf *out);
void table_free(struct table *t);

#endif
