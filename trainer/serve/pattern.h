/* pattern.h - regular expressions (ECMA 262's, as JSON Schema takes them, over code points) as a grammar
 *
 * Known are characters, ., classes, \d \w \s and their opposites, groups, alternation, the quantifiers * + ? {m} {m,} {m,n}, and ^ and $ at
 * the ends of an alternative that is in no group. Everything else is refused by name. */
#ifndef SA_PATTERN_H
#define SA_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "grammar.h"

/* Texts from `from` to `to`. search: that hold a match somewhere (JSON Schema's pattern); otherwise they are matches as a whole.
 * json: as they stand in a JSON string (chars.h). p is valid UTF-8 without a NUL. 0, or -1 with what was wrong. */
int pattern_put(struct grammar *g, int from, int to, const char *p, size_t n, bool search, bool json, struct err *e);

#endif
