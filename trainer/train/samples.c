/* samples.c - a record becomes the tokens of a training sample */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "dataset.h"
#include "ranking.h"
#include "samples.h"

static int
find_template(struct sampler *how, struct err *e)
{
	if (how->template_known)
		return 0;
	if (how->template_name ? template_by_name(how->template_name, &how->template, e) < 0 : template_detect(how->dir, &how->template, e) < 0)
		return -1;
	how->template_known = true;
	return 0;
}

/* Where a template shows a date, a fixed one: the same data must give the same samples tomorrow. It is the one HF's template falls back on. */
static int
encode_talk(struct sampler *how, const struct talk *t, struct err *e)
{
	static const struct render render = { .apart = true, .date = "26 Jul 2024" };

	if (find_template(how, e) < 0)
		return -1;
	return template_ids(how->tok, how->template, t->m, t->n, &render, &how->ids, &how->mark, e);
}

static void
encode_text(struct sampler *how, const char *text)
{
	if (how->bos >= 0)
		ids_add(&how->ids, how->bos);
	tok_encode(how->tok, text, strlen(text), false, &how->ids);
	if (how->end >= 0)
		ids_add(&how->ids, how->end);
	while (how->mark.n < how->ids.n)
		ids_add(&how->mark, 1);
}

static int
encode(struct sampler *how, const json_t *record, struct err *e)
{
	struct talk t;
	int rc = talk_read(&t, record, how->shape ? how->shape : &shape_any, e);

	if (rc == 0 && t.text)
		encode_text(how, t.text);
	else if (rc == 0)
		rc = encode_talk(how, &t, e);
	talk_free(&t);
	return rc;
}

/* ---- cutting, as LLaMA-Factory does it ---- */

/* How much of a turn's prompt and reply is kept where there is room for `room` tokens: of the shorter one all when it is less than half of the room,
 * else each its share. */
static void
share(size_t room, size_t *prompt, size_t *reply)
{
	size_t most;

	if (*reply * 2 < room)
		most = room;
	else if (*prompt * 2 < room)
		most = room - *prompt;
	else
		most = (size_t)((double)room * ((double)*reply / (double)(*prompt + *reply)));
	*reply = *reply < most ? *reply : most;
	*prompt = *prompt < room - *reply ? *prompt : room - *reply;
}

/* Tokens from `from` on that are marked alike. */
static size_t
stretch(const struct sampler *how, size_t from, int mark)
{
	size_t n = 0;

	while (from + n < how->ids.n && how->mark.v[from + n] == mark)
		n++;
	return n;
}

static void
keep(struct sampler *how, size_t to, size_t from, size_t n)
{
	memmove(how->ids.v + to, how->ids.v + from, n * sizeof *how->ids.v);
	memmove(how->mark.v + to, how->mark.v + from, n * sizeof *how->mark.v);
}

/* Turn by turn, prompt and reply from their right ends, until the room is used up. */
static void
cut(struct samples *s, struct sampler *how)
{
	size_t room = (size_t)how->cutoff, at = 0, to = 0;
	bool header = true, end = true;

	while (to < room && at < how->ids.n) {
		size_t all = stretch(how, at, 0), reply = stretch(how, at + all, 1), p = all, r = reply;

		share(room - to, &p, &r);
		header = header && (p == all || reply == 0);
		end = end && r == reply;
		keep(how, to, at, p);
		keep(how, to + p, at + all, r);
		to += p + r;
		at += all + reply;
	}
	how->ids.n = how->mark.n = to;
	s->cut++;
	s->cut_header += !header;
	s->cut_end += !end;
}

static void
reserve(struct samples *s, size_t tokens)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 1024;
		s->v = xreallocarray(s->v, s->cap, sizeof *s->v);
	}
	if (s->tokens + tokens > s->tokens_cap) {
		s->tokens_cap = s->tokens_cap + s->tokens_cap / 2 + tokens + 65536;
		s->ids = xreallocarray(s->ids, s->tokens_cap, sizeof *s->ids);
		s->target = xreallocarray(s->target, s->tokens_cap, sizeof *s->target);
	}
}

void
samples_append(struct samples *s, const int *ids, const int *mark, int n, size_t line)
{
	struct sample one = { .at = s->tokens, .n = n, .line = line, .record = s->record, .file = s->file };

	reserve(s, (size_t)n);
	for (int i = 0; i < n; i++) {
		bool next = i + 1 < n && mark[i + 1];

		s->ids[one.at + i] = ids[i];
		s->target[one.at + i] = next ? ids[i + 1] : -1;
		one.supervised += next;
	}
	if (!one.supervised) {
		s->dropped++;
		return;
	}
	s->v[s->n++] = one;
	s->tokens += (size_t)n;
	s->supervised += (size_t)one.supervised;
}

/* Of what is supervised only the last stretch. */
static void
keep_last(struct ids *mark)
{
	size_t n = mark->n;

	while (n > 0 && !mark->v[n - 1])
		n--;
	while (n > 0 && mark->v[n - 1])
		n--;
	memset(mark->v, 0, n * sizeof *mark->v);
}

int
samples_add(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e)
{
	s->record++;
	if (how->shape)
		how->columns |= dataset_columns(how->shape, record);
	if (how->ranking != RANKING_NONE)
		return ranking_add(s, how, record, line, e);
	if (how->shape && (how->shape->chosen || how->shape->label))
		return err_set(e, "the data set says which responses are better: that is for --stage dpo or kto");
	return samples_add_one(s, how, record, line, e);
}

int
samples_add_one(struct samples *s, struct sampler *how, const json_t *record, size_t line, struct err *e)
{
	int rc;

	how->ids.n = how->mark.n = 0;
	rc = encode(how, record, e);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < how->ids.n; i++)
		if (how->ids.v[i] >= how->vocab)
			return err_set(e, "token %d is outside the model's vocabulary of %d", how->ids.v[i], how->vocab);
	if (how->ranking != RANKING_NONE && how->mark.n > 0)
		keep_last(&how->mark);
	if (how->ids.n > (size_t)how->cutoff)
		cut(s, how);
	samples_append(s, how->ids.v, how->mark.v, (int)how->ids.n, line);
	return 0;
}

uint64_t
samples_hash(const struct samples *s, uint64_t seed)
{
	XXH3_state_t *h = XXH3_createState();
	uint64_t hash;

	if (!h)
		die(STATUS_IO, "out of memory");
	XXH3_64bits_reset_withSeed(h, seed);
	XXH3_64bits_update(h, s->ids, s->tokens * sizeof *s->ids);
	XXH3_64bits_update(h, s->target, s->tokens * sizeof *s->target);
	for (size_t i = 0; i < s->n; i++) {
		XXH3_64bits_update(h, &s->v[i].n, sizeof s->v[i].n);
		XXH3_64bits_update(h, &s->v[i].undesired, sizeof s->v[i].undesired);
	}
	hash = XXH3_64bits_digest(h);
	XXH3_freeState(h);
	return hash;
}

void
samples_free(struct samples *s)
{
	free(s->v);
	free(s->ids);
	free(s->target);
	*s = (struct samples){ 0 };
}

void
sampler_init(struct sampler *how, const struct tok *tok, const char *dir, int eos)
{
	*how = (struct sampler){ .tok = tok, .dir = dir, .bos = tok_bos(tok), .end = tok_id(tok, "<|end_of_text|>") };
	if (how->end < 0)
		how->end = tok_id(tok, "<|endoftext|>");
	if (how->end < 0)
		how->end = eos;
}

void
sampler_free(struct sampler *how)
{
	ids_free(&how->ids);
	ids_free(&how->mark);
}
