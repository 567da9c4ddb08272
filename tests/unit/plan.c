/* plan.c - the memory plan of Llama-3.2-1B as it was computed by hand, the ladder, and a published run */
#include "plan.h"

#include "t.h"

#define GIB 1073741824.0

static const struct config llama_1b = { .hidden = 2048, .layers = 16, .heads = 32, .kv_heads = 8, .head_dim = 64, .ffn = 8192, .vocab = 128256, .tied = true };
static const struct config qwen_15b = { .hidden = 1536, .layers = 28, .heads = 12, .kv_heads = 2, .head_dim = 128, .ffn = 8960, .vocab = 151936, .tied = true };

static struct plan
planned(const struct config *c, size_t n, const char *device, int tokens, int length, double accum)
{
	struct planned of = { .c = c, .tokens = tokens, .length = length, .accum = accum, .all = n, .trained = n, .threads = 2 };
	struct plan p;
	struct err e;

	CHECK_INT(device_parse(&of.device, device, &e), 0);
	plan_make(&p, &of);
	return p;
}

static double
item(const struct plan *p, const char *start)
{
	for (int i = 0; i < p->items; i++)
		if (strncmp(p->memory[i].what, start, strlen(start)) == 0)
			return p->memory[i].bytes;
	return NAN;
}

static struct plan
llama(const char *device)
{
	return planned(&llama_1b, 1235814400, device, 2048, 2048, 50);
}

static void
the_1b_run_at_2048_tokens_fits_21_gib(void)
{
	struct plan p = llama("cuda:21GiB");

	CHECK(p.fits && p.keep == KEEP_PRODUCTS && p.total <= 21 * GIB);
	CHECK_NUM(item(&p, "weights that are trained, h") + item(&p, "weights that are trained, l") + item(&p, "gradients, f") + item(&p, "first") + item(&p, "second"), 16.0 * 1235814400, 0);
	/* bytes a token and layer, beside the sums that norms and attention keep (4 (heads + 2)) */
	CHECK_NUM(item(&p, "activations") / 2048 / 16, 51200 + 4 * 34, 0);
	p = llama("cuda:24GiB");
	CHECK(p.fits && p.keep == KEEP_PRODUCTS);	/* all would, without an eighth to spare */
	p = llama("cuda:25GiB");
	CHECK(p.fits && p.keep == KEEP_ALL);
	CHECK_NUM(item(&p, "activations") / 2048 / 16, 75776 + 4 * 34, 0);
	p = llama("cuda:20GiB");
	CHECK(p.fits && p.keep == KEEP_BLOCKS);
	CHECK_NUM(item(&p, "activations") / 2048 / 16, 4096, 0);
	CHECK(!llama("cuda:19GiB").fits);
}

static void
items_add_up_and_times_too(void)
{
	static const char *const devices[] = { "cpu", "cuda:24GiB", "cuda:h200", "cuda:16GB" };

	for (int i = 0; i < 4; i++) {
		struct plan p = llama(devices[i]);
		double bytes = 0, seconds = 0;

		for (int k = 0; k < p.items; k++)
			bytes += p.memory[k].bytes;
		for (int k = 0; k < p.ops; k++)
			seconds += p.op[k].seconds;
		CHECK_NUM(bytes, p.total, 1);
		CHECK_NUM(seconds, p.seconds, 1e-9);
		CHECK((p.seconds > 0) == (i == 2) && p.mfu < 0.8);
	}
}

/* 7.82 GFLOP a token at 2,048 tokens, attention 5.2% and the head 20.2% of it. */
static void
operations_a_token_are_those_of_the_shape(void)
{
	struct plan p = llama("cpu");
	double all = 0, attention = 0, head = 0;

	for (int k = 0; k < p.ops; k++) {
		if (strstr(p.op[k].what, "norm") || strstr(p.op[k].what, "entropy"))
			continue;
		all += p.op[k].flops;
		attention += strcmp(p.op[k].what, "attention") == 0 ? p.op[k].flops : 0;
		head += strcmp(p.op[k].what, "head") == 0 ? p.op[k].flops : 0;
	}
	CHECK_NUM(all / (50 * 2048), 7.82e9, 0.01e9);
	CHECK_NUM(attention / all, 0.052, 0.001);
	CHECK_NUM(head / all, 0.202, 0.001);
}

/* llmq, a 1.5B model on an H100: 58,900 tokens/s, 56.7% MFU. */
static void
a_published_run_on_one_card_comes_out_within_15_percent(void)
{
	struct plan p = planned(&qwen_15b, 1543714304, "cuda:h100", 16384, 2048, 8);

	CHECK_NUM(p.tokens_per_s, 58900, 0.15 * 58900);
	CHECK_NUM(p.mfu, 0.567, 0.15 * 0.567);
}

static void
devices_that_are_none_are_refused(void)
{
	static const char *const bad[] = { "", "gpu", "cuda:", "cuda:240", "cudax", "cuda:-1", "cuda:24TB", "cuda:-1GiB", "cuda:0GiB", "cuda:24GiBx", "cuda:h300", "cuda:nanGiB" };
	struct device d;
	struct err e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(device_parse(&d, bad[i], &e) < 0))
			printf("#   \"%s\"\n", bad[i]);
	CHECK(device_parse(&d, "cuda:80GB", &e) == 0 && d.memory == 80e9 && d.cuda);
	CHECK(device_parse(&d, "cuda", &e) == 0 && d.cuda && d.index == 0 && d.memory == 0);
	CHECK(device_parse(&d, "cuda:12", &e) == 0 && d.cuda && d.index == 12);
	CHECK(device_parse(&d, "cpu", &e) == 0 && !d.cuda);
}

/* Of 16 bytes a parameter 10 are divided; what goes between cards is 6 but for the own part, and the lowest layer and the tied embedding, which are done
 * last, cannot be hidden. */
static void
several_cards_divide_and_hide(void)
{
	double n = 1235814400, last = (128256.0 + 2 * (2048 + 512) + 3 * 8192) * 2048;

	for (int ranks = 2; ranks <= 16; ranks *= 2) {
		struct planned of = { .c = &llama_1b, .tokens = 2048, .length = 2048, .accum = 4, .all = (size_t)n, .trained = (size_t)n, .threads = 1, .ranks = ranks };
		double others = (ranks - 1.0) / ranks, link;
		struct plan p;
		struct err e;

		CHECK_INT(device_parse(&of.device, "cuda:h100", &e), 0);
		plan_make(&p, &of);
		link = of.device.link * 0.75;
		CHECK_NUM(item(&p, "weights that are trained, high"), 2 * n, 1e4);
		CHECK_NUM(item(&p, "weights that are trained, low"), 2 * n / ranks, 1e4);
		CHECK_NUM(item(&p, "first moments"), 4 * n / ranks, 1e4);
		CHECK_NUM(item(&p, "gradients, float"), 4 * n, 1e4);
		CHECK_NUM(p.sums.bytes, 4 * n * others, 1e5);
		CHECK_NUM(p.weights.bytes, 2 * n * others, 1e5);
		CHECK_NUM(p.sums.seconds, p.sums.bytes / link, 1e-6);
		CHECK_NUM(p.sums.exposed, 4 * last * others / link, 1e-5);
		CHECK(p.weights.exposed >= 2 * 128256.0 * 2048 * others / link && p.weights.exposed < p.weights.seconds / 2);
		of.device.link /= 1000;	/* nothing is hidden where it takes so long */
		plan_make(&p, &of);
		CHECK(p.sums.exposed > 0.99 * p.sums.seconds && p.sums.exposed <= p.sums.seconds && p.weights.exposed > 0.99 * p.weights.seconds);
	}
}

int
main(void)
{
	RUN(the_1b_run_at_2048_tokens_fits_21_gib);
	RUN(items_add_up_and_times_too);
	RUN(operations_a_token_are_those_of_the_shape);
	RUN(a_published_run_on_one_card_comes_out_within_15_percent);
	RUN(devices_that_are_none_are_refused);
	RUN(several_cards_divide_and_hide);
	return t_done();
}
