/* statefile.h - state.bin: the exact weights and moments of a run
 *
 *     "SATRAIN1"  int64 step  int64 n  float weights[n]  float m[n]  float v[n]  uint64 XXH3 of all before       (this machine's byte order)
 *
 * They are of the tensors that are trained, which are those that `grad` has, in the order of model_tensor(), whoever keeps which of the moments: a run goes on
 * with another number of ranks too. Rank 0 reads and writes; both calls are collective, and their result is each rank's own (comm_agree). */
#ifndef SA_STATEFILE_H
#define SA_STATEFILE_H

#include "model.h"
#include "optim.h"

int statefile_write(const char *path, const struct model *model, const struct weights *grad, const struct optim *o, long step, struct err *e);
/* Into weights and moments. -1 with a message when the file is of another model or step, cut short or damaged. */
int statefile_read(const char *path, struct model *model, const struct weights *grad, struct optim *o, long step, struct err *e);

#endif
