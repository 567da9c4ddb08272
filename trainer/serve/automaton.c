/* automaton.c - see automaton.h */
#include "automaton.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define WORK (1 << 14)		/* places looked at in one step */
#define SEEN (2 * WORK)		/* slots of their hash table */
#define START_STATE 0		/* once it is made */

struct place {
	int q, frame;
};

/* A call that a text is in: where it goes on behind it, and the call around it. */
struct frame {
	int back, around, depth;
};

struct work {
	struct place todo[WORK];
	int ntodo;
	struct place kept[PLACES];	/* those that take a byte */
	int nkept;
	bool complete;
	struct { struct place p; unsigned stamp; } seen[SEEN];
	unsigned stamp;
};

static uint64_t
hash(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

/* ---- tables ---- */

static int *
new_table(int cap)
{
	int *t = xreallocarray(NULL, cap, sizeof *t);

	memset(t, -1, cap * sizeof *t);
	return t;
}

static void
put(int *table, int cap, uint64_t h, int value)
{
	size_t i = h & (cap - 1);

	while (table[i] >= 0)
		i = (i + 1) & (cap - 1);
	table[i] = value;
}

static uint64_t
frame_hash(const struct frame *f)
{
	return hash(f, 2 * sizeof(int));	/* back and around */
}

static uint64_t
state_hash(const struct place *p, int n, bool complete)
{
	return hash(p, n * sizeof *p) + complete;
}

static void
grow_frames(struct automaton *a)
{
	a->capframe = a->capframe ? a->capframe * 2 : 256;
	a->frame = xreallocarray(a->frame, a->capframe, sizeof *a->frame);
	free(a->frames);
	a->capframes = a->capframe * 2;
	a->frames = new_table(a->capframes);
	for (int i = 1; i < a->nframe; i++)
		put(a->frames, a->capframes, frame_hash(&a->frame[i]), i);
}

static int
push(struct automaton *a, int back, int around)
{
	struct frame f = { back, around, a->frame[around].depth + 1 };
	size_t i;

	for (i = frame_hash(&f) & (a->capframes - 1); a->frames[i] >= 0; i = (i + 1) & (a->capframes - 1))
		if (a->frame[a->frames[i]].back == back && a->frame[a->frames[i]].around == around)
			return a->frames[i];
	if (a->nframe == a->capframe)
		grow_frames(a);
	put(a->frames, a->capframes, frame_hash(&f), a->nframe);
	a->frame[a->nframe] = f;
	automaton_grew(a, sizeof f + 2 * sizeof(int));
	return a->nframe++;
}

static void
grow_states(struct automaton *a)
{
	a->capstate = a->capstate ? a->capstate * 2 : 64;
	a->state = xreallocarray(a->state, a->capstate, sizeof *a->state);
	free(a->table);
	a->captable = a->capstate * 2;
	a->table = new_table(a->captable);
	for (int i = 0; i < a->nstate; i++)
		put(a->table, a->captable, state_hash(a->place + a->state[i]->first, a->state[i]->n, a->state[i]->complete), i);
}

/* The places found by a step, as a state. */
static int
intern(struct automaton *a)
{
	const struct work *w = a->work;
	uint64_t h = state_hash(w->kept, w->nkept, w->complete);
	size_t bytes = w->nkept * sizeof *w->kept;
	struct automaton_state *s;

	for (size_t i = h & (a->captable - 1); a->table[i] >= 0; i = (i + 1) & (a->captable - 1)) {
		s = a->state[a->table[i]];
		if (s->n == w->nkept && s->complete == w->complete && memcmp(a->place + s->first, w->kept, bytes) == 0)
			return a->table[i];
	}
	if (a->nstate == a->capstate)
		grow_states(a);
	while (a->nplace + w->nkept > a->capplace) {
		a->capplace *= 2;
		a->place = xreallocarray(a->place, a->capplace, sizeof *a->place);
	}
	memcpy(a->place + a->nplace, w->kept, bytes);
	s = xcalloc(1, sizeof *s);
	s->first = a->nplace;
	s->n = w->nkept;
	s->complete = w->complete;
	for (int i = 0; i < 256; i++)
		s->next[i] = UNKNOWN;
	a->nplace += w->nkept;
	a->state[a->nstate] = s;
	put(a->table, a->captable, h, a->nstate);
	automaton_grew(a, sizeof *s + bytes);
	return a->nstate++;
}

/* ---- steps ---- */

/* A place to look at, once, if it can be brought to an end. Where there is no room the choice is narrowed. */
static void
reach(struct automaton *a, int q, int frame)
{
	struct work *w = a->work;
	struct place p = { q, frame };
	size_t i = hash(&p, sizeof p) & (SEEN - 1);

	if (a->frame[frame].depth + a->grammar->state[q].need > GRAMMAR_DEPTH || w->ntodo == WORK)
		return;
	for (; w->seen[i].stamp == w->stamp; i = (i + 1) & (SEEN - 1))
		if (w->seen[i].p.q == q && w->seen[i].p.frame == frame)
			return;
	w->seen[i].p = p;
	w->seen[i].stamp = w->stamp;
	w->todo[w->ntodo++] = p;
}

/* A call of a rule with which its caller ends as well needs no frame of its own. */
static void
enter(struct automaton *a, const struct edge *e, int frame)
{
	const struct grammar *g = a->grammar;
	const struct grammar_state *back = &g->state[e->to];

	if (a->frame[frame].depth + back->need > GRAMMAR_DEPTH)
		return;
	reach(a, g->start[e->rule], back->end && back->n == 0 ? frame : push(a, e->to, frame));
}

static void
look(struct automaton *a, struct place p)
{
	const struct grammar *g = a->grammar;
	const struct grammar_state *q = &g->state[p.q];
	struct work *w = a->work;
	bool takes = false;

	if (q->end && p.frame == 0)
		w->complete = true;
	else if (q->end)
		reach(a, a->frame[p.frame].back, a->frame[p.frame].around);
	for (const struct edge *e = g->edge + q->first; e < g->edge + q->first + q->n; e++) {
		if (e->rule == EDGE_BYTES)
			takes = true;
		else if (e->rule == EDGE_SKIP)
			reach(a, e->to, p.frame);
		else
			enter(a, e, p.frame);
	}
	if (takes && w->nkept < PLACES)
		w->kept[w->nkept++] = p;
}

static void
begin(struct automaton *a)
{
	struct work *w = a->work;

	w->ntodo = w->nkept = 0;
	w->complete = false;
	if (++w->stamp == 0) {
		memset(w->seen, 0, sizeof w->seen);
		w->stamp = 1;
	}
}

/* Everything that the places reached so far lead to without a byte. */
static int
close_over(struct automaton *a)
{
	struct work *w = a->work;

	for (int i = 0; i < w->ntodo; i++)
		look(a, w->todo[i]);
	a->left -= w->ntodo;
	return w->nkept == 0 && !w->complete ? DEAD : intern(a);
}

int
automaton_start(struct automaton *a)
{
	const struct grammar *g = a->grammar;

	if (a->nstate > 0)
		return START_STATE;
	if (a->left <= 0 || a->bytes > AUTOMATON_BYTES)
		return TIRED;
	begin(a);
	reach(a, g->start[g->root], 0);
	return close_over(a);
}

int
automaton_compute(struct automaton *a, int state, unsigned char byte)
{
	struct automaton_state *s = a->state[state];
	const struct grammar *g = a->grammar;

	if (a->left <= 0 || a->bytes > AUTOMATON_BYTES)
		return TIRED;
	begin(a);
	a->left -= s->n;
	for (int i = 0; i < s->n; i++) {
		struct place p = a->place[s->first + i];
		const struct grammar_state *q = &g->state[p.q];

		for (const struct edge *e = g->edge + q->first; e < g->edge + q->first + q->n; e++)
			if (e->rule == EDGE_BYTES && e->lo <= byte && byte <= e->hi)
				reach(a, e->to, p.frame);
	}
	return s->next[byte] = close_over(a);
}

/* ---- lifetimes ---- */

void
automaton_init(struct automaton *a, const struct grammar *g)
{
	*a = (struct automaton){ .grammar = g };
	a->work = xcalloc(1, sizeof *a->work);
	automaton_clear(a);
}

void
automaton_clear(struct automaton *a)
{
	for (int i = 0; i < a->nstate; i++) {
		free(a->state[i]->mask);
		free(a->state[i]);
	}
	free(a->state);
	free(a->table);
	free(a->place);
	free(a->frame);
	free(a->frames);
	*a = (struct automaton){ .grammar = a->grammar, .work = a->work, .left = a->left };
	a->capplace = 256;
	a->place = xreallocarray(NULL, a->capplace, sizeof *a->place);
	grow_states(a);
	grow_frames(a);
	a->frame[0] = (struct frame){ -1, -1, 0 };
	a->nframe = 1;
}

void
automaton_free(struct automaton *a)
{
	automaton_clear(a);
	free(a->state);
	free(a->table);
	free(a->place);
	free(a->frame);
	free(a->frames);
	free(a->work);
}

void
automaton_grew(struct automaton *a, size_t bytes)
{
	a->bytes += bytes;
}

void
automaton_budget(struct automaton *a, long places)
{
	a->left = places;
}
