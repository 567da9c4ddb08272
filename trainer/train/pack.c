/* pack.c - greedy best fit */
#include <stdbool.h>
#include <stdlib.h>

#include "err.h"
#include "pack.h"

/* The samples by length, as linked lists in order, and which lists are not empty, as bits. */
struct bins {
	uint32_t *next;		/* [samples]; NONE ends a list */
	uint32_t *head;		/* [room+1] */
	uint64_t *some;		/* [room/64+1] */
};

#define NONE UINT32_MAX

static void
bins_init(struct bins *b, const int *length, size_t n, int room)
{
	b->next = xcalloc(n + 1, sizeof *b->next);
	b->head = xcalloc((size_t)room + 1, sizeof *b->head);
	b->some = xcalloc((size_t)room / 64 + 1, sizeof *b->some);
	for (int l = 0; l <= room; l++)
		b->head[l] = NONE;
	for (size_t i = n; i-- > 0;) {
		int l = length[i];

		b->next[i] = b->head[l];
		b->head[l] = (uint32_t)i;
		b->some[l / 64] |= (uint64_t)1 << l % 64;
	}
}

static void
bins_free(struct bins *b)
{
	free(b->next);
	free(b->head);
	free(b->some);
}

/* The greatest length of at most `room` that some sample has, or -1. */
static int
longest(const struct bins *b, int room)
{
	int word = room / 64;
	uint64_t bits = b->some[word] & UINT64_MAX >> (63 - room % 64);

	while (!bits && word > 0)
		bits = b->some[--word];
	return bits ? word * 64 + 63 - __builtin_clzll(bits) : -1;
}

static uint32_t
take(struct bins *b, int length)
{
	uint32_t i = b->head[length];

	b->head[length] = b->next[i];
	if (b->head[length] == NONE)
		b->some[length / 64] &= ~((uint64_t)1 << length % 64);
	return i;
}

static void
fit(struct packs *p, const int *length, size_t n, int room)
{
	struct bins b;
	size_t done = 0;
	int l;

	bins_init(&b, length, n, room);
	while (done < n) {
		p->at[p->n++] = done;
		for (int left = room; (l = longest(&b, left)) >= 0; left -= l)
			p->sample[done++] = take(&b, l);
	}
	bins_free(&b);
}

void
packs_fill(struct packs *p, const int *length, size_t n, int room)
{
	*p = (struct packs){ .sample = xcalloc(n + 1, sizeof *p->sample), .at = xcalloc(n + 1, sizeof *p->at) };
	if (room > 0)
		fit(p, length, n, room);
	else
		for (; p->n < n; p->n++)
			p->sample[p->n] = (uint32_t)(p->at[p->n] = p->n);
	p->at[p->n] = n;
}

void
packs_pair(struct packs *p)
{
	p->n /= 2;
	for (size_t i = 0; i <= p->n; i++)
		p->at[i] = 2 * i;
}

void
packs_free(struct packs *p)
{
	free(p->sample);
	free(p->at);
	*p = (struct packs){ 0 };
}
