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

/* A string that is known to be one, with its quotes. NULL: it has a \u, which is left to jansson. Else jansson's reader, which goes byte by
 * byte, would be a third of all instructions that a filter spends on a record. */
static json_t *
read_string(const char *s, size_t n)
{
	const char *end = s + n - 1, *stop;
	char *text, *to;
	json_t *v = NULL;

	s++;
	stop = memchr(s, '\\', (size_t)(end - s));
	if (!stop)	/* most texts: as it stands */
		return json_stringn_nocheck(s, (size_t)(end - s));
	text = to = xmalloc(n);
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

json_t *
json_read(const char *s, size_t n)
{
	size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_t *v = n >= 2 && s[0] == '"' ? read_string(s, n) : NULL;

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
