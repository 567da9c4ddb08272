/* ranking.c - pairs and labelled responses as samples */
#include <stdlib.h>
#include <string.h>

#include "ranking.h"

/* The names that a record of SHAPE_ANY has its responses under. */
static void
recognise(struct shape *s, const json_t *record)
{
	s->messages = json_object_get(record, "messages") ? "messages" : json_object_get(record, "conversations") ? "conversations" : NULL;
	s->response = json_object_get(record, "instruction") ? "output" : "response";
	s->chosen = "chosen";
	s->rejected = "rejected";
	s->label = json_object_get(record, "kto_tag") ? "kto_tag" : "label";
}

static struct shape
shape_of(const struct sampler *how, const json_t *record)
{
	struct shape s = how->shape ? *how->shape : shape_any;

	if (s.kind == SHAPE_ANY)
		recognise(&s, record);
	return s;
}

/* A copy of the record with `answer` as its response, the caller's to release. */
static json_t *
with(const json_t *record, const struct shape *shape, json_t *answer)
{
	json_t *copy = json_copy((json_t *)record), *list;

	if (shape->messages) {
		list = json_copy(json_object_get(record, shape->messages));
		json_array_append(list, answer);
		json_object_set_new(copy, shape->messages, list);
	} else {
		json_object_set(copy, shape->response, answer);
	}
	return copy;
}

static int
add_answer(struct samples *s, struct sampler *how, const json_t *record, const struct shape *shape, const char *name, size_t line, struct err *e)
{
	json_t *one = with(record, shape, json_object_get(record, name));
	int rc = samples_add_one(s, how, one, line, e);

	json_decref(one);
	return rc;
}

/* Take back what came after the first n samples. */
static void
cut_back(struct samples *s, size_t n)
{
	for (; s->n > n; s->n--) {
		s->tokens = s->v[s->n - 1].at;
		s->supervised -= (size_t)s->v[s->n - 1].supervised;
	}
}

static int
add_pair(struct samples *s, struct sampler *how, const json_t *record, const struct shape *shape, size_t line, struct err *e)
{
	size_t n = s->n;
	int rc = add_answer(s, how, record, shape, shape->chosen, line, e);

	if (rc == 0)
		rc = add_answer(s, how, record, shape, shape->rejected, line, e);
	if (rc == 0 && s->n == n + 2)
		s->v[n + 1].undesired = true;
	else
		cut_back(s, n);
	return rc;
}

int
ranking_add(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e)
{
	struct shape shape = shape_of(how, record);
	const json_t *label = shape.label ? json_object_get(record, shape.label) : NULL;
	size_t n = s->n;
	int rc;

	if (shape.chosen && json_object_get(record, shape.chosen) && json_object_get(record, shape.rejected))
		return add_pair(s, how, record, &shape, line, e);
	if (shape.kind != SHAPE_ANY && !shape.chosen && (how->ranking == RANKING_PAIRS || !shape.label))
		return err_set(e, "the data set has no columns for this stage: chosen and rejected%s", how->ranking == RANKING_PAIRS ? "" : ", or kto_tag");
	if (shape.kind != SHAPE_ANY && shape.chosen)
		return err_set(e, "no \"%s\" and \"%s\"", shape.chosen, shape.rejected);
	if (how->ranking == RANKING_PAIRS || !json_is_boolean(label))
		return err_set(e, "no \"chosen\" and \"rejected\"%s", how->ranking == RANKING_PAIRS ? "" : ", and no \"kto_tag\" or \"label\" that is true or false");
	rc = samples_add_one(s, how, record, line, e);
	if (rc == 0 && s->n > n)
		s->v[n].undesired = json_is_false(label);
	return rc;
}

/* ---- mismatched pairs ---- */

/* Tokens before the response. */
static int
prompt_of(const struct samples *s, const struct sample *one)
{
	int t = 0;

	while (s->target[one->at + t] < 0)
		t++;
	return t + 1;
}

/* Where the response for pick[i] comes from; NULL when there is no other record. */
static const struct sample *
other(const struct samples *s, const uint32_t *pick, size_t n, size_t i)
{
	const struct sample *one = &s->v[pick[i]], *any = NULL;

	for (size_t k = 1; k < n; k++) {
		const struct sample *from = &s->v[pick[(i + n - k) % n]];

		if (from->record == one->record && from->file == one->file)
			continue;
		if (from->undesired == one->undesired)
			return from;
		if (!any)
			any = from;
	}
	return any;
}

int
ranking_mismatch(struct samples *to, const struct samples *s, const uint32_t *pick, size_t n, int cutoff, struct err *e)
{
	int *ids = xcalloc((size_t)cutoff, sizeof *ids), *mark = xcalloc((size_t)cutoff, sizeof *mark);
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct sample *one = &s->v[pick[i]], *by = other(s, pick, n, i);
		int prompt = prompt_of(s, one), from, left;

		if (!by) {
			rc = err_set(e, "kto: the divergence from the reference is estimated over other records' responses, but there is one record");
			break;
		}
		from = prompt_of(s, by);
		left = by->n - from < cutoff - prompt ? by->n - from : cutoff - prompt;
		memcpy(ids, s->ids + one->at, (size_t)prompt * sizeof *ids);
		memcpy(ids + prompt, s->ids + by->at + from, (size_t)left * sizeof *ids);
		for (int t = 0; t < prompt + left; t++)
			mark[t] = t >= prompt;
		to->file = one->file;
		to->record = one->record;
		samples_append(to, ids, mark, prompt + left, one->line);
	}
	free(ids);
	free(mark);
	return rc;
}
