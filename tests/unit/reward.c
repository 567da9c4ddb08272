/* reward.c - DPO's and KTO's losses and slopes against torch's (goldens/make_prefer.py) */
#include "reward.h"

#include <jansson.h>

#include "t.h"

static double
number(const json_t *o, const char *name)
{
	return json_number_value(json_object_get(o, name));
}

static void
check(const json_t *o)
{
	double x = number(o, "x"), beta = number(o, "beta"), slope, value;

	if (strcmp(json_string_value(json_object_get(o, "loss")), "dpo") == 0)
		value = dpo_loss(x, beta, number(o, "smoothing"), &slope);
	else
		value = kto_loss(x, number(o, "z"), json_is_true(json_object_get(o, "desirable")), beta, number(o, "weight"), &slope);
	CHECK_NUM(value, number(o, "value"), 1e-13 * fmax(1, fabs(value)));
	CHECK_NUM(slope, number(o, "slope"), 1e-13);
}

static void
losses_and_slopes_are_those_of_torch(void)
{
	FILE *f = fopen("tests/goldens/prefer/losses.jsonl", "r");
	char line[1024];
	int n = 0;

	while (CHECK(f) && fgets(line, sizeof line, f)) {
		json_t *o = json_loads(line, 0, NULL);

		check(o);
		json_decref(o);
		n++;
	}
	CHECK_INT(n, 28);
	fclose(f);
}

static void
far_out_nothing_overflows(void)
{
	double slope;

	CHECK_NUM(dpo_loss(-1e6, 1, 0, &slope), 1e6, 0);
	CHECK_NUM(slope, -1, 0);
	CHECK_NUM(dpo_loss(1e6, 1, 0, &slope), 0, 0);
	CHECK_NUM(slope, 0, 0);
	CHECK_NUM(kto_loss(-1e9, 0, true, 1, 2, &slope), 2, 0);
	CHECK_NUM(slope, 0, 0);
}

int
main(void)
{
	RUN(losses_and_slopes_are_those_of_torch);
	RUN(far_out_nothing_overflows);
	return t_done();
}
