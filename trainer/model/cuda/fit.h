/* fit.h - what a GPU can be used for: the shapes of model that its operations take, and the memory that there is to have */
#ifndef SA_FIT_H
#define SA_FIT_H

#include <stddef.h>

#include "config.h"

/* Kept for what CUDA takes by itself, and what its libraries load as they run; beside the context where the memory is given as a card's. */
#define CUDA_RESERVE ((size_t)256 << 20)
#define CUDA_CONTEXT ((size_t)614 << 20)

/* 0, or -1 with what the operations cannot do of this model. */
int fit_shape(const struct config *c, struct err *e);
/* The bytes of a device that may be taken: what is free but for CUDA_RESERVE, and no more than `limit` (0: any). -1 with a message: no such device. */
int fit_room(size_t *room, int device, size_t limit, struct err *e);

#endif
