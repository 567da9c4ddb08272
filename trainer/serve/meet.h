/* meet.h - texts that are of several grammars at once, and of a count: the product of their automata, as a piece of a grammar
 *
 * The grammars are small ones of their own (regular expressions, ranges of numbers), each with its root's rule. A meter is a finite machine beside
 * them. */
#ifndef SA_MEET_H
#define SA_MEET_H

#include <stdbool.h>

#include "err.h"
#include "grammar.h"

#define MEET_PARTS 2
#define MEET_NONE (-1)		/* no such count, or no way on */

struct meter {
	enum { METER_NONE, METER_CHARACTERS, METER_MULTIPLE } kind;
	int least, most;	/* characters of the inside of a JSON string; MEET_NONE: as many as it likes */
	int of;			/* the digits are a multiple of this one, which is positive */
};

/* Texts from `from` to `to` that are of all n parts, 1 to MEET_PARTS of them, and that the meter lets pass. The parts are finished here
 * (grammar_finish) and stay the caller's. What it costs, in places looked at, is taken from *left. 0, or -1 with why: it is too large. Where there is
 * no such text, nothing is put. */
int meet_put(struct grammar *g, int from, int to, struct grammar *part, const int *root, int n, const struct meter *m, long *left, struct err *e);

#endif
