/* cudaopen.h - the serving pass of a model to a GPU: finds and loads sa-cuda.so, and gives it the weights (cuda/serving.h) */
#ifndef SA_CUDAOPEN_H
#define SA_CUDAOPEN_H

#include "device_option.h"
#include "model.h"

/* What the serving pass is to hold. */
struct cuda_wish {
	struct device_option device;
	size_t kv_bytes;	/* of key-value caches; 0: what is left of the device's memory, but no more than `sequences` of `context` need */
	int tokens;		/* a turn's: rows of a product (cuda/serving.h) */
	int sequences;		/* that are computed at once */
	int context;		/* positions of a sequence */
};

/* From now on model_forward() runs there; m->device says what there is room for. The weights' pages are given back to the system. 0, or -1 with a message: what
 * a GPU cannot do of this model, or there is none, or no room on it, or no sa-cuda.so (SA_CUDA in the environment, or beside the program). */
int cuda_open(struct model *m, const struct cuda_wish *w, struct err *e);

#endif
