/* pattern.c - see pattern.h
 *
 * Thompson's construction in one pass; a quantified piece is read again for each copy of it. */
#include "pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chars.h"

#define NESTED 32		/* groups in groups */
#define COPIES 4096		/* of one piece */
#define NO_LIMIT (-1)

/* A class that was met, as a rule: copies of a piece then cost a call each. */
struct known {
	struct chars c;
	int rule;
	struct known *next;
};

struct parser {
	struct grammar *g;
	const char *p, *end;
	bool json;
	int depth;
	struct known *known;
	struct err *e;
};

static int put_alternatives(struct parser *s, int from, int to);

static bool
at(const struct parser *s, char c)
{
	return s->p < s->end && *s->p == c;
}

static bool
took(struct parser *s, char c)
{
	bool is = at(s, c);

	s->p += is;
	return is;
}

static uint32_t
next_char(struct parser *s)
{
	size_t len;
	uint32_t c = chars_at(s->p, s->end - s->p, &len);

	s->p += len;
	return c;
}

/* ---- classes ---- */

static void
add_named(struct chars *out, char name)
{
	static const uint32_t digit[] = { '0', '9', 0 }, word[] = { '0', '9', 'A', 'Z', '_', '_', 'a', 'z', 0 };
	static const uint32_t space[] = { '\t', '\r', ' ', ' ', 0xA0, 0xA0, 0x1680, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x202F,
		0x205F, 0x205F, 0x3000, 0x3000, 0xFEFF, 0xFEFF, 0 };
	char lower = name | 0x20;
	struct chars c = { 0 };

	for (const uint32_t *r = lower == 'd' ? digit : lower == 'w' ? word : space; *r; r += 2)
		chars_add(&c, r[0], r[1]);
	if (name != lower)
		chars_invert(&c);
	for (int i = 0; i < c.n; i++)
		chars_add(out, c.range[i].lo, c.range[i].hi);
}

static int
hex(struct parser *s, int digits, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < digits; i++) {
		char c = s->p < s->end ? *s->p++ : '\0', *hit;
		static char known[] = "0123456789abcdef";

		hit = c ? strchr(known, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
		if (!hit)
			return err_set(s->e, "a \\x or \\u without its %d digits", digits);
		*out = *out * 16 + (hit - known);
	}
	if (*out == 0 || (*out >= 0xD800 && *out <= 0xDFFF))
		return err_set(s->e, "U+0000 and surrogates are not supported");
	return 0;
}

/* What stands behind a backslash: a class, or a character that is then *c, with 1. */
static int
read_escape(struct parser *s, struct chars *out, uint32_t *c)
{
	static const char name[] = "tnrfv", meant[] = "\t\n\r\f\v";
	const char *hit;
	char letter;

	if (s->p == s->end)
		return err_set(s->e, "a backslash at the end");
	letter = *s->p;
	if (strchr("dDwWsS", letter)) {
		s->p++;
		add_named(out, letter);
		return 0;
	}
	*c = next_char(s);
	hit = *c < 0x80 ? strchr(name, *c) : NULL;
	if (hit)
		*c = meant[hit - name];
	else if (letter == 'x' || letter == 'u')
		return hex(s, letter == 'x' ? 2 : 4, c) < 0 ? -1 : 1;
	else if ((letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))
		return err_set(s->e, "\\%c is not supported", letter);
	return 1;
}

/* One end of a range, as read_escape(). */
static int
read_member(struct parser *s, struct chars *out, uint32_t *c)
{
	if (took(s, '\\')) {
		if (at(s, 'b')) {
			s->p++;
			*c = '\b';
			return 1;
		}
		return read_escape(s, out, c);
	}
	*c = next_char(s);
	return 1;
}

static int
read_class(struct parser *s, struct chars *out)
{
	bool invert = took(s, '^');

	while (s->p < s->end && *s->p != ']') {
		uint32_t lo, hi;
		int one = read_member(s, out, &lo), other;

		if (one < 0)
			return -1;
		if (one == 0)
			continue;
		hi = lo;
		if (s->end - s->p >= 2 && s->p[0] == '-' && s->p[1] != ']') {
			s->p++;
			other = read_member(s, out, &hi);
			if (other < 0)
				return -1;
			if (other == 0 || hi < lo)
				return err_set(s->e, "a range of characters that is none");
		}
		chars_add(out, lo, hi);
	}
	if (!took(s, ']'))
		return err_set(s->e, "a [ without its ]");
	if (invert)
		chars_invert(out);
	chars_sort(out);
	return out->full ? err_set(s->e, "more than %d ranges in a class", CHARS_RANGES) : 0;
}

static void
put_class(struct parser *s, int from, int to, struct chars *c)
{
	struct known *k = s->known;

	chars_sort(c);
	if (c->n == 1 && c->range[0].lo == c->range[0].hi) {
		chars_put(s->g, from, to, c, s->json);
		return;
	}
	while (k && (k->c.n != c->n || memcmp(k->c.range, c->range, c->n * sizeof *c->range) != 0))
		k = k->next;
	if (!k) {
		k = xmalloc(sizeof *k);
		*k = (struct known){ *c, grammar_rule(s->g), s->known };
		s->known = k;
		chars_put(s->g, s->g->start[k->rule], s->g->end[k->rule], c, s->json);
	}
	grammar_call(s->g, from, k->rule, to);
}

/* ---- pieces ---- */

static int
put_group(struct parser *s, int from, int to)
{
	int rc;

	if (took(s, '?') && !took(s, ':'))
		return err_set(s->e, "groups with (? are not supported but for (?:");
	if (++s->depth > NESTED)
		return err_set(s->e, "more than %d groups in groups", NESTED);
	rc = put_alternatives(s, from, to);
	s->depth--;
	if (rc == 0 && !took(s, ')'))
		return err_set(s->e, "a ( without its )");
	return rc;
}

static int
put_atom(struct parser *s, int from, int to)
{
	static const uint32_t line_ends[] = { '\n', '\r', 0x2028, 0x2029 };
	struct chars c = { 0 };
	uint32_t one;

	if (took(s, '('))
		return put_group(s, from, to);
	if (took(s, '[')) {
		if (read_class(s, &c) < 0)
			return -1;
	} else if (took(s, '.')) {
		for (int i = 0; i < 4; i++)
			chars_add(&c, line_ends[i], line_ends[i]);
		chars_invert(&c);
	} else if (took(s, '\\')) {
		int rc = read_escape(s, &c, &one);

		if (rc < 0)
			return -1;
		if (rc > 0)
			chars_add(&c, one, one);
	} else if (strchr("*+?{}^$", *s->p)) {
		return err_set(s->e, "%c is not supported there", *s->p);
	} else {
		one = next_char(s);
		chars_add(&c, one, one);
	}
	put_class(s, from, to, &c);
	return 0;
}

static int
read_count(struct parser *s, int *out)
{
	const char *from = s->p;

	*out = 0;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && *out <= COPIES)
		*out = *out * 10 + (*s->p++ - '0');
	return s->p == from || *out > COPIES ? err_set(s->e, "a count in { } must be from 0 to %d", COPIES) : 0;
}

static int
read_quantifier(struct parser *s, int *least, int *most)
{
	*least = *most = 1;
	if (took(s, '*')) {
		*least = 0, *most = NO_LIMIT;
	} else if (took(s, '+')) {
		*most = NO_LIMIT;
	} else if (took(s, '?')) {
		*least = 0;
	} else if (took(s, '{')) {
		if (read_count(s, least) < 0)
			return -1;
		*most = *least;
		if (took(s, ',')) {
			*most = NO_LIMIT;
			if (!at(s, '}') && read_count(s, most) < 0)
				return -1;
		}
		if (!took(s, '}') || (*most >= 0 && *most < *least))
			return err_set(s->e, "a { } that is no count");
	} else {
		return 0;
	}
	took(s, '?');	/* lazy: the same texts */
	return 0;
}

/* The piece at s->p once more; where it is read up to. */
static int
put_copy(struct parser *s, const char *piece, int from, int to)
{
	const char *behind = s->p;
	int rc;

	s->p = piece;
	rc = put_atom(s, from, to);
	s->p = behind;
	return rc;
}

/* An atom and its quantifier: read once for its length into a dead end, then as often as it is wanted. */
static int
put_piece(struct parser *s, int from, int to)
{
	const char *piece = s->p;
	int least, most, next;

	if (put_atom(s, grammar_state(s->g), grammar_state(s->g)) < 0 || read_quantifier(s, &least, &most) < 0)
		return -1;
	for (int i = 0; i < least; i++, from = next) {
		next = grammar_state(s->g);
		if (grammar_full(s->g) || put_copy(s, piece, from, next) < 0)
			return grammar_full(s->g) ? err_set(s->e, "it is too large") : -1;
	}
	if (most == NO_LIMIT) {
		next = grammar_state(s->g);
		grammar_skip(s->g, from, next);
		grammar_skip(s->g, next, to);
		return put_copy(s, piece, next, next);
	}
	for (int i = least; i < most; i++, from = next) {
		next = grammar_state(s->g);
		grammar_skip(s->g, from, to);
		if (grammar_full(s->g) || put_copy(s, piece, from, next) < 0)
			return grammar_full(s->g) ? err_set(s->e, "it is too large") : -1;
	}
	grammar_skip(s->g, from, to);
	return 0;
}

static int
put_sequence(struct parser *s, int from, int to)
{
	while (s->p < s->end && *s->p != '|' && *s->p != ')' && !(*s->p == '$' && s->depth == 0)) {
		int next = grammar_state(s->g);

		if (put_piece(s, from, next) < 0)
			return -1;
		from = next;
	}
	grammar_skip(s->g, from, to);
	return 0;
}

static int
put_alternatives(struct parser *s, int from, int to)
{
	do
		if (put_sequence(s, from, to) < 0)
			return -1;
	while (took(s, '|'));
	return 0;
}

/* ---- whole patterns ---- */

/* Any characters, as long as it likes. */
static int
put_filler(struct parser *s, int from)
{
	struct chars any = { 0 };
	int loop = grammar_state(s->g);

	chars_add(&any, 1, 0x10FFFF);
	put_class(s, loop, loop, &any);
	grammar_skip(s->g, from, loop);
	return loop;
}

static int
put_whole(struct parser *s, int from, int to, bool search)
{
	do {
		int begin = took(s, '^') || !search ? from : put_filler(s, from), end = grammar_state(s->g);

		if (put_sequence(s, begin, end) < 0)
			return -1;
		if (!took(s, '$') && search)
			end = put_filler(s, end);
		grammar_skip(s->g, end, to);
		if (s->p < s->end && *s->p != '|')
			return err_set(s->e, *s->p == ')' ? "a ) without its (" : "a $ is only supported at the end");
	} while (took(s, '|'));
	return 0;
}

int
pattern_put(struct grammar *g, int from, int to, const char *p, size_t n, bool search, bool json, struct err *e)
{
	struct parser s = { .g = g, .p = p, .end = p + n, .json = json, .e = e };
	int rc = put_whole(&s, from, to, search);

	while (s.known) {
		struct known *next = s.known->next;

		free(s.known);
		s.known = next;
	}
	return rc;
}
