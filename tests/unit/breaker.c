/* breaker - is this endpoint worth sending to? */

#include "breaker.h"

#include "t.h"

#define AGO (BREAKER_SECONDS * 1000)

/* Enough failures, over long enough: the cool-down is u * 0.5 s from `at`. */
static void
open_it(struct breaker *b, uint64_t at, double u)
{
	for (int i = 0; i < BREAKER_FAILURES; i++)
		breaker_failure(b, at - AGO, u);
	CHECK(breaker_may_send(b, at));
	breaker_failure(b, at, u);
	CHECK_INT(b->state, BREAKER_OPEN);
}

static void
it_opens_after_many_failures_over_some_seconds(void)
{
	struct breaker b;

	breaker_init(&b);
	CHECK(breaker_may_send(&b, 0));
	CHECK_INT(breaker_due(&b), 0);
	breaker_success(&b, 1000);
	for (int i = 0; i < 1000; i++)		/* a burst alone does not */
		breaker_failure(&b, 1000 + AGO - 1, 1);
	CHECK(breaker_may_send(&b, 1000 + AGO - 1));
	breaker_failure(&b, 1000 + AGO, 1);
	CHECK(!breaker_may_send(&b, 1000 + AGO));
	CHECK_INT(breaker_due(&b), 1000 + AGO + 500);
	breaker_init(&b);
	breaker_success(&b, 1000);
	for (int i = 0; i < BREAKER_FAILURES - 1; i++)	/* nor do few */
		breaker_failure(&b, 1000 + 100 * AGO, 1);
	CHECK(breaker_may_send(&b, 1000 + 100 * AGO));
	breaker_failure(&b, 1000 + 100 * AGO, 1);
	CHECK(!breaker_may_send(&b, 1000 + 100 * AGO));
}

static void
one_that_was_never_reached_counts_from_its_first_failure(void)
{
	struct breaker b;

	breaker_init(&b);
	for (int i = 0; i < 100; i++)
		breaker_failure(&b, 5000000 + i, 0.5);
	CHECK(breaker_may_send(&b, 5000100));
	breaker_failure(&b, 5000000 + AGO, 0.5);
	CHECK(!breaker_may_send(&b, 5000000 + AGO));
	CHECK_INT(breaker_due(&b), 5000000 + AGO + 250);
}

static void
one_probe_goes_after_the_cool_down(void)
{
	struct breaker b;

	breaker_init(&b);
	open_it(&b, 10000, 1);
	CHECK(!breaker_may_send(&b, 10499));
	CHECK(breaker_may_send(&b, 10500));
	breaker_sent(&b, 10500);
	CHECK_INT(b.state, BREAKER_HALF_OPEN);
	CHECK(!breaker_may_send(&b, 10501));
	breaker_success(&b, 10600);
	CHECK(breaker_may_send(&b, 10600));
	CHECK_INT(b.state, BREAKER_CLOSED);
	CHECK_INT(breaker_due(&b), 0);
}

static void
cool_downs_double_up_to_half_a_minute(void)
{
	static const int wait[] = { 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };
	struct breaker b;
	uint64_t now = 10000;

	breaker_init(&b);
	open_it(&b, now, 1);
	for (size_t i = 0; i < sizeof wait / sizeof *wait; i++) {
		CHECK_INT(breaker_due(&b), now + (uint64_t)wait[i]);
		CHECK_INT(breaker_probes(&b), i);
		now = breaker_due(&b);
		breaker_sent(&b, now);
		breaker_failure(&b, now, 1);
	}
	now = breaker_due(&b);
	breaker_sent(&b, now);
	breaker_success(&b, now);
	CHECK_INT(breaker_probes(&b), 0);
	open_it(&b, now + AGO, 1);
	CHECK_INT(breaker_due(&b), now + AGO + 500);
}

static void
an_attempt_from_before_may_close_it_but_not_open_it_further(void)
{
	struct breaker b;

	breaker_init(&b);
	open_it(&b, 10000, 1);
	for (int i = 0; i < 64; i++)
		breaker_failure(&b, 10400, 1);
	CHECK_INT(breaker_due(&b), 10500);
	CHECK_INT(breaker_probes(&b), 0);
	breaker_success(&b, 10450);
	CHECK(breaker_may_send(&b, 10450));
}

static void
a_probe_without_a_verdict_lets_another_go(void)
{
	struct breaker b;

	breaker_init(&b);
	breaker_unsure(&b);
	CHECK(breaker_may_send(&b, 0));
	open_it(&b, 10000, 1);
	breaker_unsure(&b);
	CHECK(!breaker_may_send(&b, 10001));
	breaker_sent(&b, 10500);
	breaker_unsure(&b);
	CHECK(breaker_may_send(&b, 10501));
	CHECK_INT(breaker_due(&b), 0);
	breaker_sent(&b, 10501);
	CHECK(!breaker_may_send(&b, 10502));
}

static void
a_lost_probe_is_given_up(void)
{
	uint64_t lost = 10500 + BREAKER_LOST_SECONDS * 1000;
	struct breaker b;

	breaker_init(&b);
	open_it(&b, 10000, 1);
	breaker_sent(&b, 10500);
	CHECK_INT(breaker_due(&b), lost);
	CHECK(!breaker_may_send(&b, lost - 1));
	CHECK(breaker_may_send(&b, lost));
	breaker_sent(&b, lost);
	CHECK(!breaker_may_send(&b, lost + 1));
	breaker_success(&b, lost + 2);
	CHECK(breaker_may_send(&b, lost + 2));
}

/* An endpoint is asked every 10 ms and answers at once: how many went to it while it was away, and when one got through again. */
static int
outage(struct breaker *b, uint64_t from, uint64_t until, uint64_t *back)
{
	int wasted = 0;

	for (uint64_t t = from; ; t += 10) {
		if (!breaker_may_send(b, t))
			continue;
		breaker_sent(b, t);
		if (t >= until) {
			breaker_success(b, *back = t);
			return wasted;
		}
		breaker_failure(b, t, 1);
		wasted++;
	}
}

static void
an_outage_costs_few_requests_and_its_end_is_seen(void)
{
	struct breaker b;
	uint64_t back;
	int wasted;

	breaker_init(&b);
	breaker_success(&b, 1000);
	wasted = outage(&b, 1010, 601000, &back);
	CHECK(wasted >= AGO / 10 && wasted < AGO / 10 + 30);
	CHECK(back - 601000 <= 30000);
	/* One that flaps: up for 100 ms every 2 s. No success is 3 s ago: never opened. */
	for (uint64_t t = back + 10; t < back + 600000; t += 10)
		if ((t - back) % 2000 < 100)
			breaker_success(&b, t);
		else
			breaker_failure(&b, t, 1);
	CHECK_INT(b.state, BREAKER_CLOSED);
}

int
main(void)
{
	RUN(it_opens_after_many_failures_over_some_seconds);
	RUN(one_that_was_never_reached_counts_from_its_first_failure);
	RUN(one_probe_goes_after_the_cool_down);
	RUN(cool_downs_double_up_to_half_a_minute);
	RUN(an_attempt_from_before_may_close_it_but_not_open_it_further);
	RUN(a_probe_without_a_verdict_lets_another_go);
	RUN(a_lost_probe_is_given_up);
	RUN(an_outage_costs_few_requests_and_its_end_is_seen);
	return t_done();
}
