/* stop.c - see stop.h */
#include "stop.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer.h"

void
stops_free(struct stops *st)
{
	for (int i = 0; i < st->n; i++)
		free(st->s[i]);
	st->n = 0;
}

size_t
stops_find(const struct stops *st, const char *p, size_t from, size_t old, size_t n, size_t *end)
{
	size_t first = n;

	for (int i = 0; i < st->n; i++) {
		size_t back = st->len[i] - 1, at = old > from + back ? old - back : from;
		const char *hit = at < n ? memmem(p + at, n - at, st->s[i], st->len[i]) : NULL;

		if (hit && (size_t)(hit - p) < first) {
			first = hit - p;
			*end = first + st->len[i];
		}
	}
	return first;
}

size_t
stops_hold(const struct stops *st, const char *p, size_t from, size_t n)
{
	size_t hold = 0;

	for (int i = 0; i < st->n; i++) {
		size_t k = st->len[i] - 1 < n - from ? st->len[i] - 1 : n - from;

		while (k > hold && memcmp(p + n - k, st->s[i], k) != 0)
			k--;
		if (k > hold)
			hold = k;
	}
	return hold;
}

/* Bytes of the ill-formed sequence at p: as many as begin some character (Unicode's maximal subpart), at least one. */
static size_t
ill_formed(const char *p, size_t n)
{
	size_t k = n < 3 ? n : 3;

	while (k > 1 && utf8_whole(p, k) != 0)
		k--;
	return k;
}

size_t
utf8_step(const char *p, size_t n, bool *whole)
{
	utf8proc_int32_t c;
	utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)p, n, &c);

	*whole = got > 0;
	return got > 0 ? (size_t)got : ill_formed(p, n);
}

void
utf8_clean(struct buf *out, const char *p, size_t n)
{
	size_t i = 0, from = 0;

	while (i < n) {
		bool whole;
		size_t step = utf8_step(p + i, n - i, &whole);

		if (!whole) {
			buf_add(out, p + from, i - from);
			buf_adds(out, "\xEF\xBF\xBD");
			from = i + step;
		}
		i += step;
	}
	buf_add(out, p + from, n - from);
}
