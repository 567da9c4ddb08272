/* freeze.c - chooses the tensors that are trained */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "freeze.h"

static int
tensors(const struct config *c)
{
	struct tensor_at t;
	int n = 0;

	while (model_tensor(c, n, &t) == 0)
		n++;
	return n;
}

/* Tensors that the pattern takes out of `trained`, those that another one took included. */
static int
match(const struct config *c, const char *pattern, bool *trained)
{
	struct tensor_at t;
	int hits = 0;

	for (int i = 0; model_tensor(c, i, &t) == 0; i++)
		if (fnmatch(pattern, t.name, 0) == 0) {
			trained[i] = false;
			hits++;
		}
	return hits;
}

/* A resumed run takes the frozen tensors and the reference model from where it began: that must be the same. */
static void
identify(struct run *r)
{
	json_t *patterns = json_array();
	char text[17];

	for (size_t i = 0; i < r->set->freeze.n; i++)
		json_array_append_new(patterns, json_string(r->set->freeze.v[i]));
	json_object_set_new(r->identity, "freeze", patterns);
	if (!r->trained && r->set->stage == STAGE_SFT)
		return;
	snprintf(text, sizeof text, "%016" PRIx64, XXH3_64bits(r->model->w.all, r->model->w.n * sizeof(float)));
	json_object_set_new(r->identity, "model", json_string(text));
}

/* All n tensors, or with adapters these alone. */
static bool *
start_with(const struct config *with, int n)
{
	struct config c = *with;
	bool *trained = xcalloc((size_t)n, sizeof *trained);
	int base;

	c.lora.r = 0;
	base = tensors(&c);
	for (int i = with->lora.r ? base : 0; i < n; i++)
		trained[i] = true;
	return trained;
}

/* *trained, the caller's to free: NULL when all are. */
static int
choose(const struct config *c, const struct opt_list *list, bool **trained, struct err *e)
{
	int n = tensors(c), left = 0;

	*trained = list->n > 0 || c->lora.r ? start_with(c, n) : NULL;
	for (size_t i = 0; i < list->n; i++)
		if (match(c, list->v[i], *trained) == 0)
			return err_set(e, "--freeze %s: the model has no such tensor", list->v[i]);
	for (int i = 0; i < n; i++)
		left += !*trained || (*trained)[i];
	return left > 0 ? 0 : err_set(e, "--freeze: nothing is left to train");
}

int
freeze_choose(struct run *r, struct err *e)
{
	if (choose(&r->c, &r->set->freeze, &r->trained, e) < 0)
		return -1;
	identify(r);
	return 0;
}

int
freeze_count(const struct config *c, const struct opt_list *list, size_t *all, size_t *left, bool **trained, struct err *e)
{
	struct tensor_at t;
	int rc = choose(c, list, trained, e);

	*all = *left = 0;
	for (int i = 0; model_tensor(c, i, &t) == 0; i++) {
		*all += t.count;
		*left += !*trained || (*trained)[i] ? t.count : 0;
	}
	return rc;
}
