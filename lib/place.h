/* place.h - where requests go: a target and a path, as the libcurl options that all requests to it share
 *
 * The URL is parsed, the headers are made and the environment (certificates, proxies) is read once for each. */
#ifndef SA_PLACE_H
#define SA_PLACE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "http.h"

struct place;

struct place *place_new(const struct http_target *t, const char *path);
void place_free(struct place *p);	/* no handle may use it any more; wipes the key */

bool place_is(const struct place *p, const struct http_target *t, const char *path);
const char *place_key(const struct place *p);	/* or NULL */

/* A new handle for requests to it: everything but the body, the callbacks and the time-out. `why` is CURL_ERROR_SIZE bytes that live as long. */
CURL *place_handle(const struct place *p, char *why);

/* Before each request: what depends on the size of its body. */
void place_body(const struct place *p, CURL *easy, const char *body, size_t n);

/* A transport's failure in words, one line, with what can be done about it. `why` is what libcurl says, or "". */
void place_explain(const struct place *p, CURL *easy, CURLcode code, const char *why, char *out, size_t max);

#endif
