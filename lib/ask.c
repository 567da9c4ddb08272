/* ask.c - questions to the model: from ask_chat() over requests and retries to the filter's take() */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "loop.h"
#include "retry.h"

#define BODY_MAX ((size_t)256 << 20)

/* ---- asking ---- */

void
asks_init(struct asks *q, struct rec *r, size_t at, size_t place)
{
	*q = (struct asks){ .rec = r, .at = at, .place = place };
	TAILQ_INIT(&q->list);
}

/* The seed depends on what is asked about, never on when: hash of --seed, the record's id and the number of the question. */
static long long
seed_of(const struct asks *q)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	long long seed;

	buf_addf(&b, "%lld%c%s%c%ld", run_seed(), 0, q->rec ? rec_id(q->rec) : "", 0, q->asked);
	seed = (long long)(XXH3_64bits(b.p, b.n) & 0x7fffffff);
	buf_free(&b);
	return seed;
}

static struct ask *
ask_new(struct asks *q, enum ask_kind kind, const struct msg *m, size_t n, const struct params *p, int tag)
{
	struct ask *a = xcalloc(1, sizeof *a);

	a->of = q;
	a->kind = kind;
	a->tag = tag;
	a->params = p ? *p : run_params();
	if (a->params.seed < 0 && a->params.temperature != 0)	/* also when it is unset: the server's default samples */
		a->params.seed = seed_of(q);
	a->nmsg = n;
	a->msg = xcalloc(n, sizeof *a->msg);
	for (size_t i = 0; i < n; i++)
		a->msg[i] = (struct msg){ m[i].role ? xstrdup(m[i].role) : NULL, xstrdup(m[i].text) };
	buf_init(&a->body, BODY_MAX);
	q->asked++;
	TAILQ_INSERT_TAIL(&q->list, a, talk);
	TAILQ_INSERT_TAIL(&loop->ready, a, queue);
	return a;
}

void
ask_chat(struct asks *q, const struct msg *m, size_t n, const struct params *p, int tag)
{
	ask_new(q, ASK_CHAT, m, n, p, tag);
}

void
ask_prompt(struct asks *q, const struct prompt *p, const struct value *values, int tag)
{
	size_t n;
	struct msg *m = prompt_fill(p, values, &n);

	ask_new(q, ASK_CHAT, m, n, NULL, tag);
	prompt_done(m, n);
}

void
ask_echo(struct asks *q, const char *text, int tag)
{
	struct params p = PARAMS_UNSET;

	p.temperature = 0;
	ask_new(q, ASK_ECHO, &(struct msg){ NULL, text }, 1, &p, tag);
}

void
ask_completion(struct asks *q, const char *text, const struct params *p, int top_logprobs, int tag)
{
	struct params with = p ? *p : run_params();

	with.logprobs = top_logprobs;
	ask_new(q, ASK_COMPLETION, &(struct msg){ NULL, text }, 1, &with, tag);
}

/* ---- the life of an ask ---- */

static void
question_free(struct ask *a)
{
	for (size_t i = 0; i < a->nmsg; i++) {
		free((char *)a->msg[i].role);
		free((char *)a->msg[i].text);
	}
	free(a->msg);
	a->msg = NULL;
	a->nmsg = 0;
}

static void
ask_free(struct ask *a)
{
	question_free(a);
	buf_free(&a->body);
	reply_free(&a->reply);
	free(a->error);
	free(a);
}

/* Nobody wants its answer any more. */
static void
ask_drop(struct ask *a)
{
	TAILQ_REMOVE(&a->of->list, a, talk);
	a->of = NULL;
	if (a->state == READY)
		TAILQ_REMOVE(&loop->ready, a, queue);
	if (a->state == WAITING)
		TAILQ_REMOVE(&loop->waiting, a, queue);
	if (a->state == FLYING)
		http_cancel(a->req);
	else
		ask_free(a);
}

static void
drop_all(struct asks *q)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&q->list)))
		ask_drop(a);
}

void
asks_cancel(void)
{
	struct asks *q;

	drop_all(&loop->end);
	while ((q = LIST_FIRST(&loop->talks))) {
		drop_all(q);
		LIST_REMOVE(q, link);
		rec_free(q->rec);
		free(q);
	}
}

static void
take(struct asks *q, struct ask *a)
{
	a->reply.tag = a->tag;
	a->reply.error = a->error;
	q->attempts = a->attempts;
	loop->current = q;
	if (loop->f->take(q->rec, &a->reply, q) == TAKEN)
		q->taken = true;
	loop->current = NULL;
	q->attempts = 0;
}

void
asks_go_on(struct asks *q)
{
	struct ask *a;

	while (!q->failed && (a = TAILQ_FIRST(&q->list)) && a->state == ANSWERED) {
		TAILQ_REMOVE(&q->list, a, talk);
		take(q, a);
		ask_free(a);
	}
	if (q->failed)
		drop_all(q);
	if (q->rec && TAILQ_EMPTY(&q->list))
		loop_finished(q);
}

/* For good. In the end phase the filter is told; a record fails. */
static void
ask_fail(struct ask *a, enum rec_class c, const char *why, int http)
{
	struct asks *q = a->of;

	a->state = ANSWERED;
	if (q->rec) {
		loop_fail(q, c, why, a->attempts, http);
	} else {
		a->error = xstrdup(why);
		if (c != TRUNCATED && c != BLOCKED)	/* those are answers of a kind, which the filter may well expect */
			loop->end_failed = true;
	}
	asks_go_on(q);
}

/* ---- sending ---- */

static int
make_body(struct ask *a)
{
	const char *model = loop->ep.model;
	int rc;

	if (a->kind == ASK_CHAT)
		rc = chat_body(&a->body, model, a->msg, a->nmsg, &a->params);
	else if (a->kind == ASK_ECHO)
		rc = echo_body(&a->body, model, a->msg->text, 1);
	else
		rc = completion_body(&a->body, model, a->msg->text, &a->params);
	question_free(a);
	return rc;
}

static void on_done(void *arg, const struct http_result *r);

static void
send_it(struct ask *a)
{
	TAILQ_REMOVE(&loop->ready, a, queue);
	if (!a->body.n && make_body(a) < 0) {
		ask_fail(a, BAD_RECORD, "the request would be longer than 256 MiB", 0);
		return;
	}
	a->state = FLYING;
	loop->in_flight++;
	loop->stats.requests++;
	loop->stats.retries += a->attempts++ > 0;
	a->req = http_post(loop->http, &loop->ep.target, a->kind == ASK_CHAT ? "/chat/completions" : "/completions", a->body.p, a->body.n,
			   loop->run->timeout, on_done, a);
}

/* libcurl is started here, on the loop's thread, before the opener's thread uses it. */
static void
open_endpoint(void)
{
	if (loop->opener)
		return;
	loop->http = http_new(&loop->uv, (int)loop->run->jobs);
	loop->opener = opener_start(loop->run->endpoint, loop->run->model, loop->key, loop->run->insecure, &loop->wake);
}

static void
declare_dead(enum rec_class c, const char *why)
{
	struct ask *a;

	loop->dead = true;
	loop->dead_class = c;
	err_set(&loop->dead_why, "%s", why);
	while ((a = TAILQ_FIRST(&loop->waiting))) {
		TAILQ_REMOVE(&loop->waiting, a, queue);
		a->state = READY;
		TAILQ_INSERT_TAIL(&loop->ready, a, queue);
	}
}

void
asks_start(void)
{
	struct ask *a;

	while (loop->dead && (a = TAILQ_FIRST(&loop->ready))) {
		TAILQ_REMOVE(&loop->ready, a, queue);
		ask_fail(a, loop->dead_class, loop->dead_why.msg, 0);
	}
	if (!loop->open && !TAILQ_EMPTY(&loop->ready))
		open_endpoint();
	while (loop->open && loop->in_flight < loop->run->jobs && (a = TAILQ_FIRST(&loop->ready)))
		send_it(a);
}

void
asks_opened(void)
{
	struct err e;
	int rc;

	if (!loop->opener || !opener_take(loop->opener, &loop->ep, &rc, &e))
		return;
	opener_stop(loop->opener);
	loop->opener = NULL;
	loop->open = rc == 0;
	if (rc == 0)
		return;
	if (loop->ep.status == STATUS_ENDPOINT)
		declare_dead(loop->ep.refused ? AUTH : NET, e.msg);
	else
		loop_break(STATUS_USAGE, "%s", e.msg);
}

/* ---- retries ---- */

static void
arm(void)
{
	struct ask *a = TAILQ_FIRST(&loop->waiting);
	uint64_t now = uv_now(&loop->uv);

	if (a)
		uv_timer_start(&loop->retry, on_retry, a->due > now ? a->due - now : 0, 0);
}

/* Those that are due go before new work: their records are older, and the window waits for them. */
void
on_retry(uv_timer_t *timer)
{
	struct ask *a, *after = NULL;

	(void)timer;
	while ((a = TAILQ_FIRST(&loop->waiting)) && a->due <= uv_now(&loop->uv)) {
		TAILQ_REMOVE(&loop->waiting, a, queue);
		a->state = READY;
		if (after)
			TAILQ_INSERT_AFTER(&loop->ready, after, a, queue);
		else
			TAILQ_INSERT_HEAD(&loop->ready, a, queue);
		after = a;
	}
	arm();
	loop_pump();
}

static double
uniform(void)
{
	static unsigned short state[3];

	if (!state[0] && !state[1] && !state[2] && getrandom(state, sizeof state, GRND_NONBLOCK) < 0)
		state[0] = (unsigned short)uv_hrtime();
	return erand48(state);
}

static void
wait_for(struct ask *a, double seconds)
{
	struct ask *before;

	a->state = WAITING;
	a->due = uv_now(&loop->uv) + (uint64_t)(seconds * 1000);
	before = TAILQ_LAST(&loop->waiting, waiting_list);
	while (before && before->due > a->due)
		before = TAILQ_PREV(before, waiting_list, queue);
	if (before)
		TAILQ_INSERT_AFTER(&loop->waiting, before, a, queue);
	else
		TAILQ_INSERT_HEAD(&loop->waiting, a, queue);
	arm();
}

/* How long to wait before the next attempt; -1: no more. */
static double
next_attempt(struct ask *a, const struct http_result *r, enum verdict v)
{
	uint64_t now = uv_now(&loop->uv);

	if (v == VERDICT_FINAL || v == VERDICT_FATAL || r->retry_after > RETRY_MAX_WAIT)
		return -1;
	if (v == VERDICT_PACED) {
		if (!a->paced)
			a->paced = now;
		if ((double)(now - a->paced) > RETRY_MAX_WAIT * 1000)
			return -1;
	} else if (++a->failures > loop->run->retries) {
		return -1;
	}
	/* A little is added to what the server asks, so that all do not come back at the same moment. */
	if (r->retry_after >= 0)
		return r->retry_after + uniform() * fmin(1, r->retry_after / 10);
	return retry_backoff(a->attempts, uniform());
}

/* ---- replies ---- */

/* A 200: good, or the class and reason why not. */
static enum verdict
read_reply(struct ask *a, const struct http_result *r, enum rec_class *c, struct err *why)
{
	struct reply *reply = &a->reply;

	*c = SERVER;
	if (reply_parse(reply, r->body, r->n, why) < 0)
		return VERDICT_AGAIN;
	loop->succeeded++;
	loop->dead = loop->dead && loop->dead_class == RATE;
	loop->stats.tokens_in += reply->prompt_tokens > 0 ? reply->prompt_tokens : 0;
	loop->stats.tokens_out += reply->completion_tokens > 0 ? reply->completion_tokens : 0;
	if (a->kind != ASK_CHAT)
		return VERDICT_GOOD;
	if (reply->refusal || !reply->text || (reply->finish && strcmp(reply->finish, "content_filter") == 0)) {
		*c = BLOCKED;
		err_set(why, "%s%.200s", reply->refusal ? "refused: " : reply->text ? "cut by a content filter" : "the reply has no text",
			reply->refusal ? reply->refusal : "");
		return VERDICT_FINAL;
	}
	if (reply->finish && strcmp(reply->finish, "length") == 0 && !(a->params.max_tokens == 0 || a->params.max_tokens == 1)) {
		*c = TRUNCATED;
		err_set(why, "the reply was cut at %ld tokens", a->params.max_tokens >= 0 ? a->params.max_tokens : reply->completion_tokens);
		return VERDICT_FINAL;
	}
	return VERDICT_GOOD;
}

static void
explain(const struct http_result *r, struct err *why)
{
	char text[300];

	if (r->curl) {
		err_set(why, "%s: %s", loop->ep.text, r->why);
		return;
	}
	reply_error(r->body, r->n, text, sizeof text);
	err_set(why, "HTTP %ld: %s", r->status, text);
}

static void
settle(struct ask *a, const struct http_result *r)
{
	enum rec_class c;
	struct err why;
	enum verdict v = retry_verdict(r, &c);
	double wait;

	if (v == VERDICT_GOOD)
		v = read_reply(a, r, &c, &why);
	else
		explain(r, &why);
	if (v == VERDICT_GOOD) {
		a->state = ANSWERED;
		asks_go_on(a->of);
		return;
	}
	wait = next_attempt(a, r, v);
	if (wait >= 0 && !loop->dead) {
		reply_free(&a->reply);
		wait_for(a, wait);
		return;
	}
	if (v == VERDICT_FATAL || (loop->succeeded == 0 && (c == AUTH || retry_unreached(r))))
		declare_dead(c, why.msg);
	ask_fail(a, c, why.msg, (int)r->status);
}

static void
on_done(void *arg, const struct http_result *r)
{
	struct ask *a = arg;

	a->req = NULL;
	loop->in_flight--;
	if (!a->of) {
		ask_free(a);
	} else {
		stats_latency(&loop->stats, r->seconds);
		settle(a, r);
	}
	loop_pump();
}
