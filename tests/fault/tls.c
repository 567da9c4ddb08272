/* tls.c - the server's side of TLS */

#include "tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "err.h"

struct tls {
	SSL *ssl;	/* owns both BIOs */
	BIO *from, *to;	/* the wire */
};

static SSL_CTX *context;

void
tls_load(const char *cert, const char *key)
{
	context = SSL_CTX_new(TLS_server_method());
	if (!context || SSL_CTX_use_certificate_chain_file(context, cert) != 1 || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		die(STATUS_USAGE, "%s, %s: %s", cert, key, ERR_reason_error_string(ERR_get_error()));
}

struct tls *
tls_new(void)
{
	struct tls *t;

	if (!context)
		return NULL;
	t = xcalloc(1, sizeof *t);
	t->ssl = SSL_new(context);
	t->from = BIO_new(BIO_s_mem());
	t->to = BIO_new(BIO_s_mem());
	if (!t->ssl || !t->from || !t->to)
		die(STATUS_IO, "out of memory");
	SSL_set_bio(t->ssl, t->from, t->to);
	SSL_set_accept_state(t->ssl);
	return t;
}

void
tls_free(struct tls *t)
{
	if (t)
		SSL_free(t->ssl);
	free(t);
}

int
tls_feed(struct tls *t, const char *p, size_t n, struct buf *plain)
{
	char block[16384];
	int got;

	ERR_clear_error();
	BIO_write(t->from, p, (int)n);
	while ((got = SSL_read(t->ssl, block, sizeof block)) > 0)
		if (buf_add(plain, block, (size_t)got) < 0)
			return -1;
	return SSL_get_error(t->ssl, got) == SSL_ERROR_WANT_READ ? 0 : -1;
}

void
tls_say(struct tls *t, const char *p, size_t n)
{
	while (n > 0) {
		int part = n > INT_MAX ? INT_MAX : (int)n;

		if (SSL_write(t->ssl, p, part) != part)
			return;
		p += part;
		n -= (size_t)part;
	}
}

void
tls_end(struct tls *t)
{
	SSL_shutdown(t->ssl);
}

void
tls_take(struct tls *t, struct buf *wire)
{
	char *p;
	long n = BIO_get_mem_data(t->to, &p);

	buf_clear(wire);
	buf_add(wire, p, n > 0 ? (size_t)n : 0);
	(void)BIO_reset(t->to);
}
