/* model.c - one checkpoint's forward pass without a server: the fixed perplexity, and the speed of a prompt and of decoding
 *
 *     bench-model DIR [auto|bf16|f32|int8] [THREADS]
 *
 * The tokens are Python's random.Random(0).randrange(300, V - 300), as in infer.py. Prints the mean negative log-likelihood of 512 of them, tokens a
 * second of those (all logits), of decoding with 1 and 8 sequences in flight, and the bytes of weights that decoding reads a second; best of some. The last
 * out of the mapped files, and then out of huge pages (huge.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "err.h"
#include "huge.h"
#include "kv.h"
#include "model.h"
#include "mt19937.h"
#include "num.h"

#define PROMPT 512
#define STEPS 16
#define REPEATS 3

static struct model *model;
static struct kv_pool *pool;
static int ids[PROMPT];

static void
forward(struct chunk *c, int n)
{
	struct err e;

	if (model_forward(model, c, n, &e) < 0)
		die(STATUS_IO, "%s", e.msg);
}

/* Seconds of the forward pass; *nll of the 511 predictions. */
static double
perplexity(double *nll)
{
	int V = model->c.vocab;
	float *logits = xreallocarray(NULL, PROMPT, V * sizeof *logits);
	struct kv *kv = kv_new(pool);
	double from = clock_seconds(), took;

	forward(&(struct chunk){ .kv = kv, .ids = ids, .n = PROMPT, .logits = logits }, 1);
	took = clock_seconds() - from;
	*nll = model->ops->cross_entropy(model->mach, logits, NULL, ids + 1, NULL, 1, PROMPT - 1, V) / (PROMPT - 1);
	kv_free(kv);
	kv_trim(pool, true);
	free(logits);
	return took;
}

/* Seconds a step of n sequences, after 32 tokens each. */
static double
decoding(int n)
{
	int V = model->c.vocab, i, s;
	float *logits = xreallocarray(NULL, n, V * sizeof *logits);
	struct chunk c[64];
	double least = 1e9, from;

	for (i = 0; i < n; i++) {
		c[i] = (struct chunk){ .kv = kv_new(pool), .ids = ids + i, .n = 32, .first_logits = 31, .logits = logits + (size_t)i * V };
		forward(&c[i], 1);
		c[i].n = 1;
		c[i].first_logits = 0;
	}
	for (s = 0; s < STEPS; s++) {
		from = clock_seconds();
		forward(c, n);
		least = fmin(least, clock_seconds() - from);
	}
	for (i = 0; i < n; i++)
		kv_free(c[i].kv);
	free(logits);
	return least;
}

static double
weight_bytes(void)
{
	struct tensor_at t;
	double sum = 0;
	int i;

	for (i = 0; model_tensor(&model->c, i, &t) == 0; i++)
		if (t.ndim == 2 && (i > 0 || model->c.tied))
			sum += (double)t.count * dtype_size(model->v.head.dtype);
	return sum;
}

static void
report_decoding(const char *from)
{
	double one = decoding(1), eight = decoding(8);

	printf("decoding%s: %.2f tok/s, %.1f GB/s; 8 at once: %.2f tok/s\n", from, 1 / one, weight_bytes() / one / 1e9, 8 / eight);
}

static void
move(void)
{
	struct huge h = { .file = model->file, .mach = model->mach };
	double from = clock_seconds(), longest = 0, step;
	bool more;

	do {
		step = clock_seconds();
		more = huge_step(&h, 8 * HUGE_PAGE);
		longest = fmax(longest, clock_seconds() - step);
	} while (more);
	printf("%zu MiB copied to huge pages in %.2f s, at most %.1f ms a step\n", h.copied >> 20, clock_seconds() - from, longest * 1e3);
}

static void
report(double load)
{
	double least = 1e9, nll = 0, flops = 0;
	struct tensor_at t;
	struct rusage r;
	int i;

	for (i = 0; model_tensor(&model->c, i, &t) == 0; i++)
		flops += t.ndim == 2 && (i > 0 || model->c.tied) ? 2.0 * t.count * PROMPT : 0;
	for (i = 0; i < REPEATS; i++)
		least = fmin(least, perplexity(&nll));
	printf("loaded in %.3f s; nll %.4f; prompt of %d: %.1f tok/s, %.0f GFLOP/s in its products\n", load, nll, PROMPT, PROMPT / least, flops / least / 1e9);
	report_decoding("");
	if (model->v.converted_bytes == 0 && huge_possible()) {
		move();
		report_decoding(" from huge pages");
	}
	getrusage(RUSAGE_SELF, &r);
	printf("peak resident %ld MiB\n", r.ru_maxrss >> 10);
}

int
main(int argc, char **argv)
{
	static const char *const names[] = { "auto", "bf16", "f32", "int8" };
	long long threads = 0;
	enum weights_as as = WEIGHTS_AUTO;
	struct mt19937 rng;
	struct mach *mach;
	struct err e;
	double from;
	int i;

	prog_init(argv[0]);
	for (i = 0; argc > 2 && i < 4; i++)
		if (strcmp(argv[2], names[i]) == 0)
			as = i;
	if (argc < 2 || (argc > 3 && num_int(argv[3], 1, 256, &threads, &e) < 0))
		die(STATUS_USAGE, "usage: bench-model DIR [auto|bf16|f32|int8] [THREADS]");
	mach = mach_new(threads);
	from = clock_seconds();
	model = model_open(argv[1], as, mach, &e);
	if (!model)
		die(STATUS_USAGE, "%s", e.msg);
	from = clock_seconds() - from;
	pool = kv_pool_new(&model->c, model->ops, (size_t)1 << 30);
	mt19937_seed(&rng, 0);
	for (i = 0; i < PROMPT; i++)
		ids[i] = 300 + mt19937_below(&rng, model->c.vocab - 600);
	report(from);
	kv_pool_free(pool);
	model_free(model);
	mach_free(mach);
	return 0;
}
