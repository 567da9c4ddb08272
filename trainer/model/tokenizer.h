/* tokenizer.h - byte-level BPE from tokenizer.json
 *
 * The order of work is HF tokenizers': split on added tokens, NFC where the file says so, pre-tokenizer, bytes, whole-piece look-up when ignore_merges,
 * merges by rank. A tokenizer.json with another model, normalizer, pre-tokenizer or decoder is refused by name. Ids in, ids out; text is UTF-8 (invalid
 * bytes are encoded byte by byte, never dropped). Thread-safe after loading. */
#ifndef SA_TOKENIZER_H
#define SA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct tok;

struct ids {		/* a growing list of token ids */
	int *v;
	size_t n, cap;
};
void ids_add(struct ids *l, int id);
void ids_free(struct ids *l);

struct tok *tok_load(const char *dir, struct err *e);	/* dir/tokenizer.json */
void tok_free(struct tok *t);

/* Append the ids of s[0..n). special: text of special tokens becomes those tokens (raw completions); otherwise it stays ordinary text (user content).
 * Added tokens that are not special are found either way, as in HF tokenizers. No BOS is added. */
void tok_encode(const struct tok *t, const char *s, size_t n, bool special, struct ids *out);

int tok_size(const struct tok *t);		/* ids are below this */
int tok_id(const struct tok *t, const char *token);	/* id of an added token by its text, or -1 */
int tok_bos(const struct tok *t);		/* what the post-processor prepends, or -1 */
bool tok_is_special(const struct tok *t, int id);
/* The bytes that a token stands for (not always whole characters); "" for an id that does not exist. */
const char *tok_bytes(const struct tok *t, int id, size_t *n);

/* Append the token as tokenizer.json spells it, in GPT-2's byte alphabet. */
struct buf;
void tok_spell(const struct tok *t, int id, struct buf *out);

/* How many of s[0..n) are whole UTF-8 characters: what a stream may send now. Invalid bytes count as whole. */
size_t utf8_whole(const char *s, size_t n);

#endif
