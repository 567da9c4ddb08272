/* op.h - every operation that a forward or backward pass needs: the contract between the transformer and the machine
 *
 * T tokens in the batch, C hidden size, H heads, G key-value heads, D head size, F feed-forward size, V vocabulary. Row-major, last
 * dimension contiguous. `out` is overwritten; names and arguments with _acc are added to. Activations and gradients are float. Sizes are
 * checked by the caller (model/). Pointers live on the machine that the table belongs to: ops_plain is ten obvious lines each and the
 * oracle, ops_cpu is threaded and vectorised (its products are cpu/gemm.h's), the operations for a GPU are cuda/kernels.h: bf16 and
 * fused, so not this table.
 *
 * A result never depends on what else is in the batch: in the forward operations row t of out is the same bits whatever T is and on
 * however many threads (batch-invariant). The backward ones are the same bits for the same shapes and the same number of threads.
 *
 * Sources: RMSNorm, Zhang & Sennrich 2019; RoPE, Su et al. 2021 (rotate_half as in HF transformers); SwiGLU, Shazeer 2020;
 * grouped-query attention, Ainslie et al. 2023; AdamW, Loshchilov & Hutter 2019. */
#ifndef SA_OP_H
#define SA_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "matrix.h"

struct mach;	/* threads and scratch of one machine */

#define KV_PAGE 32	/* tokens; a multiple of every tile's width (gemm.h) */

/* New tokens of one sequence: positions past..past+n-1. */
struct kv_span {
	float *const *page;	/* [(past + n + KV_PAGE - 1) / KV_PAGE], aligned to 64 bytes */
	int past, n;
};

struct ops {
	const char *name;

	/* out[T,C] = table[ids[t],:] */
	void (*embed)(struct mach *m, float *out, const float *table, const int *ids, int T, int C);
	/* dtable_acc[ids[t],:] += dout[t,:], in token order */
	void (*embed_back)(struct mach *m, float *dtable_acc, const float *dout, const int *ids, int T, int C);

	/* out[T,C] = x * rsqrt(mean(x^2) + eps) * w[C]; keeps rstd[T] (may be NULL) for the backward */
	void (*rmsnorm)(struct mach *m, float *out, float *rstd, const float *x, const float *w, float eps, int T, int C);
	/* dx_acc[T,C] += d loss/d x; dw_acc[C] += d loss/d w, summed in token order, unless NULL */
	void (*rmsnorm_back)(struct mach *m, float *dx_acc, float *dw_acc, const float *dout, const float *x, const float *w, const float *rstd, int T, int C);

	/* out[T,N] = x[T,K] * w[N,K]^T (+ bias[N] unless NULL) */
	void (*linear)(struct mach *m, float *out, const float *x, const float *w, const float *bias, int T, int K, int N);
	/* dx[T,K] = dout[T,N] * w (added when accum_dx; skipped when dx is NULL); dw_acc[N,K] += dout^T * x, unless NULL;
	 * dbias_acc[N] += column sums, unless NULL */
	void (*linear_back)(struct mach *m, float *dx, int accum_dx, float *dw_acc, float *dbias_acc, const float *dout, const float *x, const float *w, int T, int K, int N);

	/* Serving: out[T,K] = rows ids[t] of the table */
	void (*gather)(struct mach *m, float *out, const struct matrix *table, const int *ids, int T);
	/* Serving: n products of the same x[T,K] (matrix.h). Where the machine multiplies the matrix's dtype, x is rounded to it (unless wide) and the
	 * sums are float; else the weights are widened. What a sum's order is depends on K and the machine alone. */
	void (*products)(struct mach *m, const struct product *p, int n, const float *x, int T);

	/* in place on x[T,heads,D]: rotate by the angle pos[t] * inv_freq[i], i < D/2. sign = 1 forward, -1 backward */
	void (*rope)(struct mach *m, float *x, const int *pos, const float *inv_freq, int sign, int T, int heads, int D);

	/* Causal attention over packed sequences: sequence s is rows cu[s]..cu[s+1]. q[T,H,D], k, v[T,G,D]; out[T,H,D]; keeps lse[T,H]
	 * (log of the softmax's sum, nats) for the backward. scale is D^-0.5. Never holds T x T. */
	void (*attend)(struct mach *m, float *out, float *lse, const float *q, const float *k, const float *v, const int *cu, int nseq, int H, int G, int D);
	/* dq[T,H,D], dk, dv[T,G,D] overwritten */
	void (*attend_back)(struct mach *m, float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k, const float *v,
			    const float *out, const float *lse, const int *cu, int nseq, int H, int G, int D);

	/* Serving: the keys and values of a sequence lie in pages of KV_PAGE tokens each, those of one layer from float `at` of each page on. How
	 * they lie there is the machine's own: kv_floats() is the room that one layer takes. kv_put() stores k, v[T,G,D], the rows of the spans one
	 * after the other; attend_cached() lets q[T,H,D] see all tokens of its sequence up to its own: out[T,H,D]. */
	size_t (*kv_floats)(int G, int D);
	void (*kv_put)(struct mach *m, const struct kv_span *s, int nspans, size_t at, const float *k, const float *v, int G, int D);
	void (*attend_cached)(struct mach *m, float *out, const float *q, const struct kv_span *s, int nspans, size_t at, int H, int G, int D);

	/* out[T,F] = silu(gate) * up */
	void (*swiglu)(struct mach *m, float *out, const float *gate, const float *up, int T, int F);
	void (*swiglu_back)(struct mach *m, float *dgate, float *dup, const float *dout, const float *gate, const float *up, int T, int F);

	/* Softmax cross entropy of logits[T,V] against target[t] in 0..V-1: returns the sum of weight[t] * loss (nats, fp64, in row order) and overwrites
	 * logits with scale * weight[t] * d loss/d logits. loss[T] (unless NULL) gets each row's, not weighted; weight NULL: 1 everywhere. */
	double (*cross_entropy)(struct mach *m, float *logits, float *loss, const int *target, const float *weight, float scale, int T, int V);

	/* out_acc[n] += x[n] */
	void (*add)(struct mach *m, float *out_acc, const float *x, size_t n);
	/* x[n] *= by */
	void (*scale)(struct mach *m, float *x, float by, size_t n);
	/* sum of squares of x[n], fp64, fixed order */
	double (*sumsq)(struct mach *m, const float *x, size_t n);
	/* AdamW, one tensor: g scaled by gscale (clipping); m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, w -= lr * (mhat / (sqrt(vhat) + eps) + decay * w).
	 * step counts from 1 */
	void (*adamw)(struct mach *m, float *w, const float *g, float *mom, float *var, size_t n, float gscale, float lr, float b1, float b2, float eps, float decay, long step);
};

extern const struct ops ops_plain, ops_cpu;
/* ops_cpu with linear, linear_back, attend_back (but for its scores) and attend_cached of bf16 numbers: the factors of each product are rounded (weights, too,
 * each time; keys and values as they are put into pages, which take half the room), sums, results and all else stay float.
 * By the processor's instruction where SA_CPU is avx512bf16, twice as fast as float there; elsewhere slower than float, its sums rounded otherwise. */
extern const struct ops ops_cpu_bf16;
bool ops_cpu_has_bf16(void);	/* that instruction */
/* The one whose attention rounds what products() with w rounds. */
const struct ops *ops_cpu_for(const struct matrix *w);

/* log(sum(exp(x[i]))), nats, by the calling thread: terms within 2 units in the last place, blocks of 1,024 in float and those in fp64, in order. NaN
 * when one is NaN or the largest is not finite. */
double log_sum_exp(const float *x, size_t n);

/* The same for a row of n logits. The first of the largest: -1 when one is NaN, or the largest is not finite. */
int logits_argmax(const float *x, int n);
/* The first from `from` on that is more than `than`; n when none is. */
int logits_above(const float *x, int from, int n, float than);
/* 1 + how many are more than x[id], or equal and before it. */
int logits_rank(const float *x, int n, int id);

/* threads <= 0: as many as this process may run on. NULL never: dies when out of memory, or when SA_CPU (cpu/isa.h) is wrong. */
struct mach *mach_new(int threads);
void mach_free(struct mach *m);
int mach_threads(const struct mach *m);
/* Run fn(arg, part, parts) on every thread, part = 0..parts-1, and wait. For operations and their tests. */
void mach_run(struct mach *m, void (*fn)(void *arg, int part, int parts), void *arg);

#endif
