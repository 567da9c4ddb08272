/* loop.h - the inside of the record loop: filter.c (the run), records.c (records), ask.c (conversations), send.c (requests), store.c (replies from elsewhere) and run.c
 * (the command line)
 *
 * One loop runs at a time in a process (the callbacks of a filter carry no handle of it). A `struct asks` is the conversation about one
 * record, or about the stream as a whole in the end phase (rec == NULL); each question in it is a `struct ask`:
 *
 *     READY -> FLYING -> ANSWERED            ready: in loop.ready, oldest first; flying: at most -j of them
 *       ^  \      |       ^
 *       |   \     |       |                  a reply that was paid for before (cache, batch results) needs no flight
 *       |    +----|-------+
 *       +- WAITING                           backing off, in loop.waiting by due time; occupies none of the -j
 *
 * Replies reach the filter in the order of asking, whatever order they arrive in. A conversation ends when nothing is outstanding or when
 * its record failed, and what it was told is in the cache; what is then still flying is cancelled and freed when its `done` comes (of == NULL). */
#ifndef SA_LOOP_H
#define SA_LOOP_H

#include <sys/queue.h>
#include <uv.h>

#include "batch.h"
#include "cache.h"
#include "filter.h"
#include "http.h"
#include "intake.h"
#include "pool.h"
#include "retry.h"
#include "spend.h"
#include "stats.h"
#include "window.h"

struct ask {
	TAILQ_ENTRY(ask) talk;	/* in asks.list, until it is taken */
	TAILQ_ENTRY(ask) queue;	/* in loop.ready or loop.waiting */
	struct asks *of;	/* NULL: nobody waits for it any more */
	enum ask_state { READY, WAITING, FLYING, ANSWERED, ASK_STATES } state;	/* changed by ask_state() */
	enum ask_kind { ASK_CHAT, ASK_ECHO, ASK_COMPLETION } kind;
	int tag;
	struct msg *msg;	/* the question, until the body is made; one without role unless ASK_CHAT */
	size_t nmsg;
	struct params params;
	struct buf body;	/* made when the model is known */
	long sample;		/* how often the same body was asked before in this conversation */
	bool looked;		/* not found in the cache */
	long attempts, failures;	/* requests sent; those that used up --retries */
	enum rec_class class;	/* of the last attempt that failed, and its HTTP status */
	int http;
	uint64_t paced;		/* ms of the loop's clock: the first 429, 0: none */
	uint64_t due;		/* WAITING: when it is ready again */
	long long most_in, most_out;	/* tokens that it can use at most */
	long long reserved;	/* FLYING: tokens in the shared budget */
	struct upstream *on;	/* where it flies, or flew last */
	struct http_req *req;	/* FLYING */
	struct reply reply;	/* ANSWERED */
	char *raw;		/* the reply's bytes for the cache, when it is to go there */
	size_t nraw;
	char *error;		/* ANSWERED in the end phase, and failed */
};

struct asks {
	TAILQ_ENTRY(asks) link;	/* in loop.talks, unless it is the end phase's */
	struct rec *rec;	/* NULL: the end phase */
	size_t at;		/* line number */
	size_t place;		/* in the window */
	uint64_t since;		/* ms of the loop's clock: when it was read */
	TAILQ_HEAD(, ask) list;	/* outstanding, in the order of asking */
	long asked;		/* questions so far: part of each one's seed */
	uint64_t *bodies;	/* hashes of those that were asked without a seed: `sample` is counted from them */
	size_t nbodies;
	long attempts;		/* of the question whose reply is being taken */
	int storing;		/* replies on their way into the cache */
	bool failed, taken;
	bool pending;		/* a question went into the batch file: the record comes out as it came */
};

TAILQ_HEAD(ask_queue, ask);

struct loop {
	const struct filter *f;
	const struct run *run;
	const char *key;
	char *model;		/* the model's name, once known */
	uv_loop_t uv;
	uv_async_t wake;	/* from the reader, the openers, the cache, a signal, and from the loop to itself */
	uv_prepare_t before;
	uv_check_t after;
	uv_timer_t retry, later, tick, status_line;	/* later: when an endpoint will take a request again */
	struct intake *in;
	struct window *window;
	struct output *out, *failed;	/* failed: --failed */
	struct stats stats;
	struct pool *pool;	/* NULL until an endpoint was needed */
	struct http *http;
	struct cache *cache;
	char **identity;	/* endpoint_identity() of each, NULL behind the last */
	bool told_cache;	/* that it cannot be read */
	struct batch_out *batch_out;
	struct batch_in **batch_in;	/* as many as run->batch_in */
	struct spend spend;
	bool dead;		/* what is asked fails at once: the endpoints are of no use, or the spending limit is reached */
	enum rec_class dead_class;
	struct err dead_why;
	struct ask_queue ready, waiting;	/* waiting: by due time */
	long asks[ASK_STATES];	/* how many there are */
	bool due;		/* a reply came in this turn of the loop: loop_pump() when it is over */
	int in_flight;
	TAILQ_HEAD(, asks) talks;	/* records that are not finished, oldest first */
	struct asks *current;	/* whose callback runs */
	struct asks end;
	bool input_over, ending, end_failed, muted, over;
	bool said[CLASSES];	/* the first failure of each class is told on standard error */
	enum exit_status status;	/* of a run that was broken off */
	int output_error;	/* errno */
	int failed_fd, failed_error;	/* --failed; errno */
	bool progress;
};

extern struct loop *loop;	/* the one that runs; NULL: none */

/* ask.c */
void asks_init(struct asks *q, struct rec *r, size_t at, size_t place);
void asks_go_on(struct asks *q);	/* hand over the replies that are there; ends the conversation when nothing is outstanding (q may be gone) */
void asks_end(struct asks *q);	/* its record is finished: frees both */
void asks_cancel(void);		/* drop every record and question; what was flying comes back through the loop */
void asks_expire(void);		/* fail the records that are past --deadline */
void ask_fail(struct ask *a, enum rec_class c, const char *why, int http);	/* for good */
void ask_pend(struct ask *a);	/* it went into the batch file */
void ask_free(struct ask *a);
void ask_state(struct ask *a, enum ask_state s);
int ask_body(struct ask *a, const char *model);	/* make it; -1 when it would be too long */
const char *ask_path(const struct ask *a);	/* "/chat/completions" or "/completions" */
/* Read a 200: good, or the class and reason why not. */
enum verdict ask_read(struct ask *a, const char *body, size_t n, enum rec_class *c, struct err *why);

/* send.c */
void send_start(void);		/* send what is ready, up to -j in flight; opens the endpoints at the first need */
void send_opened(void);		/* an opener woke us */
void on_retry(uv_timer_t *timer);

/* store.c */
void store_open(void);		/* what the options name; dies with exit 2 */
bool store_answers(struct ask *a);	/* it was answered, or failed, from the cache or a batch file, or written into one: not READY any more */
void store_keep(struct asks *q, struct ask *a);	/* a reply that was taken goes into the cache */
void store_news(void);		/* the cache's thread woke us */
void store_close(void);		/* writes what is under way */

/* records.c */
bool records_full(void);	/* no more are to be read now: the window is full, or enough of them wait to be sent */
bool records_admit(int *left);	/* read while there is room, *left at most; true when it stopped only because there was none */
void loop_fail(struct asks *q, enum rec_class c, const char *message, long attempts, int http);	/* q->rec fails */
void loop_finished(struct asks *q);	/* q->rec is complete: into the window; frees both */

/* filter.c */
void loop_pump(void);
void loop_break(enum exit_status status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void loop_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* a diagnostic beside the progress line */

/* run.c */
void run_check(const struct run *r);	/* what is wrong with the options themselves is found before anything is read; dies with exit 2 */
char *key_load(const struct run *r);	/* malloc'd; NULL: none. Dies with exit 2 when the file will not do */

#endif
