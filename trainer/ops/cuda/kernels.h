/* kernels.h - the operations on a GPU: bf16 activations and weights, float32 sums, statistics, gradients of weights and master weights
 *
 * Sizes are op.h's (T tokens, C hidden size, H heads, G key-value heads, D head size, F feed-forward size, V vocabulary), and so are the
 * meanings; what is fused or laid out otherwise is told here. `bf16` pointers are uint16_t: the bits. All pointers are device memory unless
 * it says host; matrices are row-major and contiguous unless a row stride is given (in elements). Activations and weights begin at multiples
 * of 16 bytes, and their row lengths and strides are multiples of 8 elements: rows are read 16 bytes at a time.
 *
 * A launcher puts its work into g->stream and returns: 0, or -1 with g->err set when the sizes are not what it can do or the launch was
 * refused. Nothing waits and nothing is allocated: scratch is the caller's, its size told by scratch.h.
 *
 * The same inputs give the same bits in every run on one kind of card: no atomics on floats, and sums are split by the sizes of the problem,
 * never by the number of multiprocessors, which only sets how many blocks share the work of element-wise kernels. (Generations of cards differ
 * in the last bits of rsqrtf and expf.) Matrix products are cuBLASLt's: the same bits with the same algorithm, see matmul.h. */
#ifndef SA_KERNELS_H
#define SA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#include "scratch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where an operation runs, and what launch configurations are made of. Filled by gpu_open(). */
struct gpu {
	int device;
	cudaStream_t stream;
	int sms;		/* multiprocessors */
	int threads;		/* that one of them holds at most */
	size_t shared;		/* bytes of shared memory that a block may ask for */
	struct err *err;	/* the caller's; may be NULL */
};

/* Look at a device and work on stream `s` of it. -1 with *err set: no such device, or older than sm_80. */
int gpu_open(struct gpu *g, int device, cudaStream_t s, struct err *err);

/* For launchers. gpu_refuse(): always -1, the message set. gpu_launched(): 0, or -1 when the launches since the last call were not accepted.
 * gpu_blocks(): how many blocks of `threads` an element-wise kernel over `items` threads' worth of work is started with. */
int gpu_refuse(struct gpu *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int gpu_launched(struct gpu *g, const char *what);
int gpu_blocks(const struct gpu *g, size_t items, int threads);

/* ---- add.cu ---- */

/* out_acc[n] += x[n], bf16. n is a multiple of 8. */
int gpu_add(struct gpu *g, uint16_t *out_acc, const uint16_t *x, size_t n);

/* ---- rmsnorm.cu ---- */

/* sum[T,C] = x + branch (rounded to bf16), out[T,C] = sum * rstd * w[C], rstd[T] = rsqrt(mean(sum^2) + eps) of the rounded sum. branch NULL: no
 * residual, sum is not written. sum may be x. rstd may be NULL. */
int gpu_rmsnorm(struct gpu *g, uint16_t *out, float *rstd, uint16_t *sum, const uint16_t *x, const uint16_t *branch, const uint16_t *w, float eps, int T, int C);
/* dx_acc[T,C] += d loss/d x (x: what was normalised, the sum above), dw_acc[C] += d loss/d w, float, unless
 * NULL. scratch: gpu_rmsnorm_back_scratch() bytes. */
int gpu_rmsnorm_back(struct gpu *g, uint16_t *dx_acc, float *dw_acc, const uint16_t *dout, const uint16_t *x, const uint16_t *w, const float *rstd, void *scratch, int T, int C);

/* The norm of each head of q or k (Qwen3): `heads` heads of D elements a token, tokens of x and out so far apart. out may be x. rstd[T,heads]; may be
 * NULL. */
int gpu_headnorm(struct gpu *g, uint16_t *out, int out_stride, float *rstd, const uint16_t *x, int x_stride, const uint16_t *w, float eps, int T, int heads, int D);
/* dx is overwritten, and may be dout; tokens of both are d_stride apart. dw_acc[D] += unless NULL. scratch: gpu_rmsnorm_back_scratch(T * heads, D). */
int gpu_headnorm_back(struct gpu *g, uint16_t *dx, float *dw_acc, const uint16_t *dout, int d_stride, const uint16_t *x, int x_stride, const uint16_t *w, const float *rstd, void *scratch, int T, int heads, int D);

/* ---- bias.cu ---- */

/* dbias_acc[N] += sums of the columns of dout[T,N], rows stride apart; float. scratch: gpu_bias_back_scratch() bytes. */
int gpu_bias_back(struct gpu *g, float *dbias_acc, const uint16_t *dout, int stride, void *scratch, int T, int N);

/* ---- rope.cu ---- */

/* In place on x[T,heads,D], rows `stride` apart: rotate by pos[t] * inv_freq[i]. sign = 1 forward, -1 backward. Angles in float32. */
int gpu_rope(struct gpu *g, uint16_t *x, int stride, const int *pos, const float *inv_freq, int sign, int T, int heads, int D);

/* ---- attend.cu ---- */

/* Causal attention over packed sequences: sequence s is rows cu[s]..cu[s+1] (on the device; cu[nseq] = T), `longest` the length of the longest
 * one. Tokens of q[T,H,D], k and v[T,G,D] lie `stride` elements apart: they may be parts of one fused qkv[T,(H+2G)D]. out[T,H,D] is contiguous;
 * lse[T,H], the log of the softmax's sum in nats, unless NULL. scale is D^-0.5; D is 16, 32, 64 or 128; H a multiple of G. A sequence's results
 * depend on nothing else in the batch. (These and the next have run under tests/cudasim only, not on a GPU.) */
int gpu_attend(struct gpu *g, uint16_t *out, float *lse, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const int *cu, int nseq, int longest, int T, int H, int G, int D);
/* dq, dk, dv are overwritten, tokens dstride apart (as parts of one array, too). dout and out are contiguous as out above. scratch:
 * gpu_attend_back_scratch() bytes, aligned to 16. In how many parts the heads that share keys are summed depends on T, and so do last bits of dk and dv. */
int gpu_attend_back(struct gpu *g, uint16_t *dq, uint16_t *dk, uint16_t *dv, int dstride, const uint16_t *dout, const uint16_t *q, const uint16_t *k, const uint16_t *v, int stride, const uint16_t *out, const float *lse, const int *cu, int nseq, int longest, void *scratch, int T, int H, int G, int D);

/* ---- attend_cached.cu: serving ---- */

/* The keys and values of sequences, in pages of KV_PAGE tokens (op.h) that lie in one array, page p from element p * stride on; those of one layer, from
 * element `at` of each page on, take gpu_kv_elements() elements: [G,KV_PAGE,D] keys, then as many values. Arrays are on the device, numbers on the host. */
struct gpu_kv {
	uint16_t *pages;
	size_t stride, at;	/* multiples of 8 */
	const int *table;	/* [nspans,table_stride]: page i of span s has its tokens i KV_PAGE on; what is past its last token is not read */
	int table_stride;
	const int *past;	/* [nspans]: the tokens that were there before */
	const int *cu;		/* [nspans+1]: rows cu[s]..cu[s+1] of q, k, v are the span's new tokens, at positions past[s]... */
	int nspans, T;		/* T = cu[nspans] */
	int most, longest;	/* the largest number of new tokens, and of new and old ones together */
};

size_t gpu_kv_elements(int G, int D);
/* Store k, v[T,G,D], tokens `stride` elements apart. */
int gpu_kv_put(struct gpu *g, const struct gpu_kv *kv, const uint16_t *k, const uint16_t *v, int stride, int G, int D);
/* q[T,H,D], tokens `stride` apart, sees all tokens of its sequence up to its own: out[T,H,D]. Row t of out is the same bits whatever else is in the batch, and
 * whether its token comes alone or among others. scratch: gpu_attend_cached_scratch() bytes, aligned to 16. D and H as gpu_attend()'s. */
int gpu_attend_cached(struct gpu *g, uint16_t *out, const uint16_t *q, int stride, const struct gpu_kv *kv, void *scratch, int H, int G, int D);
size_t gpu_attend_cached_scratch(int nspans, int longest, int H, int D);

/* ---- swiglu.cu ---- */

/* gate_up[T,2F]: F of gate, then F of up. out[T,F] = silu(gate) * up */
int gpu_swiglu(struct gpu *g, uint16_t *out, const uint16_t *gate_up, int T, int F);
/* dgate_up[T,2F] overwritten; may be gate_up. out (unless NULL) gets the forward's result again, for the weight gradient of the product after
 * it, so that it need not be kept. */
int gpu_swiglu_back(struct gpu *g, uint16_t *dgate_up, uint16_t *out, const uint16_t *dout, const uint16_t *gate_up, int T, int F);

/* ---- embed.cu ---- */

/* out[T,C] = table[ids[t],:] */
int gpu_embed(struct gpu *g, uint16_t *out, const uint16_t *table, const int *ids, int T, int C);
/* out[rows[i],:] = x[i,:], i < n: the way back. No two rows are the same. */
int gpu_scatter(struct gpu *g, uint16_t *out, const uint16_t *x, const int *rows, int n, int C);
/* Host: sort the tokens of a batch by id, those of one id in order. at[T] gets positions, first[0..n] where in it each of the n different ids
 * begins (first[n] = T), id[n] which they are; room for T + 1 and T. Returns n. */
int gpu_embed_sort(int *at, int *first, int *id, const int *ids, int T);
/* dtable_acc[id,:] += dout[t,:] for all tokens t of each id, in token order; float. at, first, id: gpu_embed_sort()'s, on the device. */
int gpu_embed_back(struct gpu *g, float *dtable_acc, const uint16_t *dout, const int *at, const int *first, const int *id, int n, int C);

/* ---- cross_entropy.cu ---- */

/* Softmax cross entropy of logits[T,V], rows Vp >= V apart (a multiple of 8), against target[t]: loss[t] in nats, not weighted; logits are
 * overwritten with scale * weight[t] * d loss/d logits, columns V..Vp-1 with 0. weight NULL: 1 everywhere. */
int gpu_cross_entropy(struct gpu *g, uint16_t *logits, float *loss, const int *target, const float *weight, float scale, int T, int V, int Vp);
/* *sum_acc += the sum of weight[i] * x[i], i < n, in float64 and a fixed order. weight NULL: 1 everywhere. */
int gpu_sum(struct gpu *g, double *sum_acc, const float *x, const float *weight, size_t n);

/* ---- sumsq.cu ---- */

/* part[0..gpu_sumsq_parts(n)) = sums of squares of pieces of x[n]. Gradients that are several arrays write one after the other into one
 * array of parts. */
int gpu_sumsq(struct gpu *g, double *part, const float *x, size_t n);
/* clip[0] = the norm, clip[1] = gscale * min(1, max_norm / (norm + 1e-6)) where norm = gscale * sqrt(sum of the parts); max_norm 0: gscale. The
 * norm of a gradient with a NaN is NaN, and so is then clip[1]. */
int gpu_clip(struct gpu *g, float *clip, const double *part, size_t parts, float gscale, float max_norm);

/* ---- adamw.cu ---- */

/* The state of n parameters. The exact float32 weight is either master[], with copy[] its bf16 rounding, or the two together without
 * master (NULL): copy[] holds the high half and low[] the low 16 bits, where copy is rounded up when bit 15 of low is set. Moments are
 * float32 in m, v, or bf16 in m16, v16 with stochastic rounding (m, v NULL). */
struct gpu_adamw {
	float *master;
	uint16_t *copy, *low;
	float *m, *v;
	uint16_t *m16, *v16;
	size_t n;
	uint64_t first;		/* of parameter 0 in the whole model: what random bits are drawn by */
};

/* One update as op.h's, g[n] times *gscale (device: clip[1] of gpu_clip; NULL: 1). step counts from 1; seed: of stochastic rounding. */
int gpu_adamw(struct gpu *g, const struct gpu_adamw *a, const float *grad, const float *gscale, float lr, float b1, float b2, float eps, float decay, long step, uint64_t seed);
/* From float32 weights to copy and low. */
int gpu_adamw_split(struct gpu *g, uint16_t *copy, uint16_t *low, const float *w, size_t n);
/* And back. */
int gpu_adamw_join(struct gpu *g, float *w, const uint16_t *copy, const uint16_t *low, size_t n);

#ifdef __cplusplus
}
#endif
#endif
