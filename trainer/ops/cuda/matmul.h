/* matmul.h - matrix products by cuBLASLt: bf16 in, float32 inside, bf16 or float32 out
 *
 * Matrices, sizes and strides are as kernels.h tells; a stride is that of the matrix with T rows and N columns, which may be wider than N (logits).
 * Products of different algorithms differ in their last bits, so which one is taken must not change: gpu_matmul_tune() times the candidates once a
 * shape, before anything else is computed, and keeps the fastest in a file (choices.h) for this kind of card and version of cuBLAS; with that file the same
 * inputs give the same bits in every run. A product takes the algorithm that was chosen for its matrix and stride at the smallest T that is not below
 * its own, of those shapes that this process asked for (whatever else the file knows), where cuBLASLt accepts it. Every other product takes the
 * heuristics' first candidate, which is the same for the same version. Only algorithms that keep partial sums in float32 are considered. */
#ifndef SA_MATMUL_H
#define SA_MATMUL_H

#include <stddef.h>
#include <stdint.h>

#include "choices.h"

struct gpu;
struct gpu_matmul;

/* workspace: device memory that is used in g->stream alone, aligned to 256; 32 MiB are enough for every algorithm of sm_90. NULL with g->err set. g and
 * the workspace outlive what is returned. */
struct gpu_matmul *gpu_matmul_new(struct gpu *g, void *workspace, size_t workspace_size);
void gpu_matmul_free(struct gpu_matmul *m);

/* out[T,N] = x[T,K] w[N,K]^T (+ bias[N], unless NULL), rows of out `stride` apart */
int gpu_linear(struct gpu_matmul *m, uint16_t *out, int stride, const uint16_t *x, const uint16_t *w, const uint16_t *bias, int T, int K, int N);
/* out[T,N] = (accum ? out : 0) + scale * x[T,K] w[N,K]^T, for adapters */
int gpu_linear_scaled(struct gpu_matmul *m, uint16_t *out, int stride, int accum, float scale, const uint16_t *x, const uint16_t *w, int T, int K, int N);
/* gpu_linear() without a bias, in float: for logits that tokens are drawn from: bf16 has 8 bits of them. */
int gpu_linear_float(struct gpu_matmul *m, float *out, int stride, const uint16_t *x, const uint16_t *w, int T, int K, int N);
/* dx[T,K] (added to when accum) = dout[T,N] w[N,K] */
int gpu_linear_back_x(struct gpu_matmul *m, uint16_t *dx, int accum, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N);
/* dx[T,K] = scale * dout[T,N] w[N,K] */
int gpu_linear_back_x_scaled(struct gpu_matmul *m, uint16_t *dx, float scale, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N);
/* dw_acc[N,K] += dout[T,N]^T x[T,K], float */
int gpu_linear_back_w(struct gpu_matmul *m, float *dw_acc, const uint16_t *dout, int stride, const uint16_t *x, int T, int K, int N);

enum gpu_product { GPU_FORWARD, GPU_FORWARD_BIAS, GPU_FORWARD_FLOAT, GPU_BACK_X, GPU_BACK_X_ACC, GPU_BACK_W };

/* How messages are said, a line each without its end. */
typedef void gpu_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Choose for n products what `file` knows, by time what it does not. scratch: device memory to work in, aligned to 256, `size` bytes; what is in it is
 * overwritten. A product that needs more (gpu_matmul_tune_scratch()) stays with the heuristics. file NULL: nothing is done. Where the file cannot be had nothing is
 * chosen, for the next run would choose otherwise; that, that timing begins, and that it took too long (2 s for a product, 60 s for all: what was tried by then
 * counts, the first of the heuristics at least) is said. Waits for the stream. -1 with g->err set: the device failed. */
int gpu_matmul_tune(struct gpu_matmul *m, const struct gpu_shape *shapes, int n, const char *file, void *scratch, size_t size, gpu_say *say);
size_t gpu_matmul_tune_scratch(const struct gpu_shape *s);
/* A hash of all that was chosen: other choices may give other bits. 0: nothing was. */
uint64_t gpu_matmul_chosen(const struct gpu_matmul *m);

#endif
