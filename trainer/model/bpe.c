/* bpe.c - vocabulary, merges, and the merging of one piece */
#include "bpe.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL	/* pieces are short: a call would cost as much as the hash */
#include <xxhash.h>

#include "pretok.h"

#define MAX_TOKENS (1 << 22)
#define MAX_MERGES (1 << 24)
#define NO_RANK UINT32_MAX

struct pair {		/* two neighbours that a merge joins; a slot of the hash table of them */
	int left, right, whole;
	uint32_t rank;		/* NO_RANK: the slot is free */
};

enum made { UNKNOWN, YES, NO };

struct bpe {
	char *text;		/* all tokens' bytes, one after the other */
	size_t *at;		/* token i is text[at[i]..at[i+1]) */
	int n;
	int *slot;		/* hash table of tokens: id, or -1; linear probing, at most half full */
	size_t nslot;
	struct pair *pair;	/* the same of merges */
	size_t npair;
	uint64_t *maybe;	/* a bit for each value of a longer hash: clear where no pair has it. Most neighbours are no pair; this stays in the cache */
	int byte[256];		/* the token of a single byte */
	bool whole;		/* ignore_merges: a piece that is a token is that token */
	atomic_uchar *made;	/* else, for each token: do the merges make it of its bytes? enum made, found out when it is first asked */
};

static size_t
power_of_two(size_t n)
{
	size_t p = 16;

	while (p < n)
		p *= 2;
	return p;
}

/* ---- tokens ---- */

static size_t
slot_of(const struct bpe *b, const char *s, size_t n)
{
	size_t i = XXH3_64bits(s, n) & (b->nslot - 1), len;

	for (; b->slot[i] >= 0; i = (i + 1) & (b->nslot - 1)) {
		const char *p = bpe_bytes(b, b->slot[i], &len);

		if (len == n && memcmp(p, s, n) == 0)
			break;
	}
	return i;
}

int
bpe_find(const struct bpe *b, const char *s, size_t n)
{
	return b->slot[slot_of(b, s, n)];
}

int
bpe_size(const struct bpe *b)
{
	return b->n;
}

const char *
bpe_bytes(const struct bpe *b, int id, size_t *n)
{
	*n = b->at[id + 1] - b->at[id];
	return b->text + b->at[id];
}

/* The bytes of a token that is spelled in the byte alphabet. Returns how many, at most strlen(s); -1 when a character is not of the alphabet. */
static long
unspell(const char *s, char *out)
{
	const unsigned char *p = (const unsigned char *)s;
	long n = 0;

	while (*p) {
		int c = *p++, byte;

		if (c >= 0xc0 && c <= 0xdf)	/* jansson has checked the UTF-8; longer characters are not of the alphabet */
			c = (c & 0x1f) << 6 | (*p++ & 0x3f);
		else if (c >= 0x80)
			return -1;
		byte = alphabet_byte(c);
		if (byte < 0)
			return -1;
		out[n++] = byte;
	}
	return n;
}

/* The file's tokens in the order of their ids: every id of 0..n-1 once. Free with free(). */
static const char **
by_id(json_t *vocab, struct err *e)
{
	size_t n = json_object_size(vocab);
	const char **list = xcalloc(n, sizeof *list), *name;
	json_t *v;

	json_object_foreach(vocab, name, v) {
		json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;

		if (id < 0 || (size_t)id >= n)
			err_set(e, "model.vocab: token \"%s\" has an id outside 0..%zu (or the vocabulary has a hole)", name, n - 1);
		else if (list[id])
			err_set(e, "model.vocab: tokens \"%s\" and \"%s\" have the same id %d", list[id], name, (int)id);
		else {
			list[id] = name;
			continue;
		}
		free(list);
		return NULL;
	}
	return list;
}

static int
load_tokens(struct bpe *b, const char **list, struct err *e)
{
	size_t total = 0;

	for (int i = 0; i < b->n; i++)
		total += strlen(list[i]);
	b->text = xmalloc(total);
	b->at = xcalloc(b->n + 1, sizeof *b->at);
	b->nslot = power_of_two((size_t)b->n * 2);
	b->slot = xreallocarray(NULL, b->nslot, sizeof *b->slot);
	memset(b->slot, -1, b->nslot * sizeof *b->slot);
	for (int i = 0; i < b->n; i++) {
		long n = unspell(list[i], b->text + b->at[i]);
		size_t slot;

		if (n <= 0)
			return err_set(e, "model.vocab: token \"%s\" is %s", list[i], n < 0 ? "not spelled in the byte alphabet" : "empty");
		b->at[i + 1] = b->at[i] + n;
		slot = slot_of(b, b->text + b->at[i], n);
		b->slot[slot] = i;	/* free: the alphabet is one to one and the file's names differ */
	}
	for (int c = 0; c < 256; c++) {
		b->byte[c] = bpe_find(b, &(char){ c }, 1);
		if (b->byte[c] < 0)
			return err_set(e, "model.vocab: no token for byte 0x%02x", c);
	}
	return 0;
}

/* ---- merges ---- */

#define MAYBE_BITS 22	/* 512 KB; one in 15 of the pairs that Llama-3 does not have is looked up in vain */

static inline uint64_t
pair_hash(int left, int right)
{
	return ((uint64_t)(unsigned)left << 32 | (unsigned)right) * 0x9e3779b97f4a7c15u;	/* Fibonacci hashing: the high bits are mixed */
}

static struct pair *
pair_slot(const struct bpe *b, int left, int right)
{
	size_t i = pair_hash(left, right) >> 32 & (b->npair - 1);

	for (; b->pair[i].rank != NO_RANK; i = (i + 1) & (b->npair - 1))
		if (b->pair[i].left == left && b->pair[i].right == right)
			break;
	return &b->pair[i];
}

/* NULL: no merge joins them. */
static inline const struct pair *
pair_find(const struct bpe *b, int left, int right)
{
	uint64_t bit = pair_hash(left, right) >> (64 - MAYBE_BITS);
	const struct pair *p;

	if (!(b->maybe[bit / 64] >> bit % 64 & 1))
		return NULL;
	p = pair_slot(b, left, right);
	return p->rank == NO_RANK ? NULL : p;
}

/* The id of a spelled token, or -1. `room` takes its bytes. */
static int
spelled_id(const struct bpe *b, const char *s, char *room)
{
	long n = unspell(s, room);

	return n > 0 ? bpe_find(b, room, n) : -1;
}

/* "left right", or ["left", "right"] in files since 2024. Copies of both, in one allocation at *left. */
static int
halves(const json_t *v, char **left, char **right)
{
	const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
	size_t n;

	if (json_array_size(v) == 2 && json_is_string(a) && json_is_string(b)) {
		n = json_string_length(a) + 1;
		*left = xmalloc(n + json_string_length(b) + 1);
		*right = strcpy(*left + n, json_string_value(b));
		strcpy(*left, json_string_value(a));
		return 0;
	}
	if (!json_is_string(v) || !strchr(json_string_value(v), ' '))
		return -1;
	*left = xstrdup(json_string_value(v));
	*right = strchr(*left, ' ');
	*(*right)++ = '\0';
	return 0;
}

static int
put_pair(struct bpe *b, struct pair p, struct err *e)
{
	struct pair *slot = pair_slot(b, p.left, p.right);
	uint64_t bit = pair_hash(p.left, p.right) >> (64 - MAYBE_BITS);

	if (slot->rank != NO_RANK)
		return err_set(e, "model.merges[%u]: the same as model.merges[%u]", p.rank, slot->rank);
	*slot = p;
	b->maybe[bit / 64] |= (uint64_t)1 << bit % 64;
	return 0;
}

static int
load_merge(struct bpe *b, size_t rank, const json_t *v, struct err *e)
{
	struct pair m = { .rank = rank };
	char *left, *right, *room;
	const char *l, *r;
	size_t nl, nr;
	int rc = -1;

	if (halves(v, &left, &right) < 0)
		return err_set(e, "model.merges[%zu]: not two tokens", rank);
	room = xmalloc(strlen(left) + strlen(right) + 1);
	m.left = spelled_id(b, left, room);
	m.right = spelled_id(b, right, room);
	if (m.left < 0 || m.right < 0) {
		err_set(e, "model.merges[%zu]: token \"%s\" is not in the vocabulary", rank, m.left < 0 ? left : right);
		goto out;
	}
	l = bpe_bytes(b, m.left, &nl);
	r = bpe_bytes(b, m.right, &nr);
	memcpy(room, l, nl);
	memcpy(room + nl, r, nr);
	m.whole = bpe_find(b, room, nl + nr);
	rc = m.whole < 0 ? err_set(e, "model.merges[%zu]: \"%s\" + \"%s\" is not in the vocabulary", rank, left, right) : put_pair(b, m, e);
out:
	free(room);
	free(left);
	return rc;
}

static int
load_merges(struct bpe *b, const json_t *merges, struct err *e)
{
	size_t n = json_array_size(merges);

	if (!json_is_array(merges) || n > MAX_MERGES)
		return err_set(e, "model.merges is not an array of at most %d", MAX_MERGES);
	b->npair = power_of_two(n * 2);
	b->pair = xreallocarray(NULL, b->npair, sizeof *b->pair);
	memset(b->pair, -1, b->npair * sizeof *b->pair);
	b->maybe = xcalloc(((size_t)1 << MAYBE_BITS) / 64, sizeof *b->maybe);
	for (size_t i = 0; i < n; i++)
		if (load_merge(b, i, json_array_get(merges, i), e) < 0)
			return -1;
	return 0;
}

/* Settings that change what comes out and that no byte-level tokenizer of the known kind has. */
static int
check_settings(const json_t *model, struct err *e)
{
	static const char *const none[] = { "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback" };
	const json_t *type = json_object_get(model, "type");

	if (!json_is_object(model))
		return err_set(e, "no \"model\"");
	if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
		return err_set(e, "model type %s is not known (known: BPE)", json_is_string(type) ? json_string_value(type) : "that is no string");
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		const json_t *v = json_object_get(model, none[i]);
		bool empty = !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
			(json_is_number(v) && json_number_value(v) == 0);

		if (!empty)
			return err_set(e, "model.%s is set, which is not known", none[i]);
	}
	return 0;
}

struct bpe *
bpe_new(const json_t *model, struct err *e)
{
	json_t *vocab = json_object_get(model, "vocab");
	const char **list = NULL;
	struct bpe *b;

	if (check_settings(model, e) < 0)
		return NULL;
	if (!json_is_object(vocab) || json_object_size(vocab) == 0 || json_object_size(vocab) > MAX_TOKENS) {
		err_set(e, "model.vocab is not an object of 1 to %d tokens", MAX_TOKENS);
		return NULL;
	}
	b = xcalloc(1, sizeof *b);
	b->n = json_object_size(vocab);
	b->whole = json_is_true(json_object_get(model, "ignore_merges"));
	b->made = xcalloc(b->n, sizeof *b->made);
	list = by_id(vocab, e);
	if (!list || load_tokens(b, list, e) < 0 || load_merges(b, json_object_get(model, "merges"), e) < 0) {
		bpe_free(b);
		b = NULL;
	}
	free(list);
	return b;
}

void
bpe_free(struct bpe *b)
{
	if (!b)
		return;
	free(b->text);
	free(b->at);
	free(b->slot);
	free(b->pair);
	free(b->maybe);
	free(b->made);
	free(b);
}

/* ---- merging ----
 *
 * The piece is a doubly linked list of symbols over its byte positions. The heap holds rank << 32 | position for each pair of neighbours that a merge
 * joins, so its smallest is the pair to join next. A join makes the entries of the pairs beside it stale; they stay and are known by
 * the rank that is noted at their left symbol being another by now. A join takes one entry out and puts at most two in, so 2n entries are room enough. */

struct symbol {
	int id;
	uint32_t rank;		/* of the pair with the next one; NO_RANK: none, or joined to the symbol before */
	int whole;		/* what the pair becomes */
	uint32_t next, prev;	/* n: the end; prev of the first is n too */
};

struct piece {
	struct symbol *sym;
	uint64_t *heap;
	size_t nheap;
	uint32_t n;
};

/* The symbol at `left` has a new neighbour or is new itself. */
static inline void
look(const struct bpe *b, struct piece *p, uint32_t left)
{
	struct symbol *l = &p->sym[left];
	const struct pair *pair = l->next == p->n ? NULL : pair_find(b, l->id, p->sym[l->next].id);
	uint64_t key;
	size_t i, up;

	l->rank = NO_RANK;
	if (!pair)
		return;
	l->rank = pair->rank;
	l->whole = pair->whole;
	key = (uint64_t)pair->rank << 32 | left;
	for (i = p->nheap++; i > 0 && key < p->heap[up = (i - 1) / 2]; i = up)
		p->heap[i] = p->heap[up];
	p->heap[i] = key;
}

static uint64_t
pop(struct piece *p)
{
	uint64_t top = p->heap[0], last = p->heap[--p->nheap];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < p->nheap) {
		if (down + 1 < p->nheap && p->heap[down + 1] < p->heap[down])
			down++;
		if (last <= p->heap[down])
			break;
		p->heap[i] = p->heap[down];
		i = down;
	}
	p->heap[i] = last;
	return top;
}

static void
join(const struct bpe *b, struct piece *p, uint64_t key)
{
	uint32_t at = key, right = p->sym[at].next;
	struct symbol *s = &p->sym[at];

	if (s->rank != key >> 32)
		return;
	s->id = s->whole;
	s->next = p->sym[right].next;
	p->sym[right].rank = NO_RANK;
	if (s->next != p->n)
		p->sym[s->next].prev = at;
	look(b, p, at);
	if (s->prev != p->n)
		look(b, p, s->prev);
}

static void
merge_all(const struct bpe *b, struct piece *p, const char *s, struct ids *out)
{
	for (uint32_t i = 0; i < p->n; i++)
		p->sym[i] = (struct symbol){ .id = b->byte[(unsigned char)s[i]], .next = i + 1, .prev = i ? i - 1 : p->n };
	for (uint32_t i = 0; i < p->n; i++)
		look(b, p, i);
	while (p->nheap > 0)
		join(b, p, pop(p));
	for (uint32_t i = 0; i < p->n; i = p->sym[i].next)
		ids_add(out, p->sym[i].id);
}

/* Nearly every piece is a word; their lists need no allocation. */
#define SHORT 128

static void
merge_piece(const struct bpe *b, const char *s, size_t n, struct ids *out)
{
	struct symbol sym[SHORT];
	uint64_t heap[2 * SHORT];
	struct piece p = { sym, heap, 0, n };

	if (n <= SHORT) {
		merge_all(b, &p, s, out);
		return;
	}
	p.sym = xreallocarray(NULL, n, sizeof *p.sym);
	p.heap = xreallocarray(NULL, n, 2 * sizeof *p.heap);
	merge_all(b, &p, s, out);
	free(p.sym);
	free(p.heap);
}

/* Whether the piece s[0..n), which is token `id`, comes out as that. Threads that ask at the same time find the same. */
static bool
is_made(const struct bpe *b, int id, const char *s, size_t n)
{
	int made = atomic_load_explicit(&b->made[id], memory_order_relaxed);
	struct ids ids = { 0 };

	if (b->whole || n == 1)
		return true;
	if (made == UNKNOWN) {
		merge_piece(b, s, n, &ids);
		made = ids.n == 1 ? YES : NO;
		ids_free(&ids);
		atomic_store_explicit(&b->made[id], made, memory_order_relaxed);
	}
	return made == YES;
}

void
bpe_piece(const struct bpe *b, const char *s, size_t n, struct ids *out)
{
	int id = bpe_find(b, s, n);

	if (id >= 0 && is_made(b, id, s, n))
		ids_add(out, id);
	else
		merge_piece(b, s, n, out);
}
