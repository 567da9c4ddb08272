/* review.h - the samples that a judge could not settle, as a table that a person fills in
 *
 * TSV with a header line: id, category, prompt, response, judge (its words), verdict (empty). Tab, newline, carriage return and
 * backslash are written \t \n \r \\. Read back by the names of its columns, so that a spreadsheet may add or move some. */
#ifndef SA_EVAL_REVIEW_H
#define SA_EVAL_REVIEW_H

#include <jansson.h>

#include "buf.h"
#include "err.h"

void review_header(struct buf *out);
void review_row(struct buf *out, const char *id, const char *category, const char *prompt, const char *response, const char *judge,
	const char *verdict);

/* {"id":"safe"|"unsafe"} of the rows with a verdict (safe, unsafe, 安全, 不安全; any case). NULL with file, line and why. */
json_t *review_read(const char *path, struct err *e);

#endif
