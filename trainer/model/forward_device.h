/* forward_device.h - the serving pass on a device that has memory of its own: a GPU (cuda/serving.h)
 *
 * The device has weights, the pages of the key-value caches and the activations of a slice of tokens; which page is whose, which tokens are computed
 * and what is drawn from their logits stays with the host (kv.h, turn.h). model_forward() of a model that has a device cuts its chunks into slices and runs
 * each there. One thread at a time. */
#ifndef SA_FORWARD_DEVICE_H
#define SA_FORWARD_DEVICE_H

#include <stddef.h>

#include "model.h"

/* New tokens of a sequence in a slice, at positions past..past+n-1. */
struct forward_span {
	const int *page;	/* [(past + n + KV_PAGE - 1) / KV_PAGE] numbers of its pages */
	const int *ids;		/* [n], all in the vocabulary */
	int past, n;
	int first_logits;	/* logits are wanted for tokens first_logits..n-1 */
	float *logits;		/* [n - first_logits, V] */
};

struct forward_device {
	char name[256];		/* of the card */
	size_t bytes;		/* of its memory that are taken, all of it from the start */
	int pages;		/* of the key-value caches: numbers 0..pages-1 */
	size_t page;		/* bytes of one */
	int tokens, spans;	/* of a slice, at most */
	int context;		/* positions of a sequence, at most */

	/* Store the keys and values of n spans and give their logits, which are there on return. 0, or -1 with a message: the device has failed, and
	 * will not work again. */
	int (*run)(struct forward_device *d, const struct forward_span *s, int n, struct err *e);
	void (*close)(struct forward_device *d);
};

/* model_forward() of chunks that were checked and have their pages, by m->device. */
int forward_on_device(struct model *m, struct chunk *c, int nchunks, struct err *e);

#endif
