/* grammar.h - a grammar over bytes, as a network of states that rules share
 *
 * A rule is a piece of the network with a start and an end; an edge takes a byte of a range, takes nothing, or calls a rule and goes on where
 * that ends: a recursive transition network, which is what JSON with its nesting needs. Written by its makers (schema.h, range.h, pattern.h)
 * from a state to a state, checked by grammar_finish(), and from then on read only: automaton.h runs it.
 *
 * Hostile input is met by limits: past GRAMMAR_STATES or GRAMMAR_EDGES nothing is added any more, the grammar is full, and grammar_finish()
 * refuses it. Makers look at grammar_full() in loops whose length comes from outside. */
#ifndef SA_GRAMMAR_H
#define SA_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define GRAMMAR_STATES (1 << 16)
#define GRAMMAR_EDGES (1 << 17)
#define GRAMMAR_DEPTH 128	/* calls within calls: at least a quarter as many levels of nested values */

enum { EDGE_BYTES = -1, EDGE_SKIP = -2 };	/* or a rule */

struct edge {
	int to, rule;
	unsigned char lo, hi;	/* of EDGE_BYTES */
};

struct grammar_state {
	int first, n;		/* its edges */
	int need;		/* the fewest calls within calls on any way to the end of its rule; more than GRAMMAR_DEPTH: there is none */
	bool end;		/* of a rule */
};

struct grammar {
	struct grammar_state *state;
	int nstate, capstate;
	struct edge *edge;
	int *from;		/* where each edge begins, while they are added; NULL once they are sorted by that */
	int nedge, capedge;
	int *start, *end;	/* [nrule] states */
	int nrule, caprule;
	bool full;
	int root;		/* the rule that the text is one of */
};

void grammar_init(struct grammar *g);
void grammar_free(struct grammar *g);

int grammar_state(struct grammar *g);
int grammar_rule(struct grammar *g);	/* with its two states, not yet connected */
void grammar_bytes(struct grammar *g, int from, int lo, int hi, int to);
void grammar_skip(struct grammar *g, int from, int to);
void grammar_call(struct grammar *g, int from, int rule, int to);
bool grammar_full(const struct grammar *g);

/* From `from` on, exactly these bytes; where they end. */
int grammar_text(struct grammar *g, int from, const char *s, size_t n);

/* The texts are those of this rule. 0, or -1 when the grammar is full, some rule may call itself before it took a byte, or no text is of the
 * rule with at most GRAMMAR_DEPTH calls within calls. */
int grammar_finish(struct grammar *g, int root, struct err *e);

#endif
