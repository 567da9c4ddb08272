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

/* Forward pass over packs order[from..to): logp[i] of each sample i in them. *b stays laid out, and what its backward needs is kept. The sum of losses. */
static double
score(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to, double *logp, struct batch *b)
{
	double loss;
	int s = 0;

	*b = run_gather(r, of, order, from, to);
	b->weight = NULL;
	loss = model_train(r->model, r->acts, b, NULL, 1);
	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++)
			logp[of->packs.sample[k]] = -run_sequence_loss(b, s++);
	}
	return loss;
}

/* ---- the reference ---- */

static int
score_all(struct run *r, const struct portion *of, double *logp, struct err *e)
{
	double shown = clock_seconds();
	size_t to;

	for (size_t from = 0; from < of->packs.n; from = to) {
		struct batch b;

		to = from + r->micro < of->packs.n ? from + r->micro : of->packs.n;
		if (!isfinite(score(r, of, NULL, from, to, logp, &b)))
			return err_set(e, "the reference's loss is not finite in packs %zu to %zu", from + 1, to);
		if (clock_seconds() - shown > 10) {
			shown = clock_seconds();
			warn("reference: %zu of %zu", to, of->packs.n);
		}
	}
	return 0;
}

static void
hash_samples(XXH3_state_t *h, const struct samples *s)
{
	XXH3_64bits_update(h, s->ids, s->tokens * sizeof *s->ids);
	XXH3_64bits_update(h, s->target, s->tokens * sizeof *s->target);
	for (size_t i = 0; i < s->n; i++)
		XXH3_64bits_update(h, &s->v[i].n, sizeof s->v[i].n);
}

static uint64_t
key_of(const struct run *r)
{
	XXH3_state_t *h = XXH3_createState();
	uint64_t key;

	if (!h)
		die(STATUS_IO, "out of memory");
	XXH3_64bits_reset(h);
	XXH3_64bits_update(h, r->model->w.all, r->model->w.n * sizeof(float));
	hash_samples(h, &r->samples);
	if (r->set->stage == STAGE_KTO)
		hash_samples(h, &r->prefer.mixed);
	key = XXH3_64bits_digest(h);
	XXH3_freeState(h);
	return key;
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

int
prefer_reference(struct run *r, struct err *e)
{
	struct prefer *p = &r->prefer;
	size_t n = r->samples.n, all = r->set->stage == STAGE_KTO ? 2 * n : n;
	struct header h = { .n = n };
	char *path;
	int rc = 0;

	if (r->set->stage == STAGE_SFT)
		return 0;
	memcpy(h.magic, magic, sizeof magic);
	h.key = key_of(r);
	path = path_join(r->set->out, "reference.bin");
	p->ref = xcalloc(all, sizeof *p->ref);
	p->now = xcalloc(all, sizeof *p->now);
	if (!read_cache(path, &h, p->ref, all)) {
		rc = score_all(r, &r->data, p->ref, e);
		if (rc == 0 && all > n)
			rc = score_all(r, &p->mismatched, p->ref + n, e);
		if (rc == 0)
			rc = write_cache(path, &h, p->ref, all, e);
	}
	free(path);
	return rc;
}

/* ---- a step ---- */

/* What a step's packs have been so far. */
struct tally {
	double loss, reward[2];		/* sums; rewards of the desired and of the others */
	size_t n[2], right, packs;
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

/* z of reward.h over the packs of a step. */
static int
divergence(struct run *r, const uint32_t *order, size_t from, size_t to, double *z)
{
	const struct prefer *p = &r->prefer;
	size_t n = r->samples.n, next;
	double sum = 0;

	for (size_t at = from; at < to; at = next) {
		struct batch b;

		if (run_stopped)
			return 1;
		next = at + r->micro < to ? at + r->micro : to;
		score(r, &p->mismatched, order, at, next, p->now + n, &b);
		for (size_t i = at; i < next; i++)
			sum += p->now[n + order[i]] - p->ref[n + order[i]];
	}
	*z = fmax(0, sum / (double)(to - from));
	return 0;
}

static void
conclude(const struct tally *y, bool kto, double z, struct entry *en)
{
	struct rewards *w = &en->rewards;

	en->loss = y->loss / (double)y->packs;
	w->there = true;
	w->chosen = y->n[0] ? y->reward[0] / (double)y->n[0] : NAN;
	w->rejected = y->n[1] ? y->reward[1] / (double)y->n[1] : NAN;
	w->margin = w->chosen - w->rejected;
	w->accuracy = (double)y->right / (double)y->packs;
	w->kl = kto ? z : NAN;
}

int
prefer_accumulate(struct run *r, const uint32_t *order, size_t from, size_t to, struct entry *en, struct err *e)
{
	bool kto = r->set->stage == STAGE_KTO;
	struct tally y = { .packs = to - from };
	double z = 0, loss;
	size_t next;

	if (kto && divergence(r, order, from, to, &z) != 0)
		return 1;
	for (size_t at = from; at < to; at = next) {
		const uint32_t *sample = r->data.packs.sample;
		struct batch b;

		if (run_stopped)
			return 1;
		next = at + r->micro < to ? at + r->micro : to;
		loss = score(r, &r->data, order, at, next, r->prefer.now, &b);
		if (!isfinite(loss) || !isfinite(z))
			return run_not_finite(r, "the loss", isfinite(loss) ? z : loss, en->step, &r->data, order, at, next, e);
		for (size_t i = at; i < next; i++) {
			size_t k = r->data.packs.at[order[i]];

			if (kto)
				weigh_one(r, &b, (int)(i - at), sample[k], z, &y);
			else
				weigh_pair(r, &b, 2 * (int)(i - at), sample + k, &y);
		}
		b.weight = r->weight;
		model_back(r->model, r->acts, &b, &r->grad, (float)(1 / (double)y.packs));
	}
	conclude(&y, kto, z, en);
	return 0;
}
