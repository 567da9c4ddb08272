/* bpe.h - the vocabulary and the merges of a byte-level BPE, the second half of the tokenizer
 *
 * Tokens are byte strings (the file spells them in GPT-2's byte alphabet). A piece starts as one token a byte; of all neighbours that a merge
 * joins, the one with the smallest rank, leftmost first, is joined, until none is left. Thread-safe after bpe_new(). */
#ifndef SA_BPE_H
#define SA_BPE_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "tokenizer.h"

struct bpe;

/* From tokenizer.json's "model". NULL with a message without the file's name: a setting that is not known, a vocabulary with holes or ids given twice, a
 * byte without a token, a merge of unknown tokens, a merge given twice. */
struct bpe *bpe_new(const json_t *model, struct err *e);
void bpe_free(struct bpe *b);

int bpe_size(const struct bpe *b);	/* ids are 0..size-1 */

/* The id of the token with these bytes, or -1. */
int bpe_find(const struct bpe *b, const char *s, size_t n);

/* The bytes of token `id`, 0 <= id < size. */
const char *bpe_bytes(const struct bpe *b, int id, size_t *n);

/* Append the ids of one piece. Time n log n. */
void bpe_piece(const struct bpe *b, const char *s, size_t n, struct ids *out);

#endif
