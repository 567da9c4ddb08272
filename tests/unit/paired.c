/* paired.c - two runs over the same samples, and pass@k: against values that Python computed with fractions, exactly
 *
 *     mcnemar: min(F(1), 2 * sum(F(comb(n, i), 2 ** n) for i in range(min(b, c) + 1))), n = b + c
 *     pass@k:  1 - F(comb(n - c, k), comb(n, k))
 * and the interval by its formula. */

#include "paired.h"
#include "passk.h"
#include "t.h"

static void
p_values_are_those_of_the_exact_binomial_test(void)
{
	static const struct { size_t better, worse; double p; } row[] = {
		{ 0, 0, 1 }, { 1, 0, 1 }, { 5, 0, 0.0625 }, { 6, 1, 0.125 }, { 1, 6, 0.125 }, { 12, 3, 0.03515625 }, { 10, 10, 1 },
		{ 25, 11, 0.028816719655878842 }, { 121, 59, 4.4344492637551764e-06 }, { 600, 500, 0.0028195449914364275 },
		{ 5000, 5400, 9.1169493145408861e-05 }, { 0, 1200, 0 },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		CHECK_NUM(mcnemar_exact(row[i].better, row[i].worse), row[i].p, 1e-10 * row[i].p);
}

static void
the_interval_of_a_change_is_bonett_and_prices(void)
{
	static const struct { size_t n, better, worse; double low, high; } row[] = {
		{ 0, 0, 0, -1, 1 },
		{ 1, 0, 0, -0.923935882899785, 0.923935882899785 }, { 20, 3, 1, -0.123982318655514, 0.305800500473696 },
		{ 100, 12, 3, 0.0108810297884996, 0.165589558446794 }, { 11435, 700, 640, -0.00103100143040323, 0.0115232633872101 },
		{ 10, 10, 0, 0.520579558495871, 1 },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct interval v = paired_interval(row[i].n, row[i].better, row[i].worse);

		CHECK_NUM(v.low, row[i].low, 1e-12);
		CHECK_NUM(v.high, row[i].high, 1e-12);
	}
}

static void
pass_at_k_is_the_share_of_draws_that_hold_a_right_one(void)
{
	static const struct { size_t n, c, k; double want; } row[] = {
		{ 1, 0, 1, 0 },
		{ 1, 1, 1, 1 },
		{ 10, 3, 1, 0.29999999999999999 },
		{ 10, 3, 10, 1 },
		{ 10, 0, 10, 0 },
		{ 10, 1, 5, 0.5 },
		{ 20, 5, 10, 0.98374613003095979 },
		{ 200, 7, 1, 0.035000000000000003 },
		{ 200, 7, 10, 0.3055988116177335 },
		{ 200, 7, 100, 0.99299111724181233 },
		{ 200, 101, 100, 1 },
		{ 200, 100, 100, 1 },
		{ 200, 190, 100, 1 },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		CHECK_NUM(pass_at_k(row[i].n, row[i].c, row[i].k), row[i].want, 1e-13);
}

int
main(void)
{
	RUN(p_values_are_those_of_the_exact_binomial_test);
	RUN(the_interval_of_a_change_is_bonett_and_prices);
	RUN(pass_at_k_is_the_share_of_draws_that_hold_a_right_one);
	return t_done();
}
