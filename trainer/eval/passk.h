/* passk.h - the chance that at least one of k samples is right. Pure. */
#ifndef SA_EVAL_PASSK_H
#define SA_EVAL_PASSK_H

#include <stddef.h>

/* The unbiased estimate of pass@k from n samples of which c are right, 1 <= k <= n: 1 - C(n-c, k) / C(n, k), computed as
 * 1 - prod_{i=n-c+1..n} (1 - k/i), and 1 when n - c < k. Chen et al. 2021, "Evaluating Large Language Models Trained on Code", 2.1. */
double pass_at_k(size_t n, size_t c, size_t k);

#endif
