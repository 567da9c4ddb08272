/* culprit.c - which sample made a number that is not finite, and in which tensor it was first */
#include <math.h>
#include <stdio.h>

#include "run.h"

/* Run one sample forward and backward, alone. *bad: something of it is not finite; tensor says what was first. */
static int
inspect(struct run *r, const struct samples *from, uint32_t sample, bool *bad, char tensor[MODEL_BAD], struct err *e)
{
	struct batch b = run_gather_one(r, from, sample);

	return r->engine->inspect(r->engine, &b, 1 / (float)from->v[sample].supervised, bad, tensor, e);
}

static const char *
word(double x)
{
	return isnan(x) ? "nan" : x > 0 ? "inf" : "-inf";
}

/* The first of order[from..to) that spoils it, in e: -2, before those ranks who only know where it was not. 0: none does alone. -STATUS_IO: the device failed. */
static int
find(struct run *r, const char *what, double x, long step, const struct portion *of, const uint32_t *order, size_t from, size_t to, struct err *e)
{
	char tensor[MODEL_BAD], where[300];

	for (size_t i = from; i < to; i++) {
		size_t pack = order ? order[i] : i;

		for (size_t at = of->packs.at[pack]; at < of->packs.at[pack + 1]; at++) {
			bool bad;

			if (inspect(r, of->from, of->packs.sample[at], &bad, tensor, e) < 0)
				return run_lost(r, "step", step, e);
			if (bad) {
				err_set(e, "step %ld: %s is %s; %s, first in %s; nothing was saved", step, what, word(x),
					run_where(r, of->from, of->packs.sample[at], where, sizeof where), tensor);
				return -2;
			}
		}
	}
	return 0;
}

int
run_not_finite(struct run *r, const char *what, double x, long step, const struct portion *of, const uint32_t *order, size_t from, size_t to, struct err *e)
{
	char first[300], last[300];
	size_t k, end;
	int rc;

	if (r->engine->settle(r->engine, e) < 0)
		return run_lost(r, "step", step, e);
	rc = find(r, what, x, step, of, order, from, to, e);
	if (rc == 0 && from < to) {
		k = of->packs.at[order ? order[from] : from];
		end = of->packs.at[(order ? order[to - 1] : to - 1) + 1];
		rc = err_set(e, "step %ld: %s is %s; no sample alone, but the sum of those from %s to %s; nothing was saved", step, what, word(x),
			     run_where(r, of->from, of->packs.sample[k], first, sizeof first),
			     run_where(r, of->from, of->packs.sample[end - 1], last, sizeof last));
	}
	return comm_agree(r->comm, rc, e) == -STATUS_IO ? -STATUS_IO : -1;
}
