/* JSON Schemas as grammars: which texts they take, which schemas are refused; numbers and JSON itself against other readers. */
#include "t.h"

#include <jansson.h>

#include "automaton.h"
#include "err.h"
#include "json.h"
#include "range.h"
#include "schema.h"
#include "text.h"

#define MANY 100000000L

/* A schema's grammar and its automaton, or why there is none. */
struct compiled {
	struct grammar g;
	struct automaton a;
	struct err why;
	int rc;
};

static struct compiled *
compile_json(json_t *schema)
{
	struct compiled *c = xcalloc(1, sizeof *c);

	grammar_init(&c->g);
	c->rc = schema_put(&c->g, schema, &c->why);
	if (c->rc >= 0)
		c->rc = grammar_finish(&c->g, c->rc, &c->why);
	automaton_init(&c->a, &c->g);
	automaton_budget(&c->a, MANY);
	return c;
}

static struct compiled *
compile(const char *text)
{
	json_error_t why;
	json_t *schema = json_loads(text, JSON_DECODE_ANY, &why);
	struct compiled *c;

	if (!schema) {
		printf("# the test's schema: %s: %s\n", why.text, text);
		abort();
	}
	c = compile_json(schema);
	json_decref(schema);
	return c;
}

static void
done(struct compiled *c)
{
	automaton_free(&c->a);
	grammar_free(&c->g);
	free(c);
}

/* The state behind a text. */
static int
after(struct compiled *c, const char *text, size_t n)
{
	int state = automaton_start(&c->a);

	for (size_t i = 0; i < n && state >= 0; i++)
		state = automaton_step(&c->a, state, text[i]);
	return state;
}

static int
takes(struct compiled *c, const char *text, size_t n)
{
	int state = after(c, text, n);

	return state >= 0 && c->a.state[state]->complete;
}

/* The schema, then texts that are taken, NULL, texts that are not, NULL. */
struct table {
	const char *schema;
	const char *texts[40];
};

static void
check_table(const struct table *t, int n)
{
	for (int i = 0; i < n; i++) {
		struct compiled *c = compile(t[i].schema);
		const char *const *text = t[i].texts;

		if (!CHECK(c->rc >= 0))
			printf("# %s: %s\n", t[i].schema, c->why.msg);
		for (int want = 1; c->rc >= 0 && want >= 0; want--, text++)
			for (; *text; text++)
				if (!CHECK(takes(c, *text, strlen(*text)) == want))
					printf("# %s should%s take %s\n", t[i].schema, want ? "" : " not", *text);
		done(c);
	}
}

#define TABLE(...) \
	static const struct table table[] = { __VA_ARGS__ }; \
	check_table(table, sizeof table / sizeof *table)

static void
scalars(void)
{
	TABLE({ "{\"type\":\"null\"}", { "null", NULL, "nul", "nulll", "true", "", NULL } },
	{ "{\"type\":\"boolean\"}", { "true", "false", NULL, "null", "True", " true", "true ", NULL } },
	{ "{\"type\":\"integer\"}", { "0", "-0", "7", "-12", "123456789012345", NULL, "01", "1.0", "1e3", "+1", "--1", "1234567890123456", NULL } },
	{ "{\"type\":\"number\"}", { "0", "0.5", "-1.25e-7", "1E+9", "12", NULL, ".5", "5.", "1e", "0x1", "1e+", "00", "NaN", "1e400", NULL } },
	{ "{\"type\":[\"integer\",\"null\"]}", { "4", "null", NULL, "\"4\"", "4.5", NULL } },
	{ "{\"type\":\"integer\",\"nullable\":true}", { "4", "null", NULL, "true", NULL } });
}

static void
false_has_no_value(void)
{
	struct compiled *c = compile("{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}");

	CHECK(c->rc < 0 && strstr(c->why.msg, "no value is valid"));
	done(c);
}

static void
strings(void)
{
	TABLE({ "{\"type\":\"string\"}", { "\"\"", "\"a b\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\\uD83D\\ude00\"", "\"\xC3\xA9\xF0\x9F\x98\x80\"", NULL,
		"\"", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\u0000\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\xC3\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"",
		"\"\xF4\x90\x80\x80\"", "\"a\"b", "a", NULL } },
	{ "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", { "\"ab\"", "\"abc\"", "\"\xC3\xA9\xC3\xA9\"", "\"\\n\\u00e9z\"", "\"\\ud83d\\ude00x\"", NULL,
		"\"a\"", "\"\"", "\"abcd\"", "\"\\ud83d\\ude00\"", NULL } },
	{ "{\"type\":\"string\",\"minLength\":1}", { "\"x\"", "\"a long one\"", NULL, "\"\"", NULL } },
	{ "{\"type\":\"string\",\"maxLength\":0}", { "\"\"", NULL, "\"x\"", NULL } });
}

static void
patterns(void)
{
	TABLE({ "{\"type\":\"string\",\"pattern\":\"^[a-c]+$\"}", { "\"abc\"", NULL, "\"\"", "\"abd\"", "\"\\u0061\"", NULL } },
	{ "{\"pattern\":\"b\"}", { "\"abc\"", "\"b\"", "\"\xC3\xA9 b \\\\\"", NULL, "\"\"", "\"ac\"", NULL } },
	{ "{\"pattern\":\"^x|y$\"}", { "\"x1\"", "\"1y\"", NULL, "\"1x\"", "\"y1\"", NULL } },
	{ "{\"pattern\":\"^(ab){2,3}c?$\"}", { "\"abab\"", "\"abababc\"", NULL, "\"ab\"", "\"abababab\"", NULL } },
	{ "{\"pattern\":\"^a{3,}$\"}", { "\"aaa\"", "\"aaaaaa\"", NULL, "\"aa\"", NULL } },
	{ "{\"pattern\":\"^\\\\d{2}\\\\.\\\\w*\\\\s[^\\\\W_]$\"}", { "\"12.ab_ z\"", "\"00.\\tq\"", NULL, "\"12.ab _\"", "\"1.a z\"", NULL } },
	{ "{\"pattern\":\"^[\\\"\\\\\\\\]$\"}", { "\"\\\"\"", "\"\\\\\"", NULL, "\"a\"", "\"\"\"", NULL } },
	{ "{\"pattern\":\"^.$\"}", { "\"\xF0\x9F\x98\x80\"", "\"\\t\"", "\"z\"", NULL, "\"\\n\"", "\"\\u2028\"", "\"ab\"", "\"\xE2\x80\xA8\"", NULL } },
	{ "{\"pattern\":\"^[^a-y]$\"}", { "\"z\"", "\"\xC3\xA9\"", NULL, "\"a\"", "\"y\"", NULL } },
	{ "{\"pattern\":\"^[\xC3\xA4-\xE4\xB8\xAD]$\"}", { "\"\xC3\xA9\"", "\"\xE4\xB8\x80\"", "\"\xE4\xB8\xAD\"", NULL, "\"\xE4\xB8\xAE\"", "\"\xC3\xA3\"", NULL } },
	{ "{\"pattern\":\"\"}", { "\"\"", "\"x\"", NULL, NULL } },
	{ "{\"type\":\"string\",\"format\":\"date\"}", { "\"2024-02-28\"", "\"1999-12-31\"", NULL, "\"2024-13-01\"", "\"2024-04-31\"", "\"24-01-01\"", NULL } },
	{ "{\"type\":\"string\",\"format\":\"uuid\"}", { "\"123e4567-e89b-12d3-a456-426614174000\"", NULL, "\"123e4567\"", NULL } },
	{ "{\"type\":\"string\",\"format\":\"ipv4\"}", { "\"127.0.0.1\"", "\"255.25.1.99\"", NULL, "\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\"", NULL } });
}

static void
values(void)
{
	TABLE({ "{\"enum\":[\"safe\",\"unsafe\",1,null,{\"a\":[1,2]}]}", { "\"safe\"", "\"unsafe\"", "1", "null", "{\"a\":[1,2]}", NULL, "\"saf\"", "2", "\"safe", NULL } },
	{ "{\"enum\":[\"a\",\"ab\",\"abc\"]}", { "\"a\"", "\"ab\"", "\"abc\"", NULL, "\"abcd\"", "\"b\"", NULL } },
	{ "{\"type\":\"string\",\"enum\":[\"a\",1]}", { "\"a\"", NULL, "1", NULL } },
	{ "{\"const\":0.1}", { "0.1", NULL, "0.10", NULL } },
	{ "{\"const\":null}", { "null", NULL, "0", NULL } },
	{ "{\"const\":\"\\u00e9\\n\"}", { "\"\xC3\xA9\\n\"", NULL, "\"e\"", NULL } });
}

static void
arrays(void)
{
	TABLE({ "{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", { "[]", "[1]", "[1,2, 3]", NULL, "[1,]", "[,1]", "[ 1]", "[1 ,2]", "[1,  2]", "[\"a\"]", "[1", NULL } },
	{ "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", { "[1,2]", "[1,2,3]", NULL, "[1]", "[]", "[1,2,3,4]", NULL } },
	{ "{\"type\":\"array\",\"minItems\":1}", { "[null]", "[{},[]]", NULL, "[]", NULL } },
	{ "{\"type\":\"array\",\"maxItems\":0}", { "[]", NULL, "[1]", NULL } },
	{ "{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", { "[]", "[1]", "[1,\"a\"]", NULL, "[\"a\"]", "[1,\"a\",2]", NULL } },
	{ "{\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"null\"},\"minItems\":1}", { "[1]", "[1,null,null]", NULL, "[]", "[null]", "[1,1]", NULL } },
	{ "{\"type\":\"array\",\"items\":false}", { "[]", NULL, "[1]", NULL } });
}

static void
objects(void)
{
	TABLE({ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},\"required\":[\"a\"]}",
		{ "{\"a\":1}", "{\"a\": 1, \"b\": null}", NULL, "{}", "{\"b\":null}", "{\"b\":null,\"a\":1}", "{\"a\":1,\"c\":2}", "{\"a\":1,}", "{\"a\":  1}",
		"{\n\"a\":1}", "{\"a\" :1}", "{\"a\":1,\"a\":1}", NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"b\"],\"additionalProperties\":false}",
		{ "{\"b\":1}", "{\"a\":[],\"b\":1}", "{\"b\":1,\"c\":{\"x\":1}}", "{\"a\":1,\"b\":1,\"c\":1}", NULL, "{\"a\":1}", "{\"c\":1}", "{\"a\":1,\"c\":1}", NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"ab\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":\"null\"}}",
		{ "{}", "{\"x\":null}", "{\"a\":1,\"abc\":null,\"b\":null}", "{\"\":null}", "{\"ab\":1,\"\xC3\xA9\":null}", NULL,
		"{\"x\":1}", "{\"a\":null}", "{\"x\":null,\"a\":1}", "{\"x\":null,\"ab\":null}", "{\"\\u0061\":null}", "{\"a\":1,\"ab\":null}", NULL } },
	{ "{\"type\":\"object\",\"required\":[\"q\",\"r\"]}", { "{\"q\":1,\"r\":2}", "{\"q\":1,\"r\":2,\"s\":3}", NULL, "{\"r\":2}", "{\"q\":1}", "{\"q\":1,\"r\":2,\"q\":3}", NULL } },
	{ "{\"type\":\"object\"}", { "{}", "{\"a\":{\"b\":[1,{}]}}", NULL, "[]", "1", "{\"a\"}", NULL } },
	{ "{\"properties\":{\"\\u00e9\\\"\":{\"type\":\"null\"}}}", { "{}", "{\"\xC3\xA9\\\"\":null}", NULL, "{\"\xC3\xA9\":null}", NULL } });
}

static void
combinations(void)
{
	TABLE({ "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", { "1", "\"a\"", NULL, "\"ab\"", "null", NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"null\"}},\"anyOf\":[{\"required\":[\"k\"]},{\"properties\":{\"l\":{\"type\":\"integer\"}},\"required\":[\"l\"]}]}",
		{ "{\"k\":null}", "{\"l\":1}", "{\"k\":null,\"l\":1}", NULL, "{}", NULL } },
	{ "{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5},{\"type\":[\"integer\",\"string\"]}]}", { "3", "5", NULL, "2", "6", "\"a\"", NULL } },
	{ "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"additionalProperties\":false},{\"properties\":{\"a\":{\"minimum\":0},\"b\":{\"type\":\"null\"}}}]}",
		{ "{}", "{\"a\":1}", NULL, "{\"a\":-1}", "{\"b\":null}", NULL } },
	{ "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", { "1", "\"\"", NULL, "null", NULL } },
	{ "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},\"required\":[\"t\",\"x\"]},"
		"{\"type\":\"object\",\"properties\":{\"t\":{\"enum\":[\"b\",\"c\"]}},\"required\":[\"t\"]}]}", { "{\"t\":\"a\",\"x\":1}", "{\"t\":\"c\"}", NULL, "{\"t\":\"a\"}", "{\"t\":\"b\",\"x\":1}", NULL } },
	{ "{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"integer\"}}}", { "1", NULL, "\"\"", NULL } },
	{ "{\"$ref\":\"#/$defs/n\",\"minimum\":5,\"$defs\":{\"n\":{\"type\":\"integer\",\"maximum\":6}}}", { "5", "6", NULL, "4", "7", NULL } },
	{ "{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},"
		"\"required\":[\"v\"]}},\"$ref\":\"#/$defs/tree\"}", { "{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}", NULL, "{\"v\":1,\"kids\":[{}]}", NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}}}", { "{}", "{\"next\":{\"next\":{}}}", NULL, "{\"next\":1}", NULL } },
	{ "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},{\"type\":\"null\"}]}", { "null", "[null,[[]]]", NULL, "[1]", NULL } },
	{ "{\"allOf\":[{\"enum\":[1,2,3]},{\"enum\":[2,3,4]}]}", { "2", "3", NULL, "1", "4", NULL } },
	{ "{}", { "1", "[{}]", "\"a\"", NULL, "", "a", NULL } });
}

static void
counts_of_properties(void)
{
	TABLE({ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"},\"c\":{\"type\":\"integer\"}},\"required\":[\"b\"],\"minProperties\":2,\"maxProperties\":2}", { "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}", NULL, "{\"b\":2}", "{\"a\":1,\"c\":3}", "{\"a\":1,\"b\":2,\"c\":3}", "{}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},\"minProperties\":1}", { "{\"a\":null}", "{\"b\":null}", "{\"a\":null,\"b\":null}", NULL, "{}",  NULL } },
	{ "{\"type\":\"object\",\"maxProperties\":1,\"additionalProperties\":{\"type\":\"null\"}}", { "{}", "{\"x\":null}", NULL, "{\"x\":null,\"y\":null}",  NULL } },
	{ "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":{\"type\":\"null\"}}", { "{\"x\":null}", "{\"x\":null,\"y\":null,\"z\":null}", NULL, "{}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"minProperties\":2,\"additionalProperties\":{\"type\":\"null\"}}", { "{\"a\":null,\"x\":null}", "{\"a\":null,\"x\":null, \"x\":null}", NULL, "{}", "{\"a\":null}", "{\"x\":null}", "{\"x\":null,\"x\":null}",  NULL } },
	{ "{\"type\":\"object\",\"maxProperties\":0}", { "{}", NULL, "{\"a\":1}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"a\",\"b\"],\"maxProperties\":2,\"additionalProperties\":{\"type\":\"null\"}}", { "{\"a\":null,\"b\":null}", NULL, "{\"a\":null,\"b\":null,\"c\":null}", "{\"a\":null}",  NULL } },
	{ "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},\"minProperties\":1},{\"minProperties\":2,\"maxProperties\":5}]}", { "{\"a\":null,\"b\":null}", NULL, "{\"a\":null}",  NULL } });
}

static void
properties_of_a_pattern(void)
{
	TABLE({ "{\"type\":\"object\",\"patternProperties\":{\"^s_[a-z]+$\":{\"type\":\"string\",\"maxLength\":1},\"^n\":{\"type\":\"integer\"}},\"additionalProperties\":false}", { "{}", "{\"s_a\":\"x\"}", "{\"n\":1}", "{\"n\":1,\"s_bc\":\"\",\"n1\":2}", NULL, "{\"s_a\":1}", "{\"s_\":\"x\"}", "{\"x\":1}", "{\"n\":\"x\"}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"}},\"required\":[\"id\"],\"patternProperties\":{\"^x-\":{\"type\":\"null\"}}}", { "{\"id\":1}", "{\"id\":1,\"x-a\":null, \"x-\":null}", NULL, "{\"x-a\":null}", "{\"id\":1,\"y\":null}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"}},\"patternProperties\":{\"^a\":{\"minimum\":5}}}", { "{}", "{\"ab\":5}", NULL, "{\"ab\":4}", "{\"ac\":7}",  NULL } },
	{ "{\"type\":\"object\",\"required\":[\"a1\",\"b\"],\"patternProperties\":{\"[0-9]$\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"boolean\"}}", { "{\"a1\":null,\"b\":true}", NULL, "{\"a1\":true,\"b\":true}", "{\"a1\":null,\"b\":null}",  NULL } },
	{ "{\"type\":\"object\",\"patternProperties\":{\"^\\\\n$\":{\"type\":\"null\"}},\"minProperties\":1}", { "{\"\\n\":null}", NULL, "{\"\n\":null}", "{\"n\":null}", "{}",  NULL } },
	{ "{\"type\":\"object\",\"patternProperties\":{},\"properties\":{\"a\":{\"type\":\"null\"}}}", { "{}", "{\"a\":null}", NULL, "{\"b\":null}",  NULL } });
}

static void
multiples(void)
{
	TABLE({ "{\"type\":\"integer\",\"multipleOf\":7}", { "0", "7", "-14", "700", "-0", NULL, "1", "8", "-1", "70.0",  NULL } },
	{ "{\"type\":\"number\",\"multipleOf\":5,\"minimum\":10,\"maximum\":1000}", { "10", "995", "1000", NULL, "5", "1005", "12", "-10", "10.0",  NULL } },
	{ "{\"type\":\"integer\",\"multipleOf\":1}", { "3", NULL, "3.5",  NULL } },
	{ "{\"type\":\"number\",\"multipleOf\":1}", { "3", NULL, "3.5",  NULL } },
	{ "{\"type\":\"integer\",\"multipleOf\":512,\"exclusiveMinimum\":512}", { "1024", NULL, "512", "1023",  NULL } },
	{ "{\"type\":\"integer\",\"multipleOf\":10.0}", { "20", NULL, "15",  NULL } });
}

static void
patterns_of_a_length(void)
{
	TABLE({ "{\"type\":\"string\",\"pattern\":\"^a*b*$\",\"minLength\":2,\"maxLength\":3}", { "\"ab\"", "\"aab\"", "\"bb\"", NULL, "\"a\"", "\"aabb\"", "\"\"", "\"ba\"",  NULL } },
	{ "{\"type\":\"string\",\"pattern\":\"\\\\d\",\"maxLength\":2}", { "\"1\"", "\"a1\"", "\"1é\"", "\"1\\n\"", "\"1\\u0001\"", "\"1😀\"", NULL, "\"\"", "\"ab\"", "\"ab1\"", "\"1\\n\\n\"",  NULL } },
	{ "{\"type\":\"string\",\"pattern\":\"é\",\"minLength\":3}", { "\"aaé\"", "\"é\\\\\\\"\"", "\"😀éé\"", NULL, "\"éa\"", "\"é\"", "\"abc\"",  NULL } },
	{ "{\"type\":\"string\",\"format\":\"email\",\"maxLength\":8}", { "\"a@b.cd\"", NULL, "\"abcdef@g.hi\"", "\"a\"",  NULL } },
	{ "{\"type\":\"string\",\"format\":\"date\",\"pattern\":\"^20\"}", { "\"2024-01-31\"", NULL, "\"1999-01-31\"", "\"2024-02-30\"",  NULL } },
	{ "{\"type\":\"string\",\"format\":\"date\",\"pattern\":\"^20\",\"maxLength\":10}", { "\"2024-01-31\"", NULL, "\"1999-01-31\"",  NULL } });
}

static void
elements_that_differ(void)
{
	TABLE({ "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true}", { "[]", "[\"a\"]", "[\"a\",\"c\"]", "[\"a\",\"b\",\"c\"]", NULL, "[\"a\",\"a\"]", "[\"d\"]", "[\"a\",\"b\",\"b\"]",  NULL } },
	{ "{\"type\":\"array\",\"items\":{\"enum\":[1,1.0,2,null,true]},\"uniqueItems\":true,\"minItems\":2,\"maxItems\":3}", { "[1,2]", "[1,2,null]", "[1,true]", NULL, "[1]", "[1,1.0]", "[1,2,null,true]", "[]",  NULL } },
	{ "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/c\"},\"uniqueItems\":true,\"$defs\":{\"c\":{\"type\":\"string\",\"enum\":[\"r\",\"g\",3]}}}", { "[\"r\",\"g\"]", NULL, "[\"r\",\"r\"]", "[3]",  NULL } },
	{ "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"uniqueItems\":true,\"maxItems\":1}", { "[]", "[5]", NULL, "[5,5]", "[5,6]",  NULL } },
	{ "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"uniqueItems\":false}", { "[5,5]", NULL, "[\"a\"]",  NULL } });
}

static void
conditions(void)
{
	TABLE({ "{\"type\":\"object\",\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\"]},\"n\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\",\"maxLength\":1}},\"required\":[\"kind\"],\"if\":{\"properties\":{\"kind\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"n\"]},\"else\":{\"required\":[\"s\"]}}", { "{\"kind\":\"a\",\"n\":1}", "{\"kind\":\"b\",\"s\":\"x\"}", "{\"kind\":\"a\",\"n\":1,\"s\":\"x\"}", NULL, "{\"kind\":\"a\"}", "{\"kind\":\"b\",\"n\":1}", "{\"n\":1,\"s\":\"x\"}", "{}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\",\"c\"]},\"n\":{\"type\":\"integer\"}},\"if\":{\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\"]}},\"required\":[\"kind\"]},\"then\":{\"properties\":{\"n\":{\"minimum\":5}}},\"else\":{\"properties\":{\"n\":{\"maximum\":4}}}}", { "{\"kind\":\"a\",\"n\":5}", "{\"kind\":\"c\",\"n\":4}", "{\"n\":4}", "{}", "{\"kind\":\"b\"}", NULL, "{\"kind\":\"b\",\"n\":4}", "{\"kind\":\"c\",\"n\":5}", "{\"n\":5}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\",\"c\"]},\"n\":{\"type\":\"integer\"}},\"if\":{\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\"]}}},\"then\":{\"properties\":{\"n\":{\"minimum\":5}}},\"else\":{\"properties\":{\"n\":{\"maximum\":4}}}}", { "{\"kind\":\"a\",\"n\":5}", "{\"kind\":\"c\",\"n\":4}", "{\"n\":5}", "{}", NULL, "{\"kind\":\"b\",\"n\":4}", "{\"kind\":\"c\",\"n\":5}", "{\"n\":4}",  NULL } },
	{ "{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"enum\":[\"x\",\"y\"]},\"v\":{\"type\":\"integer\"}},\"required\":[\"k\",\"v\"],\"if\":{\"properties\":{\"k\":{\"const\":\"x\"}},\"required\":[\"k\"]},\"then\":{\"properties\":{\"v\":{\"const\":1}}}}", { "{\"k\":\"x\",\"v\":1}", "{\"k\":\"y\",\"v\":2}", NULL, "{\"k\":\"x\",\"v\":2}",  NULL } });
}

/* The schema, and what the message must hold. */
static void
what_is_not_supported_is_refused_by_name(void)
{
	static const char *const table[][2] = {
		{ "{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems" }, { "{\"type\":\"number\",\"multipleOf\":0.1}", "multipleOf" },
		{ "{\"multipleOf\":0}", "multipleOf" }, { "{\"multipleOf\":513}", "multipleOf" }, { "{\"uniqueItems\":1}", "uniqueItems" },
		{ "{\"items\":{\"enum\":[1,[]]},\"uniqueItems\":true}", "uniqueItems" }, { "{\"prefixItems\":[{\"enum\":[1]}],\"uniqueItems\":true}", "uniqueItems" },
		{ "{\"not\":{}}", "'not'" }, { "{\"if\":{}}", "'if'" }, { "{\"if\":{\"properties\":{\"a\":{\"const\":1}}}}", "'if'" },
		{ "{\"properties\":{\"a\":{\"enum\":[1,2]}},\"if\":{\"properties\":{\"a\":{\"minimum\":2}}}}", "'if'" },
		{ "{\"allOf\":[{\"if\":{}},{\"if\":{}}]}", "'if'" }, { "{\"patternProperties\":[]}", "patternProperties" },
		{ "{\"patternProperties\":{\"^a\":true,\"b$\":true}}", "two patterns" }, { "{\"patternProperties\":{\"(\":true}}", "patternProperties" },
		{ "{\"allOf\":[{\"patternProperties\":{\"a\":true}},{\"properties\":{\"a\":true}}]}", "patternProperties" },
		{ "{\"type\":\"array\",\"contains\":{}}", "contains" }, { "{\"propertyNames\":{}}", "propertyNames" }, { "{\"minProperties\":2}", "minProperties" }, { "{\"maxProperties\":-1}", "maxProperties" },
		{ "{\"properties\":{\"a\":{\"dependentRequired\":{}}}}", "dependentRequired" }, { "{\"no such\":1}", "no such" },
		{ "{\"type\":\"strin\"}", "strin" }, { "{\"type\":1}", "type" }, { "{\"$ref\":\"#/$defs/x\"}", "#/$defs/x" }, { "{\"$ref\":\"other.json\"}", "$ref" },
		{ "{\"$ref\":\"#\"}", "itself" }, { "{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", "itself" }, { "{\"allOf\":[{\"$ref\":\"#\"}]}", "circles" },
		{ "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "no value" },
		{ "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "oneOf" }, { "{\"oneOf\":[{\"minLength\":1},{\"maxLength\":3}]}", "oneOf" },
		{ "{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "(?" }, { "{\"pattern\":\"\\\\bx\"}", "\\b" }, { "{\"pattern\":\"(a)\\\\1\"}", "\\1" },
		{ "{\"pattern\":\"[a\"}", "[" }, { "{\"pattern\":\"a)\"}", ")" }, { "{\"pattern\":\"(a\"}", "(" }, { "{\"pattern\":\"a{2,1}\"}", "{ }" },
		{ "{\"pattern\":\"*\"}", "*" }, { "{\"pattern\":\"^a{3}$\",\"maxLength\":2}", "no value" }, { "{\"format\":\"regex\"}", "regex" },
		{ "{\"minLength\":-1}", "minLength" }, { "{\"maxItems\":1.5}", "maxItems" }, { "{\"maxLength\":1000000}", "maxLength" },
		{ "{\"enum\":{}}", "enum" }, { "{\"enum\":[1],\"minimum\":0}", "minimum" }, { "{\"items\":[]}", "items" }, { "{\"required\":[1]}", "required" },
		{ "{\"properties\":[]}", "properties" }, { "{\"minimum\":\"1\"}", "minimum" }, { "{\"minimum\":2,\"maximum\":1}", "no value" },
		{ "{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}", "pattern" }, { "{\"anyOf\":[]}", "anyOf" }, { "{\"properties\":{\"a\":1}}", "object, true or false" },
		{ "{\"enum\":[]}", "no value" }, { "{\"nullable\":1}", "nullable" },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct compiled *c = compile(table[i][0]);

		if (!CHECK(c->rc < 0 && strstr(c->why.msg, table[i][1])))
			printf("# %s: %s\n", table[i][0], c->rc < 0 ? c->why.msg : "accepted");
		done(c);
	}
}

/* ---- hostile schemas ---- */

static void
nested(struct buf *b, const char *before, const char *middle, const char *behind, int n)
{
	buf_clear(b);
	for (int i = 0; i < n; i++)
		buf_adds(b, before);
	buf_adds(b, middle);
	for (int i = 0; i < n; i++)
		buf_adds(b, behind);
}

/* Refused, or taken with no more work than a mask may cost. */
static void
holds_out(const char *text)
{
	struct compiled *c = compile(text);
	int state;

	if (c->rc >= 0) {
		automaton_budget(&c->a, 4000000);
		state = automaton_start(&c->a);
		for (int i = 0; i < 2000 && state >= 0; i++)
			state = automaton_step(&c->a, state, "[{\"a[[[["[i % 9]);
		CHECK(c->a.bytes < 200 << 20);
	} else {
		CHECK(c->why.msg[0]);
	}
	done(c);
}

static void
hostile_schemas_end_in_time(void)
{
	struct buf b = BUF_INIT(SIZE_MAX);

	holds_out("{\"type\":\"array\",\"maxItems\":65536,\"items\":{\"type\":\"array\",\"maxItems\":65536}}");
	holds_out("{\"pattern\":\"((((a{1,99}){1,99}){1,99}){1,99}){1,99}\"}");
	holds_out("{\"pattern\":\"(((((((((((a*)*)*)*)*)*)*)*)*)*)*)*b\"}");
	holds_out("{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"maxItems\":5},"
		"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"maxItems\":6}]}");
	holds_out("{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"},{\"$ref\":\"#/$defs/b\"}]},\"b\":{\"allOf\":[{\"$ref\":\"#/$defs/c\"},{\"$ref\":\"#/$defs/c\"}]},"
		"\"c\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}");
	holds_out("{\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#\"},{\"properties\":{\"y\":{\"allOf\":[{\"$ref\":\"#\"},{\"required\":[\"z\"]}]}}}]}}}");
	nested(&b, "{\"allOf\":[", "{}", ",{}]}", 900);
	holds_out(b.p);
	nested(&b, "{\"items\":", "{\"type\":\"null\"}", ",\"minItems\":1}", 900);
	holds_out(b.p);
	nested(&b, "{\"properties\":{\"a\":", "true", "}}", 600);
	holds_out(b.p);
	nested(&b, "{\"anyOf\":[{\"maxLength\":3},", "true", "]}", 900);
	holds_out(b.p);
	buf_free(&b);
}

static void
nesting_has_an_end_that_can_be_reached(void)
{
	struct compiled *c = compile("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":0}");
	char text[600];
	int n = 0;

	memset(text, '[', sizeof text);
	while (n < (int)sizeof text && after(c, text, n + 1) >= 0)
		n++;
	CHECK(n >= GRAMMAR_DEPTH / 4 && n <= GRAMMAR_DEPTH + 1);
	memset(text + n, ']', n);
	CHECK(takes(c, text, 2 * n));
	done(c);
}

/* ---- JSON against jansson ---- */

static json_t *
random_value(uint64_t *rng, int depth)
{
	static const char *const words[] = { "", "a", "key", "\xC3\xA9\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "q\"\\/", "\b\f\n\r\t\x01\x1f", "</s> {}[]:,", "0" };
	uint64_t kind = text_random(rng) % (depth > 3 ? 5 : 7);
	json_t *v;

	switch (kind) {
	case 0: return json_null();
	case 1: return json_boolean(text_random(rng) & 1);
	case 2: return json_integer((long long)(text_random(rng) % 2000001) - 1000000);
	case 3: return json_real((double)(int)(text_random(rng) % 20001 - 10000) / 64);
	case 4: return json_string(words[text_random(rng) % 9]);
	case 5:
		v = json_array();
		for (int n = text_random(rng) % 4; n > 0; n--)
			json_array_append_new(v, random_value(rng, depth + 1));
		return v;
	default:
		v = json_object();
		for (int n = text_random(rng) % 4; n > 0; n--)
			json_object_set_new(v, words[text_random(rng) % 5], random_value(rng, depth + 1));
		return v;
	}
}

static void
mutate(struct buf *b, uint64_t *rng)
{
	static const char bytes[] = "\"\\{}[]:,0123456789.eE+-truefalsn u \n\x01\x80\xC3\xBF";

	for (int n = text_random(rng) % 3 + 1; n > 0 && b->n > 0; n--) {
		size_t at = text_random(rng) % b->n;

		switch (text_random(rng) % 3) {
		case 0:
			b->p[at] = bytes[text_random(rng) % (sizeof bytes - 1)];
			break;
		case 1:
			memmove(b->p + at, b->p + at + 1, --b->n - at);
			break;
		default:
			buf_addc(b, b->p[b->n - 1]);
			memmove(b->p + at + 1, b->p + at, b->n - 2 - at);
			b->p[at] = bytes[text_random(rng) % (sizeof bytes - 1)];
		}
	}
}

/* What is taken is JSON; and JSON is taken where it is written as json_write() does. */
static void
json_is_what_jansson_takes(void)
{
	struct compiled *c = compile("true");
	uint64_t rng = 7;
	int good = 0, bad = 0;

	for (int i = 0; i < 20000; i++) {
		struct buf b = BUF_INIT(SIZE_MAX), again = BUF_INIT(SIZE_MAX);
		json_t *v = random_value(&rng, 0), *read;
		int took;

		json_write(&b, v);
		json_decref(v);
		if (!CHECK(takes(c, b.p, b.n)))
			printf("# not taken: %s\n", b.p);
		mutate(&b, &rng);
		took = takes(c, b.p, b.n);
		read = json_loadb(b.p, b.n, JSON_DECODE_ANY, NULL);
		json_write(&again, read);
		if (!CHECK(read || !took) || !CHECK(took || !read || again.n != b.n || memcmp(again.p, b.p, b.n) != 0))
			printf("# took %d: %.*s\n", took, (int)b.n, b.p);
		good += took;
		bad += !took;
		json_decref(read);
		buf_free(&b);
		buf_free(&again);
	}
	CHECK(good > 500 && bad > 5000);
	done(c);
}

/* ---- ranges ---- */

static double
random_bound(uint64_t *rng)
{
	double tens[] = { 1, 10, 100, 1000 };

	return (double)((int)(text_random(rng) % 4001) - 2000) / tens[text_random(rng) % 4];
}

static void
random_number(char text[32], uint64_t *rng)
{
	int n = text_random(rng) % 5001, digits = text_random(rng) % 4;

	snprintf(text, 32, "%s%.*f", text_random(rng) % 2 ? "-" : "", digits, (double)n / (digits == 0 ? 1 : digits == 1 ? 10 : digits == 2 ? 100 : 1000));
}

static void
check_range(uint64_t *rng, int integer)
{
	double lo = random_bound(rng), hi = lo + fabs(random_bound(rng));
	int ex_lo = text_random(rng) % 2, ex_hi = text_random(rng) % 2, have = text_random(rng) % 3;
	json_t *schema = json_pack("{s:s}", "type", integer ? "integer" : "number");
	struct compiled *c;
	char text[32];

	if (have != 1)
		json_object_set_new(schema, ex_lo ? "exclusiveMinimum" : "minimum", json_real(lo));
	if (have != 2)
		json_object_set_new(schema, ex_hi ? "exclusiveMaximum" : "maximum", json_real(hi));
	c = compile_json(schema);
	for (int i = 0; i < 300 && c->rc >= 0; i++) {
		double x;
		int want;

		random_number(text, rng);
		x = strtod(text, NULL);
		if (x == 0 && text[0] == '-')
			continue;	/* minus zero is not written */
		want = (have == 1 || (ex_lo ? x > lo : x >= lo)) && (have == 2 || (ex_hi ? x < hi : x <= hi)) && !(integer && strchr(text, '.'));
		if (!CHECK_INT(takes(c, text, strlen(text)), want))
			printf("# %s in %g (%d) .. %g (%d), %d\n", text, lo, ex_lo, hi, ex_hi, have);
	}
	if (c->rc < 0)
		CHECK(have == 0 && (integer ? floor(hi) - ceil(lo) < 1 : hi == lo));
	done(c);
	json_decref(schema);
}

static void
ranges_hold_exactly(void)
{
	uint64_t rng = 3;

	for (int i = 0; i < 400; i++)
		check_range(&rng, i % 2);
	TABLE({ "{\"type\":\"integer\",\"minimum\":0,\"maximum\":100}", { "0", "7", "99", "100", NULL, "101", "-1", "007", "1000", "1.0", "-0", NULL } },
	{ "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", { "0", "1", "0.5", "0.00", "1.000", "0.99999999999999", NULL, "1.0001", "-0.1", "2", "1e0", NULL } },
	{ "{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}", { "0.1", "0.00001", NULL, "0", "0.0", "1", "1.0", NULL } },
	{ "{\"type\":\"integer\",\"minimum\":-5,\"exclusiveMaximum\":2}", { "-5", "-1", "0", "1", NULL, "-6", "2", "-10", NULL } },
	{ "{\"type\":\"integer\",\"minimum\":1,\"exclusiveMinimum\":true}", { "2", "10", NULL, "1", "0", NULL } },
	{ "{\"type\":\"integer\",\"maximum\":1e300}", { "5", "-5", NULL, NULL } },
	{ "{\"minimum\":999}", { "999", "1000", "999.5", NULL, "998", "998.9", "-1000", NULL } });
}

int
main(void)
{
	RUN(scalars);
	RUN(false_has_no_value);
	RUN(strings);
	RUN(patterns);
	RUN(values);
	RUN(arrays);
	RUN(objects);
	RUN(combinations);
	RUN(counts_of_properties);
	RUN(properties_of_a_pattern);
	RUN(multiples);
	RUN(patterns_of_a_length);
	RUN(elements_that_differ);
	RUN(conditions);
	RUN(what_is_not_supported_is_refused_by_name);
	RUN(hostile_schemas_end_in_time);
	RUN(nesting_has_an_end_that_can_be_reached);
	RUN(json_is_what_jansson_takes);
	RUN(ranges_hold_exactly);
	return t_done();
}
