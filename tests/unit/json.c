/* json: checking it, finding its members, writing it; jansson is the oracle */
#include "json.h"

#include <stdint.h>

#include "rec.h"
#include "t.h"

static uint64_t seed = 7;

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static void
rfc_8259_texts_are_accepted(void)
{
	static const char *const yes[] = {
		"{}", "[]", "0", "-0", "1.5e+10", "-1E-2", "1e400", "\"\"", "true", "false", "null", " [ ] ", "\t{\n}\r", "[1,[2,{\"a\":[]}]]",
		"{\"a\":1,\"a\":2}", "\"\\u0000\\ud83d\\ude00\\/\"", "\"\x7f\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", "{\"\":\"\"}",
		"123456789012345678901234567890123456789012345678901234567890",
	};
	struct err e = { "" };

	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		if (!CHECK(json_valid(yes[i], strlen(yes[i]), &e) == 0))
			printf("#   %s: %s\n", yes[i], e.msg);
}

static void
others_are_refused_with_the_place(void)
{
	static const struct { const char *text, *says; } no[] = {
		{ "", "unexpected end at byte 1" }, { " ", "unexpected end at byte 2" }, { "{", "expected a key at byte 2" }, { "[1", "expected , or ] at byte 3" },
		{ "[1,]", "unexpected text at byte 4" }, { "{\"a\":1,}", "expected a key at byte 8" }, { "{\"a\" 1}", "expected : at byte 6" },
		{ "{a:1}", "expected a key at byte 2" }, { "{\"a\":1 \"b\":2}", "expected , or } at byte 8" }, { "NaN", "unexpected text at byte 1" },
		{ "-Infinity", "bad number at byte 2" }, { "01", "text after the value at byte 2" }, { "1.", "bad number at byte 3" },
		{ ".5", "unexpected text at byte 1" }, { "+1", "unexpected text at byte 1" }, { "1e", "bad number at byte 3" },
		{ "{} {}", "text after the value at byte 4" }, { "\"a", "unterminated string at byte 3" }, { "\"\t\"", "raw control byte in a string at byte 2" },
		{ "\"\\x\"", "bad escape at byte 3" }, { "\"\\u12g4\"", "bad \\u escape at byte 6" }, { "\"\\ud800\"", "lone surrogate at byte 2" },
		{ "\"\\ud800\\u0041\"", "lone surrogate at byte 2" }, { "\"a\\udc00\"", "lone surrogate at byte 3" }, { "\"\\ud800", "lone surrogate at byte 2" },
		{ "\"\xff\"", "invalid UTF-8 at byte 2" }, { "\"\xc0\x80\"", "invalid UTF-8 at byte 2" }, { "\"\xed\xa0\x80\"", "invalid UTF-8 at byte 2" },
		{ "\"\xf4\x90\x80\x80\"", "invalid UTF-8 at byte 2" }, { "\"\xe4\xbd\"", "invalid UTF-8 at byte 2" }, { "\"\xe4\xbd", "invalid UTF-8 at byte 2" },
		{ "\xef\xbb\xbf{}", "unexpected text at byte 1" }, { "truex", "text after the value at byte 5" }, { "tru", "unexpected text at byte 1" },
	};
	struct err e;

	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		e.msg[0] = '\0';
		CHECK(json_valid(no[i].text, strlen(no[i].text), &e) == -1);
		CHECK_STR(e.msg, no[i].says);
	}
	CHECK(json_valid("\"\0\"", 3, &e) == -1);
	CHECK(json_valid("1\0", 2, &e) == -1);
}

static void
nesting_is_accepted_up_to_the_limit(void)
{
	char text[2 * REC_DEPTH + 3];
	struct err e;

	memset(text, '[', REC_DEPTH);
	memset(text + REC_DEPTH, ']', REC_DEPTH);
	CHECK(json_valid(text, 2 * REC_DEPTH, &e) == 0);
	memset(text, '[', REC_DEPTH + 1);
	memset(text + REC_DEPTH + 1, ']', REC_DEPTH + 1);
	CHECK(json_valid(text, 2 * REC_DEPTH + 2, &e) == -1);
	CHECK(strstr(e.msg, "nested too deeply at byte 2049"));
}

/* A random piece of JSON, not always valid. */
static void
scribble(struct buf *b, int depth)
{
	static const char *const atom[] = {
		"1", "-0.5", "1e9", "true", "false", "null", "\"x\"", "\"\\u00e9\\n\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\xe4\xbd\xa0\"", "\"\xe4\xbd\"",
		"01", "nul", "\"\\q\"", "\"\x01\"", "[]", "{}", "-", "\"a", "",
	};
	unsigned kind = rnd(depth > 5 ? 1 : 4), n = rnd(4);

	if (rnd(4) == 0)
		buf_adds(b, " ");
	if (kind < 2) {
		buf_adds(b, atom[rnd(40) ? rnd(9) : rnd(sizeof atom / sizeof *atom)]);
	} else {
		buf_addc(b, kind == 2 ? '[' : '{');
		for (unsigned i = 0; i < n; i++) {
			if (i)
				buf_adds(b, rnd(60) ? "," : "");
			if (kind == 3)
				buf_adds(b, rnd(60) ? "\"k\" :" : "k:");
			scribble(b, depth + 1);
		}
		buf_addc(b, rnd(60) ? kind == 2 ? ']' : '}' : ' ');
	}
}

static void
jansson_agrees_on_what_is_json(void)
{
	struct buf b = BUF_INIT(1 << 20);
	int valid = 0, n = 20000;

	for (int i = 0; i < n; i++) {
		json_error_t je;
		json_t *v;
		int rc;

		buf_clear(&b);
		scribble(&b, 0);
		if (b.n && rnd(8) == 0)
			b.p[rnd(b.n)] = rnd(256);
		rc = json_valid(b.p, b.n, NULL);
		v = json_loadb(b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je);
		/* The two things that jansson cannot hold although they are JSON. */
		if (!v && (json_error_code(&je) == json_error_numeric_overflow || json_error_code(&je) == json_error_null_byte_in_key))
			continue;
		if (!CHECK((rc == 0) == (v != NULL)))
			printf("#   %.*s (%s)\n", (int)b.n, b.p, je.text);
		valid += rc == 0;
		json_decref(v);
	}
	CHECK(valid > n / 4 && valid < n * 9 / 10);
	buf_free(&b);
}

static void
members_are_found_where_they_lie(void)
{
	static const char text[] = " { \"a\" : [1,{\"x\":2}] ,\"b\\u0063\":3}  ";
	struct json_object o;
	struct err e;

	CHECK(json_scan(text, strlen(text), &o, &e) == 0);
	CHECK_INT(o.n, 2);
	CHECK_INT(o.open, 1);
	CHECK(text[o.close] == '}' && o.close == strlen(text) - 3);
	if (o.n == 2) {
		CHECK_BYTES(text + o.span[0].lead, o.span[0].key - o.span[0].lead, " ", 1);
		CHECK_BYTES(text + o.span[0].key, o.span[0].key_end - o.span[0].key, "\"a\"", 3);
		CHECK_BYTES(text + o.span[0].value, o.span[0].value_end - o.span[0].value, "[1,{\"x\":2}]", 11);
		CHECK(text[o.span[0].end] == ',');
		CHECK_BYTES(text + o.span[1].key, o.span[1].key_end - o.span[1].key, "\"b\\u0063\"", 9);
		CHECK_INT(o.span[1].end, o.close);
	}
	json_object_done(&o);
}

static void
values_are_written_compact_and_short(void)
{
	static const char in[] = "{ \"z\" : [ 0.1, 3, -2.5e-7, true, null, {} , [] ], \"a\" : \"\\u00e9\\/\\n\\u0000\" }";
	struct buf b = BUF_INIT(1000);
	json_t *v = json_read(in, strlen(in));

	CHECK(json_write(&b, v) == 0);
	CHECK_STR(b.p, "{\"z\":[0.1,3,-2.5e-07,true,null,{},[]],\"a\":\"\xc3\xa9/\\n\\u0000\"}");
	buf_clear(&b);
	CHECK(json_write(&b, NULL) == 0);
	CHECK_STR(b.p, "null");
	json_decref(v);
	buf_free(&b);
}

static void
integers_past_64_bits_are_read_as_reals(void)
{
	json_t *v = json_read("123456789012345678901234567890", 30), *w = json_read("9007199254740993", 16);

	CHECK_NUM(json_number_value(v), 123456789012345678901234567890.0, 0);
	CHECK_INT(json_integer_value(w), 9007199254740993);
	CHECK(json_read("1e400", 5) == NULL);
	json_decref(v);
	json_decref(w);
}

/* Random strings of plain bytes, escapes and sequences: json_read() has jansson's text. */
static void
strings_are_read_as_jansson_reads_them(void)
{
	static const char *const piece[] = {
		"a", "bc ", "\\n", "\\t", "\\\\", "\\\"", "\\/", "\\b\\f\\r", "\\u4f60", "\\ud83d\\ude00", "\\u0000", "\xe4\xbd\xa0", "nu\\nu", "", "0123456789abcdef",
	};

	for (int i = 0; i < 5000; i++) {
		struct buf b = BUF_INIT(10000);
		unsigned kinds = i % 3 ? sizeof piece / sizeof *piece : 8;	/* the first ones are those that jansson is not asked for */
		json_t *got, *want;

		buf_addc(&b, '"');
		for (unsigned n = rnd(12); n > 0; n--)
			buf_adds(&b, piece[rnd(kinds)]);
		buf_addc(&b, '"');
		got = json_read(b.p, b.n);
		want = json_loadb(b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		if (!CHECK(want && json_equal(got, want) && strlen(json_string_value(got)) <= json_string_length(got)))
			printf("# %s\n", b.p);
		json_decref(got);
		json_decref(want);
		buf_free(&b);
	}
}

/* A random value as text, with white space here and there. */
static void
add_random(struct buf *b, int depth)
{
	static const char *const scalar[] = {
		"0", "-0", "7", "-12", "123456789012345678", "-12345678901234567", "1234567890123456789", "-9223372036854775808", "0.5", "-1.25e-3", "1E2", "true", "false",
		"null", "\"\"", "\"a b\"", "\"\\\\\"", "\"\\\"]\\\\\\\"}\"", "\"\\u00e9\\n\"", "\"x\\ny\"", "\"[{\\\"\"", "[]", "{}", "[ ]", "{ }",
	}, *const key[] = {
		"\"a\"", "\"b\"", "\"\"", "\"k\\n\"", "\"a long key, longer than the sixty-four bytes that are kept for it on the stack\"", "\"}\"",
	}, *const space[] = { "", "", "", " ", "\n\t ", "\r" };
	bool list = rnd(2);

	if (depth == 0 || rnd(3) == 0) {
		buf_adds(b, scalar[rnd(sizeof scalar / sizeof *scalar)]);
		return;
	}
	buf_addf(b, "%c%s", list ? '[' : '{', space[rnd(6)]);
	for (unsigned n = rnd(5), i = 0; i < n; i++) {
		if (i)
			buf_addf(b, "%s,%s", space[rnd(6)], space[rnd(6)]);
		if (!list)
			buf_addf(b, "%s%s:%s", key[rnd(30) ? rnd(3) : rnd(6)], space[rnd(6)], space[rnd(6)]);
		add_random(b, depth - 1);
	}
	buf_addf(b, "%s%c", space[rnd(6)], list ? ']' : '}');
}

static void
values_are_read_as_jansson_reads_them(void)
{
	int wrong = 0, read = 0;

	for (int i = 0; i < 30000; i++) {
		struct buf b = BUF_INIT(1 << 20);
		json_t *got, *want;

		add_random(&b, 4);
		want = json_loadb(b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		got = json_read(b.p, b.n);
		read += want != NULL;
		if (json_valid(b.p, b.n, NULL) < 0 || !got || (want && !json_equal(got, want)))
			printf("# %s\n", b.p), wrong++;
		json_decref(got);
		json_decref(want);
		buf_free(&b);
	}
	CHECK_INT(wrong, 0);
	CHECK(read > 25000);
}

static void
bytes_that_are_not_utf8_are_replaced(void)
{
	struct buf b = BUF_INIT(1000);

	CHECK(json_write_bytes(&b, "a\xff\xe4\xbd\xa0\xe4\xbd", 7) == 0);
	CHECK_STR(b.p, "\"a\xef\xbf\xbd\xe4\xbd\xa0\xef\xbf\xbd\xef\xbf\xbd\"");
	CHECK(json_valid(b.p, b.n, NULL) == 0);
	buf_free(&b);
}

int
main(void)
{
	RUN(rfc_8259_texts_are_accepted);
	RUN(others_are_refused_with_the_place);
	RUN(nesting_is_accepted_up_to_the_limit);
	RUN(jansson_agrees_on_what_is_json);
	RUN(members_are_found_where_they_lie);
	RUN(values_are_written_compact_and_short);
	RUN(integers_past_64_bits_are_read_as_reals);
	RUN(strings_are_read_as_jansson_reads_them);
	RUN(values_are_read_as_jansson_reads_them);
	RUN(bytes_that_are_not_utf8_are_replaced);
	return t_done();
}
