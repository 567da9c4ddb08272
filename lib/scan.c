/* scan.c - the check of RFC 8259, and where the members lie: json_valid() and json_scan()
 *
 * First all bytes are checked to be UTF-8, by wide steps, then one pass follows the grammar: from one string's end to the next by 16 bytes
 * (8 without SSE2), from token to token between them, without recursion. Where the bytes are not all UTF-8 the same pass looks at each
 * sequence, so that of several faults the first is told. */
#include "json.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "rec.h"
#include "utf8.h"

/* The functions take a position and return the one behind what they accept. */
#define BAD SIZE_MAX

struct scan {
	const unsigned char *s;
	size_t n;
	bool utf8;	/* all of it */
	size_t escapes;	/* in strings so far */
	bool nul;	/* one of them \u0000 */
	struct json_object *o;	/* NULL: members are not noted */
	struct err *e;
};

static size_t
bad(const struct scan *c, size_t i, const char *why)
{
	err_set(c->e, "%s at byte %zu", why, i + 1);
	return BAD;
}

/* The byte there; NUL at the end, which no rule of the grammar accepts. */
static inline unsigned char
peek(const struct scan *c, size_t i)
{
	return i < c->n ? c->s[i] : 0;
}

static inline size_t
space(const struct scan *c, size_t i)
{
	while (i < c->n && c->s[i] <= ' ' && (c->s[i] == ' ' || c->s[i] == '\t' || c->s[i] == '\n' || c->s[i] == '\r'))
		i++;
	return i;
}

/* The four hex digits of \uXXXX. */
static size_t
hex4(const struct scan *c, size_t i, unsigned *out)
{
	*out = 0;
	for (int k = 0; k < 4; k++, i++) {
		unsigned char x = peek(c, i);

		if (x >= '0' && x <= '9')
			*out = *out << 4 | (x - '0');
		else if ((x | 0x20) >= 'a' && (x | 0x20) <= 'f')
			*out = *out << 4 | ((x | 0x20) - 'a' + 10);
		else
			return bad(c, i, "bad \\u escape");
	}
	return i;
}

/* \uXXXX or a pair of them, from its backslash. */
static size_t
unicode(struct scan *c, size_t from)
{
	unsigned high, low = 0;
	size_t i = hex4(c, from + 2, &high);

	if (i == BAD)
		return BAD;
	c->nul |= high == 0;
	if (high < 0xd800 || high > 0xdfff)
		return i;
	if (high < 0xdc00 && c->n - i >= 6 && c->s[i] == '\\' && c->s[i + 1] == 'u') {
		i = hex4(c, i + 2, &low);
		if (i == BAD)
			return BAD;
	}
	return low >= 0xdc00 && low <= 0xdfff ? i : bad(c, from, "lone surrogate");
}

static size_t
escape(struct scan *c, size_t i)
{
	c->escapes++;
	switch (peek(c, i + 1)) {
	case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
		return i + 2;
	case 'u':
		return unicode(c, i);
	default:
		return bad(c, i + 1, "bad escape");
	}
}

/* Bytes that a string holds as they are. */
static inline bool
is_plain(unsigned char x, bool utf8)
{
	return x >= ' ' && x != '"' && x != '\\' && (utf8 || x < 0x80);
}

/* Past as many of them as come. */
static inline size_t
plain(const struct scan *c, size_t i)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);

	for (; c->n - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(c->s + i));
		__m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)), _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
		unsigned mask = (unsigned)_mm_movemask_epi8(c->utf8 ? stop : _mm_or_si128(stop, v));

		if (mask)
			return i + (size_t)__builtin_ctz(mask);
	}
#else
	const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;

	for (; c->n - i >= 8; i += 8) {
		uint64_t v, quote, backslash;

		memcpy(&v, c->s + i, 8);
		quote = v ^ ones * '"';
		backslash = v ^ ones * '\\';
		if ((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((v - ones * ' ') & ~v) | (c->utf8 ? 0 : v)) & tops)
			break;
	}
#endif
	while (i < c->n && is_plain(c->s[i], c->utf8))
		i++;
	return i;
}

static size_t
string(struct scan *c, size_t i)
{
	size_t len;

	for (i++; (i = plain(c, i)) < c->n;) {
		unsigned char x = c->s[i];

		if (x == '"')
			return i + 1;
		if (x < ' ')
			return bad(c, i, "raw control byte in a string");
		if (x == '\\') {
			i = escape(c, i);
			if (i == BAD)
				return BAD;
		} else {
			len = utf8_len(c->s + i, c->n - i);
			if (!len)
				return bad(c, i, "invalid UTF-8");
			i += len;
		}
	}
	return bad(c, c->n, "unterminated string");
}

/* One digit or more. */
static size_t
digits(const struct scan *c, size_t i)
{
	size_t from = i;

	while (i < c->n && c->s[i] >= '0' && c->s[i] <= '9')
		i++;
	return i > from ? i : bad(c, i, "bad number");
}

static size_t
number(const struct scan *c, size_t i)
{
	if (peek(c, i) == '-')
		i++;
	i = peek(c, i) == '0' ? i + 1 : digits(c, i);
	if (i != BAD && peek(c, i) == '.')
		i = digits(c, i + 1);
	if (i != BAD && (peek(c, i) | 0x20) == 'e') {
		i++;
		if (peek(c, i) == '-' || peek(c, i) == '+')
			i++;
		i = digits(c, i);
	}
	return i;
}

static size_t
literal(const struct scan *c, size_t i, const char *word, size_t n)
{
	return c->n - i >= n && memcmp(c->s + i, word, n) == 0 ? i + n : bad(c, i, "unexpected text");
}

/* A value that is no array or object, of which x is the first byte. */
static inline size_t
scalar(struct scan *c, size_t i, unsigned char x)
{
	if (x == '"')
		return string(c, i);
	if (x == '-' || (x >= '0' && x <= '9'))
		return number(c, i);
	if (i == c->n)
		return bad(c, i, "unexpected end");
	return x == 't' ? literal(c, i, "true", 4) : x == 'f' ? literal(c, i, "false", 5) : literal(c, i, "null", 4);
}

static struct json_span *
new_span(struct json_object *o)
{
	struct json_span *old = o->span == o->few ? NULL : o->span;

	if (o->n == o->cap) {
		o->cap *= 2;
		o->span = xreallocarray(old, o->cap, sizeof *o->span);
		if (!old)
			memcpy(o->span, o->few, sizeof o->few);
	}
	return &o->span[o->n++];
}

/* The key of a member, from behind the { or comma before it, up to the value. */
static size_t
key(struct scan *c, size_t lead, size_t depth)
{
	size_t from = space(c, lead), escapes = c->escapes, end, i;
	struct json_span *at;

	if (peek(c, from) != '"')
		return bad(c, from, "expected a key");
	end = string(c, from);
	if (end == BAD)
		return BAD;
	i = space(c, end);
	if (peek(c, i) != ':')
		return bad(c, i, "expected :");
	i = space(c, i + 1);
	if (depth == 1 && c->o) {
		at = new_span(c->o);
		at->lead = (uint32_t)lead;
		at->key = (uint32_t)from;
		at->key_end = (uint32_t)end;
		at->value = (uint32_t)i;
		c->o->escaped |= c->escapes > escapes;
	}
	return i;
}

/* A value ends at i, with `depth` arrays and objects around it. */
static inline size_t
behind(const struct scan *c, size_t i, size_t depth)
{
	struct json_span *at;

	if (depth != 1 || !c->o)
		return space(c, i);
	at = &c->o->span[c->o->n - 1];
	at->value_end = (uint32_t)i;
	i = space(c, i);
	at->end = (uint32_t)i;
	return i;
}

static int
walk(struct scan *c, size_t i)
{
	unsigned char closer[REC_DEPTH + 1];	/* of each array and object around i */
	size_t depth = 0;

	for (;;) {
		unsigned char x = peek(c, i);

		if (x == '{' || x == '[') {
			if (depth == REC_DEPTH)
				return (int)bad(c, i, "nested too deeply");
			closer[++depth] = x + 2;	/* as ASCII has them */
			i++;
			if (peek(c, space(c, i)) != closer[depth])
				goto inside;
			i = space(c, i);
		} else {
			i = scalar(c, i, x);
			if (i == BAD)
				return -1;
			i = behind(c, i, depth);
		}
		while (depth && peek(c, i) == closer[depth]) {
			if (--depth == 0 && c->o)
				c->o->close = (uint32_t)i;
			i = behind(c, i + 1, depth);
		}
		if (depth == 0)
			return i == c->n ? 0 : (int)bad(c, i, "text after the value");
		if (peek(c, i) != ',')
			return (int)bad(c, i, closer[depth] == '}' ? "expected , or }" : "expected , or ]");
		i++;
inside:
		i = closer[depth] == '}' ? key(c, i, depth) : space(c, i);
		if (i == BAD)
			return -1;
	}
}

int
json_valid(const char *s, size_t n, struct err *e)
{
	struct scan c = { .s = (const unsigned char *)s, .n = n, .e = e };

	c.utf8 = utf8_valid(c.s, n);
	return walk(&c, space(&c, 0));
}

int
json_scan(const char *s, size_t n, struct json_object *o, struct err *e)
{
	struct scan c = { .s = (const unsigned char *)s, .n = n, .o = o, .e = e };
	size_t i;
	int rc;

	o->span = o->few;
	o->n = 0;
	o->cap = JSON_FEW;
	o->escaped = false;
	if (n >= UINT32_MAX)
		return err_set(e, "longer than 4 GiB");
	c.utf8 = utf8_valid(c.s, n);
	i = space(&c, 0);
	o->open = (uint32_t)i;
	if (peek(&c, i) != '{')
		return err_set(e, "no JSON object");
	rc = walk(&c, i);
	o->nul = c.nul;
	return rc;
}

void
json_object_done(struct json_object *o)
{
	if (o->span != o->few)
		free(o->span);
}
