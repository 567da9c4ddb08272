/* engine.h - what computes a run: the CPU, or a GPU (cuda/cuda_engine.h)
 *
 * An engine has weights, gradients and moments to work on. The run's model and optim are the host's copy of the weights and moments: put() takes them from
 * there, get() brings them back there. On the CPU they are the same memory. A call may return before its work is done; whatever it gives back is there.
 *
 * With several ranks put(), get(), norm(), step() and settle() are collective. What goes between GPUs is added up by NCCL, in an order of its own: the same
 * number of ranks on GPUs that are connected in the same way gives the same bits, another number those of another order.
 *
 * Each returns 0, or -1 with a message: the device failed, or another rank's, and where others wait for this one the run is over. The CPU does not fail. */
#ifndef SA_ENGINE_H
#define SA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model.h"
#include "optim.h"

struct engine {
	size_t bytes;		/* of memory that the run takes on its device */
	uint64_t products;	/* of a GPU: a hash of the algorithms that were chosen for its matrix products, with others the last bits differ; 0: none were */

	int (*put)(struct engine *en, struct err *e);
	int (*get)(struct engine *en, struct err *e);

	/* Gradients to zero. */
	int (*zero)(struct engine *en, struct err *e);
	/* The next pass() or back() of this rank is the last of a step: sums over the ranks may begin while it runs. Without it norm() begins them. */
	void (*last)(struct engine *en);
	/* model_train(), without the backward unless `back`: *loss, and each token's in b->loss. */
	int (*pass)(struct engine *en, const struct batch *b, bool back, float scale, double *loss, struct err *e);
	/* model_back() */
	int (*back)(struct engine *en, const struct batch *b, float scale, struct err *e);

	/* optim_reduce(): Euclidean norm of all gradients. */
	int (*norm)(struct engine *en, double *norm, struct err *e);
	/* optim_step() */
	int (*step)(struct engine *en, double norm, double lr, struct err *e);

	/* What was begun by zero() will not come to norm(), on any rank: nothing is under way between them afterwards. */
	int (*settle)(struct engine *en, struct err *e);
	/* Zero the gradients and pass over b forward and backward. *bad: some number in it was not finite; name: the tensor in which it was first. */
	int (*inspect)(struct engine *en, const struct batch *b, float scale, bool *bad, char name[MODEL_BAD], struct err *e);

	void (*close)(struct engine *en);
};

/* On the CPU, in the caller's memory but for the activations of at most `tokens` tokens. */
struct engine *engine_cpu(struct model *m, struct optim *o, struct weights *grad, int tokens, enum keep keep);

#endif
