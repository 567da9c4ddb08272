/* schema.h - a JSON Schema as a grammar whose texts are values that are valid against it
 *
 * Every text of the grammar is JSON (RFC 8259, and I-JSON's limits of numbers) and valid against the schema. Not every valid text is one of
 * the grammar:
 * - White space: at most one space behind each : and each comma between members, and nowhere else.
 * - Properties come in the schema's order, then those that `required` names alone, then additional ones, whose keys have no escapes.
 * - Where additionalProperties is absent, there are none beside `properties`; where `items` is absent, none beyond `prefixItems`.
 * - Beside patternProperties, other properties are those of a pattern that none of `properties` is of.
 * - Elements that have to differ come in the order in which their values are listed.
 * - Without `type`, the types are those that the other keywords are about.
 * - Numbers are as in range.h; values are nested GRAMMAR_DEPTH / 4 levels at least.
 * Keywords: type, enum, const, properties, required, additionalProperties, patternProperties (no name is of two patterns), minProperties (where others
 * may come, up to one more than those listed), maxProperties, items, prefixItems, minItems, maxItems, uniqueItems (of listed plain values, or of one
 * element), minLength, maxLength, pattern (pattern.h), format (date, time, date-time, uuid, ipv4, email), minimum, maximum, exclusiveMinimum,
 * exclusiveMaximum, multipleOf (whole numbers up to 512), anyOf, oneOf (of alternatives that exclude each other by type, by value or by a required
 * property), allOf (merged), if with then and else (schema_if.c), $ref to the schema's own parts, recursive too, nullable; annotations are ignored.
 * Every other keyword, and a combination that is not known, is refused by name. */
#ifndef SA_SCHEMA_H
#define SA_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "grammar.h"

#define SCHEMA_BYTES (1 << 17)		/* of a schema's compact text */
#define SCHEMA_PARTS 1024		/* members of one properties, enum or anyOf that may come next */

/* Add the schema's rules; the root's, or -1. The schema is only read. */
int schema_put(struct grammar *g, json_t *schema, struct err *e);

/* ---- parts of it, which share these ---- */

enum { T_NULL = 1, T_BOOLEAN = 2, T_INTEGER = 4, T_NUMBER = 8, T_STRING = 16, T_ARRAY = 32, T_OBJECT = 64, T_ANY = 127 };

/* A schema on its way into the grammar. */
struct schema {
	struct grammar *g;
	json_t *root;
	struct err *e;
	json_t *rules;		/* the text of each part that has a rule: its number */
	json_t *queue;		/* parts whose rules are to be filled in: [schema, rule] */
	size_t text;		/* bytes of such texts so far */
	int left;		/* merges and comparisons that are still allowed */
	long work;		/* and places of automata that may be looked at */
	int character;		/* the rule of any character of a string; -1 before it is needed */
};

#define NO_LIMIT (-1)

/* A count that is not negative: *out stays as it is when the keyword is absent. 0 or -1. */
int schema_count(struct schema *c, json_t *s, const char *keyword, int *out);
/* At most one space, from `from`; where it ends. */
int schema_gap(struct grammar *g, int from);
/* Equal as JSON Schema has it: 1 and 1.0 are. */
bool schema_same(json_t *a, json_t *b);

/* What follows one another with commas between, so many of them (series.c): at[k] is where a text with k of them goes on, -1: there is none. Where
 * there is a most, k counts up to that; otherwise up to the least that is wanted, and at[top] is that many or more. */
struct series {
	int least, most, top;
	int *at;
};

/* The bracket is open; `might`: no more than that many come, or some number of them again and again. */
void series_init(struct series *in, int from, int least, int most, int might);
/* One more text of the rule; or none, unless it is needed. */
void series_put(struct grammar *g, struct series *in, int rule, bool needed);
/* Texts of the rule as often as it likes, of which only the first counts for the least. Nothing may be put behind them. */
void series_repeat(struct grammar *g, struct series *in, int rule);
/* The closing bracket, where there are enough of them. Frees it. */
void series_end(struct grammar *g, struct series *in, char bracket, int to);

/* The rule of a part, filled in later; -1 with why. */
int schema_rule(struct schema *c, json_t *s);
/* `"` stands before: the rest of a string or of a number, an array, an object of a schema without $ref and combinations. 0 or -1. */
int schema_put_string(struct schema *c, json_t *s, int from, int to);
int schema_put_number(struct schema *c, json_t *s, int from, int to, bool integer);
int schema_put_array(struct schema *c, json_t *s, int from, int to);
int schema_put_object(struct schema *c, json_t *s, int from, int to);
/* A schema with `if`, but without $ref and combinations. */
int schema_put_if(struct schema *c, json_t *s, int from, int to);

/* Target of a reference within the root: "#", or "#/" and a JSON pointer. Borrowed; NULL with why. */
json_t *schema_find(json_t *root, const char *ref, struct err *e);

/* The plain values (no arrays, no objects) that `const` or `enum` lists, each once: a new list; NULL where it does not, or lists others too. */
json_t *schema_values(json_t *s);

/* Is the keyword only an annotation? Does the object have one that is not? */
bool schema_is_note(const char *keyword);
bool schema_constrains(json_t *s);

/* Both at once as one schema: a new reference, or NULL with why. */
json_t *schema_merge(struct schema *c, json_t *a, json_t *b);

/* True only when no value is valid against both. */
bool schema_disjoint(struct schema *c, json_t *a, json_t *b);

/* The types that `type` names; T_ANY without; -1 with why. A number's set has T_INTEGER in it too. */
int schema_types(json_t *s, struct err *e);
int schema_type_of(json_t *value);

#endif
