/* filter.h - the record loop that every filter (and sa-eval) is written over
 *
 * A filter is a conversation with a model about one record. The loop owns streams, order, concurrency, retries, signals and counting. A
 * filter says what to ask (ask) and what an answer means (take); take may ask again, and a record is finished when nothing asked is
 * outstanding. Records are read up to a bounded window ahead and come out in input order; every input line comes out exactly once (or is
 * counted as taken) and that is checked at the end of the run. Records that carry another stage's sa_error pass through untouched; those of
 * this stage are tried again.
 *
 * After the last record is finished, end() may ask about the stream as a whole; its replies come to take() with r == NULL, in the order in
 * which they were asked whatever order they arrived in, so that the same input, seed and model give the same bytes at any -j.
 *
 * A chat reply reaches take() only when it is one: no text, a refusal or a content filter fails the record as "blocked", finish_reason "length"
 * as "truncated" (unless the question's max_tokens is 0 or 1), a body that is no reply as "server" after retries. Replies to ask_echo() and
 * ask_completion() come as they are; so do chat replies where as_is is set: to who measures a model, what it says is its answer. Replies about one record, too, come in the order of asking. In the end phase all these, and requests
 * that failed, come to take(NULL, ...) with reply.error set.
 *
 * A run that is broken off (a signal, an output that nobody reads or that is full, an input error) calls no end(), and what emit() is given in
 * finish() is then not written: nothing is concluded from half a stream. --stats is written all the same.
 *
 * All callbacks run on the loop's thread. The default -j is 64; retries: connect errors, time-outs, 408, 409, 429, 5xx with full-jitter back-off. */
#ifndef SA_FILTER_H
#define SA_FILTER_H

#include <stdbool.h>

#include "chat.h"
#include "endpoint.h"
#include "opt.h"
#include "prompt.h"
#include "rec.h"

struct asks;

enum {
	DONE = 0,	/* nothing more to say: the record is written when nothing asked is outstanding */
	TAKEN = 1,	/* the filter keeps what it needs of the record: it is not written, but counted as taken */
};

struct filter {
	const char *name;	/* "sa-ppl": the stage in sa_error */
	const char *synopsis, *about;	/* for --help */
	const struct opt *opts;	/* the filter's own options, or NULL */
	bool no_model;		/* needs no endpoint */
	bool as_is;		/* replies that were refused or cut come to take(), too: `text` may be NULL */
	bool selects;		/* ask() sees every record, those that failed in an earlier stage too, and lines that are no record are not written but
				 * only counted as failed: for a filter whose output is no longer records (sa-pick) */
	double temperature;	/* default of --temperature; 0 unless set */
	long max_tokens;	/* default of --max-tokens; 0: 512 */
	void (*begin)(void);	/* after the options; may die() */
	int (*ask)(struct rec *r, struct asks *q);
	int (*take)(struct rec *r, const struct reply *a, struct asks *more);
	void (*end)(struct asks *q);	/* NULL: nothing */
	void (*finish)(json_t *stats);	/* last of all: may emit() lines, put the filter's own members into the --stats object */
};

/* Ask a chat completion / the log-probabilities of a text / a plain completion. `tag` comes back in the reply. p == NULL: the command
 * line's parameters. Where p (or the command line) has no seed, the request's seed is made from --seed, the record's id and the number of
 * the ask, so it never depends on what else runs. Texts are copied; p->stop
 * must outlive the run. */
void ask_chat(struct asks *q, const struct msg *m, size_t n, const struct params *p, int tag);
/* ask_chat() of a prompt file, filled in. Values end with name == NULL. */
void ask_prompt(struct asks *q, const struct prompt *p, const struct value *values, int tag);
void ask_echo(struct asks *q, const char *text, int tag);
void ask_completion(struct asks *q, const char *text, const struct params *p, int top_logprobs, int tag);

/* The command line's parameters (--temperature, --max-tokens, --top-p), for a filter that changes one of them. */
struct params run_params(void);
long long run_seed(void);		/* --seed; 0 when not given */
const char *run_model(void);	/* the model's name, once known */

/* Fail the record: class and one line why. Returns DONE. */
int fail(struct rec *r, enum rec_class c, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Write one more line (without newline) after the records, from end(), take(NULL, ...) or finish(): counted as made. */
void emit(const char *line, size_t n);

/* A prompt for the stage: `path` when given (--prompt FILE), else the embedded text. Dies with exit 2 when it is wrong. */
struct prompt *filter_prompt(const char *path, const char *text, const char *end, const char *name, const char *const *known);

/* Options, run, exit status: all of a filter's main(). */
int filter_main(int argc, char **argv, const struct filter *f);

/* The same loop for a program with its own main: where records come from and go to, and whom to ask. */
struct run {
	struct opt_list endpoints;	/* -e, several share the load; none: from the environment */
	const char *model;	/* -m */
	long long jobs;		/* -j */
	long long retries;	/* --retries */
	long long seed;		/* --seed, -1: not given */
	double temperature, top_p;	/* NAN: the filter's default */
	long long max_tokens;	/* <0: the filter's default */
	double timeout;		/* seconds an attempt */
	double deadline;	/* seconds a record; 0: none */
	double max_wait;	/* seconds that a server's Retry-After is obeyed, and that a request is kept through 429s in all */
	double rpm, tpm;	/* requests and tokens a minute, with the user's other processes; 0: no limit */
	long long max_tokens_total;	/* of the run; <0: no limit */
	double max_usd;		/* of the run; NAN: no limit */
	const char *price;	/* "IN:OUT", dollars for a million tokens */
	const char *cache;	/* directory of replies that were paid for */
	long long cache_size;	/* MiB */
	bool cache_only;
	const char *stats;	/* --stats FILE */
	double status_every;	/* seconds; 0: never */
	const char *key_file;
	bool insecure, http2;
	/* filters only (filter_main()) */
	const char *batch_out;	/* requests are written there instead of being sent */
	struct opt_list batch_in;	/* and answered from these */
	const char *failed;	/* records that failed go there instead of the output */
	long long max_line;	/* bytes */
	bool strict, unordered, explain;
	/* Next input line (n bytes, valid until the next call): 1, 0 at the end, -1. NULL: standard input. Called on the reader's thread. */
	int (*next)(void *arg, char **p, size_t *n, struct err *e);
	/* A finished line, with its newline. 0 or -1. NULL: standard output. */
	int (*write)(void *arg, const char *line, size_t n);
	void *arg;
};
#define RUN_DEFAULT { .jobs = 64, .retries = 5, .seed = -1, .temperature = NAN, .top_p = NAN, .max_tokens = -1, .timeout = 600, .max_wait = 600, \
	.max_tokens_total = -1, .max_usd = NAN, .cache_size = 65536, .max_line = 16 << 20 }

/* The options that fill a struct run, for opt_usage.common: those of every program that asks a model, and those of every filter. */
const struct opt *run_opts(struct run *r);
const struct opt *filter_opts(struct run *r);
const char *run_endpoint(const struct run *r);	/* the first -e, or NULL */

/* Run to the end; an exit status. Dies by the signal on SIGINT/SIGTERM after writing the finished prefix. */
int filter_run(const struct filter *f, const struct run *r);

#endif
