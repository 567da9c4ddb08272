/* schema_if.c - if, then and else, where the condition is about one property's value
 *
 * What a schema says of that property lists its values, so that it falls into those that meet the condition, those that do not, and no such property:
 * alternatives, each with what `then` or `else` adds. */
#include <string.h>

#include "schema.h"

/* A condition: property `name` has one of the values. */
struct condition {
	const char *name;
	json_t *values;		/* a list of its own */
	bool present;		/* not met where there is no such property */
};

static int
refuse(struct schema *c)
{
	return err_set(c->e, "'if' is only supported as a const or enum of one property, whose values the schema lists");
}

/* {"properties": {NAME: {"const" or "enum"}}, "required": [NAME]}, the latter or not. */
static int
read_condition(struct schema *c, json_t *s, struct condition *if_)
{
	json_t *properties = json_object_get(s, "properties"), *required = json_object_get(s, "required"), *v;
	const char *keyword;
	json_t *of;

	json_object_foreach(s, keyword, v)
		if (v != properties && v != required && !schema_is_note(keyword))
			return refuse(c);
	if (json_object_size(properties) != 1)
		return refuse(c);
	if_->name = json_object_iter_key(json_object_iter(properties));
	of = json_object_get(properties, if_->name);
	json_object_foreach(of, keyword, v)
		if (strcmp(keyword, "const") != 0 && strcmp(keyword, "enum") != 0 && !schema_is_note(keyword))
			return refuse(c);
	v = json_array_get(required, 0);
	if (required && (json_array_size(required) != 1 || !json_is_string(v) || strcmp(json_string_value(v), if_->name) != 0))
		return refuse(c);
	if_->present = required;
	if_->values = schema_values(of);
	return if_->values ? 0 : refuse(c);
}

static bool
is_among(json_t *list, json_t *v)
{
	json_t *x;
	size_t i;

	json_array_foreach(list, i, x)
		if (schema_same(x, v))
			return true;
	return false;
}

/* Those of the values that are (or are not) in the list. */
static json_t *
filter(json_t *values, json_t *list, bool in)
{
	json_t *out = json_array(), *v;
	size_t i;

	json_array_foreach(values, i, v)
		if (is_among(list, v) == in)
			json_array_append(out, v);
	return out;
}

/* An alternative: the rest, the property as `only` says, and what is added. */
static int
put_case(struct schema *c, json_t *rest, const char *name, json_t *only, bool needed, json_t *added, int from, int to)
{
	json_t *narrow = json_pack("{s:s, s:{s:O}}", "type", "object", "properties", name, only), *half, *whole = NULL;
	int rule = -1;

	if (needed)
		json_object_set_new(narrow, "required", json_pack("[s]", name));
	half = schema_merge(c, rest, narrow);
	if (half)
		whole = added ? schema_merge(c, half, added) : json_incref(half);
	if (whole)
		rule = schema_rule(c, whole);
	if (rule >= 0)
		grammar_call(c->g, from, rule, to);
	json_decref(narrow);
	json_decref(half);
	json_decref(whole);
	return rule < 0 ? -1 : 0;
}

static int
put_cases(struct schema *c, json_t *s, const struct condition *if_, json_t *rest, int from, int to)
{
	json_t *then = json_object_get(s, "then"), *otherwise = json_object_get(s, "else"), *property, *values = NULL;
	int rc = -1;

	property = json_object_get(json_object_get(rest, "properties"), if_->name);
	property = property ? schema_merge(c, property, json_true()) : json_null();
	if (property)
		values = schema_values(property);
	if (property && !values)
		refuse(c);
	for (int met = 0; values && met < 2; met++) {
		json_t *some = filter(values, if_->values, met), *only = json_pack("{s:O}", "enum", some);

		rc = put_case(c, rest, if_->name, only, true, met ? then : otherwise, from, to);
		json_decref(only);
		json_decref(some);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = put_case(c, rest, if_->name, json_false(), false, if_->present ? otherwise : then, from, to);
	json_decref(values);
	json_decref(property);
	return rc;
}

int
schema_put_if(struct schema *c, json_t *s, int from, int to)
{
	struct condition if_ = { 0 };
	json_t *rest = json_copy(s), *whole = NULL;
	int rc = -1;

	json_object_del(rest, "if");
	json_object_del(rest, "then");
	json_object_del(rest, "else");
	if (read_condition(c, json_object_get(s, "if"), &if_) == 0)
		whole = schema_merge(c, rest, json_true());
	if (whole && schema_types(whole, c->e) != T_OBJECT && json_object_get(whole, "type"))
		refuse(c);
	else if (whole)
		rc = put_cases(c, s, &if_, whole, from, to);
	json_decref(rest);
	json_decref(whole);
	json_decref(if_.values);
	return rc;
}
