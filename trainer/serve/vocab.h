/* vocab.h - a tokenizer's vocabulary as a prefix tree of its tokens' bytes, and which tokens an automaton takes
 *
 * In it are the tokens that stand for text: not added tokens (special ones among them), not empty ones, not those longer than VOCAB_DEEP
 * bytes. Read only after vocab_new(). */
#ifndef SA_VOCAB_H
#define SA_VOCAB_H

#include <stdint.h>

#include "automaton.h"
#include "tokenizer.h"

#define VOCAB_DEEP 255

struct vocab_node {
	int skip;		/* the node behind all that begin with this one's bytes */
	int first;		/* its tokens in `id`: up to the next node's */
	unsigned char byte, depth;	/* depth: bytes before this one */
};

struct vocab {
	struct vocab_node *node;	/* [n + 1], depth first; the last one only ends the others */
	int n;
	int *id;		/* sorted by their bytes */
	int size;		/* ids are below this: the model's, which may be more than the tokenizer's */
};

struct vocab *vocab_new(const struct tok *t, int size);
void vocab_free(struct vocab *v);

#define VOCAB_WORDS(v) (((size_t)(v)->size + 63) / 64)

/* Set the bits of all tokens whose bytes the automaton takes one after the other from `state` on: bits[VOCAB_WORDS(v)], cleared before.
 * 0, or -1 when the automaton is tired. */
int vocab_mask(const struct vocab *v, struct automaton *a, int state, uint64_t *bits);

#endif
