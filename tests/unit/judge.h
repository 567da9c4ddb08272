/* judge.h - jansson as the judge of what is JSON, and how two texts differ */
#ifndef JUDGE_H
#define JUDGE_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What it reads; NULL when the text is no JSON. *held is false when the value is not quite the text's.
 *
 * jansson differs from the RFC in four things. Reals past a double are refused (1e400, 400 digits): such a number becomes 1. NUL in a key is
 * refused even where it is allowed in strings: it becomes \u0001. More than 2,048 levels are refused: so they are by us, but jansson counts a
 * value that is no array or object as a level too. A raw NUL behind a number is overlooked: a text with one, which the RFC allows nowhere, is
 * not shown to it. */
static inline json_t *
judge(const char *text, size_t n, int *held)
{
	char *s;
	json_error_t e;
	json_t *v;

	*held = 1;
	if (memchr(text, '\0', n))
		return NULL;
	s = malloc(n ? n : 1);
	memcpy(s, text, n);
	while (!(v = json_loadb(s, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e))) {
		size_t end = (size_t)e.position, from = end;

		if (json_error_code(&e) == json_error_numeric_overflow) {
			while (from > 0 && s[from - 1] && strchr("0123456789+-.eE", s[from - 1])) {
				from--;
				if (s[from] == '-' && (from == 0 || (s[from - 1] | 0x20) != 'e'))
					break;	/* what stands before it is another number */
			}
			from += s[from] == '-';
			memset(s + from, ' ', end - from);
			s[from] = '1';
		} else if (json_error_code(&e) == json_error_null_byte_in_key) {
			for (from -= 6; memcmp(s + from, "\\u0000", 6) != 0; from--)
				;
			s[from + 5] = '1';
		} else {
			break;
		}
		*held = 0;
	}
	free(s);
	return v;
}

static inline int
is_value(const char *s, size_t n)
{
	int held;
	json_t *v = judge(s, n, &held);

	json_decref(v);
	return v != NULL;
}

static inline size_t
common_head(const char *a, size_t n, const char *b, size_t m)
{
	size_t i = 0;

	while (i < n && i < m && a[i] == b[i])
		i++;
	return i;
}

static inline size_t
common_tail(const char *a, size_t n, const char *b, size_t m)
{
	size_t i = 0;

	while (i < n && i < m && a[n - 1 - i] == b[m - 1 - i])
		i++;
	return i;
}

/* Is `out` the text with one value in it replaced by `text`? */
static inline int
is_replaced(const char *s, size_t n, const char *out, size_t m, const char *text)
{
	size_t len = strlen(text), head = common_head(s, n, out, m), tail = common_tail(s, n, out, m);

	for (size_t at = m < len + tail ? 0 : m - len - tail; at <= head && at + len <= m; at++)
		if (memcmp(out + at, text, len) == 0 && n + len >= m && is_value(s + at, n - (m - len)))
			return 1;
	return 0;
}

static inline int
is_inserted(const char *s, size_t n, const char *out, size_t m, const char *text)
{
	size_t len = strlen(text);

	return m == n + len && common_head(s, n, out, m) + common_tail(s, n, out, m) >= n && memmem(out, m, text, len);
}

/* Is `out` what is left of the text when some bytes are taken out? */
static inline int
is_thinned(const char *s, size_t n, const char *out, size_t m)
{
	size_t k = 0;

	for (size_t i = 0; i < n && k < m; i++)
		k += s[i] == out[k];
	return k == m;
}

#endif
