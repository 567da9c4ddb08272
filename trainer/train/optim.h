/* optim.h - one step of AdamW over all tensors, with the gradient clipped to a global norm */
#ifndef SA_OPTIM_H
#define SA_OPTIM_H

#include "model.h"
#include "zero.h"

struct optim {
	double beta1, beta2, eps, decay;
	double clip;		/* the largest global norm; 0: not clipped */
	struct zero zero;	/* which of the trained parameters are this rank's */
	float *m, *v;		/* [zero.own] their first and second moments */
	long step;		/* updates made */
};

/* Moments zero, of this rank's part of the n parameters that are trained; the numbers are the caller's to set. */
void optim_init(struct optim *o, const struct comm *comm, size_t n);
void optim_free(struct optim *o);

/* min(1, max / (norm + 1e-6)), torch's clip_grad_norm_; 1 when max is 0 */
double clip_factor(double norm, double max);

/* Collective: sum the ranks' gradients; each has the sum of its own part then, and they all get the Euclidean norm of the whole. */
double optim_reduce(const struct optim *o, const struct model *m, struct weights *grad);

/* Collective: update the weights that `grad` has a tensor of, at rate lr; the gradient's norm is `norm`. Each rank updates its part, and all get all. Vectors
 * (norms, biases) do not decay, as in HF's Trainer. With more than one rank the gradient is overwritten. */
void optim_step(struct optim *o, struct model *m, struct weights *grad, double norm, double lr);

#endif
