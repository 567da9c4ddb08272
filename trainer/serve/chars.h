/* chars.h - characters as bytes of a grammar: in UTF-8, plain or as they stand in a JSON string
 *
 * A class is a set of code points as ranges; U+0000 and surrogates are in none. */
#ifndef SA_CHARS_H
#define SA_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grammar.h"

#define CHARS_RANGES 256

struct chars {
	struct { uint32_t lo, hi; } range[CHARS_RANGES];
	int n;
	bool full;		/* some did not fit */
};

void chars_add(struct chars *c, uint32_t lo, uint32_t hi);
/* Sorted, and none touches another. */
void chars_sort(struct chars *c);
/* All characters that are not in it. */
void chars_invert(struct chars *c);

/* One character of the class, from state to state. json: as in a JSON string, where " \ and control characters are escaped, each in its
 * shortest way, and nothing else is. */
void chars_put(struct grammar *g, int from, int to, const struct chars *c, bool json);

/* One character of a JSON string in any of its spellings but \u0000 and halves of surrogate pairs, which not every reader takes. */
void chars_put_any(struct grammar *g, int from, int to);

/* The character at p (valid UTF-8, n > 0 bytes), its length in *len. */
uint32_t chars_at(const char *p, size_t n, size_t *len);

#endif
