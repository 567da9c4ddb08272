/* paired.h - two runs over the same samples: is the change more than chance? Pure.
 *
 * Of n samples that both runs settled, `better` went from wrong to right and `worse` from right to wrong; those that came out the same say
 * nothing about a change. */
#ifndef SA_EVAL_PAIRED_H
#define SA_EVAL_PAIRED_H

#include <stddef.h>

#include "wilson.h"

/* McNemar's exact test, two-sided: were better and worse equally likely, how probable is a split at least this uneven?
 * min(1, 2 P(X <= min(better, worse))), X ~ Binomial(better + worse, 1/2); 1 when there are none.
 * McNemar 1947, Psychometrika 12:153; exact form: Agresti, Categorical Data Analysis, 3rd ed., section 11.1.1. */
double mcnemar_exact(size_t better, size_t worse);

/* The 95% interval of the change (better - worse) / n, within -1..1: Wald's with half a sample added to each of the four cells,
 * p12 = (better+1)/(n+2), p21 = (worse+1)/(n+2), p12 - p21 -+ z sqrt((p12 + p21 - (p12 - p21)^2) / (n+2)).
 * Bonett & Price 2012, Statistical Methods in Medical Research 21:479; its coverage holds for small n as well (Fagerland, Lydersen & Laake
 * 2014, Statistics in Medicine 33:2850). n == 0: -1..1, nothing is known. */
struct interval paired_interval(size_t n, size_t better, size_t worse);

#endif
