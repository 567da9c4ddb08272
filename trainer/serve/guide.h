/* guide.h - constrained decoding: which tokens may come next so that a reply has the form that was asked for
 *
 * A guide is a grammar (a JSON Schema's, a regular expression's, a choice of texts) run over the vocabulary: a token may come next when all
 * its bytes can follow the text, an end token when the text is complete. Added tokens, special or not, never may. What a guide allows depends
 * on the text and on nothing else, so replies stay the same whatever the load.
 *
 * Requests with the same form share a guide, and guides that were used last are kept: which tokens may come is worked out once for each
 * state of the grammar. Thread-safe. */
#ifndef SA_GUIDE_H
#define SA_GUIDE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "tokenizer.h"

struct guides;			/* those of a server */
struct guide;

enum guide_kind {
	GUIDE_SCHEMA,		/* a JSON Schema (schema.h) */
	GUIDE_REGEX,		/* a string: a regular expression (pattern.h) that the whole text matches */
	GUIDE_CHOICE,		/* a list of strings */
};

/* Where a text is in its guide; zeroed at first. */
struct guided {
	int state;
	size_t taken;		/* bytes of the text that led there */
	unsigned epoch;		/* of the guide's states */
};

/* vocab: ids are below this. The tokenizer outlives it; eos is copied. */
struct guides *guides_new(const struct tok *tok, int vocab, const int *eos, int neos);
/* When every guide was released. */
void guides_free(struct guides *all);

/* The guide of this form, to be released; NULL with why. */
struct guide *guides_get(struct guides *all, enum guide_kind kind, json_t *form, struct err *e);
void guide_release(struct guide *g);	/* NULL: nothing */

/* text[0..n) is what was generated so far; *at belongs to it. The logits (of the whole vocabulary) of tokens that may not come next become
 * -infinity: of all of them when nothing may, or when a grammar with far too many ways at once would take too long. */
void guide_mask(struct guide *g, struct guided *at, const char *text, size_t n, float *logits);
/* Is the text complete, and can nothing follow? */
bool guide_ended(struct guide *g, struct guided *at, const char *text, size_t n);

#endif
