/* prefer.h - training by preferences: DPO and KTO (reward.h)
 *
 * The log-probabilities of the reference model, which is the one that the run begins with (under LoRA: without adapters), are computed once, before the first
 * step, and kept in out/reference.bin, whose key is a hash of those weights and of the samples:
 *
 *     "SAREFER2"  uint64 key  uint64 n  double[n]  uint64 XXH3 of all before		(this machine's byte order)
 *
 * of the responses that are trained on, their mismatched pairs (KTO), the responses to evaluate with, and theirs; NaN where it is not computed yet. The file is
 * replaced every few seconds and when a signal comes: the next run of this key computes what is left, in the same micro-batches, so to the same bits.
 *
 * A pack of DPO's is a pair, of KTO's a sample. Within a step the mean is over its packs, and KTO's z over all of its mismatched pairs: how a step is divided
 * into micro-batches changes nothing. (TRL and LLaMA-Factory take z over each micro-batch.) In an evaluation both are over all that is evaluated. Mismatched
 * pairs never mix what is trained on with what is evaluated. */
#ifndef SA_PREFER_H
#define SA_PREFER_H

#include "run.h"

/* What is judged, and KTO's mismatched pairs. After run_read_data(). */
int prefer_data(struct run *r, struct err *e);
/* The reference's log-probabilities, while r->model is still the reference. Collective. 0; 1 when a signal came, what is computed is kept; -1, or -STATUS_IO
 * when the device failed or the file could not be written, with a message. reference.c */
int prefer_reference(struct run *r, struct err *e);
/* Forward pass over packs order[from..to) (order NULL: as they are): logp[k] of each sample packs.sample[k] in them, and the sum of losses. *b stays laid out,
 * and what its backward needs is kept. 0, or -1 when the device failed. */
int prefer_score(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to, double *logp, struct batch *b, double *loss,
		 struct err *e);
/* As the accumulation of train.c: adds the gradients of packs order[from..to), which are this rank's of the step's `packs`, to r->grad. Collective. 0; 1 when a
 * signal came; -1. */
int prefer_accumulate(struct run *r, const uint32_t *order, size_t from, size_t to, size_t packs, struct entry *en, struct err *e);
/* As the evaluation of eval.c: loss and rewards of what is evaluated, of which packs from..to are this rank's. Collective. 0; 1 when a signal came; -1;
 * -STATUS_IO. */
int prefer_evaluate(struct run *r, size_t from, size_t to, struct evaluation *ev, struct err *e);
/* What a resumed run must have in common, into r->identity. */
void prefer_identify(struct run *r);
void prefer_free(struct prefer *p);

#endif
