/* inside.h - inside the GPU's engine: what its parts share
 *
 * Calls put work into the device's stream and return 0, or -1 with the message in the err that device.gpu.err points to. */
#ifndef SA_CUDA_INSIDE_H
#define SA_CUDA_INSIDE_H

#include "cuda_engine.h"
#include "device.h"
#include "ncclload.h"

/* What the GPUs of several ranks say to one another. */
struct ranks {
	const struct comm *comm;
	int count;
	struct nccl nccl;
	struct ncclComm *with;	/* NULL: alone, or not yet joined */
	cudaStream_t stream;	/* all of NCCL's calls are in it */
	cudaEvent_t made, come;	/* what is to be sent, what was received */
	cudaEvent_t *spread;	/* [buckets] a bucket's weights are those of all ranks */
	struct own *own;	/* the host's moments: which of all, in the order of the tensors, are this rank's there */
	int own_count;
	bool begun;		/* between zero() and norm() */
	bool last;		/* the backward that comes is the step's last */
	int summed, waited;	/* buckets whose sum is submitted, and whose weights are waited for, the last bucket first */
};

struct cuda {
	struct engine en;
	struct device device;
	struct gpu_place place;
	struct gpu_run run;
	struct config c;
	struct gpu_tensor *tensors;
	struct optim *optim;
	struct ranks ranks;
	bool current;		/* the host's copy of weights and moments is that of the device */
	int *packed;		/* [GPU_INPUTS(tokens)] inputs on their way */
	float *host;		/* [staged] weights and moments on their way */

	/* The micro-batch that inputs holds. */
	int T, nseq, longest, supervised, different;
	const int *ids, *pos, *rows, *target, *at, *first, *id, *cu;	/* in place.inputs */
	const float *weight;	/* of the supervised rows; NULL: 1 */

	bool watching;		/* look() looks */
	bool bad;
	char name[MODEL_BAD];	/* of what was not finite first */
};

/* ---- pass.c ---- */

/* The layers, forward; the last one's sum is in place.branch. */
int cuda_forward(struct cuda *g);
/* From place.dx, the gradient of that sum, through all layers down to the lowest that trains. */
int cuda_backward(struct cuda *g);
/* While watching: if nothing was bad so far, wait for x[T,stride] and look at its columns from..to of each row. */
int cuda_look(struct cuda *g, int layer, const char *name, const uint16_t *x, int stride, int from, int to);

/* ---- adapters.c: of adapters beside projections of layer i; without one there is nothing to do ---- */

/* out[T,N], rows `stride` apart, += scale (x A^T) B^T. */
int cuda_adapter(struct cuda *g, int i, enum projection p, uint16_t *out, int stride, const uint16_t *x);
/* dx[T,K] += its part of x's gradient; the k-th of dax is its inner gradient then. */
int cuda_adapter_back_x(struct cuda *g, int i, enum projection p, int k, uint16_t *dx, const uint16_t *dout, int stride);
/* The gradients of A and B, after that. */
int cuda_adapter_back_w(struct cuda *g, int i, enum projection p, int k, const uint16_t *dout, int stride, const uint16_t *x);

/* ---- head.c ---- */

/* Losses of the supervised rows into place.loss; with `back` their gradients into place.dx and those of the head's weights. */
int cuda_head(struct cuda *g, bool back, float scale);

/* ---- state.c ---- */

/* Weights and moments from the host and back. */
int cuda_put(struct cuda *g);
int cuda_get(struct cuda *g);
/* One update of everything that is trained and this rank's, clipped by place.clip; then all ranks' to all. */
int cuda_update(struct cuda *g, double lr);
/* The first tensor on the host, or gradient from the last on, that is not finite, into g->name. */
int cuda_bad_weights(struct cuda *g);
int cuda_bad_gradients(struct cuda *g);

/* ---- tune.c ---- */

/* When all is placed and nothing there yet: algorithms for the products of the run. */
int cuda_tune(struct cuda *g, const struct cuda_start *s);

/* ---- ranks.c: with one rank they do nothing, but for the sums of squares ---- */

/* Takes what the start says, loads NCCL. */
int cuda_ranks_open(struct cuda *g, const struct cuda_start *s, struct err *e);
/* Collective: meet the others, when the device is open; at once when that was done. */
int cuda_ranks_join(struct cuda *g);
void cuda_ranks_close(struct cuda *g);

/* A step begins: nothing is summed. */
void cuda_ranks_begin(struct cuda *g);
/* Collective: sum the gradients that the backward is past when it is past `layer` (struct gpu_bucket), those that are not yet. */
int cuda_ranks_sum(struct cuda *g, int layer);
/* The same, if this is the last backward of the step. */
int cuda_ranks_done(struct cuda *g, int layer);
/* Collective: a step that was begun goes no further; afterwards nothing is under way. */
int cuda_ranks_settle(struct cuda *g);
/* Collective: sums of squares of the summed gradients into place.parts, all ranks'; the rest is summed first. */
int cuda_ranks_squares(struct cuda *g);
/* Collective: bucket b of the weights, as this rank has updated its piece, to all. */
int cuda_ranks_spread(struct cuda *g, int b);
/* What is submitted from here on has the weights of layers up to this one. */
int cuda_ranks_need(struct cuda *g, int layer);
/* Collective: `bytes` bytes of each rank to all, one behind the other; and of n words the sum of all ranks', as integers, each rank's n of all. */
int cuda_ranks_gather(struct cuda *g, void *all, const void *own, size_t bytes);
int cuda_ranks_scatter_bits(struct cuda *g, void *own, const void *all, size_t n);

/* ---- ranks_state.c: of several ranks ---- */

/* Collective: moments from the host; weights and moments to the host. */
int cuda_ranks_put(struct cuda *g);
int cuda_ranks_get(struct cuda *g);

#endif
