/* batch.c - what shares a batch does not show: packed training sequences, accumulation, and the bits of served logits */
#include "small.h"

/* ---- packing ---- */

/* What one sequence adds to the gradient, alone or packed behind another whose loss is masked. */
static void
a_packed_sequence_does_not_see_its_neighbours(void)
{
	enum { A = 50, B = 70 };
	struct config c = mid_config();
	struct model *m = model_new(&c, 5, &ops_cpu, mach);
	struct acts *a = acts_new(m, A + B, KEEP_ALL);
	int ids[A + B], pos[A + B], target[A + B], cu[3] = { 0, A, A + B }, t;
	struct weights alone, packed;
	double loss;

	fill_ids(ids, A + B, c.vocab, 9);
	for (t = 0; t < A + B; t++) {
		pos[t] = t < A ? t : t - A;
		target[t] = t > A + 3 && t + 1 < A + B ? ids[t + 1] : -1;
	}
	weights_like(&alone, &c);
	weights_like(&packed, &c);
	loss = model_train(m, a, &(struct batch){ B, ids + A, pos + A, target + A, (int[]){ 0, B }, 1, NULL, NULL }, &alone, 0.01f);
	CHECK(loss == model_train(m, a, &(struct batch){ A + B, ids, pos, target, cu, 2, NULL, NULL }, &packed, 0.01f));
	CHECK(memcmp(alone.all, packed.all, alone.n * sizeof(float)) == 0);
	weights_free(&alone);
	weights_free(&packed);
	acts_free(a);
	model_free(m);
}

/* One call over two sequences adds up to two calls over one. */
static void
accumulating_equals_one_batch(void)
{
	enum { A = 40, B = 90 };
	struct config c = mid_config();
	struct model *m = model_new(&c, 6, &ops_cpu, mach);
	struct acts *a = acts_new(m, A + B, KEEP_ALL);
	int ids[A + B], pos[A + B], target[A + B], cu[3] = { 0, A, A + B }, t;
	struct weights once, twice;
	double loss, sum;

	fill_ids(ids, A + B, c.vocab, 10);
	for (t = 0; t < A + B; t++) {
		pos[t] = t < A ? t : t - A;
		target[t] = t % 3 ? ids[(t + 1) % (A + B)] : -1;
	}
	weights_like(&once, &c);
	weights_like(&twice, &c);
	loss = model_train(m, a, &(struct batch){ A + B, ids, pos, target, cu, 2, NULL, NULL }, &once, 0.1f);
	sum = model_train(m, a, &(struct batch){ A, ids, pos, target, cu, 1, NULL, NULL }, &twice, 0.1f);
	sum += model_train(m, a, &(struct batch){ B, ids + A, pos + A, target + A, (int[]){ 0, B }, 1, NULL, NULL }, &twice, 0.1f);
	CHECK_NUM(sum, loss, 1e-9 * loss);
	CHECK_NUM(largest_difference(once.all, twice.all, once.n), 0, 1e-5 * sqrt(ops_plain.sumsq(mach, once.all, once.n)));
	weights_free(&once);
	weights_free(&twice);
	acts_free(a);
	model_free(m);
}

/* A weight of its own for each sequence: as two calls with another scale each. */
static void
a_weight_is_as_a_scale_of_its_own(void)
{
	enum { A = 40, B = 90 };
	struct config c = mid_config();
	struct model *m = model_new(&c, 6, &ops_cpu, mach);
	struct acts *a = acts_new(m, A + B, KEEP_ALL);
	int ids[A + B], pos[A + B], target[A + B], cu[3] = { 0, A, A + B }, t;
	float weight[A + B], each[A + B];
	struct weights once, twice;
	double loss, la, lb, sum = 0;

	fill_ids(ids, A + B, c.vocab, 10);
	for (t = 0; t < A + B; t++) {
		pos[t] = t < A ? t : t - A;
		target[t] = t % 3 ? ids[(t + 1) % (A + B)] : -1;
		weight[t] = t < A ? 0.5f : 0.0625f;
		each[t] = 0;
	}
	weights_like(&once, &c);
	weights_like(&twice, &c);
	loss = model_train(m, a, &(struct batch){ A + B, ids, pos, target, cu, 2, weight, each }, &once, 0.25f);
	la = model_train(m, a, &(struct batch){ A, ids, pos, target, cu, 1, NULL, NULL }, &twice, 0.125f);
	lb = model_train(m, a, &(struct batch){ B, ids + A, pos + A, target + A, (int[]){ 0, B }, 1, NULL, NULL }, &twice, 0.015625f);
	CHECK_NUM(loss, 0.5 * la + 0.0625 * lb, 1e-9 * loss);
	for (t = 0; t < A; t++)
		sum += each[t];
	CHECK_NUM(sum, la, 1e-5 * la);
	CHECK(each[0] == 0 && each[A + B - 2] > 0);
	CHECK_NUM(largest_difference(once.all, twice.all, once.n), 0, 1e-5 * sqrt(ops_plain.sumsq(mach, once.all, once.n)));
	weights_free(&once);
	weights_free(&twice);
	acts_free(a);
	model_free(m);
}

static void
a_batch_without_supervised_tokens_leaves_no_gradient(void)
{
	struct config c = mid_config();
	struct model *m = model_new(&c, 6, &ops_cpu, mach);
	struct acts *a = acts_new(m, 4, KEEP_ALL);
	struct weights grad;
	size_t i;

	weights_like(&grad, &c);
	CHECK(model_train(m, a, &(struct batch){ 3, (int[]){ 1, 2, 3 }, (int[]){ 0, 1, 2 }, (int[]){ -1, -1, -1 }, (int[]){ 0, 3 }, 1, NULL, NULL }, &grad, 1) == 0);
	for (i = 0; i < grad.n && grad.all[i] == 0; i++)
		;
	CHECK_INT(i, grad.n);
	weights_free(&grad);
	acts_free(a);
	model_free(m);
}

/* ---- serving ---- */

/* Long enough for several slices of the forward pass and many blocks of queries. */
#define LONG 700

static void
a_cache_filled_in_chunks_gives_the_same_bits(void)
{
	static const int cuts[] = { 1, 1, 5, 48, 200, 1, 300, 144 };
	struct config c = mid_config();
	struct model *m = model_new(&c, 11, &ops_cpu, mach);
	struct kv_pool *pool = pool_for(m, LONG);
	struct kv *kv = kv_new(pool);
	int ids[LONG], at = 0;
	float *want, *got;
	struct err e;

	fill_ids(ids, LONG, c.vocab, 1);
	want = run(m, ids, LONG);
	got = calloc((size_t)LONG * c.vocab, sizeof *got);
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; at += cuts[i++])
		CHECK_INT(model_forward(m, &(struct chunk){ kv, ids + at, cuts[i], 0, got + (size_t)at * c.vocab }, 1, &e), 0);
	CHECK_INT(at, LONG);
	CHECK(memcmp(got, want, (size_t)LONG * c.vocab * sizeof *got) == 0);
	free(want);
	free(got);
	kv_free(kv);
	kv_pool_free(pool);
	model_free(m);
}

static void
a_sequence_has_the_same_bits_alone_and_in_a_batch_on_any_threads(void)
{
	enum { N = 5 };
	static const int length[N] = { 1, 77, 400, 3, 210 };
	struct config c = mid_config();
	struct mach *single = mach_new(1);
	struct model *m = model_new(&c, 12, &ops_cpu, mach), *s = model_new(&c, 12, &ops_cpu, single);
	struct kv_pool *pool = pool_for(m, N * 416);
	int ids[N][400];
	struct chunk chunk[N];
	struct err e;

	for (int i = 0; i < N; i++) {
		fill_ids(ids[i], 400, c.vocab, i);
		chunk[i] = (struct chunk){ kv_new(pool), ids[i], length[i], 0, malloc((size_t)length[i] * c.vocab * sizeof(float)) };
	}
	CHECK_INT(model_forward(m, chunk, N, &e), 0);
	for (int i = 0; i < N; i++) {
		float *alone = run(s, ids[i], length[i]);

		CHECK(memcmp(alone, chunk[i].logits, (size_t)length[i] * c.vocab * sizeof(float)) == 0);
		free(alone);
		kv_free(chunk[i].kv);
		free(chunk[i].logits);
	}
	kv_pool_free(pool);
	model_free(m);
	model_free(s);
	mach_free(single);
}

static void
forward_refuses_a_foreign_id_and_a_full_cache(void)
{
	struct config c = mid_config();
	struct model *m = model_new(&c, 1, &ops_cpu, mach);
	struct kv_pool *pool = pool_for(m, KV_PAGE);
	struct kv *kv = kv_new(pool);
	float *logits = malloc(c.vocab * sizeof *logits);
	int ids[30] = { 0 };
	struct err e;

	CHECK_INT(model_forward(m, &(struct chunk){ kv, (int[]){ 1, c.vocab }, 2, 1, logits }, 1, &e), -1);
	CHECK_STR(e.msg, "token id 301 is not in the vocabulary of 301");
	CHECK_INT(model_forward(m, &(struct chunk){ kv, (int[]){ -1 }, 1, 0, logits }, 1, &e), -1);
	CHECK_INT(kv_len(kv), 0);
	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids, 30, 29, logits }, 1, &e), 0);
	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids, 3, 2, logits }, 1, &e), -1);
	CHECK_STR(e.msg, "no memory for 3 tokens after 30: the limit of the key-value caches");
	CHECK_INT(kv_len(kv), 30);
	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids, 2, 1, logits }, 1, &e), 0);
	CHECK_INT(kv_len(kv), KV_PAGE);
	free(logits);
	kv_free(kv);
	kv_pool_free(pool);
	model_free(m);
}

int
main(void)
{
	mach = mach_new(3);
	RUN(a_packed_sequence_does_not_see_its_neighbours);
	RUN(accumulating_equals_one_batch);
	RUN(a_weight_is_as_a_scale_of_its_own);
	RUN(a_batch_without_supervised_tokens_leaves_no_gradient);
	RUN(a_cache_filled_in_chunks_gives_the_same_bits);
	RUN(a_sequence_has_the_same_bits_alone_and_in_a_batch_on_any_threads);
	RUN(forward_refuses_a_foreign_id_and_a_full_cache);
	mach_free(mach);
	return t_done();
}
