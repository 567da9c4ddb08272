/* mach.h - inside a machine: what the operations of ops/cpu use beside op.h
 *
 * One caller at a time: a machine runs one operation after the other. Part 0 of an operation is the calling thread. */
#ifndef SA_MACH_H
#define SA_MACH_H

#include "op.h"

/* Scratch of one part, n floats aligned to 64 bytes; valid until the part asks again. Contents are not kept. */
float *mach_scratch(struct mach *m, int part, size_t n);

/* Run fn on every thread when `work` (about one multiply-add each) is worth waking them, else at once on the caller's: fn(arg, 0, 1). */
void mach_run_if(struct mach *m, double work, void (*fn)(void *arg, int part, int parts), void *arg);

/* The range of 0..n that belongs to a part, in multiples of `unit`. */
static inline void
mach_range(size_t n, size_t unit, int part, int parts, size_t *from, size_t *to)
{
	size_t units = (n + unit - 1) / unit;

	*from = units * part / parts * unit;
	*to = units * (part + 1) / parts * unit;
	if (*from > n)
		*from = n;
	if (*to > n)
		*to = n;
}

#endif
