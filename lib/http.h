/* http.h - HTTP requests in flight on a libuv loop (libcurl multi, socket actions)
 *
 * One `struct http` per loop. A request is started with http_post() and ends in exactly one call of its `done`, also when it was
 * cancelled. Never more than the caller started: the caller limits what is in flight. Nothing here retries; lib/filter decides
 * with http_retry_after() and the pure back-off functions of retry.h. curl is never entered from its own callback: `done` runs after the drain. */
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
};

struct http_result {
	int curl;		/* 0, or the CURLcode of the transport's failure */
	bool cancelled;
	long status;		/* HTTP status, 0 when there was none */
	const char *body;	/* NUL-terminated; valid during `done` */
	size_t n;
	double retry_after;	/* seconds that the server asked for (retry-after-ms, Retry-After seconds or date); <0: none */
	double seconds;		/* from start to end */
	char why[256];		/* the transport's failure in words */
};

typedef void http_done(void *arg, const struct http_result *r);

struct http *http_new(uv_loop_t *loop, int max_connections);
void http_free(struct http *h);	/* nothing may be in flight; closes its handles (run the loop once more after it) */

/* POST `body` (copied) to base + path, JSON both ways. timeout in seconds for this attempt. */
struct http_req *http_post(struct http *h, const struct http_target *t, const char *path, const char *body, size_t n, double timeout,
			   http_done *done, void *arg);
void http_cancel(struct http_req *r);	/* `done` is called from the loop, later, with cancelled set */

/* GET base + path and wait for the answer; for use where no loop runs. The body goes to *out, the HTTP status to *status (0: none).
 * 0 when there was an answer of any status, else -1 with why. */
struct buf;
int http_get(const struct http_target *t, const char *path, double timeout, struct buf *out, long *status, struct err *e);

#endif
