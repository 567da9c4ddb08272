/* turn.c - see turn.h */
#include "turn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

/* Logits of echoed prompts that are held at once: 64 MiB. */
#define ECHO_FLOATS (16 << 20)

/* A row of logits and what is wanted of it. */
struct row {
	struct seq *s;
	float *logits;		/* guide_mask() writes to them */
	int target;		/* the echoed token that it predicts, or -1: draw one */
	struct scored out;
};

void
turn_init(struct turn *t)
{
	t->active = xcalloc(t->max, sizeof *t->active);
	t->back = xcalloc(t->max, sizeof *t->back);
	t->chunk = xcalloc(t->max, sizeof *t->chunk);
	t->scratch = xcalloc(mach_threads(t->mach), sizeof *t->scratch);
	t->adjust = xcalloc(mach_threads(t->mach), sizeof *t->adjust);
	for (int i = 0; i < mach_threads(t->mach); i++) {
		t->scratch[i] = xcalloc(t->model->c.vocab, sizeof **t->scratch);
		t->adjust[i].count = xcalloc(t->model->c.vocab, sizeof *t->adjust[i].count);
	}
}

void
turn_free(struct turn *t)
{
	for (int i = 0; i < mach_threads(t->mach); i++) {
		free(t->scratch[i]);
		free(t->adjust[i].count);
		free(t->adjust[i].old);
	}
	free(t->scratch);
	free(t->adjust);
	free(t->active);
	free(t->back);
	free(t->chunk);
	free(t->row);
	free(t->logits);
}

/* ---- a sequence ---- */

/* Tokens that a choice may have: the last one is not fed, so it needs no place in the context. */
static int
room(const struct request *r, const struct req_prompt *p, int max_context)
{
	int most = max_context - (int)p->ids.n + 1;

	return r->max_tokens < 0 || r->max_tokens > most ? most : r->max_tokens;
}

void
seq_init(struct seq *s, const struct request *r, int number, int max_context)
{
	s->req = r;
	s->prompt = &r->prompt[number / r->n];
	s->max = room(r, s->prompt, max_context);
	s->rng = draw_seed(r->seed, number % r->n);
	s->c.index = number;
	buf_init(&s->c.text, BUF_MAX_TEXT);
	buf_clear(&s->c.text);
}

static struct scored *
add_scored(struct choice *c)
{
	if (c->ntok == c->captok) {
		c->captok = c->captok ? c->captok * 2 : 32;
		c->tok = xreallocarray(c->tok, c->captok, sizeof *c->tok);
	}
	return &c->tok[c->ntok++];
}

/* Whether the prompt's tokens get their log-probabilities. */
static bool
scores_echo(const struct seq *s)
{
	return s->req->prompt_logprobs >= 0 || (s->req->echo && s->req->logprobs >= 0);
}

static void
add_id(struct seq *s, int id)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 32;
		s->ids = xreallocarray(s->ids, s->cap, sizeof *s->ids);
	}
	s->ids[s->n++] = id;
}

/* The prompt: its ids, and its text where that is echoed. */
static void
begin(struct seq *s, const struct tok *tok)
{
	const struct ids *ids = &s->prompt->ids;

	for (size_t i = 0; i < ids->n; i++) {
		size_t n = 0;
		const char *p = tok_bytes(tok, ids->v[i], &n);

		add_id(s, ids->v[i]);
		if (scores_echo(s))
			*add_scored(&s->c) = (struct scored){ .id = ids->v[i], .logprob = NAN, .at = s->c.text.n };
		if (s->req->echo && i >= s->prompt->hidden)
			buf_add(&s->c.text, p, n);
	}
	s->c.from = s->c.text.n;
	s->c.nprompt = s->c.ntok;
	s->scored = 1;
}

void
seq_end(struct seq *s)
{
	kv_free(s->kv);
	s->kv = NULL;
	--*s->peers;
}

void
seq_free(struct seq *s)
{
	kv_free(s->kv);
	free(s->ids);
	buf_free(&s->c.text);
	free(s->c.tok);
}

/* Tokens that are not in the cache yet. One: the next turn draws. */
static int
left(const struct seq *s)
{
	return s->n - kv_len(s->kv);
}

/* Leading tokens whose logits are not wanted, so that their pages may be anybody's. */
static int
silent(const struct seq *s)
{
	return scores_echo(s) && s->scored < (int)s->prompt->ids.n ? s->scored - 1 : s->n - 1;
}

static void
match(struct turn *t, struct seq *s)
{
	int had = kv_len(s->kv);

	t->counts.found += kv_match(s->kv, s->ids, silent(s)) - had;
}

bool
turn_admit(struct turn *t, struct seq *s)
{
	if (!s->ids)
		begin(s, t->tok);
	s->kv = kv_new(t->pool);
	++*s->peers;
	kv_match(s->kv, s->ids, silent(s));
	if (kv_reserve(s->kv, s->n) < 0) {
		seq_end(s);
		return false;
	}
	t->counts.found += kv_len(s->kv);
	t->active[t->n++] = s;
	return true;
}

/* Whether a token ends the text. */
static bool
ends(const struct request *r, const struct model *m, int id)
{
	for (int i = 0; i < m->c.neos && (!r->ignore_eos || r->guide); i++)
		if (m->c.eos[i] == id)
			return true;
	for (size_t i = 0; i < r->stop_ids.n; i++)
		if (r->stop_ids.v[i] == id)
			return true;
	return false;
}

/* The text ends before a stop string, or behind it: generated tokens that begin after that are no part of the reply. Chunks never reach that
 * far (stops_hold), so none of them was sent. */
static void
cut(struct choice *c, size_t at)
{
	c->text.n = at;
	c->text.p[at] = '\0';
	while (c->ntok > c->nprompt && c->tok[c->ntok - 1].at >= at)
		c->ntok--;
	c->finish = FINISH_STOP;
}

/* Take a drawn token: its entry, its text, and whether the choice ends with it. */
static void
take(struct seq *s, const struct turn *t, const struct scored *drawn)
{
	struct choice *c = &s->c;
	size_t old = c->text.n, n = 0, at, end;
	bool last = ends(s->req, t->model, drawn->id);
	const char *p = tok_bytes(t->tok, drawn->id, &n);

	add_id(s, drawn->id);
	s->fresh = true;
	c->generated++;
	if (s->req->logprobs >= 0) {
		struct scored *entry = add_scored(c);

		*entry = *drawn;
		entry->at = old;
	}
	if (!tok_is_special(t->tok, drawn->id) && (!last || s->req->stop_shown))
		buf_add(&c->text, p, n);
	at = stops_find(&s->req->stop, c->text.p, c->from, old, c->text.n, &end);
	if (at < c->text.n)
		cut(c, s->req->stop_shown ? end : at);
	else if (last || (s->req->guide && guide_ended(s->req->guide, &s->at, c->text.p + c->from, c->text.n - c->from)))
		c->finish = FINISH_STOP;
	else if (c->generated == s->max)
		c->finish = FINISH_LENGTH;
}

/* ---- plan ---- */

static void
add_row(struct turn *t, struct seq *s, int target)
{
	if (t->nrow == t->caprow) {
		t->caprow = t->caprow ? t->caprow * 2 : 64;
		t->row = xreallocarray(t->row, t->caprow, sizeof *t->row);
	}
	t->row[t->nrow++] = (struct row){ .s = s, .target = target };
}

/* The tokens of a sequence that take part, and rows for those of them whose logits are wanted. */
static void
plan_chunk(struct turn *t, struct seq *s, struct chunk *c)
{
	int fed = kv_len(s->kv), first = silent(s) - fed, n = s->take;

	*c = (struct chunk){ .kv = s->kv, .ids = s->ids + fed, .n = n, .first_logits = first < 0 ? 0 : first < n ? first : n };
	for (int i = c->first_logits; i < n; i++)
		add_row(t, s, fed + i + 1 < s->n ? s->ids[fed + i + 1] : -1);
}

int
turn_victim(const struct turn *t, int from)
{
	int best = -1;

	for (int i = t->n - 1; i >= from; i--)
		if (best < 0 || *t->active[i]->peers > *t->active[best]->peers)
			best = i;
	return best;
}

void
turn_put_back(struct turn *t, int i)
{
	struct seq *s = t->active[i];

	seq_end(s);
	memmove(&t->active[i], &t->active[i + 1], (--t->n - i) * sizeof *t->active);
	t->back[t->nback++] = s;
	t->counts.put_back++;
}

/* Pages for what was generated last. */
static void
secure_pages(struct turn *t)
{
	for (int i = 0; i < t->n; i++)
		while (i < t->n && kv_reserve(t->active[i]->kv, t->active[i]->n) < 0)
			turn_put_back(t, turn_victim(t, i));
}

/* An older sequence is about to compute the page that this one needs next. */
static bool
comes_by_itself(const struct turn *t, int i)
{
	const struct seq *s = t->active[i];
	int end = kv_len(s->kv) + KV_PAGE;

	if (end % KV_PAGE > 0 || end > silent(s))
		return false;
	for (int k = 0; k < i; k++) {
		const struct seq *o = t->active[k];

		if (left(o) > 1 && o->n >= end && memcmp(o->ids, s->ids, end * sizeof *s->ids) == 0)
			return true;
	}
	return false;
}

/* Who takes part: what generates, with one token, and the prompts that do not wait for another's pages. The tokens of the former. */
static int
sort_out(struct turn *t)
{
	int n = 0;

	for (int i = 0; i < t->n; i++) {
		struct seq *s = t->active[i];

		s->fresh = false;
		if (left(s) > 1)
			match(t, s);
		s->take = left(s) == 1;
		s->wants = left(s) > 1 && !comes_by_itself(t, i);
		n += s->take;
	}
	return n;
}

/* Up to `most` more tokens of a prompt, whole pages where it goes on after them; of an echoed one, up to *rows. How many. */
static int
give(struct seq *s, int most, int *rows)
{
	int n = left(s) - s->take, over;

	if (scores_echo(s) && most > *rows)
		most = *rows;
	if (n > most) {
		over = (kv_len(s->kv) + s->take + most) % KV_PAGE;
		n = over < most ? most - over : most;
	}
	s->take += n;
	*rows -= scores_echo(s) ? n : 0;
	return n;
}

static struct seq *
oldest(const struct turn *t)
{
	for (int i = 0; i < t->n; i++)
		if (t->active[i]->wants)
			return t->active[i];
	return NULL;
}

static struct seq *
shortest(const struct turn *t)
{
	struct seq *best = NULL;

	for (int i = 0; i < t->n; i++)
		if (t->active[i]->wants && (!best || left(t->active[i]) < left(best)))
			best = t->active[i];
	return best;
}

static void
share(struct turn *t, int budget)
{
	int rows = ECHO_FLOATS / t->model->c.vocab;
	struct seq *s = oldest(t);

	rows = rows < 16 ? 16 : rows;
	budget = budget < KV_PAGE ? KV_PAGE : budget;
	if (s)
		budget -= give(s, budget / 2, &rows);
	for (; budget > 0 && (s = shortest(t)); s->wants = false)
		budget -= give(s, budget, &rows);
}

/* The chunks of a turn, and how many. */
static int
plan(struct turn *t)
{
	int n = 0;

	t->nrow = 0;
	secure_pages(t);
	share(t, t->budget - sort_out(t));
	for (int i = 0; i < t->n; i++)
		if (t->active[i]->take > 0)
			plan_chunk(t, t->active[i], &t->chunk[n++]);
	return n;
}

/* Places for the logits that the chunks want, in the rows' order. */
static void
place_logits(struct turn *t, int nchunks)
{
	size_t V = t->model->c.vocab, row = 0;

	if (t->nrow > t->caplogits) {
		free(t->logits);
		t->logits = xreallocarray(NULL, t->nrow, V * sizeof *t->logits);
		t->caplogits = t->nrow;
	}
	for (size_t i = 0; i < t->nrow; i++)
		t->row[i].logits = t->logits + i * V;
	for (int i = 0; i < nchunks; i++) {
		struct chunk *c = &t->chunk[i];

		c->logits = c->first_logits < c->n ? t->logits + row * V : NULL;
		row += c->n - c->first_logits;
	}
}

/* ---- draw ---- */

/* The next token of a sequence, or -1. What its form rules out stays ruled out in the logits; what the request adjusts is undone. */
static int
draw(struct turn *t, struct row *r, int part)
{
	struct seq *s = r->s;
	const struct request *req = s->req;
	const struct config *c = &t->model->c;
	struct adjust_scratch *w = &t->adjust[part];
	int end[CONFIG_MAX_EOS + STOP_MAX], id;

	if (req->guide)
		guide_mask(req->guide, &s->at, s->c.text.p + s->c.from, s->c.text.n - s->c.from, r->logits);
	memcpy(end, c->eos, c->neos * sizeof *end);
	for (size_t i = 0; i < req->stop_ids.n; i++)
		end[c->neos + i] = req->stop_ids.v[i];
	adjust_logits(w, &req->adjust, s->ids, s->prompt->ids.n, s->n, end, c->neos + req->stop_ids.n, r->logits);
	id = draw_token(r->logits, c->vocab, &req->how, &s->rng, t->scratch[part]);
	adjust_undo(w, r->logits);
	return id;
}

/* Draw or look up, and score. out.id is -1 when the logits are no numbers. */
static void
score(struct turn *t, struct row *r, int part)
{
	const struct request *req = r->s->req;
	int top = r->target >= 0 && (!req->echo || req->prompt_logprobs > req->logprobs) ? req->prompt_logprobs : req->logprobs;
	int V = t->model->c.vocab;
	struct scored *o = &r->out;
	double lse;

	*o = (struct scored){ .id = r->target };
	if (r->target < 0 && r->s->max > 0)
		o->id = draw(t, r, part);
	if (o->id < 0 || top < 0)
		return;
	lse = draw_lse(r->logits, V);
	if (!isfinite(lse)) {
		o->id = -1;
		return;
	}
	o->logprob = r->logits[o->id] - lse;
	if (r->target >= 0 && req->prompt_logprobs >= 0)
		o->rank = draw_rank(r->logits, V, o->id);
	o->ntop = draw_top(r->logits, V, top, o->top);
	for (int i = 0; i < o->ntop; i++)
		o->top_logprob[i] = r->logits[o->top[i]] - lse;
	while (req->guide && o->ntop > 0 && isinf(o->top_logprob[o->ntop - 1]))
		o->ntop--;
}

static void
score_part(void *arg, int part, int parts)
{
	struct turn *t = arg;

	for (size_t i = part; i < t->nrow; i += parts)
		score(t, &t->row[i], part);
}

/* A row's result reaches its sequence, in the order of the text. */
static void
settle(struct turn *t, struct row *r)
{
	struct seq *s = r->s;

	if (r->out.id < 0 && (r->target >= 0 || s->max > 0)) {
		s->bad = true;
	} else if (r->target >= 0) {
		r->out.at = s->c.tok[s->scored].at;
		s->c.tok[s->scored++] = r->out;
	} else if (s->max > 0) {
		take(s, t, &r->out);
		t->counts.generated++;
	} else {
		s->fresh = true;
		s->c.finish = FINISH_LENGTH;
	}
}

static void
count(struct turn *t, int nchunks)
{
	t->counts.turns += nchunks > 0;
	for (int i = 0; i < t->n; i++)
		t->counts.prompt += t->active[i]->take - (t->active[i]->take == 1 && t->active[i]->c.generated > 0);
}

int
turn_run(struct turn *t, struct err *e)
{
	int nchunks = plan(t);

	place_logits(t, nchunks);
	if (model_forward(t->model, t->chunk, nchunks, e) < 0)
		return -1;
	count(t, nchunks);
	mach_run(t->mach, score_part, t);
	for (size_t i = 0; i < t->nrow; i++)
		if (!t->row[i].s->bad)
			settle(t, &t->row[i]);
	return 0;
}
