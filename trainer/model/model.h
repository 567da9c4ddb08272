/* model.h - a checkpoint of one of the families (families.h) in memory, its forward pass for serving and its forward + backward for training
 *
 * For training, weights are float in one allocation (converted at load), in the order of model_tensor(). It keeps gradients in a second
 * allocation of the same order, which may leave tensors out (frozen ones). Tensor names are HF's; a tensor that is not there is NULL.
 * For serving, matrices stay in the mapped files as they are stored (matrix.h): loading takes no time and no memory, and processes that serve the
 * same files share them. What happens when a file shrinks meanwhile is mapping.h's. The serving pass reads weights through a view, which a model for training has too. */
#ifndef SA_MODEL_H
#define SA_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "kv.h"
#include "op.h"
#include "safetensors.h"

/* The matrices of a layer that an adapter may lie beside. */
enum projection { PROJ_Q, PROJ_K, PROJ_V, PROJ_O, PROJ_GATE, PROJ_UP, PROJ_DOWN, PROJECTIONS };

struct adapter {
	float *a, *b;	/* [r,in] [out,r], or NULL */
};

struct layer {
	float *ln1, *wq, *wk, *wv, *wo, *ln2, *wgate, *wup, *wdown;	/* [C] [H*D,C] [G*D,C] [G*D,C] [C,H*D] [C] [F,C] [F,C] [C,F] */
	float *bq, *bk, *bv, *qnorm, *knorm;				/* [H*D] [G*D] [G*D] [D] [D], or NULL */
	struct adapter lora[PROJECTIONS];
};

struct weights {
	float *all;		/* the allocation, n floats */
	size_t n;
	float *embed;		/* [V,C] */
	float *norm;		/* [C] */
	float *head;		/* [V,C]; == embed when tied */
	struct layer *layer;
};

/* The weights as the serving pass reads them; shapes as above. */
struct view_layer {
	struct matrix wq, wk, wv, wo, wgate, wup, wdown;
	const float *ln1, *ln2, *bq, *bk, *bv, *qnorm, *knorm;
};

struct view {
	struct matrix embed, head;
	const float *norm;
	struct view_layer *layer;
	float *vectors;		/* norms and biases of a mapped checkpoint, as floats */
	void *converted;	/* matrices that are not what the file has, converted_bytes of them */
	size_t converted_bytes;
};

/* How a served checkpoint's matrices are kept and multiplied. AUTO: as they are stored. F32: as they are stored, but in float where bf16 products would
 * do. BF16, INT8: converted, unless they are so already; the table that tokens are looked up in stays as it is. */
enum weights_as { WEIGHTS_AUTO, WEIGHTS_BF16, WEIGHTS_F32, WEIGHTS_INT8 };

struct model {
	struct config c;
	struct weights w;	/* empty when the model is only for serving */
	struct view v;
	struct tensors *file;	/* the mapping that v points into, or NULL */
	float *inv_freq;	/* [D/2] */
	const struct ops *ops;
	struct mach *mach;	/* the caller's; must outlive the model */
	struct forward_work *work;	/* model_forward's scratch, made on its first call */
	struct forward_device *device;	/* what computes model_forward() instead of ops (forward_device.h), or NULL; the model's */
};

/* Load `dir`. Every tensor's presence and shape is checked against config.json; the message names the tensor. NULL on error. */
struct model *model_load(const char *dir, const struct ops *ops, struct mach *mach, struct err *e);
/* The same for model_forward() alone: the files are mapped, and converted as far as `as` says so. Its operations are ops_cpu_for() the weights. */
struct model *model_open(const char *dir, enum weights_as as, struct mach *mach, struct err *e);
/* A new model: normal(0, init_range) from `seed` (norms 1, biases 0), the same on every machine. */
struct model *model_new(const struct config *c, uint64_t seed, const struct ops *ops, struct mach *mach);
void model_free(struct model *m);
/* model.safetensors in `dir` (no lm_head when tied, no adapters). 0, or -1. */
int model_save(const struct model *m, const char *dir, enum dtype d, struct err *e);

/* A second allocation of the same layout, zeroed (gradients, moments). */
void weights_like(struct weights *w, const struct config *c);
/* One of only those tensors i of which some[i] holds, one behind the other in their order; NULL: of all. */
void weights_some(struct weights *w, const struct config *c, const bool *some);
/* Add to an allocation of all, or take from its end, what c's adapters need: zeros. Its tensors move. */
void weights_extend(struct weights *w, const struct config *c);
void weights_free(struct weights *w);
/* Its tensor i, or NULL when it has none. */
float *weights_tensor(const struct weights *w, const struct config *c, int i);

/* Tensor i of the layout, adapters last: HF name, shape and the place in w.all; -1 past the last. */
struct tensor_at {
	char name[96];
	int ndim;
	int64_t shape[2];
	size_t offset, count;	/* in floats */
};
int model_tensor(const struct config *c, int i, struct tensor_at *t);

/* ---- serving: one key-value cache per sequence, several sequences a call ---- */

struct chunk {
	struct kv *kv;		/* of a pool for this model's shape and operations, or its device's pages; tokens are appended to it */
	const int *ids;		/* n of them */
	int n;
	int first_logits;	/* logits are wanted for tokens first_logits..n-1 */
	float *logits;		/* [n - first_logits, V] */
};
/* Run all chunks in one batch. Bits of a chunk's logits do not depend on the others, nor on how a sequence was cut into chunks, nor on whose pages
 * it begins with. 0, or -1 when the pool has no page left or an id is out of range (nothing is appended then), or when a device failed. Each chunk has its own cache. One call
 * at a time. */
int model_forward(struct model *m, struct chunk *c, int nchunks, struct err *e);

/* ---- training ---- */

struct batch {
	int T;			/* tokens */
	const int *ids;		/* [T] */
	const int *pos;		/* [T], reset in each sequence */
	const int *target;	/* [T]: the next token where it is supervised, else -1 */
	const int *cu;		/* [nseq+1] */
	int nseq;
	const float *weight;	/* [T]: what a token's loss counts; NULL: 1 */
	float *loss;		/* [T]: unless NULL, each supervised token's is put here, not weighted; the others stay */
};

/* What a layer made and its backward needs: all of it is kept; norms and SwiGLU are made again; of a layer only what came in is kept, and it is gone through
 * once more. The gradients are the same bits. */
enum keep { KEEP_ALL, KEEP_PRODUCTS, KEEP_BLOCKS, KEEPS };

struct acts;	/* activations and scratch for up to max_T tokens */
struct acts *acts_new(const struct model *m, int max_T, enum keep keep);
void acts_free(struct acts *a);
size_t acts_bytes(const struct acts *a);
/* What those of a model of this shape take. */
size_t acts_size(const struct config *c, int max_T, enum keep keep);

/* Forward and backward: adds scale * d(sum of weight * loss)/dw to grad; returns that sum over the supervised tokens (nats). grad == NULL: forward only.
 * Tensors that grad leaves out cost no product; the gradient goes through them down to the lowest layer that it has a tensor of.
 * The head runs over supervised rows only, in blocks. */
double model_train(struct model *m, struct acts *a, const struct batch *b, struct weights *grad, float scale);
/* The backward alone, after model_train(..., NULL) of the same batch, whose weights may have been set since: only the head is gone through once more. */
void model_back(struct model *m, struct acts *a, const struct batch *b, struct weights *grad, float scale);

/* After model_train() of this batch: what in it was the first to hold a number that is not finite: a weight, the output of a module, or a tensor of grad, in
 * the order in which they are computed. False when all that is kept is finite; `name` is then what is not kept and comes next. */
#define MODEL_BAD 160
bool model_first_bad(struct model *m, struct acts *a, const struct batch *b, const struct weights *grad, char name[MODEL_BAD]);

#endif
