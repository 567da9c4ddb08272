/* device.c - the arena, transfers, and a few operations as a step of training submits them */
#include "compare.h"
#include "device.h"

static void
a_plan_and_a_run_take_the_same(void)
{
	struct arena plan, run;
	char *memory = host_alloc(4096);
	size_t mark;

	arena_begin(&plan, NULL, 4096);
	arena_begin(&run, memory, 4096);
	for (int i = 0; i < 2; i++) {
		struct arena *a = i ? &run : &plan;
		char *first = arena_take(a, "weights", 1), *second = arena_take(a, "gradients", 257), *third, *fourth;

		CHECK_INT(second - first, 256);
		mark = arena_mark(a);
		third = arena_take(a, "scratch", 512);
		CHECK_INT(third - second, 512);
		CHECK(arena_take(a, "scratch", 256) != NULL);
		arena_release(a, mark);
		fourth = arena_take(a, "logits", 100);
		CHECK(fourth == third);
		CHECK_INT(a->used, 1024);
		CHECK_INT(a->most, 1536);
		CHECK_INT(a->lines[2].most, 768);
		CHECK_INT(a->full, 0);
	}
}

static void
what_does_not_fit_is_told(void)
{
	struct arena plan, run;

	arena_begin(&plan, NULL, 1024);
	arena_begin(&run, host_alloc(1024), 1024);
	CHECK(arena_take(&run, "a", 1000) != NULL);
	CHECK(arena_take(&run, "b", 1) == NULL);
	CHECK_INT(run.full, 1);
	CHECK_INT(run.used, 1024);
	CHECK(arena_take(&plan, "a", 1000) != NULL);
	CHECK(arena_take(&plan, "b", 4000) != NULL);
	CHECK_INT(plan.full, 1);
	CHECK_INT(plan.most, 1024 + 4096);
	CHECK(arena_take(&plan, "c", SIZE_MAX) == NULL);
	CHECK(arena_take(&run, "c", SIZE_MAX - 100) == NULL);
}

/* An embedding, a product, a loss; twice, the second step submitted before the first one's loss is read. */
static void
a_step_is_read_while_the_next_is_under_way(void)
{
	enum { T = 40, C = 16, V = 24 };
	struct device d;
	float *table = noise16(V * C), *x = noise(T * C), *logits = noise(T * V);
	uint16_t *gtable, *gx, *glogits;
	int ids[T], target[T], *gids, *gtarget;
	double want[2], zero = 0;
	float *gloss;
	double *gsum;

	if (!CHECK(!device_open(&d, 0, 64 << 20, &gpu_err)))
		return;
	gtable = arena_take(&d.arena, "table", V * C * 2);
	gx = arena_take(&d.arena, "x", T * C * 2);
	glogits = arena_take(&d.arena, "logits", T * V * 2);
	gids = arena_take(&d.arena, "ids", sizeof ids);
	gtarget = arena_take(&d.arena, "targets", sizeof target);
	gloss = arena_take(&d.arena, "losses", T * sizeof *gloss);
	gsum = arena_take(&d.arena, "loss", sizeof *gsum);
	{
		uint16_t *bits = host_alloc(V * C * 2);

		for (int i = 0; i < V * C; i++)
			bits[i] = to_bf16(table[i]);
		CHECK_OK(device_send(&d, gtable, bits, V * C * 2));
		memset(bits, 0, V * C * 2);	/* it was read */
	}
	for (int step = 0; step < 2; step++) {
		for (int t = 0; t < T; t++) {
			ids[t] = (t * 5 + step) % V;
			target[t] = (t + step) % V;
		}
		CHECK_OK(device_send(&d, gids, ids, sizeof ids));
		CHECK_OK(device_send(&d, gtarget, target, sizeof target));
		CHECK_OK(device_send(&d, gsum, &zero, sizeof zero));
		CHECK_OK(gpu_embed(&d.gpu, gx, gtable, gids, T, C));
		CHECK_OK(gpu_linear(d.products, glogits, V, gx, gtable, NULL, T, C, V));
		CHECK_OK(gpu_cross_entropy(&d.gpu, glogits, gloss, gtarget, NULL, 1, T, V, V));
		CHECK_OK(gpu_sum(&d.gpu, gsum, gloss, NULL, T));
		CHECK_OK(device_fetch(&d, step, gsum, sizeof *gsum));
		ops_plain.embed(NULL, x, table, ids, T, C);
		ops_plain.linear(NULL, logits, x, table, NULL, T, C, V);
		for (int i = 0; i < T * V; i++)
			logits[i] = from_bf16(to_bf16(logits[i]));
		want[step] = ops_plain.cross_entropy(NULL, logits, NULL, target, NULL, 1, T, V);
	}
	for (int step = 0; step < 2; step++)
		CHECK_NUM(*(const double *)device_fetched(&d, step), want[step], 1e-3 * want[step]);
	CHECK_OK(device_wait(&d));
	device_close(&d);
}

/* More sends under way than there are slots, and each larger than the one before. */
static void
sends_wait_for_their_slot(void)
{
	enum { N = 3 * DEVICE_SENDS };
	struct device d;
	unsigned char *to[N], *want = host_alloc(N * 100);

	if (!CHECK(!device_open(&d, 0, 64 << 20, &gpu_err)))
		return;
	for (int i = 0; i < N; i++) {
		memset(want, i + 1, (size_t)i * 100 + 1);
		to[i] = arena_take(&d.arena, "bytes", (size_t)i * 100 + 1);
		CHECK_OK(device_send(&d, to[i], want, (size_t)i * 100 + 1));
	}
	for (int i = 0; i < N; i++) {
		CHECK_OK(device_fetch(&d, 1, to[i], (size_t)i * 100 + 1));
		CHECK_INT(((const unsigned char *)device_fetched(&d, 1))[i * 100], i + 1);
	}
	device_close(&d);
}

static void
what_cannot_be_opened_is_told(void)
{
	struct device d;
	size_t bytes = 0;

	CHECK_INT(device_open(&d, 99, 1 << 20, &gpu_err), -1);
	CHECK_INT(device_open(&d, 0, (size_t)1 << 45, &gpu_err), -1);
	CHECK_STR(gpu_err.msg, "CUDA device 0: its memory: out of memory");
	CHECK_INT(device_open(&d, 0, 1 << 20, &gpu_err), -1);
	CHECK(strstr(gpu_err.msg, "the products alone need") != NULL);
	CHECK_INT(device_free_memory(&bytes, 0, &gpu_err), 0);
	CHECK(bytes > (size_t)1 << 30);
	CHECK_INT(device_free_memory(&bytes, 99, &gpu_err), -1);
}

int
main(void)
{
	device_begin();
	RUN(a_plan_and_a_run_take_the_same);
	RUN(what_does_not_fit_is_told);
	RUN(a_step_is_read_while_the_next_is_under_way);
	RUN(sends_wait_for_their_slot);
	RUN(what_cannot_be_opened_is_told);
	return device_done();
}
