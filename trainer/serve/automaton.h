/* automaton.h - a grammar made deterministic, as far as it is used
 *
 * A state stands for all places where a text may be in the grammar, each with the calls that it is in; what a byte leads to is worked out
 * once and kept. Every place that is kept can be brought to an end within the grammar's depth, so a state that is not dead has a way to a
 * complete text. A state depends on the bytes taken and on nothing else.
 *
 * Hostile grammars are met by limits: a state holds PLACES places and no more (what is left out only narrows the choice), and one
 * automaton_budget() of work, and AUTOMATON_BYTES, are spent at most before automaton_step() gives up. Not for several threads at once. */
#ifndef SA_AUTOMATON_H
#define SA_AUTOMATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grammar.h"

#define PLACES 2048
#define AUTOMATON_BYTES (64 << 20)

enum { DEAD = -1, TIRED = -2, UNKNOWN = -3 };	/* in place of a state */

struct automaton_state {
	int next[256];		/* a state, DEAD or UNKNOWN */
	size_t first;		/* its places in `place` */
	int n;
	bool complete;		/* the text may end here */
	uint64_t *mask;		/* the caller's, malloc'd: freed with the state; count it with automaton_grew() */
};

struct automaton {
	const struct grammar *grammar;
	struct automaton_state **state;
	int nstate, capstate;
	int *table;		/* states by the hash of their places */
	int captable;
	struct place *place;
	size_t nplace, capplace;
	struct frame *frame;	/* chains of calls, each once; [0] is the empty one */
	int nframe, capframe;
	int *frames;		/* frames by their hash */
	int capframes;
	struct work *work;	/* scratch of a step */
	size_t bytes;		/* what all this takes */
	long left;		/* of the budget */
};

/* The grammar outlives the automaton. */
void automaton_init(struct automaton *a, const struct grammar *g);
void automaton_free(struct automaton *a);
/* Forget all states: those that the caller has are void. */
void automaton_clear(struct automaton *a);
void automaton_grew(struct automaton *a, size_t bytes);

/* What may be done from here on: places looked at. */
void automaton_budget(struct automaton *a, long places);

/* The state of an empty text; or TIRED. */
int automaton_start(struct automaton *a);
/* The state behind one more byte; DEAD when the grammar does not take it, TIRED when the budget is spent. */
int automaton_compute(struct automaton *a, int state, unsigned char byte);

static inline int
automaton_step(struct automaton *a, int state, unsigned char byte)
{
	int next = a->state[state]->next[byte];

	return next == UNKNOWN ? automaton_compute(a, state, byte) : next;
}

/* May the text go on? */
static inline bool
automaton_open(const struct automaton *a, int state)
{
	return a->state[state]->n > 0;
}

#endif
