/* prefer.c - the steps of DPO and KTO, and their evaluation */
#include <math.h>
#include <stdlib.h>

#include "prefer.h"
#include "ranking.h"
#include "reward.h"

static int
add_portion(const struct run *r, struct judged *j, const struct portion *of, struct err *e)
{
	if (of->packs.n == 0)
		return 0;
	j->of = of;
	if (r->set->stage != STAGE_KTO)
		return 0;
	if (ranking_mismatch(&j->mixed, of->from, of->packs.sample, of->packs.n, r->sampler.cutoff, e) < 0)
		return -1;
	j->mismatched.from = &j->mixed;
	packs_fill(&j->mismatched.packs, NULL, j->mixed.n, 0);
	return 0;
}

int
prefer_data(struct run *r, struct err *e)
{
	struct err why;

	if (r->set->stage == STAGE_SFT)
		return 0;
	if (add_portion(r, &r->prefer.data, &r->data, e) < 0)
		return -1;
	return add_portion(r, &r->prefer.eval, &r->eval, &why) < 0 ? err_set(e, "to evaluate with: %s", why.msg) : 0;
}

static void
free_portion(struct judged *j)
{
	samples_free(&j->mixed);
	packs_free(&j->mismatched.packs);
}

void
prefer_free(struct prefer *p)
{
	free_portion(&p->data);
	free_portion(&p->eval);
	free(p->ref);
	free(p->now);
}

void
prefer_identify(struct run *r)
{
	static const char *const stages[] = { "sft", "dpo", "kto" };
	const struct settings *s = r->set;
	json_t *j = json_pack("{ss}", "stage", stages[s->stage]);

	if (s->stage != STAGE_SFT)
		json_object_set_new(j, "pref-beta", json_real(s->pref_beta));
	if (s->stage == STAGE_DPO)
		json_object_set_new(j, "label-smoothing", json_real(s->label_smoothing));
	if (s->stage == STAGE_KTO) {
		json_object_set_new(j, "desirable-weight", json_real(s->desirable));
		json_object_set_new(j, "undesirable-weight", json_real(s->undesirable));
	}
	json_object_update(r->identity, j);
	json_decref(j);
}

int
prefer_score(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to, double *logp, struct batch *b, double *loss,
	     struct err *e)
{
	int s = 0;

	*b = run_gather(r, of, order, from, to);
	b->weight = NULL;
	if (r->engine->pass(r->engine, b, false, 1, loss, e) < 0)
		return -1;
	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++)
			logp[k] = -run_sequence_loss(b, s++);
	}
	return 0;
}

/* ---- a step, or an evaluation ---- */

/* The packs of one that are this rank's, order[from..to); order NULL: as they are. */
struct pass {
	const struct judged *over;
	const uint32_t *order;
	size_t from, to;
	bool learn;		/* with the gradients */
	const char *what;	/* for the message that the device failed: "step" 3 */
	long step;
};

static size_t
pack_at(const struct pass *p, size_t i)
{
	return p->order ? p->order[i] : i;
}

/* What the packs have been so far. */
struct tally {
	double packs;			/* of all that is gone over, by all ranks */
	double loss, reward[2], n[2], right;	/* sums; rewards of the desired and of the others, and how many */
};

/* Each supervised token's part in the gradient: that of its response's log-probability, a token's loss being minus its own. */
static void
weigh(struct run *r, const struct batch *b, int s, double slope)
{
	for (int t = b->cu[s]; t < b->cu[s + 1]; t++)
		r->weight[t] = (float)-slope;
}

static bool
undesired(const struct judged *j, size_t k)
{
	return j->of->from->v[j->of->packs.sample[k]].undesired;
}

static double
reward_of(const struct run *r, const struct judged *j, size_t k, struct tally *y)
{
	double reward = r->set->pref_beta * (j->now[k] - j->ref[k]);
	bool bad = undesired(j, k);

	y->reward[bad] += reward;
	y->n[bad]++;
	return reward;
}

/* Sequences s and s + 1 of the micro-batch are a pair, whose samples are k and k + 1 of the portion. */
static void
weigh_pair(struct run *r, const struct batch *b, int s, const struct judged *j, size_t k, struct tally *y)
{
	const struct settings *set = r->set;
	double chosen = reward_of(r, j, k, y), rejected = reward_of(r, j, k + 1, y), slope;

	y->loss += dpo_loss((chosen - rejected) / set->pref_beta, set->pref_beta, set->label_smoothing, &slope);
	y->right += chosen > rejected;
	weigh(r, b, s, slope);
	weigh(r, b, s + 1, -slope);
}

static void
weigh_one(struct run *r, const struct batch *b, int s, const struct judged *j, size_t k, double z, struct tally *y)
{
	const struct settings *set = r->set;
	bool desired = !undesired(j, k);
	double ratio = reward_of(r, j, k, y) / set->pref_beta, slope;

	y->loss += kto_loss(ratio, z, desired, set->pref_beta, desired ? set->desirable : set->undesirable, &slope);
	y->right += desired ? ratio > z : ratio < z;
	weigh(r, b, s, slope);
}

/* The sum of which z of reward.h is the mean, over this rank's packs. 0; 1 when a signal came; -STATUS_IO. */
static int
divergence(struct run *r, const struct pass *p, double *sum, struct err *e)
{
	const struct judged *j = p->over;
	size_t next;

	for (size_t at = p->from; at < p->to; at = next) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		next = at + r->micro < p->to ? at + r->micro : p->to;
		if (prefer_score(r, &j->mismatched, p->order, at, next, j->mixed_now, &b, &loss, e) < 0)
			return run_lost(r, p->what, p->step, e);
		for (size_t i = at; i < next; i++)
			*sum += j->mixed_now[pack_at(p, i)] - j->mixed_ref[pack_at(p, i)];
	}
	return 0;
}

static struct rewards
rewards(const struct tally *y, bool kto, double z)
{
	struct rewards w = { .there = true };

	w.chosen = y->n[0] > 0 ? y->reward[0] / y->n[0] : NAN;
	w.rejected = y->n[1] > 0 ? y->reward[1] / y->n[1] : NAN;
	w.margin = w.chosen - w.rejected;
	w.accuracy = y->right / y->packs;
	w.kl = kto ? z : NAN;
	return w;
}

/* The losses of a micro-batch that was scored, and each response's part in the gradient. */
static void
judge(struct run *r, const struct pass *p, const struct batch *b, size_t from, size_t to, double z, struct tally *y)
{
	for (size_t i = from; i < to; i++) {
		size_t k = p->over->of->packs.at[pack_at(p, i)];

		if (r->set->stage == STAGE_KTO)
			weigh_one(r, b, (int)(i - from), p->over, k, z, y);
		else
			weigh_pair(r, b, 2 * (int)(i - from), p->over, k, y);
	}
}

static int
learn(struct run *r, const struct pass *p, struct batch *b, bool last, double packs, struct err *e)
{
	b->weight = r->weight;
	if (last)
		r->engine->last(r->engine);
	return r->engine->back(r->engine, b, (float)(1 / packs), e) < 0 ? run_lost(r, p->what, p->step, e) : 0;
}

/* This rank's packs: each response's loss, and its part in the gradient by what it is worth now. 0, also when a loss is not finite: from..to is then the
 * micro-batch that made it so; 1 when a signal came; -STATUS_IO. */
static int
go_over(struct run *r, struct pass *p, double z, struct tally *y, struct err *e)
{
	size_t next;

	for (size_t at = p->from; at < p->to; at = next) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		next = at + r->micro < p->to ? at + r->micro : p->to;
		if (prefer_score(r, p->over->of, p->order, at, next, p->over->now, &b, &loss, e) < 0)
			return run_lost(r, p->what, p->step, e);
		if (!isfinite(loss)) {
			y->loss = loss;
			p->from = at;
			p->to = next;
			return 0;
		}
		judge(r, p, &b, at, next, z, y);
		if (p->learn && learn(r, p, &b, next == p->to, y->packs, e) < 0)
			return -STATUS_IO;
	}
	return 0;
}

/* The same by all ranks, of `packs` together: the mean loss, and the rewards. 0; 1 when a signal came; -1; -STATUS_IO. */
static int
go_over_all(struct run *r, struct pass *p, size_t packs, const char *name, long step, double *loss, struct rewards *w, struct err *e)
{
	bool kto = r->set->stage == STAGE_KTO;
	struct tally y = { .packs = (double)packs };
	double z = 0, own;
	int rc = kto ? comm_agree(r->comm, divergence(r, p, &z, e), e) : 0;

	if (rc != 0)
		return rc;
	comm_sum(r->comm, &z, 1);
	z = fmax(0, z / y.packs);
	if (!isfinite(z))
		return run_not_finite(r, name, z, step, p->over->of, p->order, p->from, p->to, e);
	rc = comm_agree(r->comm, go_over(r, p, z, &y, e), e);
	if (rc != 0)
		return rc;
	own = y.loss;
	comm_sum(r->comm, (double *)&y, sizeof y / sizeof(double));
	y.packs = (double)packs;
	if (!isfinite(y.loss))
		return run_not_finite(r, name, y.loss, step, p->over->of, p->order, p->from, isfinite(own) ? p->from : p->to, e);
	*loss = y.loss / y.packs;
	*w = rewards(&y, kto, z);
	return 0;
}

int
prefer_accumulate(struct run *r, const uint32_t *order, size_t from, size_t to, size_t packs, struct entry *en, struct err *e)
{
	struct pass p = { &r->prefer.data, order, from, to, true, "step", en->step };

	return go_over_all(r, &p, packs, "the loss", en->step, &en->loss, &en->rewards, e);
}

int
prefer_evaluate(struct run *r, size_t from, size_t to, struct evaluation *ev, struct err *e)
{
	struct pass p = { &r->prefer.eval, NULL, from, to, false, "evaluation after step", ev->step };

	return go_over_all(r, &p, r->eval.packs.n, "the evaluation's loss", ev->step, &ev->loss, &ev->rewards, e);
}
