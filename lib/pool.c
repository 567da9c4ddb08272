/* pool.c - the endpoints of a run: which of them takes the next request, and when */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "aimd.h"
#include "breaker.h"
#include "bucket.h"
#include "opener.h"
#include "retry.h"

#define REOPEN_MS 30000	/* between attempts to open one that could not be opened, while others work */

struct upstream {
	struct pool *pool;
	const char *spec;	/* NULL: the environment's */
	enum { OPENING, OPEN, DOWN, GIVEN_UP } state;
	bool opened;		/* it has been OPEN */
	struct opener *opener;	/* OPENING */
	struct endpoint ep;	/* OPEN */
	char *identity;
	uint64_t reopen;	/* DOWN: when it is tried again, ms */
	long failures;		/* to open, in a row */
	struct aimd aimd;
	struct breaker breaker;
	struct bucket *bucket;	/* NULL: no shared budget */
	bool held;		/* the next request is reserved in the bucket */
	long long held_tokens;
	int in_flight;
	bool full;		/* as many as are allowed were in flight when the last turn's requests had been sent */
	int refused;		/* turned away in this round trip: as many fewer are sent until it is over */
	uint64_t refused_until;	/* ms */
	long turned_away;	/* 429s in a row, with only one in flight */
	uint64_t pause;		/* nothing is sent before, ms */
	bool proved;
};

struct pool {
	struct pool_options o;
	struct upstream *up;
	size_t n;
	const char *model;
	bool started;		/* the first opening of each is through */
	enum rec_class class;	/* of the first that could not be opened */
	struct err why;
};

/* ---- opening ---- */

static void
open_it(struct upstream *u)
{
	const struct pool_options *o = &u->pool->o;

	u->state = OPENING;
	u->opener = opener_start(u->spec, o->model, o->key, o->insecure, o->wake);
}

struct pool *
pool_new(const struct pool_options *o)
{
	struct pool *p = xcalloc(1, sizeof *p);

	p->o = *o;
	p->n = o->specs.n ? o->specs.n : 1;
	p->up = xcalloc(p->n, sizeof *p->up);
	for (size_t i = 0; i < p->n; i++) {
		struct upstream *u = &p->up[i];

		u->pool = p;
		u->spec = o->specs.n ? o->specs.v[i] : NULL;
		u->ep.lease = -1;
		u->identity = endpoint_identity(u->spec);
		aimd_init(&u->aimd, o->jobs);
		breaker_init(&u->breaker);
		open_it(u);
	}
	return p;
}

void
pool_free(struct pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		struct upstream *u = &p->up[i];

		if (u->opener)
			opener_stop(u->opener);
		if (u->opened && u->state != OPENING)
			endpoint_close(&u->ep);
		bucket_close(u->bucket);
		free(u->identity);
	}
	free(p->up);
	free(p);
}

/* The budget is that of the user with this endpoint and this key. */
static int
open_bucket(struct upstream *u, struct err *e)
{
	struct buf id = BUF_INIT(BUF_MAX_TEXT);

	if ((u->pool->o.rpm <= 0 && u->pool->o.tpm <= 0) || u->bucket)
		return 0;
	buf_adds(&id, u->identity);
	buf_addc(&id, 0);
	buf_adds(&id, u->ep.target.key ? u->ep.target.key : "");
	u->bucket = bucket_open(NULL, id.p, id.n, u->pool->o.rpm, u->pool->o.tpm, e);
	explicit_bzero(id.p, id.n);
	buf_free(&id);
	return u->bucket ? 0 : -1;
}

static enum pool_news
opened(struct upstream *u, struct err *e)
{
	u->state = OPEN;
	u->opened = true;
	u->failures = 0;
	u->ep.target.http2 = u->pool->o.http2;
	if (open_bucket(u, e) < 0)
		return POOL_WRONG;
	if (!u->pool->model)
		u->pool->model = u->ep.model;
	if (strcmp(u->pool->model, u->ep.model) == 0)
		return POOL_OPEN;
	err_set(e, "the endpoints serve different models (%s, but %s has %s); give -m NAME", u->pool->model, u->ep.text, u->ep.model);
	return POOL_WRONG;
}

static enum pool_news
not_opened(struct upstream *u, uint64_t now, const struct err *why, struct err *e)
{
	struct pool *p = u->pool;

	if (u->ep.status != STATUS_ENDPOINT) {
		*e = *why;
		return POOL_WRONG;
	}
	if (!*p->why.msg) {
		p->why = *why;
		p->class = u->ep.refused ? AUTH : NET;
	}
	u->state = u->ep.refused ? GIVEN_UP : DOWN;
	u->reopen = now + REOPEN_MS;
	u->failures++;
	if (p->n > 1)
		warn("%s (the other endpoints go on)", why->msg);
	return POOL_OPEN;
}

static enum pool_news
look(struct upstream *u, uint64_t now, struct err *e)
{
	struct err why;
	int rc;

	if (u->state != OPENING || !opener_take(u->opener, &u->ep, &rc, &why))
		return POOL_OPEN;
	opener_stop(u->opener);
	u->opener = NULL;
	return rc == 0 ? opened(u, e) : not_opened(u, now, &why, e);
}

enum pool_news
pool_news(struct pool *p, uint64_t now, enum rec_class *c, struct err *e)
{
	bool opening = false, open = false;

	for (size_t i = 0; i < p->n; i++) {
		if (look(&p->up[i], now, e) == POOL_WRONG)
			return POOL_WRONG;
		opening = opening || p->up[i].state == OPENING;
		open = open || p->up[i].state == OPEN;
	}
	if (opening && !p->started)
		return POOL_WAIT;
	if (!open && !p->started) {
		*c = p->class;
		*e = p->why;
		return POOL_USELESS;
	}
	p->started = true;
	return POOL_OPEN;
}

const char *
pool_model(const struct pool *p)
{
	return p->started ? p->model : NULL;
}

/* ---- choosing ---- */

/* One that could not be opened, or a local server that has died, is opened again. */
static void
revive(struct upstream *u, uint64_t now)
{
	if (u->state == DOWN && now >= u->reopen)
		open_it(u);
}

static void
sooner(uint64_t *due, uint64_t at)
{
	if (at < *due)
		*due = at;
}

/* The share of the user's budget: true when the next request may go now. */
static bool
in_budget(struct upstream *u, long long tokens, uint64_t now, uint64_t *due)
{
	uint64_t at, clock;

	if (!u->bucket)
		return true;
	if (!u->held) {
		bucket_take(u->bucket, tokens);
		u->held = true;
		u->held_tokens = tokens;
	}
	at = bucket_due(u->bucket);
	clock = bucket_now();
	if (at <= clock)
		return true;
	at = (at - clock + 999999) / 1000000;
	sooner(due, now + (at < BUCKET_POLL_MS ? at : BUCKET_POLL_MS));
	return false;
}

/* A refusal may come back much faster than an answer; were its place filled at once, the next would be refused as fast. */
static int
limit_now(struct upstream *u, uint64_t now)
{
	int limit = aimd_limit(&u->aimd);

	if (now >= u->refused_until)
		u->refused = 0;
	return limit > u->refused ? limit - u->refused : 1;
}

static bool
takes_one(struct upstream *u, long long tokens, uint64_t now, uint64_t *due)
{
	revive(u, now);
	if (u->state == DOWN)
		sooner(due, u->reopen);
	if (u->state != OPEN)
		return false;
	if (!breaker_may_send(&u->breaker, now)) {
		if (breaker_due(&u->breaker))
			sooner(due, breaker_due(&u->breaker));
		return false;
	}
	if (u->pause > now) {
		sooner(due, u->pause);
		return false;
	}
	if (u->refused > 0)
		sooner(due, u->refused_until);
	return u->in_flight < limit_now(u, now) && in_budget(u, tokens, now, due);
}

static double
load_of(const struct upstream *u)
{
	return (double)u->in_flight / aimd_limit(&u->aimd);
}

struct upstream *
pool_pick(struct pool *p, long long tokens, const struct upstream *avoid, uint64_t now, uint64_t *due)
{
	struct upstream *best = NULL;

	*due = UINT64_MAX;
	for (size_t i = 0; i < p->n; i++) {
		struct upstream *u = &p->up[i];

		if (takes_one(u, tokens, now, due) && (!best || best == avoid || (u != avoid && load_of(u) < load_of(best))))
			best = u;
	}
	return best;
}

void
pool_sent(struct pool *p, uint64_t now)
{
	for (size_t i = 0; i < p->n; i++)
		p->up[i].full = p->up[i].in_flight >= limit_now(&p->up[i], now);
}

/* ---- how attempts end ---- */

long long
upstream_sent(struct upstream *u, uint64_t now)
{
	long long reserved = u->held_tokens;

	u->in_flight++;
	breaker_sent(&u->breaker, now);
	if (u->held)
		bucket_sent(u->bucket);
	u->held = false;
	u->held_tokens = 0;
	return reserved;
}

void
upstream_settle(struct upstream *u, long long reserved, long long used)
{
	if (u->bucket && used >= 0)
		bucket_settle(u->bucket, reserved, used);
}

void
upstream_succeeded(struct upstream *u, uint64_t now, double seconds)
{
	aimd_success(&u->aimd, now, seconds * 1000, u->full);
	u->in_flight--;
	u->proved = true;
	u->turned_away = 0;
	breaker_success(&u->breaker, now);
}

/* A local server that has gone is not waited for: it is started again. */
static void
mourn(struct upstream *u, uint64_t now)
{
	if (u->breaker.state != BREAKER_OPEN || u->state != OPEN || u->in_flight > 0 || u->ep.lease < 0)
		return;
	endpoint_close(&u->ep);
	u->opened = false;
	u->state = DOWN;
	u->reopen = now;
}

static void
refused(struct upstream *u, uint64_t now)
{
	if (u->refused++ == 0)
		u->refused_until = now + 1 + (uint64_t)u->aimd.rtt_ms;
	aimd_overload(&u->aimd, now);
}

void
upstream_failed(struct upstream *u, uint64_t now, bool overload, double random)
{
	u->in_flight--;
	if (overload)
		refused(u, now);
	else
		aimd_other(&u->aimd, now);
	breaker_failure(&u->breaker, now, random);
	mourn(u, now);
}

/* One that turns away even a single request is left alone for a while, longer each time. */
void
upstream_paced(struct upstream *u, uint64_t now, double random)
{
	u->in_flight--;
	refused(u, now);
	breaker_unsure(&u->breaker);
	if (aimd_limit(&u->aimd) == 1 && u->in_flight == 0)
		u->pause = now + (uint64_t)(1000 * retry_backoff(++u->turned_away, random));
}

void
upstream_answered(struct upstream *u, uint64_t now)
{
	u->in_flight--;
	aimd_other(&u->aimd, now);
	breaker_success(&u->breaker, now);
}

void
upstream_unsure(struct upstream *u)
{
	u->in_flight--;
	breaker_unsure(&u->breaker);
}

void
upstream_give_up(struct upstream *u)
{
	u->state = GIVEN_UP;
}

bool
upstream_proved(const struct upstream *u)
{
	return u->proved;
}

const struct http_target *
upstream_target(const struct upstream *u)
{
	return &u->ep.target;
}

const char *
upstream_text(const struct upstream *u)
{
	return u->ep.text;
}

const char *
upstream_identity(const struct upstream *u)
{
	return u->identity;
}

/* ---- the whole ---- */

static bool
hopeless(const struct upstream *u)
{
	long tries = u->pool->o.retries < 1 ? 1 : (long)u->pool->o.retries;

	return u->state == GIVEN_UP || breaker_probes(&u->breaker) > tries || (u->state == DOWN && u->failures > tries);
}

bool
pool_useful(const struct pool *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!hopeless(&p->up[i]))
			return true;
	return false;
}

int
pool_limit(const struct pool *p)
{
	int sum = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->up[i].state == OPEN && p->up[i].breaker.state == BREAKER_CLOSED)
			sum += aimd_limit(&p->up[i].aimd);
	return sum < p->o.jobs ? sum : p->o.jobs;
}

struct upstream *
pool_nth(struct pool *p, size_t i)
{
	return i < p->n ? &p->up[i] : NULL;
}
