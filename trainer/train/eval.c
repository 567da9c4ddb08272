/* eval.c - the loss on the samples that are not trained on */
#include <math.h>
#include <stdio.h>

#include "clock.h"
#include "prefer.h"
#include "run.h"

bool
run_eval_due(const struct run *r)
{
	long step = r->optim.step;

	return r->eval.packs.n > 0 && step > 0 && step != r->state.evaluated && (step % r->eval_every == 0 || step == r->schedule.steps);
}

/* Over this rank's packs from..to. 0; 1 when a signal came; -STATUS_IO. */
static int
sum_losses(struct run *r, size_t from, size_t to, double *sum, struct err *e)
{
	size_t next;

	*sum = 0;
	for (; from < to; from = next) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		next = from + r->micro < to ? from + r->micro : to;
		b = run_gather(r, &r->eval, NULL, from, next);
		if (r->engine->pass(r->engine, &b, false, 1, &loss, e) < 0)
			return run_lost(r, "evaluation after step", r->optim.step, e);
		*sum += loss;
	}
	return 0;
}

/* The loss by all ranks, each its packs from..to. 0; 1 when a signal came; -1; -STATUS_IO. */
static int
mean_loss(struct run *r, size_t from, size_t to, double divisor, struct evaluation *ev, struct err *e)
{
	double sum;
	int rc = comm_agree(r->comm, sum_losses(r, from, to, &sum, e), e);

	if (rc != 0)
		return rc;
	comm_sum(r->comm, &sum, 1);
	ev->loss = sum / divisor;
	if (!isfinite(ev->loss))
		return run_not_finite(r, "the evaluation's loss", ev->loss, r->optim.step, &r->eval, NULL, from, to, e);
	return 0;
}

int
run_evaluate(struct run *r, bool *better, struct err *e)
{
	size_t from = 0, to = r->eval.packs.n;
	struct amount a = run_amount(r, &r->eval, NULL, from, to);
	double start = clock_seconds();
	struct state *s = &r->state;
	struct evaluation ev = { .step = r->optim.step, .supervised = (long)a.supervised };
	int rc;

	run_share(r, &r->eval, NULL, &from, &to);
	if (r->set->stage == STAGE_SFT)
		rc = mean_loss(r, from, to, run_divisor(r, &a), &ev, e);
	else
		rc = prefer_evaluate(r, from, to, &ev, e);
	if (rc != 0)
		return rc;
	ev.seconds = clock_seconds() - start;
	*better = s->best == 0 || ev.loss < s->best_loss;
	ev.best = *better;
	if (*better) {
		s->best = r->optim.step;
		s->best_loss = ev.loss;
	}
	s->evaluated = r->optim.step;
	return comm_agree(r->comm, r->comm->rank == 0 && log_eval(&r->log, &ev, e) < 0 ? -STATUS_IO : 0, e);
}
