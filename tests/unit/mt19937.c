/* mt19937.c - Python's random module, number for number (values printed by CPython) */

#include "mt19937.h"
#include "t.h"

static void
seed_2023_gives_the_words_of_python(void)
{
	static const uint32_t want[] = { 1644637140u, 3013484573u, 4174115899u, 1917993899u };
	struct mt19937 m;

	mt19937_seed(&m, 2023);
	for (int i = 0; i < 4; i++)
		CHECK_INT(mt19937_next(&m), want[i]);
}

static void
the_words_past_the_first_block_are_right(void)
{
	struct mt19937 m;
	uint32_t x = 0;

	mt19937_seed(&m, 2023);
	for (int i = 0; i < 2000; i++)
		x = mt19937_next(&m);
	CHECK_INT(x, 1030970928u);
}

static void
choices_of_four_and_of_two(void)
{
	static const uint32_t four[] = { 3, 3, 3, 2, 2, 0, 0, 2, 2, 1, 1, 1, 0, 1, 2, 0 };
	static const uint32_t two[] = { 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0 };
	struct mt19937 m;

	mt19937_seed(&m, 2023);
	for (int i = 0; i < 16; i++)
		CHECK_INT(mt19937_below(&m, 4), four[i]);
	mt19937_seed(&m, 2023);
	for (int i = 0; i < 16; i++)
		CHECK_INT(mt19937_below(&m, 2), two[i]);
}

static void
choices_of_three_reject_what_is_too_large(void)
{
	static const uint32_t want[] = { 1, 2, 1, 1, 1, 2, 2, 1, 2, 0, 0, 2, 1, 2, 2, 2 };
	struct mt19937 m;

	mt19937_seed(&m, 2023);
	for (int i = 0; i < 16; i++)
		CHECK_INT(mt19937_below(&m, 3), want[i]);
}

int
main(void)
{
	RUN(seed_2023_gives_the_words_of_python);
	RUN(the_words_past_the_first_block_are_right);
	RUN(choices_of_four_and_of_two);
	RUN(choices_of_three_reject_what_is_too_large);
	return t_done();
}
