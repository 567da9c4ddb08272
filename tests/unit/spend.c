/* spend - a spending limit */

#include "spend.h"

#include <limits.h>
#include <stdint.h>

#include "t.h"

static void
prices_are_two_numbers(void)
{
	static const char *const bad[] = { "", ":", "1", "1:", ":1", "1:2:3", "-1:2", "1:-2", "nan:1", "1:inf", "1,5:2", "0x1:1", " 1:2", "1e10:1",
		"1111111111111111111111111111111111111111:1" };
	double in = 7, out = 7;

	CHECK(spend_price("0.15:0.60", &in, &out));
	CHECK(in == 0.15 && out == 0.6);
	CHECK(spend_price("0:1e9", &in, &out));
	CHECK(in == 0 && out == 1e9);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!spend_price(bad[i], &in, &out)))
			printf("# %s\n", bad[i]);
	CHECK(in == 0 && out == 1e9);
}

static void
tokens_are_reserved_settled_and_released(void)
{
	struct spend s;

	spend_init(&s, 100, NAN, 0, 0);
	CHECK(spend_reserve(&s, 10, 40));
	CHECK(spend_reserve(&s, 10, 40));
	CHECK(!spend_reserve(&s, 0, 1));
	CHECK(!spend_reached(&s, 0, 100));
	CHECK(spend_reached(&s, 1, 100));
	spend_settle(&s, 10, 40, 8, 2);
	CHECK_INT(spend_tokens(&s), 10);
	CHECK(!spend_reserve(&s, 41, 0));
	CHECK(spend_reserve(&s, 0, 40));
	spend_release(&s, 0, 40);
	spend_settle(&s, 10, 40, -1, -1);
	CHECK_INT(spend_tokens(&s), 60);
	CHECK(spend_reserve(&s, 20, 20));
	spend_settle(&s, 20, 20, 5, -1);
	CHECK_INT(spend_tokens(&s), 85);
	CHECK(spend_reached(&s, 16, 0));
	CHECK(!spend_reached(&s, 15, 0));
}

static void
what_was_used_beyond_the_worst_case_counts(void)
{
	struct spend s;

	spend_init(&s, 100, NAN, 0, 0);
	CHECK(spend_reserve(&s, 50, 0));
	spend_settle(&s, 50, 0, 120, 0);
	CHECK_INT(spend_tokens(&s), 120);
	CHECK(spend_reached(&s, 0, 0));
}

static void
no_limit_takes_everything_and_nothing_fits_none(void)
{
	struct spend s;

	spend_init(&s, -1, -1, 1, 1);
	CHECK(spend_reserve(&s, LLONG_MAX, LLONG_MAX));
	spend_settle(&s, LLONG_MAX, LLONG_MAX, 3, 4);
	CHECK_INT(spend_tokens(&s), 7);
	CHECK_NUM(spend_usd(&s), 7e-6, 1e-18);
	spend_init(&s, 0, NAN, 1, 1);
	CHECK(!spend_reserve(&s, 0, 1));
	CHECK(spend_reserve(&s, 0, 0));
	spend_init(&s, -1, 0, 1, 1);
	CHECK(spend_reached(&s, 1, 0));
}

static void
sums_of_money_are_exact(void)
{
	struct spend s;

	/* 0.1 has no exact double: summed as doubles a million of these would miss it. */
	spend_init(&s, -1, 0.1, 0.1, 0);
	for (int i = 0; i < 1000000; i++)
		if (!spend_reserve(&s, 1, 0))
			CHECK(!"fits exactly a million tokens");
		else
			spend_settle(&s, 1, 0, 1, 0);
	CHECK(spend_usd(&s) == 0.1);
	CHECK(!spend_reserve(&s, 1, 0));
	spend_init(&s, -1, 1e-12, 1e-6, 0);
	CHECK(spend_reserve(&s, 1, 0));
	CHECK(!spend_reserve(&s, 1, 0));
}

static void
huge_values_do_not_overflow(void)
{
	struct spend s;

	spend_init(&s, LLONG_MAX, 1e300, 1e300, 1e300);
	CHECK(!spend_reserve(&s, LLONG_MAX, 0));
	CHECK(!spend_reserve(&s, 0, SPEND_TOKENS_MAX + 1));
	for (int i = 0; i < 1000; i++)
		CHECK(spend_reserve(&s, 0, 0));
	for (int i = 0; i < 1000; i++)
		spend_settle(&s, 0, 0, LLONG_MAX, LLONG_MAX);
	CHECK_NUM(spend_tokens(&s) / 2e15, 1, 1e-9);
	CHECK_NUM(spend_usd(&s) / (2e15 * 1e3), 1, 1e-9);
	CHECK(!spend_reserve(&s, 1, 0));
	CHECK(s.reserved_tokens == 0 && s.reserved_pico == 0);
	spend_init(&s, -1, INFINITY, -1, NAN);
	CHECK(spend_reserve(&s, 5, 5));
	CHECK(s.reserved_pico == 0);
}

static unsigned
draw(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((*seed >> 33) % n);
}

/* Servers that use up to the worst case, at random; some replies say nothing about it, some requests are refused. Beside it the sum, kept apart. */
static void
the_limit_is_never_exceeded(void)
{
	struct { int in, out; } flight[64];
	uint64_t seed = 1;

	for (int trial = 0; trial < 200; trial++) {
		long long limit = 1 + draw(&seed, 200000), tokens = 0, pico = 0;
		double usd = draw(&seed, 3) ? (1 + draw(&seed, 1000)) * 1e-4 : -1;
		struct spend s;
		int n = 0;

		spend_init(&s, limit, usd, 0.15, 0.6);
		for (int step = 0; step < 5000; step++) {
			int i = n ? (int)draw(&seed, (unsigned)n) : 0, in, out;

			if (n < 64 && (n == 0 || draw(&seed, 2))) {
				in = (int)draw(&seed, 500);
				out = (int)draw(&seed, 1000);
				if (spend_reserve(&s, in, out)) {
					flight[n].in = in;
					flight[n++].out = out;
				}
				continue;
			}
			in = (int)draw(&seed, (unsigned)flight[i].in + 1);
			out = (int)draw(&seed, (unsigned)flight[i].out + 1);
			switch (draw(&seed, 4)) {
			case 0:
				spend_release(&s, flight[i].in, flight[i].out);
				in = out = 0;
				break;
			case 1:
				in = flight[i].in;
				out = flight[i].out;
				spend_settle(&s, in, out, -1, -1);
				break;
			default:
				spend_settle(&s, flight[i].in, flight[i].out, in, out);
			}
			tokens += in + out;
			pico += in * 150000LL + out * 600000LL;
			flight[i] = flight[--n];
		}
		if (!CHECK(tokens <= limit) || !CHECK(usd < 0 || (double)pico <= usd * 1e12 + 0.5) || !CHECK(spend_tokens(&s) == tokens) ||
				!CHECK(s.pico == pico))
			break;
		while (n-- > 0)
			spend_release(&s, flight[n].in, flight[n].out);
		CHECK(s.reserved_tokens == 0 && s.reserved_pico == 0);
	}
}

int
main(void)
{
	RUN(prices_are_two_numbers);
	RUN(tokens_are_reserved_settled_and_released);
	RUN(what_was_used_beyond_the_worst_case_counts);
	RUN(no_limit_takes_everything_and_nothing_fits_none);
	RUN(sums_of_money_are_exact);
	RUN(huge_values_do_not_overflow);
	RUN(the_limit_is_never_exceeded);
	return t_done();
}
