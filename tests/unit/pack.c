/* pack.c - packs of samples, and what a spike of the loss is */
#include "pack.h"
#include "spike.h"

#include "t.h"

static const char *
shown(const struct packs *p, const int *length)
{
	static char text[400];
	char *to = text;

	*to = '\0';
	for (size_t i = 0; i < p->n; i++) {
		for (size_t k = p->at[i]; k < p->at[i + 1]; k++)
			to += sprintf(to, "%s%u:%d", k > p->at[i] ? "+" : i ? " " : "", p->sample[k], length[p->sample[k]]);
	}
	return text;
}

static void
without_room_each_sample_is_a_pack(void)
{
	static const int length[] = { 5, 2, 9 };
	struct packs p;

	packs_fill(&p, length, 3, 0);
	CHECK_STR(shown(&p, length), "0:5 1:2 2:9");
	packs_free(&p);
}

/* By hand, as LLaMA-Factory's greedy_knapsack([3, 7, 4, 10, 6, 3, 1, 64], 64 or 10) fills them. */
static void
the_longest_that_fits_is_taken_first(void)
{
	static const int length[] = { 3, 7, 4, 10, 6, 3, 1 };
	struct packs p;

	packs_fill(&p, length, 7, 10);
	CHECK_STR(shown(&p, length), "3:10 1:7+0:3 4:6+2:4 5:3+6:1");
	packs_free(&p);
	packs_fill(&p, length, 7, 64);
	CHECK_STR(shown(&p, length), "3:10+1:7+4:6+2:4+0:3+5:3+6:1");
	packs_free(&p);
}

/* greedy_knapsack() of LLaMA-Factory, the obvious way. */
static size_t
knapsacks(int *left, size_t n, int capacity)
{
	size_t packs = 0, done = 0;

	while (done < n) {
		int room = capacity;

		packs++;
		for (;;) {
			size_t best = n;

			for (size_t i = 0; i < n; i++)
				if (left[i] && left[i] <= room && (best == n || left[i] > left[best]))
					best = i;
			if (best == n)
				break;
			room -= left[best];
			left[best] = 0;
			done++;
		}
	}
	return packs;
}

static void
every_sample_is_in_one_pack_and_none_is_too_full(void)
{
	enum { N = 1000, ROOM = 2048 };
	int length[N], left[N], seen[N] = { 0 };
	unsigned seed = 1;
	struct packs p;

	for (int i = 0; i < N; i++) {
		seed = seed * 1664525 + 1013904223;
		left[i] = length[i] = 1 + (seed >> 8) % (i % 3 ? 300 : ROOM);
	}
	packs_fill(&p, length, N, ROOM);
	for (size_t i = 0; i < p.n; i++) {
		int sum = 0;

		for (size_t k = p.at[i]; k < p.at[i + 1]; k++) {
			sum += length[p.sample[k]];
			CHECK_INT(seen[p.sample[k]]++, 0);
		}
		CHECK(sum > 0 && sum <= ROOM);
	}
	CHECK_INT(p.at[p.n], N);
	CHECK_INT(p.n, knapsacks(left, N, ROOM));
	packs_free(&p);
}

static void
a_spike_is_far_above_the_median(void)
{
	struct recent r = { .n = 0 };
	double median;

	CHECK(!spike_next(&r, 100, &median));	/* nothing is known yet */
	for (int i = 0; i < 40; i++)
		CHECK(!spike_next(&r, 2 + i % 5 * 0.01, &median));
	CHECK(!spike_next(&r, 2.15, &median));	/* within a tenth */
	CHECK(spike_next(&r, 2.5, &median));
	CHECK_NUM(median, 2.02, 1e-9);
	CHECK(spike_next(&r, 2.5, &median));	/* the one before does not hide it */
	CHECK(!spike_next(&r, 1, &median));
	CHECK_INT(r.n, 45);
	for (int i = 0; i < 100; i++)
		spike_next(&r, 2, &median);
	CHECK_INT(r.n, SPIKE_LAST);
	CHECK(!spike_next(&r, 2.19, &median));	/* where there is no deviation at all, a tenth */
	CHECK(spike_next(&r, 2.3, &median));
}

int
main(void)
{
	RUN(without_room_each_sample_is_a_pack);
	RUN(the_longest_that_fits_is_taken_first);
	RUN(every_sample_is_in_one_pack_and_none_is_too_full);
	RUN(a_spike_is_far_above_the_median);
	return t_done();
}
