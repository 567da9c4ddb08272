/* fit.c - see fit.h */
#include "fit.h"

#include "device.h"

int
fit_shape(const struct config *c, struct err *e)
{
	int D = c->head_dim;

	if (D != 16 && D != 32 && D != 64 && D != 128)
		return err_set(e, "--device cuda: heads of %d: only 16, 32, 64 and 128 are done on a GPU", D);
	if (c->hidden % 8 || c->ffn % 8)
		return err_set(e, "--device cuda: a hidden size of %d and a feed-forward size of %d: both must be multiples of 8", c->hidden, c->ffn);
	return 0;
}

int
fit_room(size_t *room, int device, size_t limit, struct err *e)
{
	if (device_free_memory(room, device, e))
		return -1;
	*room = *room > CUDA_RESERVE ? *room - CUDA_RESERVE : 0;
	if (limit && limit < *room)
		*room = limit;
	return 0;
}
