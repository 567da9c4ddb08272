/* engine.c - see engine.h */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "forward_device.h"
#include "inside.h"

#define KEEP_SECONDS 120	/* that an idle server keeps prefixes */
#define MOVE_PAGES 2		/* huge ones of weights at a time: what a request that comes meanwhile waits for */
#define MOVE_SECONDS 0.01	/* most of a turn: an eighth of one that reads a model of 1B once */

void
engine_lock(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
}

void
engine_unlock(struct engine *e)
{
	pthread_mutex_unlock(&e->lock);
}

const struct serving *
engine_serving(struct engine *e)
{
	return atomic_load(&e->ready) ? &e->serving : NULL;
}

size_t
engine_kv_bytes(const struct engine *e)
{
	return e->kv_bytes;
}

const char *
engine_device(const struct engine *e)
{
	return e->model->device ? e->model->device->name : "";
}

/* ---- jobs ---- */

struct job *
job_new(struct request *r)
{
	struct job *j = xcalloc(1, sizeof *j);
	unsigned char noise[12];
	size_t n;

	j->req = *r;
	j->created = time(NULL);
	j->holders = 1;
	j->status = 200;
	buf_init(&j->out, (size_t)2 << 30);
	if (getentropy(noise, sizeof noise) < 0)
		memset(noise, 0, sizeof noise);
	n = snprintf(j->id, sizeof j->id, "%s", r->kind == REQ_CHAT ? "chatcmpl-" : "cmpl-");
	for (size_t i = 0; i < sizeof noise; i++)
		n += snprintf(j->id + n, sizeof j->id - n, "%02x", noise[i]);
	return j;
}

void
job_release(struct engine *e, struct job *j)
{
	bool last;

	engine_lock(e);
	last = --j->holders == 0;
	engine_unlock(e);
	if (!last)
		return;
	for (size_t i = 0; j->seq && i < j->nseq; i++)
		seq_free(&j->seq[i]);
	free(j->seq);
	buf_free(&j->out);
	req_free(&j->req);
	free(j);
}

int
engine_submit(struct engine *e, struct job *j, uint64_t client, struct req_error *why)
{
	int rc = 0;

	j->nseq = j->left = j->req.nprompts * j->req.n;
	engine_lock(e);
	if (e->stop || e->failed) {
		rc = req_fail(why, 503, "", "shutting_down", "the server is shutting down");
	} else if (queue_add(&e->queue, j, client, clock_seconds()) < 0) {
		e->stats.refused++;
		rc = req_fail(why, 429, "", "queue_full", "too many requests are waiting; try again later");
		why->retry_after = queue_wait(&e->queue, clock_seconds());
	} else {
		e->stats.taken++;
		j->holders++;
		TAILQ_INSERT_TAIL(&e->jobs, j, all);
		pthread_cond_signal(&e->work);
	}
	engine_unlock(e);
	return rc;
}

void
engine_cancel(struct engine *e, struct job *j)
{
	e->stats.cancelled += !j->cancelled;
	j->cancelled = e->cancelled = true;
	pthread_cond_signal(&e->work);
}

void
engine_stats(struct engine *e, struct engine_stats *s)
{
	engine_lock(e);
	*s = e->stats;
	s->waiting = e->queue.waiting;
	engine_unlock(e);
}

/* ---- the thread ---- */

/* Drop a job with all its choices, waiting and active. */
static void
job_drop(struct engine *e, struct job *j, const struct req_error *why)
{
	struct turn *t = &e->turn;
	struct seq *s, *next;
	int n = 0;

	for (int i = 0; i < t->n; i++) {
		if (t->active[i]->owner == j)
			seq_end(t->active[i]);
		else
			t->active[n++] = t->active[i];
	}
	t->n = n;
	for (s = TAILQ_FIRST(&e->back); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->owner == j)
			TAILQ_REMOVE(&e->back, s, link);
	}
	deliver_error(e, j, why);
}

/* Those that were put back last wait in front. */
static void
collect_back(struct engine *e)
{
	for (int i = 0; i < e->turn.nback; i++)
		TAILQ_INSERT_HEAD(&e->back, e->turn.back[i], link);
	e->turn.nback = 0;
}

/* What a turn brought: text to streams, finished choices out, the place of each active sequence kept. */
static void
deliver(struct engine *e)
{
	struct turn *t = &e->turn;
	int n = 0;

	for (int i = 0; i < t->n; i++) {
		struct seq *s = t->active[i];
		struct job *j = s->owner;

		if (s->fresh && j->first == 0)
			j->first = clock_seconds();
		if (s->fresh && j->req.stream)
			deliver_stream(e, j, &s->c);
		if (s->c.finish == FINISH_NONE) {
			t->active[n++] = s;
			continue;
		}
		seq_end(s);
		if (--j->left == 0)
			deliver_done(e, j);
	}
	t->n = n;
}

static struct job *
find_bad(const struct turn *t)
{
	for (int i = 0; i < t->n; i++)
		if (t->active[i]->bad)
			return t->active[i]->owner;
	return NULL;
}

/* The tokens of the turn are their clients'. */
static void
account(struct engine *e)
{
	const struct turn *t = &e->turn;
	struct engine_stats *s = &e->stats;

	engine_lock(e);
	for (int i = 0; i < t->n; i++) {
		struct job *j = t->active[i]->owner;

		j->client->computed += t->active[i]->take;
	}
	s->turns = t->counts.turns;
	s->prompt_tokens = t->counts.prompt;
	s->found_tokens = t->counts.found;
	s->generated_tokens = t->counts.generated;
	s->put_back = t->counts.put_back;
	engine_unlock(e);
}

/* The device has failed: what waits fails with it. */
static void
fail(struct engine *e, const struct req_error *why, const char *message)
{
	engine_lock(e);
	e->failed = true;
	while (!TAILQ_EMPTY(&e->jobs)) {
		struct job *j = TAILQ_FIRST(&e->jobs);

		engine_unlock(e);
		job_drop(e, j, why);
		engine_lock(e);
	}
	engine_unlock(e);
	e->loaded(e->arg, message);
}

static void
run(struct engine *e)
{
	struct req_error why;
	struct err err;
	struct job *j;
	int rc = turn_run(&e->turn, &err);

	collect_back(e);
	if (rc < 0) {
		req_fail(&why, 500, "", "model_error", "%s", err.msg);
		while (e->turn.n > 0)
			job_drop(e, e->turn.active[0]->owner, &why);
		if (e->model->device)
			fail(e, &why, err.msg);
		return;
	}
	account(e);
	req_fail(&why, 500, "", "model_error", "no token can be drawn: the logits are no finite numbers, or no token fits the form asked for");
	while ((j = find_bad(&e->turn)))
		job_drop(e, j, &why);
	deliver(e);
}

/* Jobs whose clients have gone, or all of them when stopping; with the lock held on entry and on return. */
static void
drop_cancelled(struct engine *e)
{
	struct req_error why;
	struct job *j, *next;

	req_fail(&why, 503, "", "cancelled", "the request was cancelled");
	e->cancelled = false;
	for (j = TAILQ_FIRST(&e->jobs); j; j = next) {
		next = TAILQ_NEXT(j, all);	/* stays: only this thread removes jobs, and others add behind it */
		if (!j->cancelled && !e->stop)
			continue;
		engine_unlock(e);
		job_drop(e, j, &why);
		engine_lock(e);
	}
}

/* Not before a place is free: what waits costs its prompts and no more. */
static void
make_choices(struct engine *e, struct job *j)
{
	j->seq = xcalloc(j->nseq, sizeof *j->seq);
	for (size_t i = 0; i < j->nseq; i++) {
		seq_init(&j->seq[i], &j->req, i, e->serving.max_context);
		j->seq[i].owner = j;
		j->seq[i].peers = &j->client->active;
	}
}

/* What is admitted next: of a client that has no place, what was put back, then by the queue's order; of the others the same. NULL: nothing waits. Whoever is
 * made room for comes before what was put back for that, which would take the room again, and so on for ever. With the lock held. */
static struct seq *
next_seq(struct engine *e)
{
	struct job *j = queue_next(&e->queue);
	struct seq *s;

	TAILQ_FOREACH(s, &e->back, link)
		if (*s->peers == 0)
			return s;
	if (!TAILQ_EMPTY(&e->back) && !(j && j->client->active == 0))
		return TAILQ_FIRST(&e->back);
	if (!j)
		return NULL;
	if (!j->seq)
		make_choices(e, j);
	return &j->seq[j->next];
}

static void
placed(struct engine *e, struct seq *s)
{
	struct seq *b;

	TAILQ_FOREACH(b, &e->back, link)
		if (b == s)
			break;
	if (b)
		TAILQ_REMOVE(&e->back, b, link);
	else
		queue_placed(&e->queue, s->owner, clock_seconds());
}

/* A client that has no place gets one of those of the client that has the most. False: nobody has two. */
static bool
make_room(struct engine *e, const struct seq *s)
{
	struct turn *t = &e->turn;
	int i = turn_victim(t, 0);

	if (*s->peers > 0 || i < 0 || *t->active[i]->peers < 2)
		return false;
	turn_put_back(t, i);
	collect_back(e);
	return true;
}

/* Fill the places while there are pages; with the lock held. Returns what does not even fit alone: the system has no memory. */
static struct job *
admit(struct engine *e)
{
	struct turn *t = &e->turn;
	struct seq *s;

	while ((s = next_seq(e))) {
		if (t->n < t->max && turn_admit(t, s))
			placed(e, s);
		else if (!make_room(e, s))
			return t->n == 0 ? s->owner : NULL;
	}
	return NULL;
}

/* What is there now, with the lock held. */
static void
note_load(struct engine *e)
{
	struct kv_usage u = kv_usage(e->turn.pool);

	e->stats.running = e->turn.n;
	e->stats.pages = u.pages;
	e->stats.pages_held = u.held;
	e->stats.pages_kept = u.kept;
}

/* Wait for work, with the lock held. What an idle server does not use goes back to the system, its prefixes after a while. */
static void
wait_for_work(struct engine *e)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += KEEP_SECONDS;
	while (!e->stop && !e->cancelled && e->turn.n == 0 && e->queue.waiting == 0 && TAILQ_EMPTY(&e->back)) {
		kv_trim(e->turn.pool, rc == ETIMEDOUT);
		note_load(e);
		if (rc == ETIMEDOUT || kv_usage(e->turn.pool).kept == 0)
			pthread_cond_wait(&e->work, &e->lock);
		else
			rc = pthread_cond_timedwait(&e->work, &e->lock, &until);
	}
}

/* Weights to huge pages (huge.h), for an eighth of the seconds that the turn took, so that streams go on meanwhile, and soon faster. The long turns are prompts',
 * which gain little by it. */
static void
move_weights(struct engine *e, double took)
{
	double end = clock_seconds() + (took / 8 < MOVE_SECONDS ? took / 8 : MOVE_SECONDS);

	while (e->moving && (e->moving = huge_step(&e->huge, MOVE_PAGES * HUGE_PAGE)) && clock_seconds() < end)
		;
}

static void
serve(struct engine *e)
{
	struct req_error why;
	struct job *j;
	double begun;

	req_fail(&why, 503, "", "no_memory", "there is no memory for the key-value cache");
	engine_lock(e);
	for (;;) {
		if (!e->moving)
			wait_for_work(e);
		if (e->cancelled || e->stop)
			drop_cancelled(e);
		if (e->stop)
			break;
		j = admit(e);
		e->queue.places = e->turn.max - e->turn.n;
		note_load(e);
		engine_unlock(e);
		if (j)
			job_drop(e, j, &why);
		begun = clock_seconds();
		if (e->turn.n > 0)
			run(e);
		move_weights(e, clock_seconds() - begun);
		engine_lock(e);
	}
	engine_unlock(e);
}

static void *
engine_main(void *arg)
{
	struct engine *e = arg;
	struct err err;

	if (engine_load(e, &err) < 0) {
		e->loaded(e->arg, err.msg);
		return NULL;
	}
	atomic_store(&e->ready, true);
	e->loaded(e->arg, NULL);
	serve(e);
	return NULL;
}

struct engine *
engine_start(const struct engine_options *o, void (*loaded)(void *arg, const char *why), void *arg)
{
	struct engine *e = xcalloc(1, sizeof *e);
	pthread_condattr_t monotonic;

	e->o = *o;
	e->loaded = loaded;
	e->arg = arg;
	queue_init(&e->queue, o->queue);
	e->queue.places = o->max_active;
	TAILQ_INIT(&e->jobs);
	TAILQ_INIT(&e->back);
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&e->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	e->mach = mach_new(o->threads);
	if (pthread_create(&e->thread, NULL, engine_main, e) != 0)
		die(STATUS_IO, "cannot start a thread");
	return e;
}

void
engine_stop(struct engine *e)
{
	engine_lock(e);
	e->stop = true;
	pthread_cond_signal(&e->work);
	engine_unlock(e);
	pthread_join(e->thread, NULL);
}

void
engine_free(struct engine *e)
{
	if (e->turn.pool) {
		turn_free(&e->turn);
		kv_pool_free(e->turn.pool);
	}
	if (e->model)
		model_free(e->model);
	guides_free(e->serving.guides);
	if (e->tok)
		tok_free(e->tok);
	mach_free(e->mach);
	pthread_cond_destroy(&e->work);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
