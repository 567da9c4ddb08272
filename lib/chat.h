/* chat.h - the OpenAI protocol as text: building request bodies and reading replies. Pure: no input or output. */
#ifndef SA_CHAT_H
#define SA_CHAT_H

#include <jansson.h>
#include <math.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

struct msg {
	const char *role;	/* "system", "user", "assistant" */
	const char *text;	/* UTF-8 */
};

/* Sampling parameters; what is unset is left out of the request, so that the server's default holds. */
struct params {
	double temperature;	/* NAN: unset */
	double top_p;		/* NAN: unset */
	long max_tokens;	/* <0: unset */
	long long seed;		/* <0: unset */
	const char *const *stop;	/* NULL-terminated; NULL: unset */
	int logprobs;		/* completions only: most likely tokens reported at each place; 0: none */
};
#define PARAMS_UNSET { NAN, NAN, -1, -1, NULL, 0 }

/* {"model","messages",...} for /v1/chat/completions. Same arguments, same bytes. */
int chat_body(struct buf *out, const char *model, const struct msg *m, size_t n, const struct params *p);

/* {"model","prompt",...} for /v1/completions. */
int completion_body(struct buf *out, const char *model, const char *text, const struct params *p);

/* {"model","prompt","echo":true,"logprobs":1,"max_tokens":1,"temperature":0} for /v1/completions: prompt log-probabilities.
 * `top` is the `logprobs` count. */
int echo_body(struct buf *out, const char *model, const char *text, int top);

/* A reply. text and finish point into root (or are NULL). */
struct reply {
	int tag;		/* as given to the ask_*() that it answers */
	json_t *root;		/* owns the texts; the whole reply, parsed, where it is no chat or has log-probabilities */
	const char *text;	/* choices[0].message.content, or choices[0].text; NULL when null or absent */
	const char *finish;	/* finish_reason or NULL */
	const char *refusal;	/* choices[0].message.refusal or NULL */
	long prompt_tokens, completion_tokens;	/* usage; -1: not given */
	const char *error;	/* only in the end phase of a filter: why the request failed for good; NULL otherwise */
};

/* Parse the body of a 200 reply. 0; -1 when it is no reply (bad JSON, no choices) with why in *e. */
int reply_parse(struct reply *r, const char *body, size_t n, struct err *e);
void reply_free(struct reply *r);

/* The message of an error body ({"error":{"message"}} and variants), shortened to one printable line; else its first bytes. */
void reply_error(const char *body, size_t n, char *out, size_t max);
/* error.code or error.type ("insufficient_quota"), "" when absent. */
void reply_error_code(const char *body, size_t n, char *out, size_t max);

/* Sum of the log-probabilities of an echoed prompt's tokens after the first, and how many (choices[0].logprobs.token_logprobs, cut at
 * usage.prompt_tokens; or vLLM's prompt_logprobs). 0, or -1 when there are none or one is no finite number <= 0. */
struct nll {
	double sum;	/* of -log p, nats */
	long tokens;
};
int reply_nll(const struct reply *r, struct nll *out);

/* choices[0].logprobs.top_logprobs of generated token `at`: log-probability of the token whose text is `token`. 0, or -1 when absent. */
int reply_top_logprob(const struct reply *r, long at, const char *token, double *out);

/* Exactly `want` numbers in 0..1 out of a judge's text: a bare list "[0.9, 0.1]" or "0.9, 0.1", code fences and surrounding
 * white space allowed, nothing else: a score is never fished out of prose. 0, or -1 with why. */
int chat_scores(const char *text, double *out, int want, struct err *e);

#endif
