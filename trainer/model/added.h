/* added.h - tokenizer.json's added tokens: strings that are found in the text before anything else is done to it
 *
 * Leftmost-longest, with the options of HF tokenizers: lstrip and rstrip take the white space beside a match into the token, single_word drops a match
 * with a word character beside it. Tokens with "normalized" set are looked for in what the others have left. Read-only after added_new(). */
#ifndef SA_ADDED_H
#define SA_ADDED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "bpe.h"
#include "err.h"

struct added_token {
	const char *text;	/* owned by the list */
	size_t n;
	int id;
	bool special, normalized, lstrip, rstrip, single_word;
};

struct added;

/* From tokenizer.json's "added_tokens" (may be absent). Their ids follow the vocabulary's without a hole, or name a token of it with the same bytes. */
struct added *added_new(const json_t *list, const struct bpe *b, struct err *e);
void added_free(struct added *a);

int added_size(const struct added *a);		/* ids of the vocabulary and of the added tokens are 0..size-1 */
const struct added_token *added_by_id(const struct added *a, int id);	/* NULL: not an added one */
const struct added_token *added_by_text(const struct added *a, const char *text, size_t n);

struct hit {
	size_t start, end;	/* what the token takes, stripped white space included */
	size_t next;		/* where the search goes on */
	int id;
};

/* The first hit in s[0..n) at or after `from`, among the tokens whose `normalized` is that; special ones only when `special`. What lies before `taken`
 * belongs to an earlier hit. Returns whether there is one. */
bool added_find(const struct added *a, bool normalized, bool special, const char *s, size_t n, size_t from, size_t taken, struct hit *h);

#endif
