/* prefer.h - training by preferences: DPO and KTO (reward.h)
 *
 * The log-probabilities of the reference model, which is the one that the run begins with (under LoRA: without adapters), are computed once, before the first
 * step, and kept in out/reference.bin, whose key is a hash of those weights and of the samples:
 *
 *     "SAREFER1"  uint64 key  uint64 n  double of each sample[n]  double of each mismatched pair[n] (KTO)  uint64 XXH3 of all before  (this machine's byte order)
 *
 * A pack of DPO's is a pair, of KTO's a sample. Within a step the mean is over its packs, and KTO's z over all of its mismatched pairs: how a step is divided
 * into micro-batches changes nothing. (TRL and LLaMA-Factory take z over each micro-batch.) */
#ifndef SA_PREFER_H
#define SA_PREFER_H

#include "run.h"

/* KTO's mismatched pairs. After run_read_data(). */
int prefer_data(struct run *r, struct err *e);
/* The reference's log-probabilities, while r->model is still the reference. Collective. 0; -1, or -STATUS_IO when the device
 * failed, with a message. */
int prefer_reference(struct run *r, struct err *e);
/* As the accumulation of train.c: adds the gradients of packs order[from..to), which are this rank's of the step's `packs`, to r->grad. Collective. 0; 1 when a
 * signal came; -1. */
int prefer_accumulate(struct run *r, const uint32_t *order, size_t from, size_t to, size_t packs, struct entry *en, struct err *e);
/* What a resumed run must have in common, into r->identity. */
void prefer_identify(struct run *r);
void prefer_free(struct prefer *p);

#endif
