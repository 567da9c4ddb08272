/* exact: what RFC 8259 forbids is a bad record, what it leaves open is passed on byte for byte
 *
 * Generated and mutated texts, the same at every run. jansson is the judge of what is JSON, and of what edited records say; where it refuses a
 * text only because it cannot hold it, the text is changed for it alone (judge.h). With DUMP=FILE in the environment every text is
 * written there as "VALID LENGTH\n" and its bytes, for other judges. */
#include <stdint.h>

#include "judge.h"
#include "json.h"
#include "line.h"
#include "rec.h"
#include "t.h"
#include "window.h"

#define OURS "a member of ours"

static uint64_t seed = 20;
static FILE *dump;
static long valid, invalid;	/* texts so far */
static int wrong;		/* one is enough to see what is the matter */

static unsigned
rnd(size_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % n);
}

#define PICK(table) (table)[rnd(sizeof(table) / sizeof *(table))]

static void
show(const char *why, const char *s, size_t n)
{
	if (wrong++)
		return;
	CHECK(!"see below");
	printf("#   %s\n#   ", why);
	for (size_t i = 0; i < n && i < 500; i++)
		printf(s[i] < ' ' || s[i] > '~' ? "\\x%02x" : "%c", (unsigned char)s[i]);
	printf("\n");
}

/* ---- a record, as it came and edited ---- */

static int
reads_as(struct slice line, const json_t *want)
{
	int held;
	json_t *v = judge(line.p, line.n, &held);
	int same = line.p[line.n - 1] == '\n' && json_equal(v, want);

	json_decref(v);
	return same;
}

/* The name of some member. */
static const char *
some_key(json_t *v)
{
	void *at = json_object_iter(v);

	for (unsigned k = json_object_size(v) ? rnd(json_object_size(v)) : 0; at && k > 0; k--)
		at = json_object_iter_next(v, at);
	return at ? json_object_iter_key(at) : NULL;
}

/* v: the value as the judge has it, changed here. */
static void
edits_are_exact(struct rec *r, const char *s, size_t n, json_t *v, int held)
{
	const char *some = some_key(v), *text = json_object_size(v) ? ",\"" OURS "\":\"\\n\"" : "\"" OURS "\":\"\\n\"";
	struct slice line;
	char *name;
	double x;

	if (json_object_get(v, OURS))
		return;
	put_text(r, OURS, "\n");
	json_object_set_new(v, OURS, json_string("\n"));
	line = rec_line(r);
	if (!is_inserted(s, n, line.p, line.n - 1, text) || !is_value(line.p, line.n) || (held && !reads_as(line, v)))
		show("a new member", s, n);
	block_drop(line.block);
	rec_revert(r);
	json_object_del(v, OURS);
	if (!some || !held)
		return;
	name = strdup(some);	/* the judge forgets its own with the member */
	put_int(r, name, 70);
	line = rec_line(r);
	json_object_set_new(v, name, json_real(70));
	if (!rec_num(r, name, &x) || x != 70 || !is_replaced(s, n, line.p, line.n - 1, "70") || !reads_as(line, v))
		show("a replaced value", s, n);
	block_drop(line.block);
	rec_del(r, name);
	line = rec_line(r);
	json_object_del(v, name);
	if (rec_has(r, name) || !is_thinned(s, n, line.p, line.n - 1) || !reads_as(line, v))
		show("a deleted member", s, n);
	block_drop(line.block);
	rec_revert(r);
	free(name);
}

static void
record_is_exact(const char *s, size_t n, json_t *v, int held, int edit)
{
	struct block *b = block_new(n + 1);
	struct slice line;
	struct rec *r;
	struct err e;

	memcpy(b->p, s, n);
	b->p[n] = '\n';
	r = rec_take(b, b->p, n, &e);
	block_drop(b);
	if (!r != !json_is_object(v)) {
		show(r ? "no object, and yet taken" : e.msg, s, n);
	} else if (r) {
		if (edit)
			edits_are_exact(r, s, n, v, held);
		line = rec_line(r);
		if (line.block != b || line.n != n + 1 || memcmp(line.p, s, n) != 0 || line.p[n] != '\n')
			show("not as it came", s, n);
		block_drop(line.block);
	}
	rec_free(r);
}

/* One text: the verdict, and what becomes of it. In an allocation of its own, so that a sanitizer sees a read past it. */
static void
check(const char *text, size_t n, int edit)
{
	char *s = malloc(n ? n : 1);
	struct err e = { "" };
	int held, ours;
	json_t *v;

	memcpy(s, text, n);
	ours = json_valid(s, n, &e) == 0;
	v = judge(s, n, &held);
	if (ours != (v != NULL))
		show(ours ? "not JSON, and yet accepted" : e.msg, s, n);
	else if (v)
		record_is_exact(s, n, v, held, edit);
	if (dump && n < 100000) {
		fprintf(dump, "%d %zu\n", ours, n);
		fwrite(s, 1, n, dump);
	}
	valid += ours;
	invalid += !ours;
	json_decref(v);
	free(s);
}

/* ---- texts ---- */

static const char *const blank[] = { "", "", "", "", " ", "\t", "  ", "\r", "\n" };
static const char *const key[] = { "a", "b", "\\u0061", "prompt", "", "\xe4\xbd\xa0\xe5\xa5\xbd", "a\\\"b", "\\ud83d\\ude00", "k\\u0000", "id" };
static const char *const atom[] = {
	"0", "-0", "1", "-1.50", "1E+2", "1e400", "-1e-400", "0.1e1", "12345678901234567890123", "9007199254740993",
	"true", "false", "null", "\"\"", "[]", "{}", "[ ]",
	"\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
	"\"\x7f\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
	"\"\xef\xbb\xbf\"", "\"plain text of more than sixteen bytes, and then some more\"",
	"\"\xe8\xaf\xb7\xe4\xbd\xa0\xe8\xaf\xb4\xe4\xb8\x80\xe4\xb8\x8b"
		"\xef\xbc\x8c\xe4\xbb\x80\xe4\xb9\x88\xe6\x98\xaf\xe5\xae\x89\xe5\x85\xa8\xef\xbc\x9f\"",
};

static void
repeat(struct buf *b, const char *s, size_t times)
{
	while (times-- > 0)
		buf_adds(b, s);
}

static void
any_value(struct buf *b, int depth)
{
	unsigned kind = depth > 4 ? 0 : rnd(6), n = rnd(4);

	if (kind < 4) {
		if (rnd(60) == 0)
			repeat(b, "1234567890", 40);
		else
			buf_adds(b, PICK(atom));
		return;
	}
	buf_addc(b, kind == 4 ? '[' : '{');
	buf_adds(b, PICK(blank));
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_addf(b, ",%s", PICK(blank));
		if (kind == 5)
			buf_addf(b, "\"%s\"%s:%s", PICK(key), PICK(blank), PICK(blank));
		any_value(b, depth + 1);
		buf_adds(b, PICK(blank));
	}
	buf_addc(b, kind == 4 ? ']' : '}');
}

static void
any_object(struct buf *b)
{
	unsigned n = rnd(rnd(20) ? 7 : 60);

	buf_clear(b);
	buf_addf(b, "%s{%s", PICK(blank), PICK(blank));
	for (unsigned i = 0; i < n; i++) {
		buf_addf(b, "%s%s\"%s\"%s:%s", i ? "," : "", PICK(blank), PICK(key), PICK(blank), PICK(blank));
		any_value(b, 1);
		buf_adds(b, PICK(blank));
	}
	buf_addf(b, "}%s", PICK(blank));
}

/* Bytes that mean something somewhere. */
static const char telling[] = "\"\\{}[]:,-+.0159eEutfnrbd/ \t\n\r\x01\x1f\x7f\x80\xa0\xbf\xc0\xc2\xe0\xe4\xed\xef\xf0\xf4\xf5\xff";

static void
mutate(struct buf *b)
{
	size_t at = rnd(b->n), len = 1 + rnd(rnd(4) ? 3 : 40), to = rnd(b->n);
	char part[40];

	if (len > b->n - at)
		len = b->n - at;
	memcpy(part, b->p + at, len);
	switch (rnd(6)) {
	case 0:	/* flip a bit */
		b->p[at] = (char)(b->p[at] ^ 1 << rnd(8));
		return;
	case 1:
		b->p[at] = telling[rnd(sizeof telling)];	/* NUL is one */
		return;
	case 2:	/* delete */
		memmove(b->p + at, b->p + at + len, b->n - at - len);
		b->n -= len;
		return;
	case 3:	/* truncate */
		b->n = at;
		return;
	case 4:	/* insert */
		part[0] = telling[rnd(sizeof telling)];
		len = 1;
		/* fall through */
	default:	/* say twice */
		buf_add(b, part, len);
		memmove(b->p + to + len, b->p + to, b->n - len - to);
		memcpy(b->p + to, part, len);
	}
}

/* ---- the tests ---- */

static void
generated_records_are_exact(void)
{
	struct buf b = BUF_INIT(1 << 22);
	long before = valid;

	for (int i = 0; i < 20000 && !wrong; i++) {
		any_object(&b);
		check(b.p, b.n, 1);
	}
	CHECK_INT(valid - before, 20000);
	buf_free(&b);
}

static void
mutated_records_are_judged_as_the_oracle_does(void)
{
	struct buf b = BUF_INIT(1 << 22);
	long good = valid, bad = invalid;

	for (int i = 0; i < 60000 && !wrong; i++) {
		if (i % 2 == 0 || b.n == 0)
			any_object(&b);
		mutate(&b);
		check(b.p, b.n, i % 4 == 0);
	}
	CHECK(valid - good > 5000 && invalid - bad > 40000);
	buf_free(&b);
}

/* Every byte changed to every other, deleted, doubled; every byte that means something inserted everywhere; cut at every place. */
static void
every_small_change_is_judged_as_the_oracle_does(void)
{
	static const char *const text[] = {
		"{\"id\":\"rec-1\",\"prompt\":\"\xe4\xbd\xa0\xe5\xa5\xbd\\n\\u4f60\\ud83d\\ude00\xf0\x9f\x98\x80\",\"x\":[1,-0.5e+10,{\"y\":null}],\"ok\":true}",
		" { \"a\" : -12.50E-3 , \"b\" : [ ] ,\t\"c\":\"0123456789abcdef"
			"\xc3\xa9\xed\x9f\xbf\xef\xbf\xbf\xe0\xa0\x80\xf4\x8f\xbf\xbf\"\r, \"\\u0061\":false}\n",
	};
	char s[400];

	for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
		size_t n = strlen(text[k]);

		for (size_t at = 0; at <= n && !wrong; at++) {
			memcpy(s, text[k], n);
			check(s, at, 0);
			for (int x = 0; x < 256 && at < n; x++) {
				s[at] = (char)x;
				check(s, n, 0);
			}
			memcpy(s + at, text[k] + at, n - at);
			memmove(s + at + 1, text[k] + at, n - at);
			for (size_t i = 0; i < sizeof telling; i++) {
				s[at] = telling[i];
				check(s, n + 1, 0);
			}
			if (at == n)
				continue;
			s[at] = text[k][at];
			check(s, n + 1, 0);
			memmove(s + at, text[k] + at + 1, n - at - 1);
			check(s, n - 1, 0);
		}
	}
}

static void
utf8_of_every_kind_at_every_place(void)
{
	static const char *const bytes[] = {
		"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",	/* overlong */
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\xbd\xed\xb8\x80",	/* surrogates */
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff",	/* past the last */
		"\xc3", "\xe4\xbd", "\xe4", "\xf0\x9f\x98", "\xf0\x9f", "\xf0", "\x80", "\xbf\xbf", "\xe4\xbd\xa0\xa0",	/* cut, or too many */
		"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",	/* right */
		"\x01", "\x1f", "\t", "\n", "\x7f", "\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud83d\\u0041", "\\ud83d\\ude00", "\\u0000",
		"\\uD83D\\uDE0", "\\ud83d\\",
	};
	struct buf b = BUF_INIT(1000);

	for (size_t k = 0; k < sizeof bytes / sizeof *bytes; k++)
		for (size_t at = 0; at < 70 && !wrong; at++)
			for (int chinese = 0; chinese < 2; chinese++) {
				buf_clear(&b);
				buf_adds(&b, at % 2 ? "{\"k\":\"" : "{\"");
				repeat(&b, chinese ? "\xe4\xbd\xa0" : "x", at);
				buf_adds(&b, bytes[k]);
				repeat(&b, chinese ? "\xe4\xbd\xa0" : "x", at % 5);
				buf_adds(&b, at % 2 ? "\"}" : "\":1}");
				check(b.p, b.n, 1);
			}
	check("{\"a\":\"\0\"}", 9, 0);
	check("{\"a\":1}\0", 8, 0);
	check("\0{\"a\":1}", 8, 0);
	check("{\0}", 3, 0);
	buf_free(&b);
}

static void
nesting_as_deep_as_allowed_is_exact(void)
{
	static const size_t levels[] = { 1, 63, 64, 65, 2000, REC_DEPTH - 1, REC_DEPTH, REC_DEPTH + 1, 100000 };
	struct buf b = BUF_INIT(8 << 20);

	for (size_t k = 0; k < sizeof levels / sizeof *levels; k++)
		for (int kind = 0; kind < 4; kind++) {
			static const char *const open[] = { "[", "{\"a\":", "[{\"a\":", " [ 1 , " }, *const close[] = { "]", "}", "}]", " , 2 ] " };
			size_t n = levels[k] < 2 ? 0 : levels[k] - 2;	/* beside the record and what is innermost: jansson counts a number as a level */

			buf_clear(&b);
			buf_adds(&b, "{\"x\":1,\"deep\":");
			repeat(&b, open[kind], kind == 2 ? n / 2 : n);
			buf_adds(&b, levels[k] < 2 ? "0" : kind == 2 && n % 2 ? "[[]]" : "[]");
			repeat(&b, close[kind], kind == 2 ? n / 2 : n);
			buf_adds(&b, "}");
			check(b.p, b.n, 1);
			CHECK((json_valid(b.p, b.n, NULL) == 0) == (levels[k] <= REC_DEPTH));
			b.p[b.n - 2] = b.p[b.n - 2] == ']' ? '}' : ']';
			check(b.p, b.n, 0);
			check(b.p, b.n - 1, 0);
		}
	buf_free(&b);
}

static void
lines_of_16_mib_are_exact(void)
{
	static const char *const fill[] = { "x", "\xe4\xbd\xa0", "\\u4f60", "\",\"b\":\"" };
	struct buf b = BUF_INIT(2 * LINE_MAX_DEFAULT);

	for (size_t k = 0; k < sizeof fill / sizeof *fill && !wrong; k++) {
		buf_clear(&b);
		buf_adds(&b, "{\"a\":\"");
		repeat(&b, fill[k], (LINE_MAX_DEFAULT - 8) / strlen(fill[k]));
		buf_adds(&b, "\"}");
		CHECK(b.n > LINE_MAX_DEFAULT - 16 && b.n <= LINE_MAX_DEFAULT);
		check(b.p, b.n, k == 1);
		b.p[b.n - 3] = '\x1f';
		CHECK(json_valid(b.p, b.n, NULL) < 0);
	}
	buf_free(&b);
}

/* ---- whole streams ---- */

static struct buf written = BUF_INIT(1 << 26);

static int
gather(void *arg, const char *line, size_t n)
{
	(void)arg;
	return buf_add(&written, line, n);
}

/* From a descriptor through reader, record, window and output. */
static void
pass(FILE *f)
{
	struct lines *l = lines_open(fileno(f), "stream", LINE_MAX_DEFAULT);
	struct split split = { .max = LINE_MAX_DEFAULT };
	struct output *o = output_new(gather, NULL);
	struct window *w = window_new(100, 1 << 20);
	struct range r;
	struct line line;
	struct err e;

	while (lines_read(l, &r, &e) > 0) {
		while (split_next(&split, &r, &line)) {
			struct rec *rec = rec_take(line.block, line.p, line.n, &e);
			size_t place = window_enter(w, line.n);
			struct slice s = { 0 };

			if (CHECK(rec != NULL))
				s = rec_line(rec);
			window_finish(w, place, s);
			rec_free(rec);
			if (window_full(w))
				window_write(w, o);
		}
		block_drop(r.block);
	}
	window_write(w, o);
	output_flush(o);
	window_free(w);
	output_free(o);
	lines_free(l);
}

/* Whatever ends the lines and stands between them, what is in them comes out, each with one newline. */
static void
streams_keep_every_byte_of_their_records(void)
{
	static const char *const end[] = { "\n", "\n", "\r\n", "\n\n", "\n \t\r\n", "\r\n\r\n" };

	for (int k = 0; k < 40; k++) {
		struct buf want = BUF_INIT(1 << 26), b = BUF_INIT(1 << 22);
		FILE *f = tmpfile();

		if (k % 3 == 0)
			fputs("\xef\xbb\xbf", f);
		for (int i = 0; i < 300; i++) {
			any_object(&b);
			for (size_t j = 0; j < b.n; j++)	/* within a line there is none */
				if (b.p[j] == '\n' || b.p[j] == '\r')
					b.p[j] = ' ';
			if (rnd(100) == 0) {
				b.n--;
				while (b.p[b.n] != '}')
					b.n--;
				buf_adds(&b, "");
				repeat(&b, " ", rnd(300000));
				b.p[b.n++] = '}';
			}
			fwrite(b.p, 1, b.n, f);
			buf_add(&want, b.p, b.n);
			buf_adds(&want, "\n");
			if (i < 299 || k % 2)
				fputs(PICK(end), f);
		}
		rewind(f);
		buf_clear(&written);
		pass(f);
		if (!CHECK(written.n == want.n && memcmp(written.p, want.p, want.n) == 0))
			k = 40;
		fclose(f);
		buf_free(&want);
		buf_free(&b);
	}
	buf_free(&written);
}

int
main(void)
{
	dump = getenv("DUMP") ? fopen(getenv("DUMP"), "w") : NULL;
	RUN(generated_records_are_exact);
	RUN(mutated_records_are_judged_as_the_oracle_does);
	RUN(every_small_change_is_judged_as_the_oracle_does);
	RUN(utf8_of_every_kind_at_every_place);
	RUN(nesting_as_deep_as_allowed_is_exact);
	RUN(lines_of_16_mib_are_exact);
	RUN(streams_keep_every_byte_of_their_records);
	if (dump)
		fclose(dump);
	return t_done();
}
