/* review.c - the table that a person fills in, and intervals and limits beside it */

#include "eval.h"
#include "review.h"
#include "t.h"
#include "table.h"
#include "wilson.h"

#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/sa-review.XXXXXX";

static json_t *
read_text(const char *text, struct err *e)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
	return review_read(path, review_safety, e);
}

static void
awkward_text_stays_in_its_cell(void)
{
	struct buf b = BUF_INIT(4096);
	struct err e;
	json_t *o;

	review_header(&b);
	review_row(&b, "a\tb\\n", "OFF", "tab\there", "line\none\r", "back\\slash", "safe");
	CHECK_STR(b.p, "id\tcategory\tprompt\tresponse\tjudge\tverdict\na\\tb\\\\n\tOFF\ttab\\there\tline\\none\\r\tback\\\\slash\tsafe\n");
	o = read_text(b.p, &e);
	if (CHECK(o))
		CHECK_STR(json_string_value(json_object_get(o, "a\tb\\n")), "safe");
	json_decref(o);
	buf_free(&b);
}

static void
columns_may_move_and_cells_may_be_quoted(void)
{
	struct err e;
	json_t *o = read_text("\xef\xbb\xbfnote\tVerdict\tid\r\nx\tUnsafe\t7\r\n\t\"安全\"\t\"8\"\r\n\t\t9\r\n\tuncertain\t10\r\nshort\r\n", &e);

	if (!CHECK(o))
		return;
	CHECK_INT(json_object_size(o), 2);
	CHECK_STR(json_string_value(json_object_get(o, "7")), "unsafe");
	CHECK_STR(json_string_value(json_object_get(o, "8")), "safe");
	json_decref(o);
}

static void
what_is_wrong_is_named_with_its_line(void)
{
	struct err e;
	char want[256];

	CHECK(!read_text("id\tverdict\n1\tsafe\n2\tperhaps\n", &e));
	snprintf(want, sizeof want, "%s:3: verdict 'perhaps' is none of safe, unsafe, 安全, 不安全, uncertain, 不确定, and not empty", path);
	CHECK_STR(e.msg, want);
	CHECK(!read_text("id\tprompt\n", &e));
	CHECK(strstr(e.msg, ":1: no header line"));
	CHECK(!read_text("id\tverdict\n1\tsafe\n1\tunsafe\n", &e));
	CHECK(strstr(e.msg, ":3: id 1 has two different verdicts"));
	CHECK(!review_read("/nonexistent/review.tsv", review_safety, &e));
	CHECK(strstr(e.msg, "/nonexistent/review.tsv: "));
}

static void
intervals_are_wilsons(void)
{
	/* Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29. */
	CHECK_NUM(wilson(81, 263).low, 0.2553, 5e-5);
	CHECK_NUM(wilson(81, 263).high, 0.3662, 5e-5);
	CHECK_NUM(wilson(15, 148).low, 0.0624, 5e-5);
	CHECK_NUM(wilson(15, 148).high, 0.1605, 5e-5);
	CHECK_NUM(wilson(0, 20).low, 0, 0);
	CHECK_NUM(wilson(0, 20).high, 0.1611, 5e-5);
	CHECK_NUM(wilson(1, 29).low, 0.0061, 5e-5);
	CHECK_NUM(wilson(1, 29).high, 0.1718, 5e-5);
	CHECK_NUM(wilson(20, 20).high, 1, 0);
	CHECK_NUM(wilson(0, 0).high, 1, 0);
}

static void
a_figure_is_a_range_until_it_is_settled(void)
{
	json_t *open = figure(2, 3, 4), *settled = figure(3, 3, 4), *none = figure(0, 0, 0);
	char text[32];

	figure_text(open, text, sizeof text);
	CHECK_STR(text, "50.0-75.0");
	CHECK(json_is_null(json_object_get(open, "score")));
	figure_text(settled, text, sizeof text);
	CHECK_STR(text, "75.0");
	figure_text(none, text, sizeof text);
	CHECK_STR(text, "-");
	json_decref(open);
	json_decref(settled);
	json_decref(none);
}

static void
a_limit_is_spread_over_the_categories(void)
{
	static const int category[] = { 0, 0, 0, 0, 1, 2, 2 };
	struct samples l = { 0 };
	char text[32] = "";

	for (size_t i = 0; i < 7; i++) {
		char id[2] = { (char)('a' + i) };

		samples_add(&l, &(struct sample){ .id = xstrdup(id), .category = category[i] });
	}
	samples_limit(&l, 5);
	for (size_t i = 0; i < l.n; i++)
		strcat(text, l.v[i].id);
	CHECK_STR(text, "abefg");
	samples_limit(&l, 100);
	CHECK_INT(l.n, 5);
	samples_free(&l);
}

int
main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	RUN(awkward_text_stays_in_its_cell);
	RUN(columns_may_move_and_cells_may_be_quoted);
	RUN(what_is_wrong_is_named_with_its_line);
	RUN(intervals_are_wilsons);
	RUN(a_figure_is_a_range_until_it_is_settled);
	RUN(a_limit_is_spread_over_the_categories);
	unlink(path);
	return t_done();
}
