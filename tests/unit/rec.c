/* rec: one record, the user's bytes and what we add */
#include "rec.h"

#include <math.h>
#include <stdint.h>

#include "t.h"

static struct rec *
parse(const char *line)
{
	struct err e = { "" };
	struct rec *r = rec_parse(line, strlen(line), &e);

	CHECK_STR(e.msg, "");
	return r;
}

/* What the record is written as, without the newline; frees the record. */
static const char *
written(struct rec *r)
{
	static char out[4096];
	struct buf b = BUF_INIT(sizeof out - 1);

	if (!r)
		return NULL;
	CHECK_INT(rec_write(r, &b), 0);
	CHECK(b.n > 0 && b.p[b.n - 1] == '\n');
	snprintf(out, sizeof out, "%.*s", (int)b.n - 1, b.p);
	buf_free(&b);
	rec_free(r);
	return out;
}

static void
an_untouched_record_keeps_its_bytes(void)
{
	static const char *const t[] = {
		"{}", " { } ", "{\"a\":1.50,\"a\" : 1e400 ,\t\"\\u0061\":-0}", "{\"prompt\":\"\\u4f60\\/\\n\",\"x\":{\"y\":[ 1 , 2 ]}}  ",
		"{\"n\":0.936254,\"big\":123456789012345678901234567890}", "{\"z\":null,\"\":\"\"}",
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct rec *r = parse(t[i]);

		rec_get(r, "a");
		rec_text(r, "prompt");
		rec_id(r);
		CHECK_STR(written(r), t[i]);
	}
}

/* A block of two lines, as a reader has it. */
static struct block *
two_lines(void)
{
	static const char text[] = "{\"a\":1}\n{\"b\": [2]}\n";
	struct block *b = block_new(sizeof text - 1);

	memcpy(b->p, text, sizeof text - 1);
	return b;
}

static void
a_record_in_a_block_is_written_from_there(void)
{
	struct block *b = two_lines();
	struct err e;
	struct rec *r = rec_take(b, b->p + 8, 10, &e);
	struct slice s;

	CHECK_INT(b->refs, 2);
	s = rec_line(r);
	CHECK(s.block == b && s.p == b->p + 8 && s.n == 11);
	CHECK_INT(b->refs, 3);
	rec_free(r);
	block_drop(b);
	CHECK_BYTES(s.p, s.n, "{\"b\": [2]}\n", 11);
	CHECK_INT(s.block->refs, 1);
	block_drop(s.block);
}

static void
a_record_that_waits_holds_its_own_line_only(void)
{
	struct block *b = two_lines();
	struct rec *r = rec_take(b, b->p, 7, NULL);
	const char *text;
	struct slice s;
	double x;

	CHECK(rec_num(r, "a", &x) && x == 1);
	rec_own(r);
	CHECK_INT(b->refs, 1);
	rec_own(r);
	block_drop(b);
	put_text(r, "new", "x");
	text = rec_text(r, "new");
	s = rec_line(r);
	CHECK_STR(text, "x");
	CHECK_BYTES(s.p, s.n, "{\"a\":1,\"new\":\"x\"}\n", 18);
	rec_free(r);
	block_drop(s.block);
}

static void
a_line_in_a_block_that_is_no_record_is_left_alone(void)
{
	struct block *b = two_lines();
	struct err e;

	CHECK(rec_take(b, b->p + 1, 3, &e) == NULL);
	CHECK_STR(e.msg, "no JSON object");
	CHECK_INT(b->refs, 1);
	block_drop(b);
}

static void
nul_characters_in_strings_are_known(void)
{
	static const struct { const char *text; int nul; } t[] = {
		{ "{\"a\":\"\\u0000\"}", 1 }, { "{\"a\":[{\"b\\u0000\":1}]}", 1 }, { "{\"a\":\"\\\\u0000\"}", 0 }, { "{\"a\":\"u0000\\u0001\"}", 0 }, { "{}", 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct rec *r = parse(t[i].text);

		CHECK_INT(rec_holds_nul(r), t[i].nul);
		rec_free(r);
	}
}

static void
what_is_no_object_is_refused(void)
{
	static const struct { const char *text, *says; } no[] = {
		{ "", "no JSON object" }, { "[1]", "no JSON object" }, { "hello", "no JSON object" }, { "{\"a\":1", "expected , or } at byte 7" },
		{ "{\"a\":\"\\ud800\"}", "lone surrogate at byte 7" }, { "{\"a\":NaN}", "unexpected text at byte 6" }, { "{}x", "text after the value at byte 3" },
	};
	struct err e;

	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		CHECK(rec_parse(no[i].text, strlen(no[i].text), &e) == NULL);
		CHECK_STR(e.msg, no[i].says);
	}
}

static void
members_are_read_by_name(void)
{
	struct rec *r = parse("{\"s\":\"a\\u0000b\",\"n\":1.5,\"i\":7,\"z\":null,\"pr\\u006fmpt\":\"p\",\"o\":{\"k\":[1]},\"huge\":1e400}");
	double x = 0;

	CHECK_BYTES(rec_text(r, "s"), rec_text_len(r, "s"), "a\0b", 3);
	CHECK(rec_num(r, "n", &x) && x == 1.5);
	CHECK(rec_num(r, "i", &x) && x == 7);
	CHECK(!rec_num(r, "s", &x) && !rec_num(r, "none", &x) && x == 7);
	CHECK_STR(rec_text(r, "prompt"), "p");
	CHECK(rec_text(r, "n") == NULL && rec_text(r, "none") == NULL && rec_text_len(r, "none") == 0);
	CHECK(rec_has(r, "s") && rec_has(r, "prompt") && !rec_has(r, "z") && !rec_has(r, "none") && !rec_has(r, "k"));
	CHECK_INT(json_array_size(json_object_get(rec_get(r, "o"), "k")), 1);
	CHECK(json_is_null(rec_get(r, "z")) && rec_get(r, "none") == NULL);
	CHECK(rec_has(r, "huge") && rec_get(r, "huge") == NULL);
	rec_free(r);
}

static void
the_last_duplicate_counts_and_is_replaced(void)
{
	struct rec *r = parse("{\"a\":1,\"b\":2,\"a\": 3 ,\"\\u0061\":4}");
	double x;

	CHECK(rec_num(r, "a", &x) && x == 4);
	put_int(r, "a", 9);
	CHECK(rec_num(r, "a", &x) && x == 9);
	CHECK_STR(written(r), "{\"a\":1,\"b\":2,\"a\": 3 ,\"\\u0061\":9}");
}

static void
new_members_follow_the_last_value(void)
{
	static const struct { const char *in, *out; } t[] = {
		{ "{}", "{\"new\":1,\"t\":\"x\"}" }, { " {\t} ", " {\t\"new\":1,\"t\":\"x\"} " }, { "{\"a\":1}", "{\"a\":1,\"new\":1,\"t\":\"x\"}" },
		{ "{ \"a\" : [] }", "{ \"a\" : [],\"new\":1,\"t\":\"x\" }" }, { "{\"t\" : 0 , \"b\":2}", "{\"t\" : \"x\" , \"b\":2,\"new\":1}" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct rec *r = parse(t[i].in);

		put_int(r, "new", 1);
		put_text(r, "t", "x");
		CHECK_STR(written(r), t[i].out);
	}
}

static void
deleting_takes_every_duplicate_and_one_comma(void)
{
	static const struct { const char *in, *out; } t[] = {
		{ "{\"a\":1}", "{}" }, { "{ \"a\":1 }", "{}" }, { "{\"a\":1,\"b\":2}", "{\"b\":2}" }, { "{\"b\":2, \"a\":1 }", "{\"b\":2}" },
		{ "{\"b\":2 , \"a\":1 , \"c\":3 }", "{\"b\":2 , \"c\":3 }" }, { "{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":2}" }, { "{\"b\":2}", "{\"b\":2}" },
		{ "{\"a\":1,\"a\":2}", "{}" }, { " {\"a\":1, \"b\":2} ", " { \"b\":2} " },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct rec *r = parse(t[i].in);

		rec_del(r, "a");
		CHECK(!rec_has(r, "a"));
		CHECK_STR(written(r), t[i].out);
	}
}

static void
the_last_of_several_changes_holds(void)
{
	struct rec *r = parse("{\"a\":1,\"b\":2}");

	put_int(r, "a", 5);
	rec_del(r, "a");
	put_int(r, "c", 6);
	put_text(r, "a", "again");
	CHECK_STR(rec_text(r, "a"), "again");
	put_text(r, "a", "twice");
	CHECK_STR(rec_text(r, "a"), "twice");
	rec_del(r, "c");
	rec_del(r, "b");
	CHECK_STR(written(r), "{\"a\":\"twice\"}");
}

static void
values_are_written_as_json(void)
{
	struct rec *r = parse("{}");

	put_num(r, "n", 0.936254);
	put_num(r, "inf", INFINITY);
	put_int(r, "i", -9223372036854775807LL);
	put_text(r, "t", "q\"\\\n\xe4\xbd\xa0\xff");
	put_json(r, "j", json_pack("[{s:f,s:s}]", "safety", 0.9, "by", "x"));
	CHECK_NUM(json_real_value(json_object_get(json_array_get(rec_get(r, "j"), 0), "safety")), 0.9, 0);
	CHECK_STR(written(r), "{\"n\":0.936254,\"inf\":null,\"i\":-9223372036854775807,\"t\":\"q\\\"\\\\\\n\xe4\xbd\xa0\xef\xbf\xbd\","
		"\"j\":[{\"safety\":0.9,\"by\":\"x\"}]}");
}

static void
a_text_read_lives_until_that_member_is_put_again(void)
{
	struct rec *r = parse("{\"prompt\":\"old\"}");
	const char *old = rec_text(r, "prompt"), *mine;

	put_text(r, "prompt", old);
	mine = rec_text(r, "prompt");
	put_text(r, "other", mine);
	CHECK_STR(old, "old");
	CHECK_STR(mine, "old");
	CHECK_STR(written(r), "{\"prompt\":\"old\",\"other\":\"old\"}");
}

static void
the_id_is_kept_or_made(void)
{
	struct rec *r = parse("{\"id\":\"x1\",\"prompt\":\"p\"}");

	CHECK_STR(rec_id(r), "x1");
	rec_free(r);
	r = parse("{\"id\":123456789012345678901234567890}");
	CHECK_STR(rec_id(r), "123456789012345678901234567890");
	rec_free(r);
	r = parse("{\"id\":null,\"prompt\":\"p\",\"x\":1}");
	CHECK_STR(rec_id(r), "be20e5191d449b87");
	rec_free(r);
	r = parse("{\"id\":\"\",\"prompt\":\"p\"}");
	CHECK_STR(rec_id(r), "be20e5191d449b87");
	rec_free(r);
	r = parse("{\"prompt\":\"\\u0070\"}");
	CHECK_STR(rec_id(r), "be20e5191d449b87");
	rec_free(r);
	r = parse("{\"a\":1}");
	CHECK_INT(strlen(rec_id(r)), 16);
	CHECK_INT(strspn(rec_id(r), "0123456789abcdef"), 16);
	rec_free(r);
}

static void
the_id_stays_while_the_record_changes(void)
{
	struct rec *r = parse("{\"prompt\":\"p\"}");
	const char *id = rec_id(r);

	put_text(r, "id", id);
	put_text(r, "prompt", "q");
	CHECK(rec_id(r) == id);
	CHECK_STR(id, "be20e5191d449b87");
	CHECK_STR(written(r), "{\"prompt\":\"q\",\"id\":\"be20e5191d449b87\"}");
}

static void
a_failure_says_stage_class_and_why(void)
{
	struct rec *r = parse("{\"prompt\":\"p\"}");

	CHECK(rec_failed_by(r) == NULL);
	rec_fail(r, "sa-judge", RATE, "slow\ndown", 6, 429);
	CHECK_STR(rec_failed_by(r), "sa-judge");
	rec_fail(r, "sa-ppl", UNPARSED, "no", 0, 0);
	CHECK_STR(written(r), "{\"prompt\":\"p\",\"sa_error\":{\"stage\":\"sa-ppl\",\"class\":\"unparsed\",\"message\":\"no\"}}");
	r = parse("{}");
	rec_fail(r, "sa-judge", RATE, "slow\ndown", 6, 429);
	CHECK_STR(written(r), "{\"sa_error\":{\"stage\":\"sa-judge\",\"class\":\"rate\",\"message\":\"slow\\ndown\",\"attempts\":6,\"http\":429}}");
	r = parse("{\"sa_error\":\"user text\"}");
	CHECK(rec_failed_by(r) == NULL);
	rec_free(r);
	r = parse("{\"sa_error\":{\"stage\":\"sa-regen\"}}");
	CHECK_STR(rec_failed_by(r), "sa-regen");
	rec_del(r, "sa_error");
	CHECK(rec_failed_by(r) == NULL);
	CHECK_STR(written(r), "{}");
}

static void
every_class_has_its_word(void)
{
	static const char *const words[] = { "bad_record", "rate", "net", "server", "bad_request", "auth", "blocked", "truncated", "unparsed", "budget" };

	for (int c = BAD_RECORD; c <= BUDGET; c++)
		CHECK_STR(rec_class_name(c), words[c]);
}

static void
a_line_that_is_no_record_is_wrapped(void)
{
	struct buf b = BUF_INIT(1000);

	CHECK_INT(rec_wrap("a\"\xff\0", 4, "sa-ppl", "no JSON object", &b), 0);
	CHECK_STR(b.p, "{\"sa_error\":{\"stage\":\"sa-ppl\",\"class\":\"bad_record\",\"message\":\"no JSON object\"},"
		"\"raw\":\"a\\\"\xef\xbf\xbd\\u0000\"}\n");
	buf_free(&b);
}

static void
a_line_that_does_not_fit_leaves_nothing(void)
{
	for (size_t max = 3; max < 30; max++) {
		struct buf b = BUF_INIT(max);
		struct rec *r = parse("{\"a\":1, \"b\":2 }");

		buf_adds(&b, "xyz");
		put_text(r, "a", "text");
		put_int(r, "c", 3);
		CHECK_INT(rec_write(r, &b), -1);
		CHECK_STR(b.p, "xyz");
		CHECK_INT(rec_wrap("abc", 3, "s", "m", &b), -1);
		CHECK_STR(b.p, "xyz");
		rec_free(r);
		buf_free(&b);
	}
}

/* A random valid object over few names, with white space, escapes, duplicates and odd numbers. */
static uint64_t seed = 3;

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static const char *
blanks(void)
{
	static const char *const s[] = { "", "", "", " ", "\t", "  " };

	return s[rnd(6)];
}

static void
any_value(struct buf *b, int depth)
{
	static const char *const atom[] = {
		"1", "-0", "1.50", "1E+2", "12345678901234567890123", "true", "null", "\"\"", "\"a\\u0000\\ud83d\\ude00\"", "\"\xe4\xbd\xa0\\\"{}\"", "[]", "{}",
	};
	unsigned n = rnd(3);

	if (depth > 3 || rnd(3)) {
		buf_adds(b, atom[rnd(12)]);
		return;
	}
	buf_addc(b, '[');
	for (unsigned i = 0; i < n; i++) {
		buf_addf(b, "%s%s{%s\"k\"%s:", i ? "," : "", blanks(), blanks(), blanks());
		any_value(b, depth + 1);
		buf_adds(b, "}");
	}
	buf_addc(b, ']');
}

static void
any_object(struct buf *b)
{
	static const char *const key[] = { "a", "b", "\\u0061", "c", "a\\n", "prompt", "", "\xe4\xbd\xa0" };
	unsigned n = rnd(6);

	buf_clear(b);
	buf_addf(b, "%s{%s", blanks(), blanks());
	for (unsigned i = 0; i < n; i++) {
		buf_addf(b, "%s%s\"%s\"%s:%s", i ? "," : "", blanks(), key[rnd(8)], blanks(), blanks());
		any_value(b, 0);
		buf_adds(b, blanks());
	}
	buf_addf(b, "}%s", blanks());
}

#define READ (JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

/* Random edits on the record and on jansson's own object. */
static void
edit_both(struct rec *r, json_t *v)
{
	static const char *const name[] = { "a", "b", "c", "a\n", "prompt", "new", "" };

	for (unsigned k = rnd(5); k > 0; k--) {
		const char *s = name[rnd(7)];
		int x = rnd(100);

		switch (rnd(4)) {
		case 0:
			rec_del(r, s);
			json_object_del(v, s);
			break;
		case 1:
			put_text(r, s, "t\n");
			json_object_set_new(v, s, json_string("t\n"));
			break;
		case 2:
			put_json(r, s, json_pack("{s:[f]}", "x", x / 7.0));
			json_object_set_new(v, s, json_pack("{s:[f]}", "x", x / 7.0));
			break;
		default:
			put_num(r, s, x);
			json_object_set_new(v, s, json_real(x));
		}
		CHECK(rec_has(r, s) == (json_object_get(v, s) && !json_is_null(json_object_get(v, s))));
	}
}

static void
generated_records_without_edits_come_out_as_they_went_in(void)
{
	struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

	for (int i = 0; i < 5000; i++) {
		struct rec *r;
		struct err e = { "" };

		any_object(&in);
		r = rec_parse(in.p, in.n, &e);
		if (!CHECK_STR(e.msg, "") || !r)
			break;
		buf_clear(&out);
		put_int(r, "gone", 1);
		rec_get(r, "a");
		rec_del(r, "gone");
		rec_write(r, &out);
		rec_free(r);
		if (!CHECK_BYTES(out.p, out.n - 1, in.p, in.n))
			break;
	}
	buf_free(&in);
	buf_free(&out);
}

static void
generated_edits_do_what_jansson_does(void)
{
	struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	int bad = 0;

	for (int i = 0; i < 5000 && bad == 0; i++) {
		struct err e = { "" };
		struct rec *r;
		json_t *v, *w;

		any_object(&in);
		v = json_loadb(in.p, in.n, READ, NULL);
		r = rec_parse(in.p, in.n, &e);
		edit_both(r, v);
		buf_clear(&out);
		rec_write(r, &out);
		w = json_loadb(out.p, out.n, READ, NULL);
		bad = !CHECK(w && json_equal(v, w));
		if (bad)
			printf("#   %s\n#   %s\n", in.p, out.p);
		json_decref(v);
		json_decref(w);
		rec_free(r);
	}
	buf_free(&in);
	buf_free(&out);
}

/* Bytes around an edit stay: the longest common head and tail of input and output cover all but the edited value. */
static void
a_replaced_value_leaves_every_other_byte(void)
{
	struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

	for (int i = 0; i < 5000; i++) {
		struct buf want = BUF_INIT(1 << 20);
		struct err e;
		struct rec *r;

		/* A value's place is known because we wrote it: head, value, tail. */
		buf_clear(&in);
		buf_clear(&want);
		buf_addf(&in, "%s{\"a\":1,%s\"x\"%s:%s", blanks(), blanks(), blanks(), blanks());
		buf_add(&want, in.p, in.n);
		any_value(&in, 0);
		buf_adds(&want, "\"new\"");
		for (int k = 0; k < 2; k++) {
			const char *tail = k ? "}" : ", \"a\" : 1.50 ";

			buf_adds(&in, tail);
			buf_adds(&want, tail);
		}
		r = rec_parse(in.p, in.n, &e);
		put_text(r, "x", "new");
		buf_clear(&out);
		rec_write(r, &out);
		rec_free(r);
		CHECK_BYTES(out.p, out.n - 1, want.p, want.n);
		buf_free(&want);
	}
	buf_free(&in);
	buf_free(&out);
}

static void
many_members_are_no_trouble(void)
{
	struct buf in = BUF_INIT(16 << 20), out = BUF_INIT(16 << 20);
	struct rec *r;
	struct err e;
	double x;

	buf_adds(&in, "{");
	for (int i = 0; i < 200000; i++)
		buf_addf(&in, "\"k%d\":%d,", i, i);
	buf_adds(&in, "\"end\":1}");
	r = rec_parse(in.p, in.n, &e);
	CHECK(rec_num(r, "k199999", &x) && x == 199999);
	put_int(r, "k100000", -1);
	put_int(r, "new", 1);
	CHECK_INT(rec_write(r, &out), 0);
	CHECK_INT(out.n, in.n + 1 + strlen(",\"new\":1") - strlen("100000") + strlen("-1"));
	rec_free(r);
	buf_free(&in);
	buf_free(&out);
}

int
main(void)
{
	RUN(an_untouched_record_keeps_its_bytes);
	RUN(a_record_in_a_block_is_written_from_there);
	RUN(a_record_that_waits_holds_its_own_line_only);
	RUN(a_line_in_a_block_that_is_no_record_is_left_alone);
	RUN(nul_characters_in_strings_are_known);
	RUN(what_is_no_object_is_refused);
	RUN(members_are_read_by_name);
	RUN(the_last_duplicate_counts_and_is_replaced);
	RUN(new_members_follow_the_last_value);
	RUN(deleting_takes_every_duplicate_and_one_comma);
	RUN(the_last_of_several_changes_holds);
	RUN(values_are_written_as_json);
	RUN(a_text_read_lives_until_that_member_is_put_again);
	RUN(the_id_is_kept_or_made);
	RUN(the_id_stays_while_the_record_changes);
	RUN(a_failure_says_stage_class_and_why);
	RUN(every_class_has_its_word);
	RUN(a_line_that_is_no_record_is_wrapped);
	RUN(a_line_that_does_not_fit_leaves_nothing);
	RUN(generated_records_without_edits_come_out_as_they_went_in);
	RUN(generated_edits_do_what_jansson_does);
	RUN(a_replaced_value_leaves_every_other_byte);
	RUN(many_members_are_no_trouble);
	return t_done();
}
