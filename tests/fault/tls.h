/* tls.h - the server's side of TLS, between bytes of the wire and bytes of HTTP (OpenSSL over memory) */
#ifndef FAULT_TLS_H
#define FAULT_TLS_H

#include "buf.h"

struct tls;

/* Certificate and key of the server as PEM files; dies when they are wrong. */
void tls_load(const char *cert, const char *key);

struct tls *tls_new(void);	/* one connection; NULL when nothing was loaded */
void tls_free(struct tls *t);

/* `n` bytes came from the wire: what they say is appended to *plain. -1: the client ended it. tls_take() is due after either. */
int tls_feed(struct tls *t, const char *p, size_t n, struct buf *plain);
/* Say `n` bytes / that no more will come. tls_take() is due. */
void tls_say(struct tls *t, const char *p, size_t n);
void tls_end(struct tls *t);
/* What is to go over the wire now, in place of what *wire holds. */
void tls_take(struct tls *t, struct buf *wire);

#endif
