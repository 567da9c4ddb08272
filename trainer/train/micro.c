/* micro.c - micro-batches: packs laid behind one another */
#include <stdio.h>
#include <string.h>

#include "plan.h"
#include "run.h"

static void
add_sample(struct run *r, struct batch *b, const struct samples *from, uint32_t number)
{
	const struct sample *s = &from->v[number];

	memcpy(r->ids + b->T, from->ids + s->at, (size_t)s->n * sizeof *r->ids);
	memcpy(r->target + b->T, from->target + s->at, (size_t)s->n * sizeof *r->target);
	for (int t = 0; t < s->n; t++) {
		r->pos[b->T + t] = t;
		r->weight[b->T + t] = 1 / (float)s->supervised;
	}
	r->cu[b->nseq++] = b->T;
	b->T += s->n;
}

static struct batch
begin(struct run *r)
{
	return (struct batch){ .ids = r->ids, .target = r->target, .pos = r->pos, .cu = r->cu, .loss = r->loss,
			       .weight = r->set->loss_norm == LOSS_SAMPLE ? r->weight : NULL };
}

struct batch
run_gather(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to)
{
	struct batch b = begin(r);

	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++)
			add_sample(r, &b, of->from, of->packs.sample[k]);
	}
	r->cu[b.nseq] = b.T;
	return b;
}

double
run_sequence_loss(const struct batch *b, int s)
{
	double sum = 0;

	for (int t = b->cu[s]; t < b->cu[s + 1]; t++)
		sum += b->target[t] >= 0 ? b->loss[t] : 0;
	return sum;
}

struct batch
run_gather_one(struct run *r, const struct samples *from, uint32_t sample)
{
	struct batch b = begin(r);

	add_sample(r, &b, from, sample);
	r->cu[b.nseq] = b.T;
	return b;
}

struct amount
run_amount(const struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to)
{
	struct amount a = { 0 };

	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++) {
			const struct sample *s = &of->from->v[of->packs.sample[k]];

			a.samples++;
			a.tokens += (size_t)s->n;
			a.supervised += (size_t)s->supervised;
			a.flops += plan_flops(&r->c, r->model->w.n, s->n, s->n);
		}
	}
	return a;
}

static size_t
tokens_of(const struct portion *of, size_t pack)
{
	size_t n = 0;

	for (size_t k = of->packs.at[pack]; k < of->packs.at[pack + 1]; k++)
		n += (size_t)of->from->v[of->packs.sample[k]].n;
	return n;
}

/* A pack is of the rank in whose part of the tokens its middle is. */
void
run_share(const struct run *r, const struct portion *of, const uint32_t *order, size_t *from, size_t *to)
{
	size_t begin = *from, end = *to, all = 0, before = 0;

	if (r->comm->size == 1)
		return;
	for (size_t i = begin; i < end; i++)
		all += tokens_of(of, order ? order[i] : i);
	*from = *to = end;
	for (size_t i = begin; i < end; i++) {
		size_t n = tokens_of(of, order ? order[i] : i);
		int rank = (int)((2 * before + n) * (size_t)r->comm->size / (2 * all));

		before += n;
		if (rank >= r->comm->rank && *from == end)
			*from = i;
		if (rank > r->comm->rank && *to == end)
			*to = i;
	}
}

double
run_divisor(const struct run *r, const struct amount *a)
{
	return (double)(r->set->loss_norm == LOSS_SAMPLE ? a->samples : a->supervised);
}

const char *
run_where(const struct run *r, const struct samples *from, uint32_t sample, char *text, size_t n)
{
	bool eval = r->set->eval_data.n > 0 && (from == &r->eval_samples || from == &r->prefer.eval.mixed);
	const struct opt_list *files = eval ? &r->set->eval_data : &r->set->data;
	const struct sample *s = &from->v[sample];

	int used = snprintf(text, n, "%s:%zu", files->v[s->file], s->line);

	if (s->record != s->line && used > 0 && (size_t)used < n)
		snprintf(text + used, n - (size_t)used, " (record %zu)", s->record);
	return text;
}
