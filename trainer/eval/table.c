/* table.c - see table.h */

#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "wilson.h"

json_t *
figure(size_t sure, size_t possible, size_t n)
{
	double least = n ? 100.0 * (double)sure / (double)n : 0, most = n ? 100.0 * (double)possible / (double)n : 100;

	return json_pack("{s:I, s:o, s:[f,f], s:f, s:f}", "n", (json_int_t)n,
		"score", n && sure == possible ? json_real(least) : json_null(),
		"range", least, most, "low", 100 * wilson(sure, n).low, "high", 100 * wilson(possible, n).high);
}

static double
number(const json_t *f, const char *name)
{
	return json_number_value(json_object_get(f, name));
}

void
figure_text(const json_t *f, char *out, size_t max)
{
	const json_t *range = json_object_get(f, "range");

	if (number(f, "n") == 0)
		snprintf(out, max, "-");
	else if (json_is_null(json_object_get(f, "score")))
		snprintf(out, max, "%.1f-%.1f", json_number_value(json_array_get(range, 0)), json_number_value(json_array_get(range, 1)));
	else
		snprintf(out, max, "%.1f", number(f, "score"));
}

void
figure_interval(const json_t *f, char *out, size_t max)
{
	if (number(f, "n") == 0)
		snprintf(out, max, "-");
	else
		snprintf(out, max, "%.1f .. %.1f", number(f, "low"), number(f, "high"));
}

void
table_row(struct table *t, ...)
{
	va_list ap;

	if (t->rows == sizeof t->cell / sizeof *t->cell)
		return;
	va_start(ap, t);
	for (size_t c = 0; c < t->columns; c++)
		t->cell[t->rows][c] = xstrdup(va_arg(ap, const char *));
	va_end(ap);
	t->rows++;
}

void
table_print(const struct table *t, struct buf *out)
{
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t c = 0; c < t->columns; c++) {
			int width = 0;

			for (size_t k = 0; k < t->rows; k++)
				if ((int)strlen(t->cell[k][c]) > width)
					width = (int)strlen(t->cell[k][c]);
			buf_addf(out, "%s%*s", c ? "  " : "", c < t->left ? -width : width, t->cell[r][c]);
		}
		while (out->n && out->p[out->n - 1] == ' ')
			out->p[--out->n] = '\0';
		buf_addc(out, '\n');
	}
}

void
table_free(struct table *t)
{
	for (size_t r = 0; r < t->rows; r++)
		for (size_t c = 0; c < t->columns; c++)
			free(t->cell[r][c]);
	t->rows = 0;
}
