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

/* What may stand in the column, any case, and the verdict that it means ("": not decided). Ends with word == NULL. */
struct review_word {
	const char *word, *verdict;
};
/* safe, unsafe, uncertain and 安全, 不安全, 不确定 */
extern const struct review_word review_safety[];

/* {"id":VERDICT} of the rows with a verdict. NULL with file, line and why. */
json_t *review_read(const char *path, const struct review_word *words, struct err *e);
/* The verdicts that a new DIR/review.tsv keeps: those that count (`given`, or NULL), else those that stand in it: they do not count without
 * --review, but a person's work is not thrown away. A new reference, or NULL with why. */
json_t *review_marks(const char *dir, json_t *given, const struct review_word *words, struct err *e);

#endif
