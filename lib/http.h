/* http.h - HTTP requests in flight on a libuv loop (libcurl)
 *
 * One `struct http` per loop. A request is started with http_post() and ends in exactly one call of its `done`, also when it was
 * cancelled. Never more than the caller started: the caller limits what is in flight. Nothing here retries but one case: a kept connection
 * that the server closed before it sent a single byte of the reply is replaced and the request sent again, by libcurl; that is no failed attempt.
 * lib/filter decides about the rest with retry_verdict() and the back-off functions of retry.h. `done` is never called from a curl callback,
 * nor from http_post() or http_cancel(), so that it may call both.
 *
 * Connections, URLs, headers and libcurl's handles are kept and used again; a request costs no copy of its body.
 *
 * What a server can do to us: a reply is at most 64 MiB, its header at most 256 KiB and 1,000 lines in all; compressed replies, replies
 * whose end can be read in two ways and redirects are refused in words (head.h); the attempt's time-out bounds everything, however slowly it
 * trickles. Only http and https, TLS 1.2 at least, certificates checked.
 *
 * The environment: CURL_CA_BUNDLE, else SSL_CERT_FILE and SSL_CERT_DIR, name the certificates to trust, as for the curl tool (a company's own
 * authority); http_proxy, https_proxy, all_proxy and no_proxy are libcurl's (never for a Unix socket). With http:// all that is sent, the key
 * included, can be read on the way, and by an http_proxy; https:// goes through a proxy in a tunnel that it cannot read.
 *
 * Keys: what is ours of them is wiped when it is freed; a copy in libcurl's or the kernel's buffers is out of reach, hence key_guard(). */
#ifndef SA_HTTP_H
#define SA_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "err.h"

struct http;
struct http_req;

struct http_target {
	const char *base;		/* "https://host/v1" or "http://localhost/v1" with a socket */
	const char *unix_path;	/* NULL, or the Unix socket to connect to */
	const char *key;		/* NULL, or the bearer key; never logged */
	const char *org, *project;	/* NULL, or the OpenAI-Organization and OpenAI-Project headers */
	bool insecure;		/* do not verify TLS */
	bool http2;		/* HTTP/2 where a TLS server offers it; else, and always without TLS, HTTP/1.1 */
};

struct http_result {
	int curl;		/* 0, or the CURLcode of the transport's failure (or of our refusal of the reply) */
	bool cancelled;
	bool sent;		/* a server may have got some of the request: what failed after that may have been paid for */
	long status;		/* HTTP status, 0 when there was none (or none that counts: the transport failed later) */
	const char *body;	/* NUL-terminated; valid during `done` */
	size_t n;
	double retry_after;	/* seconds that the server asked for (retry-after-ms, Retry-After seconds or date); <0: none */
	double seconds;		/* from start to end */
	char why[256];		/* the transport's failure, or ours with the reply, in words; "" when there is none */
};

typedef void http_done(void *arg, const struct http_result *r);

/* Once, before anything else here and before any thread: libcurl allocates by the x-allocators. Out of memory it has places that crash, wait for
 * ever or leave an option unset, a restriction to some protocol or certificate among them; so it ends the program as it does everywhere else. */
void http_init(void);

struct http *http_new(uv_loop_t *loop, int max_connections);
void http_free(struct http *h);	/* nothing may be in flight; closes its handles (run the loop once more after it) */

/* POST `body` to base + path, JSON both ways. The body is borrowed until `done` is called (also after http_cancel()); the target is copied,
 * and remembered until http_free(), keys included: a process has a handful of them. timeout in seconds for this attempt. */
struct http_req *http_post(struct http *h, const struct http_target *t, const char *path, const char *body, size_t n, double timeout,
			   http_done *done, void *arg);
void http_cancel(struct http_req *r);	/* `done` is called from the loop, later, with cancelled set */

/* GET base + path and wait for the answer; for use where no loop runs. The body goes to *out, the HTTP status to *status (0: none).
 * 0 when there was an answer of any status, else -1 with why. */
struct buf;
int http_get(const struct http_target *t, const char *path, double timeout, struct buf *out, long *status, struct err *e);

/* A server may quote the key in what it says of a failure: blots it out of that text, in place. */
void http_hide_key(const struct http_target *t, char *text);

#endif
