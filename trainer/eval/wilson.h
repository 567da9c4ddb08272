/* wilson.h - a proportion with its uncertainty. Pure. */
#ifndef SA_EVAL_WILSON_H
#define SA_EVAL_WILSON_H

#include <stddef.h>

struct interval {
	double low, high;	/* 0..1 */
};

/* The 95% interval of k successes in n trials (Wilson 1927, no continuity correction); n == 0: 0..1, nothing is known. */
struct interval wilson(size_t k, size_t n);

#endif
