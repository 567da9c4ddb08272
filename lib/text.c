/* text.c - see text.h */

#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "err.h"

static bool
blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

const char *
text_trim(const char *s, size_t *n)
{
	while (*n && blank(s[*n - 1]))
		--*n;
	while (*n && blank(*s)) {
		s++;
		--*n;
	}
	return s;
}

/* The code point at s (a NUL-terminated UTF-8 string) and its length; an invalid byte is a code point of its own. */
static uint32_t
code_point(const char *s, int *len)
{
	const unsigned char *u = (const unsigned char *)s;
	int n = u[0] < 0xC2 ? 1 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : u[0] < 0xF5 ? 4 : 1;
	uint32_t c = n == 1 ? u[0] : u[0] & (0xFFu >> (n + 1));

	for (int i = 1; i < n; i++) {
		if ((u[i] & 0xC0) != 0x80) {
			*len = 1;
			return u[0];
		}
		c = c << 6 | (u[i] & 0x3F);
	}
	*len = n;
	return c;
}

bool
text_is_chinese(const char *s)
{
	int len;

	for (; *s; s += len) {
		uint32_t c = code_point(s, &len);

		if ((c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF))
			return true;
	}
	return false;
}

/* ---- labels ---- */

/* Bytes of the separator at s, or 0. */
static int
separator(const char *s)
{
	static const char *const wide[] = { "，", "、", "；", "。", "／" };

	if (*s == ',' || *s == ';' || *s == '\n' || *s == '/' || *s == '|')
		return 1;
	for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
		if (strncmp(s, wide[i], 3) == 0)
			return 3;
	return 0;
}

/* Cut what stands around a label in a list: bullets, numbers, quotes, brackets, stars, a trailing stop, "label:". */
static const char *
bare_label(const char *s, size_t *n)
{
	static const char around[] = " \t\r\n\"'`*-#[](){}<>.";
	size_t digits = 0;
	const char *colon;

	s = text_trim(s, n);
	while (digits < *n && isdigit((unsigned char)s[digits]))
		digits++;
	if (digits && digits < *n && (s[digits] == '.' || s[digits] == ')')) {
		s += digits + 1;
		*n -= digits + 1;
	}
	colon = memchr(s, ':', *n);
	if (colon) {
		*n -= (size_t)(colon + 1 - s);
		s = colon + 1;
	}
	while (*n && strchr(around, s[*n - 1]))
		--*n;
	while (*n && strchr(around, *s)) {
		s++;
		--*n;
	}
	return s;
}

static bool
is_prose(const char *s, size_t n)
{
	int words = 1;

	for (size_t i = 0; i < n; i++)
		words += s[i] == ' ';
	return n > TEXT_LABEL || words > 6;
}

int
text_labels(const char *s, char (*out)[TEXT_LABEL + 1], int max)
{
	int count = 0, seen;

	while (*s) {
		const char *start = s, *label;
		size_t n;

		while (*s && !separator(s))
			s++;
		n = (size_t)(s - start);
		s += separator(s);
		label = bare_label(start, &n);
		if (n == 0)
			continue;
		if (is_prose(label, n))
			return -1;
		if (count == max)
			break;
		for (size_t i = 0; i < n; i++)
			out[count][i] = (char)(label[i] & 0x80 ? label[i] : tolower((unsigned char)label[i]));
		out[count][n] = '\0';
		for (seen = 0; strcmp(out[seen], out[count]) != 0; seen++)
			;
		count += seen == count;
	}
	return count;
}

/* ---- thought and answer ---- */

static const char *
skip_marks(const char *s, const char *end)
{
	while (s < end && (*s == '*' || *s == '#' || *s == ' ' || *s == '\t' || *s == '\r'))
		s++;
	return s;
}

static const char *
next_line(const char *s)
{
	s = strchr(s, '\n');
	return s ? s + 1 : NULL;
}

/* Where the text after an answer heading begins, when the line at s starts with one; else NULL. */
static const char *
after_heading(const char *s, const char *end)
{
	static const char *const word[] = { "answer", "final answer", "回答", "答案", "答复", "回复" };

	s = skip_marks(s, end);
	for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
		size_t n = strlen(word[i]);
		const char *p;

		if ((size_t)(end - s) < n || strncasecmp(s, word[i], n) != 0)
			continue;
		p = skip_marks(s + n, end);
		if (p < end && *p == ':')
			return skip_marks(p + 1, end);
		if (end - p >= 3 && memcmp(p, "：", 3) == 0)
			return skip_marks(p + 3, end);
	}
	return NULL;
}

static int
split_at(const char *s, const char *cut, const char *rest, struct thought *out)
{
	out->nthought = (size_t)(cut - s);
	out->thought = text_trim(s, &out->nthought);
	out->nanswer = strlen(rest);
	out->answer = text_trim(rest, &out->nanswer);
	return out->nanswer ? 0 : -1;
}

int
text_thought(const char *s, struct thought *out)
{
	const char *end = s + strlen(s), *line, *answer, *close;
	const char *open = s + strspn(s, " \t\r\n");

	if (strncmp(open, "<think>", 7) == 0 && (close = strstr(open, "</think>"))) {
		const char *rest = close + 8;

		for (line = rest; line && line < end; line = next_line(line))
			if ((answer = after_heading(line, end)))
				rest = answer;
		return split_at(open + 7, close, rest, out);
	}
	for (line = s; line && line < end; line = next_line(line))
		if ((answer = after_heading(line, end)))
			return split_at(s, line, answer, out);
	return -1;
}

/* ---- a written prompt ---- */

char *
text_candidate(const char *text)
{
	size_t n = strlen(text), line;
	const char *s = text_trim(text, &n), *newline = memchr(s, '\n', n);

	line = newline ? (size_t)(newline - s) : n;
	if (line > 2 && (s[0] == '-' || s[0] == '*') && s[1] == ' ') {
		s += 2;
		line -= 2;
	}
	s = text_trim(s, &line);
	if (line >= 2 && s[0] == '"' && s[line - 1] == '"') {
		s++;
		line -= 2;
	}
	return xstrndup(s, line);
}

/* ---- likeness ---- */

uint64_t
text_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t
unique(uint64_t *v, size_t n)
{
	size_t kept = 0;

	qsort(v, n, sizeof *v, by_value);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[i - 1])
			v[kept++] = v[i];
	return kept;
}

/* The text's characters, lower-cased and with white space folded to one blank; n of them. */
static uint32_t *
characters(const char *s, size_t *n)
{
	size_t bytes = strlen(s);
	uint32_t *c;
	int len;

	s = text_trim(s, &bytes);
	c = xreallocarray(NULL, bytes + 1, sizeof *c);
	*n = 0;
	for (const char *end = s + bytes; s < end; s += len) {
		uint32_t one = code_point(s, &len);

		if (one < 0x80)
			one = blank((char)one) ? ' ' : (uint32_t)tolower((int)one);
		if (one != ' ' || *n == 0 || c[*n - 1] != ' ')
			c[(*n)++] = one;
	}
	return c;
}

uint64_t *
text_grams(const char *s, size_t *n)
{
	size_t chars;
	uint32_t *c = characters(s, &chars);
	size_t grams = chars == 0 ? 0 : chars < 3 ? 1 : chars - 2;
	uint64_t *v = xreallocarray(NULL, grams + 1, sizeof *v);

	for (size_t i = 0; i < grams; i++) {
		uint64_t h = 0;

		for (size_t k = i; k < i + 3 && k < chars; k++)
			h = h << 21 | c[k];
		v[i] = h;
	}
	free(c);
	*n = unique(v, grams);
	return v;
}

double
text_likeness(const uint64_t *a, size_t na, const uint64_t *b, size_t nb)
{
	size_t both = 0, i = 0, k = 0;

	while (i < na && k < nb) {
		both += a[i] == b[k];
		if (a[i] < b[k])
			i++;
		else if (a[i] > b[k])
			k++;
		else
			i++, k++;
	}
	return na + nb == 0 ? 1 : (double)both / (double)(na + nb - both);
}
