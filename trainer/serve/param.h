/* param.h - members of a request's body, read by type and range, and what is said when one is wrong. Pure.
 *
 * The getters leave *out alone when the member is absent or null. They return 0, or -1 with *e filled. */
#ifndef SA_PARAM_H
#define SA_PARAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* An OpenAI error object and its HTTP status. */
struct req_error {
	int status;
	int retry_after;	/* seconds, said with 429 and 503 */
	const char *type, *code;	/* code: NULL for none */
	char param[64];		/* "" for none */
	char message[512];
};

/* Always returns -1. */
int req_fail(struct req_error *e, int status, const char *param, const char *code, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* "'param' must be WANT". Always returns -1. */
int param_type_error(struct req_error *e, const char *param, const char *want);

/* The body: one JSON object, a new reference; NULL with *e filled. */
json_t *param_body(const char *body, size_t n, struct req_error *e);

int param_int(json_t *root, const char *name, long long lo, long long hi, long long *out, struct req_error *e);
int param_num(json_t *root, const char *name, double lo, double hi, double *out, struct req_error *e);
int param_bool(json_t *root, const char *name, bool *out, struct req_error *e);

/* A member that `known`, which ends with NULL, does not name; NULL: there is none. */
const char *param_stranger(json_t *object, const char *const *known);

#endif
