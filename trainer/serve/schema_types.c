/* schema_types.c - the keywords of single types, as a grammar */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "chars.h"
#include "json.h"
#include "pattern.h"
#include "range.h"

#define NAME_BYTES 128		/* of a property, where other names have to differ from it */
#define NO_LIMIT (-1)

/* A count that is not negative: *out stays as it is when the keyword is absent. */
static int
read_count(struct schema *c, json_t *s, const char *keyword, int *out)
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

/* At most one space. */
static int
put_gap(struct grammar *g, int from)
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

int
schema_put_number(struct schema *c, json_t *s, int from, int to, bool integer)
{
	struct bound least, greatest;

	if (read_side(c, s, "minimum", "exclusiveMinimum", 1, &least) < 0 || read_side(c, s, "maximum", "exclusiveMaximum", -1, &greatest) < 0)
		return -1;
	range_put(c->g, from, to, &least, &greatest, integer);
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

	if (read_count(c, s, "minLength", &least) < 0 || read_count(c, s, "maxLength", &most) < 0)
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

int
schema_put_string(struct schema *c, json_t *s, int from, int to)
{
	json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
	const char *p = json_string_value(pattern);
	int open = put_byte(c->g, from, '"'), end;
	struct err why;

	if ((pattern && !p) || (format && !json_is_string(format)))
		return err_set(c->e, "'%s' must be a string", pattern && !p ? "pattern" : "format");
	if (format && pattern)
		return err_set(c->e, "'pattern' with 'format' is not supported");
	if (format && !(p = format_pattern(json_string_value(format))))
		return err_set(c->e, "'format': '%.60s' is not supported", json_string_value(format));
	if (!p)
		return put_counted(c, s, open, to);
	if (json_object_get(s, "minLength") || json_object_get(s, "maxLength"))
		return err_set(c->e, "'minLength' and 'maxLength' with '%s' are not supported", pattern ? "pattern" : "format");
	end = grammar_state(c->g);
	if (pattern_put(c->g, open, end, p, strlen(p), pattern, true, &why) < 0)
		return err_set(c->e, "'pattern': %.200s", why.msg);
	end_byte(c->g, end, '"', to);
	return 0;
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
		grammar_call(c->g, i ? put_gap(c->g, put_byte(c->g, from, ',')) : from, rule, next);
		if (loop)
			return 0;
		from = next;
	}
	if (most >= least)
		end_byte(c->g, from, ']', to);
	return 0;
}

int
schema_put_array(struct schema *c, json_t *s, int from, int to)
{
	json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
	int least = 0, most = NO_LIMIT;

	if (read_count(c, s, "minItems", &least) < 0 || read_count(c, s, "maxItems", &most) < 0)
		return -1;
	if (prefix && !json_is_array(prefix))
		return err_set(c->e, "'prefixItems' must be a list");
	if (items && !json_is_object(items) && !json_is_boolean(items))
		return err_set(c->e, "'items' must be a schema");
	return put_elements(c, s, put_byte(c->g, from, '['), to, least, most);
}

/* ---- objects ---- */

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
		end_byte(c->g, from, '"', to);
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
	end_byte(c->g, loose, '"', to);
	qsort(listed->name, listed->n, sizeof *listed->name, by_name);
	return put_other_key(c, listed->name, listed->n, 0, put_byte(c->g, from, '"'), to, loose);
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

/* The members of an object so far: where it goes on when none was written, and when some was. */
struct members {
	int none, some;		/* none: -1 when there surely was one */
};

/* Where the next key begins. */
static int
next_key(struct grammar *g, const struct members *m)
{
	int key = grammar_state(g);

	if (m->none >= 0)
		grammar_skip(g, m->none, key);
	grammar_skip(g, put_gap(g, put_byte(g, m->some, ',')), key);
	return key;
}

static int
put_member(struct schema *c, json_t *s, const char *name, json_t *value, struct members *m)
{
	struct buf text = BUF_INIT(SCHEMA_BYTES * 8);
	int key = next_key(c->g, m), next = grammar_state(c->g), rule = schema_rule(c, value), none = m->none;

	if (rule < 0)
		return -1;
	json_write_bytes(&text, name, strlen(name));
	buf_addc(&text, ':');
	grammar_call(c->g, put_gap(c->g, grammar_text(c->g, key, text.p, text.n)), rule, next);
	buf_free(&text);
	if (is_required(s, name))
		none = -1;
	else
		grammar_skip(c->g, m->some, next);
	*m = (struct members){ none, next };
	return 0;
}

/* Properties in their order, then what is required and not listed. */
static int
put_members(struct schema *c, json_t *s, struct members *m, struct names *listed)
{
	json_t *properties = json_object_get(s, "properties"), *required = json_object_get(s, "required"), *v;
	json_t *others = json_object_get(s, "additionalProperties"), *seen = json_object();
	const char *name;
	size_t i;
	int rc = 0;

	json_object_foreach(properties, name, v) {
		listed->name[listed->n++] = name;
		if (rc == 0)
			rc = put_member(c, s, name, v, m);
	}
	json_array_foreach(required, i, v) {
		name = json_string_value(v);
		if (rc < 0 || json_object_get(properties, name) || json_object_get(seen, name))
			continue;
		json_object_set_new(seen, name, json_true());
		listed->name[listed->n++] = name;
		rc = put_member(c, s, name, others ? others : json_true(), m);
	}
	json_decref(seen);
	return rc;
}

/* As many others as it likes. */
static int
put_others(struct schema *c, json_t *value, struct members *m, const struct names *listed)
{
	int colon = grammar_state(c->g), rule = schema_rule(c, value);

	if (rule < 0 || put_free_key(c, listed, next_key(c->g, m), colon) < 0)
		return -1;
	grammar_call(c->g, put_gap(c->g, put_byte(c->g, colon, ':')), rule, m->some);
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
	return 0;
}

int
schema_put_object(struct schema *c, json_t *s, int from, int to)
{
	json_t *properties = json_object_get(s, "properties"), *others = json_object_get(s, "additionalProperties");
	struct names listed = { .n = 0 };
	struct members m;
	int rc;

	if (check_object(c, s) < 0)
		return -1;
	listed.name = xcalloc(json_object_size(properties) + json_array_size(json_object_get(s, "required")) + 1, sizeof *listed.name);
	m = (struct members){ put_byte(c->g, from, '{'), grammar_state(c->g) };
	rc = put_members(c, s, &m, &listed);
	if (rc == 0 && (others ? !json_is_false(others) : !properties))
		rc = put_others(c, others ? others : json_true(), &m, &listed);
	if (m.none >= 0)
		end_byte(c->g, m.none, '}', to);
	end_byte(c->g, m.some, '}', to);
	free(listed.name);
	return rc;
}
