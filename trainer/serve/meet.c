/* meet.c - see meet.h */
#include "meet.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "automaton.h"

#define SPOT_COST 64	/* places: following all bytes from a spot takes about as long */

/* Where a text is: in each part, and on the meter. */
struct spot {
	int state[MEET_PARTS], meter;
};

struct meet {
	struct grammar *g;
	struct automaton part[MEET_PARTS];
	int n;
	const struct meter *m;
	struct spot *spot;	/* those reached so far */
	int *at;		/* the grammar's state of each */
	int nspot, capspot;
	int *table;		/* spots by their hash */
	int captable;
	long *left;
	bool tired;
};

/* ---- meters ---- */

/* Of characters: 6 * those begun + how the one that is being written goes on: 0 it is whole, 1 to 4 so many bytes are missing, 5 behind a backslash. */
static int
step_characters(const struct meter *m, int now, unsigned char byte)
{
	int begun = now / 6, rest = now % 6, top = m->most == MEET_NONE ? m->least : m->most;

	if (rest == 5)
		return begun * 6 + (byte == 'u' ? 4 : 0);
	if (rest > 0)
		return now - 1;
	if (begun == m->most)
		return MEET_NONE;
	begun += begun < top;
	return begun * 6 + (byte == '\\' ? 5 : byte < 0xC0 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3);
}

static int
step(const struct meter *m, int now, unsigned char byte)
{
	if (m->kind == METER_CHARACTERS)
		return step_characters(m, now, byte);
	if (m->kind == METER_MULTIPLE && byte >= '0' && byte <= '9')
		return (now * 10 + byte - '0') % m->of;
	return now;
}

static bool
passes(const struct meter *m, int now)
{
	if (m->kind == METER_CHARACTERS)
		return now % 6 == 0 && now / 6 >= m->least;
	return m->kind != METER_MULTIPLE || now == 0;
}

/* ---- spots ---- */

static void
grow(struct meet *t)
{
	t->capspot = t->capspot ? t->capspot * 2 : 64;
	t->spot = xreallocarray(t->spot, t->capspot, sizeof *t->spot);
	t->at = xreallocarray(t->at, t->capspot, sizeof *t->at);
	t->captable = 2 * t->capspot;
	t->table = xreallocarray(t->table, t->captable, sizeof *t->table);
	memset(t->table, -1, t->captable * sizeof *t->table);
	for (int i = 0; i < t->nspot; i++) {
		size_t k = XXH3_64bits(&t->spot[i], sizeof *t->spot) & (t->captable - 1);

		while (t->table[k] >= 0)
			k = (k + 1) & (t->captable - 1);
		t->table[k] = i;
	}
}

/* The grammar's state of a spot. */
static int
state_of(struct meet *t, const struct spot *s)
{
	size_t k;

	if (t->nspot == t->capspot)
		grow(t);
	for (k = XXH3_64bits(s, sizeof *s) & (t->captable - 1); t->table[k] >= 0; k = (k + 1) & (t->captable - 1))
		if (memcmp(&t->spot[t->table[k]], s, sizeof *s) == 0)
			return t->at[t->table[k]];
	t->table[k] = t->nspot;
	t->spot[t->nspot] = *s;
	t->at[t->nspot] = grammar_state(t->g);
	return t->at[t->nspot++];
}

/* The spot behind a byte. False: there is none. */
static bool
follow(struct meet *t, struct spot *s, unsigned char byte)
{
	for (int i = 0; i < t->n; i++) {
		s->state[i] = automaton_step(&t->part[i], s->state[i], byte);
		t->tired = t->tired || s->state[i] == TIRED;
		if (s->state[i] < 0)
			return false;
	}
	s->meter = step(t->m, s->meter, byte);
	return s->meter >= 0;
}

/* The edges of a spot: ranges of bytes that lead to the same one. */
static void
put_edges(struct meet *t, int i, int to)
{
	const struct spot here = t->spot[i];
	bool ends = passes(t->m, here.meter);
	int lo = 0, last = -1;

	for (int k = 0; k < t->n; k++)
		ends = ends && t->part[k].state[here.state[k]]->complete;
	if (ends)
		grammar_skip(t->g, t->at[i], to);
	for (int byte = 0; byte <= 256; byte++) {
		struct spot s = here;
		int next = byte < 256 && follow(t, &s, byte) ? state_of(t, &s) : -1;

		if (next == last)
			continue;
		if (last >= 0)
			grammar_bytes(t->g, t->at[i], lo, byte - 1, last);
		lo = byte;
		last = next;
	}
}

static int
begin(struct meet *t, int from)
{
	struct spot s = { .meter = 0 };

	for (int i = 0; i < t->n; i++) {
		automaton_budget(&t->part[i], *t->left);
		s.state[i] = automaton_start(&t->part[i]);
		if (s.state[i] < 0)
			return -1;
	}
	grammar_skip(t->g, from, state_of(t, &s));
	return 0;
}

int
meet_put(struct grammar *g, int from, int to, struct grammar *part, const int *root, int n, const struct meter *m, long *left,
	 struct err *e)
{
	struct meet t = { .g = g, .n = n, .m = m, .left = left };
	long spent = *left;
	struct err none;
	bool some = true;

	for (int i = 0; i < n; i++) {
		if (grammar_full(&part[i]))
			return err_set(e, "it is too large");
		some = some && grammar_finish(&part[i], root[i], &none) == 0;
	}
	if (!some)
		return 0;
	for (int i = 0; i < n; i++)
		automaton_init(&t.part[i], &part[i]);
	if (begin(&t, from) == 0)
		for (int i = 0; i < t.nspot && !t.tired && !grammar_full(g) && SPOT_COST * (long)i < *left; i++)
			put_edges(&t, i, to);
	t.tired = t.tired || SPOT_COST * (long)t.nspot >= *left;
	*left -= SPOT_COST * (long)t.nspot;
	for (int i = 0; i < n; i++) {
		*left -= spent - t.part[i].left;
		automaton_free(&t.part[i]);
	}
	free(t.spot);
	free(t.at);
	free(t.table);
	return t.tired || grammar_full(g) ? err_set(e, "it is too large") : 0;
}
