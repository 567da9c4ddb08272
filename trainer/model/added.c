/* added.c - added tokens: loading and finding */
#include "added.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "pretok.h"

struct set {		/* tokens to look for together, in the order of their bytes */
	struct added_token *v;
	size_t n;
	bool first[256];	/* some token begins with this byte */
};

struct added {
	struct set set[2];		/* by `normalized` */
	const struct added_token **by_id;	/* NULL where the id is the vocabulary's alone */
	int size;
};

static int
by_bytes(const void *x, const void *y)
{
	const struct added_token *a = x, *b = y;
	int c = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);

	return c ? c : (a->n > b->n) - (a->n < b->n);
}

static int
flag(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

static int
load_token(struct added *a, const json_t *o, const struct bpe *b, size_t i, struct err *e)
{
	const json_t *text = json_object_get(o, "content"), *id = json_object_get(o, "id");
	struct set *s = &a->set[flag(o, "normalized")];
	struct added_token t;
	int known;

	if (!json_is_string(text) || json_string_length(text) == 0 || !json_is_integer(id))
		return err_set(e, "added_tokens[%zu]: not an object with \"id\" and \"content\"", i);
	t = (struct added_token){ json_string_value(text), json_string_length(text), -1, flag(o, "special"), flag(o, "normalized"), flag(o, "lstrip"),
		flag(o, "rstrip"), flag(o, "single_word") };
	known = bpe_find(b, t.text, t.n);
	if (json_integer_value(id) != (known >= 0 ? known : a->size))
		return err_set(e, "added_tokens[%zu]: \"%s\" has id %lld, expected %d", i, t.text, (long long)json_integer_value(id), known >= 0 ? known : a->size);
	t.id = json_integer_value(id);
	if (known < 0)
		a->size++;
	t.text = memcpy(xmalloc(t.n + 1), t.text, t.n + 1);
	s->v = xreallocarray(s->v, s->n + 1, sizeof *s->v);
	s->v[s->n++] = t;
	s->first[(unsigned char)*t.text] = true;
	return 0;
}

/* Sorted sets are searched by halving; two tokens of one text would be one token too many. */
static int
index_set(struct added *a, struct set *s, struct err *e)
{
	if (s->n)
		qsort(s->v, s->n, sizeof *s->v, by_bytes);
	for (size_t i = 0; i < s->n; i++) {
		if (a->by_id[s->v[i].id] || (i > 0 && by_bytes(&s->v[i - 1], &s->v[i]) == 0))
			return err_set(e, "added_tokens: \"%s\" is there twice", s->v[i].text);
		a->by_id[s->v[i].id] = &s->v[i];
	}
	return 0;
}

struct added *
added_new(const json_t *list, const struct bpe *b, struct err *e)
{
	struct added *a = xcalloc(1, sizeof *a);
	const json_t *o;
	size_t i;

	a->size = bpe_size(b);
	json_array_foreach(list, i, o)
		if (load_token(a, o, b, i, e) < 0)
			goto fail;
	a->by_id = xcalloc(a->size, sizeof *a->by_id);
	if (index_set(a, &a->set[0], e) < 0 || index_set(a, &a->set[1], e) < 0)
		goto fail;
	return a;
fail:
	added_free(a);
	return NULL;
}

void
added_free(struct added *a)
{
	if (!a)
		return;
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < a->set[k].n; i++)
			free((char *)a->set[k].v[i].text);
		free(a->set[k].v);
	}
	free(a->by_id);
	free(a);
}

int
added_size(const struct added *a)
{
	return a->size;
}

const struct added_token *
added_by_id(const struct added *a, int id)
{
	return id >= 0 && id < a->size ? a->by_id[id] : NULL;
}

const struct added_token *
added_by_text(const struct added *a, const char *text, size_t n)
{
	struct added_token key = { .text = text, .n = n }, *t = NULL;

	for (int k = 0; k < 2 && !t; k++)
		if (a->set[k].n)
			t = bsearch(&key, a->set[k].v, a->set[k].n, sizeof key, by_bytes);
	return t;
}

/* The longest token that s[0..n) begins with: at each byte the run of tokens that agree so far is halved down to those that have it. */
static const struct added_token *
longest(const struct set *set, const char *s, size_t n)
{
	const struct added_token *best = NULL, *lo = set->v, *hi = set->v + set->n;

	for (size_t i = 0;; i++) {
		if (lo < hi && lo->n == i)	/* the shortest of the run comes first */
			best = lo++;
		if (lo == hi || i == n)
			return best;
		for (int end = 0; end < 2; end++) {
			const struct added_token *x = lo, *y = hi;

			while (x < y) {
				const struct added_token *mid = x + (y - x) / 2;
				int c = (unsigned char)mid->text[i] - (unsigned char)s[i];

				if (c < 0 || (end && c == 0))
					x = mid + 1;
				else
					y = mid;
			}
			*(end ? &hi : &lo) = x;
		}
	}
}

/* The character at s (n bytes), or the last one of s[0..n); -1 when there is none or it is not UTF-8. Its length in *k. */
static int
first_char(const char *s, size_t n, size_t *k)
{
	utf8proc_int32_t c = -1;
	utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s, n, &c);

	*k = len > 0 ? len : 0;
	return len > 0 ? c : -1;
}

static int
last_char(const char *s, size_t n, size_t *k)
{
	size_t at = n;
	int c;

	while (at > 0 && n - at < 4 && ((unsigned char)s[--at] & 0xc0) == 0x80)
		;
	c = first_char(s + at, n - at, k);
	return *k == n - at ? c : -1;
}

/* Regular expressions' \w: letters, marks, digits, connectors, joiners and the circled letters that Unicode calls alphabetic. */
static bool
word_char(int c)
{
	if (c < 0)
		return false;
	if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189))
		return true;
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		return c == 0x200c || c == 0x200d;
	}
}

static void
strip(const struct added_token *t, const char *s, size_t n, size_t taken, struct hit *h)
{
	size_t k;

	while (t->lstrip && h->start > taken && white_space(last_char(s, h->start, &k)))
		h->start -= k;
	while (t->rstrip && h->end < n && white_space(first_char(s + h->end, n - h->end, &k)))
		h->end += k;
}

bool
added_find(const struct added *a, bool normalized, bool special, const char *s, size_t n, size_t from, size_t taken, struct hit *h)
{
	const struct set *set = &a->set[normalized];
	size_t k;

	for (size_t i = from; set->n && i < n; i++) {
		const struct added_token *t = set->first[(unsigned char)s[i]] ? longest(set, s + i, n - i) : NULL;

		if (!t)
			continue;
		/* A match that does not count is still passed over as a whole. */
		if ((t->special && !special) ||
			(t->single_word && (word_char(last_char(s, i, &k)) || word_char(first_char(s + i + t->n, n - i - t->n, &k))))) {
			i += t->n - 1;
			continue;
		}
		*h = (struct hit){ i, i + t->n, i + t->n, t->id };
		strip(t, s, n, taken, h);
		if (h->start < taken)
			h->start = taken;
		if (h->end < h->start)
			h->end = h->start;
		return true;
	}
	return false;
}
