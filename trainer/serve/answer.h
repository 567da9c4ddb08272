/* answer.h - replies as text: whole ones, the chunks of a stream, errors. Pure: no input or output. */
#ifndef SA_ANSWER_H
#define SA_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "buf.h"
#include "request.h"
#include "tokenizer.h"

enum finish { FINISH_NONE, FINISH_STOP, FINISH_LENGTH };

/* A token and its log-probabilities under the model as it is (before temperature and filters), nats. */
struct scored {
	int id;
	int rank;		/* among all ids, from 1; of a prompt's token only */
	float logprob;		/* NaN: none (the first token of a text) */
	int ntop;
	int top[REQ_TOP];
	float top_logprob[REQ_TOP];
	size_t at;		/* where its bytes begin in the choice's text */
};

/* One choice, as far as it has come. */
struct choice {
	int index;
	struct buf text;	/* the echoed prompt, then what was generated: bytes */
	size_t from;		/* where the generated text begins */
	struct scored *tok;	/* those whose log-probabilities were asked for: the prompt's, then the generated ones */
	size_t nprompt, ntok, captok;	/* nprompt: those of the prompt, all or none */
	int generated;		/* tokens, an end token included */
	enum finish finish;
	size_t sent, tok_sent;	/* of text and tok, in chunks */
	size_t walked, chars;	/* bytes of the text whose characters have been counted, and how many they are */
};

/* What all chunks and the whole reply of one request share. */
struct answer {
	const char *id;
	time_t created;
	const char *model;
	const struct tok *tok;
	const struct request *req;
};

void answer_whole(struct buf *out, const struct answer *a, struct choice *const *c, size_t n);

/* Chunks of a stream, each "data: {...}\n\n". */
void answer_role(struct buf *out, const struct answer *a, int index);
/* The text up to `end` and the tokens that begin before it (all of them at the end of the choice) that were not sent yet. */
void answer_delta(struct buf *out, const struct answer *a, struct choice *c, size_t end);
void answer_finish(struct buf *out, const struct answer *a, const struct choice *c);
/* The usage, when it was asked for, and [DONE]. */
void answer_done(struct buf *out, const struct answer *a, struct choice *const *c, size_t n);

/* {"error":{...}} */
void answer_error(struct buf *out, const struct req_error *e);
/* The list of models, or the one. */
void answer_model(struct buf *out, const char *name, time_t created, int max_context, bool list);

#endif
