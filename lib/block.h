/* block.h - bytes that several hold: lines are passed on by reference, not copied
 *
 * A block is freed with its last reference; any thread may take or drop one. Who holds a reference may read what was handed to it; nobody
 * writes to bytes that were handed on. */
#ifndef SA_BLOCK_H
#define SA_BLOCK_H

#include <stddef.h>

struct block {
	unsigned refs;
	size_t cap;
	char *p;	/* cap bytes */
};

/* n bytes at p, which lie in the block; whoever has the slice holds a reference. */
struct slice {
	struct block *block;	/* NULL: no bytes */
	const char *p;
	size_t n;
};

struct block *block_new(size_t cap);	/* one reference, the caller's */
struct slice block_slice(char *p, size_t n);	/* a block of these malloc'd bytes, which it takes, as a slice */
struct block *block_hold(struct block *b);	/* one reference more; returns b */
void block_drop(struct block *b);	/* one less; NULL does nothing */

#endif
