/* nfc.h - Unicode's normalization form C, as the NFC normalizer of HF tokenizers gives it
 *
 * The reference knows Unicode 9: a mark that came later neither moves nor joins with what is beside it (goldens/make_tokenizer.py compares). Bytes
 * that are not UTF-8 stay where they are. Read-only after nfc_new(). */
#ifndef SA_NFC_H
#define SA_NFC_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct nfc;

struct nfc *nfc_new(void);
void nfc_free(struct nfc *f);

/* Whether nothing can change in s[0..n): true of nearly all text. */
bool nfc_is(const struct nfc *f, const char *s, size_t n);

/* Append the normalized s[0..n). Time linear in n, whatever the marks. */
void nfc_add(struct buf *out, const char *s, size_t n);

#endif
