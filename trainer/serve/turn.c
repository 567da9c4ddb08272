/* turn.c - see turn.h */
#include "turn.h"

#include <math.h>
#include <stdlib.h>

#include "stop.h"

/* Logits of echoed prompts that are held at once: 64 MiB. */
#define ECHO_FLOATS (16 << 20)

/* A row of logits and what is wanted of it. */
struct row {
	struct seq *s;
	const float *logits;
	int target;		/* the echoed token that it predicts, or -1: draw one */
	struct scored out;
};

void
turn_init(struct turn *t, struct model *model, const struct tok *tok, struct mach *mach, int max)
{
	*t = (struct turn){ .model = model, .tok = tok, .mach = mach, .max = max };
	t->active = xcalloc(max, sizeof *t->active);
	t->chunk = xcalloc(max, sizeof *t->chunk);
	t->scratch = xcalloc(mach_threads(mach), sizeof *t->scratch);
	for (int i = 0; i < mach_threads(mach); i++)
		t->scratch[i] = xcalloc(model->c.vocab, sizeof **t->scratch);
}

void
turn_free(struct turn *t)
{
	for (int i = 0; i < mach_threads(t->mach); i++)
		free(t->scratch[i]);
	free(t->scratch);
	free(t->active);
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

void
seq_begin(struct seq *s, const struct model *m, const struct tok *tok)
{
	const struct ids *ids = &s->prompt->ids;

	s->kv = kv_new(m, ids->n + s->max);
	for (size_t i = 0; i < ids->n; i++) {
		size_t n = 0;
		const char *p = tok_bytes(tok, ids->v[i], &n);

		if (scores_echo(s))
			*add_scored(&s->c) = (struct scored){ .id = ids->v[i], .logprob = NAN, .at = s->c.text.n };
		if (s->req->echo && i >= s->prompt->hidden)
			buf_add(&s->c.text, p, n);
	}
	s->c.from = s->c.text.n;
	s->c.nprompt = s->c.ntok;
}

void
seq_end(struct seq *s)
{
	kv_free(s->kv);
	s->kv = NULL;
}

void
seq_free(struct seq *s)
{
	if (s->kv)
		kv_free(s->kv);
	buf_free(&s->c.text);
	free(s->c.tok);
}

/* Whether a token ends the text. */
static bool
ends(const struct request *r, const struct model *m, int id)
{
	for (int i = 0; i < m->c.neos && !r->ignore_eos; i++)
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

	s->last = drawn->id;
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
	else if (last)
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

/* The next piece of a prompt: at most `most` tokens, of which at most `rows` have logits that are wanted. */
static void
plan_prompt(struct turn *t, struct seq *s, struct chunk *c, int most, int rows)
{
	const struct ids *ids = &s->prompt->ids;
	size_t left = ids->n - s->fed;
	bool echo = scores_echo(s);

	if (echo && most > rows)
		most = rows;
	*c = (struct chunk){ .kv = s->kv, .ids = ids->v + s->fed, .n = left < (size_t)most ? (int)left : most };
	c->first_logits = echo ? 0 : c->n - 1;
	if (s->fed + c->n < ids->n && !echo)
		c->first_logits = c->n;		/* the prompt goes on: nothing to predict yet */
	for (int i = c->first_logits; i < c->n; i++) {
		size_t next = s->fed + i + 1;

		add_row(t, s, next < ids->n ? ids->v[next] : -1);
	}
}

static int
plan(struct turn *t)
{
	int prefill = TURN_PREFILL, rows = ECHO_FLOATS / t->model->c.vocab, n = 0;

	t->nrow = 0;
	rows = rows < 16 ? 16 : rows > TURN_PREFILL ? TURN_PREFILL : rows;
	for (int i = 0; i < t->n; i++) {
		struct seq *s = t->active[i];
		struct chunk *c = &t->chunk[n];

		if (s->fed == s->prompt->ids.n) {
			*c = (struct chunk){ .kv = s->kv, .ids = &s->last, .n = 1 };
			add_row(t, s, -1);
		} else if (prefill > 0 && (rows > 0 || !scores_echo(s))) {
			plan_prompt(t, s, c, prefill, rows);
			prefill -= c->n;
			rows -= scores_echo(s) ? c->n : 0;
		} else {
			continue;
		}
		n++;
	}
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

/* Draw or look up, and score. out.id is -1 when the logits are no numbers. */
static void
score(struct row *r, int V, struct candidate *scratch)
{
	const struct request *req = r->s->req;
	int top = r->target >= 0 && (!req->echo || req->prompt_logprobs > req->logprobs) ? req->prompt_logprobs : req->logprobs;
	struct scored *o = &r->out;
	double lse;

	*o = (struct scored){ .id = r->target };
	if (r->target < 0 && r->s->max > 0)
		o->id = draw_token(r->logits, V, &req->how, &r->s->rng, scratch);
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
}

static void
score_part(void *arg, int part, int parts)
{
	struct turn *t = arg;

	for (size_t i = part; i < t->nrow; i += parts)
		score(&t->row[i], t->model->c.vocab, t->scratch[part]);
}

/* A row's result reaches its sequence, in the order of the text. `at` is where the echoed token's entry is. */
static void
settle(struct turn *t, struct row *r, size_t at)
{
	struct seq *s = r->s;

	if (r->out.id < 0 && (r->target >= 0 || s->max > 0)) {
		s->bad = true;
	} else if (r->target >= 0) {
		r->out.at = s->c.tok[at].at;
		s->c.tok[at] = r->out;
	} else if (s->max > 0) {
		take(s, t, &r->out);
	} else {
		s->fresh = true;
		s->c.finish = FINISH_LENGTH;
	}
}

static void
advance(struct turn *t, int nchunks)
{
	size_t row = 0;

	for (int i = 0, k = 0; k < nchunks; i++) {
		struct seq *s = t->active[i];
		struct chunk *c = &t->chunk[k];

		if (c->kv != s->kv)
			continue;	/* had no part in this turn */
		for (int j = c->first_logits; j < c->n && !s->bad; j++)
			settle(t, &t->row[row + j - c->first_logits], s->fed + j + 1);
		row += c->n - c->first_logits;
		if (s->fed < s->prompt->ids.n)
			s->fed += c->n;
		k++;
	}
}

int
turn_run(struct turn *t, struct err *e)
{
	int nchunks = plan(t);

	for (int i = 0; i < t->n; i++)
		t->active[i]->fresh = false;
	place_logits(t, nchunks);
	if (model_forward(t->model, t->chunk, nchunks, e) < 0)
		return -1;
	mach_run(t->mach, score_part, t);
	advance(t, nchunks);
	return 0;
}
