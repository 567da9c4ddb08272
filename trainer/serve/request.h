/* request.h - the body of a request for text, read and checked: everything that a client can get wrong is found here, before the model runs
 *
 * Pure but for the tokenizer. A parameter that would change the result and is not supported is refused by name, and so is one that is not known, as
 * by OpenAI: a misspelt one must not pass for the default. Only those known to be harmless are ignored. */
#ifndef SA_REQUEST_H
#define SA_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adjust.h"
#include "draw.h"
#include "guide.h"
#include "param.h"
#include "prompts.h"
#include "stop.h"
#include "tokenizer.h"

#define REQ_PROMPTS 2048	/* prompts x choices of one request */
#define REQ_CHOICES 8
#define REQ_TOP 20		/* top_logprobs, logprobs, prompt_logprobs */
#define REQ_ECHO (4L << 20)	/* log-probabilities of prompts that one request may ask for: about 300 MB of reply */

enum req_kind { REQ_CHAT, REQ_COMPLETION };

struct request {
	enum req_kind kind;
	struct req_prompt *prompt;
	size_t nprompts;
	int n;			/* choices a prompt */
	struct sampling how;
	struct adjust adjust;
	uint64_t seed;
	struct stops stop;
	bool stop_shown;	/* a stop string is part of the text that it ends */
	bool ignore_eos;	/* the model's end tokens do not end the text */
	struct ids stop_ids;	/* tokens that end the text as the model's end tokens do */
	struct guide *guide;	/* the form of the text; NULL: any */
	int max_tokens;		/* -1: as many as the context holds */
	bool echo, stream, usage;	/* usage: a chunk with the usage at the stream's end */
	int logprobs;		/* how many of the most likely tokens go with each token; -1: no log-probabilities at all */
	int prompt_logprobs;	/* the same for the prompt's tokens, apart from the text (vLLM's) */
};

/* 0 with *r filled (free with req_free), or -1 with *e filled and nothing to free. */
int req_parse(struct request *r, enum req_kind kind, const char *body, size_t n, const struct serving *s, struct req_error *e);
void req_free(struct request *r);

#endif
