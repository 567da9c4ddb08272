/* engine.c - see engine.h */
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "model.h"
#include "turn.h"

#define KEEP_SECONDS 120	/* that an idle server keeps prefixes */

TAILQ_HEAD(jobs, job);
TAILQ_HEAD(seqs, seq);

struct engine {
	struct engine_options o;
	void (*loaded)(void *arg, const char *why);
	void *arg;
	pthread_t thread;

	struct mach *mach;
	struct model *model;
	struct tok *tok;
	struct serving serving;
	struct turn turn;
	struct seqs back;	/* sequences that were put back, those admitted first first */
	size_t kv_bytes;
	atomic_bool ready;

	pthread_mutex_t lock;
	pthread_cond_t work;
	/* shared */
	struct jobs queue;	/* jobs with choices still to be admitted */
	int waiting, busy;	/* jobs in the queue; jobs not done */
	size_t waiting_tokens;
	bool cancelled;		/* some job was, since the last look */
	bool stop;
};

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

static size_t
job_tokens(const struct job *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->req.nprompts; i++)
		n += j->req.prompt[i].ids.n;
	return n;
}

/* With the lock held. */
static void
enqueue(struct engine *e, struct job *j)
{
	j->holders++;
	e->busy++;
	e->waiting++;
	e->waiting_tokens += job_tokens(j);
	TAILQ_INSERT_TAIL(&e->queue, j, link);
	pthread_cond_signal(&e->work);
}

static void
dequeue(struct engine *e, struct job *j)
{
	e->waiting--;
	e->waiting_tokens -= job_tokens(j);
	TAILQ_REMOVE(&e->queue, j, link);
}

int
engine_submit(struct engine *e, struct job *j, struct req_error *why)
{
	int rc = 0;

	j->nseq = j->left = j->req.nprompts * j->req.n;
	engine_lock(e);
	if (e->stop)
		rc = req_fail(why, 503, "", "shutting_down", "the server is shutting down");
	else if (e->waiting >= ENGINE_QUEUE || (e->waiting > 0 && e->waiting_tokens + job_tokens(j) > ENGINE_QUEUE_TOKENS))
		rc = req_fail(why, 429, "", "queue_full", "too many requests are waiting; try again later");
	else
		enqueue(e, j);
	engine_unlock(e);
	return rc;
}

void
engine_cancel(struct engine *e, struct job *j)
{
	j->cancelled = e->cancelled = true;
	pthread_cond_signal(&e->work);
}

int
engine_busy(struct engine *e)
{
	int n;

	engine_lock(e);
	n = e->busy;
	engine_unlock(e);
	return n;
}

/* ---- replies: built without the lock, handed over with it ---- */

static struct answer
job_answer(struct engine *e, struct job *j)
{
	return (struct answer){ j->id, j->created, e->serving.name, e->tok, &j->req };
}

/* Give the bytes of *b to the client's side; `done`: they are the last. */
static void
hand_over(struct engine *e, struct job *j, struct buf *b, int status, bool done)
{
	engine_lock(e);
	if (j->out.n == 0) {
		struct buf empty = j->out;

		j->out = *b;
		*b = empty;
	} else {
		buf_add(&j->out, b->p, b->n);
	}
	j->status = status;
	j->done = done;
	e->busy -= done;
	j->wake(j);
	engine_unlock(e);
	buf_free(b);
}

static void
job_done(struct engine *e, struct job *j)
{
	struct answer a = job_answer(e, j);
	struct buf b = BUF_INIT(j->out.max);
	struct choice **c = xcalloc(j->nseq, sizeof *c);

	for (size_t i = 0; i < j->nseq; i++)
		c[i] = &j->seq[i].c;
	if (j->req.stream)
		answer_done(&b, &a, c, j->nseq);
	else
		answer_whole(&b, &a, c, j->nseq);
	hand_over(e, j, &b, 200, true);
	free(c);
	job_release(e, j);
}

static void
forget_back(struct engine *e, const struct job *j)
{
	struct seq *s, *next;

	for (s = TAILQ_FIRST(&e->back); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->owner == j)
			TAILQ_REMOVE(&e->back, s, link);
	}
}

/* Drop a job with all its choices, waiting and active. A stream has its status already: then the error is its last event. */
static void
job_drop(struct engine *e, struct job *j, const struct req_error *why)
{
	struct turn *t = &e->turn;
	struct buf b = BUF_INIT(j->out.max);
	int n = 0;

	engine_lock(e);
	if (j->next < j->nseq)
		dequeue(e, j);
	engine_unlock(e);
	for (int i = 0; i < t->n; i++) {
		if (t->active[i]->owner == j)
			seq_end(t->active[i]);
		else
			t->active[n++] = t->active[i];
	}
	t->n = n;
	forget_back(e, j);
	buf_adds(&b, j->req.stream ? "data: " : "");
	answer_error(&b, why);
	buf_adds(&b, j->req.stream ? "\n\n" : "");
	hand_over(e, j, &b, why->status, true);
	job_release(e, j);
}

static void
stream(struct engine *e, struct job *j, struct choice *c)
{
	struct answer a = job_answer(e, j);
	struct buf b = BUF_INIT(j->out.max);
	size_t end = c->text.n;

	if (c->finish == FINISH_NONE) {
		end -= stops_hold(&j->req.stop, c->text.p, c->from, end);
		end = end <= c->sent ? c->sent : c->sent + utf8_whole(c->text.p + c->sent, end - c->sent);
	}
	if (j->req.kind == REQ_CHAT && c->generated == 1)
		answer_role(&b, &a, c->index);
	answer_delta(&b, &a, c, end);
	if (c->finish != FINISH_NONE)
		answer_finish(&b, &a, c);
	if (b.n > 0)
		hand_over(e, j, &b, 200, false);
	buf_free(&b);
}

/* ---- the thread ---- */

/* What a turn brought: text to streams, finished choices out, the place of each active sequence kept. */
static void
deliver(struct engine *e)
{
	struct turn *t = &e->turn;
	int n = 0;

	for (int i = 0; i < t->n; i++) {
		struct seq *s = t->active[i];
		struct job *j = s->owner;

		if (s->fresh && j->req.stream)
			stream(e, j, &s->c);
		if (s->c.finish == FINISH_NONE) {
			t->active[n++] = s;
			continue;
		}
		seq_end(s);
		if (--j->left == 0)
			job_done(e, j);
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

static void
run(struct engine *e)
{
	struct req_error why;
	struct err err;
	struct job *j;

	if (turn_run(&e->turn, &err) < 0) {
		req_fail(&why, 500, "", "model_error", "%s", err.msg);
		while (e->turn.n > 0)
			job_drop(e, e->turn.active[0]->owner, &why);
		return;
	}
	for (int i = 0; i < e->turn.nback; i++)
		TAILQ_INSERT_HEAD(&e->back, e->turn.back[i], link);
	req_fail(&why, 500, "", "model_error", "no token can be drawn: the logits are no finite numbers, or no token fits the form asked for");
	while ((j = find_bad(&e->turn)))
		job_drop(e, j, &why);
	deliver(e);
}

static struct job *
cancelled_back(const struct engine *e)
{
	struct seq *s;

	TAILQ_FOREACH(s, &e->back, link) {
		struct job *j = s->owner;

		if (j->cancelled || e->stop)
			return j;
	}
	return NULL;
}

/* Jobs whose clients have gone, or all of them when stopping; with the lock held on entry and on return. */
static void
drop_cancelled(struct engine *e)
{
	struct req_error why;
	struct job *j;

	req_fail(&why, 503, "", "cancelled", "the request was cancelled");
	e->cancelled = false;
	for (;;) {
		TAILQ_FOREACH(j, &e->queue, link)
			if (j->cancelled || e->stop)
				break;
		for (int i = 0; !j && i < e->turn.n; i++) {
			struct job *active = e->turn.active[i]->owner;

			if (active->cancelled || e->stop)
				j = active;
		}
		if (!j)
			j = cancelled_back(e);
		if (!j)
			return;
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
	}
}

/* What is admitted next: what was put back, then first come first served. NULL: nothing waits. With the lock held. */
static struct seq *
next_seq(struct engine *e)
{
	struct job *j = TAILQ_FIRST(&e->queue);

	if (!TAILQ_EMPTY(&e->back))
		return TAILQ_FIRST(&e->back);
	if (!j)
		return NULL;
	if (j->next == 0 && !j->seq)
		make_choices(e, j);
	return &j->seq[j->next];
}

static void
take_seq(struct engine *e, struct seq *s)
{
	struct job *j = s->owner;

	if (s == TAILQ_FIRST(&e->back)) {
		TAILQ_REMOVE(&e->back, s, link);
		return;
	}
	if (j->next + 1 == j->nseq)
		dequeue(e, j);
	j->next++;
}

/* Fill the free places while there are pages; with the lock held. Returns what does not even fit alone: the system has no memory. */
static struct job *
admit(struct engine *e)
{
	struct turn *t = &e->turn;
	struct seq *s;

	while (t->n < t->max && (s = next_seq(e))) {
		if (!turn_admit(t, s))
			return t->n == 0 ? s->owner : NULL;
		take_seq(e, s);
	}
	return NULL;
}

/* The caches' limit: half of what was available before the checkpoint was loaded, less what that takes. */
static size_t
choose_kv_bytes(const struct engine *e, size_t available)
{
	size_t weights = e->model->w.n * sizeof(float);

	if (e->o.kv_bytes)
		return e->o.kv_bytes;
	return (available > weights ? available - weights : 0) / 2;
}

static int
make_pool(struct engine *e, size_t available, struct err *err)
{
	const struct config *c = &e->model->c;
	size_t page = kv_page_bytes(c, &ops_cpu), bytes = choose_kv_bytes(e, available), most;
	int max = e->serving.max_context;

	if (bytes < page && e->o.kv_bytes)
		return err_set(err, "--kv-bytes: a page of %d tokens takes %zu bytes", KV_PAGE, page);
	if (bytes < page)
		bytes = page;
	most = ((size_t)max + KV_PAGE - 1) / KV_PAGE * e->o.max_active;
	if (bytes / page > most)	/* more is never needed, but for prefixes */
		bytes = (e->o.kv_bytes ? bytes / page : most) * page;
	e->kv_bytes = bytes / page * page;
	if (e->kv_bytes / page * KV_PAGE < (size_t)max)
		e->serving.max_context = e->kv_bytes / page * KV_PAGE;
	e->turn = (struct turn){ .model = e->model, .tok = e->tok, .mach = e->mach, .pool = kv_pool_new(c, &ops_cpu, e->kv_bytes),
				 .budget = e->o.turn_tokens, .max = e->o.max_active };
	turn_init(&e->turn);
	return 0;
}

static int
load(struct engine *e, struct err *err)
{
	const struct engine_options *o = &e->o;
	struct serving *s = &e->serving;
	size_t available = memory_available();

	e->tok = tok_load(o->dir, err);
	if (!e->tok)
		return -1;
	if (o->template ? template_by_name(o->template, &s->template, err) < 0 : template_detect(o->dir, &s->template, err) < 0)
		return -1;
	e->model = model_open(o->dir, WEIGHTS_AUTO, &ops_cpu, e->mach, err);
	if (!e->model)
		return -1;
	if (tok_size(e->tok) > e->model->c.vocab)
		return err_set(err, "%s: the tokenizer has %d tokens, the model only %d", o->dir, tok_size(e->tok), e->model->c.vocab);
	s->tok = e->tok;
	s->date = o->date;
	s->name = o->name;
	s->path = o->dir;
	s->vocab = e->model->c.vocab;
	s->guides = guides_new(e->tok, s->vocab, e->model->c.eos, e->model->c.neos);
	s->max_context = o->max_context && o->max_context < e->model->c.max_pos ? o->max_context : e->model->c.max_pos;
	return make_pool(e, available, err);
}

/* Wait for work, with the lock held. What an idle server does not use goes back to the system, its prefixes after a while. */
static void
wait_for_work(struct engine *e)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += KEEP_SECONDS;
	while (!e->stop && !e->cancelled && e->turn.n == 0 && TAILQ_EMPTY(&e->queue) && TAILQ_EMPTY(&e->back)) {
		kv_trim(e->turn.pool, rc == ETIMEDOUT);
		if (rc == ETIMEDOUT || kv_usage(e->turn.pool).kept == 0)
			pthread_cond_wait(&e->work, &e->lock);
		else
			rc = pthread_cond_timedwait(&e->work, &e->lock, &until);
	}
}

static void
serve(struct engine *e)
{
	struct req_error why;
	struct job *j;

	req_fail(&why, 503, "", "no_memory", "there is no memory for the key-value cache");
	engine_lock(e);
	for (;;) {
		wait_for_work(e);
		if (e->cancelled || e->stop)
			drop_cancelled(e);
		if (e->stop)
			break;
		j = admit(e);
		engine_unlock(e);
		if (j)
			job_drop(e, j, &why);
		if (e->turn.n > 0)
			run(e);
		engine_lock(e);
	}
	engine_unlock(e);
}

static void *
engine_main(void *arg)
{
	struct engine *e = arg;
	struct err err;

	if (load(e, &err) < 0) {
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
	TAILQ_INIT(&e->queue);
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
