/* guide.c - see guide.h */
#include "guide.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "automaton.h"
#include "pattern.h"
#include "schema.h"
#include "vocab.h"

#define KEPT 32			/* guides that nobody holds */
#define GUIDE_BYTES (16 << 20)	/* states and masks of a guide before it begins anew */
#define BUDGET 4000000L		/* places looked at for one mask: a fraction of a second; ordinary schemas need some thousands */
#define CHOICES 1024

struct guide {
	struct guides *all;
	char *key;		/* its kind and form */
	int holders;		/* under all->lock, as the link */
	TAILQ_ENTRY(guide) link;
	struct grammar grammar;
	pthread_mutex_t lock;	/* of what follows */
	struct automaton automaton;
	unsigned epoch;
};

TAILQ_HEAD(guide_list, guide);

struct guides {
	pthread_mutex_t lock;
	const struct tok *tok;
	struct vocab *vocab;	/* made when the first guide is */
	int size, *eos, neos;
	struct guide_list list;	/* used last, first */
	int n;
};

struct guides *
guides_new(const struct tok *tok, int vocab, const int *eos, int neos)
{
	struct guides *all = xcalloc(1, sizeof *all);

	pthread_mutex_init(&all->lock, NULL);
	all->tok = tok;
	all->size = vocab;
	all->eos = xcalloc(neos + 1, sizeof *all->eos);
	memcpy(all->eos, eos, neos * sizeof *eos);
	all->neos = neos;
	TAILQ_INIT(&all->list);
	return all;
}

static void
guide_free(struct guide *g)
{
	automaton_free(&g->automaton);
	grammar_free(&g->grammar);
	pthread_mutex_destroy(&g->lock);
	free(g->key);
	free(g);
}

void
guides_free(struct guides *all)
{
	struct guide *g;

	if (!all)
		return;
	while ((g = TAILQ_FIRST(&all->list))) {
		TAILQ_REMOVE(&all->list, g, link);
		guide_free(g);
	}
	vocab_free(all->vocab);
	pthread_mutex_destroy(&all->lock);
	free(all->eos);
	free(all);
}

/* ---- making one ---- */

static int
put_choices(struct grammar *g, json_t *list, struct err *e)
{
	int rule = grammar_rule(g);
	json_t *v;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > CHOICES)
		return err_set(e, "it must be a list of 1 to %d strings", CHOICES);
	json_array_foreach(list, i, v) {
		if (!json_is_string(v) || json_string_length(v) == 0)
			return err_set(e, "it must be a list of strings that are not empty");
		grammar_skip(g, grammar_text(g, g->start[rule], json_string_value(v), json_string_length(v)), g->end[rule]);
	}
	return rule;
}

static int
put_regex(struct grammar *g, json_t *form, struct err *e)
{
	int rule = grammar_rule(g);

	if (!json_is_string(form))
		return err_set(e, "it must be a string");
	return pattern_put(g, g->start[rule], g->end[rule], json_string_value(form), json_string_length(form), false, false, e) < 0 ? -1 : rule;
}

static int
put_form(struct grammar *g, enum guide_kind kind, json_t *form, struct err *e)
{
	switch (kind) {
	case GUIDE_REGEX:
		return put_regex(g, form, e);
	case GUIDE_CHOICE:
		return put_choices(g, form, e);
	default:
		return schema_put(g, form, e);
	}
}

static int
state_mask(struct guide *g, int state)
{
	struct guides *all = g->all;
	struct automaton_state *s = g->automaton.state[state];
	size_t words = VOCAB_WORDS(all->vocab);
	uint64_t *mask;

	if (s->mask)
		return 0;
	mask = xcalloc(words, sizeof *mask);
	if (vocab_mask(all->vocab, &g->automaton, state, mask) < 0) {
		free(mask);
		return -1;
	}
	for (int i = 0; i < all->neos && s->complete; i++)
		mask[all->eos[i] / 64] |= 1ULL << all->eos[i] % 64;
	s->mask = mask;
	automaton_grew(&g->automaton, words * sizeof *mask);
	return 0;
}

/* The first mask already tells a hostile grammar. */
static int
try_out(struct guide *g, struct err *e)
{
	int start;

	automaton_budget(&g->automaton, BUDGET);
	start = automaton_start(&g->automaton);
	if (start < 0 || state_mask(g, start) < 0)
		return err_set(e, "it has too many ways at once");
	return 0;
}

static struct guide *
guide_new(struct guides *all, enum guide_kind kind, json_t *form, struct err *e)
{
	struct guide *g = xcalloc(1, sizeof *g);
	int root;

	g->all = all;
	g->epoch = 1;
	pthread_mutex_init(&g->lock, NULL);
	grammar_init(&g->grammar);
	automaton_init(&g->automaton, &g->grammar);
	root = put_form(&g->grammar, kind, form, e);
	if (root >= 0 && grammar_finish(&g->grammar, root, e) == 0 && try_out(g, e) == 0)
		return g;
	guide_free(g);
	return NULL;
}

/* ---- sharing ---- */

static struct guide *
find(struct guides *all, const char *key)
{
	struct guide *g;

	TAILQ_FOREACH(g, &all->list, link)
		if (strcmp(g->key, key) == 0)
			return g;
	return NULL;
}

/* With the lock held: room for one more that is kept. */
static void
make_room(struct guides *all)
{
	struct guide *g = TAILQ_LAST(&all->list, guide_list), *before;

	for (; g && all->n >= KEPT; g = before) {
		before = TAILQ_PREV(g, guide_list, link);
		if (g->holders > 0)
			continue;
		TAILQ_REMOVE(&all->list, g, link);
		all->n--;
		guide_free(g);
	}
}

struct guide *
guides_get(struct guides *all, enum guide_kind kind, json_t *form, struct err *e)
{
	char *text = json_dumps(form, JSON_COMPACT | JSON_ENCODE_ANY), *key = xcalloc(strlen(text) + 2, 1);
	struct guide *g;

	key[0] = '0' + kind;
	strcpy(key + 1, text);
	free(text);
	pthread_mutex_lock(&all->lock);
	if (!all->vocab)
		all->vocab = vocab_new(all->tok, all->size);
	g = find(all, key);
	if (g) {
		TAILQ_REMOVE(&all->list, g, link);
		free(key);
	} else if ((g = guide_new(all, kind, form, e))) {
		make_room(all);
		g->key = key;
		all->n++;
	} else {
		free(key);
	}
	if (g) {
		g->holders++;
		TAILQ_INSERT_HEAD(&all->list, g, link);
	}
	pthread_mutex_unlock(&all->lock);
	return g;
}

void
guide_release(struct guide *g)
{
	struct guides *all;

	if (!g)
		return;
	all = g->all;
	pthread_mutex_lock(&all->lock);
	g->holders--;
	pthread_mutex_unlock(&all->lock);
}

/* ---- using it ---- */

/* Catch up with the text, with the lock held: from where it was seen last, or from its start when the states were forgotten since. */
static int
follow(struct guide *g, struct guided *at, const char *text, size_t n)
{
	automaton_budget(&g->automaton, BUDGET);
	if (g->automaton.bytes > GUIDE_BYTES) {
		automaton_clear(&g->automaton);
		g->epoch++;
	}
	if (at->epoch != g->epoch)
		*at = (struct guided){ .state = automaton_start(&g->automaton), .epoch = g->epoch };
	while (at->state >= 0 && at->taken < n)
		at->state = automaton_step(&g->automaton, at->state, text[at->taken++]);
	return at->state;
}

static void
apply(const struct guides *all, const uint64_t *mask, float *logits)
{
	for (int i = 0; i < all->size; i += 64) {
		uint64_t bits = mask ? mask[i / 64] : 0;

		if (bits == UINT64_MAX)
			continue;
		for (int k = i; k < i + 64 && k < all->size; k++)
			if (!(bits >> (k - i) & 1))
				logits[k] = -INFINITY;
	}
}

void
guide_mask(struct guide *g, struct guided *at, const char *text, size_t n, float *logits)
{
	int state;

	pthread_mutex_lock(&g->lock);
	state = follow(g, at, text, n);
	if (state >= 0 && state_mask(g, state) < 0)
		state = DEAD;
	apply(g->all, state >= 0 ? g->automaton.state[state]->mask : NULL, logits);
	pthread_mutex_unlock(&g->lock);
}

bool
guide_ended(struct guide *g, struct guided *at, const char *text, size_t n)
{
	int state;
	bool ended;

	pthread_mutex_lock(&g->lock);
	state = follow(g, at, text, n);
	ended = state >= 0 && g->automaton.state[state]->complete && !automaton_open(&g->automaton, state);
	pthread_mutex_unlock(&g->lock);
	return ended;
}
