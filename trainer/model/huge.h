/* huge.h - a mapped checkpoint's weights out of huge pages
 *
 * A product of one row reads every weight once, so that a reply's speed is the memory's: through pages of 4 KiB 55 to 90% (measured, 2-core Zen 4 in a
 * virtual machine) of what it is through huge ones of 2 MiB. A file that was not in the page cache comes in huge pages where the file system can do that
 * (ext4 in Linux 6.18 does). What lies there in small ones already is read once more, into anonymous huge pages that then take the mapping's place at the
 * same addresses. The mapped pages are no longer the process's: it never has more than a step of them twice. The page cache keeps them while nobody else
 * needs the memory.
 *
 * Training asks for them for its own memory: its products read rows that lie kilobytes apart, and gradients and moments once a step.
 *
 * Nobody may read weights during a step, so that the serving thread does one between two passes, for as long as there are any. */
#ifndef SA_HUGE_H
#define SA_HUGE_H

#include <stdbool.h>
#include <stddef.h>

#include "mach.h"
#include "safetensors.h"

struct huge {
	const struct tensors *file;	/* the caller's, as the next */
	struct mach *mach;
	size_t map, at;			/* how far it is: the mapping, and bytes of it */
	size_t copied;			/* bytes */
};

/* Whether this system gives huge pages to those who ask for them. */
bool huge_possible(void);
#define HUGE_PAGE ((size_t)2 << 20)

/* Ask for them for fresh memory at p, n bytes, before it is touched: as many as lie wholly in it. It stays the caller's; that it gets none is no error. */
void huge_advise(void *p, size_t n);

/* Move the next `most` bytes, whole pages, about a millisecond each. False: that was all, or what comes next cannot be had so and stays as it is. */
bool huge_step(struct huge *h, size_t most);

#endif
