/* schema.h - a JSON Schema as a grammar whose texts are values that are valid against it
 *
 * Every text of the grammar is JSON (RFC 8259, and I-JSON's limits of numbers) and valid against the schema. Not every valid text is one of
 * the grammar:
 * - White space: at most one space behind each : and each comma between members, and nowhere else.
 * - Properties come in the schema's order, then those that `required` names alone, then additional ones, whose keys have no escapes.
 * - Where additionalProperties is absent, there are none beside `properties`; where `items` is absent, none beyond `prefixItems`.
 * - Without `type`, the types are those that the other keywords are about.
 * - Numbers are as in range.h; values are nested GRAMMAR_DEPTH / 4 levels at least.
 * Keywords: type, enum, const, properties, required, additionalProperties, items, prefixItems, minItems, maxItems, minLength, maxLength,
 * pattern (pattern.h), format (date, time, date-time, uuid, ipv4, email), minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf (of
 * alternatives that exclude each other by type, by value or by a required property), allOf (merged), $ref to the schema's own parts,
 * recursive too, nullable; annotations are ignored. Every other keyword, and a combination that is not known, is refused by name. */
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
	int character;		/* the rule of any character of a string; -1 before it is needed */
};

/* The rule of a part, filled in later; -1 with why. */
int schema_rule(struct schema *c, json_t *s);
/* `"` stands before: the rest of a string or of a number, an array, an object of a schema without $ref and combinations. 0 or -1. */
int schema_put_string(struct schema *c, json_t *s, int from, int to);
int schema_put_number(struct schema *c, json_t *s, int from, int to, bool integer);
int schema_put_array(struct schema *c, json_t *s, int from, int to);
int schema_put_object(struct schema *c, json_t *s, int from, int to);

/* Target of a reference within the root: "#", or "#/" and a JSON pointer. Borrowed; NULL with why. */
json_t *schema_find(json_t *root, const char *ref, struct err *e);

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
