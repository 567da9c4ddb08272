/* place.c - what the ranks of a run have of its trained parameters on their GPUs: all of it together, nothing twice */
#include "cudaload.h"
#include "scratch.h"
#include "t.h"

static const struct config shapes[] = {	/* adapters with rows that are padded, and not */
	{ .hidden = 64, .layers = 5, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 104, .vocab = 301, .tied = true },
	{ .hidden = 64, .layers = 1, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 104, .vocab = 30, .qkv_bias = true },
	{ .hidden = 72, .layers = 20, .heads = 4, .kv_heads = 1, .head_dim = 16, .ffn = 200, .vocab = 301, .qk_norm = true },
	{ .hidden = 64, .layers = 5, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 104, .vocab = 301, .tied = true, .lora = { .r = 5, .alpha = 1, .targets = 0x7f } },
	{ .hidden = 64, .layers = 6, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 104, .vocab = 301, .lora = { .r = 16, .alpha = 1, .targets = 0x25 } },
};

/* For every element: how often it is some rank's, and updated; and the place of each in its own piece is its alone. */
static void
count(const struct gpu_place *p, unsigned char *owned, unsigned char *updated)
{
	unsigned char *places = xcalloc(p->own, 1);
	struct gpu_own part;
	size_t own = 0;

	for (size_t at = 0; gpu_own(p, at, p->trained, &part); at = part.at + part.n) {
		CHECK(part.n > 0 && part.at >= at && part.place + part.n <= p->own);
		own += part.n;
		for (size_t i = 0; i < part.n; i++) {
			owned[part.at + i]++;
			CHECK(places[part.place + i]++ == 0);
		}
	}
	CHECK(own == p->own);
	for (int i = 0; i < p->span_count; i++) {
		const struct gpu_own *s = &p->spans[i].own;

		CHECK(s->at % 4 == 0 && s->n % 4 == 0 && gpu_own(p, s->at, s->at + s->n, &part) && part.at == s->at && part.n == s->n && part.place == s->place);
		for (size_t k = 0; k < s->n; k++)
			updated[s->at + k]++;
	}
	free(places);
}

/* Buckets lie in one row, their gradients in the order of the backward, and all ranks have the same of each. */
static void
check_buckets(const struct gpu_place *p, const struct config *c, int ranks)
{
	size_t n = 0;

	for (int b = 0; b < p->bucket_count; b++) {
		const struct gpu_bucket *is = &p->buckets[b];

		n += is->n;
		CHECK(is->n == (size_t)ranks * is->own.n && is->own.n % 64 == 0 && is->at / (size_t)ranks == is->own.place);
		CHECK(is->layer >= -1 && is->layer <= c->layers && (b == 0 || is->layer <= is[-1].layer));
	}
	CHECK(n == p->trained && p->own * (size_t)ranks == p->trained);
	CHECK(ranks == 1 ? p->bucket_count == 1 : c->layers == 1 || p->bucket_count > 3);
}

/* A tensor's elements are all in buckets that are not done before its layer is. */
static void
check_tensor(const struct gpu_place *p, const struct gpu_tensor *t, size_t at, const struct config *c, const unsigned char *owned, const unsigned char *updated)
{
	int layer = t->slot == EMBED ? -1 : t->layer < 0 ? c->layers : t->layer;

	for (size_t i = 0; i < t->count; i++)
		if (!CHECK(owned[at + i] == 1 && updated[at + i] == t->trained))
			return;
	for (int b = 0; b < p->bucket_count; b++)
		if (at < p->buckets[b].at + p->buckets[b].n && p->buckets[b].at < at + t->count)
			CHECK(p->buckets[b].layer <= layer && at >= p->buckets[b].at && at + t->count <= p->buckets[b].at + p->buckets[b].n);
}

static void
check(const struct config *c, const bool *trained, int ranks)
{
	struct gpu_run run = { .c = c, .tokens = 32, .ranks = ranks };
	struct gpu_tensor *table = gpu_tensors(c, NULL, trained, &run.count);
	unsigned char *owned = NULL, *updated = NULL;
	struct gpu_place p;
	struct arena a;
	size_t plan;

	run.tensors = table;
	plan = gpu_place_plan(&run, NULL);
	for (run.rank = 0; run.rank < ranks; run.rank++) {
		if (run.rank > 0)
			gpu_place_free(&p);
		arena_begin(&a, NULL, SIZE_MAX / 4);
		gpu_place(&p, &a, &run);
		CHECK(gpu_place_plan(&run, NULL) == plan && a.most == plan - GPU_WORKSPACE);
		if (!owned) {
			owned = xcalloc(p.trained, 1);
			updated = xcalloc(p.trained, 1);
		}
		check_buckets(&p, c, ranks);
		count(&p, owned, updated);
	}
	for (int i = 0; i < run.count; i++)
		if (p.in_trained[i])
			check_tensor(&p, &table[i], p.at[i], c, owned, updated);
	gpu_place_free(&p);
	free(owned);
	free(updated);
	free(table);
}

static void
every_element_is_one_rank_s_and_updated_once(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
		for (int ranks = 1; ranks <= 9; ranks += ranks < 4 ? 1 : 2)
			check(&shapes[s], NULL, ranks);
}

/* The caller's: the tensors from `first` on, of every `out` all but one. */
static bool *
all_but(const struct config *c, int first, int out)
{
	bool *trained = NULL;
	struct tensor_at at;

	for (int i = 0; model_tensor(c, i, &at) == 0; i++) {
		trained = xrealloc(trained, (size_t)(i + 1) * sizeof *trained);
		trained[i] = i >= first && i % out != 0;
	}
	return trained;
}

static void
so_it_is_where_only_some_are_trained(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
		for (int out = 2; out < 6; out++) {
			bool *trained = all_but(&shapes[s], 0, out);

			check(&shapes[s], trained, 1);
			check(&shapes[s], trained, 3);
			free(trained);
		}
}

/* What the rest takes is bfloat16 weights, and of adapters alone whatever is trained. */
static void
so_it_is_of_adapters_alone(void)
{
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
		for (int out = 1 << 20; shapes[s].lora.r && out > 0; out = out > 7 ? 7 : 0) {
			bool *trained = all_but(&shapes[s], model_tensors(&shapes[s]), out);

			for (int ranks = 1; ranks < 4; ranks++)
				check(&shapes[s], trained, ranks);
			free(trained);
		}
}

/* Every number of the host's has its place among those of the device, in order, and padding has none. */
static void
rows_are_padded(void)
{
	static const struct gpu_tensor shapes_of[] = { { .count = 40, .row = 5, .pitch = 8 }, { .count = 64, .row = 40, .pitch = 64 }, { .count = 7, .row = 7, .pitch = 7 } };

	for (size_t s = 0; s < sizeof shapes_of / sizeof *shapes_of; s++)
		for (size_t piece = 1; piece < 70; piece++) {
			const struct gpu_tensor *t = &shapes_of[s];
			struct gpu_part part;
			size_t host = 0;

			for (size_t at = 0; at < t->count; at += piece) {
				size_t end = at + piece < t->count ? at + piece : t->count;

				for (size_t from = at; gpu_part(t, from, end, &part); from = part.at + part.n) {
					CHECK(part.n > 0 && part.at >= from && part.at + part.n <= end && part.host == host);
					CHECK(part.at % t->pitch + part.n <= t->row && part.at / t->pitch * t->row + part.at % t->pitch == part.host);
					host += part.n;
				}
			}
			CHECK(host == t->count / t->pitch * t->row);
		}
}

int
main(void)
{
	RUN(every_element_is_one_rank_s_and_updated_once);
	RUN(so_it_is_where_only_some_are_trained);
	RUN(so_it_is_of_adapters_alone);
	RUN(rows_are_padded);
	return t_done();
}
