/* plan.h - what a run will need, said before it: memory item by item, and the time of a step operation by operation (sa-train --plan)
 *
 * Memory. On the CPU everything is float, whatever products are of; the activations are what acts_new() takes, to the byte. Of a card it is what the GPU's engine
 * takes in one piece, to the byte, by its own code (cuda/place.h), and CUDA_CONTEXT for what CUDA takes by itself, which is a guess. The ladder: everything
 * is kept (75.8 kB a token and layer of Llama-3.2-1B); norms and SwiGLU are made again in the backward; of a block only what came in is kept, and all the
 * rest is made again. The first rung that fits is taken; of a card's memory the first one leaves an eighth (cuda/place.h).
 *
 * Time. An operation takes its operations over the card's dense bf16 rate, or its bytes over the memory's rate, whichever is longer, and they are added up. The
 * datasheets' rates are not reached: of products 0.70 is taken (0.80 is the best shape's, 788 of 989 TFLOP/s on an H200), of copies 0.90 (4.3 of 4.8 TB/s), of
 * attention 0.35 (kernels in the class of FlashAttention 2). MFU counts 6 operations a parameter (embedding that is only looked up left out) and
 * 6 layers * heads * head_dim * T a token, as causal attention needs, whatever is made again.
 * What attention's 0.35 asks of ops/cuda/attend: six products count (two forward, four backward), nine are done (scores twice and dp once more in the backward,
 * which adds nothing up by atomics), so the tensor cores have to reach 0.53. That may be on cards where mma.sync has the datasheet's rate (A100, RTX); of an H100's
 * it has 0.63 (Luo et al. 2024), so rather 0.25 there, and a step of 2,048 tokens of a 1B model takes 4% longer. Computed: no GPU has run it.
 *
 * Several ranks, a card each, on one machine. Each sends and receives 4 bytes a trained parameter for the sum of the gradients and 2 for the weights, but for its
 * own part, at 0.75 of the datasheet's rate of its link. The sums of a few layers go while the backward of the last micro-batch is below them, the weights while
 * the next forward is before them; what is left (the embedding's at least, which is done last) is exposed and counted. Cards on PCIe are taken to have its 16 lanes
 * for themselves and to reach each other; the RTX 4090 cannot, by NVIDIA's choice, and takes longer. Between machines the link is the network's, which is not known.
 *
 * Against what was published: llmq's 1.5B run on one H100 (58,900 tokens/s, 56.7% MFU) comes out within 3%, and 0.70 was chosen with it in view. The runs on
 * eight H100 do not: of llm.c's 1.5B GPT-2 (46%) and torchtitan's 8B (33-39%) a quarter to a half is missing. What cards say to one another explains little of it
 * (llm.c: 24 ms at most of a step of 2.7 s); gaps between kernels, an eager framework's most of all, are not in the arithmetic; torchtitan also makes
 * activations again and counts attention as if it were not causal. */
#ifndef SA_PLAN_H
#define SA_PLAN_H

#include "err.h"
#include "model.h"

struct device {
	bool cuda;
	int index;		/* cuda:1 is the second one of this machine */
	const char *card;	/* of the table in plan.c; NULL: none with this memory */
	double memory;		/* bytes; 0: not said */
	double flops, bytes;	/* a second, by the datasheet, dense bf16; 0: not known */
	double link;		/* bytes a second each way to the other cards of a machine, by the datasheet; 0: not known */
};

/* What device_option.h takes, "cpu:24GiB", or "cuda:h100", a card of the table. 0, or -1 with a message. */
int device_parse(struct device *d, const char *text, struct err *e);

/* What a run on this machine may take, bytes: a part of what is available now is left to the files of others. 0: not known. */
size_t plan_memory(void);

/* What is planned. */
struct planned {
	const struct config *c;
	struct device device;
	int tokens;		/* of a micro-batch */
	int length;		/* of its sequences */
	double accum;		/* micro-batches a step, of a rank */
	int ranks;		/* 0 is 1 */
	size_t all, trained;	/* parameters */
	const bool *which;	/* of the model's tensors are trained; NULL: all */
	int threads;
	int recompute;		/* enum recompute of train.h; 0: the ladder */
};

#define PLAN_ITEMS 24

struct plan {
	struct item {
		const char *what;
		double bytes;
	} memory[PLAN_ITEMS];
	struct op {
		const char *what;
		double flops, bytes, seconds;	/* of a step */
		enum { IN_LAYERS, IN_HEAD, IN_UPDATE } part;
	} op[PLAN_ITEMS];
	struct links {		/* with several ranks on cards: gradients to be summed, weights that were updated */
		double bytes;		/* of a step, each way */
		double seconds, exposed;	/* in all, and those in which nothing else is done; 0: not known */
	} sums, weights;
	int items, ops;
	enum keep keep;
	bool fits;		/* or nothing says how much there is */
	double total;		/* bytes */
	double seconds;		/* a step; 0: not known */
	double tokens_per_s, mfu;
};

/* Fills in sums and weights, and adds what is exposed of them to the seconds. For plan_make(). */
void plan_links(struct plan *p, const struct planned *of);

/* Pure. */
void plan_make(struct plan *p, const struct planned *of);

/* Floating-point operations of forward and backward as they are usually counted, and MFU by them: 6 a parameter and token, those of an embedding that is
 * only looked up left out, and 6 * layers * heads * head_dim a token and token that it attends to on average, which is half of its sequence (twice). */
double plan_flops(const struct config *c, size_t parameters, double tokens, double length);

/* Print it. An exit status: 2 when it does not fit. */
int plan_print(const struct plan *p, const struct planned *of);

struct settings;
/* sa-train --plan. An exit status. */
int plan_run(const struct settings *set);

#endif
