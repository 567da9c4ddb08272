/* statefile.h - state.bin: the exact weights and moments of a run
 *
 *     "SATRAIN1"  int64 step  int64 n  float weights[n]  float m[n]  float v[n]  uint64 XXH3 of all before       (this machine's byte order)
 *
 * They are of the tensors that are trained, which are those that `m` and `v` have; frozen ones are the start's. */
#ifndef SA_STATEFILE_H
#define SA_STATEFILE_H

#include "model.h"

int statefile_write(const char *path, const struct model *model, const struct weights *m, const struct weights *v, long step, struct err *e);
/* Into the three, which have their size. -1 with a message when the file is of another model or step, cut short or damaged. */
int statefile_read(const char *path, struct model *model, struct weights *m, struct weights *v, long step, struct err *e);

#endif
