/* freeze.c - chooses the tensors that are trained */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
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
static void
start_with(struct run *r, int n)
{
	struct config c = r->c;
	int base;

	c.lora.r = 0;
	base = tensors(&c);
	r->trained = xcalloc((size_t)n, sizeof *r->trained);
	for (int i = r->c.lora.r ? base : 0; i < n; i++)
		r->trained[i] = true;
}

int
freeze_choose(struct run *r, struct err *e)
{
	const struct opt_list *list = &r->set->freeze;
	int n = tensors(&r->c), left = 0;

	if (list->n > 0 || r->c.lora.r)
		start_with(r, n);
	for (size_t i = 0; i < list->n; i++)
		if (match(&r->c, list->v[i], r->trained) == 0)
			return err_set(e, "--freeze %s: the model has no such tensor", list->v[i]);
	for (int i = 0; i < n; i++)
		left += !r->trained || r->trained[i];
	if (left == 0)
		return err_set(e, "--freeze: nothing is left to train");
	identify(r);
	return 0;
}
