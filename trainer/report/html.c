/* html.c - see html.h */

#include "html.h"

#include <stdio.h>
#include <string.h>

void
html_text_n(struct buf *out, const char *s, size_t n)
{
	for (const char *end = s + n; s < end; s++) {
		unsigned char c = (unsigned char)*s;

		switch (c) {
		case '&': buf_adds(out, "&amp;"); break;
		case '<': buf_adds(out, "&lt;"); break;
		case '>': buf_adds(out, "&gt;"); break;
		case '"': buf_adds(out, "&quot;"); break;
		case '\'': buf_adds(out, "&#39;"); break;
		default:
			if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
				buf_adds(out, "\uFFFD");
			else
				buf_addc(out, (char)c);
		}
	}
}

void
html_text(struct buf *out, const char *s)
{
	html_text_n(out, s, strlen(s));
}

char *
count_text(char out[COUNT_TEXT], long long n)
{
	char digits[COUNT_TEXT];
	int len = snprintf(digits, sizeof digits, "%lld", n), at = 0;

	for (int i = 0; i < len; i++) {
		out[at++] = digits[i];
		if (digits[i] != '-' && (len - 1 - i) % 3 == 0 && i < len - 1)
			out[at++] = ',';
	}
	out[at] = '\0';
	return out;
}

void
section_open(struct buf *out, const char *id, const char *title)
{
	buf_addf(out, "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h2 id=\"%s-title\">", id, id, id);
	html_text(out, title);
	buf_adds(out, "</h2>\n");
}

void
section_close(struct buf *out)
{
	buf_adds(out, "</section>\n");
}

void
table_open(struct buf *out, const char *caption, const char *const *head, unsigned left)
{
	static int tables;

	/* Not <caption>: that is as wide as the table and would scroll out of sight with it. */
	buf_addf(out, "<p class=\"caption\" id=\"table%d\">", ++tables);
	html_text(out, caption);
	buf_addf(out, "</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"table%d\">\n", tables);
	buf_addf(out, "<table aria-labelledby=\"table%d\">\n<thead><tr>", tables);
	for (int i = 0; head[i]; i++) {
		buf_addf(out, "<th scope=\"col\"%s>", left >> i & 1 ? " class=\"left\"" : "");
		html_text(out, head[i]);
		buf_adds(out, "</th>");
	}
	buf_adds(out, "</tr></thead>\n<tbody>\n");
}

void
table_close(struct buf *out)
{
	buf_adds(out, "</tbody>\n</table>\n</div>\n");
}

void
cell_text(struct buf *out, const char *s)
{
	buf_adds(out, "<td>");
	html_text(out, s);
	buf_adds(out, "</td>");
}

void
cell_head(struct buf *out, const char *s)
{
	buf_adds(out, "<th scope=\"row\">");
	html_text(out, s);
	buf_adds(out, "</th>");
}

void
cell_count(struct buf *out, const json_t *n)
{
	char text[COUNT_TEXT];

	cell_text(out, json_is_number(n) ? count_text(text, (long long)json_number_value(n)) : "–");
}

double
member_num(const json_t *o, const char *name, double otherwise)
{
	const json_t *x = json_object_get(o, name);

	return json_is_number(x) ? json_number_value(x) : otherwise;
}

const char *
member_text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

size_t
utf8_head(const char *s, size_t chars)
{
	size_t at = 0;

	for (; s[at]; at++)
		if (((unsigned char)s[at] & 0xC0) != 0x80 && chars-- == 0)
			break;
	return at;
}
