/* Stop strings that arrive in pieces, and text that is not always whole characters. */
#include <stdint.h>

#include "t.h"

#include "buf.h"
#include "err.h"
#include "stop.h"
#include "tokenizer.h"

static size_t end;

static struct stops
stops(const char *a, const char *b)
{
	struct stops st = { 0 };

	for (const char *s = a; s; s = s == a ? b : NULL) {
		st.len[st.n] = strlen(s);
		st.s[st.n++] = xstrdup(s);
	}
	return st;
}

static void
a_stop_string_is_found_across_pieces(void)
{
	struct stops st = stops("</end>", NULL);
	const char *text = "abc</en" "d>tail";

	CHECK_INT(stops_find(&st, text, 0, 0, 7, &end), 7);
	CHECK_INT(stops_find(&st, text, 0, 7, 13, &end), 3);
	CHECK_INT(end, 9);
	stops_free(&st);
}

static void
the_earliest_of_several_wins(void)
{
	struct stops st = stops("cd", "bcde");

	CHECK_INT(stops_find(&st, "abcdef", 0, 0, 6, &end), 1);
	CHECK_INT(end, 5);
	stops_free(&st);
}

static void
the_echo_before_the_text_is_not_searched(void)
{
	struct stops st = stops("ab", NULL);

	CHECK_INT(stops_find(&st, "ababab", 1, 1, 6, &end), 2);
	CHECK_INT(stops_find(&st, "abxx", 1, 1, 4, &end), 4);
	stops_free(&st);
}

static void
what_may_become_a_stop_string_is_held_back(void)
{
	struct stops st = stops("aab", "xyz");

	CHECK_INT(stops_hold(&st, "caa", 0, 3), 2);
	CHECK_INT(stops_hold(&st, "caaa", 0, 4), 2);
	CHECK_INT(stops_hold(&st, "cax", 0, 3), 1);
	CHECK_INT(stops_hold(&st, "xy", 0, 2), 2);
	CHECK_INT(stops_hold(&st, "xy", 1, 2), 0);
	CHECK_INT(stops_hold(&st, "abc", 0, 3), 0);
	CHECK_INT(stops_hold(&st, "", 0, 0), 0);
	stops_free(&st);
}

static void
clean(const char *in, const char *want)
{
	struct buf b = BUF_INIT(1000);

	buf_clear(&b);
	utf8_clean(&b, in, strlen(in));
	CHECK_STR(b.p, want);
	buf_free(&b);
}

/* As Unicode recommends and Rust's and Python's decoders do: one mark for each longest beginning of a character. */
static void
what_is_no_utf8_becomes_a_mark(void)
{
	clean("h\xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80", "h\xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80");
	clean("a\xFFz", "a\uFFFDz");
	clean("a\xE4\xBD", "a\uFFFD");
	clean("a\xE4\xBDz", "a\uFFFDz");
	clean("\xF0\x9F\x98", "\uFFFD");
	clean("\xC0\xAF", "\uFFFD\uFFFD");
	clean("\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD");
	clean("\xBF\xBF", "\uFFFD\uFFFD");
}

/* A stream cuts where utf8_whole() says and cleans each piece: together that must be the whole text cleaned at once. */
static void
pieces_cleaned_apart_are_the_whole_cleaned(void)
{
	static const char alphabet[] = "a\xE4\xBD\xA0\xF0\x9F\x98\x80\xC3\xA9\xFF\xED\xA0";
	uint32_t x = 1;

	for (int round = 0; round < 20000; round++) {
		char text[12];
		size_t n = 1 + round % sizeof text, sent = 0;
		struct buf whole = BUF_INIT(1000), pieces = BUF_INIT(1000);

		for (size_t i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			text[i] = alphabet[(x >> 16) % (sizeof alphabet - 1)];
		}
		utf8_clean(&whole, text, n);
		for (size_t have = 1; have <= n; have++) {
			size_t ready = have == n ? n - sent : utf8_whole(text + sent, have - sent);

			utf8_clean(&pieces, text + sent, ready);
			sent += ready;
		}
		if (!CHECK(whole.n == pieces.n && memcmp(whole.p, pieces.p, whole.n) == 0))
			round = 20000;
		buf_free(&whole);
		buf_free(&pieces);
	}
}

int
main(void)
{
	RUN(a_stop_string_is_found_across_pieces);
	RUN(the_earliest_of_several_wins);
	RUN(the_echo_before_the_text_is_not_searched);
	RUN(what_may_become_a_stop_string_is_held_back);
	RUN(what_is_no_utf8_becomes_a_mark);
	RUN(pieces_cleaned_apart_are_the_whole_cleaned);
	return t_done();
}
