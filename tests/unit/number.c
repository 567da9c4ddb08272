/* number.c - numbers out of worked answers; the wanted values are what the expressions of number.h gave in Python's re and eval() */

#include "number.h"
#include "t.h"

#define NONE NAN

static const struct {
	const char *text, *strict, *flexible;
	double digits, last;
} row[] = {
	{ "", NULL, NULL, NONE, NONE },
	{ "no number", NULL, NULL, NONE, NONE },
	{ "#### 72", "72", "72", 72, 72 },
	{ "so 5\n#### 1,234.", "1,234.", "1,234.", 234, 1234 },
	{ "####72 #### -7 #### 8", "-7", "8", 8, 8 },
	{ "#### $18", NULL, "$18", 18, 18 },
	{ "#### 5.", "5.", "5.", 5, 5 },
	{ "The answer is $20,800.", NULL, "$20,800.", 800, 20800 },
	{ "It is -3", NULL, "-3", 3, -3 },
	{ "costs 2.50 dollars", NULL, "2.50", 50, 2.5 },
	{ "1,2345", NULL, "1,2345", 2345, 2345 },
	{ "12,345,678", NULL, "12,345,678", 678, 12345678 },
	{ "1234,567", NULL, "1234,567", 567, 567 },
	{ "20,800 and 7,", NULL, "7,", 7, 7 },
	{ "05", NULL, "05", NONE, NONE },
	{ "$5.05", NULL, "$5.05", NONE, 5.0499999999999998 },
	{ "007.", NULL, "007.", NONE, 7 },
	{ "00", NULL, "00", 0, 0 },
	{ "a+5", NULL, "5", 5, 5 },
	{ "10-3", NULL, "-3", 3, -3 },
	{ "3.14.15", NULL, "3.14.15", 15, 0.14999999999999999 },
	{ ".5.", NULL, ".5.", 5, 0.5 },
	{ "v1.", NULL, "1.", 1, 1 },
	{ "..", NULL, "..", NONE, NONE },
	{ "...", NULL, "...", NONE, NONE },
	{ "-", NULL, NULL, NONE, NONE },
	{ "x -.5", NULL, "-.5", 5, -0.5 },
	{ "1,23", NULL, "1,23", 23, 23 },
	{ "100,000,0000", NULL, "100,000,0000", 0, 0 },
	{ "\357\274\225\357\274\226", NULL, NULL, NONE, NONE },
	{ "5\357\274\225", NULL, "5", NONE, NONE },
	{ "\331\243", NULL, NULL, NONE, NONE },
	{ "x\302\262 = 9\343\200\202", NULL, "9", 9, 9 },
	{ "9\343\200\202", NULL, "9", 9, 9 },
	{ "1,\357\274\221\357\274\222\357\274\223", NULL, "1,", NONE, NONE },
	{ "$ 12 $", NULL, "12", 12, 12 },
	{ "12,", NULL, "12,", 12, 12 },
	{ "#### 1,000,000", "1,000,000", "1,000,000", 0, 1000000 },
	{ "12345678901234567890", NULL, "12345678901234567890", 1.2345678901234567e+19, 1.2345678901234567e+19 },
	{ "0,5", NULL, "0,5", 5, 5 },
	{ "0,500", NULL, "0,500", 500, 500 },
	{ " +1,500.0 ", NULL, "1,500.0", 0, 1500 },
};

static void
check_number(const char *text, bool there, double got, double want)
{
	if (!CHECK_INT(there, !isnan(want)) || (there && !CHECK_NUM(got, want, 0)))
		printf("#   text '%s'\n", text);
}

static void
every_text_gives_what_the_scripts_find(void)
{
	char s[NUMBER_MAX];
	double x = 0;
	bool there;

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		CHECK_STR(number_strict(row[i].text, s) ? s : NULL, row[i].strict);
		CHECK_STR(number_flexible(row[i].text, s) ? s : NULL, row[i].flexible);
		there = number_last_digits(row[i].text, &x);
		check_number(row[i].text, there, x, row[i].digits);
		there = number_last(row[i].text, &x);
		check_number(row[i].text, there, x, row[i].last);
	}
}

static void
numbers_are_the_same_text_but_for_commas_dollars_and_a_full_stop(void)
{
	CHECK(number_same_text("1,234", "1234"));
	CHECK(number_same_text("$18.", "18"));
	CHECK(!number_same_text("18.0", "18"));
	CHECK(!number_same_text("18..", "18"));
	CHECK(number_same_text(".", ""));
}

static void
a_number_that_is_too_long_is_none(void)
{
	char text[2 * NUMBER_MAX + 8] = "#### ", s[NUMBER_MAX];
	double x;

	memset(text + 5, '1', 2 * NUMBER_MAX);
	CHECK(!number_strict(text, s));
	CHECK(!number_flexible(text, s));
	CHECK(!number_last_digits(text, &x));
	CHECK(!number_last(text, &x));
}

static void
bytes_that_are_no_utf_8_do_no_harm(void)
{
	double x;

	CHECK(number_last("\xff" "7\xe3\x80", &x) && x == 7);
	CHECK(!number_last_digits("\xe3\x80", &x));
}

int
main(void)
{
	RUN(every_text_gives_what_the_scripts_find);
	RUN(numbers_are_the_same_text_but_for_commas_dollars_and_a_full_stop);
	RUN(a_number_that_is_too_long_is_none);
	RUN(bytes_that_are_no_utf_8_do_no_harm);
	return t_done();
}
