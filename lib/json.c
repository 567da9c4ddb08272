/* json.c - JSON as bytes: checking it, finding its members, writing it
 *
 * The scanner is a recursive descent over RFC 8259 that builds nothing: about ten times as fast as parsing. Its depth is
 * bounded by REC_DEPTH, so its stack is too. */
#include "json.h"

#include <stdbool.h>
#include <string.h>

#include "num.h"
#include "rec.h"

struct scan {
	const unsigned char *s;
	size_t n, i;
	struct json_object *o;	/* NULL: members are not noted */
	struct err *e;
};

static int value(struct scan *c, int depth);

static int
bad(struct scan *c, const char *why)
{
	return err_set(c->e, "%s at byte %zu", why, c->i + 1);
}

/* The byte at the cursor; NUL at the end, which no rule of the grammar accepts. */
static unsigned char
peek(const struct scan *c)
{
	return c->i < c->n ? c->s[c->i] : 0;
}

static void
space(struct scan *c)
{
	while (c->i < c->n && (c->s[c->i] == ' ' || c->s[c->i] == '\t' || c->s[c->i] == '\n' || c->s[c->i] == '\r'))
		c->i++;
}

/* Length of the UTF-8 sequence at p (n bytes there), 0 when it is none: Unicode, table 3-7. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		lo = 0xa0;	/* shorter forms exist below */
	else if (p[0] == 0xed)
		hi = 0x9f;	/* surrogates */
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;	/* past U+10FFFF */
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* The four hex digits of \uXXXX, cursor behind the u. */
static int
hex4(struct scan *c, unsigned *out)
{
	*out = 0;
	for (int k = 0; k < 4; k++, c->i++) {
		unsigned char x = peek(c);

		if (x >= '0' && x <= '9')
			*out = *out << 4 | (x - '0');
		else if ((x | 0x20) >= 'a' && (x | 0x20) <= 'f')
			*out = *out << 4 | ((x | 0x20) - 'a' + 10);
		else
			return bad(c, "bad \\u escape");
	}
	return 0;
}

/* An escape, cursor behind its backslash. */
static int
escape(struct scan *c)
{
	size_t from = c->i - 1;
	unsigned char x = peek(c);
	unsigned high, low;

	if (x != 'u') {
		if (!x || !strchr("\"\\/bfnrt", x))
			return bad(c, "bad escape");
		c->i++;
		return 0;
	}
	c->i++;
	if (hex4(c, &high) < 0)
		return -1;
	if (high < 0xd800 || high > 0xdfff)
		return 0;
	if (high < 0xdc00 && c->n - c->i >= 6 && c->s[c->i] == '\\' && c->s[c->i + 1] == 'u') {
		c->i += 2;
		if (hex4(c, &low) < 0)
			return -1;
		if (low >= 0xdc00 && low <= 0xdfff)
			return 0;
	}
	c->i = from;
	return bad(c, "lone surrogate");
}

/* Bytes that a string holds as they are. */
static bool
is_plain(unsigned char x)
{
	return x >= ' ' && x < 0x80 && x != '"' && x != '\\';
}

static int
string(struct scan *c)
{
	size_t len;

	for (c->i++; c->i < c->n;) {
		unsigned char x = c->s[c->i];

		if (is_plain(x)) {
			c->i++;
		} else if (x == '"') {
			c->i++;
			return 0;
		} else if (x == '\\') {
			c->i++;
			if (escape(c) < 0)
				return -1;
		} else if (x < ' ') {
			return bad(c, "raw control byte in a string");
		} else {
			len = utf8_len(c->s + c->i, c->n - c->i);
			if (!len)
				return bad(c, "invalid UTF-8");
			c->i += len;
		}
	}
	return bad(c, "unterminated string");
}

static size_t
digits(struct scan *c)
{
	size_t from = c->i;

	while (c->i < c->n && c->s[c->i] >= '0' && c->s[c->i] <= '9')
		c->i++;
	return c->i - from;
}

static int
number(struct scan *c)
{
	if (peek(c) == '-')
		c->i++;
	if (peek(c) == '0')
		c->i++;
	else if (!digits(c))
		return bad(c, "bad number");
	if (peek(c) == '.') {
		c->i++;
		if (!digits(c))
			return bad(c, "bad number");
	}
	if ((peek(c) | 0x20) == 'e') {
		c->i++;
		if (peek(c) == '-' || peek(c) == '+')
			c->i++;
		if (!digits(c))
			return bad(c, "bad number");
	}
	return 0;
}

static int
literal(struct scan *c, const char *word)
{
	size_t n = strlen(word);

	if (c->n - c->i < n || memcmp(c->s + c->i, word, n) != 0)
		return bad(c, "unexpected text");
	c->i += n;
	return 0;
}

static int
array(struct scan *c, int depth)
{
	c->i++;
	space(c);
	if (peek(c) == ']') {
		c->i++;
		return 0;
	}
	for (;;) {
		if (value(c, depth) < 0)
			return -1;
		space(c);
		if (peek(c) == ']') {
			c->i++;
			return 0;
		}
		if (peek(c) != ',')
			return bad(c, "expected , or ]");
		c->i++;
		space(c);
	}
}

static void
note(struct json_object *o, const struct json_span *at)
{
	if (o->n == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 16;
		o->span = xreallocarray(o->span, o->cap, sizeof *o->span);
	}
	o->span[o->n++] = *at;
}

/* A member, cursor behind the { or comma before it; leaves it on the comma or } behind it. */
static int
member(struct scan *c, int depth)
{
	struct json_span at = { .lead = c->i };

	space(c);
	at.key = c->i;
	if (peek(c) != '"')
		return bad(c, "expected a key");
	if (string(c) < 0)
		return -1;
	at.key_end = c->i;
	space(c);
	if (peek(c) != ':')
		return bad(c, "expected :");
	c->i++;
	space(c);
	at.value = c->i;
	if (value(c, depth) < 0)
		return -1;
	at.value_end = c->i;
	space(c);
	at.end = c->i;
	if (c->o && depth == 1)
		note(c->o, &at);
	return 0;
}

static int
object(struct scan *c, int depth)
{
	size_t first = ++c->i;

	space(c);
	if (peek(c) == '}') {
		c->i++;
		return 0;
	}
	c->i = first;
	for (;;) {
		if (member(c, depth) < 0)
			return -1;
		if (peek(c) == '}') {
			c->i++;
			return 0;
		}
		if (peek(c) != ',')
			return bad(c, "expected , or }");
		c->i++;
	}
}

/* `depth` is how many arrays and objects are around it. */
static int
value(struct scan *c, int depth)
{
	unsigned char x = peek(c);

	if (x == '"')
		return string(c);
	if ((x == '{' || x == '[') && depth == REC_DEPTH)
		return bad(c, "nested too deeply");
	if (x == '{')
		return object(c, depth + 1);
	if (x == '[')
		return array(c, depth + 1);
	if (x == '-' || (x >= '0' && x <= '9'))
		return number(c);
	if (c->i == c->n)
		return bad(c, "unexpected end");
	return literal(c, x == 't' ? "true" : x == 'f' ? "false" : "null");
}

static int
scan(struct scan *c)
{
	size_t from;

	space(c);
	from = c->i;
	if (c->o && peek(c) != '{')
		return err_set(c->e, "no JSON object");
	if (value(c, 0) < 0)
		return -1;
	if (c->o) {
		c->o->open = from;
		c->o->close = c->i - 1;
	}
	space(c);
	return c->i == c->n ? 0 : bad(c, "text after the value");
}

int
json_valid(const char *s, size_t n, struct err *e)
{
	return scan(&(struct scan){ .s = (const unsigned char *)s, .n = n, .e = e });
}

int
json_scan(const char *s, size_t n, struct json_object *o, struct err *e)
{
	*o = (struct json_object){ 0 };
	return scan(&(struct scan){ .s = (const unsigned char *)s, .n = n, .o = o, .e = e });
}

json_t *
json_read(const char *s, size_t n)
{
	size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_t *v = json_loadb(s, n, flags, NULL);

	/* Integers stay integers where they fit into 64 bits. */
	return v ? v : json_loadb(s, n, flags | JSON_DECODE_INT_AS_REAL, NULL);
}

static int
write_array(struct buf *out, const json_t *v)
{
	for (size_t i = 0; i < json_array_size(v); i++)
		if (buf_addc(out, i ? ',' : '[') < 0 || json_write(out, json_array_get(v, i)) < 0)
			return -1;
	return buf_adds(out, json_array_size(v) ? "]" : "[]");
}

static int
write_object(struct buf *out, const json_t *v)
{
	const char *key;
	json_t *x;
	bool first = true;

	json_object_foreach((json_t *)v, key, x) {
		if (buf_addc(out, first ? '{' : ',') < 0 || json_write_bytes(out, key, strlen(key)) < 0 || buf_addc(out, ':') < 0)
			return -1;
		if (json_write(out, x) < 0)
			return -1;
		first = false;
	}
	return buf_adds(out, first ? "{}" : "}");
}

int
json_write(struct buf *out, const json_t *v)
{
	char num[NUM_TEXT];

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		return write_object(out, v);
	case JSON_ARRAY:
		return write_array(out, v);
	case JSON_STRING:
		return json_write_bytes(out, json_string_value(v), json_string_length(v));
	case JSON_INTEGER:
		return buf_addf(out, "%lld", (long long)json_integer_value(v));
	case JSON_REAL:
		return buf_adds(out, num_text(num, json_real_value(v)));
	case JSON_TRUE:
		return buf_adds(out, "true");
	case JSON_FALSE:
		return buf_adds(out, "false");
	default:
		return buf_adds(out, "null");
	}
}

int
json_write_bytes(struct buf *out, const char *s, size_t n)
{
	struct buf clean = BUF_INIT((size_t)-1);
	size_t from = 0, i = 0, len;
	int rc;

	while (i < n) {
		len = utf8_len((const unsigned char *)s + i, n - i);
		if (!len) {
			buf_add(&clean, s + from, i - from);
			buf_adds(&clean, "\xef\xbf\xbd");
			from = i + 1;
		}
		i += len ? len : 1;
	}
	if (!clean.n)
		return buf_json(out, s, n);
	buf_add(&clean, s + from, n - from);
	rc = buf_json(out, clean.p, clean.n);
	buf_free(&clean);
	return rc;
}
