/* inside.h - inside the GPU's engine: what its parts share
 *
 * Calls put work into the device's stream and return 0, or -1 with the message in the err that device.gpu.err points to. */
#ifndef SA_CUDA_INSIDE_H
#define SA_CUDA_INSIDE_H

#include "cuda_engine.h"
#include "device.h"

struct cuda {
	struct engine en;
	struct device device;
	struct gpu_place place;
	struct gpu_run run;
	struct config c;
	struct gpu_tensor *tensors;
	struct optim *optim;
	bool current;		/* the host's copy of weights and moments is that of the device */
	int *packed;		/* [GPU_INPUTS(tokens)] inputs on their way */

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

/* ---- head.c ---- */

/* Losses of the supervised rows into place.loss; with `back` their gradients into place.dx and those of the head's weights. */
int cuda_head(struct cuda *g, bool back, float scale);

/* ---- state.c ---- */

/* Weights and moments from the host and back. */
int cuda_put(struct cuda *g);
int cuda_get(struct cuda *g);
/* One update of everything that is trained, clipped by place.clip. */
int cuda_update(struct cuda *g, double lr);
/* The first tensor on the host, or gradient from the last on, that is not finite, into g->name. */
int cuda_bad_weights(struct cuda *g);
int cuda_bad_gradients(struct cuda *g);

#endif
