/* bench.h - a benchmark that asks about each sample once: what there are results of is kept, the rest is asked for, all of it is scored
 *
 * The benchmark loads its samples and says what is sent; its callbacks are lib/filter's, and each finished record is a line of
 * results.jsonl with "id", "category", "prompt", "options" (how many) and what the callbacks put ("response", "finish" and "by", the model, are read back).
 *
 * What a model says is its answer, cut at the token limit or not, and so is what an API calls a refusal. Only where there is no text at all is there none. */
#ifndef SA_EVAL_BENCH_H
#define SA_EVAL_BENCH_H

#include "eval.h"
#include "results.h"
#include "table.h"

struct bench {
	struct eval *ev;
	const char *name;		/* "safetybench" */
	const struct samples *list;	/* limited already */
	const char *data;		/* path */
	char data_hash[17];
	struct filter filter;		/* max_tokens, ask, take; the name is set */
	/* What is sent for a sample, and its category's name; hashed and written, in this order. */
	void (*prompt)(const struct sample *s, struct buf *out);
	const char *(*category)(const struct sample *s);
	/* Score it, print it, write summary.json. 0 or -1. */
	int (*report)(struct bench *b, struct err *e);

	/* set by bench_run() */
	struct results results;
	char prompt_hash[17];		/* of all prompts */
	const char *model;		/* that answered; "" before any did */
};

/* An exit status. `settings` are those of this benchmark that decide its results, added to the usual ones (data, endpoint, model and
 * sampling); its reference is taken. */
int bench_run(struct bench *b, json_t *settings);

/* {"benchmark","protocol","model","data","data_hash","prompt_hash","limit","n"}: the first members of summary.json. */
json_t *bench_summary(const struct bench *b, const char *protocol);
/* "PROTOCOL  MODEL  N questions (limited)", and how many have no answer. */
void bench_title(const struct bench *b, const char *protocol, size_t missing, struct buf *out);
/* How many of the results are of replies that were cut at the token limit: "cut" of the summary, and a line when there are any. */
void bench_cut(const struct results *results, const struct samples *list, json_t *summary, struct buf *out);
/* DIR/NAME of the output directory, indented, with numbers of six digits. 0 or -1. */
int bench_write(const struct bench *b, const char *name, const json_t *v, struct err *e);

/* scores.jsonl (frees the buffer, as scores_write()), summary.json, and then the table on standard output. 0 or -1. */
int bench_publish(const struct bench *b, struct buf *scores, const json_t *summary, const struct buf *out, struct err *e);

/* The sample's "response", or NULL while it has none. Borrowed. */
const char *bench_response(const struct bench *b, const struct sample *s);

/* ask() and take() of a filter that sends the prompt as one user message (chat) and keeps the reply as it is: "response", "by", "finish". */
int bench_ask_chat(struct rec *r, struct asks *q);
int bench_take_text(struct rec *r, const struct reply *a, struct asks *more);

#endif
