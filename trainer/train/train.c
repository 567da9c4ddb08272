/* train.c - the steps of a run */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "buf.h"
#include "run.h"

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
	stopped = sig;
}

/* The first SIGINT or SIGTERM asks for an end, a second one is obeyed at once. A file-size limit is a full disk: write() says so. */
static void
watch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND };

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	signal(SIGXFSZ, SIG_IGN);
}

/* The samples order[from..to) as one micro-batch. */
static struct batch
gather(struct run *r, const uint32_t *order, size_t from, size_t to)
{
	struct batch b = { .ids = r->ids, .target = r->target, .pos = r->pos, .cu = r->cu };

	for (size_t i = from; i < to; i++) {
		const struct sample *s = &r->data.v[order[i]];

		memcpy(r->ids + b.T, r->data.ids + s->at, (size_t)s->n * sizeof *r->ids);
		memcpy(r->target + b.T, r->data.target + s->at, (size_t)s->n * sizeof *r->target);
		for (int t = 0; t < s->n; t++)
			r->pos[b.T + t] = t;
		r->cu[b.nseq++] = b.T;
		b.T += s->n;
	}
	r->cu[b.nseq] = b.T;
	return b;
}

/* "loss is nan at step 3 (lines 4, 17, 2 of data.jsonl)": the samples that a person has to look at. */
static int
not_finite(const struct run *r, const char *what, double x, long step, const uint32_t *order, size_t from, size_t to, struct err *e)
{
	struct buf b = BUF_INIT(300);

	for (size_t i = from; i < to; i++)
		if (buf_addf(&b, "%s%zu", i > from ? ", " : "", r->data.v[order[i]].line) < 0)
			break;
	err_set(e, "step %ld: %s is %f; lines %s of %s; nothing was saved", step, what, x, b.p, r->set->data);
	buf_free(&b);
	return -1;
}

/* The place of step k (from 0) in the data. */
struct place {
	long epoch;
	size_t from, to;	/* in the epoch's order */
};

static struct place
place_of(const struct run *r, long k)
{
	struct place p = { .epoch = k / r->steps_per_epoch, .from = (size_t)(k % r->steps_per_epoch) * r->window };

	p.to = p.from + r->window < r->data.n ? p.from + r->window : r->data.n;
	return p;
}

/* Gradients of one step into r->grad; what it was like into *en. 0; 1 when a signal came; -1. */
static int
gradients(struct run *r, long k, struct entry *en, struct err *e)
{
	struct place p = place_of(r, k);
	const uint32_t *order = run_order(r, p.epoch);
	size_t to;

	for (size_t i = p.from; i < p.to; i++) {
		en->tokens += r->data.v[order[i]].n;
		en->supervised += r->data.v[order[i]].supervised;
	}
	memset(r->grad.all, 0, r->grad.n * sizeof(float));
	for (size_t from = p.from; from < p.to; from = to) {
		struct batch b;
		double scale, loss;

		if (stopped)
			return 1;
		to = from + r->micro < p.to ? from + r->micro : p.to;
		b = gather(r, order, from, to);
		scale = r->set->loss_norm == LOSS_SAMPLE ? 1.0 / r->data.v[order[from]].supervised / (double)(p.to - p.from) : 1.0 / (double)en->supervised;
		loss = model_train(r->model, r->acts, &b, &r->grad, (float)scale);
		if (!isfinite(loss))
			return not_finite(r, "the loss", loss, k + 1, order, from, to, e);
		en->loss += loss * scale;
	}
	en->grad_norm = optim_norm(r->model, &r->grad);
	if (!isfinite(en->grad_norm))
		return not_finite(r, "the gradients' norm", en->grad_norm, k + 1, order, p.from, p.to, e);
	en->epoch = (double)p.epoch + (double)p.to / (double)r->data.n;
	return 0;
}

static int
one_step(struct run *r, struct err *e)
{
	long k = r->optim.step;
	struct entry en = { .step = k + 1, .lr = schedule_lr(&r->schedule, k) };
	double start = log_now();
	int rc = gradients(r, k, &en, e);

	if (rc != 0)
		return rc;
	optim_step(&r->optim, r->model, &r->grad, en.grad_norm, en.lr);
	en.seconds = fmax(log_now() - start, 1e-6);
	return log_step(&r->log, &en, e) < 0 ? -STATUS_IO : 0;
}

static struct state
state_of(const struct run *r)
{
	struct place p = place_of(r, r->optim.step);

	return (struct state){ .step = r->optim.step, .epoch = p.epoch, .cursor = (long)p.from, .log_bytes = r->log.bytes, .run = r->identity };
}

static int
save(struct run *r, struct err *e)
{
	struct state s = state_of(r);

	if (s.step == r->saved)
		return 0;
	if (log_sync(&r->log, e) < 0 || checkpoint_save(r->set->out, &r->source, r->model, &r->optim, &s, e) < 0)
		return -STATUS_IO;
	r->saved = s.step;
	checkpoint_prune(r->set->out, r->set->keep ? (long)r->set->keep : LONG_MAX);
	return 0;
}

static int
finish(struct run *r, struct err *e)
{
	struct state s = state_of(r);

	if (r->set->save_every && save(r, e) < 0)
		return -STATUS_IO;
	if (checkpoint_finish(r->set->out, &r->source, r->model, &s, e) < 0)
		return -STATUS_IO;
	if (!r->set->save_every)
		checkpoint_prune(r->set->out, 0);
	return 0;
}

/* All the steps that are left. 0; 1 when a signal came, all saved; -1 when the numbers went wrong; -STATUS_IO. */
static int
steps(struct run *r, struct err *e)
{
	long every = (long)r->set->save_every;
	int rc;

	while (r->optim.step < r->schedule.steps) {
		rc = one_step(r, e);
		if (rc > 0)
			return r->optim.step > 0 && save(r, e) < 0 ? -STATUS_IO : 1;
		if (rc < 0)
			return rc;
		if (every && r->optim.step % every == 0 && r->optim.step < r->schedule.steps && save(r, e) < 0)
			return -STATUS_IO;
	}
	return finish(r, e);
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
		*sig = rc > 0 ? stopped : 0;
	}
	run_free(&r);
	return status;
}
