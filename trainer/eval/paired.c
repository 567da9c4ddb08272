/* paired.c - see paired.h */

#include "paired.h"

#include <math.h>

#define Z95 1.959963984540054	/* 97.5% quantile of the normal distribution */

double
mcnemar_exact(size_t better, size_t worse)
{
	double n = (double)(better + worse), k = (double)(better < worse ? better : worse), sum = 0, p;

	/* From the largest term down, each made of the one before: P(X=i-1) = P(X=i) i / (n-i+1). */
	p = exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2));
	for (double i = k; i >= 0 && p > 0; i--) {
		sum += p;
		p *= i / (n - i + 1);
	}
	return fmin(1, 2 * sum);
}

struct interval
paired_interval(size_t n, size_t better, size_t worse)
{
	double m = (double)n + 2, p12 = ((double)better + 1) / m, p21 = ((double)worse + 1) / m, d = p12 - p21, half;

	if (n == 0)
		return (struct interval){ -1, 1 };
	half = Z95 * sqrt((p12 + p21 - d * d) / m);
	return (struct interval){ fmax(-1, d - half), fmin(1, d + half) };
}
