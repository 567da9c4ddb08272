/* prefer.c - the reference's log-probabilities, and the steps of DPO and KTO */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "clock.h"
#include "files.h"
#include "prefer.h"
#include "ranking.h"
#include "reward.h"

static const char magic[8] = "SAREFER1";

int
prefer_data(struct run *r, struct err *e)
{
	struct prefer *p = &r->prefer;

	if (r->set->stage != STAGE_KTO)
		return 0;
	if (ranking_mismatch(&p->mixed, &r->samples, r->sampler.cutoff, e) < 0)
		return -1;
	p->mismatched = (struct portion){ .from = &p->mixed };
	packs_fill(&p->mismatched.packs, NULL, p->mixed.n, 0);
	return 0;
}

void
prefer_free(struct prefer *p)
{
	samples_free(&p->mixed);
	packs_free(&p->mismatched.packs);
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

/* Forward pass over packs order[from..to): logp[i] of each sample i in them, and the sum of losses. *b stays laid out, and what its backward needs is
 * kept. 0, or -1 when the device failed. */
static int
score(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to, double *logp, struct batch *b, double *loss, struct err *e)
{
	int s = 0;

	*b = run_gather(r, of, order, from, to);
	b->weight = NULL;
	if (r->engine->pass(r->engine, b, false, 1, loss, e) < 0)
		return -1;
	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++)
			logp[of->packs.sample[k]] = -run_sequence_loss(b, s++);
	}
	return 0;
}

/* ---- the reference ---- */

/* Which of the packs it was. */
static int
reference_not_finite(const struct run *r, const struct portion *of, const double *logp, size_t from, size_t to, struct err *e)
{
	char where[300];
	size_t k = of->packs.at[from];

	while (k + 1 < of->packs.at[to] && isfinite(logp[of->packs.sample[k]]))
		k++;
	return err_set(e, "the reference's loss is not finite at %s: is the model whole?", run_where(r, of->from, of->packs.sample[k], where, sizeof where));
}

/* Each rank does its part. */
static int
score_all(struct run *r, const struct portion *of, double *logp, struct err *e)
{
	double shown = clock_seconds();
	size_t from = 0, end = of->packs.n, to;

	for (run_share(r, of, NULL, &from, &end); from < end; from = to) {
		struct batch b;
		double loss;

		to = from + r->micro < end ? from + r->micro : end;
		if (score(r, of, NULL, from, to, logp, &b, &loss, e) < 0)
			return run_lost(r, "the reference before step", r->saved > 0 ? r->saved + 1 : 1, e);
		if (!isfinite(loss))
			return reference_not_finite(r, of, logp, from, to, e);
		if (clock_seconds() - shown > 10) {
			shown = clock_seconds();
			warn("reference: %zu of %zu", to, end);
		}
	}
	return 0;
}

static uint64_t
key_of(const struct run *r)
{
	uint64_t key = samples_hash(&r->samples, XXH3_64bits(r->model->w.all, r->model->w.n * sizeof(float)));

	return r->set->stage == STAGE_KTO ? samples_hash(&r->prefer.mixed, key) : key;
}

struct header {
	char magic[8];
	uint64_t key, n;
};

/* Was it there, whole, and of this key? */
static bool
read_cache(const char *path, const struct header *want, double *values, size_t n)
{
	size_t bytes = sizeof *want + n * sizeof *values;
	struct buf b = BUF_INIT(bytes + 64);
	struct err e;
	uint64_t sum;
	bool good = access(path, F_OK) == 0 && buf_read_file(&b, path, &e) == 0 && b.n == bytes + sizeof sum && memcmp(b.p, want, sizeof *want) == 0;

	if (good) {
		memcpy(&sum, b.p + bytes, sizeof sum);
		good = sum == XXH3_64bits(b.p, bytes);
	}
	if (good)
		memcpy(values, b.p + sizeof *want, n * sizeof *values);
	buf_free(&b);
	return good;
}

static int
write_cache(const char *path, const struct header *h, const double *values, size_t n, struct err *e)
{
	size_t bytes = sizeof *h + n * sizeof *values;
	char *p = xmalloc(bytes + sizeof(uint64_t));
	uint64_t sum;
	int rc;

	memcpy(p, h, sizeof *h);
	memcpy(p + sizeof *h, values, n * sizeof *values);
	sum = XXH3_64bits(p, bytes);
	memcpy(p + bytes, &sum, sizeof sum);
	rc = file_write(path, p, bytes + sizeof sum, e);
	free(p);
	return rc;
}

/* ref[all], by all ranks together, and into the cache. */
static int
make_reference(struct run *r, const char *path, const struct header *h, size_t all, struct err *e)
{
	struct prefer *p = &r->prefer;
	int rc = score_all(r, &r->data, p->ref, e);

	if (rc == 0 && all > h->n)
		rc = score_all(r, &p->mismatched, p->ref + h->n, e);
	rc = comm_agree(r->comm, rc, e);
	if (rc < 0)
		return rc;
	comm_sum(r->comm, p->ref, all);	/* what is another rank's is 0 here */
	return comm_agree(r->comm, r->comm->rank == 0 ? write_cache(path, h, p->ref, all, e) : 0, e);
}

int
prefer_reference(struct run *r, struct err *e)
{
	struct prefer *p = &r->prefer;
	size_t n = r->samples.n, all = r->set->stage == STAGE_KTO ? 2 * n : n;
	struct header h = { .n = n };
	bool cached;
	char *path;
	int rc = 0;

	if (r->set->stage == STAGE_SFT)
		return 0;
	memcpy(h.magic, magic, sizeof magic);
	h.key = key_of(r);
	path = path_join(r->set->out, "reference.bin");
	p->ref = xcalloc(all, sizeof *p->ref);
	p->now = xcalloc(all, sizeof *p->now);
	cached = r->comm->rank == 0 && read_cache(path, &h, p->ref, all);
	comm_broadcast(r->comm, &cached, sizeof cached);
	if (cached)
		comm_broadcast(r->comm, p->ref, all * sizeof *p->ref);
	else
		rc = make_reference(r, path, &h, all, e);
	free(path);
	return rc;
}

/* ---- a step ---- */

/* What a step's packs have been so far. */
struct tally {
	double packs;			/* of the whole step */
	double loss, reward[2], n[2], right;	/* sums; rewards of the desired and of the others, and how many */
};

/* Each supervised token's part in the gradient: that of its response's log-probability, a token's loss being minus its own. */
static void
weigh(struct run *r, const struct batch *b, int s, double slope)
{
	for (int t = b->cu[s]; t < b->cu[s + 1]; t++)
		r->weight[t] = (float)-slope;
}

static double
reward_of(const struct run *r, uint32_t sample, struct tally *y)
{
	double reward = r->set->pref_beta * (r->prefer.now[sample] - r->prefer.ref[sample]);
	bool undesired = r->samples.v[sample].undesired;

	y->reward[undesired] += reward;
	y->n[undesired]++;
	return reward;
}

/* Sequences s and s + 1 are a pair. */
static void
weigh_pair(struct run *r, const struct batch *b, int s, const uint32_t *sample, struct tally *y)
{
	const struct settings *set = r->set;
	double chosen = reward_of(r, sample[0], y), rejected = reward_of(r, sample[1], y), slope;

	y->loss += dpo_loss((chosen - rejected) / set->pref_beta, set->pref_beta, set->label_smoothing, &slope);
	y->right += chosen > rejected;
	weigh(r, b, s, slope);
	weigh(r, b, s + 1, -slope);
}

static void
weigh_one(struct run *r, const struct batch *b, int s, uint32_t sample, double z, struct tally *y)
{
	const struct settings *set = r->set;
	bool desired = !r->samples.v[sample].undesired;
	double ratio = reward_of(r, sample, y) / set->pref_beta, slope;

	y->loss += kto_loss(ratio, z, desired, set->pref_beta, desired ? set->desirable : set->undesirable, &slope);
	y->right += desired ? ratio > z : ratio < z;
	weigh(r, b, s, slope);
}

/* The sum of which z of reward.h is the mean, over this rank's packs. 0; 1 when a signal came; -STATUS_IO. */
static int
divergence(struct run *r, const uint32_t *order, size_t from, size_t to, double *sum, struct err *e)
{
	const struct prefer *p = &r->prefer;
	size_t n = r->samples.n, next;

	for (size_t at = from; at < to; at = next) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		next = at + r->micro < to ? at + r->micro : to;
		if (score(r, &p->mismatched, order, at, next, p->now + n, &b, &loss, e) < 0)
			return run_lost(r, "step", r->optim.step + 1, e);
		for (size_t i = at; i < next; i++)
			*sum += p->now[n + order[i]] - p->ref[n + order[i]];
	}
	return 0;
}

static void
conclude(const struct tally *y, bool kto, double z, struct entry *en)
{
	struct rewards *w = &en->rewards;

	en->loss = y->loss / y->packs;
	w->there = true;
	w->chosen = y->n[0] > 0 ? y->reward[0] / y->n[0] : NAN;
	w->rejected = y->n[1] > 0 ? y->reward[1] / y->n[1] : NAN;
	w->margin = w->chosen - w->rejected;
	w->accuracy = y->right / y->packs;
	w->kl = kto ? z : NAN;
}

/* This rank's packs of a step: each response's part in the gradient by what it is worth now. 0, also when a loss is not finite: from..to is then the micro-batch
 * that made it so; 1 when a signal came; -STATUS_IO. */
static int
accumulate(struct run *r, const uint32_t *order, size_t *from, size_t *to, double z, struct tally *y, struct err *e)
{
	const uint32_t *sample = r->data.packs.sample;
	size_t next;

	for (size_t at = *from; at < *to; at = next) {
		struct batch b;
		double loss;

		if (run_stopped)
			return 1;
		next = at + r->micro < *to ? at + r->micro : *to;
		if (score(r, &r->data, order, at, next, r->prefer.now, &b, &loss, e) < 0)
			return run_lost(r, "step", r->optim.step + 1, e);
		if (!isfinite(loss)) {
			y->loss = loss;
			*from = at;
			*to = next;
			return 0;
		}
		for (size_t i = at; i < next; i++) {
			size_t k = r->data.packs.at[order[i]];

			if (r->set->stage == STAGE_KTO)
				weigh_one(r, &b, (int)(i - at), sample[k], z, y);
			else
				weigh_pair(r, &b, 2 * (int)(i - at), sample + k, y);
		}
		b.weight = r->weight;
		if (next == *to)
			r->engine->last(r->engine);
		if (r->engine->back(r->engine, &b, (float)(1 / y->packs), e) < 0)
			return run_lost(r, "step", r->optim.step + 1, e);
	}
	return 0;
}

int
prefer_accumulate(struct run *r, const uint32_t *order, size_t from, size_t to, size_t packs, struct entry *en, struct err *e)
{
	bool kto = r->set->stage == STAGE_KTO;
	struct tally y = { .packs = (double)packs };
	double z = 0, own;
	int rc = kto ? comm_agree(r->comm, divergence(r, order, from, to, &z, e), e) : 0;

	if (rc != 0)
		return rc;
	comm_sum(r->comm, &z, 1);
	z = fmax(0, z / y.packs);
	if (!isfinite(z))
		return run_not_finite(r, "the loss", z, en->step, &r->data, order, from, to, e);
	rc = comm_agree(r->comm, accumulate(r, order, &from, &to, z, &y, e), e);
	if (rc != 0)
		return rc;
	own = y.loss;
	comm_sum(r->comm, (double *)&y, sizeof y / sizeof(double));
	y.packs = (double)packs;
	if (!isfinite(y.loss))
		return run_not_finite(r, "the loss", y.loss, en->step, &r->data, order, from, isfinite(own) ? from : to, e);
	conclude(&y, kto, z, en);
	return 0;
}
