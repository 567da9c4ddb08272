/* From logits to tokens: limits, ties, distributions. */
#include "t.h"

#include <jansson.h>
#include <math.h>

#include "adjust.h"
#include "draw.h"
#include "text.h"

#define V 8
static const float even[V] = { 1, 1, 1, 1, 1, 1, 1, 1 };
/* p = .5 .25 .125 .0625 ... in a shuffled order: id 3 is the most likely, then 6, 0, 5 */
static const float halves[V] = { -2.0794415f, -4.8520303f, -3.4657359f, -0.6931472f, -4.1588831f, -2.7725887f, -1.3862944f, -4.8520303f };

/* counts[V] of `n` draws */
static void
histogram(const float *x, struct sampling how, int n, int *counts)
{
	struct candidate scratch[V];
	uint64_t rng = draw_seed(1, 0);

	memset(counts, 0, V * sizeof *counts);
	for (int i = 0; i < n; i++) {
		int id = draw_token(x, V, &how, &rng, scratch);

		if (!CHECK(id >= 0 && id < V))
			return;
		counts[id]++;
	}
}

static int
kinds(const int *counts)
{
	int n = 0;

	for (int i = 0; i < V; i++)
		n += counts[i] > 0;
	return n;
}

static void
temperature_0_takes_the_most_likely_and_the_lowest_id_of_equals(void)
{
	float x[V] = { 0, 2, 5, 5, 1, 5, 0, 0 };
	int counts[V];

	histogram(x, (struct sampling){ 0, 1, 0, 0 }, 10, counts);
	CHECK_INT(counts[2], 10);
	CHECK_INT(draw_argmax(even, V), 0);
}

static void
temperature_0_leaves_the_generator_alone(void)
{
	uint64_t rng = 5;

	draw_token(halves, V, &(struct sampling){ 0, 1, 0, 0 }, &rng, NULL);
	CHECK(rng == 5);
	draw_token(halves, V, &(struct sampling){ 1, 1, 0, 0 }, &rng, NULL);
	CHECK(rng != 5);
}

static void
temperature_1_draws_with_the_models_probabilities(void)
{
	int counts[V], n = 100000;

	histogram(halves, (struct sampling){ 1, 1, 0, 0 }, n, counts);
	CHECK_NUM((double)counts[3] / n, 0.5, 0.01);
	CHECK_NUM((double)counts[6] / n, 0.25, 0.01);
	CHECK_NUM((double)counts[0] / n, 0.125, 0.01);
	CHECK_INT(kinds(counts), V);
}

/* p^2 normalised: 1/4 1/16 1/64 ... */
static void
temperature_a_half_squares_them(void)
{
	int counts[V], n = 100000;

	histogram(halves, (struct sampling){ 0.5, 1, 0, 0 }, n, counts);
	CHECK_NUM((double)counts[3] / n, 0.75, 0.01);
	CHECK_NUM((double)counts[6] / n, 0.1875, 0.01);
}

static void
a_tiny_temperature_is_like_0(void)
{
	int counts[V];

	histogram(halves, (struct sampling){ 1e-300, 1, 0, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
	histogram(halves, (struct sampling){ 5e-324, 0.9, 0, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
}

static void
top_k_keeps_k_and_the_lower_ids_of_equals(void)
{
	int counts[V], n = 100000;

	histogram(halves, (struct sampling){ 1, 1, 2, 0 }, n, counts);
	CHECK_INT(kinds(counts), 2);
	CHECK_NUM((double)counts[3] / n, 2.0 / 3, 0.01);
	histogram(even, (struct sampling){ 1, 1, 3, 0 }, 1000, counts);
	CHECK_INT(counts[0] + counts[1] + counts[2], 1000);
	CHECK_INT(kinds(counts), 3);
	histogram(halves, (struct sampling){ 1, 1, 1, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
}

static void
top_k_of_the_vocabulary_or_more_changes_nothing(void)
{
	int a[V], b[V];

	histogram(halves, (struct sampling){ 1, 1, 0, 0 }, 1000, a);
	histogram(halves, (struct sampling){ 1, 1, V, 0 }, 1000, b);
	CHECK(memcmp(a, b, sizeof a) == 0);
	histogram(halves, (struct sampling){ 1, 1, 1000000, 0 }, 1000, b);
	CHECK(memcmp(a, b, sizeof a) == 0);
}

static void
top_p_keeps_the_fewest_that_reach_it(void)
{
	int counts[V], n = 100000;

	histogram(halves, (struct sampling){ 1, 0.6, 0, 0 }, n, counts);
	CHECK_INT(kinds(counts), 2);
	CHECK_NUM((double)counts[3] / n, 2.0 / 3, 0.01);
	histogram(halves, (struct sampling){ 1, 0.45, 0, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
	histogram(halves, (struct sampling){ 1, 0.8, 0, 0 }, 10000, counts);
	CHECK_INT(kinds(counts), 3);
}

static void
top_p_0_keeps_one(void)
{
	int counts[V];

	histogram(halves, (struct sampling){ 1, 0, 0, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
	histogram(even, (struct sampling){ 2, 0, 0, 0 }, 100, counts);
	CHECK_INT(counts[0], 100);
}

/* Of the two that top_k leaves (2/3, 1/3) 0.6 is reached by the first; of all it takes two. */
static void
top_p_is_of_what_top_k_left(void)
{
	int counts[V];

	histogram(halves, (struct sampling){ 1, 0.6, 2, 0 }, 100, counts);
	CHECK_INT(counts[3], 100);
	histogram(halves, (struct sampling){ 1, 0.9, 2, 0 }, 1000, counts);
	CHECK_INT(kinds(counts), 2);
}

static void
the_same_state_draws_the_same(void)
{
	struct candidate scratch[V];
	uint64_t a = draw_seed(42, 3), b = draw_seed(42, 3);

	CHECK(draw_seed(42, 3) != draw_seed(42, 4));
	CHECK(draw_seed(42, 0) != draw_seed(43, 0));
	for (int i = 0; i < 100; i++)
		CHECK_INT(draw_token(halves, V, &(struct sampling){ 1, 0.95, 5, 0 }, &a, scratch),
			draw_token(halves, V, &(struct sampling){ 1, 0.95, 5, 0 }, &b, scratch));
}

static void
minus_infinity_is_never_drawn_and_nan_is_refused(void)
{
	float x[V] = { -INFINITY, 1, -INFINITY, 1, -INFINITY, -INFINITY, -INFINITY, -INFINITY };
	int counts[V];
	uint64_t rng = 1;
	struct candidate scratch[V];

	histogram(x, (struct sampling){ 1, 1, 0, 0 }, 1000, counts);
	CHECK_INT(counts[1] + counts[3], 1000);
	histogram(x, (struct sampling){ 1, 0.999, 6, 0 }, 1000, counts);
	CHECK_INT(counts[1] + counts[3], 1000);
	x[5] = NAN;
	CHECK_INT(draw_token(x, V, &(struct sampling){ 1, 0.9, 0, 0 }, &rng, scratch), -1);
	CHECK_INT(draw_token(x, V, &(struct sampling){ 0, 1, 0, 0 }, &rng, scratch), -1);
	CHECK(!isfinite(draw_lse(x, V)));
	x[5] = INFINITY;
	CHECK_INT(draw_token(x, V, &(struct sampling){ 1, 1, 0, 0 }, &rng, scratch), -1);
	for (int i = 0; i < V; i++)
		x[i] = -INFINITY;
	CHECK_INT(draw_argmax(x, V), -1);
}

static void
the_log_of_the_sum_does_not_overflow(void)
{
	float big[2] = { 3e38f, 3e38f }, small[2] = { -3e38f, -3e38f };

	CHECK_NUM(draw_lse(even, V), 1 + log(8), 1e-12);
	CHECK_NUM(draw_lse(big, 2), (double)3e38f, 1e30);
	CHECK_NUM(draw_lse(small, 2), (double)-3e38f, 1e30);
}

static void
the_top_ids_come_best_first(void)
{
	int ids[V];

	CHECK_INT(draw_top(halves, V, 3, ids), 3);
	CHECK(ids[0] == 3 && ids[1] == 6 && ids[2] == 0);
	CHECK_INT(draw_top(even, V, 2, ids), 2);
	CHECK(ids[0] == 0 && ids[1] == 1);
	CHECK_INT(draw_top(halves, V, 20, ids), V);
	CHECK(ids[V - 2] == 1 && ids[V - 1] == 7);
	CHECK_INT(draw_top(halves, V, 0, ids), 0);
}

/* ---- beside transformers' logits processors (goldens/make_draw.py) ---- */

static double
number(json_t *c, const char *name)
{
	return json_number_value(json_object_get(c, name));
}

static int
read_ids(json_t *list, int *out)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		out[i] = json_integer_value(json_array_get(list, i));
	return json_array_size(list);
}

#define GV 24

static void
check_adjusted(json_t *c, float *x, struct adjust_scratch *w)
{
	struct bias bias[4];
	struct adjust a = { number(c, "repetition"), number(c, "presence"), number(c, "frequency"), bias, 0, 0 };
	int ids[64], nprompt = read_ids(json_object_get(c, "prompt"), ids), n = nprompt + read_ids(json_object_get(c, "made"), ids + nprompt);
	const char *id;
	json_t *v;

	json_object_foreach(json_object_get(c, "bias"), id, v)
		bias[a.nbias++] = (struct bias){ atoi(id), json_number_value(v) };
	for (int i = 0; i < GV; i++)
		x[i] = json_number_value(json_array_get(json_object_get(c, "logits"), i));
	adjust_logits(w, &a, ids, nprompt, n, NULL, 0, x);
	for (int i = 0; i < GV; i++) {
		CHECK_NUM(x[i], json_number_value(json_array_get(json_object_get(c, "adjusted"), i)), 2e-6);
		CHECK_INT(w->count[i], 0);
	}
}

static void
check_drawn(json_t *c, const float *x)
{
	struct sampling how = { number(c, "temperature"), number(c, "top_p"), number(c, "top_k"), number(c, "min_p") };
	struct candidate scratch[GV];
	int counts[GV] = { 0 }, n = 20000;
	uint64_t rng = draw_seed(3, 0);

	for (int i = 0; i < n; i++)
		counts[draw_token(x, GV, &how, &rng, scratch)]++;
	for (int i = 0; i < GV; i++) {
		double p = json_number_value(json_array_get(json_object_get(c, "probabilities"), i));

		CHECK_NUM((double)counts[i] / n, p, 0.02);
		CHECK(p > 0 || counts[i] == 0);
	}
}

static void
logits_are_adjusted_and_drawn_from_as_by_transformers(void)
{
	json_t *cases = json_load_file("tests/goldens/draw.json", 0, NULL), *c;
	int count[GV] = { 0 };
	struct adjust_scratch w = { .count = count };
	size_t i;

	CHECK(json_array_size(cases) >= 10);
	json_array_foreach(cases, i, c) {
		float x[GV];

		check_adjusted(c, x, &w);
		check_drawn(c, x);
		adjust_undo(&w, x);
		for (int k = 0; k < GV; k++)
			CHECK(x[k] == (float)json_number_value(json_array_get(json_object_get(c, "logits"), k)));
	}
	free(w.old);
	json_decref(cases);
}

static void
min_p_of_1_is_the_most_likely_and_of_0_all(void)
{
	int counts[V];

	histogram(halves, (struct sampling){ 1, 1, 0, 1 }, 100, counts);
	CHECK_INT(counts[3], 100);
	histogram(halves, (struct sampling){ 1, 1, 0, 0.49 }, 1000, counts);
	CHECK_INT(kinds(counts), 2);
	histogram(halves, (struct sampling){ 1, 1, 0, 0 }, 10000, counts);
	CHECK_INT(kinds(counts), V);
}

static void
end_tokens_are_held_back_for_min_tokens(void)
{
	int ids[] = { 1, 2, 3 }, end[] = { 3, 6 }, count[V] = { 0 };
	struct adjust a = { .repetition = 1, .min_tokens = 2 };
	struct adjust_scratch w = { .count = count };
	float x[V];

	memcpy(x, halves, sizeof x);
	adjust_logits(&w, &a, ids, 2, 3, end, 2, x);
	CHECK(isinf(x[3]) && isinf(x[6]));
	CHECK_INT(draw_argmax(x, V), 0);
	adjust_undo(&w, x);
	CHECK(memcmp(x, halves, sizeof x) == 0);
	adjust_logits(&w, &a, ids, 1, 3, end, 2, x);
	CHECK(memcmp(x, halves, sizeof x) == 0);
	free(w.old);
}

/* What a plain loop says, for vocabularies that end anywhere in a block, with ties and infinities. */
static void
rows_of_any_length_are_looked_at_whole(void)
{
	enum { LONG = 1500 };
	static float x[LONG];
	uint64_t rng = 7;

	for (int n = 1; n < LONG; n += n < 40 ? 1 : 97) {
		int ids[20], best = 0, rank = 1, top, id = n / 2;

		for (int i = 0; i < n; i++)
			x[i] = text_random(&rng) % 11 == 0 ? -INFINITY : (float)(text_random(&rng) % 50);
		x[n - 1] = 3;
		for (int i = 0; i < n; i++) {
			best = x[i] > x[best] ? i : best;
			rank += x[i] > x[id] || (x[i] == x[id] && i < id);
		}
		CHECK_INT(draw_argmax(x, n), best);
		CHECK_INT(draw_rank(x, n, id), rank);
		top = draw_top(x, n, 20, ids);
		CHECK_INT(top, n < 20 ? n : 20);
		for (int i = 0; i < top; i++)
			CHECK_INT(draw_rank(x, n, ids[i]), i + 1);
		x[n / 3] = NAN;
		CHECK_INT(draw_argmax(x, n), -1);
	}
}

/* A large vocabulary is walked in parts: each token comes as often as its probability says. */
static void
a_large_vocabulary_is_walked_in_its_order(void)
{
	enum { LONG = 1000, DRAWS = 200000 };
	static float x[LONG];
	static int count[LONG];
	uint64_t rng = draw_seed(3, 0);
	double total = 0, worst = 0;

	for (int i = 0; i < LONG; i++) {
		x[i] = i % 7 == 3 ? -INFINITY : (float)(i % 5) - 2;
		total += exp(x[i]);
	}
	for (int i = 0; i < DRAWS; i++)
		count[draw_token(x, LONG, &(struct sampling){ 1, 1, 0, 0 }, &rng, NULL)]++;
	for (int i = 0; i < LONG; i++) {
		double want = DRAWS * exp(x[i]) / total;

		if (want == 0)
			CHECK_INT(count[i], 0);
		else
			worst = fmax(worst, fabs(count[i] - want) / sqrt(want));
	}
	CHECK(worst < 5);
}

int
main(void)
{
	RUN(temperature_0_takes_the_most_likely_and_the_lowest_id_of_equals);
	RUN(temperature_0_leaves_the_generator_alone);
	RUN(temperature_1_draws_with_the_models_probabilities);
	RUN(temperature_a_half_squares_them);
	RUN(a_tiny_temperature_is_like_0);
	RUN(top_k_keeps_k_and_the_lower_ids_of_equals);
	RUN(top_k_of_the_vocabulary_or_more_changes_nothing);
	RUN(top_p_keeps_the_fewest_that_reach_it);
	RUN(top_p_0_keeps_one);
	RUN(top_p_is_of_what_top_k_left);
	RUN(the_same_state_draws_the_same);
	RUN(minus_infinity_is_never_drawn_and_nan_is_refused);
	RUN(the_log_of_the_sum_does_not_overflow);
	RUN(the_top_ids_come_best_first);
	RUN(logits_are_adjusted_and_drawn_from_as_by_transformers);
	RUN(min_p_of_1_is_the_most_likely_and_of_0_all);
	RUN(end_tokens_are_held_back_for_min_tokens);
	RUN(rows_of_any_length_are_looked_at_whole);
	RUN(a_large_vocabulary_is_walked_in_its_order);
	return t_done();
}
