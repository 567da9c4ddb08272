/* Walks through what guides let come, with the bundled tokenizer: whatever is chosen, the text is a value that another reader of the schema
 * accepts. And what has to hold for a mask. */
#include "t.h"

#include <jansson.h>
#include <math.h>
#include <regex.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "guide.h"
#include "text.h"
#include "tokenizer.h"

#define TEACHER "pipelines/nano/teacher"
#define TOKENS 1500		/* of a walk */
#define MANY_BYTES 150		/* from here on a walk makes for the end */

static struct tok *tok;
static struct guides *all;
static int V, eos;
static float *logits;

/* ---- validation, the obvious way ---- */

static bool valid(json_t *root, json_t *s, json_t *v);

static bool
is_type(const char *name, json_t *v)
{
	return (strcmp(name, "null") == 0 && json_is_null(v)) || (strcmp(name, "boolean") == 0 && json_is_boolean(v)) ||
		(strcmp(name, "integer") == 0 && json_is_integer(v)) || (strcmp(name, "number") == 0 && json_is_number(v)) ||
		(strcmp(name, "string") == 0 && json_is_string(v)) || (strcmp(name, "array") == 0 && json_is_array(v)) ||
		(strcmp(name, "object") == 0 && json_is_object(v));
}

static bool
has_type(json_t *type, json_t *v)
{
	if (json_is_string(type))
		return is_type(json_string_value(type), v);
	for (size_t i = 0; i < json_array_size(type); i++)
		if (is_type(json_string_value(json_array_get(type, i)), v))
			return true;
	return !type;
}

static bool
in_list(json_t *list, json_t *v)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), v))
			return true;
	return false;
}

static int
how_many(json_t *root, json_t *list, json_t *v)
{
	int n = 0;

	for (size_t i = 0; i < json_array_size(list); i++)
		n += valid(root, json_array_get(list, i), v);
	return n;
}

static double
limit(json_t *s, const char *name, double otherwise)
{
	json_t *v = json_object_get(s, name);

	return v ? json_number_value(v) : otherwise;
}

static bool
valid_number(json_t *s, double x)
{
	return x >= limit(s, "minimum", -INFINITY) && x <= limit(s, "maximum", INFINITY) && x > limit(s, "exclusiveMinimum", -INFINITY) &&
		x < limit(s, "exclusiveMaximum", INFINITY);
}

static bool
valid_string(json_t *s, const char *p)
{
	const char *pattern = json_string_value(json_object_get(s, "pattern"));
	regex_t re;
	int chars = 0, rc = 0;

	for (const char *c = p; *c; c++)
		chars += (*c & 0xC0) != 0x80;
	if (pattern) {
		if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
			abort();
		rc = regexec(&re, p, 0, NULL, 0);
		regfree(&re);
	}
	return rc == 0 && chars >= limit(s, "minLength", 0) && chars <= limit(s, "maxLength", INFINITY);
}

static bool
valid_array(json_t *root, json_t *s, json_t *v)
{
	json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");

	for (size_t i = 0; i < json_array_size(v); i++) {
		json_t *one = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;

		if (one && !valid(root, one, json_array_get(v, i)))
			return false;
	}
	return json_array_size(v) >= limit(s, "minItems", 0) && json_array_size(v) <= limit(s, "maxItems", INFINITY);
}

static bool
valid_object(json_t *root, json_t *s, json_t *v)
{
	json_t *properties = json_object_get(s, "properties"), *others = json_object_get(s, "additionalProperties"), *x;
	const char *name;
	size_t i;

	json_object_foreach(v, name, x) {
		json_t *one = json_object_get(properties, name);

		one = one ? one : others;
		if (one && !valid(root, one, x))
			return false;
	}
	json_array_foreach(json_object_get(s, "required"), i, x)
		if (!json_object_get(v, json_string_value(x)))
			return false;
	return true;
}

static bool
valid(json_t *root, json_t *s, json_t *v)
{
	const char *ref = json_string_value(json_object_get(s, "$ref"));
	json_t *list;
	size_t i;

	if (json_is_boolean(s))
		return json_is_true(s);
	if (json_is_true(json_object_get(s, "nullable")) && json_is_null(v))
		return true;
	if (ref && !valid(root, json_object_get(json_object_get(root, "$defs"), ref + strlen("#/$defs/")), v))
		return false;
	json_array_foreach(json_object_get(s, "allOf"), i, list)
		if (!valid(root, list, v))
			return false;
	if ((list = json_object_get(s, "anyOf")) && how_many(root, list, v) == 0)
		return false;
	if ((list = json_object_get(s, "oneOf")) && how_many(root, list, v) != 1)
		return false;
	if (((list = json_object_get(s, "enum")) && !in_list(list, v)) || ((list = json_object_get(s, "const")) && !json_equal(list, v)))
		return false;
	return has_type(json_object_get(s, "type"), v) && (!json_is_number(v) || valid_number(s, json_number_value(v))) &&
		(!json_is_string(v) || valid_string(s, json_string_value(v))) && (!json_is_array(v) || valid_array(root, s, v)) &&
		(!json_is_object(v) || valid_object(root, s, v));
}

/* ---- random schemas ---- */

static unsigned
pick(uint64_t *rng, unsigned n)
{
	return text_random(rng) % n;
}

static json_t *random_schema(uint64_t *rng, int depth);

static json_t *
random_list(uint64_t *rng, int depth, int least)
{
	json_t *list = json_array();

	for (int n = least + pick(rng, 3); n > 0; n--)
		json_array_append_new(list, random_schema(rng, depth + 1));
	return list;
}

static json_t *
random_object(uint64_t *rng, int depth)
{
	static const char *const names[] = { "a", "ab", "abc", "\xC3\xA9", "q\"", "score" };
	json_t *s = json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required");

	for (int n = pick(rng, 4); n > 0; n--)
		json_object_set_new(json_object_get(s, "properties"), names[pick(rng, 6)], random_schema(rng, depth + 1));
	for (int n = pick(rng, 3); n > 0; n--)
		json_array_append_new(json_object_get(s, "required"), json_string(names[pick(rng, 6)]));
	if (pick(rng, 3) == 0)
		json_object_set_new(s, "additionalProperties", pick(rng, 2) ? json_false() : random_schema(rng, depth + 1));
	if (pick(rng, 6) == 0)
		json_object_del(s, "type");
	return s;
}

static json_t *
random_array(uint64_t *rng, int depth)
{
	json_t *s = json_pack("{s:s}", "type", "array");

	if (pick(rng, 3))
		json_object_set_new(s, "items", random_schema(rng, depth + 1));
	if (pick(rng, 3) == 0)
		json_object_set_new(s, "prefixItems", random_list(rng, depth, 1));
	if (pick(rng, 2))
		json_object_set_new(s, "minItems", json_integer(pick(rng, 3)));
	if (pick(rng, 2))
		json_object_set_new(s, "maxItems", json_integer(pick(rng, 5)));
	return s;
}

static json_t *
random_string(uint64_t *rng)
{
	static const char *const patterns[] = { "^[a-c]{1,4}$", "x", "^(ab|cd)+$", "[0-9]$", "^a.?b*" };
	json_t *s = json_pack("{s:s}", "type", "string");

	if (pick(rng, 3) == 0) {
		json_object_set_new(s, "pattern", json_string(patterns[pick(rng, 5)]));
	} else if (pick(rng, 2)) {
		json_object_set_new(s, "minLength", json_integer(pick(rng, 4)));
		json_object_set_new(s, "maxLength", json_integer(pick(rng, 9)));
	}
	return s;
}

static json_t *
random_number(uint64_t *rng)
{
	json_t *s = json_pack("{s:s}", "type", pick(rng, 2) ? "integer" : "number");
	double lo = (int)pick(rng, 400) - 200;

	if (pick(rng, 2))
		json_object_set_new(s, pick(rng, 2) ? "minimum" : "exclusiveMinimum", json_real(lo / 8));
	if (pick(rng, 2))
		json_object_set_new(s, pick(rng, 2) ? "maximum" : "exclusiveMaximum", json_real((lo + pick(rng, 100)) / 8));
	return s;
}

static json_t *
random_schema(uint64_t *rng, int depth)
{
	switch (pick(rng, depth > 2 ? 7 : 14)) {
	case 0: return json_pack("{s:s}", "type", "boolean");
	case 1: return json_pack("{s:[s,s]}", "type", "null", "integer");
	case 2: return json_pack("{s:[i,s,s,n,[i]]}", "enum", 7, "seven", "seventh", 7);
	case 3: return json_pack("{s:s,s:b}", "type", "string", "nullable", 1);
	case 4: return random_number(rng);
	case 5: return random_string(rng);
	case 6: return json_pack("{s:s}", "$ref", pick(rng, 2) ? "#/$defs/x" : "#/$defs/y");
	case 7: return json_pack("{s:o}", "anyOf", random_list(rng, depth, 1));
	case 8: return json_pack("{s:o}", "allOf", random_list(rng, depth, 1));
	case 9: return json_pack("{s:o}", "oneOf", random_list(rng, depth, 1));
	case 10: return json_pack("{s:[o,o],s:[s]}", "anyOf", random_object(rng, depth), random_object(rng, depth), "required", "a");
	case 11: return random_array(rng, depth);
	default: return random_object(rng, depth);
	}
}

static json_t *
random_root(uint64_t *rng)
{
	json_t *s = random_schema(rng, 0);

	json_object_set_new(s, "$defs", json_pack("{s:o,s:o}", "x", random_schema(rng, 1), "y", random_schema(rng, 1)));
	return s;
}

/* ---- walks ---- */

static int
count_allowed(void)
{
	int n = 0;

	for (int i = 0; i < V; i++)
		n += logits[i] == 0;
	return n;
}

static bool
closes(int id)
{
	size_t n;
	const char *p = tok_bytes(tok, id, &n);

	return n > 0 && (id == eos || strchr("\"]}", p[0]));
}

/* One of the tokens that may come; towards the end rather one that closes something. */
static int
choose(uint64_t *rng, bool close)
{
	int n = 0, id = -1;

	for (int i = 0; i < V; i++)
		if (logits[i] == 0 && (!close || closes(i)) && pick(rng, ++n) == 0)
			id = i;
	return id < 0 && close ? choose(rng, false) : id;
}

static void
mask(struct guide *g, struct guided *at, const struct buf *text)
{
	memset(logits, 0, V * sizeof *logits);
	guide_mask(g, at, text->p, text->n, logits);
}

/* The text of a walk: 1 when it came to its end, 0 when it was cut, -1 when nothing could come. */
static int
walk(struct guide *g, uint64_t *rng, struct buf *text)
{
	struct guided at = { 0 };

	buf_clear(text);
	for (int i = 0; i < TOKENS; i++) {
		size_t n;
		const char *p;
		int id;

		mask(g, &at, text);
		id = choose(rng, text->n > MANY_BYTES);
		if (id < 0)
			return -1;
		if (id == eos)
			return 1;
		if (!CHECK(!tok_is_special(tok, id)))
			return -1;
		p = tok_bytes(tok, id, &n);
		buf_add(text, p, n);
		if (guide_ended(g, &at, text->p, text->n))
			return 1;
	}
	return 0;
}

static int
check_walks(json_t *schema, struct guide *g, uint64_t *rng)
{
	struct buf text = BUF_INIT(SIZE_MAX);
	char *shown = json_dumps(schema, JSON_COMPACT);
	int ended = 0;

	for (int i = 0; i < 5; i++) {
		int rc = walk(g, rng, &text);
		json_t *v = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);

		if (!CHECK(rc >= 0) || (rc > 0 && !CHECK(v && valid(schema, schema, v))))
			printf("# %s\n#   %.*s\n", shown, (int)text.n, text.p);
		ended += rc > 0;
		json_decref(v);
	}
	free(shown);
	buf_free(&text);
	return ended;
}

static void
every_walk_ends_in_a_valid_value(void)
{
	uint64_t rng = 11;
	int taken = 0, ended = 0;

	for (int i = 0; i < 600; i++) {
		json_t *schema = random_root(&rng);
		struct err why = { "" };
		struct guide *g = guides_get(all, GUIDE_SCHEMA, schema, &why);

		if (g) {
			ended += check_walks(schema, g, &rng);
			taken++;
		} else {
			CHECK(why.msg[0]);
		}
		guide_release(g);
		json_decref(schema);
	}
	if (!CHECK(taken >= 300 && ended >= taken * 4))
		printf("# %d of 600 schemas, %d walks ended\n", taken, ended);
}

/* ---- masks ---- */

static struct guide *
guide_of(enum guide_kind kind, const char *form)
{
	json_t *v = json_loads(form, JSON_DECODE_ANY, NULL);
	struct err why;
	struct guide *g = guides_get(all, kind, v, &why);

	if (!CHECK(g))
		printf("# %s: %s\n", form, why.msg);
	json_decref(v);
	return g;
}

/* Exactly the tokens whose bytes can all come, each tried by itself. */
static void
a_mask_holds_the_tokens_that_fit_and_no_others(void)
{
	struct guide *g = guide_of(GUIDE_CHOICE, "[\"the end\",\"there\",\"\xE6\xB2\xB3\xE6\xB5\x81\"]");
	if (g) {
		static const char *const choices[] = { "the end", "there", "\xE6\xB2\xB3\xE6\xB5\x81" };
		struct buf text = BUF_INIT(100);
		struct guided at = { 0 };

		buf_clear(&text);
		mask(g, &at, &text);
		for (int id = 0; id < V; id++) {
			size_t n;
			const char *p = tok_bytes(tok, id, &n);
			bool fits = false;

			for (int i = 0; i < 3; i++)
				fits = fits || (n > 0 && n <= strlen(choices[i]) && memcmp(p, choices[i], n) == 0);
			if (!CHECK_INT(logits[id] == 0, fits && !tok_is_special(tok, id)))
				printf("# token %d\n", id);
		}
		buf_free(&text);
	}
	guide_release(g);
}

static void
an_end_token_comes_where_the_text_is_complete(void)
{
	struct guide *g = guide_of(GUIDE_REGEX, "\"ab?\"");
	struct buf text = BUF_INIT(100);
	struct guided at = { 0 };

	buf_clear(&text);
	mask(g, &at, &text);
	CHECK(logits[eos] != 0);
	CHECK(!guide_ended(g, &at, text.p, text.n));
	buf_adds(&text, "a");
	mask(g, &at, &text);
	CHECK(logits[eos] == 0 && count_allowed() == 2);
	CHECK(!guide_ended(g, &at, text.p, text.n));
	buf_adds(&text, "b");
	CHECK(guide_ended(g, &at, text.p, text.n));
	mask(g, &at, &text);
	CHECK(logits[eos] == 0 && count_allowed() == 1);
	buf_adds(&text, "c");	/* a text that never was allowed */
	mask(g, &at, &text);
	CHECK_INT(count_allowed(), 0);
	guide_release(g);
	buf_free(&text);
}

static void
requests_with_the_same_form_share_a_guide(void)
{
	struct guide *a = guide_of(GUIDE_SCHEMA, "{\"type\":\"integer\"}"), *b = guide_of(GUIDE_SCHEMA, "{ \"type\": \"integer\" }");
	struct guide *c = guide_of(GUIDE_SCHEMA, "{\"type\":\"number\"}");

	CHECK(a == b && a != c);
	guide_release(a);
	guide_release(b);
	guide_release(c);
	guide_release(NULL);
}

/* Masks of many states, so that they are forgotten in between: the walk stays what it was. */
static void
forgotten_states_change_nothing(void)
{
	struct guide *g = guide_of(GUIDE_SCHEMA, "{\"type\":\"string\",\"minLength\":6000,\"maxLength\":6100}");
	struct buf text = BUF_INIT(SIZE_MAX);
	struct guided at = { 0 }, other = { 0 };
	unsigned first;

	buf_clear(&text);
	buf_adds(&text, "\"");
	mask(g, &other, &text);
	first = other.epoch;
	for (int i = 0; i < 6100; i++, buf_adds(&text, "x"))
		mask(g, &at, &text);
	CHECK(at.epoch > first);
	mask(g, &other, &text);
	CHECK(logits[eos] != 0);
	CHECK_INT(count_allowed(), 1);
	buf_adds(&text, "\"");
	CHECK(guide_ended(g, &other, text.p, text.n) && guide_ended(g, &at, text.p, text.n));
	guide_release(g);
	buf_free(&text);
}

int
main(void)
{
	struct err e;

	tok = tok_load(TEACHER, &e);
	if (!tok)
		die(STATUS_USAGE, "%s", e.msg);
	V = tok_size(tok);
	while (!tok_is_special(tok, eos))
		eos++;
	logits = xcalloc(V, sizeof *logits);
	all = guides_new(tok, V, &eos, 1);
	RUN(every_walk_ends_in_a_valid_value);
	RUN(a_mask_holds_the_tokens_that_fit_and_no_others);
	RUN(an_end_token_comes_where_the_text_is_complete);
	RUN(requests_with_the_same_form_share_a_guide);
	RUN(forgotten_states_change_nothing);
	guides_free(all);
	tok_free(tok);
	free(logits);
	return t_done();
}
