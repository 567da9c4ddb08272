/* input.c - the data of a run: files into samples, samples into what is trained on and what is evaluated, and both into packs */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "data.h"
#include "dataset.h"
#include "order.h"
#include "run.h"

#define SPLIT_EPOCH UINT64_MAX	/* of the order that chooses what is evaluated: no epoch of the run has its number */

/* One --data or --eval-data. */
static int
read_one(struct run *r, struct samples *s, const char *name, uint64_t *hash, struct err *e)
{
	size_t most = (size_t)r->set->max_samples;
	struct dataset d;
	int rc = 0;

	if (r->set->dataset_info)
		rc = dataset_find(&d, r->set->dataset_info, name, e);
	else
		dataset_plain(&d, name);
	if (rc == 0) {
		if (d.most && (!most || d.most < most))
			most = d.most;
		r->sampler.shape = &d.shape;
		r->sampler.columns = 0;
		rc = data_read(s, &r->sampler, d.path, most, hash, e);
		if (rc == 0 && s->record > 0)
			rc = dataset_check(&d, r->sampler.columns, e);
		if (rc == 0 && s->record < d.most && s->record < most)
			rc = err_set(e, "%s: has %zu records, fewer than the \"num_samples\" of dataset_info.json; none is taken twice here", d.path, s->record);
		r->sampler.shape = NULL;
	}
	dataset_free(&d);
	return rc;
}

static int
read_all(struct run *r, struct samples *s, const struct opt_list *names, uint64_t *hash, struct err *e)
{
	for (size_t i = 0; i < names->n; i++) {
		s->file = (unsigned)i;
		if (read_one(r, s, names->v[i], hash, e) < 0)
			return -1;
	}
	if (s->n == 0)
		return err_set(e, "%s: no sample with a supervised token (%zu dropped)", names->v[0], s->dropped);
	if (s->n > UINT32_MAX - 1)
		return err_set(e, "%s: more than %" PRIu32 " samples", names->v[0], UINT32_MAX - 1);
	return 0;
}

/* Packs of the samples pick[0..n) of s, n > 0. */
static void
fill(const struct run *r, struct portion *p, const struct samples *s, const uint32_t *pick, size_t n)
{
	int *length = xcalloc(n, sizeof *length);

	for (size_t i = 0; i < n; i++)
		length[i] = s->v[pick[i]].n;
	packs_fill(&p->packs, length, n, r->set->pack ? r->sampler.cutoff : 0);
	for (size_t i = 0; i < n; i++)
		p->packs.sample[i] = pick[p->packs.sample[i]];
	if (r->set->stage == STAGE_DPO)
		packs_pair(&p->packs);
	p->from = s;
	free(length);
}

static void
fill_all(const struct run *r, struct portion *p, const struct samples *s)
{
	uint32_t *pick = xcalloc(s->n, sizeof *pick);

	for (size_t i = 0; i < s->n; i++)
		pick[i] = (uint32_t)i;
	fill(r, p, s, pick, s->n);
	free(pick);
}

static int
ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The first sample of each record, and behind the last one s->n, into first[s->n + 1]: a record's are together. How many records. */
static size_t
find_records(const struct samples *s, uint32_t *first)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (i == 0 || s->v[i].record != s->v[i - 1].record || s->v[i].file != s->v[i - 1].file)
			first[n++] = (uint32_t)i;
	first[n] = (uint32_t)s->n;
	return n;
}

/* The packs of the records pick[0..n). */
static void
fill_records(const struct run *r, struct portion *p, const uint32_t *first, const uint32_t *pick, size_t n)
{
	uint32_t *sample = xcalloc(r->samples.n, sizeof *sample);
	size_t samples = 0;

	for (size_t i = 0; i < n; i++)
		for (uint32_t k = first[pick[i]]; k < first[pick[i] + 1]; k++)
			sample[samples++] = k;
	fill(r, p, &r->samples, sample, samples);
	free(sample);
}

/* Set n of the records aside for the evaluation, chosen by the seed; both parts keep the order of the data. */
static void
split(struct run *r, const uint32_t *first, size_t all, size_t n)
{
	uint32_t *order = xcalloc(all, sizeof *order);

	order_fill(order, all, (uint64_t)r->set->seed, SPLIT_EPOCH);
	qsort(order, n, sizeof *order, ascending);
	qsort(order + n, all - n, sizeof *order, ascending);
	fill_records(r, &r->eval, first, order, n);
	fill_records(r, &r->data, first, order + n, all - n);
	free(order);
}

/* What is trained on, and by --eval-ratio evaluated. A record of two responses stays whole. */
static int
divide(struct run *r, struct err *e)
{
	uint32_t *first = xcalloc(r->samples.n + 1, sizeof *first);
	size_t all = find_records(&r->samples, first);
	double ratio = r->set->eval_ratio, aside = ratio < 1 ? ceil(ratio * (double)all) : floor(ratio);
	int rc = 0;

	if (aside >= (double)all)
		rc = err_set(e, "--eval-ratio %g leaves none of %zu %s to train on", ratio, all, r->set->stage == STAGE_SFT ? "samples" : "records");
	else if (aside > 0)
		split(r, first, all, (size_t)aside);
	else
		fill_all(r, &r->data, &r->samples);
	free(first);
	return rc;
}

int
run_read_data(struct run *r, struct err *e)
{
	const struct settings *set = r->set;

	if (read_all(r, &r->samples, &set->data, &r->data.hash, e) < 0)
		return -1;
	r->data.hash = samples_hash(&r->samples, r->data.hash);	/* dataset_info.json may have changed */
	if (set->eval_data.n > 0 && read_all(r, &r->eval_samples, &set->eval_data, &r->eval.hash, e) < 0)
		return -1;
	if (set->eval_data.n > 0)
		fill_all(r, &r->eval, &r->eval_samples);
	return divide(r, e);
}
