/* kv.c - pages of key-value caches: the limit, shared prefixes with the bits of a sequence's own, who is forgotten first, memory given back */
#include "small.h"

enum { PAGES = 6 };

static struct model *m;
static struct kv_pool *pool;

static void
setup(void)
{
	struct config c = mid_config();

	m = model_new(&c, 5, &ops_cpu, mach);
	pool = pool_for(m, PAGES * KV_PAGE);
}

static void
teardown(void)
{
	kv_pool_free(pool);
	model_free(m);
}

static void
check_usage(int held, int kept)
{
	struct kv_usage u = kv_usage(pool);

	CHECK_INT(u.pages, PAGES);
	CHECK_INT(u.held, held);
	CHECK_INT(u.kept, kept);
}

/* Compute ids[kv_len..n); logits of the last token in `last` [V], unless NULL. */
static void
feed(struct kv *kv, const int *ids, int n, float *last)
{
	int at = kv_len(kv);
	struct err e;

	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids + at, n - at, last ? n - at - 1 : n - at, last }, 1, &e), 0);
	CHECK_INT(kv_len(kv), n);
}

static struct kv *
filled(const int *ids, int n)
{
	struct kv *kv = kv_new(pool);

	kv_match(kv, ids, n - 1);
	feed(kv, ids, n, NULL);
	return kv;
}

static void
reserving_takes_all_or_nothing(void)
{
	struct kv *a = kv_new(pool), *b = kv_new(pool);

	CHECK_INT(kv_reserve(a, 0), 0);
	check_usage(0, 0);
	CHECK_INT(kv_reserve(a, 1), 0);
	check_usage(1, 0);
	CHECK_INT(kv_reserve(a, KV_PAGE), 0);
	check_usage(1, 0);
	CHECK_INT(kv_reserve(b, 5 * KV_PAGE + 1), -1);
	check_usage(1, 0);
	CHECK_INT(kv_reserve(b, 5 * KV_PAGE), 0);
	CHECK_INT(kv_reserve(a, KV_PAGE + 1), -1);
	check_usage(6, 0);
	kv_free(b);
	check_usage(1, 0);
	CHECK_INT(kv_reserve(a, 6 * KV_PAGE), 0);
	kv_free(a);
	check_usage(0, 0);
}

static void
a_prefix_is_found_page_by_page_as_far_as_it_is_wanted(void)
{
	int ids[100], other[100];
	struct kv *a, *b;

	fill_ids(ids, 100, m->c.vocab, 1);
	memcpy(other, ids, sizeof ids);
	other[40]++;
	a = filled(ids, 100);
	check_usage(4, 0);
	b = kv_new(pool);
	CHECK_INT(kv_match(b, ids, 31), 0);
	CHECK_INT(kv_match(b, ids, 32), 32);
	CHECK_INT(kv_match(b, ids, 95), 64);
	CHECK_INT(kv_match(b, ids, 96), 96);
	CHECK_INT(kv_match(b, ids, 100), 96);
	check_usage(4, 0);
	kv_free(b);
	b = kv_new(pool);
	CHECK_INT(kv_match(b, other, 100), 32);
	kv_free(b);
	b = kv_new(pool);
	CHECK_INT(kv_match(b, ids + KV_PAGE, 64), 0);	/* the same tokens, but at another place */
	kv_free(b);
	kv_free(a);
	check_usage(0, 3);
	b = kv_new(pool);
	CHECK_INT(kv_match(b, ids, 100), 96);
	check_usage(3, 0);
	kv_free(b);
}

static void
logits_after_a_found_prefix_have_the_bits_of_those_after_a_computed_one(void)
{
	size_t V = m->c.vocab;
	float *want = malloc(V * sizeof *want), *got = malloc(V * sizeof *got);
	int ids[150];
	struct kv *kv;

	fill_ids(ids, 150, V, 2);
	kv = kv_new(pool);
	feed(kv, ids, 150, want);
	kv_free(kv);
	for (int n = 0; n <= 149; n += 37) {
		kv = kv_new(pool);
		CHECK_INT(kv_match(kv, ids, n), n / KV_PAGE * KV_PAGE);
		feed(kv, ids, 150, got);
		CHECK(memcmp(got, want, V * sizeof *got) == 0);
		kv_free(kv);
	}
	free(want);
	free(got);
}

static void
equal_pages_computed_twice_become_one(void)
{
	struct kv *a = kv_new(pool), *b = kv_new(pool);
	int ids[70];

	fill_ids(ids, 70, m->c.vocab, 3);
	feed(a, ids, 40, NULL);
	feed(b, ids, 70, NULL);
	check_usage(4, 0);	/* one full page and three begun ones: b's second is full */
	feed(a, ids, 70, NULL);
	check_usage(4, 0);
	kv_free(a);
	check_usage(3, 0);
	kv_free(b);
	check_usage(0, 2);
}

static void
the_prefix_used_longest_ago_is_forgotten_first_and_never_before_what_follows_it(void)
{
	int a[65], b[33];
	struct kv *kv;

	fill_ids(a, 65, m->c.vocab, 4);
	fill_ids(b, 33, m->c.vocab, 5);
	kv_free(filled(a, 65));
	kv_free(filled(b, 33));
	check_usage(0, 3);
	kv = kv_new(pool);
	CHECK_INT(kv_reserve(kv, 4 * KV_PAGE), 0);	/* one of the three has to go: the end of a */
	check_usage(4, 2);
	kv_free(kv);
	kv = kv_new(pool);
	CHECK_INT(kv_match(kv, a, 64), 32);
	kv_free(kv);		/* now b is the older one */
	kv = kv_new(pool);
	CHECK_INT(kv_reserve(kv, 5 * KV_PAGE), 0);
	check_usage(5, 1);
	kv_free(kv);
	kv = kv_new(pool);
	CHECK_INT(kv_match(kv, b, 32), 0);
	CHECK_INT(kv_match(kv, a, 64), 32);
	kv_free(kv);
}

static void
trimming_leaves_what_is_held(void)
{
	int ids[40];
	struct kv *kv;

	fill_ids(ids, 40, m->c.vocab, 6);
	kv = filled(ids, 40);
	kv_trim(pool, true);
	check_usage(2, 0);
	kv_free(kv);
	kv_trim(pool, false);
	check_usage(0, 1);
	kv_trim(pool, true);
	check_usage(0, 0);
	kv = kv_new(pool);
	CHECK_INT(kv_match(kv, ids, 40), 0);
	kv_free(kv);
}

#define CASE(test) \
	do { \
		setup(); \
		RUN(test); \
		teardown(); \
	} while (0)

int
main(void)
{
	mach = mach_new(2);
	CASE(reserving_takes_all_or_nothing);
	CASE(a_prefix_is_found_page_by_page_as_far_as_it_is_wanted);
	CASE(logits_after_a_found_prefix_have_the_bits_of_those_after_a_computed_one);
	CASE(equal_pages_computed_twice_become_one);
	CASE(the_prefix_used_longest_ago_is_forgotten_first_and_never_before_what_follows_it);
	CASE(trimming_leaves_what_is_held);
	mach_free(mach);
	return t_done();
}
