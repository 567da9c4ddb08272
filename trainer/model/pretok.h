/* pretok.h - text to pieces, the first half of byte-level BPE: merges never cross the border of a piece
 *
 * The pieces are the matches of a regular expression and what lies between them. Only expressions that were compared with the reference
 * implementation character by character are known; each has a name. Thread-safe after pretok_new(). */
#ifndef SA_PRETOK_H
#define SA_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct pretok;

/* As tokenizer.json spells it. */
extern const char pretok_llama3[], pretok_qwen2[];	/* Qwen2, 2.5 and 3 */

/* `pattern` as tokenizer.json spells it; NULL with a message when it is not a known one. */
struct pretok *pretok_new(const char *pattern, struct err *e);
void pretok_free(struct pretok *p);

/* Call `piece` for each piece of s[0..n), in order; together they are all of it. A byte that is not part of valid UTF-8 is a piece of its own. */
typedef void pretok_piece(void *arg, const char *s, size_t n);
void pretok_run(const struct pretok *p, const char *s, size_t n, pretok_piece *piece, void *arg);

/* GPT-2's byte alphabet: the printable character (a code point below 0x144) that stands for a byte in vocabularies, and back (-1: for none). */
int alphabet_char(unsigned char byte);
int alphabet_byte(int code_point);

/* Unicode's White_Space, which is \s of the expressions above (and of "strip" in added tokens). */
bool white_space(int code_point);

#endif
