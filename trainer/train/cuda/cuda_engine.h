/* cuda_engine.h - a GPU as the engine of a run (engine.h)
 *
 * sa-cuda.so, built by `make cuda` or over the simulator (tests/cudasim), has it; sa-train loads it when --device cuda is asked for, so that the program itself
 * needs nothing of CUDA. It shares headers with the program and no code: whoever changes a struct that passes between the two raises CUDA_VERSION. */
#ifndef SA_CUDA_ENGINE_H
#define SA_CUDA_ENGINE_H

#include "../engine.h"	/* sa-serve has another one */
#include "fit.h"
#include "matmul.h"
#include "place.h"

#define CUDA_VERSION 4

/* What the engine begins with. All but `run.c` and what `tensors` points to, which are the caller's, is copied. */
struct cuda_start {
	struct gpu_run run;
	bool only;			/* run.keep and nothing else; or the first rung that fits, from there on */
	int device;
	size_t limit;			/* bytes that may be taken; 0: what is free */
	const float *inv_freq;		/* [D/2] */
	struct optim *optim;
	const struct comm *comm;	/* must outlive the engine */
	const struct own *own;		/* the parts of all moments that optim has, in the order of the tensors; with one rank not looked at */
	int own_count;
	const char *tuned;		/* the file of algorithms that were timed (matmul.h); NULL: none are */
	gpu_say *say;			/* a message on the way */
};

/* What NCCL takes by itself with several ranks, its buffers and channels, which grow with their number; reckoned, not measured. */
#define CUDA_NCCL ((size_t)512 << 20)

/* The one symbol of sa-cuda.so. NULL with a message; also when `version` is another one. */
typedef struct engine *cuda_engine_fn(int version, const struct cuda_start *start, struct err *e);
cuda_engine_fn cuda_engine;

#endif
