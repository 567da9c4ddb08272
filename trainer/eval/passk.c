/* passk.c - see passk.h */

#include "passk.h"

double
pass_at_k(size_t n, size_t c, size_t k)
{
	double none = 1;

	if (n - c < k)
		return 1;
	for (size_t i = n - c + 1; i <= n; i++)
		none *= 1 - (double)k / (double)i;
	return 1 - none;
}
