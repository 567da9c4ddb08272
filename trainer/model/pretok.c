/* pretok.c - text to pieces, and GPT-2's byte alphabet
 *
 * The known expressions are of one make:
 *
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *
 * and differ in how many digits go together. A matcher by hand takes a text in one pass, some times faster than an engine of regular expressions:
 * the class of a character (letter, number, white space or other) and at most that of the next one decide which alternative it is. */
#include "pretok.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define BEFORE "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define AFTER "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const char pretok_llama3[] = BEFORE "\\p{N}{1,3}" AFTER, pretok_qwen2[] = BEFORE "\\p{N}" AFTER;

static const struct {
	const char *pattern;
	int digits;
} known[] = { { pretok_llama3, 3 }, { pretok_qwen2, 1 } };

enum class { OTHER, LETTER, NUMBER, SPACE };

#define NEAR 0x10000	/* characters below it have their class in a table */

struct pretok {
	int digits;
	unsigned char class[NEAR];
};

/* ---- classes ---- */

struct range {
	int from, to;
};

/* Letters and numbers of Unicode 15 and 16, which the reference engine knows; utf8proc may be older. */
static const struct range new_letters[] = {
	{ 0x1c89, 0x1c8a }, { 0xa7cb, 0xa7cd }, { 0xa7da, 0xa7dc }, { 0x105c0, 0x105f3 }, { 0x10d4a, 0x10d65 }, { 0x10d6f, 0x10d85 },
	{ 0x10ec2, 0x10ec4 }, { 0x1123f, 0x11240 }, { 0x11380, 0x11389 }, { 0x1138b, 0x1138b }, { 0x1138e, 0x1138e }, { 0x11390, 0x113b5 },
	{ 0x113b7, 0x113b7 }, { 0x113d1, 0x113d1 }, { 0x113d3, 0x113d3 }, { 0x11bc0, 0x11be0 }, { 0x11f02, 0x11f02 }, { 0x11f04, 0x11f10 },
	{ 0x11f12, 0x11f33 }, { 0x1342f, 0x1342f }, { 0x13441, 0x13446 }, { 0x13460, 0x143fa }, { 0x16100, 0x1611d }, { 0x16d40, 0x16d6c },
	{ 0x18cff, 0x18cff }, { 0x1b132, 0x1b132 }, { 0x1b155, 0x1b155 }, { 0x1df25, 0x1df2a }, { 0x1e030, 0x1e06d }, { 0x1e4d0, 0x1e4eb },
	{ 0x1e5d0, 0x1e5ed }, { 0x1e5f0, 0x1e5f0 }, { 0x2b739, 0x2b739 }, { 0x2ebf0, 0x2ee5d }, { 0x31350, 0x323af },
};
static const struct range new_numbers[] = {
	{ 0x10d40, 0x10d49 }, { 0x116d0, 0x116e3 }, { 0x11bf0, 0x11bf9 }, { 0x11f50, 0x11f59 }, { 0x16130, 0x16139 }, { 0x16d70, 0x16d79 },
	{ 0x1ccf0, 0x1ccf9 }, { 0x1d2c0, 0x1d2d3 }, { 0x1e4f0, 0x1e4f9 }, { 0x1e5f1, 0x1e5fa },
};

static bool
within(const struct range *r, size_t n, int c)
{
	size_t lo = 0;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (c > r[mid].to)
			lo = mid + 1;
		else
			n = mid;
	}
	return c >= r[lo].from && c <= r[lo].to;
}

#define WITHIN(table, c) within(table, sizeof table / sizeof *table - 1, c)

static enum class
class_of(int c)
{
	if (white_space(c))
		return SPACE;
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO:
		return LETTER;
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO:
		return NUMBER;
	case UTF8PROC_CATEGORY_CN:
		return WITHIN(new_letters, c) ? LETTER : WITHIN(new_numbers, c) ? NUMBER : OTHER;
	default:
		return OTHER;
	}
}

struct pretok *
pretok_new(const char *pattern, struct err *e)
{
	struct pretok *p;
	size_t i = 0;

	while (i < sizeof known / sizeof *known && strcmp(known[i].pattern, pattern) != 0)
		i++;
	if (i == sizeof known / sizeof *known) {
		err_set(e, "unknown pre-tokenizer pattern %.200s", pattern);
		return NULL;
	}
	p = xcalloc(1, sizeof *p);
	p->digits = known[i].digits;
	for (int c = 0; c < NEAR; c++)
		p->class[c] = class_of(c);
	return p;
}

void
pretok_free(struct pretok *p)
{
	free(p);
}

/* ---- matching: s[0..n) is valid UTF-8, its end is the end of the text ---- */

struct text {
	const struct pretok *p;
	const unsigned char *s;
	size_t n;
};

/* The class of the character at `at`, and its length. */
static inline enum class
class_at(const struct text *t, size_t at, size_t *len)
{
	const unsigned char *s = t->s + at;

	*len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	switch (*len) {
	case 1:
		return t->p->class[s[0]];
	case 2:
		return t->p->class[(s[0] & 0x1f) << 6 | (s[1] & 0x3f)];
	case 3:
		return t->p->class[(s[0] & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f)];
	default:
		return class_of((s[0] & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f));
	}
}

/* The end of the run of `class` at `at`, which may be empty; of at most `most` characters. */
static inline size_t
run_of(const struct text *t, enum class class, size_t at, size_t most)
{
	size_t len;

	while (most-- > 0 && at < t->n && class_at(t, at, &len) == class)
		at += len;
	return at;
}

/* Others, then line ends. */
static size_t
others(const struct text *t, size_t at)
{
	at = run_of(t, OTHER, at, SIZE_MAX);
	while (at < t->n && (t->s[at] == '\r' || t->s[at] == '\n'))
		at++;
	return at;
}

/* White space: up to the run's last line end; where it has none, all of it at the end of the text, else all but the last character, which goes with
 * what follows. */
static size_t
spaces(const struct text *t, size_t at)
{
	size_t last = at, line = 0, end = at, len;

	while (end < t->n && class_at(t, end, &len) == SPACE) {
		last = end;
		end += len;
		if (t->s[last] == '\r' || t->s[last] == '\n')
			line = end;
	}
	return line ? line : end == t->n || last == at ? end : last;
}

/* The end of a contraction whose apostrophe is at `at`, or 0. Without regard to case: U+017F is an s too. */
static size_t
contraction(const struct text *t, size_t at)
{
	const unsigned char *s = t->s + at + 1;
	size_t n = t->n - at - 1;
	int a = n > 0 ? s[0] | 0x20 : 0, b = n > 1 ? s[1] | 0x20 : 0;

	if (n > 1 && s[0] == 0xc5 && s[1] == 0xbf)
		return at + 3;
	if (n > 0 && s[0] < 0x80 && (a == 's' || a == 't' || a == 'm' || a == 'd'))
		return at + 2;
	return n > 1 && s[0] < 0x80 && s[1] < 0x80 && ((a == 'l' && b == 'l') || (b == 'e' && (a == 'r' || a == 'v'))) ? at + 3 : 0;
}

static inline size_t
piece_end(const struct text *t, size_t at)
{
	size_t len, next, end;
	enum class class = class_at(t, at, &len), after;

	if (class == LETTER)
		return run_of(t, LETTER, at + len, SIZE_MAX);
	if (class == NUMBER)
		return run_of(t, NUMBER, at + len, t->p->digits - 1);
	if (t->s[at] == '\'' && (end = contraction(t, at)))
		return end;
	after = at + len < t->n ? class_at(t, at + len, &next) : SPACE;
	if (after == LETTER && t->s[at] != '\r' && t->s[at] != '\n')
		return run_of(t, LETTER, at + len + next, SIZE_MAX);
	if (class == OTHER || (after == OTHER && t->s[at] == ' '))
		return others(t, at + len);
	return spaces(t, at);
}

/* How many of s[0..n) are valid UTF-8 (Unicode 15, table 3-7). */
static size_t
valid(const unsigned char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		uint64_t eight;

		while (n - i >= 8 && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u)))
			i += 8;
		if (i == n)
			return i;
		if (s[i] < 0x80) {
			i++;
		} else if (n - i >= 3 && s[i] >= 0xe1 && s[i] <= 0xef && s[i] != 0xed && (s[i + 1] & 0xc0) == 0x80 && (s[i + 2] & 0xc0) == 0x80) {
			i += 3;	/* nearly all text that is not ASCII; the others are not worth a branch each */
		} else {
			utf8proc_int32_t c;
			utf8proc_ssize_t k = utf8proc_iterate(s + i, n - i, &c);

			if (k <= 0)
				return i;
			i += k;
		}
	}
}

void
pretok_run(const struct pretok *p, const char *s, size_t n, pretok_piece *piece, void *arg)
{
	while (n > 0) {
		struct text t = { p, (const unsigned char *)s, valid((const unsigned char *)s, n) };
		size_t at = 0, end;

		for (; at < t.n; at = end) {
			end = piece_end(&t, at);
			piece(arg, s + at, end - at);
		}
		if (at < n)
			piece(arg, s + at++, 1);
		s += at;
		n -= at;
	}
}

/* A byte that prints stands for itself; the other 68 (0..0x20, 0x7f..0xa0 and 0xad) follow from U+0100 on, in order. */
int
alphabet_char(unsigned char byte)
{
	if (byte <= 0x20)
		return 0x100 + byte;
	if (byte >= 0x7f && byte <= 0xa0)
		return 0x121 + byte - 0x7f;
	return byte == 0xad ? 0x143 : byte;
}

int
alphabet_byte(int c)
{
	if (c >= 0x100 && c <= 0x120)
		return c - 0x100;
	if (c >= 0x121 && c <= 0x142)
		return c - 0x121 + 0x7f;
	if (c == 0x143)
		return 0xad;
	return c >= 0 && c < 0x100 && alphabet_char(c) == c ? c : -1;
}

bool
white_space(int c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
		c == 0x202f || c == 0x205f || c == 0x3000;
}
