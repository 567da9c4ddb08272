/* turn.h - one turn of the model over the active sequences: plan, forward, draw
 *
 * Each turn feeds one token of every sequence that is generating and up to TURN_PREFILL prompt tokens in all, first come first served, so
 * that a long prompt does not stall running streams. No locks and no clients in here: the engine's thread owns all of it. */
#ifndef SA_TURN_H
#define SA_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "answer.h"
#include "draw.h"
#include "err.h"
#include "model.h"
#include "request.h"
#include "tokenizer.h"

#define TURN_PREFILL 512	/* prompt tokens a turn */

/* One choice on its way through the model. */
struct seq {
	const struct request *req;
	const struct req_prompt *prompt;
	struct choice c;
	int max;		/* tokens to generate */
	uint64_t rng;
	struct kv *kv;		/* made by seq_begin */
	size_t fed;		/* prompt tokens in the cache */
	int last;		/* the token generated last: what is fed next */
	bool fresh;		/* this turn brought something that a stream may show */
	bool bad;		/* the logits were no numbers */
	void *owner;		/* the engine's */
};

struct turn {
	struct model *model;	/* the caller's, as the next two */
	const struct tok *tok;
	struct mach *mach;
	struct seq **active;	/* [max], n of them, oldest first; the caller adds and removes */
	int max, n;
	/* scratch */
	struct chunk *chunk;	/* [max] */
	struct row *row;
	size_t nrow, caprow;
	float *logits;		/* [caplogits, vocab] */
	size_t caplogits;
	struct candidate **scratch;	/* one vocabulary a thread */
};

void turn_init(struct turn *t, struct model *model, const struct tok *tok, struct mach *mach, int max);
void turn_free(struct turn *t);

/* A zeroed sequence becomes choice `number` (of prompt number / n) of a request that outlives it. */
void seq_init(struct seq *s, const struct request *r, int number, int max_context);
void seq_begin(struct seq *s, const struct model *m, const struct tok *tok);	/* cache and echoed text */
void seq_end(struct seq *s);	/* the cache; the choice stays */
void seq_free(struct seq *s);

/* Run. Sequences that are finished have c.finish set. -1 when the model failed; then none has moved. */
int turn_run(struct turn *t, struct err *e);

#endif
