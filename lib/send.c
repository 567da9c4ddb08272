/* send.c - requests: which is sent when and where, and what becomes of an attempt
 *
 * Between a question and its first attempt stand, in this order: a reply from elsewhere (store.c), the spending limit (spend.h), an endpoint that takes a
 * request now (pool.h). Whoever is not let through waits at the head of loop.ready, and those behind it with it. */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "loop.h"
#include "retry.h"

#define PACED_MOST 2	/* a 429 without Retry-After waits as after so many failures at most: up to a second */

static double
uniform(void)
{
	static unsigned short state[3];

	if (!state[0] && !state[1] && !state[2] && getrandom(state, sizeof state, GRND_NONBLOCK) < 0)
		state[0] = (unsigned short)uv_hrtime();
	return erand48(state);
}

/* ---- the end of all asking ---- */

/* From now on what is asked fails at once, with that class. */
static void
declare_dead(enum rec_class c, const char *why)
{
	struct ask *a;

	if (loop->dead)
		return;
	loop->dead = true;
	loop->dead_class = c;
	err_set(&loop->dead_why, "%s", why);
	while ((a = TAILQ_FIRST(&loop->waiting))) {
		TAILQ_REMOVE(&loop->waiting, a, queue);
		ask_state(a, READY);
		TAILQ_INSERT_TAIL(&loop->ready, a, queue);
	}
}

static void
fail_all_ready(void)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&loop->ready))) {
		TAILQ_REMOVE(&loop->ready, a, queue);
		ask_fail(a, loop->dead_class, loop->dead_why.msg, 0);
	}
}

/* ---- opening ---- */

/* libcurl is started here, on the loop's thread, before the openers' threads use it. */
static void
open_pool(void)
{
	const struct run *r = loop->run;

	if (loop->pool)
		return;
	loop->http = http_new(&loop->uv, (int)r->jobs);
	loop->pool = pool_new(&(struct pool_options){
		.specs = r->endpoints, .model = r->model, .key = loop->key, .insecure = r->insecure, .http2 = r->http2, .jobs = (int)r->jobs,
		.retries = r->retries, .rpm = r->rpm, .tpm = r->tpm, .wake = &loop->wake });
}

void
send_opened(void)
{
	enum rec_class c = NET;
	struct err e;

	if (!loop->pool)
		return;
	switch (pool_news(loop->pool, uv_now(&loop->uv), &c, &e)) {
	case POOL_USELESS:
		declare_dead(c, e.msg);
		break;
	case POOL_WRONG:
		loop_break(STATUS_USAGE, "%s", e.msg);
		break;
	case POOL_WAIT:
	case POOL_OPEN:
		break;
	}
}

/* The model's name, which every body has in it; NULL while the endpoint is being asked for it. */
static const char *
model_name(void)
{
	if (!loop->model && loop->pool && pool_model(loop->pool))
		loop->model = xstrdup(pool_model(loop->pool));
	if (!loop->model && loop->run->explain)
		return "(the first that the endpoint lists)";
	if (!loop->model)
		open_pool();
	return loop->model;
}

/* ---- sending ---- */

static void on_done(void *arg, const struct http_result *r);

/* The time that an attempt has: also the record's must suffice. */
static double
time_for(const struct ask *a)
{
	double left = loop->run->deadline;

	if (left <= 0 || !a->of->rec)
		return loop->run->timeout;
	left -= (double)(uv_now(&loop->uv) - a->of->since) / 1000;
	return fmin(loop->run->timeout, fmax(left, 0.001));
}

static void
send_it(struct ask *a, struct upstream *u)
{
	ask_state(a, FLYING);
	a->on = u;
	loop->in_flight++;
	loop->stats.requests++;
	loop->stats.retries += a->attempts++ > 0;
	a->reserved = upstream_sent(u, uv_now(&loop->uv));
	a->req = http_post(loop->http, upstream_target(u), ask_path(a), a->body.p, a->body.n, time_for(a), on_done, a);
}

static void
on_later(uv_timer_t *timer)
{
	(void)timer;
	loop_pump();
}

/* The limit is reached when not even what is in flight could leave enough behind. */
static bool
affordable(struct ask *a)
{
	if (spend_reserve(&loop->spend, a->most_in, a->most_out))
		return true;
	if (spend_reached(&loop->spend, a->most_in, a->most_out))
		declare_dead(BUDGET, "the spending limit is reached (--max-tokens-total, --max-usd)");
	return false;
}

/* --explain: the request as it would go out, without the key, for people. */
static void
show(struct ask *a)
{
	const char *where = run_endpoint(loop->run), *key = loop->key ? loop->run->key_file : getenv("OPENAI_API_KEY") ? "OPENAI_API_KEY" : NULL;
	json_t *body = json_loadb(a->body.p, a->body.n, 0, NULL);

	where = where ? where : getenv("SA_ENDPOINT") ? getenv("SA_ENDPOINT") : getenv("OPENAI_BASE_URL");
	printf("endpoint: %s\nrequest:  POST %s\nkey:      %s%s\n\n", where ? where : "none given", ask_path(a), key ? "from " : "none",
	       key ? key : "");
	json_dumpf(body, stdout, JSON_INDENT(2));
	putchar('\n');
	if (fflush(stdout) != 0)
		loop->output_error = errno;
	json_decref(body);
	loop->muted = loop->over = true;
	uv_stop(&loop->uv);
}

/* The first of loop.ready goes on its way. False: it has to wait, and all behind it. */
static bool
send_first(struct ask *a)
{
	const char *model = model_name();
	struct upstream *u;
	uint64_t due;

	if (!model)
		return false;
	if (ask_body(a, model) < 0) {
		TAILQ_REMOVE(&loop->ready, a, queue);
		ask_fail(a, BAD_RECORD, "the request would be longer than 256 MiB", 0);
		return true;
	}
	if (loop->run->explain) {
		show(a);
		return false;
	}
	if (store_answers(a))
		return true;
	open_pool();
	if (!pool_model(loop->pool) || loop->in_flight >= loop->run->jobs)
		return false;
	u = pool_pick(loop->pool, a->most_in / 3 + a->most_out, a->on, uv_now(&loop->uv), &due);
	if (!u && due != UINT64_MAX)
		uv_timer_start(&loop->later, on_later, due > uv_now(&loop->uv) ? due - uv_now(&loop->uv) : 0, 0);
	if (!u || !affordable(a))
		return false;
	TAILQ_REMOVE(&loop->ready, a, queue);
	send_it(a, u);
	return true;
}

void
send_start(void)
{
	struct ask *a;

	while (!loop->over && !loop->dead && (a = TAILQ_FIRST(&loop->ready)))
		if (!send_first(a))
			break;
	if (loop->pool)
		pool_sent(loop->pool, uv_now(&loop->uv));
	if (loop->dead)
		fail_all_ready();
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
		ask_state(a, READY);
		if (after)
			TAILQ_INSERT_AFTER(&loop->ready, after, a, queue);
		else
			TAILQ_INSERT_HEAD(&loop->ready, a, queue);
		after = a;
	}
	arm();
	loop_pump();
}

static void
wait_for(struct ask *a, double seconds)
{
	struct ask *before;

	ask_state(a, WAITING);
	a->due = uv_now(&loop->uv) + (uint64_t)(seconds * 1000);
	before = TAILQ_LAST(&loop->waiting, ask_queue);
	while (before && before->due > a->due)
		before = TAILQ_PREV(before, ask_queue, queue);
	if (before)
		TAILQ_INSERT_AFTER(&loop->waiting, before, a, queue);
	else
		TAILQ_INSERT_HEAD(&loop->waiting, a, queue);
	arm();
}

static bool
past_deadline(const struct ask *a, double wait)
{
	double most = loop->run->deadline;

	return most > 0 && a->of->rec && (double)(uv_now(&loop->uv) - a->of->since) / 1000 + wait >= most;
}

/* How long to wait before the next attempt; -1: no more. */
static double
next_attempt(struct ask *a, const struct http_result *r, enum verdict v)
{
	uint64_t now = uv_now(&loop->uv);
	double most = loop->run->max_wait;

	if (v == VERDICT_FINAL || v == VERDICT_FATAL || r->retry_after > most)
		return -1;
	if (v == VERDICT_PACED) {
		if (!a->paced)
			a->paced = now;
		if ((double)(now - a->paced) > most * 1000)
			return -1;
	} else if (++a->failures > loop->run->retries) {
		return -1;
	}
	/* A little is added to what the server asks, so that all do not come back at the same moment. */
	if (r->retry_after >= 0)
		return r->retry_after + uniform() * fmin(1, r->retry_after / 10);
	/* How fast an endpoint that turns requests away is asked is its AIMD limit's business; the request itself waits a little, so that others come between. */
	return retry_backoff(v == VERDICT_PACED && a->attempts > PACED_MOST ? PACED_MOST : a->attempts, uniform());
}

/* ---- what an attempt tells ---- */

static void
explain(const struct ask *a, const struct http_result *r, struct err *why)
{
	char text[300];

	if (r->curl) {
		err_set(why, "%s: %s", upstream_text(a->on), r->why);
		return;
	}
	if (*r->why) {
		err_set(why, "HTTP %ld: %s", r->status, r->why);
		return;
	}
	reply_error(r->body, r->n, text, sizeof text);
	err_set(why, "HTTP %ld: %s", r->status, text);
}

/* The endpoint's health, by what became of the attempt. */
static void
tell_pool(struct upstream *u, const struct http_result *r, enum verdict v, enum rec_class c)
{
	uint64_t now = uv_now(&loop->uv);

	if (v == VERDICT_GOOD)
		upstream_succeeded(u, now, r->seconds);
	else if (v == VERDICT_PACED)
		upstream_paced(u, now, uniform());
	else if (c == NET || c == SERVER || c == AUTH)
		upstream_failed(u, now, r->status == 503 || retry_unreached(r), uniform());
	else
		upstream_answered(u, now);
	if (v == VERDICT_FATAL || (c == AUTH && v != VERDICT_GOOD && !upstream_proved(u)))
		upstream_give_up(u);
}

/* What it cost. An attempt whose usage nobody knows (a time-out, a reply without it) counts as the most that it can have used; one that was
 * refused, or that no server got, cost nothing. */
static void
account(struct ask *a, const struct http_result *r, bool replied)
{
	struct stats *s = &loop->stats;
	long long in = a->reply.prompt_tokens, out = a->reply.completion_tokens;

	if (!replied && (r->curl ? !r->sent : r->status != 200)) {
		spend_release(&loop->spend, a->most_in, a->most_out);
		upstream_settle(a->on, a->reserved, 0);
		return;
	}
	if (!replied || in < 0 || out < 0)
		in = out = -1;
	spend_settle(&loop->spend, a->most_in, a->most_out, in, out);
	upstream_settle(a->on, a->reserved, in < 0 ? -1 : in + out);
	s->tokens_in += in > 0 ? in : 0;
	s->tokens_out += out > 0 ? out : 0;
	s->usd = spend_usd(&loop->spend);
}

/* No endpoint is left that may still answer. */
static void
see_whether_dead(const struct ask *a, const struct http_result *r, enum verdict v, enum rec_class c, const char *why)
{
	bool never = v != VERDICT_GOOD && !upstream_proved(a->on) && (retry_unreached(r) || c == AUTH);

	if (v != VERDICT_GOOD && !pool_useful(loop->pool))
		declare_dead(c, why);
	else if (never && v != VERDICT_PACED && !pool_nth(loop->pool, 1) && a->failures > loop->run->retries)
		declare_dead(c, why);
}

static void
keep_raw(struct ask *a, const struct http_result *r)
{
	if (!loop->cache)
		return;
	a->raw = xmalloc(r->n + 1);
	memcpy(a->raw, r->body, r->n);
	a->nraw = r->n;
}

static void
settle(struct ask *a, const struct http_result *r)
{
	enum rec_class c = NET;
	struct err why = { "" };
	enum verdict v = retry_verdict(r, &c);
	bool replied = false;
	double wait;

	if (v == VERDICT_GOOD) {
		v = ask_read(a, r->body, r->n, &c, &why);
		replied = v != VERDICT_AGAIN;
	} else {
		explain(a, r, &why);
	}
	http_hide_key(upstream_target(a->on), why.msg);
	account(a, r, replied);
	tell_pool(a->on, r, replied ? VERDICT_GOOD : v, c);
	if (replied && loop->dead && loop->dead_class == NET)
		loop->dead = false;
	if (v == VERDICT_GOOD) {
		keep_raw(a, r);
		ask_state(a, ANSWERED);
		asks_go_on(a->of);
		return;
	}
	loop->stats.paced += v == VERDICT_PACED;
	a->class = c;
	a->http = (int)r->status;
	wait = replied ? -1 : next_attempt(a, r, v);
	if (!replied)
		see_whether_dead(a, r, v, c, why.msg);
	/* What one endpoint refuses for reasons of its own, another may take. */
	if (wait < 0 && (v == VERDICT_FATAL || c == AUTH) && pool_nth(loop->pool, 1) && pool_useful(loop->pool) && a->failures++ <= loop->run->retries)
		wait = 0;
	if (wait >= 0 && !loop->dead && !past_deadline(a, wait)) {
		reply_free(&a->reply);
		wait_for(a, wait);
		return;
	}
	ask_fail(a, c, why.msg, (int)r->status);
}

static void
on_done(void *arg, const struct http_result *r)
{
	struct ask *a = arg;

	a->req = NULL;
	loop->in_flight--;
	if (!a->of) {
		/* Nobody knows what it cost. */
		spend_settle(&loop->spend, a->most_in, a->most_out, -1, -1);
		upstream_unsure(a->on);
		ask_free(a);
	} else {
		stats_latency(&loop->stats, r->seconds);
		settle(a, r);
	}
	/* Of all replies of a turn the records are written, and the next requests sent, together. */
	loop->due = true;
}
