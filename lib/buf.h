/* buf.h - a growing byte buffer with a mandatory maximum
 *
 * p[0..n) is the content and p[n] is always a NUL that does not count (once anything was added or buf_clear was called).
 * Running out of memory ends the program; running past `max` is the caller's to handle: every add returns -1 and the content
 * is then unchanged. */
#ifndef SA_BUF_H
#define SA_BUF_H

#include <stddef.h>

struct buf {
	char *p;
	size_t n;
	size_t cap;	/* bytes allocated */
	size_t max;	/* n never passes this */
};

#define BUF_INIT(limit) { NULL, 0, 0, (limit) }
#define BUF_MAX_TEXT ((size_t)64 << 20)	/* a reply, a line with its additions */

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);	/* releases; the buffer may be used again with the same maximum */
void buf_clear(struct buf *b);	/* n = 0, memory kept */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append `s` (n bytes of valid UTF-8) as a JSON string with its quotes; only ", \ and bytes below 0x20 are escaped. */
int buf_json(struct buf *b, const char *s, size_t n);

/* The content as a malloc'd string that is the caller's; the buffer is left empty. */
char *buf_take(struct buf *b);

/* Read a whole file of at most b->max bytes. 0, or -1 with a message that names it. */
struct err;
int buf_read_file(struct buf *b, const char *path, struct err *e);

#endif
