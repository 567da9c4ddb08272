/* batch.h - requests and results as OpenAI batch lines (Batch API, vLLM run-batch)
 *
 * `path` is everywhere the one that http_post() takes ("/chat/completions"); in a line it stands behind "/v1". Bodies are carried as they are,
 * byte for byte, in both directions. */
#ifndef SA_BATCH_H
#define SA_BATCH_H

#include <stddef.h>

#include "buf.h"
#include "err.h"

/* The custom_id of a request: "sa-" and 32 hex digits, a hash (XXH3 128) of path, body and sample number; the same request has the same id
 * in every run. With its NUL. */
#define BATCH_ID 36
void batch_id(char out[BATCH_ID], const char *path, const char *body, size_t n, long sample);

/* Append one request line, with its newline: {"custom_id":"...","method":"POST","url":"/v1/chat/completions","body":{...}}. 0, or -1 when
 * out->max would be passed. `body` is JSON without raw newlines. Pure. */
int batch_line(struct buf *out, const char *id, const char *path, const char *body, size_t n);

/* A result line. Failed requests come with a status that is not 200 and the server's error as body, expired ones with an error only. */
struct batch_result {
	char *id;	/* custom_id */
	long status;	/* response.status_code; 0 when there was no response */
	char *body;	/* the text of response.body, as the server sent it, NUL behind it; NULL when there was no response */
	size_t n;
	char *error;	/* "error.code: error.message", or NULL */
};

/* 0, or -1 with why (no JSON object, no custom_id, neither response nor error) and nothing to free. Pure. */
int batch_result_parse(struct batch_result *r, const char *line, size_t n, struct err *e);
void batch_result_free(struct batch_result *r);

/* A file of requests being written: each id once, however often it is added. */
struct batch_out;

/* Makes or empties the file; a pipe will do; standard output will not: the records go there. NULL with why. */
struct batch_out *batch_out_open(const char *path, struct err *e);
int batch_out_add(struct batch_out *b, const char *id, const char *path, const char *body, size_t n, struct err *e);	/* 0, or -1 with why */

/* Writes the rest and closes: a full disk shows here at the latest. Frees in every case. *lines (may be NULL): how many were written. 0 or -1. */
int batch_out_close(struct batch_out *b, long long *lines, struct err *e);

/* A file of results, indexed by id: the index is in memory (24 bytes a line, twice that while it grows), the lines stay in the file. */
struct batch_in;

/* Reads the file through. A broken line is an error that names file and line. Of several results of one id a success (200, no error) wins,
 * else the last. NULL with why. */
struct batch_in *batch_in_open(const char *path, struct err *e);
int batch_in_get(struct batch_in *b, const char *id, struct batch_result *r, struct err *e);	/* 1 found, 0 not there, -1 with why */
void batch_in_close(struct batch_in *b);

#endif
