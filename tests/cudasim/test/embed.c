/* embed.c - rows of a table, and their gradients, against ops_plain */
#include "compare.h"

enum { V = 50 };

static int *
some_ids(int T)
{
	int *ids = host_alloc(T * sizeof *ids);

	for (int t = 0; t < T; t++)
		ids[t] = t % 3 == 0 ? 7 : t * 11 % V;	/* one that comes often */
	return ids;
}

static void
forward_gathers(void)
{
	static const int shapes[][2] = { { 1, 8 }, { 80, 264 }, { 301, 16 } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], C = shapes[s][1], *ids = some_ids(T);
		float *table = noise16(V * C), *out = noise(T * C);
		uint16_t *gout = device_copy(NULL, (size_t)T * C * 2);

		CHECK_OK(gpu_embed(&gpu, gout, dev16(table, V * C), device_copy(ids, T * sizeof *ids), T, C));
		ops_plain.embed(NULL, out, table, ids, T, C);
		CHECK(!memcmp(back16(gout, T * C), out, T * C * sizeof *out));
	}
}

/* The rows that are not named stay. */
static void
scatter_is_the_way_back(void)
{
	static const int shapes[][2] = { { 1, 8 }, { 80, 264 }, { 301, 16 } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int n = shapes[s][0], C = shapes[s][1], all = 3 * n + 1, *rows = host_alloc(n * sizeof *rows);
		float *x = noise16((size_t)n * C), *out = noise16((size_t)all * C);
		uint16_t *gout = dev16(out, (size_t)all * C);

		for (int i = 0; i < n; i++) {
			rows[i] = 3 * (n - 1 - i) + 2;
			memcpy(out + (size_t)rows[i] * C, x + (size_t)i * C, C * sizeof *x);
		}
		CHECK_OK(gpu_scatter(&gpu, gout, dev16(x, (size_t)n * C), device_copy(rows, n * sizeof *rows), n, C));
		CHECK(!memcmp(back16(gout, (size_t)all * C), out, (size_t)all * C * sizeof *out));
	}
}

/* In token order, as op.h says: the same bits as the plain sum. */
static void
backward_adds_in_token_order(void)
{
	static const int shapes[][2] = { { 1, 8 }, { 80, 264 }, { 301, 2056 } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], C = shapes[s][1], *ids = some_ids(T), *at = host_alloc(T * sizeof *at), *first = host_alloc((T + 1) * sizeof *first);
		int *id = host_alloc(T * sizeof *id), n = gpu_embed_sort(at, first, id, ids, T);
		float *dout = noise16((size_t)T * C), *dtable = noise(V * C), *gtable = dev32(dtable, V * C);

		CHECK_OK(gpu_embed_back(&gpu, gtable, dev16(dout, (size_t)T * C), device_copy(at, T * sizeof *at), device_copy(first, (n + 1) * sizeof *first),
					device_copy(id, n * sizeof *id), n, C));
		ops_plain.embed_back(NULL, dtable, dout, ids, T, C);
		CHECK(!memcmp(back32(gtable, V * C), dtable, V * C * sizeof *dtable));
	}
}

static void
sorting_keeps_the_order_of_equal_ids(void)
{
	int ids[] = { 5, 2, 5, 0, 2, 5 }, at[6], first[7], id[6];
	static const int want_at[] = { 3, 1, 4, 0, 2, 5 }, want_first[] = { 0, 1, 3, 6 }, want_id[] = { 0, 2, 5 };

	CHECK_INT(gpu_embed_sort(at, first, id, ids, 6), 3);
	CHECK(!memcmp(at, want_at, sizeof want_at));
	CHECK(!memcmp(first, want_first, sizeof want_first));
	CHECK(!memcmp(id, want_id, sizeof want_id));
	CHECK_INT(gpu_embed_sort(at, first, id, ids, 0), 0);
	CHECK_INT(first[0], 0);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_embed(&gpu, NULL, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_embed_back(&gpu, NULL, NULL, NULL, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_scatter(&gpu, NULL, NULL, NULL, 4, 12), -1);
	CHECK_INT(gpu_embed(&gpu, NULL, NULL, NULL, 0, 16), 0);
	CHECK_INT(gpu_scatter(&gpu, NULL, NULL, NULL, 0, 16), 0);
	CHECK_INT(gpu_embed_back(&gpu, NULL, NULL, NULL, NULL, NULL, 0, 16), 0);
}

int
main(void)
{
	device_begin();
	RUN(forward_gathers);
	RUN(scatter_is_the_way_back);
	RUN(backward_adds_in_token_order);
	RUN(sorting_keeps_the_order_of_equal_ids);
	RUN(other_sizes_are_refused);
	return device_done();
}
