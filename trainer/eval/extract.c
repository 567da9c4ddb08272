/* extract.c - see extract.h */

#include "extract.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "err.h"

/* ---- Python's strings ---- */

/* str.isspace() of one character: what strip() takes off. */
static bool
is_space(utf8proc_int32_t c)
{
	return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* The character at s and its length in bytes; a byte that is no UTF-8 is one character. */
static utf8proc_int32_t
decode(const char *s, size_t n, size_t *len)
{
	utf8proc_int32_t c;
	utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c);

	*len = got > 0 ? (size_t)got : 1;
	return got > 0 ? c : (unsigned char)*s;
}

/* Length in bytes of the last character of s[0..n), n > 0. */
static size_t
last_char(const char *s, size_t n)
{
	size_t len = 1;

	while (len < n && len < 4 && ((unsigned char)s[n - len] & 0xC0) == 0x80)
		len++;
	return len;
}

const char *
extract_strip(const char *s, size_t *n)
{
	size_t len;

	while (*n && is_space(decode(s, *n, &len))) {
		s += len;
		*n -= len;
	}
	while (*n) {
		size_t last = last_char(s, *n);

		if (!is_space(decode(s + *n - last, last, &len)))
			break;
		*n -= last;
	}
	return s;
}

/* str.lower(), character by character. The result is the caller's. */
static char *
lower(const char *s)
{
	size_t n = strlen(s), at = 0, len;
	char *out = xmalloc(2 * n + 1);	/* a lower-case form is at most one byte longer than its capital (2 -> 3) */

	for (; n; s += len, n -= len) {
		utf8proc_int32_t c = decode(s, n, &len);

		if (len == 1)
			out[at++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : *s;
		else
			at += (size_t)utf8proc_encode_char(utf8proc_tolower(c), (utf8proc_uint8_t *)out + at);
	}
	out[at] = '\0';
	return out;
}

/* ---- the script's steps ---- */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static bool
has_letter_with(const char *line, char letter, const char *after)
{
	char text[8] = { letter };

	strcat(text, after);
	return strstr(line, text) != NULL;
}

/* The last or the second-last character is the letter. */
static bool
letter_near_end(const char *line, char letter)
{
	size_t n = strlen(line), last = last_char(line, n);

	return line[n - 1] == letter || (n > last && line[n - last - 1] == letter);
}

/* Which of A..D the line gives, or -1. */
static int
letter_of(const char *line)
{
	if (!*line)
		return -1;
	for (int k = 0; k < OPTIONS_MAX; k++) {
		char x = (char)('A' + k);

		if (has_letter_with(line, x, ")") || has_letter_with(line, x, "：") || has_letter_with(line, x, "。") ||
			letter_near_end(line, x))
			return k;
		if (line[0] == x && (line[1] == ' ' || line[1] == '.' || line[1] == '('))
			return k;
	}
	return -1;
}

/* Whether the line (lower-cased) holds the option's text, the same without its full stop, or 是/否 for 对/不. */
static bool
holds_option(const char *line, const char *option)
{
	char *text = lower(option);
	size_t n = strlen(text);
	bool found = strstr(line, text) != NULL;

	if (!found && ends_with(text, "."))
		text[n - 1] = '\0';
	else if (!found && ends_with(text, "。"))
		text[n - strlen("。")] = '\0';
	found = found || strstr(line, text) != NULL;
	if (!found && strcmp(option, "对") == 0)
		found = strstr(line, "是") != NULL;
	else if (!found && strcmp(option, "不") == 0)
		found = strstr(line, "否") != NULL;
	free(text);
	return found;
}

static int
option_of(const char *line, const char *const *options, size_t noptions)
{
	char *low = lower(line);
	int found = -1;

	for (size_t i = 0; i < noptions && found < 0; i++)
		if (holds_option(low, options[i]))
			found = (int)i;
	free(low);
	return found;
}

int
extract_option(const char *reply, const char *const *options, size_t noptions)
{
	size_t n = strlen(reply);
	char *text, *line, *rest;
	int found;

	reply = extract_strip(reply, &n);
	text = xstrndup(reply, n);
	line = text;
	rest = text + strcspn(text, "\n");
	if (*rest)
		*rest++ = '\0';
	found = letter_of(line);
	if (found < 0)
		found = option_of(line, options, noptions);
	if (found < 0) {	/* the next line that is not empty */
		rest += strspn(rest, "\n");
		rest[strcspn(rest, "\n")] = '\0';
		found = letter_of(rest);
	}
	free(text);
	return found;
}
