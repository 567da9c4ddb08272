/* chars.c - see chars.h */
#include "chars.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define LAST 0x10FFFF

void
chars_add(struct chars *c, uint32_t lo, uint32_t hi)
{
	if (c->n == CHARS_RANGES) {
		c->full = true;
		return;
	}
	c->range[c->n].lo = lo;
	c->range[c->n++].hi = hi;
}

static int
by_lo(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void
chars_sort(struct chars *c)
{
	int n = 0;

	qsort(c->range, c->n, sizeof *c->range, by_lo);
	for (int i = 0; i < c->n; i++) {
		if (n > 0 && c->range[i].lo <= c->range[n - 1].hi + 1) {
			if (c->range[i].hi > c->range[n - 1].hi)
				c->range[n - 1].hi = c->range[i].hi;
		} else {
			c->range[n++] = c->range[i];
		}
	}
	c->n = n;
}

void
chars_invert(struct chars *c)
{
	struct chars out = { .full = c->full };
	uint32_t from = 1;

	chars_sort(c);
	for (int i = 0; i < c->n; i++) {
		if (c->range[i].lo > from)
			chars_add(&out, from, c->range[i].lo - 1);
		from = c->range[i].hi + 1;
	}
	if (from <= LAST)
		chars_add(&out, from, LAST);
	*c = out;
}

/* ---- UTF-8 ---- */

static bool
all(const unsigned char *p, int n, unsigned char byte)
{
	for (int i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/* Sequences of n bytes from lo to hi, in the order of their code points. */
static void
put_between(struct grammar *g, int from, int to, const unsigned char *lo, const unsigned char *hi, int n)
{
	static const unsigned char least[] = { 0x80, 0x80, 0x80 }, most[] = { 0xBF, 0xBF, 0xBF };
	int first = lo[0], last = hi[0], mid;

	if (n == 1) {
		grammar_bytes(g, from, first, last, to);
		return;
	}
	if (first == last) {
		mid = grammar_state(g);
		grammar_bytes(g, from, first, first, mid);
		put_between(g, mid, to, lo + 1, hi + 1, n - 1);
		return;
	}
	if (!all(lo + 1, n - 1, 0x80)) {
		mid = grammar_state(g);
		grammar_bytes(g, from, first, first, mid);
		put_between(g, mid, to, lo + 1, most, n - 1);
		first++;
	}
	if (!all(hi + 1, n - 1, 0xBF)) {
		mid = grammar_state(g);
		grammar_bytes(g, from, last, last, mid);
		put_between(g, mid, to, least, hi + 1, n - 1);
		last--;
	}
	if (first <= last) {
		mid = grammar_state(g);
		grammar_bytes(g, from, first, last, mid);
		put_between(g, mid, to, least, most, n - 1);
	}
}

static void
put_range(struct grammar *g, int from, int to, uint32_t lo, uint32_t hi)
{
	static const uint32_t part[][2] = { { 1, 0x7F }, { 0x80, 0x7FF }, { 0x800, 0xD7FF }, { 0xE000, 0xFFFF }, { 0x10000, LAST } };

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		uint32_t a = lo > part[i][0] ? lo : part[i][0], b = hi < part[i][1] ? hi : part[i][1];
		unsigned char first[4], last[4];

		if (a > b)
			continue;
		put_between(g, from, to, first, last, (utf8proc_encode_char(a, first), utf8proc_encode_char(b, last)));
	}
}

static void
put_escaped(struct grammar *g, int from, int to, uint32_t c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *at = strchr(plain, c);
	char text[8];

	if (at)
		snprintf(text, sizeof text, "\\%c", letter[at - plain]);
	else
		snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
	grammar_skip(g, grammar_text(g, from, text, strlen(text)), to);
}

void
chars_put(struct grammar *g, int from, int to, const struct chars *c, bool json)
{
	for (int i = 0; i < c->n && !grammar_full(g); i++) {
		uint32_t lo = c->range[i].lo, hi = c->range[i].hi;

		for (; json && lo <= hi && lo <= '\\'; lo++) {
			if (lo < 0x20 || lo == '"' || lo == '\\')
				put_escaped(g, from, to, lo);
			else
				grammar_bytes(g, from, lo, lo, to);
		}
		if (lo <= hi)
			put_range(g, from, to, lo, hi);
	}
}

/* ---- any character ---- */

#define HEX "09afAF"

/* A byte of one of the ranges: pairs of first and last. */
static int
put_class(struct grammar *g, int from, const char *ranges)
{
	int to = grammar_state(g);

	for (; *ranges; ranges += 2)
		grammar_bytes(g, from, ranges[0], ranges[1], to);
	return to;
}

/* Classes one after the other, then `to`. */
static void
put_classes(struct grammar *g, int from, int to, const char *const *classes)
{
	for (; *classes; classes++)
		from = put_class(g, from, *classes);
	grammar_skip(g, from, to);
}

static void
put_unicode_escape(struct grammar *g, int from, int to)
{
	static const char *const forms[][10] = {
		{ "19acACefEF", HEX, HEX, HEX },
		{ "ddDD", "07", HEX, HEX },
		{ "ddDD", "89abAB", HEX, HEX, "\\\\", "uu", "ddDD", "cfCF", HEX, HEX },
		{ "00", "19afAF", HEX, HEX }, { "00", "00", "19afAF", HEX }, { "00", "00", "00", "19afAF" },
	};
	const char *form[11] = { NULL };

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		memcpy(form, forms[i], sizeof forms[i]);
		put_classes(g, from, to, form);
	}
}

void
chars_put_any(struct grammar *g, int from, int to)
{
	int escape = grammar_state(g), code = grammar_state(g);

	put_range(g, from, to, 0x20, '"' - 1);
	put_range(g, from, to, '"' + 1, '\\' - 1);
	put_range(g, from, to, '\\' + 1, LAST);
	grammar_bytes(g, from, '\\', '\\', escape);
	for (const char *p = "\"\\/bfnrt"; *p; p++)
		grammar_bytes(g, escape, *p, *p, to);
	grammar_bytes(g, escape, 'u', 'u', code);
	put_unicode_escape(g, code, to);
}

uint32_t
chars_at(const char *p, size_t n, size_t *len)
{
	utf8proc_int32_t c = 0;
	utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)p, n, &c);

	*len = got > 0 ? got : 1;
	return got > 0 ? (uint32_t)c : 0xFFFD;
}
