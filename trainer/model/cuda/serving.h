/* serving.h - a GPU as the device of the serving pass (forward_device.h)
 *
 * sa-cuda.so, built by `make cuda` or over the simulator (tests/cudasim), has it; sa-serve loads it when --device cuda is asked for. It shares headers with the
 * program and no code: whoever changes a struct that passes between the two raises SERVING_VERSION.
 *
 * Everything is bf16 but sums, norms' statistics and logits, which are float. Weights are copied to the device once, converted where the checkpoint has
 * others. All memory is one arena, planned by the code that takes it (serving_place.h); the key-value caches get what is left.
 *
 * The same bits whatever else is in a slice, and however a sequence is cut into chunks: attention and all that is done by rows are made so (kernels.h). Which
 * algorithm cuBLASLt takes depends on the number of rows, so every product is one of `tokens` rows (of the head: head_rows), whatever of them is in use; then
 * it is one algorithm for a matrix, and a row's bits depend on that row alone if all tiles of an algorithm add up in one order, which NVIDIA does not promise.
 * What that costs: decoding waits for weights to be read, so up to the card's operations a byte (295 on an H100, 156 on an A100) rows more are hardly seen.
 * Another --turn-tokens may give other last bits, and so may other algorithms: which are the fastest is timed once and kept (matmul.h).
 *
 * It has run under tests/cudasim only, not on a GPU. */
#ifndef SA_SERVING_H
#define SA_SERVING_H

#include "dtype.h"
#include "fit.h"
#include "forward_device.h"
#include "layout.h"
#include "matmul.h"

#define SERVING_VERSION 2

/* A tensor of the checkpoint. */
struct serving_tensor {
	enum slot slot;
	int layer;		/* -1: of none */
	enum dtype dtype;	/* DT_F32, DT_F16 or DT_BF16 */
	size_t count;
	const void *data;	/* on the host; needs no alignment */
};

/* What it begins with; copied, but for what `tensors` points to, which is not read later. */
struct serving_start {
	struct config c;
	const struct serving_tensor *tensors;
	int count;
	const float *inv_freq;	/* [D/2] */
	int device;
	size_t limit;		/* bytes that may be taken; 0: what is free */
	size_t kv_bytes;	/* of them for key-value caches; 0: what is left, but no more than `sequences` of `context` need */
	int tokens;		/* of a slice */
	int sequences;		/* that are computed at once */
	int context;		/* positions of a sequence; fewer when there are not so many pages */
	const char *tuned;	/* the file of algorithms that were timed (matmul.h); NULL: none are */
	gpu_say *say;		/* a message on the way */
};

/* The one symbol for sa-serve. NULL with a message; also when `version` is another one. */
typedef struct forward_device *cuda_serving_fn(int version, const struct serving_start *start, struct err *e);
cuda_serving_fn cuda_serving;

#endif
