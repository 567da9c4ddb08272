/* schema_types.c - the keywords of numbers, strings and arrays, as a grammar; objects are in schema_object.c */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "chars.h"
#include "meet.h"
#include "pattern.h"
#include "range.h"

#define MULTIPLE_MOST 512	/* a number's text has a state for each remainder */

int
schema_count(struct schema *c, json_t *s, const char *keyword, int *out)
{
	json_t *v = json_object_get(s, keyword);
	double x = json_number_value(v);

	if (!v)
		return 0;
	if (!json_is_number(v) || x < 0 || x != (double)(long long)x)
		return err_set(c->e, "'%s' must be a whole number that is not negative", keyword);
	if (x > GRAMMAR_STATES)
		return err_set(c->e, "'%s' is too large (at most %d)", keyword, GRAMMAR_STATES);
	*out = (int)x;
	return 0;
}

int
schema_gap(struct grammar *g, int from)
{
	int to = grammar_state(g);

	grammar_bytes(g, from, ' ', ' ', to);
	grammar_skip(g, from, to);
	return to;
}

static int
put_byte(struct grammar *g, int from, char byte)
{
	return grammar_text(g, from, &byte, 1);
}

static void
end_byte(struct grammar *g, int from, char byte, int to)
{
	grammar_bytes(g, from, byte, byte, to);
}

/* ---- numbers ---- */

static int
read_bound(struct schema *c, json_t *s, const char *keyword, bool exclusive, struct bound *b)
{
	json_t *v = json_object_get(s, keyword);

	if (!json_is_number(v))
		return err_set(c->e, "'%s' must be a number", keyword);
	return bound_read(b, v, exclusive) < 0 ? err_set(c->e, "'%s' has more digits than are supported", keyword) : 0;
}

/* minimum and exclusiveMinimum (a number, or draft 4's true), or the two of the other side; the narrower one when both are there. */
static int
read_side(struct schema *c, json_t *s, const char *inclusive, const char *exclusive, int sign, struct bound *b)
{
	json_t *in = json_object_get(s, inclusive), *ex = json_object_get(s, exclusive);

	*b = (struct bound){ 0 };
	if (json_is_boolean(ex))
		return in ? read_bound(c, s, inclusive, json_is_true(ex), b) : 0;
	if (ex && (!in || sign * (json_number_value(ex) - json_number_value(in)) >= 0))
		return read_bound(c, s, exclusive, true, b);
	return in ? read_bound(c, s, inclusive, false, b) : 0;
}

/* The whole numbers of a range that are multiples of `of`. */
static int
put_multiples(struct schema *c, const struct bound *least, const struct bound *greatest, int of, int from, int to)
{
	struct grammar numbers;
	int rule, rc;

	grammar_init(&numbers);
	rule = grammar_rule(&numbers);
	range_put(&numbers, numbers.start[rule], numbers.end[rule], least, greatest, true);
	rc = meet_put(c->g, from, to, &numbers, &rule, 1, &(struct meter){ .kind = METER_MULTIPLE, .of = of }, &c->work, c->e);
	grammar_free(&numbers);
	return rc;
}

int
schema_put_number(struct schema *c, json_t *s, int from, int to, bool integer)
{
	json_t *of = json_object_get(s, "multipleOf");
	double multiple = json_number_value(of);
	struct bound least, greatest;

	if (read_side(c, s, "minimum", "exclusiveMinimum", 1, &least) < 0 || read_side(c, s, "maximum", "exclusiveMaximum", -1, &greatest) < 0)
		return -1;
	if (of && !(multiple >= 1 && multiple <= MULTIPLE_MOST && multiple == (int)multiple))
		return err_set(c->e, "'multipleOf' is only supported with whole numbers from 1 to %d", MULTIPLE_MOST);
	if (multiple > 1)
		return put_multiples(c, &least, &greatest, (int)multiple, from, to);
	range_put(c->g, from, to, &least, &greatest, integer || multiple == 1);
	return 0;
}

/* ---- strings ---- */

static int
character(struct schema *c)
{
	if (c->character < 0) {
		c->character = grammar_rule(c->g);
		chars_put_any(c->g, c->g->start[c->character], c->g->end[c->character]);
	}
	return c->character;
}

static const char *
format_pattern(const char *name)
{
#define DATE "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
	static const char *const known[][2] = {
		{ "date", DATE }, { "time", TIME }, { "date-time", DATE "T" TIME },
		{ "uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}" }, { "ipv4", "(" BYTE "\\.){3}" BYTE },
		{ "email", "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,3}@([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\\.){1,4}[a-z]{2,24}" },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i][0], name) == 0)
			return known[i][1];
	return NULL;
}

/* Characters, then the closing quote. */
static int
put_counted(struct schema *c, json_t *s, int from, int to)
{
	int least = 0, most = NO_LIMIT, next;

	if (schema_count(c, s, "minLength", &least) < 0 || schema_count(c, s, "maxLength", &most) < 0)
		return -1;
	for (int i = 0; i < least && !grammar_full(c->g); i++, from = next) {
		next = grammar_state(c->g);
		grammar_call(c->g, from, character(c), next);
	}
	if (most == NO_LIMIT) {
		next = grammar_state(c->g);
		grammar_skip(c->g, from, next);
		grammar_call(c->g, next, character(c), next);
		end_byte(c->g, next, '"', to);
		return 0;
	}
	for (int i = least; i < most && !grammar_full(c->g); i++, from = next) {
		next = grammar_state(c->g);
		end_byte(c->g, from, '"', to);
		grammar_call(c->g, from, character(c), next);
	}
	if (most >= least)
		end_byte(c->g, from, '"', to);
	return 0;
}

/* A regular expression as a grammar of its own, of the inside of a JSON string; its rule. */
static int
pattern_alone(struct schema *c, struct grammar *g, const char *p, bool search)
{
	int rule = grammar_rule(g);
	struct err why;

	return pattern_put(g, g->start[rule], g->end[rule], p, strlen(p), search, true, &why) < 0 ? err_set(c->e, "'pattern': %.200s", why.msg) : rule;
}

/* Strings that are of a pattern, of a format, or both, and so many characters long. */
static int
put_meeting(struct schema *c, const char *const p[2], int least, int most, int from, int to)
{
	struct meter m = { least > 0 || most != NO_LIMIT ? METER_CHARACTERS : METER_NONE, .least = least, .most = most };
	struct grammar part[2];
	int root[2], n = 0, rc = 0;

	for (int i = 0; i < 2 && rc >= 0; i++)
		if (p[i]) {
			grammar_init(&part[n]);
			root[n] = rc = pattern_alone(c, &part[n], p[i], i == 0);
			n++;
		}
	if (rc >= 0)
		rc = meet_put(c->g, from, to, part, root, n, &m, &c->work, c->e);
	while (n > 0)
		grammar_free(&part[--n]);
	return rc < 0 ? -1 : 0;
}

static int
put_formed(struct schema *c, json_t *s, const char *pattern, const char *format, int from, int to)
{
	const char *both[2] = { pattern, format };
	int least = 0, most = NO_LIMIT, end = grammar_state(c->g);
	struct err why;

	if (schema_count(c, s, "minLength", &least) < 0 || schema_count(c, s, "maxLength", &most) < 0)
		return -1;
	end_byte(c->g, end, '"', to);
	if ((pattern && format) || least > 0 || most != NO_LIMIT)
		return put_meeting(c, both, least, most, from, end);
	if (pattern_put(c->g, from, end, pattern ? pattern : format, strlen(pattern ? pattern : format), pattern, true, &why) < 0)
		return err_set(c->e, "'pattern': %.200s", why.msg);
	return 0;
}

int
schema_put_string(struct schema *c, json_t *s, int from, int to)
{
	json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
	const char *p = json_string_value(pattern), *f = NULL;
	int open = put_byte(c->g, from, '"');

	if ((pattern && !p) || (format && !json_is_string(format)))
		return err_set(c->e, "'%s' must be a string", pattern && !p ? "pattern" : "format");
	if (format && !(f = format_pattern(json_string_value(format))))
		return err_set(c->e, "'format': '%.60s' is not supported", json_string_value(format));
	return p || f ? put_formed(c, s, p, f, open, to) : put_counted(c, s, open, to);
}

/* ---- arrays ---- */

/* The schema of element i; NULL: there is none. What `items` does not say, and minItems wants, is anything. */
static json_t *
element(json_t *s, int i, int least)
{
	json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");

	if ((size_t)i < json_array_size(prefix))
		return json_array_get(prefix, i);
	if (items)
		return json_is_false(items) ? NULL : items;
	return prefix && i >= least ? NULL : json_true();
}

/* `from` is behind i elements, the bracket is open. */
static int
put_elements(struct schema *c, json_t *s, int from, int to, int least, int most)
{
	int special = json_array_size(json_object_get(s, "prefixItems")), rule = -1;
	json_t *before = NULL;

	for (int i = 0; (most == NO_LIMIT || i < most) && !grammar_full(c->g); i++) {
		json_t *v = element(s, i, least);
		bool loop = most == NO_LIMIT && i > 0 && i >= least && i >= special;	/* and all that follow are alike */
		int next = loop ? from : grammar_state(c->g);

		if (i >= least)
			end_byte(c->g, from, ']', to);
		if (!v)
			return 0;
		if (v != before && (rule = schema_rule(c, v)) < 0)
			return -1;
		before = v;
		grammar_call(c->g, i ? schema_gap(c->g, put_byte(c->g, from, ',')) : from, rule, next);
		if (loop)
			return 0;
		from = next;
	}
	if (most >= least)
		end_byte(c->g, from, ']', to);
	return 0;
}

/* Elements that differ: values of a list, in its order, each once or not at all. */
static int
put_unique(struct schema *c, json_t *s, int from, int to, int least, int most)
{
	json_t *items = json_object_get(s, "items"), *whole = items ? schema_merge(c, items, json_true()) : json_true();
	json_t *values = whole && !json_object_get(s, "prefixItems") ? schema_values(whole) : NULL, *v;
	struct series in;
	size_t i;
	int rc = 0;

	if (!values)
		rc = whole ? err_set(c->e, "'uniqueItems' is only supported where 'items' lists plain values (enum) or 'maxItems' is at most 1") : -1;
	series_init(&in, from, least, most, json_array_size(values));
	json_array_foreach(values, i, v) {
		json_t *only = json_pack("{s:O}", "const", v), *part = schema_merge(c, whole, only);
		int rule = part ? schema_rule(c, part) : -1;

		json_decref(only);
		json_decref(part);
		rc = rule < 0 ? -1 : rc;
		if (rule >= 0)
			series_put(c->g, &in, rule, false);
		if (rc < 0)
			break;
	}
	series_end(c->g, &in, ']', to);
	json_decref(values);
	json_decref(whole);
	return rc;
}

int
schema_put_array(struct schema *c, json_t *s, int from, int to)
{
	json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
	int least = 0, most = NO_LIMIT;

	if (schema_count(c, s, "minItems", &least) < 0 || schema_count(c, s, "maxItems", &most) < 0)
		return -1;
	if (prefix && !json_is_array(prefix))
		return err_set(c->e, "'prefixItems' must be a list");
	if (items && !json_is_object(items) && !json_is_boolean(items))
		return err_set(c->e, "'items' must be a schema");
	if (json_object_get(s, "uniqueItems") && !json_is_boolean(json_object_get(s, "uniqueItems")))
		return err_set(c->e, "'uniqueItems' must be true or false");
	if (json_is_true(json_object_get(s, "uniqueItems")) && (most == NO_LIMIT || most > 1) && !json_is_false(items))
		return put_unique(c, s, put_byte(c->g, from, '['), to, least, most);
	return put_elements(c, s, put_byte(c->g, from, '['), to, least, most);
}
