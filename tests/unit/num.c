/* num: numbers from text and to text */
#include "num.h"

#include <float.h>
#include <limits.h>
#include <stdint.h>

#include "t.h"

static void
integers_are_read_whole_or_not_at_all(void)
{
	static const char *const no[] = { "", " 1", "1 ", "1x", "0x10", "1.0", "1e3", "--1", "+", "-", "9223372036854775808", "nan" };
	struct err e;
	long long x = 5;

	CHECK(num_int("42", 0, 100, &x, &e) == 0);
	CHECK_INT(x, 42);
	CHECK(num_int("-7", -7, 100, &x, &e) == 0);
	CHECK_INT(x, -7);
	CHECK(num_int("+9223372036854775807", 0, LLONG_MAX, &x, &e) == 0);
	CHECK_INT(x, LLONG_MAX);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		CHECK(num_int(no[i], LLONG_MIN, LLONG_MAX, &x, &e) == -1);
	CHECK_INT(x, LLONG_MAX);
}

static void
an_integer_out_of_range_names_the_range(void)
{
	struct err e;
	long long x;

	CHECK(num_int("0", 1, 1000, &x, &e) == -1);
	CHECK_STR(e.msg, "'0' is no integer from 1 to 1000");
	CHECK(num_int("1001", 1, 1000, &x, &e) == -1);
}

static void
reals_are_finite_decimals(void)
{
	static const char *const no[] = { "", ".", "e5", "1e", "1e+", "inf", "nan", "0x1p3", "1e999", "1,5", " 1", "1 ", "1.2.3", "-" };
	struct err e;
	double x;

	CHECK(num_real("1.5", 0, 2, &x, &e) == 0);
	CHECK_NUM(x, 1.5, 0);
	CHECK(num_real("-.5e-3", -1, 2, &x, &e) == 0);
	CHECK_NUM(x, -.5e-3, 0);
	CHECK(num_real("2.", 0, 2, &x, &e) == 0);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		CHECK(num_real(no[i], -DBL_MAX, DBL_MAX, &x, &e) == -1);
	CHECK(num_real("2.1", 0, 2, &x, &e) == -1);
	CHECK_STR(e.msg, "'2.1' is no number from 0 to 2");
}

static void
texts_are_the_shortest(void)
{
	static const struct { double x; const char *text; } t[] = {
		{ 0, "0" }, { 1, "1" }, { -100, "-100" }, { 0.1, "0.1" }, { 0.936254, "0.936254" }, { 1.0 / 3, "0.3333333333333333" },
		{ 1e15, "1e+15" }, { 123456789012345, "123456789012345" }, { 5e-324, "5e-324" }, { 1e-7, "1e-07" },
		{ DBL_MAX, "1.7976931348623157e+308" }, { 2.5e10 + 0.5, "25000000000.5" },
	};
	char buf[NUM_TEXT];

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		CHECK_STR(num_text(buf, t[i].x), t[i].text);
}

static void
any_double_comes_back_the_same(void)
{
	uint64_t s = 1;
	char buf[NUM_TEXT];

	for (int i = 0; i < 20000; i++) {
		double x, y;

		s = s * 6364136223846793005u + 1442695040888963407u;
		memcpy(&x, &s, sizeof x);
		if (!isfinite(x))
			continue;
		y = strtod(num_text(buf, x), NULL);
		if (!CHECK(memcmp(&x, &y, sizeof x) == 0))
			return;
		if (!CHECK(strlen(buf) < NUM_TEXT - 1))
			return;
	}
}

int
main(void)
{
	RUN(integers_are_read_whole_or_not_at_all);
	RUN(an_integer_out_of_range_names_the_range);
	RUN(reals_are_finite_decimals);
	RUN(texts_are_the_shortest);
	RUN(any_double_comes_back_the_same);
	return t_done();
}
