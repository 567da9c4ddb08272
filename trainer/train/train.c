/* train.c - the steps of a run */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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
	signal(SIGUSR1, SIG_DFL);
	signal(SIGHUP, SIG_IGN);	/* the kernel and the shell both tell of a terminal that is gone */
}

/* The first SIGINT, SIGTERM, SIGUSR1 or SIGHUP asks for an end, a second one is obeyed at once. What the caller has us ignore (nohup) stays ignored. mpirun passes
 * SIGUSR1 on to its processes, but at a SIGTERM of its own it kills them. */
static void
watch_signals(void)
{
	static const int all[] = { SIGINT, SIGTERM, SIGUSR1, SIGHUP };
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, was;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (sigaction(all[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(all[i], &a, NULL);
}

struct place
run_place(const struct run *r, long k)
{
	struct place p = { .epoch = k / r->steps_per_epoch, .from = (size_t)(k % r->steps_per_epoch) * r->window };
	size_t n = r->data.packs.n;

	p.to = p.from + r->window < n ? p.from + r->window : n;
	return p;
}

int
run_lost(const struct run *r, const char *what, long step, struct err *e)
{
	struct err why = *e;

	if (r->saved > 0)
		err_set(e, "%s %ld: %s; %s/step_%ld is whole", what, step, why.msg, r->set->out, r->saved);
	else
		err_set(e, "%s %ld: %s; nothing was saved", what, step, why.msg);
	return comm_lost(r->comm, STATUS_IO, e);
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

/* The gradients of this rank's packs of a step, each scaled. 0, also when the loss is not finite: *p is then the micro-batch that made it so; 1 when a signal
 * came; -STATUS_IO. */
static int
accumulate(struct run *r, const uint32_t *order, struct place *p, double scale, struct entry *en, struct highest *h, struct err *e)
{
	size_t to;

	for (size_t from = p->from; from < p->to; from = to) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		to = from + r->micro < p->to ? from + r->micro : p->to;
		b = run_gather(r, &r->data, order, from, to);
		if (to == p->to)
			r->engine->last(r->engine);
		if (r->engine->pass(r->engine, &b, true, (float)scale, &loss, e) < 0)
			return run_lost(r, "step", en->step, e);
		en->loss += loss * scale;
		if (!isfinite(loss)) {
			*p = (struct place){ p->epoch, from, to };
			return 0;
		}
		find_highest(r, &b, order, from, h);
	}
	return 0;
}

/* The highest of all ranks; of equals the first, as one process finds it. */
static void
agree_highest(const struct run *r, struct highest *h)
{
	struct highest *all;

	if (r->comm->size == 1)
		return;
	all = xcalloc((size_t)r->comm->size, sizeof *all);
	all[r->comm->rank] = *h;
	comm_gather(r->comm, all, sizeof *all);
	*h = all[0];
	for (int i = 1; i < r->comm->size; i++)
		if (all[i].loss > h->loss)
			*h = all[i];
	free(all);
}

/* The same by all ranks, each its part. */
static int
accumulate_all(struct run *r, const uint32_t *order, struct place *p, double scale, struct entry *en, struct highest *h, struct err *e)
{
	double own;
	int rc;

	rc = comm_agree(r->comm, accumulate(r, order, p, scale, en, h, e), e);
	if (rc != 0)
		return rc;
	own = en->loss;
	comm_sum(r->comm, &en->loss, 1);
	if (!isfinite(en->loss))
		return run_not_finite(r, "the loss", en->loss, en->step, &r->data, order, p->from, isfinite(own) ? p->from : p->to, e);
	agree_highest(r, h);
	return 0;
}

/* Gradients of one step; what it was like into *en. 0; 1 when a signal came; -1; -STATUS_IO. */
static int
gradients(struct run *r, struct place p, struct entry *en, struct highest *h, struct err *e)
{
	const uint32_t *order = run_order(r, p.epoch);
	struct amount a = run_amount(r, &r->data, order, p.from, p.to);
	size_t packs = p.to - p.from;
	int rc;

	en->tokens = (long)a.tokens;
	en->supervised = (long)a.supervised;
	en->flops = a.flops;
	en->epoch = (double)p.epoch + (double)p.to / (double)r->data.packs.n;
	if (r->engine->zero(r->engine, e) < 0)
		return run_lost(r, "step", en->step, e);
	run_share(r, &r->data, order, &p.from, &p.to);
	if (r->set->stage == STAGE_SFT)
		rc = accumulate_all(r, order, &p, 1 / run_divisor(r, &a), en, h, e);
	else
		rc = prefer_accumulate(r, order, p.from, p.to, packs, en, e);
	if (rc != 0)
		return rc;
	if (r->engine->norm(r->engine, &en->grad_norm, e) < 0)
		return run_lost(r, "step", en->step, e);
	if (!isfinite(en->grad_norm))
		return run_not_finite(r, "the gradients' norm", en->grad_norm, en->step, &r->data, order, p.from, p.to, e);
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
	struct entry en = { .step = k + 1, .lr = schedule_lr(&r->schedule, k) };
	struct highest h = { .loss = -1 };
	double start = clock_seconds();
	int rc = gradients(r, run_place(r, k), &en, &h, e);

	if (rc != 0)
		return rc;
	if (r->engine->step(r->engine, en.grad_norm, en.lr, e) < 0)
		return run_lost(r, "step", en.step, e);
	if (en.grad_norm == 0 && !r->idle)
		log_note(&r->log, "step %ld: all gradients are 0: nothing is learnt", en.step);
	r->idle = r->idle || en.grad_norm == 0;
	en.seconds = fmax(clock_seconds() - start, 1e-6);
	if (r->set->stage == STAGE_SFT)
		watch_loss(r, &en, &h);
	return comm_agree(r->comm, r->comm->rank == 0 && log_step(&r->log, &en, e) < 0 ? -STATUS_IO : 0, e);
}

static const struct state *
state_of(struct run *r)
{
	struct place p = run_place(r, r->optim.step);

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
save_here(struct run *r, const struct state *s, struct err *e)
{
	bool first = r->comm->rank == 0;

	if (comm_agree(r->comm, first ? log_sync(&r->log, e) : 0, e) < 0)
		return -1;
	if (r->engine->get(r->engine, e) < 0)
		return run_lost(r, "saving after step", r->optim.step, e);
	if (checkpoint_save(r->set->out, &r->source, r->model, &r->grad, &r->optim, s, e) < 0)
		return -1;
	if (!first)
		return 0;
	if (s->best == s->step && checkpoint_best(r->set->out, s->best, e) < 0)
		return -1;
	prune(r, r->set->keep ? (long)r->set->keep : LONG_MAX);
	return 0;
}

/* Rank 0 writes; what became of it is for all. */
static int
save(struct run *r, struct err *e)
{
	const struct state *s = state_of(r);

	if (s->step == r->saved)
		return 0;
	if (comm_agree(r->comm, save_here(r, s, e), e) < 0)
		return -STATUS_IO;
	r->saved = s->step;
	return 0;
}

static int
finish_here(struct run *r, struct err *e)
{
	if (r->set->merge)
		lora_merge(r->model);
	if (checkpoint_finish(r->set->out, &r->source, r->model, state_of(r), e) < 0)
		return -1;
	if (!r->save_every)
		prune(r, 0);
	return 0;
}

static int
finish(struct run *r, struct err *e)
{
	if (r->save_every && save(r, e) < 0)
		return -STATUS_IO;
	if (r->engine->get(r->engine, e) < 0)
		return run_lost(r, "saving after step", r->optim.step, e);
	return comm_agree(r->comm, r->comm->rank == 0 ? finish_here(r, e) : 0, e) < 0 ? -STATUS_IO : 0;
}

/* What is due before the next step: an evaluation, a checkpoint. 0; 1 when a signal came; -1; -STATUS_IO. */
static int
between(struct run *r, struct err *e)
{
	long every = r->save_every, step = r->optim.step;
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

/* Before the first step. An exit status. */
static int
not_begun(int rc, const struct err *e)
{
	warn("%s", e->msg);
	return rc == -STATUS_IO ? STATUS_IO : STATUS_USAGE;
}

static int
run(struct run *r, const struct settings *set, struct comm *comm, int *sig)
{
	struct err e = { "" };
	int rc = run_setup(r, set, comm, &e);

	if (rc < 0)
		return not_begun(rc, &e);
	if (rc > 0) {
		warn("%s: finished already", set->out);
		return STATUS_OK;
	}
	watch_signals();
	rc = run_begin(r, &e);
	if (rc < 0)
		return not_begun(rc, &e);
	if (rc == 0)
		rc = steps(r, &e);
	log_close(&r->log);
	if (rc < 0)
		warn("%s", e.msg);
	else if (rc > 0)	/* of the reference at least a part is kept */
		warn("stopped; %s", r->saved > 0 || set->stage != STAGE_SFT ? "go on with --resume" : "nothing was done yet");
	*sig = rc > 0 ? run_stopped : 0;
	return rc < 0 ? -rc : STATUS_OK;
}

int
train(const struct settings *set, int *sig)
{
	struct comm comm;
	struct run r;
	struct err e;
	int status;

	*sig = 0;
	signal(SIGXFSZ, SIG_IGN);	/* a file-size limit is a full disk: write() says so */
	signal(SIGPIPE, SIG_IGN);	/* who read the progress may go, the run does not */
	if (comm_start(&comm, &e) < 0) {
		warn("%s", e.msg);
		return STATUS_USAGE;
	}
	status = run(&r, set, &comm, sig);
	run_free(&r);
	comm_end(&comm);
	return status;
}
