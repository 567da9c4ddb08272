/* schedule.c - learning rates, clipping, the order of samples */
#include "optim.h"
#include "order.h"
#include "schedule.h"

#include "t.h"

static void
the_paper_s_run_has_six_steps_of_warm_up(void)
{
	CHECK_INT(schedule_warmup(12000, 0.0005), 6);
	CHECK_INT(schedule_warmup(12001, 0.0005), 7);
	CHECK_INT(schedule_warmup(100, 0), 0);
	CHECK_INT(schedule_warmup(3, 1), 3);
}

/* transformers 5.23, get_cosine_schedule_with_warmup(AdamW(lr=6e-7), 6, 12000) */
static void
cosine_is_that_of_transformers(void)
{
	struct schedule s = { SCHEDULE_COSINE, 6e-7, 12000, 6 };

	CHECK_NUM(schedule_lr(&s, 0), 0, 0);
	CHECK_NUM(schedule_lr(&s, 1), 1e-7, 1e-21);
	CHECK_NUM(schedule_lr(&s, 5), 5e-7, 1e-21);
	CHECK_NUM(schedule_lr(&s, 6), 6e-7, 1e-21);
	CHECK_NUM(schedule_lr(&s, 6003), 3e-7, 1e-19);
	CHECK_NUM(schedule_lr(&s, 11999), 1.02911264e-14, 1e-21);
}

static void
without_warm_up_the_first_step_has_the_full_rate(void)
{
	struct schedule s = { SCHEDULE_COSINE, 1e-3, 10, 0 };

	CHECK_NUM(schedule_lr(&s, 0), 1e-3, 0);
	CHECK_NUM(schedule_lr(&s, 5), 5e-4, 1e-18);
}

static void
linear_goes_straight_down_and_constant_stays(void)
{
	struct schedule s = { SCHEDULE_LINEAR, 1, 12, 2 };

	CHECK_NUM(schedule_lr(&s, 1), 0.5, 0);
	CHECK_NUM(schedule_lr(&s, 2), 1, 0);
	CHECK_NUM(schedule_lr(&s, 7), 0.5, 1e-15);
	CHECK_NUM(schedule_lr(&s, 11), 0.1, 1e-15);
	s.kind = SCHEDULE_CONSTANT;
	CHECK_NUM(schedule_lr(&s, 0), 0, 0);
	CHECK_NUM(schedule_lr(&s, 11), 1, 0);
}

static void
a_run_that_is_all_warm_up_has_finite_rates(void)
{
	struct schedule s = { SCHEDULE_COSINE, 1, 3, 3 };

	for (int k = 0; k < 3; k++)
		CHECK_NUM(schedule_lr(&s, k), k / 3.0, 1e-15);
}

static void
gradients_are_clipped_as_torch_does(void)
{
	CHECK_NUM(clip_factor(0.5, 1), 1, 0);
	CHECK_NUM(clip_factor(1, 1), 1 / (1 + 1e-6), 1e-15);
	CHECK_NUM(clip_factor(4, 1) * 4, 1, 1e-6);
	CHECK_NUM(clip_factor(0, 1), 1, 0);
	CHECK_NUM(clip_factor(1e9, 0), 1, 0);
}

/* The values are those of order() in tests/goldens/make_train.py. */
static void
the_order_is_a_known_function_of_seed_and_epoch(void)
{
	static const uint32_t want[] = { 6, 1, 8, 3, 0, 2, 9, 4, 5, 7 }, next[] = { 9, 0, 7, 8, 4, 2, 6, 5, 3, 1 };
	uint32_t got[10];

	order_fill(got, 10, 7, 0);
	CHECK(memcmp(got, want, sizeof got) == 0);
	order_fill(got, 10, 7, 1);
	CHECK(memcmp(got, next, sizeof got) == 0);
}

static void
every_sample_comes_once_an_epoch(void)
{
	enum { N = 1000 };
	uint32_t order[N];

	for (uint64_t epoch = 0; epoch < 5; epoch++) {
		char seen[N] = { 0 };

		order_fill(order, N, 42, epoch);
		for (int i = 0; i < N; i++)
			if (CHECK(order[i] < N))
				CHECK_INT(seen[order[i]]++, 0);
	}
	order_fill(order, 1, 42, 0);
	CHECK_INT(order[0], 0);
}

int
main(void)
{
	RUN(the_paper_s_run_has_six_steps_of_warm_up);
	RUN(cosine_is_that_of_transformers);
	RUN(without_warm_up_the_first_step_has_the_full_rate);
	RUN(linear_goes_straight_down_and_constant_stays);
	RUN(a_run_that_is_all_warm_up_has_finite_rates);
	RUN(gradients_are_clipped_as_torch_does);
	RUN(the_order_is_a_known_function_of_seed_and_epoch);
	RUN(every_sample_comes_once_an_epoch);
	return t_done();
}
