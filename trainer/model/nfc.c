/* nfc.c - normalization form C: what utf8proc knows, with a sort that long runs of marks do not slow down */
#include "nfc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "err.h"

#define NEAR 0x10000

struct nfc {
	unsigned char active[NEAR / 8];	/* a bit a character: it may change, or what is beside it */
};

/* Characters since Unicode 10 that form C moves or joins: not so in the reference. */
static const struct {
	int from, to;
} later[] = {
	{ 0x7fd, 0x7fd }, { 0x897, 0x89f }, { 0x8ca, 0x8d3 }, { 0x9fe, 0x9fe }, { 0xc3c, 0xc3c }, { 0xd3b, 0xd3c }, { 0xeba, 0xeba }, { 0x1715, 0x1715 },
	{ 0x1abf, 0x1ace }, { 0x1df6, 0x1dfa }, { 0xa82c, 0xa82c }, { 0x105c0, 0x105f3 }, { 0x10d24, 0x10d27 }, { 0x10d69, 0x10d6d }, { 0x10eab, 0x10eac },
	{ 0x10efc, 0x10eff }, { 0x10f46, 0x10f50 }, { 0x10f82, 0x10f85 }, { 0x11070, 0x11070 }, { 0x1133b, 0x1133b }, { 0x11380, 0x113d3 },
	{ 0x1145e, 0x1145e }, { 0x11839, 0x1183a }, { 0x11930, 0x11930 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 }, { 0x119e0, 0x119e0 },
	{ 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 }, { 0x11a99, 0x11a99 }, { 0x11d42, 0x11d42 }, { 0x11d44, 0x11d45 }, { 0x11d97, 0x11d97 },
	{ 0x11f41, 0x11f42 }, { 0x16100, 0x1612f }, { 0x16d40, 0x16d79 }, { 0x16ff0, 0x16ff1 }, { 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 },
	{ 0x1e2ae, 0x1e2ae }, { 0x1e2ec, 0x1e2ef }, { 0x1e4ec, 0x1e4ef }, { 0x1e5ee, 0x1e5ef },
};

static bool
is_later(int c)
{
	for (size_t i = 0; i < sizeof later / sizeof *later && c >= later[i].from; i++)
		if (c <= later[i].to)
			return true;
	return false;
}

/* Marks, the vowels and finals of Hangul, and what is not its own form C: text without any of them is in form C. */
static bool
is_active(int c)
{
	const utf8proc_property_t *p = utf8proc_get_property(c);
	utf8proc_int32_t parts[64];
	utf8proc_ssize_t n;
	int last = 0;

	if (p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC || p->category == UTF8PROC_CATEGORY_ME || (c >= 0x1160 && c <= 0x11ff))
		return true;
	if (p->decomp_type != 0 || p->decomp_seqindex == UINT16_MAX)
		return false;
	n = utf8proc_decompose_char(c, parts, 64, UTF8PROC_STABLE | UTF8PROC_COMPOSE, &last);
	return n < 0 || n > 64 || utf8proc_normalize_utf32(parts, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1 || parts[0] != c;
}

struct nfc *
nfc_new(void)
{
	struct nfc *f = xcalloc(1, sizeof *f);

	for (int c = 0x300; c < NEAR; c++)
		if (is_active(c))
			f->active[c / 8] |= 1 << c % 8;
	return f;
}

void
nfc_free(struct nfc *f)
{
	free(f);
}

bool
nfc_is(const struct nfc *f, const char *text, size_t n)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0;

	while (i < n) {
		utf8proc_int32_t c;
		utf8proc_ssize_t len;
		uint64_t eight;

		if (n - i >= 8 && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u))) {
			i += 8;
			continue;
		}
		if (s[i] < 0xcc) {	/* below U+0300, or nothing that could be a character's first byte */
			i++;
			continue;
		}
		len = utf8proc_iterate(s + i, n - i, &c);
		if (len > 0 && (c < NEAR ? f->active[c / 8] >> c % 8 & 1 : is_active(c)))
			return false;
		i += len > 0 ? len : 1;
	}
	return true;
}

/* ---- normalizing ---- */

struct run {		/* characters without a `later` one among them */
	utf8proc_int32_t *c;
	size_t n, cap;
};

static void
put(struct run *r, int c)
{
	utf8proc_ssize_t n;
	int last = 0;

	for (;;) {
		n = utf8proc_decompose_char(c, r->c + r->n, r->cap - r->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE, &last);
		if (n >= 0 && (size_t)n <= r->cap - r->n)
			break;
		r->cap = r->cap ? 2 * r->cap : 256;
		r->c = xreallocarray(r->c, r->cap, sizeof *r->c);
	}
	r->n += n;
}

static int
class_of(int c)
{
	return utf8proc_get_property(c)->combining_class;
}

/* Marks by their class, those of one class in the order that they came in: by counting. utf8proc's own sort takes time n^2. */
static void
sort_marks(utf8proc_int32_t *c, size_t n)
{
	size_t start[257] = { 0 };
	utf8proc_int32_t *copy;

	if (n < 2)
		return;
	copy = xreallocarray(NULL, n, sizeof *copy);
	memcpy(copy, c, n * sizeof *c);
	for (size_t i = 0; i < n; i++)
		start[class_of(c[i]) + 1]++;
	for (int k = 1; k < 257; k++)
		start[k] += start[k - 1];
	for (size_t i = 0; i < n; i++)
		c[start[class_of(copy[i])]++] = copy[i];
	free(copy);
}

static void
flush(struct run *r, struct buf *out)
{
	utf8proc_ssize_t n;

	for (size_t i = 0, end; i < r->n; i = end) {
		for (end = i; end < r->n && class_of(r->c[end]) > 0; end++)
			;
		sort_marks(r->c + i, end - i);
		end += end == i;
	}
	n = r->n ? utf8proc_normalize_utf32(r->c, r->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE) : 0;
	for (utf8proc_ssize_t i = 0; i < n; i++) {
		utf8proc_uint8_t bytes[4];

		buf_add(out, bytes, utf8proc_encode_char(r->c[i], bytes));
	}
	r->n = 0;
}

void
nfc_add(struct buf *out, const char *s, size_t n)
{
	struct run r = { 0 };

	while (n > 0) {
		utf8proc_int32_t c;
		utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s, n, &c);

		if (len > 0 && !is_later(c)) {
			put(&r, c);
		} else {
			flush(&r, out);
			buf_add(out, s, len > 0 ? len : 1);
		}
		s += len > 0 ? len : 1;
		n -= len > 0 ? len : 1;
	}
	flush(&r, out);
	free(r.c);
}
