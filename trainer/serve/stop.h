/* stop.h - the generated text: where a stop string ends it, how much of it may be sent, and as UTF-8. Pure.
 *
 * Text is bytes: a token may end within a character or a stop string, so both are looked for in the text and not in tokens. */
#ifndef SA_STOP_H
#define SA_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

#define STOP_MAX 16		/* strings a request */
#define STOP_BYTES 1024		/* of one string */

struct stops {
	char *s[STOP_MAX];	/* malloc'd, not empty */
	size_t len[STOP_MAX];
	int n;
};

void stops_free(struct stops *st);

/* The start of the earliest stop string in p[from..n), its end in *end, or n. What lies before `old` was searched before. */
size_t stops_find(const struct stops *st, const char *p, size_t from, size_t old, size_t n, size_t *end);

/* How many bytes at the end of p[from..n) may be the beginning of a stop string and so have to wait. */
size_t stops_hold(const struct stops *st, const char *p, size_t from, size_t n);

/* Bytes of the character at p (n > 0 bytes there), or of the ill-formed sequence that utf8_clean() makes one of; *whole: it is one. */
size_t utf8_step(const char *p, size_t n, bool *whole);

/* Append p[0..n) with each byte sequence that is no UTF-8 as U+FFFD. Cutting p where utf8_whole() says and cleaning the pieces gives the same. */
void utf8_clean(struct buf *out, const char *p, size_t n);

#endif
