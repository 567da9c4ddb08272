/* range.h - JSON numbers of a range, as a grammar
 *
 * Written digit by digit beside both bounds, so a range holds exactly: for a double that reads the text too, since no text of a bounded
 * number has more than RANGE_DIGITS digits. Numbers never are longer than a double can hold (RFC 7493, I-JSON): RANGE_DIGITS digits before the
 * point; without bounds as many behind it and an exponent of two digits. */
#ifndef SA_RANGE_H
#define SA_RANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "grammar.h"

#define RANGE_DIGITS 15
#define RANGE_MOST 40		/* digits of a bound */

/* A bound in decimal: digits before the point, then those behind it. No bound: ndigits = 0. */
struct bound {
	bool negative, exclusive;
	int nint, ndigits;
	char digit[RANGE_MOST];
};

/* 0, or -1 when it has too many digits. */
int bound_read(struct bound *b, json_t *number, bool exclusive);

/* A number from `from` to `to`; its least and its greatest value may be absent. */
void range_put(struct grammar *g, int from, int to, const struct bound *least, const struct bound *greatest, bool integer);

#endif
