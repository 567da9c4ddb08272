/* train.c - the steps of a run */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "lora.h"
#include "prefer.h"
#include "run.h"

volatile sig_atomic_t run_stopped;

static void
on_signal(int sig)
{
	run_stopped = sig;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

/* The first SIGINT or SIGTERM asks for an end, a second one is obeyed at once. A file-size limit is a full disk: write() says so. */
static void
watch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	signal(SIGXFSZ, SIG_IGN);
}

/* The place of step k (from 0) in the data. */
struct place {
	long epoch;
	size_t from, to;	/* packs of the epoch's order */
};

static struct place
place_of(const struct run *r, long k)
{
	struct place p = { .epoch = k / r->steps_per_epoch, .from = (size_t)(k % r->steps_per_epoch) * r->window };
	size_t n = r->data.packs.n;

	p.to = p.from + r->window < n ? p.from + r->window : n;
	return p;
}

/* The sample whose loss a token was the highest of a step. */
struct highest {
	double loss;
	uint32_t sample;
};

static void
find_highest(const struct run *r, const struct batch *b, const uint32_t *order, size_t from, struct highest *h)
{
	size_t k = r->data.packs.at[order[from]], end = r->data.packs.at[order[from] + 1];

	for (int s = 0; s < b->nseq; s++, k++) {
		double loss;

		if (k == end) {
			k = r->data.packs.at[order[++from]];
			end = r->data.packs.at[order[from] + 1];
		}
		loss = run_sequence_loss(b, s) / r->data.from->v[r->data.packs.sample[k]].supervised;
		if (loss > h->loss)
			*h = (struct highest){ loss, r->data.packs.sample[k] };
	}
}

/* The gradients of the packs of a step, each scaled, into r->grad. 0; 1 when a signal came; -1. */
static int
accumulate(struct run *r, const uint32_t *order, const struct place *p, double scale, struct entry *en, struct highest *h, struct err *e)
{
	size_t to;

	for (size_t from = p->from; from < p->to; from = to) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		to = from + r->micro < p->to ? from + r->micro : p->to;
		b = run_gather(r, &r->data, order, from, to);
		loss = model_train(r->model, r->acts, &b, &r->grad, (float)scale);
		if (!isfinite(loss))
			return run_not_finite(r, "the loss", loss, en->step, &r->data, order, from, to, e);
		find_highest(r, &b, order, from, h);
		en->loss += loss * scale;
	}
	return 0;
}

/* Gradients of one step into r->grad; what it was like into *en. 0; 1 when a signal came; -1. */
static int
gradients(struct run *r, const struct place *p, struct entry *en, struct highest *h, struct err *e)
{
	const uint32_t *order = run_order(r, p->epoch);
	struct amount a = run_amount(r, &r->data, order, p->from, p->to);
	int rc;

	memset(r->grad.all, 0, r->grad.n * sizeof(float));
	if (r->set->stage == STAGE_SFT)
		rc = accumulate(r, order, p, 1 / run_divisor(r, &a), en, h, e);
	else
		rc = prefer_accumulate(r, order, p->from, p->to, en, e);
	if (rc != 0)
		return rc;
	en->grad_norm = optim_norm(r->model, &r->grad);
	if (!isfinite(en->grad_norm))
		return run_not_finite(r, "the gradients' norm", en->grad_norm, en->step, &r->data, order, p->from, p->to, e);
	en->tokens = (long)a.tokens;
	en->supervised = (long)a.supervised;
	en->flops = a.flops;
	en->epoch = (double)p->epoch + (double)p->to / (double)r->data.packs.n;
	return 0;
}

static void
watch_loss(struct run *r, struct entry *en, const struct highest *h)
{
	char where[300];
	double median;

	en->spike = spike_next(&r->state.recent, en->loss, &median);
	if (en->spike)
		log_note(&r->log, "step %ld: the loss is %.4f, the median before it was %.4f; gradients of norm %.3g; highest of all: %s with %.4f", en->step,
			 en->loss, median, en->grad_norm, run_where(r, r->data.from, h->sample, where, sizeof where), h->loss);
}

static int
one_step(struct run *r, struct err *e)
{
	long k = r->optim.step;
	struct place p = place_of(r, k);
	struct entry en = { .step = k + 1, .lr = schedule_lr(&r->schedule, k) };
	struct highest h = { .loss = -1 };
	double start = clock_seconds();
	int rc = gradients(r, &p, &en, &h, e);

	if (rc != 0)
		return rc;
	optim_step(&r->optim, r->model, &r->grad, en.grad_norm, en.lr);
	en.seconds = fmax(clock_seconds() - start, 1e-6);
	if (r->set->stage == STAGE_SFT)
		watch_loss(r, &en, &h);
	return log_step(&r->log, &en, e) < 0 ? -STATUS_IO : 0;
}

static const struct state *
state_of(struct run *r)
{
	struct place p = place_of(r, r->optim.step);

	r->state.step = r->optim.step;
	r->state.epoch = p.epoch;
	r->state.cursor = (long)p.from;
	r->state.log_bytes = r->log.bytes;
	r->state.run = r->identity;
	return &r->state;
}

static void
prune(const struct run *r, long keep)
{
	checkpoint_prune(r->set->out, keep, r->state.best);
}

static int
save(struct run *r, struct err *e)
{
	const struct state *s = state_of(r);

	if (s->step == r->saved)
		return 0;
	if (log_sync(&r->log, e) < 0 || checkpoint_save(r->set->out, &r->source, r->model, &r->optim, s, e) < 0)
		return -STATUS_IO;
	r->saved = s->step;
	if (s->best == s->step && checkpoint_best(r->set->out, s->best, e) < 0)
		return -STATUS_IO;
	prune(r, r->set->keep ? (long)r->set->keep : LONG_MAX);
	return 0;
}

static int
finish(struct run *r, struct err *e)
{
	if (r->set->save_every && save(r, e) < 0)
		return -STATUS_IO;
	if (r->set->merge)
		lora_merge(r->model);
	if (checkpoint_finish(r->set->out, &r->source, r->model, state_of(r), e) < 0)
		return -STATUS_IO;
	if (!r->set->save_every)
		prune(r, 0);
	return 0;
}

/* What is due before the next step: an evaluation, a checkpoint. 0; 1 when a signal came; -1; -STATUS_IO. */
static int
between(struct run *r, struct err *e)
{
	long every = (long)r->set->save_every, step = r->optim.step;
	bool better = false;
	int rc;

	if (run_eval_due(r) && (rc = run_evaluate(r, &better, e)) != 0)
		return rc;
	if (better || (every && step > 0 && step % every == 0 && step < r->schedule.steps))
		return save(r, e);
	return 0;
}

/* All the steps that are left. 0; 1 when a signal came, all saved; -1 when the numbers went wrong; -STATUS_IO. */
static int
steps(struct run *r, struct err *e)
{
	int rc;

	while ((rc = between(r, e)) == 0) {
		if (r->optim.step >= r->schedule.steps)
			return finish(r, e);
		rc = one_step(r, e);
		if (rc != 0)
			break;
	}
	if (rc > 0)
		return r->optim.step > 0 && save(r, e) < 0 ? -STATUS_IO : 1;
	return rc;
}

int
train(const struct settings *set, int *sig)
{
	struct run r;
	struct err e;
	int rc, status = STATUS_OK;

	*sig = 0;
	rc = run_setup(&r, set, &e);
	if (rc < 0) {
		warn("%s", e.msg);
		status = STATUS_USAGE;
	} else if (rc > 0) {
		warn("%s: finished already", set->out);
	} else {
		watch_signals();
		rc = steps(&r, &e);
		log_close(&r.log);
		if (rc < 0)
			warn("%s", e.msg);
		else if (rc > 0)
			warn("stopped; %s", r.saved > 0 ? "go on with --resume" : "nothing was done yet");
		status = rc < 0 ? -rc : STATUS_OK;
		*sig = rc > 0 ? run_stopped : 0;
	}
	run_free(&r);
	return status;
}
