/* schema_object.c - objects of a schema: properties, patternProperties and additionalProperties, and how many of them */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "automaton.h"
#include "buf.h"
#include "chars.h"
#include "json.h"
#include "meet.h"
#include "pattern.h"

#define NAME_BYTES 128		/* of a property, where other names have to differ from it */
#define PATTERNS 16		/* each is compared with all others */
#define MATCH_COST 2000		/* places: making an automaton takes about as long */

/* ---- names ---- */

struct names {
	const char **name;
	int n;
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The rest of a key that is none of the names, which are sorted and all begin with the same `at` bytes; `"` stands before. */
static int
put_other_key(struct schema *c, const char *const *name, int n, size_t at, int from, int to, int loose)
{
	struct chars others = { 0 };
	int i = 0;

	if (n == 0 || name[0][at])
		grammar_bytes(c->g, from, '"', '"', to);
	else
		i = 1;
	chars_add(&others, 1, 0x1F);
	chars_add(&others, '"', '"');
	chars_add(&others, '\\', '\\');
	while (i < n) {
		struct chars one = { 0 };
		size_t len;
		uint32_t ch = chars_at(name[i] + at, strlen(name[i] + at), &len);
		int k = i, next = grammar_state(c->g);

		while (k < n && strncmp(name[k] + at, name[i] + at, len) == 0)
			k++;
		if (ch >= 0x20 && ch != '"' && ch != '\\') {
			chars_add(&others, ch, ch);
			chars_add(&one, ch, ch);
			chars_put(c->g, from, next, &one, false);
			if (put_other_key(c, name + i, k - i, at + len, next, to, loose) < 0)
				return -1;
		}
		i = k;
	}
	if (others.full)
		return err_set(c->e, "'additionalProperties' beside so many different names is not supported");
	chars_invert(&others);
	chars_put(c->g, from, loose, &others, false);
	return 0;
}

/* A key that is none of the listed properties, with its quotes; written without escapes, so that it cannot be one of them in disguise. */
static int
put_free_key(struct schema *c, const struct names *listed, int from, int to)
{
	struct chars plain = { 0 };
	int loose = grammar_state(c->g);

	for (int i = 0; i < listed->n; i++)
		if (strlen(listed->name[i]) > NAME_BYTES)
			return err_set(c->e, "'additionalProperties' beside a property whose name is longer than %d bytes is not supported", NAME_BYTES);
	chars_add(&plain, 1, 0x1F);
	chars_add(&plain, '"', '"');
	chars_add(&plain, '\\', '\\');
	chars_invert(&plain);
	chars_put(c->g, loose, loose, &plain, false);
	grammar_bytes(c->g, loose, '"', '"', to);
	qsort(listed->name, listed->n, sizeof *listed->name, by_name);
	return put_other_key(c, listed->name, listed->n, 0, grammar_text(c->g, from, "\"", 1), to, loose);
}

static bool
is_required(json_t *s, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(s, "required"), i, v)
		if (strcmp(json_string_value(v), name) == 0)
			return true;
	return false;
}

/* ---- patternProperties ---- */

/* Whether a name is one of a pattern's keys; -1 with why. */
static int
matches(struct schema *c, const char *pattern, const char *name)
{
	struct grammar g;
	struct automaton a;
	struct err why;
	int rule, state, rc = 0;

	grammar_init(&g);
	rule = grammar_rule(&g);
	if (pattern_put(&g, g.start[rule], g.end[rule], pattern, strlen(pattern), true, false, &why) < 0) {
		grammar_free(&g);
		return err_set(c->e, "'patternProperties': %.200s", why.msg);
	}
	if (grammar_finish(&g, rule, &why) == 0) {
		automaton_init(&a, &g);
		automaton_budget(&a, c->work);
		state = automaton_start(&a);
		for (const char *p = name; *p && state >= 0; p++)
			state = automaton_step(&a, state, *p);
		c->work = a.left - MATCH_COST;
		rc = state == TIRED ? err_set(c->e, "'patternProperties': '%.60s' is too large", pattern) : state >= 0 && a.state[state]->complete;
		automaton_free(&a);
	}
	grammar_free(&g);
	return rc;
}

/* Whether some key is of both patterns; -1 with why. */
static int
overlap(struct schema *c, const char *a, const char *b)
{
	const char *const p[2] = { a, b };
	struct grammar g, part[2];
	struct err why;
	int root[2], both, rc = 0;

	grammar_init(&g);
	both = grammar_rule(&g);
	for (int i = 0; i < 2; i++) {
		grammar_init(&part[i]);
		root[i] = grammar_rule(&part[i]);
		if (pattern_put(&part[i], part[i].start[root[i]], part[i].end[root[i]], p[i], strlen(p[i]), true, false, &why) < 0)
			rc = err_set(c->e, "'patternProperties': %.200s", why.msg);
	}
	if (rc == 0)
		rc = meet_put(&g, g.start[both], g.end[both], part, root, 2, &(struct meter){ METER_NONE }, &c->work, c->e);
	if (rc == 0)
		rc = grammar_finish(&g, both, &why) == 0;
	for (int i = 0; i < 2; i++)
		grammar_free(&part[i]);
	grammar_free(&g);
	return rc;
}

/* No key may be of two of the patterns. */
static int
check_patterns(struct schema *c, json_t *patterns)
{
	const char *a, *b;
	json_t *v, *w;
	int rc;

	if (patterns && (!json_is_object(patterns) || json_object_size(patterns) > PATTERNS))
		return err_set(c->e, "'patternProperties' must be an object of at most %d members", PATTERNS);
	json_object_foreach(patterns, a, v)
		json_object_foreach(patterns, b, w) {
			if (strcmp(a, b) >= 0)
				continue;
			rc = overlap(c, a, b);
			if (rc != 0)
				return rc < 0 ? -1 : err_set(c->e, "'patternProperties' is only supported where no name is of two patterns");
		}
	return 0;
}

/* What patterns say of a property's value, beside `value` (NULL: nothing): a new reference, NULL with why. What neither says is additional. */
static json_t *
with_patterns(struct schema *c, json_t *s, const char *name, json_t *value)
{
	json_t *others = json_object_get(s, "additionalProperties"), *v;
	const char *pattern;
	int rc;

	json_object_foreach(json_object_get(s, "patternProperties"), pattern, v) {
		rc = matches(c, pattern, name);
		if (rc < 0)
			return NULL;
		if (rc > 0)
			return value ? json_pack("{s:[O,O]}", "allOf", value, v) : json_incref(v);
	}
	if (value)
		return json_incref(value);
	return others ? json_incref(others) : json_true();
}

/* ---- members ---- */

/* A rule of `"name": value`. */
static int
member_rule(struct schema *c, json_t *s, const char *name, json_t *value)
{
	struct buf text = BUF_INIT(SCHEMA_BYTES * 8);
	json_t *whole = with_patterns(c, s, name, value);
	int rule = whole ? schema_rule(c, whole) : -1, member;

	json_decref(whole);
	if (rule < 0)
		return -1;
	member = grammar_rule(c->g);
	json_write_bytes(&text, name, strlen(name));
	buf_addc(&text, ':');
	grammar_call(c->g, schema_gap(c->g, grammar_text(c->g, c->g->start[member], text.p, text.n)), rule, c->g->end[member]);
	buf_free(&text);
	return member;
}

static int
put_member(struct schema *c, json_t *s, const char *name, json_t *value, struct series *in, struct names *listed)
{
	int rule = member_rule(c, s, name, value);

	if (rule < 0)
		return -1;
	listed->name[listed->n++] = name;
	series_put(c->g, in, rule, is_required(s, name));
	return 0;
}

/* Properties in their order, then what is required and not listed. */
static int
put_members(struct schema *c, json_t *s, struct series *in, struct names *listed)
{
	json_t *properties = json_object_get(s, "properties"), *seen = json_object(), *v;
	const char *name;
	size_t i;
	int rc = 0;

	json_object_foreach(properties, name, v)
		if (rc == 0)
			rc = put_member(c, s, name, v, in, listed);
	json_array_foreach(json_object_get(s, "required"), i, v) {
		name = json_string_value(v);
		if (rc < 0 || json_object_get(properties, name) || json_object_get(seen, name))
			continue;
		json_object_set_new(seen, name, json_true());
		rc = put_member(c, s, name, NULL, in, listed);
	}
	json_decref(seen);
	return rc;
}

/* Keys of a pattern, from `from`; none where one of the listed properties is of it too. */
static int
put_pattern_key(struct schema *c, const char *pattern, const struct names *listed, int from, int to)
{
	struct err why;
	int rc, end;

	for (int i = 0; i < listed->n; i++) {
		rc = matches(c, pattern, listed->name[i]);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	end = grammar_state(c->g);
	grammar_bytes(c->g, end, '"', '"', to);
	from = grammar_text(c->g, from, "\"", 1);
	return pattern_put(c->g, from, end, pattern, strlen(pattern), true, true, &why) < 0 ? err_set(c->e, "'patternProperties': %.200s", why.msg) : 0;
}

/* A rule of one member that is not listed: of a pattern where there are patterns, else an additional one. -1 with why. */
static int
other_rule(struct schema *c, json_t *s, const struct names *listed)
{
	json_t *patterns = json_object_get(s, "patternProperties"), *others = json_object_get(s, "additionalProperties"), *v;
	int rule = grammar_rule(c->g), from = c->g->start[rule], colon, value;
	const char *pattern;

	json_object_foreach(patterns, pattern, v) {
		colon = grammar_state(c->g);
		value = schema_rule(c, v);
		if (value < 0 || put_pattern_key(c, pattern, listed, from, colon) < 0)
			return -1;
		grammar_call(c->g, schema_gap(c->g, grammar_text(c->g, colon, ":", 1)), value, c->g->end[rule]);
	}
	if (json_object_size(patterns) > 0)
		return rule;
	colon = grammar_state(c->g);
	value = schema_rule(c, others ? others : json_true());
	if (value < 0 || put_free_key(c, listed, from, colon) < 0)
		return -1;
	grammar_call(c->g, schema_gap(c->g, grammar_text(c->g, colon, ":", 1)), value, c->g->end[rule]);
	return rule;
}

/* Others may have the same key twice, so that only the first of them is sure to be one more. */
static int
put_others(struct schema *c, json_t *s, struct series *in, const struct names *listed)
{
	int rule = other_rule(c, s, listed);

	if (rule < 0)
		return -1;
	if (in->least > listed->n + 1)
		return err_set(c->e, "'minProperties' is only supported up to one more than the properties that are listed");
	series_repeat(c->g, in, rule);
	return 0;
}

static int
check_object(struct schema *c, json_t *s)
{
	json_t *properties = json_object_get(s, "properties"), *required = json_object_get(s, "required"), *v;
	json_t *others = json_object_get(s, "additionalProperties");
	size_t i;

	if ((properties && !json_is_object(properties)) || json_object_size(properties) > SCHEMA_PARTS)
		return err_set(c->e, "'properties' must be an object of at most %d members", SCHEMA_PARTS);
	if ((required && !json_is_array(required)) || json_array_size(required) > SCHEMA_PARTS)
		return err_set(c->e, "'required' must be a list of at most %d names", SCHEMA_PARTS);
	json_array_foreach(required, i, v)
		if (!json_is_string(v))
			return err_set(c->e, "'required' must be a list of names");
	if (others && !json_is_object(others) && !json_is_boolean(others))
		return err_set(c->e, "'additionalProperties' must be a schema");
	return check_patterns(c, json_object_get(s, "patternProperties"));
}

int
schema_put_object(struct schema *c, json_t *s, int from, int to)
{
	json_t *properties = json_object_get(s, "properties"), *others = json_object_get(s, "additionalProperties");
	bool open = json_object_size(json_object_get(s, "patternProperties")) > 0 || (others ? !json_is_false(others) : !properties);
	int least = 0, most = NO_LIMIT, names, rc;
	struct names listed = { .n = 0 };
	struct series in;

	if (check_object(c, s) < 0 || schema_count(c, s, "minProperties", &least) < 0 || schema_count(c, s, "maxProperties", &most) < 0)
		return -1;
	names = json_object_size(properties) + json_array_size(json_object_get(s, "required"));
	listed.name = xcalloc(names + 1, sizeof *listed.name);
	series_init(&in, grammar_text(c->g, from, "{", 1), least, most, names + 1);
	rc = put_members(c, s, &in, &listed);
	if (rc == 0 && open)
		rc = put_others(c, s, &in, &listed);
	series_end(c->g, &in, '}', to);
	free(listed.name);
	return rc;
}
