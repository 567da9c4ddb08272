/* block.c - bytes that several hold */
#include "block.h"

#include <stdlib.h>

#include "err.h"

struct slice
block_slice(char *p, size_t n)
{
	struct block *b = xmalloc(sizeof *b);

	*b = (struct block){ .refs = 1, .cap = n, .p = p };
	return (struct slice){ b, p, n };
}

struct block *
block_new(size_t cap)
{
	struct block *b = xmalloc(sizeof *b + cap);

	*b = (struct block){ .refs = 1, .cap = cap, .p = (char *)(b + 1) };
	return b;
}

struct block *
block_hold(struct block *b)
{
	__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void
block_drop(struct block *b)
{
	if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (b->p != (char *)(b + 1))
		free(b->p);
	free(b);
}
