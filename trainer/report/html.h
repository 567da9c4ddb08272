/* html.h - the pieces of an HTML page. Whatever comes from a file passes html_text(): records hold attacks, and some are on readers
 * of HTML. */
#ifndef SA_REPORT_HTML_H
#define SA_REPORT_HTML_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"

/* `s` as text: & < > " ' escaped, control characters other than newline and tab replaced by U+FFFD. */
void html_text(struct buf *out, const char *s);
void html_text_n(struct buf *out, const char *s, size_t n);

/* "12,345" */
#define COUNT_TEXT 32
char *count_text(char out[COUNT_TEXT], long long n);

/* <section id=... aria-labelledby> with its heading, and its end. */
void section_open(struct buf *out, const char *id, const char *title);
void section_close(struct buf *out);

/* A table in a box that scrolls by itself: caption, header cells ended by NULL. Columns whose bit is set in `left` hold text, the
 * others numbers. */
void table_open(struct buf *out, const char *caption, const char *const *head, unsigned left);
void table_close(struct buf *out);
void cell_text(struct buf *out, const char *s);		/* <td>, or <th scope=row> by cell_head() */
void cell_head(struct buf *out, const char *s);
void cell_count(struct buf *out, const json_t *n);	/* a whole number with separators; an absent one is a dash */

/* The number `name` of an object; `otherwise` when it is absent. */
double member_num(const json_t *o, const char *name, double otherwise);
const char *member_text(const json_t *o, const char *name);	/* "" when absent */

/* Bytes of the first `chars` characters of s. */
size_t utf8_head(const char *s, size_t chars);

#endif
