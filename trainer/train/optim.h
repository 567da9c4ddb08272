/* optim.h - one step of AdamW over all tensors, with the gradient clipped to a global norm */
#ifndef SA_OPTIM_H
#define SA_OPTIM_H

#include "model.h"

struct optim {
	double beta1, beta2, eps, decay;
	double clip;		/* the largest global norm; 0: not clipped */
	struct weights m, v;	/* first and second moments, laid out as the gradient: a tensor that is frozen has none */
	long step;		/* updates made */
};

/* Moments zero, of the tensors i with trained[i] (NULL: all); the numbers are the caller's to set. */
void optim_init(struct optim *o, const struct config *c, const bool *trained);
void optim_free(struct optim *o);

/* min(1, max / (norm + 1e-6)), torch's clip_grad_norm_; 1 when max is 0 */
double clip_factor(double norm, double max);

/* Euclidean norm of all gradients. */
double optim_norm(const struct model *m, const struct weights *grad);

/* Update the weights that `grad` has a tensor of; its norm is `norm`, at rate lr. Vectors (norms, biases) do not decay, as in HF's Trainer. */
void optim_step(struct optim *o, struct model *m, const struct weights *grad, double norm, double lr);

#endif
