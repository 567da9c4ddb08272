/* spike.h - is a step's loss far above what came before? Pure.
 *
 * The measure is the median of the last steps and their median absolute deviation, which one earlier spike does not move. */
#ifndef SA_SPIKE_H
#define SA_SPIKE_H

#include <stdbool.h>

#define SPIKE_LAST 64	/* steps that are remembered */
#define SPIKE_LEAST 20	/* with fewer nothing is said */

struct recent {
	double loss[SPIKE_LAST];	/* oldest first */
	int n;
};

/* Is `loss` more than six standard deviations (1.4826 times the deviation above) and more than a tenth above *median? Remembers it in any case. */
bool spike_next(struct recent *r, double loss, double *median);

#endif
