/* cudaload.h - a run on a GPU: finds and loads the engine (cuda/cuda_engine.h), and describes the model to it */
#ifndef SA_CUDALOAD_H
#define SA_CUDALOAD_H

#include "cuda_engine.h"
#include "plan.h"

/* The table of the model's tensors that place.h wants, the caller's to free; *n of them. trained[i]: is tensor i (NULL: all). w: where their weights are on the
 * host, or NULL in a plan. */
struct gpu_tensor *gpu_tensors(const struct config *c, const struct weights *w, const bool *trained, int *n);

/* The engine over model and optim for micro-batches of at most `tokens` tokens. `d` is of device_parse(); recompute: enum recompute of train.h. NULL with a
 * message: what this GPU cannot do, or there is none, or no sa-cuda.so (SA_CUDA in the environment, or beside the executable). */
struct engine *gpu_engine(struct model *m, struct optim *o, const bool *trained, int tokens, const struct device *d, int recompute, struct err *e);

#endif
