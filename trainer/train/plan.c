/* plan.c - memory and time of a run, computed */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudaload.h"
#include "device_option.h"
#include "files.h"
#include "freeze.h"
#include "lora.h"
#include "memory.h"
#include "plan.h"
#include "project.h"
#include "zero.h"

#define GIB 1073741824.0
#define PRODUCTS 0.70
#define COPIES 0.90
#define ATTENTION 0.35
#define PROGRAM 5e6		/* code and libraries; measured */
#define TOKEN 400.0		/* of a tokenizer, each: 51 of the 66 MB that one of 128,256 takes at most; measured */
#define THREAD 0.76e6		/* scratch of the products, see gemm.c */
#define QUERIES 48.0		/* a block of attention's, see attend.h */

static const struct card {
	const char *name, *title;
	double gib, flops, bytes, link;
} cards[] = {	/* NVIDIA's datasheets: dense bf16 with float sums; PCIe 4.0 x16, or NVLink's half of both ways */
	{ "3090", "RTX 3090", 24, 71e12, 0.936e12, 31.5e9 }, { "4090", "RTX 4090", 24, 165.2e12, 1.008e12, 31.5e9 },
	{ "a100", "A100 SXM 80 GB", 80, 312e12, 2.039e12, 300e9 }, { "h100", "H100 SXM", 80, 989.4e12, 3.35e12, 450e9 },
	{ "h200", "H200 SXM", 141, 989.4e12, 4.8e12, 450e9 },
};

#define CARDS (sizeof cards / sizeof *cards)

int
device_parse(struct device *d, const char *text, struct err *e)
{
	struct device_option o = { 0 };

	*d = (struct device){ 0 };
	for (size_t i = 0; i < CARDS; i++)
		if (strncmp(text, "cuda:", 5) == 0 && strcmp(text + 5, cards[i].name) == 0) {
			*d = (struct device){ .cuda = true, .card = cards[i].title, .memory = cards[i].gib * GIB, .flops = cards[i].flops, .bytes = cards[i].bytes,
					      .link = cards[i].link };
			return 0;
		}
	if (strncmp(text, "cpu:", 4) == 0 && device_option_size(text + 4) > 0)
		d->memory = device_option_size(text + 4);
	else if (device_option_parse(&o, text, e) < 0)
		return err_set(e, "--device %s: cpu, cpu:SIZE as cpu:24GiB, cuda, cuda:N, cuda:SIZE, cuda:N:SIZE, or one of cuda:3090, cuda:4090, cuda:a100, "
			       "cuda:h100 and cuda:h200", text);
	else
		*d = (struct device){ .cuda = o.cuda, .index = o.index, .memory = o.memory };
	return 0;
}

size_t
plan_memory(void)
{
	return memory_available() / 16 * 15;
}

/* ---- memory ---- */

static void
need(struct plan *p, const char *what, double bytes)
{
	p->memory[p->items++] = (struct item){ what, bytes };
	p->total += bytes;
}

/* Numbers a token: what comes into a layer; queries, keys, values and attention; what norms and SwiGLU make; gate and up, and the state between. */
struct per_token {
	double in, attention, remade, products, lse;
};

static struct per_token
per_token(const struct config *c)
{
	double q = (double)c->heads * c->head_dim, kv = (double)c->kv_heads * c->head_dim;

	return (struct per_token){ .in = c->hidden, .attention = (c->qk_norm ? 2 : 1) * (q + kv) + kv + q, .remade = 2.0 * c->hidden + c->ffn,
				   .products = c->hidden + 2.0 * c->ffn, .lse = c->heads + 2 };
}

/* First or second, which ranks divide among them. */
static double
moments(const struct planned *of)
{
	return 4.0 * of->trained / (of->ranks > 1 ? of->ranks : 1);
}

static void
memory_of_card(struct plan *p, const struct planned *of)
{
	struct gpu_run run = { .c = of->c, .tokens = of->tokens, .keep = p->keep, .ranks = of->ranks };
	struct gpu_tensor *table = gpu_tensors(of->c, NULL, of->which, &run.count);
	struct arena a;

	run.tensors = table;
	gpu_place_plan(&run, &a);
	for (int i = 0; i < a.line_count; i++)
		if (a.lines[i].now > 0)
			need(p, a.lines[i].what, (double)a.lines[i].now);
	if (a.most > a.used)
		need(p, "a layer's gradients, in turn with those", (double)(a.most - a.used));
	need(p, "CUDA context", CUDA_CONTEXT);
	if (of->ranks > 1)
		need(p, "NCCL's buffers, reckoned", CUDA_NCCL);
	free(table);
}

static void
memory_of_cpu(struct plan *p, const struct planned *of)
{
	double length = of->length, D = of->c->head_dim;

	need(p, "weights", 4.0 * of->all);
	need(p, "gradients", 4.0 * of->trained);
	need(p, "first moments", moments(of));
	need(p, "second moments", moments(of));
	need(p, "activations, their gradients, logits", (double)acts_size(of->c, of->tokens, p->keep));
	need(p, "scratch of the threads", of->threads * fmax(THREAD, 4 * (3 * length * D + 2 * QUERIES * (length + D))));
	if (of->ranks > 1)
		need(p, "gradients from the other ranks", 4.0 * ZERO_BUCKET);
	need(p, "program and tokenizer", PROGRAM + TOKEN * of->c->vocab);
}

/* ---- time ---- */

static void
work(struct plan *p, const struct planned *of, int where, const char *what, double flops, double bytes, double part)
{
	const struct device *d = &of->device;
	double seconds = d->flops > 0 ? flops / (d->flops * part) : 0;

	if (d->bytes > 0)
		seconds = fmax(seconds, bytes / (d->bytes * COPIES));
	p->op[p->ops++] = (struct op){ what, flops, bytes, seconds, where };
	p->seconds += seconds;
}

/* Forward and backward of a product with w weights over `rows` rows: of a frozen weight no gradient is made. */
static double
product(const struct planned *of, double w, double rows)
{
	return rows * w * (4 + 2.0 * (double)of->trained / (double)of->all);
}

/* Adapters: forward x A^T and B; backward the two gradients of each, and on a card x A^T again. */
static void
work_of_adapters(struct plan *p, const struct planned *of, double rows, double size, double again)
{
	double ins = 0, outs = 0, r = of->c->lora.r;
	int out, in;

	for (enum projection j = 0; j < PROJECTIONS; j++) {
		projection_shape(of->c, j, &out, &in);
		ins += of->c->lora.targets >> j & 1 ? in : 0;
		outs += of->c->lora.targets >> j & 1 ? out : 0;
	}
	work(p, of, IN_LAYERS, "products of adapters", rows * of->c->layers * r * (6 * (ins + outs) + (of->device.cuda ? 2 * ins : 0) + again * 2 * (ins + outs)),
	     size * rows * of->c->layers * (5 * ins + 4 * outs + again * (ins + 2 * outs)), PRODUCTS);
}

static void
time_of(struct plan *p, const struct planned *of)
{
	const struct config *c = of->c;
	struct per_token n = per_token(c);
	double rows = of->tokens * of->accum, L = c->layers, V = c->vocab, size = of->device.cuda ? 2 : 4, again = p->keep == KEEP_BLOCKS ? 1 : 0;
	double moved = 4 * n.remade + 6 * n.in + 2 * n.attention + 2 * n.products;
	double own = (double)of->trained / (of->ranks > 1 ? of->ranks : 1), qkvo = 0, mlp = 0, attend = 2.0 * L * c->heads * c->head_dim * of->length * rows;
	int out, in;

	if (p->keep != KEEP_ALL)	/* norms read what came in and after attention; on a card SwiGLU is made in passing by its backward */
		moved += n.remade + 2 * n.in + (p->keep == KEEP_BLOCKS || !of->device.cuda ? n.products : 0) + again * n.attention;
	for (enum projection j = 0; j < PROJECTIONS; j++) {
		projection_shape(c, j, &out, &in);
		*(j <= PROJ_O ? &qkvo : &mlp) += L * out * in;
	}
	work(p, of, IN_LAYERS, "products of attention", product(of, qkvo, rows) + again * 2 * rows * qkvo, of->accum * 3 * size * qkvo + 3 * size * rows * L * n.attention, PRODUCTS);
	work(p, of, IN_LAYERS, "products of the MLP", product(of, mlp, rows) + again * 2 * rows * mlp, of->accum * 3 * size * mlp + 3 * size * rows * L * n.products, PRODUCTS);
	if (c->lora.r)
		work_of_adapters(p, of, rows, size, again);
	work(p, of, IN_LAYERS, "attention", attend * (3 + again), 4 * size * rows * L * n.attention, ATTENTION);
	work(p, of, IN_LAYERS, "norms, rotation, SwiGLU, sums", 10 * rows * L * n.remade, size * rows * L * moved, 1);
	work(p, of, IN_HEAD, "head", product(of, V * c->hidden, rows), of->accum * 3 * size * V * c->hidden, PRODUCTS);
	work(p, of, IN_HEAD, "cross entropy", 10 * rows * V, 2 * size * rows * V, 1);
	work(p, of, IN_UPDATE, "gradients to zero, their norm, AdamW", 14.0 * own, 4.0 * of->trained + 32 * own, 1);
}

double
plan_flops(const struct config *c, size_t parameters, double tokens, double length)
{
	double w = (double)parameters - (c->tied ? 0 : (double)c->vocab * c->hidden);

	return 6 * w * tokens + 6.0 * c->layers * c->heads * c->head_dim * tokens * length;
}

void
plan_make(struct plan *p, const struct planned *of)
{
	enum keep first = of->recompute ? (enum keep)of->recompute - 1 : KEEP_ALL, last = of->recompute ? first : KEEPS - 1;
	double most = of->device.memory;
	bool roomy;

	for (enum keep k = first;; k++) {
		*p = (struct plan){ .keep = k };
		if (of->device.cuda)
			memory_of_card(p, of);
		else
			memory_of_cpu(p, of);
		p->fits = most == 0 || p->total <= most;
		roomy = most == 0 || !of->device.cuda || gpu_place_fits(k, first == last, (size_t)(p->total - CUDA_CONTEXT), (size_t)fmax(most - CUDA_CONTEXT, 0));
		if ((p->fits && roomy) || k == last)
			break;
	}
	time_of(p, of);
	if (of->device.flops == 0)
		p->seconds = 0;
	if (of->device.cuda && of->ranks > 1)
		plan_links(p, of);
	if (p->seconds == 0)
		return;
	p->tokens_per_s = of->tokens * of->accum / p->seconds;
	p->mfu = plan_flops(of->c, of->all, of->tokens * of->accum, of->length) / p->seconds / of->device.flops;
}

/* ---- in words ---- */

/* The most tokens a micro-batch for which there is room, or 0. */
static int
longest(const struct planned *of)
{
	struct planned less = *of;
	struct plan p;
	int lo = 0, hi = of->tokens;

	while (lo + 1 < hi) {
		less.tokens = lo + (hi - lo) / 2;
		plan_make(&p, &less);
		*(p.fits ? &lo : &hi) = less.tokens;
	}
	return lo;
}

/* Of twice as many cards, four times and so on, the first number that moments can be divided among so that it fits; 0: not even many. */
static int
enough_cards(const struct planned *of)
{
	struct planned more = *of;
	struct plan p;

	for (more.ranks = 2 * (of->ranks > 1 ? of->ranks : 1); of->device.cuda && more.ranks <= 64; more.ranks *= 2) {
		plan_make(&p, &more);
		if (p.fits)
			return more.ranks;
	}
	return 0;
}

static void
print_memory(const struct plan *p, const struct planned *of)
{
	static const char *const kept[] = {
		"all activations are kept", "norms and SwiGLU are made again in the backward", "only a block's input is kept, all else made again",
	};

	for (int i = 0; i < p->items; i++)
		printf("%-38s %9.3f GiB\n", p->memory[i].what, p->memory[i].bytes / GIB);
	printf("%-38s %9.3f GiB%s", "together", p->total / GIB, of->device.memory ? "" : "\n");
	if (of->device.memory)
		printf(" of %.1f: %s\n", of->device.memory / GIB, p->fits ? kept[p->keep] : "does not fit");
}

static void
print_link(const char *what, const char *during, const struct links *l)
{
	printf("%-38s %9s %9.2f %9.2f   and %.2f during the %s\n", what, "", l->bytes / 1e9, l->exposed * 1e3, (l->seconds - l->exposed) * 1e3, during);
}

static void
print_links(const struct plan *p, const struct planned *of)
{
	if (p->sums.seconds > 0) {
		print_link("gradients to and from the others", "backward", &p->sums);
		print_link("weights to and from the others", "next forward", &p->weights);
	} else {
		printf("%.2f GB of gradients and %.2f GB of weights go each way between %d cards; the time that takes is not counted\n", p->sums.bytes / 1e9,
		       p->weights.bytes / 1e9, of->ranks);
	}
}

static void
print_time(const struct plan *p, const struct planned *of)
{
	printf("\n%-38s %9s %9s %9s\n", "a step", "TFLOP", "GB", of->device.flops ? "ms" : "");
	for (int i = 0; i < p->ops; i++) {
		printf("%-38s %9.3f %9.2f", p->op[i].what, p->op[i].flops / 1e12, p->op[i].bytes / 1e9);
		if (of->device.flops)
			printf(" %9.2f", p->op[i].seconds * 1e3);
		putchar('\n');
	}
	if (p->sums.bytes > 0)
		print_links(p, of);
	if (of->device.flops)
		printf("expected: %.0f tokens/s%s, %.1f%% MFU of %.1f TFLOP/s%s%s; computed, not measured\n", p->tokens_per_s, of->ranks > 1 ? " a rank" : "", 100 * p->mfu, of->device.flops / 1e12,
		       of->device.card ? ", the datasheet of the " : "", of->device.card ? of->device.card : "");
	else
		printf("the time is not known without --peak\n");
}

int
plan_print(const struct plan *p, const struct planned *of)
{
	int most, enough;

	printf("%zu parameters, %zu of them trained; %d tokens a micro-batch in sequences of %d, %g micro-batches a step\n", of->all, of->trained, of->tokens,
	       of->length, of->accum);
	if (of->ranks > 1)
		printf("of each of %d ranks, which divide the micro-batches and the moments%s\n", of->ranks,
		       of->device.cuda ? "" : "; the time of what they send to one another is not counted");
	print_memory(p, of);
	if (!p->fits) {
		most = longest(of);
		if (most > 0)
			printf("%d tokens a micro-batch would fit: lower --batch or --cutoff\n", most);
		else
			printf("weights, gradients and moments alone are too large: train a part (--freeze), or adapters (--lora)\n");
		enough = enough_cards(of);
		if (enough > 0)
			printf("it would fit on %d such cards (--ranks %d)\n", enough, enough);
		return STATUS_USAGE;
	}
	print_time(p, of);
	return STATUS_OK;
}

/* ---- of a command line ---- */

static int
describe(struct planned *of, struct config *c, const struct settings *set, bool **which, struct err *e)
{
	long long length;

	if (set->init ? config_read_file(c, set->init, e) < 0 : config_read(c, set->model, e) < 0)
		return -1;
	if (set->lora && lora_parse(&c->lora, set->lora, e) < 0)
		return -1;
	if (freeze_count(c, &set->freeze, &of->all, &of->trained, which, e) < 0 || device_parse(&of->device, set->device ? set->device : "cpu", e) < 0)
		return -1;
	of->which = *which;
	length = set->cutoff < c->max_pos ? set->cutoff : c->max_pos;
	if (length * set->batch > INT32_MAX / 4)
		return err_set(e, "a micro-batch of %lld tokens is too large: lower --batch", length * set->batch);
	of->c = c;
	of->length = (int)length;
	of->tokens = (int)(length * set->batch * (set->stage == STAGE_DPO ? 2 : 1));
	of->ranks = (int)set->ranks;
	of->accum = (double)set->accum / (of->ranks > 1 ? of->ranks : 1);
	of->recompute = set->recompute;
	if (!of->device.cuda && of->device.memory == 0)
		of->device.memory = (double)plan_memory();
	if (set->peak > 0)
		of->device.flops = set->peak * 1e12;
	return 0;
}

int
plan_run(const struct settings *set)
{
	struct mach *mach = mach_new((int)set->threads);
	struct planned of = { .threads = mach_threads(mach) };
	bool *which = NULL;
	struct config c;
	struct plan p;
	struct err e;
	int status;

	mach_free(mach);
	if (describe(&of, &c, set, &which, &e) < 0) {
		warn("%s", e.msg);
		status = STATUS_USAGE;
	} else {
		plan_make(&p, &of);
		status = plan_print(&p, &of);
	}
	free(which);
	return status;
}
