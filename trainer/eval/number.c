/* number.c - see number.h */

#include "number.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "err.h"

#define OTHER_DIGIT '\1'	/* a decimal digit outside ASCII */
#define OTHER '\2'

static bool
is_ascii_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_digit(char c)
{
	return is_ascii_digit(c) || c == OTHER_DIGIT;
}

/* The text with one byte for each character: ASCII as it is, other digits and the rest as their kind. To be freed. */
static char *
kinds(const char *text)
{
	const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
	size_t left = strlen(text), n = 0;
	char *out = xmalloc(left + 1);
	utf8proc_int32_t c;

	while (left) {
		utf8proc_ssize_t k = utf8proc_iterate(s, (utf8proc_ssize_t)left, &c);

		if (k < 1)
			k = 1, c = 0xfffd;
		if (c < 0x80)
			out[n++] = (char)(c < 3 ? ' ' : c);
		else
			out[n++] = utf8proc_category(c) == UTF8PROC_CATEGORY_ND ? OTHER_DIGIT : OTHER;
		s += k;
		left -= (size_t)k;
	}
	out[n] = '\0';
	return out;
}

static bool
copy(char out[NUMBER_MAX], const char *s, size_t n)
{
	if (n >= NUMBER_MAX)
		return false;
	memcpy(out, s, n);
	out[n] = '\0';
	return true;
}

/* ---- lm-evaluation-harness ---- */

bool
number_strict(const char *text, char out[NUMBER_MAX])
{
	for (const char *p = text; (p = strstr(p, "#### ")); p++) {
		const char *s = p + 5;
		size_t sign = *s == '-', n = strspn(s + sign, "0123456789.,");

		if (n)
			return copy(out, s, sign + n);
	}
	return false;
}

/* Length of the match at s, 0 for none. */
static size_t
flexible_at(const char *s)
{
	size_t sign = *s == '-', n = strspn(s + sign, "$0123456789.,");

	return n >= 2 || (n == 1 && is_ascii_digit(s[sign])) ? sign + n : 0;
}

bool
number_flexible(const char *text, char out[NUMBER_MAX])
{
	const char *last = NULL;
	size_t length = 0, n;

	for (const char *s = text; *s; s += n ? n : 1) {
		n = flexible_at(s);
		if (n) {
			last = s;
			length = n;
		}
	}
	return last && copy(out, last, length);
}

/* Into `out` without commas, dollar signs and a full stop at the end. */
static void
plain(char out[NUMBER_MAX], const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		if (*s != ',' && *s != '$')
			out[n++] = *s;
	n -= n && out[n - 1] == '.';
	out[n] = '\0';
}

bool
number_same_text(const char *a, const char *b)
{
	char x[NUMBER_MAX], y[NUMBER_MAX];

	plain(x, a);
	plain(y, b);
	return strcmp(x, y) == 0;
}

/* ---- Qwen ---- */

/* Python's eval() of n bytes: a sign, digits, a full stop; commas and + are left out before. */
static bool
evaluate(const char *s, size_t n, double *out)
{
	char text[NUMBER_MAX];
	size_t k = 0, sign;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == ',' || s[i] == '+')
			continue;
		if (s[i] == OTHER_DIGIT || k == NUMBER_MAX - 1)
			return false;
		text[k++] = s[i];
	}
	text[k] = '\0';
	sign = *text == '-';
	if (!strchr(text, '.') && text[sign] == '0' && strspn(text + sign, "0") < k - sign)
		return false;	/* 05; but 00 and 05.0 are numbers */
	*out = strtod(text, NULL);
	return true;
}

bool
number_last_digits(const char *text, double *out)
{
	char *s = kinds(text);
	size_t end = strlen(s), start;
	bool ok;

	while (end && !is_digit(s[end - 1]))
		end--;
	for (start = end; start && is_digit(s[start - 1]); )
		start--;
	ok = end > start && evaluate(s + start, end - start, out);
	free(s);
	return ok;
}

static size_t
run_of_digits(const char *s)
{
	size_t n = 0;

	while (is_digit(s[n]))
		n++;
	return n;
}

/* Length of the match at s, 0 for none. What the expression tries and takes back comes to this: the whole run of digits; groups of three behind
 * commas when the run begins with 1 to 9 and has three digits at most, but not a group that a further digit follows; then a fraction. */
static size_t
last_at(const char *s)
{
	size_t n = *s == '+' || *s == '-', run;
	const char *p = s + n;

	if (!is_ascii_digit(*p) && !(*p == '.' && is_ascii_digit(p[1])))
		return 0;
	run = run_of_digits(p);
	if (run && run <= 3 && *p != '0')
		while (p[run] == ',' && run_of_digits(p + run + 1) == 3)
			run += 4;
	if (p[run] == '.')
		run += 1 + run_of_digits(p + run + 1);
	return n + run;
}

bool
number_last(const char *text, double *out)
{
	char *s = kinds(text);
	const char *last = NULL;
	size_t length = 0, n;
	bool ok;

	for (const char *p = s; *p; p += n ? n : 1) {
		n = last_at(p);
		if (n) {
			last = p;
			length = n;
		}
	}
	ok = last && evaluate(last, length, out);
	free(s);
	return ok;
}
