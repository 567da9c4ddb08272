/* json.c - JSON as bytes: reading and writing values (checking them is in scan.c) */
#include "json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"
#include "utf8.h"

/* What the escape \c stands for; 0 for \u, and where the text ends. */
static char
unescaped(char c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = c ? strchr(from, c) : NULL;

	return at ? to[at - from] : 0;
}

/* Reading a value out of text that is known to be JSON. jansson's own reader goes byte by byte, with a call for each: it was a third of all
 * instructions that a filter spent on a record, and nine tenths where the record passed through. NULL, from all of these: something that is
 * left to jansson (a \u, an escape in a key, a number of many digits), which then reads the whole. */
struct reader {
	const char *p, *end;
};

static json_t *read_value(struct reader *r);

static char
next(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? *r->p : 0;
}

/* The closing quote of the string that begins (behind its opening one) at s: the next that has an even number of backslashes before it. */
static const char *
closing_quote(const char *s, const char *end)
{
	for (const char *at = s; (at = memchr(at, '"', (size_t)(end - at))); at++) {
		const char *back = at;

		while (back > s && back[-1] == '\\')
			back--;
		if ((at - back) % 2 == 0)
			return at;
	}
	return NULL;
}

static json_t *
read_string(struct reader *r)
{
	const char *s = r->p + 1, *end = closing_quote(s, r->end), *stop;
	char *text, *to;
	json_t *v = NULL;

	if (!end)
		return NULL;
	r->p = end + 1;
	stop = memchr(s, '\\', (size_t)(end - s));
	if (!stop)
		return json_stringn_nocheck(s, (size_t)(end - s));
	text = to = xmalloc((size_t)(end - s));
	for (; stop; stop = memchr(s, '\\', (size_t)(end - s))) {
		memcpy(to, s, (size_t)(stop - s));
		to += stop - s;
		if (!(*to++ = unescaped(stop[1])))
			goto out;
		s = stop + 2;
	}
	memcpy(to, s, (size_t)(end - s));
	v = json_stringn_nocheck(text, (size_t)(to - text) + (size_t)(end - s));
out:
	free(text);
	return v;
}

/* Whole numbers that surely fit; jansson reads the others. */
static json_t *
read_number(struct reader *r)
{
	const char *from = r->p, *s = from + (*from == '-');
	long long x = 0;

	for (; s < r->end && *s >= '0' && *s <= '9' && s - from < 18; s++)
		x = x * 10 + (*s - '0');
	r->p = s;
	if (s == r->end || !strchr("0123456789.eE", *s))
		return json_integer(*from == '-' ? -x : x);
	while (r->p < r->end && strchr("0123456789.eE+-", *r->p))
		r->p++;
	return json_loadb(from, (size_t)(r->p - from), JSON_DECODE_ANY, NULL);
}

static json_t *
read_array(struct reader *r)
{
	json_t *list = json_array(), *v;

	r->p++;
	for (char c = next(r); c != ']'; c = next(r)) {
		r->p += c == ',';
		next(r);
		if (!(v = read_value(r))) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, v);
	}
	r->p++;
	return list;
}

/* The key at r->p, up to its colon. */
static bool
read_key(struct reader *r, char *out, size_t max)
{
	const char *s = r->p + 1, *end = closing_quote(s, r->end);
	size_t n = end ? (size_t)(end - s) : max;

	if (n >= max || memchr(s, '\\', n))
		return false;
	memcpy(out, s, n);
	out[n] = 0;
	r->p = end + 1;
	return true;
}

static json_t *
read_object(struct reader *r)
{
	json_t *o = json_object(), *v;
	char key[64];

	r->p++;
	for (char c = next(r); c != '}'; c = next(r)) {
		r->p += c == ',';
		next(r);
		if (!read_key(r, key, sizeof key))
			goto fail;
		next(r);
		r->p++;
		next(r);
		if (!(v = read_value(r)))
			goto fail;
		json_object_set_new_nocheck(o, key, v);
	}
	r->p++;
	return o;
fail:
	json_decref(o);
	return NULL;
}

static json_t *
read_value(struct reader *r)
{
	if (r->p == r->end)
		return NULL;
	switch (*r->p) {
	case '"':
		return read_string(r);
	case '[':
		return read_array(r);
	case '{':
		return read_object(r);
	case 't':
		r->p += 4;
		return json_true();
	case 'f':
		r->p += 5;
		return json_false();
	case 'n':
		r->p += 4;
		return json_null();
	default:
		return read_number(r);
	}
}

json_t *
json_read(const char *s, size_t n)
{
	size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	struct reader r = { s, s + n };
	json_t *v = read_value(&r);

	if (!v)
		v = json_loadb(s, n, flags, NULL);
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

	if (utf8_valid((const unsigned char *)s, n))
		return buf_json(out, s, n);
	while (i < n) {
		len = utf8_len((const unsigned char *)s + i, n - i);
		if (!len) {
			buf_add(&clean, s + from, i - from);
			buf_adds(&clean, "\xef\xbf\xbd");
			from = i + 1;
		}
		i += len ? len : 1;
	}
	buf_add(&clean, s + from, n - from);
	rc = buf_json(out, clean.p, clean.n);
	buf_free(&clean);
	return rc;
}
