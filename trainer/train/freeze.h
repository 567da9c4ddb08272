/* freeze.h - which tensors a run trains
 *
 * All, or with adapters (lora.h) these alone. A tensor whose name matches one of the patterns (fnmatch, over the names of the Hugging Face checkpoint) is frozen: it has no gradient, no moments
 * and no place in state.bin, and keeps its bits. The gradient of what lies below flows through it all the same. */
#ifndef SA_FREEZE_H
#define SA_FREEZE_H

#include "run.h"

/* Set r->trained, and in r->identity what the frozen tensors are; needs r->model as it starts. 0, or -1: a pattern that matches no tensor, or nothing is
 * left to train. */
int freeze_choose(struct run *r, struct err *e);
/* Parameters of a model of this shape, and how many of them would be trained; *trained, the caller's: which tensors, NULL: all. */
int freeze_count(const struct config *c, const struct opt_list *list, size_t *all, size_t *left, bool **trained, struct err *e);

#endif
