/* loop.h - the inside of the record loop, shared by filter.c (records), ask.c (requests) and run.c (the command line)
 *
 * One loop runs at a time in a process (the callbacks of a filter carry no handle of it). A `struct asks` is the conversation about one
 * record, or about the stream as a whole in the end phase (rec == NULL); each question in it is a `struct ask`:
 *
 *     READY -> FLYING -> ANSWERED            ready: in loop.ready, oldest first; flying: at most -j of them
 *       ^         |
 *       +- WAITING                           backing off, in loop.waiting by due time; occupies none of the -j
 *
 * Replies reach the filter in the order of asking, whatever order they arrive in. A conversation ends when nothing is outstanding or when
 * its record failed; what is then still flying is cancelled and freed when its `done` comes (of == NULL). */
#ifndef SA_LOOP_H
#define SA_LOOP_H

#include <sys/queue.h>
#include <uv.h>

#include "endpoint.h"
#include "filter.h"
#include "http.h"
#include "intake.h"
#include "opener.h"
#include "stats.h"
#include "window.h"

struct ask {
	TAILQ_ENTRY(ask) talk;	/* in asks.list, until it is taken */
	TAILQ_ENTRY(ask) queue;	/* in loop.ready or loop.waiting */
	struct asks *of;	/* NULL: nobody waits for it any more */
	enum ask_state { READY, WAITING, FLYING, ANSWERED } state;
	enum ask_kind { ASK_CHAT, ASK_ECHO, ASK_COMPLETION } kind;
	int tag;
	struct msg *msg;	/* the question, until the body is made; one without role unless ASK_CHAT */
	size_t nmsg;
	struct params params;
	struct buf body;	/* made at the first attempt, when the model is known */
	long attempts, failures;	/* requests sent; those that used up --retries */
	uint64_t paced;		/* ms of the loop's clock: the first 429, 0: none */
	uint64_t due;		/* WAITING: when it is ready again */
	struct http_req *req;	/* FLYING */
	struct reply reply;	/* ANSWERED */
	char *error;		/* ANSWERED in the end phase, and failed */
};

struct asks {
	LIST_ENTRY(asks) link;	/* in loop.talks, unless it is the end phase's */
	struct rec *rec;	/* NULL: the end phase */
	size_t at;		/* line number */
	size_t place;		/* in the window */
	TAILQ_HEAD(, ask) list;	/* outstanding, in the order of asking */
	long asked;		/* questions so far: part of each one's seed */
	long attempts;		/* of the question whose reply is being taken */
	bool failed, taken;
};

struct loop {
	const struct filter *f;
	const struct run *run;
	const char *key;
	uv_loop_t uv;
	uv_async_t wake;	/* from the reader, the opener, a signal, and from the loop to itself */
	uv_timer_t retry, tick, status_line;
	struct intake *in;
	struct window *window;
	struct output *out;
	struct stats stats;
	struct opener *opener;	/* while the endpoint is being opened */
	struct endpoint ep;
	struct http *http;	/* NULL until the endpoint was needed */
	bool open;
	bool dead;		/* the endpoint is of no use: what is asked fails at once */
	enum rec_class dead_class;
	struct err dead_why;
	long long succeeded;	/* replies */
	TAILQ_HEAD(ready_list, ask) ready;
	TAILQ_HEAD(waiting_list, ask) waiting;	/* by due time */
	int in_flight;
	LIST_HEAD(, asks) talks;	/* records that are not finished */
	struct asks *current;	/* whose callback runs */
	struct asks end;
	bool input_over, ending, end_failed, muted, over;
	bool said[CLASSES];	/* the first failure of each class is told on standard error */
	enum exit_status status;	/* of a run that was broken off */
	int output_error;	/* errno */
	bool progress;
};

extern struct loop *loop;	/* the one that runs; NULL: none */

/* ask.c */
void asks_init(struct asks *q, struct rec *r, size_t at, size_t place);
void asks_start(void);		/* send what is ready, up to -j in flight; opens the endpoint at the first need */
void asks_go_on(struct asks *q);	/* hand over the replies that are there; ends the conversation when nothing is outstanding (q may be gone) */
void asks_opened(void);		/* the opener woke us */
void asks_cancel(void);		/* drop every record and question; what was flying comes back through the loop */
void on_retry(uv_timer_t *timer);

/* filter.c */
void loop_pump(void);
void loop_break(enum exit_status status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void loop_fail(struct asks *q, enum rec_class c, const char *message, long attempts, int http);	/* q->rec fails */
void loop_finished(struct asks *q);	/* q->rec is complete: into the window; frees both */

/* run.c */
void run_check(const struct run *r);	/* what is wrong with the options themselves is found before anything is read; dies with exit 2 */
char *key_load(const struct run *r);	/* malloc'd; NULL: none. Dies with exit 2 when the file will not do */

#endif
