/* eval.c - the loss on the samples that are not trained on */
#include <math.h>
#include <stdio.h>

#include "clock.h"
#include "run.h"

bool
run_eval_due(const struct run *r)
{
	long step = r->optim.step;

	return r->eval.packs.n > 0 && step > 0 && step != r->state.evaluated && (step % r->eval_every == 0 || step == r->schedule.steps);
}

static int
sum_losses(struct run *r, double *sum)
{
	size_t n = r->eval.packs.n, to;

	*sum = 0;
	for (size_t from = 0; from < n; from = to) {
		struct batch b;

		if (run_stopped)
			return 1;
		to = from + r->micro < n ? from + r->micro : n;
		b = run_gather(r, &r->eval, NULL, from, to);
		*sum += model_train(r->model, r->acts, &b, NULL, 1);
	}
	return 0;
}

int
run_evaluate(struct run *r, bool *better, struct err *e)
{
	struct amount a = run_amount(r, &r->eval, NULL, 0, r->eval.packs.n);
	double start = clock_seconds(), sum;
	struct state *s = &r->state;
	struct evaluation ev = { .step = r->optim.step, .supervised = (long)a.supervised };

	if (sum_losses(r, &sum) != 0)
		return 1;
	ev.loss = sum / run_divisor(r, &a);
	ev.seconds = clock_seconds() - start;
	if (!isfinite(ev.loss))
		return run_not_finite(r, "the evaluation's loss", ev.loss, r->optim.step, &r->eval, NULL, 0, r->eval.packs.n, e);
	*better = s->best == 0 || ev.loss < s->best_loss;
	ev.best = *better;
	if (*better) {
		s->best = r->optim.step;
		s->best_loss = ev.loss;
	}
	s->evaluated = r->optim.step;
	return log_eval(&r->log, &ev, e) < 0 ? -STATUS_IO : 0;
}
