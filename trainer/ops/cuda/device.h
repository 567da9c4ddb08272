/* device.h - a GPU as the trainer holds it: all its memory as one arena, one stream of work, and transfers that do not hold that up
 *
 * Memory is asked for once, before the first step, and given out in pieces; nothing is allocated or freed while training, so a run that began goes
 * on. The same code that takes the pieces plans them: with an arena that has no memory behind it, arena_take() counts, and its pointers are
 * never followed. That is what `--plan` prints, for any card and without one.
 *
 * All operations are in device.gpu's stream, one after another: what is submitted later sees what was submitted before, and scratch may be used
 * again at once. Small arrays go to the device through page-locked memory (device_send(): ids, positions, targets), results come back the same
 * way (device_fetch()) and are looked at a step later, so that the host is always ahead of the device.
 *
 *     struct device d;
 *     if (device_open(&d, 0, bytes, &err))                         one arena of so many bytes
 *             ...
 *     float *grad = arena_take(&d.arena, "gradients", n * 4);      kept
 *     size_t mark = arena_mark(&d.arena);
 *     uint16_t *logits = arena_take(&d.arena, "logits", rows * vocab * 2);
 *     ...
 *     arena_release(&d.arena, mark);                               given back
 *     device_send(&d, ids, host_ids, T * sizeof *ids);             host_ids is free again on return
 *     gpu_embed(&d.gpu, ...);
 *     device_fetch(&d, 0, &loss, sizeof loss);
 *     ...                                                          submit the next step
 *     const double *was = device_fetched(&d, 0);                   waits for that fetch alone */
#ifndef SA_DEVICE_H
#define SA_DEVICE_H

#include <stddef.h>

#include "arena.h"
#include "kernels.h"
#include "matmul.h"

/* ---- device ---- */

enum { DEVICE_SENDS = 8, DEVICE_FETCHES = 4 };

struct device_slot {
	void *host;		/* page-locked */
	size_t size;
	cudaEvent_t done;	/* of the last transfer from or to it */
};

struct device {
	struct gpu gpu;
	struct arena arena;
	struct gpu_matmul *products;
	char name[256];
	void *memory;
	struct device_slot send[DEVICE_SENDS], fetch[DEVICE_FETCHES];
	int next_send;
	/* Called again and again while the host waits for a transfer, where work of the device may depend on other machines; not 0: a message is set, and the
	 * wait is over. NULL: the host waits in CUDA. */
	int (*watch)(void *watched);
	void *watched;
};

/* Take `bytes` of a device's memory, the workspace of products, at its beginning, included. -1 with *err set; nothing is left behind. */
int device_open(struct device *d, int index, size_t bytes, struct err *err);
/* Waits for what is submitted. */
void device_close(struct device *d);
/* The bytes that device_open() can get now. */
int device_free_memory(size_t *bytes, int index, struct err *err);

/* Copy n bytes to the device, after what is submitted. src is read before it returns. */
int device_send(struct device *d, void *dst, const void *src, size_t n);
/* Copy n bytes from the device into slot `which`, after what is submitted; returns at once, but waits for the last fetch into it. */
int device_fetch(struct device *d, int which, const void *src, size_t n);
/* Wait for the last fetch into the slot; NULL when the device failed. Valid until the next fetch into it. */
const void *device_fetched(struct device *d, int which);
/* Wait for everything in its stream; -1 when the device failed. */
int device_wait(struct device *d);

#endif
