/* request.h - the body of a request, read and checked: everything that a client can get wrong is found here, before the model runs
 *
 * Pure but for the tokenizer. A parameter that would change the result and is not supported is refused by name; only those known to be
 * harmless are ignored. */
#ifndef SA_REQUEST_H
#define SA_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "draw.h"
#include "stop.h"
#include "template.h"
#include "tokenizer.h"

#define REQ_PROMPTS 2048	/* prompts x choices of one request */
#define REQ_CHOICES 8
#define REQ_TOP 20		/* top_logprobs, logprobs */
#define REQ_ECHO (4L << 20)	/* log-probabilities that the echo of one request may hold: about 300 MB of reply */

enum req_kind { REQ_CHAT, REQ_COMPLETION };

/* What requests are read against. */
struct serving {
	const struct tok *tok;
	enum template template;
	const char *date;	/* for templates that show one; NULL: today */
	const char *name;	/* the model's */
	const char *path;	/* the checkpoint's directory, also accepted as the model's name */
	int vocab;		/* ids are below this */
	int max_context;	/* tokens of a prompt and its continuation */
};

struct req_prompt {
	struct ids ids;
	size_t hidden;		/* leading ids that are no text of the user's: a BOS that was added */
};

struct request {
	enum req_kind kind;
	struct req_prompt *prompt;
	size_t nprompts;
	int n;			/* choices a prompt */
	struct sampling how;
	uint64_t seed;
	struct stops stop;
	int max_tokens;		/* -1: as many as the context holds */
	bool echo, stream, usage;	/* usage: a chunk with the usage at the stream's end */
	int logprobs;		/* how many of the most likely tokens go with each token; -1: no log-probabilities at all */
};

/* An OpenAI error object and its HTTP status. */
struct req_error {
	int status;
	const char *type, *code;	/* code: NULL for none */
	char param[64];		/* "" for none */
	char message[512];
};

/* Always returns -1. */
int req_fail(struct req_error *e, int status, const char *param, const char *code, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* 0 with *r filled (free with req_free), or -1 with *e filled and nothing to free. */
int req_parse(struct request *r, enum req_kind kind, const char *body, size_t n, const struct serving *s, struct req_error *e);
void req_free(struct request *r);

/* True when a request may name the model so. */
bool req_names(const struct serving *s, const char *name);

#endif
