/* links.c - what ranks on cards send one another in a step, and how much of it something else hides */
#include <math.h>
#include <stdlib.h>

#include "cudaload.h"
#include "plan.h"

#define LINKS 0.75

/* Seconds of a micro-batch: through all layers forward, back through the head, and back through all layers. */
struct pass {
	double forward, head, backward;
};

/* The buckets in the order of the backward: each can go when it is made and the one before it is through. */
static void
sum_gradients(struct links *l, const struct gpu_place *p, int layers, double rate, const struct pass *t)
{
	double end = 0;

	for (int b = 0; b < p->bucket_count; b++) {
		double down = (double)(layers - (p->buckets[b].layer < 0 ? 0 : p->buckets[b].layer)) / layers, seconds = 4 * (double)p->buckets[b].n * rate;

		end = fmax(end, t->head + down * t->backward) + seconds;
		l->seconds += seconds;
	}
	l->exposed = end - t->head - t->backward;
}

/* In the order of the next forward, which waits before a layer whose weights are not there. */
static void
spread_weights(struct links *l, const struct gpu_place *p, int layers, double rate, const struct pass *t)
{
	double waited = 0;

	for (int b = p->bucket_count - 1; b >= 0; b--) {
		double up = (double)(p->buckets[b].layer < 0 ? 0 : p->buckets[b].layer) / layers;

		l->seconds += 2 * (double)p->buckets[b].n * rate;
		waited = fmax(waited, l->seconds - up * t->forward);
	}
	l->exposed = waited;
}

/* Of what there is in all, the layers' and the head's seconds of a micro-batch. */
static struct pass
pass_of(const struct plan *p, const struct planned *of)
{
	double again = p->keep == KEEP_BLOCKS ? 1 : 0, layers = 0, head = 0;
	struct pass t;

	for (int i = 0; i < p->ops; i++)
		*(p->op[i].part == IN_LAYERS ? &layers : &head) += p->op[i].part == IN_UPDATE ? 0 : p->op[i].seconds / of->accum;
	t.forward = layers / (3 + again);
	t.backward = layers - t.forward;
	t.head = head * 2 / 3;
	return t;
}

void
plan_links(struct plan *p, const struct planned *of)
{
	struct gpu_run run = { .c = of->c, .tokens = of->tokens, .keep = p->keep, .ranks = of->ranks };
	struct gpu_tensor *table = gpu_tensors(of->c, NULL, of->which, &run.count);
	struct pass t = pass_of(p, of);
	double others, rate;
	struct gpu_place place;
	struct arena a;

	run.tensors = table;
	arena_begin(&a, NULL, SIZE_MAX / 4);
	gpu_place(&place, &a, &run);
	others = (double)(of->ranks - 1) / of->ranks;
	p->sums.bytes = 4 * (double)place.trained * others;
	p->weights.bytes = 2 * (double)place.trained * others;
	if (of->device.link > 0 && p->seconds > 0) {
		rate = others / (of->device.link * LINKS);
		sum_gradients(&p->sums, &place, of->c->layers, rate, &t);
		spread_weights(&p->weights, &place, of->c->layers, rate, &t);
		p->seconds += p->sums.exposed + p->weights.exposed;
	}
	gpu_place_free(&place);
	free(table);
}
