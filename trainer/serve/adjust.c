/* adjust.c - see adjust.h */
#include "adjust.h"

#include <math.h>
#include <stdlib.h>

#include "err.h"

static void
set(struct adjust_scratch *w, float *x, int id, float to)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->old = xreallocarray(w->old, w->cap, sizeof *w->old);
	}
	w->old[w->n++] = (struct candidate){ x[id], id };
	x[id] = to;
}

static float
penalised(const struct adjust *a, float x, int generated)
{
	x = x > 0 ? x / (float)a->repetition : x * (float)a->repetition;
	x -= (float)a->frequency * generated;
	return generated > 0 ? x - (float)a->presence : x;
}

/* Each token once. A count is c + 1 while its token is still to be done, and 0 behind that. */
static void
penalise(struct adjust_scratch *w, const struct adjust *a, const int *ids, int nprompt, int n, float *x)
{
	for (int i = 0; i < n; i++)
		w->count[ids[i]] += w->count[ids[i]] == 0 ? 1 + (i >= nprompt) : i >= nprompt;
	for (int i = 0; i < n; i++) {
		int *count = &w->count[ids[i]];

		if (*count > 0)
			set(w, x, ids[i], penalised(a, x[ids[i]], *count - 1));
		*count = 0;
	}
}

void
adjust_logits(struct adjust_scratch *w, const struct adjust *a, const int *ids, int nprompt, int n, const int *end, size_t nend, float *x)
{
	w->n = 0;
	for (size_t i = 0; i < nend && n - nprompt < a->min_tokens; i++)
		set(w, x, end[i], -INFINITY);
	for (size_t i = 0; i < a->nbias; i++)
		set(w, x, a->bias[i].id, x[a->bias[i].id] + a->bias[i].by);
	if (a->repetition != 1 || a->presence != 0 || a->frequency != 0)
		penalise(w, a, ids, nprompt, n, x);
}

void
adjust_undo(struct adjust_scratch *w, float *x)
{
	while (w->n > 0) {
		w->n--;
		x[w->old[w->n].id] = w->old[w->n].logit;
	}
}
