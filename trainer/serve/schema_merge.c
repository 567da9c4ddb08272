/* schema_merge.c - two schemas at once: allOf, keywords beside $ref or anyOf, and whether alternatives exclude each other */
#include "schema.h"

#include <string.h>

#define HOPS 64			/* references and merges within each other */

static const struct { const char *name; int type; } type_names[] = {
	{ "null", T_NULL }, { "boolean", T_BOOLEAN }, { "integer", T_INTEGER }, { "number", T_NUMBER | T_INTEGER }, { "string", T_STRING },
	{ "array", T_ARRAY }, { "object", T_OBJECT },
};

static int
type_named(json_t *v, struct err *e)
{
	const char *name = json_string_value(v);

	for (size_t i = 0; name && i < sizeof type_names / sizeof *type_names; i++)
		if (strcmp(name, type_names[i].name) == 0)
			return type_names[i].type;
	return err_set(e, "'type': '%.40s' is no type", name ? name : "");
}

int
schema_types(json_t *s, struct err *e)
{
	json_t *v = json_object_get(s, "type");
	int types = 0;

	if (!v)
		return T_ANY;
	if (!json_is_array(v))
		return type_named(v, e);
	for (size_t i = 0; i < json_array_size(v); i++) {
		int one = type_named(json_array_get(v, i), e);

		if (one < 0)
			return -1;
		types |= one;
	}
	return types;
}

int
schema_type_of(json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_NULL: return T_NULL;
	case JSON_TRUE: case JSON_FALSE: return T_BOOLEAN;
	case JSON_INTEGER: return T_INTEGER;
	case JSON_REAL: return T_NUMBER;
	case JSON_STRING: return T_STRING;
	case JSON_ARRAY: return T_ARRAY;
	default: return T_OBJECT;
	}
}

bool
schema_same(json_t *a, json_t *b)
{
	return json_equal(a, b) || (json_is_number(a) && json_is_number(b) && json_number_value(a) == json_number_value(b));
}

json_t *
schema_values(json_t *s)
{
	json_t *one = json_object_get(s, "const"), *list = json_object_get(s, "enum"), *out = json_array(), *v;
	size_t i, k;

	if (one)
		json_array_append(out, one);
	json_array_foreach(one ? NULL : list, i, v) {
		for (k = 0; k < json_array_size(out) && !schema_same(json_array_get(out, k), v); k++)
			;
		if (k == json_array_size(out))
			json_array_append(out, v);
	}
	json_array_foreach(out, i, v)
		if (json_is_object(v) || json_is_array(v))
			break;
	if (i > 0 && i == json_array_size(out))
		return out;
	json_decref(out);
	return NULL;
}

static json_t *
types_json(int types)
{
	json_t *list = json_array();

	if (types & T_NUMBER)
		types &= ~T_INTEGER;
	for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
		int own = type_names[i].type == (T_NUMBER | T_INTEGER) ? T_NUMBER : type_names[i].type;

		if (types & own)
			json_array_append_new(list, json_string(type_names[i].name));
	}
	return list;
}

/* ---- references ---- */

/* One step of a JSON pointer (RFC 6901) off *p, percent-decoding aside. */
static json_t *
step(json_t *v, const char **p)
{
	char name[512];
	size_t n = 0, at = 0;

	for (++*p; **p && **p != '/'; ++*p) {
		char c = **p;

		if (c == '~' && ((*p)[1] == '0' || (*p)[1] == '1'))
			c = *++*p == '0' ? '~' : '/';
		if (n + 1 == sizeof name)
			return NULL;
		name[n++] = c;
	}
	name[n] = '\0';
	if (json_is_object(v))
		return json_object_get(v, name);
	if (n == 0 || n > 6 || strspn(name, "0123456789") != n)
		return NULL;
	for (size_t i = 0; i < n; i++)
		at = at * 10 + (name[i] - '0');
	return json_array_get(v, at);
}

json_t *
schema_find(json_t *root, const char *ref, struct err *e)
{
	const char *p = ref + 1;
	json_t *v = root;

	if (*ref != '#' || (*p && *p != '/')) {
		err_set(e, "'$ref': '%.80s': only references within the schema are supported ('#/...')", ref);
		return NULL;
	}
	while (v && *p)
		v = step(v, &p);
	if (!v)
		err_set(e, "'$ref': there is no '%.80s'", ref);
	return v;
}

/* ---- merging ---- */

static json_t *merge(struct schema *c, json_t *a, json_t *b, int hops);

static json_t *
both(json_t *a, json_t *b)
{
	return json_pack("{s:[O,O]}", "allOf", a, b);
}

/* A copy of s without one keyword. */
static json_t *
without(json_t *s, const char *keyword)
{
	json_t *copy = json_copy(s);

	json_object_del(copy, keyword);
	return copy;
}

/* s with its $ref and allOf merged in: a new reference. */
static json_t *
flat(struct schema *c, json_t *s, int hops)
{
	const char *ref = json_string_value(json_object_get(s, "$ref"));
	json_t *all = json_object_get(s, "allOf"), *target, *rest, *out;

	if (!json_is_object(s) || (!ref && !all))
		return json_incref(s);
	if (hops == HOPS || c->left-- <= 0) {
		err_set(c->e, "'%s' goes in circles, or too deep", ref ? "$ref" : "allOf");
		return NULL;
	}
	out = rest = without(s, ref ? "$ref" : "allOf");
	if (ref) {
		target = schema_find(c->root, ref, c->e);
		out = target ? merge(c, target, rest, hops + 1) : NULL;
		json_decref(rest);
		return out;
	}
	if (!json_is_array(all) || json_array_size(all) > SCHEMA_PARTS) {
		err_set(c->e, "'allOf' must be a list of at most %d schemas", SCHEMA_PARTS);
		json_decref(rest);
		return NULL;
	}
	for (size_t i = 0; out && i < json_array_size(all); i++) {
		json_t *next = merge(c, out, json_array_get(all, i), hops + 1);

		json_decref(out);
		out = next;
	}
	return out;
}

static json_t *
merge_lists(json_t *a, json_t *b, bool in_both)
{
	json_t *out = in_both ? json_array() : json_copy(a);
	size_t i, k;
	json_t *x, *y;

	json_array_foreach(b, i, x) {
		bool found = false;

		json_array_foreach(a, k, y)
			found = found || json_equal(x, y);
		if (found == in_both)
			json_array_append(out, x);
	}
	return out;
}

/* What the schema has to say of a property that it does not list: NULL for nothing. */
static json_t *
of_others(json_t *s)
{
	json_t *v = json_object_get(s, "additionalProperties");

	return json_is_true(v) ? NULL : v;
}

/* The properties of both: each meets what the other has to say of it. */
static json_t *
merge_properties(json_t *a, json_t *b)
{
	json_t *pa = json_object_get(a, "properties"), *pb = json_object_get(b, "properties"), *out = json_object(), *v, *w;
	const char *name;

	json_object_foreach(pa, name, v) {
		w = json_object_get(pb, name);
		w = w ? w : of_others(b);
		json_object_set_new(out, name, w ? both(v, w) : json_incref(v));
	}
	json_object_foreach(pb, name, v)
		if (!json_object_get(pa, name))
			json_object_set_new(out, name, of_others(a) ? both(v, of_others(a)) : json_incref(v));
	return out;
}

/* All pairs of alternatives. */
static json_t *
merge_alternatives(json_t *a, json_t *b)
{
	json_t *out = json_array(), *x, *y;
	size_t i, k;

	if (json_array_size(a) * json_array_size(b) > SCHEMA_PARTS) {
		json_decref(out);
		return NULL;
	}
	json_array_foreach(a, i, x)
		json_array_foreach(b, k, y)
			json_array_append_new(out, both(x, y));
	return out;
}

static bool
short_list(json_t *v)
{
	return json_is_array(v) && json_array_size(v) <= SCHEMA_PARTS;
}

static bool
one_of(const char *name, const char *const *list)
{
	while (*list && strcmp(name, *list) != 0)
		list++;
	return *list;
}

/* One keyword that both have. NULL: not known how. */
static json_t *
merge_keyword(const char *name, json_t *a, json_t *b)
{
	static const char *const least[] = { "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", NULL };
	static const char *const most[] = { "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", NULL };
	json_t *x = json_object_get(a, name), *y = json_object_get(b, name);
	bool numbers = json_is_number(x) && json_is_number(y), lists = short_list(x) && short_list(y);
	int ta, tb;

	if (json_equal(x, y) || schema_is_note(name) || strcmp(name, "nullable") == 0)
		return json_incref(x);
	if (numbers && one_of(name, least))
		return json_incref(json_number_value(x) > json_number_value(y) ? x : y);
	if (numbers && one_of(name, most))
		return json_incref(json_number_value(x) < json_number_value(y) ? x : y);
	if (strcmp(name, "type") == 0) {
		ta = schema_types(a, NULL), tb = schema_types(b, NULL);
		return ta < 0 || tb < 0 ? NULL : types_json(ta & tb);
	}
	if (lists && (strcmp(name, "enum") == 0 || strcmp(name, "required") == 0))
		return merge_lists(x, y, *name == 'e');
	if (strcmp(name, "uniqueItems") == 0 && json_is_boolean(x) && json_is_boolean(y))
		return json_true();
	if (lists && strcmp(name, "anyOf") == 0)
		return merge_alternatives(x, y);
	if (strcmp(name, "items") == 0 || strcmp(name, "additionalProperties") == 0)
		return both(x, y);
	return NULL;
}

/* patternProperties of one are about what the other calls its properties or its additional ones, then and else of one not about the other's if. */
static bool
entangled(json_t *a, json_t *b)
{
	return json_object_get(a, "patternProperties") &&
		(json_object_get(b, "properties") || json_object_get(b, "additionalProperties") || json_object_get(b, "patternProperties"));
}

static bool
has_if(json_t *s)
{
	return json_object_get(s, "if") || json_object_get(s, "then") || json_object_get(s, "else");
}

/* prefixItems of one beside items of the other, which are about the same elements; and the above. */
static const char *
conflict(json_t *a, json_t *b)
{
	json_t *pa = json_object_get(a, "prefixItems"), *pb = json_object_get(b, "prefixItems");

	if (pa && pb ? !json_equal(pa, pb) : (pa && json_object_get(b, "items")) || (pb && json_object_get(a, "items")))
		return "prefixItems";
	if (entangled(a, b) || entangled(b, a))
		return "patternProperties";
	return has_if(a) && has_if(b) ? "if" : NULL;
}

static json_t *
merge_objects(struct schema *c, json_t *a, json_t *b)
{
	json_t *out = json_copy(a), *v, *w, *ca = json_object_get(a, "const"), *cb = json_object_get(b, "const");
	const char *name, *clash = conflict(a, b);

	if (ca && cb && !json_equal(ca, cb)) {
		json_decref(out);
		return json_false();
	}
	json_object_foreach(b, name, v) {
		if (!json_object_get(a, name) || strcmp(name, "properties") == 0)
			w = json_incref(v);
		else if (!(w = merge_keyword(name, a, b)))
			clash = name;
		json_object_set_new(out, name, w);
	}
	if (clash) {
		err_set(c->e, "'%.60s' twice, under 'allOf' or beside '$ref' or 'anyOf', is not supported", clash);
		json_decref(out);
		return NULL;
	}
	if (json_object_get(out, "properties"))
		json_object_set_new(out, "properties", merge_properties(a, b));
	if (!json_is_true(json_object_get(a, "nullable")) || !json_is_true(json_object_get(b, "nullable")))
		json_object_del(out, "nullable");	/* null is valid against one of them */
	return out;
}

static json_t *
merge(struct schema *c, json_t *a, json_t *b, int hops)
{
	json_t *fa = flat(c, a, hops), *fb = fa ? flat(c, b, hops) : NULL, *out = NULL;

	if (!fa || !fb)
		;
	else if (json_is_false(fa) || json_is_true(fb))
		out = json_incref(fa);
	else if (json_is_false(fb) || json_is_true(fa))
		out = json_incref(fb);
	else if (!json_is_object(fa) || !json_is_object(fb))
		err_set(c->e, "a schema must be an object, true or false");
	else
		out = merge_objects(c, fa, fb);
	json_decref(fa);
	json_decref(fb);
	return out;
}

json_t *
schema_merge(struct schema *c, json_t *a, json_t *b)
{
	return merge(c, a, b, 0);
}

/* ---- exclusion ---- */

static bool disjoint(struct schema *c, json_t *a, json_t *b, int hops);

/* The values that the schema names: a new list, or NULL when it names none. */
static json_t *
named_values(json_t *s)
{
	json_t *one = json_object_get(s, "const"), *list = json_object_get(s, "enum");

	if (one)
		return json_pack("[O]", one);
	return json_is_array(list) ? json_incref(list) : NULL;
}

static bool
no_common_value(json_t *a, json_t *b)
{
	json_t *x, *y;
	size_t i, k;

	if (!short_list(a) || !short_list(b))
		return false;
	json_array_foreach(a, i, x)
		json_array_foreach(b, k, y)
			if (schema_same(x, y))
				return false;
	return true;
}

/* Which types a valid value may have. */
static int
possible_types(json_t *s, json_t *values)
{
	int types = schema_types(s, NULL), named = 0;
	size_t i;
	json_t *v;

	if (types < 0)
		return T_ANY;
	json_array_foreach(values, i, v)
		named |= json_is_number(v) ? T_NUMBER | T_INTEGER : schema_type_of(v);
	types &= values ? named : T_ANY;
	return json_is_true(json_object_get(s, "nullable")) ? types | T_NULL : types;
}

static bool
requires(json_t *s, json_t *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(s, "required"), i, v)
		if (json_equal(v, name))
			return true;
	return false;
}

/* Objects of both have some property, and it cannot be valid in both. */
static bool
told_apart(struct schema *c, json_t *a, json_t *b, int hops)
{
	json_t *name;
	size_t i;

	if (!short_list(json_object_get(a, "required")) || !short_list(json_object_get(b, "required")))
		return false;
	json_array_foreach(json_object_get(a, "required"), i, name) {
		json_t *x = json_object_get(json_object_get(a, "properties"), json_string_value(name));
		json_t *y = json_object_get(json_object_get(b, "properties"), json_string_value(name));

		if (x && y && requires(b, name) && disjoint(c, x, y, hops))
			return true;
	}
	return false;
}

/* Every alternative of a's is disjoint from b. */
static bool
all_disjoint(struct schema *c, json_t *alternatives, json_t *b, int hops)
{
	json_t *v;
	size_t i;

	json_array_foreach(alternatives, i, v)
		if (!disjoint(c, v, b, hops))
			return false;
	return json_array_size(alternatives) > 0;
}

static bool
objects_disjoint(struct schema *c, json_t *a, json_t *b, int hops)
{
	json_t *va = named_values(a), *vb = named_values(b);
	int types = possible_types(a, va) & possible_types(b, vb);
	bool apart = types == 0 || (va && vb && types != T_NULL && no_common_value(va, vb) &&
		!(json_object_get(a, "nullable") && json_object_get(b, "nullable"))) || (types == T_OBJECT && told_apart(c, a, b, hops));

	json_decref(va);
	json_decref(vb);
	return apart || all_disjoint(c, json_object_get(a, "anyOf"), b, hops) || all_disjoint(c, json_object_get(a, "oneOf"), b, hops) ||
		all_disjoint(c, json_object_get(b, "anyOf"), a, hops) || all_disjoint(c, json_object_get(b, "oneOf"), a, hops);
}

static bool
disjoint(struct schema *c, json_t *a, json_t *b, int hops)
{
	struct err *e = c->e;
	json_t *fa, *fb;
	bool apart;

	if (hops >= 8 || c->left-- <= 0)
		return false;
	c->e = NULL;	/* what cannot be told apart is no error yet */
	fa = flat(c, a, HOPS - 8);
	fb = flat(c, b, HOPS - 8);
	c->e = e;
	if (json_is_false(fa) || json_is_false(fb))
		apart = true;
	else
		apart = json_is_object(fa) && json_is_object(fb) && objects_disjoint(c, fa, fb, hops + 1);
	json_decref(fa);
	json_decref(fb);
	return apart;
}

bool
schema_disjoint(struct schema *c, json_t *a, json_t *b)
{
	return disjoint(c, a, b, 0);
}
