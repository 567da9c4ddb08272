/* csv.c - see csv.h */

#include "csv.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

void
csv_init(struct csv *c, const char *text, size_t n)
{
	*c = (struct csv){ .p = text, .end = text + n, .next_line = 1 };
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		c->p += 3;
}

void
csv_free(struct csv *c)
{
	for (size_t i = 0; i < c->cells; i++)
		free(c->cell[i]);
	c->cells = 0;
}

/* Whether a row ends here; passes over its end. */
static int
at_end(struct csv *c)
{
	if (c->p == c->end)
		return 1;
	if (c->end - c->p >= 2 && c->p[0] == '\r' && c->p[1] == '\n')
		c->p++;
	else if (*c->p != '\n')
		return 0;
	c->p++;
	c->next_line++;
	return 1;
}

/* From the opening quote to behind the closing one. */
static int
quoted(struct csv *c, struct buf *out, struct err *e)
{
	for (c->p++; c->p < c->end; c->p++) {
		if (*c->p == '"' && (++c->p == c->end || *c->p != '"'))
			return 0;
		c->next_line += *c->p == '\n';
		buf_addc(out, *c->p);
	}
	return err_set(e, "a quote that is not closed");
}

static int
one_cell(struct csv *c, struct err *e)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	const char *start = c->p;
	int rc = 0;

	if (c->cells == CSV_CELLS)
		return err_set(e, "more than %d cells", CSV_CELLS);
	buf_clear(&b);
	if (c->p < c->end && *c->p == '"') {
		rc = quoted(c, &b, e);
	} else {
		while (c->p < c->end && *c->p != ',' && *c->p != '\n' && !(*c->p == '\r' && c->p + 1 < c->end && c->p[1] == '\n'))
			c->p++;
		buf_add(&b, start, (size_t)(c->p - start));
	}
	if (rc == 0 && memchr(b.p, '\0', b.n))
		rc = err_set(e, "a NUL");
	c->cell[c->cells++] = buf_take(&b);
	return rc;
}

int
csv_next(struct csv *c, struct err *e)
{
	csv_free(c);
	while (c->p < c->end && at_end(c))
		;
	if (c->p == c->end)
		return 0;
	c->line = c->next_line;
	for (;;) {
		if (one_cell(c, e) < 0)
			return -1;
		if (at_end(c))
			return 1;
		if (*c->p != ',')
			return err_set(e, "text behind a closing quote");
		c->p++;
	}
}
