/* place.h - where everything of a training run lies in a GPU's memory: planned and taken by the same code (arena.h); needs no CUDA
 *
 * The trained parameters are one array in five parts, at the same offsets in each: the bf16 weights that products read, the 16 bits that make them exact
 * float32 (kernels.h, struct gpu_adamw), gradients, and both moments in float: 16 bytes a parameter. What is not trained has its bf16 weights only.
 * With several ranks (ZeRO stage 1) the array is cut into buckets, of which each rank has an equal piece in the order of the ranks: the bf16 weights and the
 * gradients are there whole, the low halves and the moments only of the rank's own pieces, one behind the other: 6 bytes a parameter and 10 a rank.
 * Projections of the same input lie behind one another (q, k, v; gate, up), so that they are one product: where only some of them are trained, all are in
 * the array, and the optimizer goes past those that are not. Adapters (lora.h) have R ranks, r rounded up to a multiple of 8, as rows of products must have:
 * what is beyond r is zero, its gradients are, and so it stays. Groups begin at multiples of 64 elements; what lies between is zero and stays so.
 *
 * Activations are bf16 and of all layers, or of one at a time where they are made again (enum keep of model.h):
 * KEEP_PRODUCTS     normed inputs, normed queries and keys, SwiGLU's output
 * KEEP_BLOCKS       all but a layer's input */
#ifndef SA_PLACE_H
#define SA_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "layout.h"

/* A tensor of the model; the table of them is in the order of model_tensor(), whatever is trained. */
struct gpu_tensor {
	char name[96];
	enum slot slot;
	int layer;		/* -1: of none */
	bool matrix, trained;
	size_t count;		/* of elements on the device */
	size_t row, pitch;	/* rows of so many elements on the host lie so far apart on the device: of an adapter's B, and of A as one row, which are padded */
	float *host;		/* its weights there */
	size_t moments;		/* where its moments begin in optim.m and v */
};

/* What is placed. */
struct gpu_run {
	const struct config *c;
	const struct gpu_tensor *tensors;
	int count;
	int tokens;		/* of a micro-batch, at most */
	enum keep keep;
	int rank, ranks;	/* which of how many; 0 of 0 is alone, as 0 of 1 */
};

struct gpu_adapter {
	uint16_t *a, *b;	/* [R,in] [out,R], or NULL */
	float *da, *db;		/* NULL: not trained */
};

struct gpu_layer {
	uint16_t *w[PER_LAYER];	/* NULL: the family has none */
	float *dw[PER_LAYER];	/* NULL: not trained */
	struct gpu_adapter lora[PROJECTIONS];
};

/* What a layer makes, for T tokens; S = (H + 2 G) D. */
struct gpu_acts {
	uint16_t *x, *h1, *qkv, *qk;		/* [T,C] [T,C] [T,S] [T,S]: of qk, queries and keys as attention reads them; qkv itself where they have no norms */
	uint16_t *att, *x2, *h2;		/* [T,H,D] [T,C] [T,C] */
	uint16_t *gate_up, *act;		/* [T,2F] [T,F] */
	float *rstd1, *qrstd, *krstd, *lse, *rstd2;	/* [T] [T,H] [T,G] [H,T] [T] */
};

/* A part of the trained array that is this rank's; where its first element is among the rank's own. */
struct gpu_own {
	size_t at, n, place;
};

/* One that one update covers. */
struct gpu_span {
	struct gpu_own own;
	bool decays;
};

/* A part of the trained array that the ranks sum, and spread, at a time. One rank has one bucket. */
struct gpu_bucket {
	size_t at, n;
	struct gpu_own own;
	int layer;		/* the backward is past its gradients when it is past this layer; `layers`: the head; -1: not before it is through */
};

struct gpu_place {
	size_t trained, frozen;			/* elements of the two arrays */
	size_t own;				/* of the trained, this rank's */
	uint16_t *weights, *low, *fixed;	/* [trained] [own] [frozen] */
	float *grad, *m, *v;			/* [trained] [own] [own] */
	size_t *at;				/* [count]: where a tensor begins in its array */
	bool *in_trained;			/* [count]: in which */
	struct gpu_bucket *buckets;		/* in the order in which the backward is done with them; the forward needs the last one first */
	struct gpu_span *spans;			/* of the last bucket first, within one by place */
	int bucket_count, span_count;

	struct gpu_layer *layer;		/* [layers] */
	uint16_t *embed, *norm, *head;
	float *dembed, *dnorm, *dhead;		/* NULL: not trained; tied: dhead is dembed */

	struct gpu_acts *acts;			/* [layers] */
	/* What layers share lies where the head's rows are, and the weights on their way where both do: they are used in turn. */
	uint16_t *branch;			/* [T,C] what a layer adds to the residual; at last, the sum itself */
	uint16_t *dx, *dh, *dwide;		/* [T,C] [T,C] [T,max(F, S + H D)] */
	int lora_rank;				/* R; 0: no adapters */
	uint16_t *ax, *dax;			/* [T,R] [3,T,R]: scale * x A^T of a projection; the gradients of those of a product, which are up to three */
	void *scratch;

	int head_rows, logit_stride;		/* R, V rounded up to a multiple of 8 */
	uint16_t *hx, *hh, *dhx, *logits;	/* [R,C] [R,C] [R,C] [R,stride] */
	float *hrstd, *loss;			/* [R] [T] */

	int *inputs;				/* GPU_INPUTS(T) */
	float *inv_freq, *clip;			/* [D/2] [2] */
	double *parts;				/* [ranks,own_parts] sums of squares */
	size_t own_parts;			/* of a rank: those of each of its pieces */
	size_t staged;				/* elements that are on their way at a time: the largest tensor's, GPU_STAGE at most */
	float *stage;				/* [staged], in the memory of the activations: weights on their way in and out */
	uint16_t *stage_low;			/* [staged] */
};

/* Ints of a micro-batch, one behind the other: ids, positions, supervised rows, their targets and weights, tokens sorted by id, and the bounds of the
 * latter and of the sequences. */
#define GPU_INPUTS(T) (9 * (size_t)(T) + 2)
#define GPU_STAGE ((size_t)1 << 20)
#define GPU_LOGITS ((size_t)256 << 20)	/* bytes of logits at a time */
#define GPU_BUCKET ((size_t)8 << 20)	/* gradients a bucket, at least: 32 MiB, at which links are at their full rate */

/* Take everything for `run` from the arena, the products' workspace excepted. a->full afterwards: it does not fit. gpu_place_free() in any case. */
void gpu_place(struct gpu_place *p, struct arena *a, const struct gpu_run *run);
void gpu_place_free(struct gpu_place *p);

/* The first part of at..end of the trained array that is this rank's; false: none. */
bool gpu_own(const struct gpu_place *p, size_t at, size_t end, struct gpu_own *part);

/* Elements of a tensor that lie together on the host and on the device. */
struct gpu_part {
	size_t at, n, host;	/* from element `at` of those on the device, `host` of those there */
};

/* The first part of at..end of those on the device; false: nothing but padding is left. */
bool gpu_part(const struct gpu_tensor *t, size_t at, size_t end, struct gpu_part *part);

/* The bytes that it would take, the products' workspace with it; into *plan, unless NULL, item by item. */
size_t gpu_place_plan(const struct gpu_run *run, struct arena *plan);
/* Is a rung of the ladder taken that takes so many of `most` bytes? The first one is where it leaves an eighth of them to others (a desktop, what CUDA takes
 * beside its context), or where no other may be (`only`): making norms and SwiGLU again costs about a hundredth of the time. */
bool gpu_place_fits(enum keep keep, bool only, size_t bytes, size_t most);
/* From run->keep on (`only`: no further), set it to the first rung of the ladder that fits. What it takes; when that is more than `most`, it is the last
 * one's. */
size_t gpu_place_choose(struct gpu_run *run, bool only, size_t most);

#endif
