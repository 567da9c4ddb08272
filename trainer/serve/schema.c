/* schema.c - see schema.h: parts and their rules, combinations, values; what is about one type is in schema_types.c */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "json.h"

#define TEXT_LEFT (16 << 20)	/* bytes of parts' texts in all: what merging makes of a hostile schema ends somewhere */
#define MERGES 20000
#define WORK (4L << 20)

enum use {
	NOTE,
	EVERY,		/* about every type */
	NEUTRAL,	/* not supported: only false, 0 or [] */
	OF,		/* OF + types: about these types */
};

static const struct { const char *name; int use; } keywords[] = {
	{ "title", NOTE }, { "description", NOTE }, { "default", NOTE }, { "example", NOTE }, { "examples", NOTE }, { "deprecated", NOTE },
	{ "readOnly", NOTE }, { "writeOnly", NOTE }, { "$comment", NOTE }, { "$schema", NOTE }, { "$id", NOTE }, { "$defs", NOTE }, { "definitions", NOTE },
	{ "type", EVERY }, { "enum", EVERY }, { "const", EVERY }, { "anyOf", EVERY }, { "oneOf", EVERY }, { "allOf", EVERY }, { "$ref", EVERY },
	{ "nullable", EVERY }, { "if", EVERY }, { "then", EVERY }, { "else", EVERY },
	{ "properties", OF + T_OBJECT }, { "required", OF + T_OBJECT }, { "additionalProperties", OF + T_OBJECT },
	{ "patternProperties", OF + T_OBJECT }, { "minProperties", OF + T_OBJECT }, { "maxProperties", OF + T_OBJECT },
	{ "items", OF + T_ARRAY }, { "prefixItems", OF + T_ARRAY }, { "minItems", OF + T_ARRAY }, { "maxItems", OF + T_ARRAY },
	{ "uniqueItems", OF + T_ARRAY },
	{ "minLength", OF + T_STRING }, { "maxLength", OF + T_STRING }, { "pattern", OF + T_STRING }, { "format", OF + T_STRING },
	{ "minimum", OF + T_NUMBER + T_INTEGER }, { "maximum", OF + T_NUMBER + T_INTEGER },
	{ "exclusiveMinimum", OF + T_NUMBER + T_INTEGER }, { "exclusiveMaximum", OF + T_NUMBER + T_INTEGER },
	{ "multipleOf", OF + T_NUMBER + T_INTEGER },
	{ "minContains", NEUTRAL },
};

static int
use_of(const char *keyword)
{
	for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
		if (strcmp(keywords[i].name, keyword) == 0)
			return keywords[i].use;
	return -1;
}

bool
schema_is_note(const char *keyword)
{
	return use_of(keyword) == NOTE;
}

bool
schema_constrains(json_t *s)
{
	const char *name;
	json_t *v;

	json_object_foreach(s, name, v)
		if (!schema_is_note(name))
			return true;
	return false;
}

static bool
neutral(json_t *v)
{
	return json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) || (json_is_array(v) && json_array_size(v) == 0);
}

/* Every keyword is known; the types that those of single types are about in *about. */
static int
check_keywords(struct schema *c, json_t *s, int *about)
{
	const char *name;
	json_t *v;

	*about = 0;
	json_object_foreach(s, name, v) {
		int use = use_of(name);

		if (use < 0 || (use == NEUTRAL && !neutral(v)))
			return err_set(c->e, "the keyword '%.60s' is not supported", name);
		if (use > OF)
			*about |= use - OF;
	}
	return 0;
}

int
schema_rule(struct schema *c, json_t *s)
{
	char *text = json_dumps(s, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t n = strlen(text);
	json_t *known = json_object_get(c->rules, text);
	int rule = known ? (int)json_integer_value(known) : -1;

	c->text += n;
	if (!known && n <= SCHEMA_BYTES && c->text < TEXT_LEFT && !grammar_full(c->g)) {
		rule = grammar_rule(c->g);
		json_object_set_new(c->rules, text, json_integer(rule));
		json_array_append_new(c->queue, json_pack("[O,i]", s, rule));
	}
	free(text);
	return rule < 0 ? err_set(c->e, "it is too large") : rule;
}

static int
put_part(struct schema *c, json_t *s, int from, int to)
{
	int rule = schema_rule(c, s);

	if (rule < 0)
		return -1;
	grammar_call(c->g, from, rule, to);
	return 0;
}

static void
put_text(struct schema *c, int from, int to, const char *text, size_t n)
{
	grammar_skip(c->g, grammar_text(c->g, from, text, n), to);
}

/* ---- values ---- */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Texts, sorted: what some begin with alike is there once, so that no more places than letters come next. */
static void
put_sorted(struct schema *c, char **text, int n, int from, int to)
{
	int *state = xcalloc(1, sizeof *state), have = 0;	/* state[i]: behind i bytes of the text before */

	state[0] = from;
	for (int i = 0; i < n && !grammar_full(c->g); i++) {
		int len = strlen(text[i]), k = 0;

		while (k < have && k < len && text[i][k] == text[i - 1][k])
			k++;
		state = xreallocarray(state, len + 1, sizeof *state);
		for (; k < len; k++)
			state[k + 1] = grammar_text(c->g, state[k], text[i] + k, 1);
		grammar_skip(c->g, state[len], to);
		have = len;
	}
	free(state);
}

static bool
allows(int types, json_t *v)
{
	return types & schema_type_of(v);
}

static bool
listed(json_t *list, json_t *v)
{
	json_t *x;
	size_t i;

	json_array_foreach(list, i, x)
		if (json_equal(x, v))
			return true;
	return false;
}

/* The values that `enum` or `const` allow and `type` too. */
static int
put_values(struct schema *c, json_t *values, json_t *among, int types, int from, int to)
{
	char **text = xcalloc(json_array_size(values) + 1, sizeof *text);
	int n = 0;
	size_t i;
	json_t *v;

	json_array_foreach(values, i, v) {
		struct buf b = BUF_INIT(SCHEMA_BYTES * 8);

		if (!allows(types, v) || (among && !listed(among, v)))
			continue;
		json_write(&b, v);
		text[n++] = buf_take(&b);
	}
	qsort(text, n, sizeof *text, by_text);
	put_sorted(c, text, n, from, to);
	while (n > 0)
		free(text[--n]);
	free(text);
	return 0;
}

/* enum and const, beside which only `type` may say more. */
static int
put_listed(struct schema *c, json_t *s, int types, int from, int to)
{
	json_t *one = json_object_get(s, "const"), *list = json_object_get(s, "enum"), *v, *values;
	const char *name;

	json_object_foreach(s, name, v)
		if (use_of(name) > OF)
			return err_set(c->e, "'%.60s' beside '%s' is not supported", name, one ? "const" : "enum");
	if (list && !json_is_array(list))
		return err_set(c->e, "'enum' must be a list");
	values = one ? json_pack("[O]", one) : json_incref(list);
	put_values(c, values, one ? list : NULL, types, from, to);
	json_decref(values);
	return 0;
}

/* ---- combinations ---- */

static json_t *
without(json_t *s, const char *keyword)
{
	json_t *copy = json_copy(s);

	json_object_del(copy, keyword);
	return copy;
}

/* Each of two alternatives excludes the other. */
static int
check_exclusive(struct schema *c, json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		for (size_t k = 0; k < i; k++)
			if (!schema_disjoint(c, json_array_get(list, i), json_array_get(list, k)))
				return err_set(c->e, "'oneOf' is only supported where its alternatives exclude each other by type, by value (const, enum) "
					"or by a required property");
	return 0;
}

/* The alternatives, each together with the keywords that stand beside the list. */
static int
put_alternatives(struct schema *c, json_t *s, const char *keyword, int from, int to)
{
	json_t *list = json_object_get(s, keyword), *rest, *v;
	bool alone;
	size_t i;
	int rc = 0;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > SCHEMA_PARTS)
		return err_set(c->e, "'%s' must be a list of 1 to %d schemas", keyword, SCHEMA_PARTS);
	if (*keyword == 'o' && check_exclusive(c, list) < 0)
		return -1;
	rest = without(s, keyword);
	alone = !schema_constrains(rest);
	json_array_foreach(list, i, v) {
		json_t *part = alone ? json_incref(v) : schema_merge(c, rest, v);

		rc = part ? put_part(c, part, from, to) : -1;
		json_decref(part);
		if (rc < 0)
			break;
	}
	json_decref(rest);
	return rc;
}

/* $ref and allOf, with what stands beside them. */
static int
put_merged(struct schema *c, json_t *s, const char *ref, int from, int to)
{
	json_t *rest = without(s, "$ref"), *target, *merged;
	int rc;

	if (ref && !schema_constrains(rest)) {
		target = schema_find(c->root, ref, c->e);
		json_decref(rest);
		return target ? put_part(c, target, from, to) : -1;
	}
	json_decref(rest);
	merged = schema_merge(c, s, json_true());
	rc = merged ? put_part(c, merged, from, to) : -1;
	json_decref(merged);
	return rc;
}

/* ---- parts ---- */

static int
put_types(struct schema *c, json_t *s, int types, int from, int to)
{
	if (types & T_NULL)
		put_text(c, from, to, "null", 4);
	if (types & T_BOOLEAN) {
		put_text(c, from, to, "true", 4);
		put_text(c, from, to, "false", 5);
	}
	if ((types & (T_INTEGER | T_NUMBER)) && schema_put_number(c, s, from, to, !(types & T_NUMBER)) < 0)
		return -1;
	if ((types & T_STRING) && schema_put_string(c, s, from, to) < 0)
		return -1;
	if ((types & T_ARRAY) && schema_put_array(c, s, from, to) < 0)
		return -1;
	return types & T_OBJECT ? schema_put_object(c, s, from, to) : 0;
}

static int
put_object(struct schema *c, json_t *s, int from, int to)
{
	const char *ref = json_string_value(json_object_get(s, "$ref"));
	int about, types;

	if (check_keywords(c, s, &about) < 0)
		return -1;
	if (json_object_get(s, "nullable") && !json_is_boolean(json_object_get(s, "nullable")))
		return err_set(c->e, "'nullable' must be true or false");
	if (json_is_true(json_object_get(s, "nullable"))) {
		json_t *rest = without(s, "nullable");
		int rc = put_part(c, rest, from, to);

		put_text(c, from, to, "null", 4);
		json_decref(rest);
		return rc;
	}
	if (json_object_get(s, "$ref") && !ref)
		return err_set(c->e, "'$ref' must be a string");
	if (ref || json_object_get(s, "allOf"))
		return put_merged(c, s, ref, from, to);
	if (json_object_get(s, "anyOf"))
		return put_alternatives(c, s, "anyOf", from, to);
	if (json_object_get(s, "oneOf"))
		return put_alternatives(c, s, "oneOf", from, to);
	if (json_object_get(s, "if"))
		return schema_put_if(c, s, from, to);
	types = schema_types(s, c->e);
	if (types < 0)
		return -1;
	if (json_object_get(s, "enum") || json_object_get(s, "const"))
		return put_listed(c, s, types, from, to);
	return put_types(c, s, json_object_get(s, "type") || !about ? types : about, from, to);
}

static int
fill_in(struct schema *c, json_t *s, int rule)
{
	int from = c->g->start[rule], to = c->g->end[rule];

	if (json_is_false(s))
		return 0;
	if (json_is_true(s))
		return put_types(c, s, T_ANY, from, to);
	return json_is_object(s) ? put_object(c, s, from, to) : err_set(c->e, "a schema must be an object, true or false");
}

int
schema_put(struct grammar *g, json_t *schema, struct err *e)
{
	struct schema c = { .g = g, .root = schema, .e = e, .rules = json_object(), .queue = json_array(), .left = MERGES, .work = WORK, .character = -1 };
	int root = schema_rule(&c, schema), rc = root;

	while (rc >= 0 && json_array_size(c.queue) > 0) {
		size_t last = json_array_size(c.queue) - 1;
		json_t *item = json_incref(json_array_get(c.queue, last));

		json_array_remove(c.queue, last);
		rc = fill_in(&c, json_array_get(item, 0), json_integer_value(json_array_get(item, 1)));
		json_decref(item);
	}
	json_decref(c.rules);
	json_decref(c.queue);
	return rc < 0 ? -1 : root;
}
