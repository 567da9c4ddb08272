/* aimd - how many requests may be in flight, against simulated servers */

#include "aimd.h"

#include <stdbool.h>

#include "t.h"

#define MOST 512
#define RTT 100		/* ms, give or take a fifth */

/* A server in ticks of 1 ms that answers at most `capacity` requests at once (the others get their 429 after `refusal` ms), turns `random` of the rest away,
 * and is not there at all from `down` on for `outage` ms. Whoever sends always has more to send: a slot that is free is taken at once. */
struct server {
	int capacity, refusal;
	double random;
	unsigned down, outage;
	struct { unsigned end, took; bool refused; } flight[MOST];
	int flying, served;
	unsigned now;
	uint64_t seed;
	double good, bad, limits, ticks;	/* sums since the last look() */
};

static double
uniform(struct server *s)
{
	s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
	return (double)(s->seed >> 11) / (double)(1ull << 53);
}

static void
send_one(struct server *s)
{
	bool gone = s->now - s->down < s->outage;
	bool refused = gone || s->served >= s->capacity || uniform(s) < s->random;
	unsigned took = gone ? 1 : refused ? (unsigned)s->refusal : (unsigned)(RTT * (0.8 + 0.4 * uniform(s)));
	int i = s->flying++;

	s->flight[i].end = s->now + took;
	s->flight[i].took = took;
	s->flight[i].refused = refused;
	s->served += !refused;
}

static void
tick(struct server *s, struct aimd *a)
{
	s->now++;
	for (int i = 0; i < s->flying; i++) {
		if (s->flight[i].end > s->now)
			continue;
		if (s->flight[i].refused)
			aimd_overload(a, s->now);
		else
			aimd_success(a, s->now, s->flight[i].took, true);
		s->served -= !s->flight[i].refused;
		*(s->flight[i].refused ? &s->bad : &s->good) += 1;
		s->flight[i] = s->flight[--s->flying];
		i--;
	}
	while (s->flying < aimd_limit(a))
		send_one(s);
	s->limits += aimd_limit(a);
	s->ticks++;
}

/* Some round trips; how many requests were in flight, and what share was turned away. */
static void
run(struct server *s, struct aimd *a, int rounds, double *limit, double *share)
{
	s->good = s->bad = s->limits = s->ticks = 0;
	for (int i = 0; i < rounds * RTT; i++)
		tick(s, a);
	*limit = s->limits / s->ticks;
	*share = s->bad / (s->good + s->bad);
}

static void
it_settles_about_what_the_server_can_take(void)
{
	static const int capacities[] = { 1, 4, 16, 64, 200 };

	for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++)
		for (int refusal = RTT / 20; refusal <= RTT; refusal *= 20) {
			struct server s = { .capacity = capacities[i], .refusal = refusal, .seed = i };
			struct aimd a;
			double limit, share, served, c = s.capacity;
			bool good;

			aimd_init(&a, 256);
			run(&s, &a, 100, &limit, &share);
			run(&s, &a, 400, &limit, &share);
			served = s.good / 400;
			good = CHECK(limit > 0.9 * c && limit < 1.1 * c + 2) & CHECK(served > 0.94 * c);
			/* The cut of a round trip, half the share, undoes its growth, which is 1/24 and 1. */
			good &= CHECK(refusal < RTT || share < 2 * (1 / 24. + 1 / limit) + 0.02) & CHECK(c < 16 || share < 0.3);
			if (!good)
				printf("# capacity %d, refusals after %d ms: limit %.1f, %.3f refused, %.1f served\n", s.capacity, refusal, limit, share, served);
		}
}

static void
random_refusals_do_not_starve_us(void)
{
	static const struct { double p, least; } want[] = { { 0.01, 250 }, { 0.05, 245 }, { 0.08, 230 }, { 0.1, 256 / 3. }, { 0.15, 20 }, { 0.2, 12 } };

	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		for (int refusal = RTT / 20; refusal <= RTT; refusal *= 20) {
			struct server s = { .capacity = MOST, .refusal = refusal, .random = want[i].p, .seed = 7 };
			struct aimd a;
			double limit, share;

			aimd_init(&a, 256);
			run(&s, &a, 200, &limit, &share);
			run(&s, &a, 400, &limit, &share);
			if (!CHECK(limit > want[i].least))
				printf("# %.2f refused after %d ms: limit %.1f\n", want[i].p, refusal, limit);
		}
}

/* Until the limit is `goal`; MOST round trips when it never is. */
static int
rounds_to(int goal, struct server *s, struct aimd *a)
{
	double limit, share;
	int n = 0;

	for (; n < MOST && aimd_limit(a) < goal; n++)
		run(s, a, 1, &limit, &share);
	return n;
}

static void
an_outage_cuts_it_to_one_and_the_way_back_starts_fast(void)
{
	struct server s = { .capacity = MOST, .refusal = 5, .seed = 3, .down = 20 * RTT, .outage = 30 * RTT };
	struct aimd a;
	double limit, share;
	int fast, all;

	aimd_init(&a, 256);
	run(&s, &a, 20, &limit, &share);
	CHECK_INT(aimd_limit(&a), 256);
	run(&s, &a, 30, &limit, &share);
	CHECK_INT(aimd_limit(&a), 1);
	CHECK(a.known >= 16);
	fast = rounds_to((int)(a.known / 2), &s, &a);
	all = fast + rounds_to(256, &s, &a);
	if (!CHECK(fast <= 9) || !CHECK(all < 60))
		printf("# %d round trips to half of %.1f, %d to the ceiling\n", fast, a.known, all);
}

static void
it_grows_from_one_to_the_ceiling(void)
{
	static const struct { int ceiling, least, most; } want[] = { { 8, 5, 9 }, { 64, 28, 36 }, { 256, 48, 62 } };

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		struct server s = { .capacity = MOST, .seed = 3 };
		struct aimd a;
		int n;

		aimd_init(&a, want[i].ceiling);
		a.limit = a.known = 1;
		n = rounds_to(want[i].ceiling, &s, &a);
		if (!CHECK(n >= want[i].least && n <= want[i].most))
			printf("# to %d: %d round trips\n", want[i].ceiling, n);
	}
}

static void
it_is_cut_at_most_once_a_round_trip(void)
{
	struct aimd a;
	int before;

	aimd_init(&a, 64);
	for (int i = 0; i < 64; i++)
		aimd_success(&a, 1000, RTT, true);
	for (int i = 0; i < 64; i++)
		aimd_overload(&a, 1000 + RTT - 1);
	CHECK_INT(aimd_limit(&a), 64);
	aimd_overload(&a, 1000 + RTT);
	before = aimd_limit(&a);
	CHECK(before > 40 && before < 50);
	for (int i = 0; i < 1000; i++)
		aimd_overload(&a, 1000 + 2 * RTT - 1);
	CHECK_INT(aimd_limit(&a), before);
	aimd_overload(&a, 1000 + 2 * RTT);
	CHECK(aimd_limit(&a) < before * 0.6);	/* those before count a little */
}

/* Places that hang bring no replies: in a short round trip there are far fewer than places, and a cut for each would starve us. */
static void
it_is_cut_at_most_once_in_as_many_replies_as_may_be_in_flight(void)
{
	struct aimd a;

	aimd_init(&a, 64);
	aimd_success(&a, 1000, 1, true);
	for (int i = 0; i < 62; i++)
		aimd_overload(&a, 2000 + (uint64_t)i);
	CHECK_INT(aimd_limit(&a), 64);
	aimd_overload(&a, 3000);
	CHECK(aimd_limit(&a) < 40);
}

static void
it_is_never_below_one_nor_above_the_ceiling(void)
{
	struct aimd a;

	aimd_init(&a, 1);
	for (uint64_t t = 0; t < 100000; t += 500)
		aimd_overload(&a, t);
	CHECK_INT(aimd_limit(&a), 1);
	for (uint64_t t = 0; t < 1000; t++)
		aimd_success(&a, 100000 + t, 0, true);
	CHECK_INT(aimd_limit(&a), 1);
	aimd_init(&a, 10);
	for (uint64_t t = 0; t < 100000; t += 500)
		aimd_overload(&a, t);
	CHECK_INT(aimd_limit(&a), 1);
	for (uint64_t t = 0; t < 1000; t++)
		aimd_success(&a, 100000 + t, 1e9, true);
	CHECK_INT(aimd_limit(&a), 10);
}

int
main(void)
{
	RUN(it_settles_about_what_the_server_can_take);
	RUN(random_refusals_do_not_starve_us);
	RUN(an_outage_cuts_it_to_one_and_the_way_back_starts_fast);
	RUN(it_grows_from_one_to_the_ceiling);
	RUN(it_is_cut_at_most_once_a_round_trip);
	RUN(it_is_cut_at_most_once_in_as_many_replies_as_may_be_in_flight);
	RUN(it_is_never_below_one_nor_above_the_ceiling);
	return t_done();
}
