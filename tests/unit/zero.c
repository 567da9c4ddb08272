/* zero.c - the parameters divided among ranks: each is somebody's, and nobody else's */
#include "zero.h"

#include "t.h"

static const size_t sizes[] = { 1, 15, 16, 17, 100, 4096, 28832, 28833, 40u << 20 };

static void
the_buckets_are_all_of_it(void)
{
	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
		for (int ranks = 1; ranks <= 5; ranks++) {
			struct comm comm = { .size = ranks };
			size_t next = 0, at, n, b;
			struct zero z;

			zero_init(&z, &comm, sizes[k]);
			for (b = 0; zero_bucket(&z, b, &at, &n); b++) {
				CHECK(at == next && n > 0 && n <= (ranks > 1 ? ZERO_BUCKET : sizes[k]));
				next = at + n;
			}
			CHECK_INT(next, sizes[k]);
			CHECK(ranks > 1 || b == 1);
		}
}

/* What a rank owns of from..end, into count; its own places follow one another. */
static void
mark(const struct zero *z, size_t from, size_t end, unsigned char *count, size_t *place)
{
	struct own part;

	for (; zero_own(z, from, end, &part); from = part.at + part.n) {
		CHECK(part.at >= from && part.n > 0 && part.at + part.n <= end);
		CHECK_INT(part.place, *place);
		*place += part.n;
		for (size_t i = part.at; i < part.at + part.n; i++)
			count[i]++;
	}
}

/* Asked tensor by tensor, as the optimizer does. */
static void
each_float_is_one_rank_s_however_it_is_asked_for(void)
{
	for (size_t k = 0; sizes[k] < 1u << 20; k++)
		for (int ranks = 1; ranks <= 5; ranks++) {
			unsigned char *count = xcalloc(sizes[k], 1);
			size_t all = 0;

			for (int rank = 0; rank < ranks; rank++) {
				struct comm comm = { .rank = rank, .size = ranks };
				size_t place = 0;
				struct zero z;

				zero_init(&z, &comm, sizes[k]);
				for (size_t at = 0, n; at < sizes[k]; at += n) {
					n = at % 7 * 131 + 1;
					n = n < sizes[k] - at ? n : sizes[k] - at;
					mark(&z, at, at + n, count, &place);
				}
				CHECK_INT(place, z.own);
				all += place;
			}
			CHECK_INT(all, sizes[k]);
			for (size_t i = 0; i < sizes[k]; i++)
				if (!CHECK_INT(count[i], 1))
					break;
			free(count);
		}
}

static void
ranks_have_about_as_much_as_one_another(void)
{
	for (int ranks = 2; ranks <= 5; ranks++)
		for (int rank = 0; rank < ranks; rank++) {
			struct comm comm = { .rank = rank, .size = ranks };
			size_t n = 40u << 20;
			struct zero z;

			zero_init(&z, &comm, n);
			CHECK(z.own <= n / (size_t)ranks + 16 * 10 && z.own + 16 * 10 * (size_t)ranks >= n / (size_t)ranks);
		}
}

int
main(void)
{
	RUN(the_buckets_are_all_of_it);
	RUN(each_float_is_one_rank_s_however_it_is_asked_for);
	RUN(ranks_have_about_as_much_as_one_another);
	return t_done();
}
