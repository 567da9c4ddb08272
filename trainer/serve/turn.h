/* turn.h - one turn of the model over the active sequences: plan, forward, draw
 *
 * Each turn feeds one token of every sequence that is generating, then up to a budget of tokens in all from prompts, so that a long prompt does not
 * stall running streams. What the budget leaves for prompts is never less than a page. Half of it goes to the oldest prompt, so that a long one comes to
 * an end, the rest to those with the least left, so that short ones do not wait for it. A prompt that begins as another one that is being computed
 * waits for that one's pages instead of computing them again.
 *
 * Pages: a sequence is admitted when there are pages for all tokens it has. When one that generates finds none left, another is put back, the one
 * admitted last of the client that has the most: it loses its pages and waits for the caller to admit it again, then computes what is no longer cached,
 * and goes on. Nothing of that shows in its bits. The oldest one always goes on.
 *
 * No locks and no clients in here: the engine's thread owns all of it. */
#ifndef SA_TURN_H
#define SA_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "answer.h"
#include "draw.h"
#include "err.h"
#include "model.h"
#include "request.h"
#include "tokenizer.h"

/* One choice on its way through the model. */
struct seq {
	const struct request *req;
	const struct req_prompt *prompt;
	struct choice c;
	int max;		/* tokens to generate */
	uint64_t rng;
	struct guided at;	/* in the form of the text, where there is one */
	int *ids;		/* the prompt, then what was generated; made when it is admitted first */
	int n, cap;
	int scored;		/* the echoed prompt's entries that are there: the first, which has no log-probability, and those after it */
	struct kv *kv;		/* NULL while it is not active */
	int take;		/* tokens of it in the last turn */
	bool wants;		/* while a turn is planned: more than those */
	bool fresh;		/* this turn brought something that a stream may show */
	bool bad;		/* the logits were no numbers */
	int *peers;		/* how many active sequences its client has: counted here; the counter is the caller's */
	void *owner;		/* the engine's, as the next */
	TAILQ_ENTRY(seq) link;
};

struct turn_counts {
	long turns;
	long prompt;		/* tokens of prompts that were computed, those computed again included */
	long found;		/* and that were not, because their pages were there */
	long generated;
	long put_back;
};

struct turn {
	struct model *model;	/* the caller's, as the next two */
	const struct tok *tok;
	struct mach *mach;
	struct kv_pool *pool;
	int budget;		/* tokens a turn */
	struct seq **active;	/* [max], n of them, in the order of admission; the caller removes */
	int max, n;
	struct seq **back;	/* [max]: put back, nback of them, the last one first to come again; the caller takes them */
	int nback;
	struct turn_counts counts;
	/* scratch */
	struct chunk *chunk;	/* [max] */
	struct row *row;
	size_t nrow, caprow;
	float *logits;		/* [caplogits, vocab] */
	size_t caplogits;
	struct candidate **scratch;	/* one vocabulary a thread */
	struct adjust_scratch *adjust;	/* one a thread */
};

/* Zeroed but for model, tok, mach, pool, budget and max. */
void turn_init(struct turn *t);
void turn_free(struct turn *t);

/* A zeroed sequence becomes choice `number` (of prompt number / n) of a request that outlives it. */
void seq_init(struct seq *s, const struct request *r, int number, int max_context);
void seq_end(struct seq *s);	/* gives its pages back; the choice stays */
void seq_free(struct seq *s);

/* Make it active, behind the others. False: there are not enough pages now. t->n < t->max. */
bool turn_admit(struct turn *t, struct seq *s);
/* Of active[from..], the sequence admitted last of the client that has most of them active; -1 when there is none. */
int turn_victim(const struct turn *t, int from);
void turn_put_back(struct turn *t, int i);
/* Run. Sequences that are finished have c.finish set. -1 when the model failed; then none has moved. */
int turn_run(struct turn *t, struct err *e);

#endif
