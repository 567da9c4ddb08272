/* matmul.h - matrix products by cuBLASLt: bf16 in, float32 inside, bf16 or float32 out
 *
 * Matrices, sizes and strides are as kernels.h tells; a stride is that of the matrix with T rows and N columns, which may be wider than N (logits).
 * Products of different algorithms differ in their last bits, so which one is taken must not change: gpu_matmul_tune() times the candidates once a
 * shape, before training, and keeps the fastest in a file for this kind of card and version of cuBLAS; with that file the same inputs give the
 * same bits in every run. A shape that was never tuned takes the heuristics' first candidate, which is the same for the same version. Only
 * algorithms that keep partial sums in float32 are considered. */
#ifndef SA_MATMUL_H
#define SA_MATMUL_H

#include <stddef.h>
#include <stdint.h>

struct gpu;
struct gpu_matmul;

/* workspace: device memory that is used in g->stream alone, aligned to 256; 32 MiB are enough for every algorithm of sm_90. file: where choices
 * are kept, made when it is not there; NULL: nowhere. NULL with g->err set. g and the workspace outlive what is returned. */
struct gpu_matmul *gpu_matmul_new(struct gpu *g, void *workspace, size_t workspace_size, const char *file);
void gpu_matmul_free(struct gpu_matmul *m);

/* out[T,N] = x[T,K] w[N,K]^T (+ bias[N], unless NULL), rows of out `stride` apart */
int gpu_linear(struct gpu_matmul *m, uint16_t *out, int stride, const uint16_t *x, const uint16_t *w, const uint16_t *bias, int T, int K, int N);
/* The same in float, for logits that tokens are drawn from: bf16 has 8 bits of them. */
int gpu_linear_float(struct gpu_matmul *m, float *out, int stride, const uint16_t *x, const uint16_t *w, int T, int K, int N);
/* dx[T,K] (added to when accum) = dout[T,N] w[N,K] */
int gpu_linear_back_x(struct gpu_matmul *m, uint16_t *dx, int accum, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N);
/* dw_acc[N,K] += dout[T,N]^T x[T,K], float */
int gpu_linear_back_w(struct gpu_matmul *m, float *dw_acc, const uint16_t *dout, int stride, const uint16_t *x, int T, int K, int N);

enum gpu_product { GPU_FORWARD, GPU_FORWARD_BIAS, GPU_FORWARD_FLOAT, GPU_BACK_X, GPU_BACK_X_ACC, GPU_BACK_W };

/* Choose for one product, by time; nothing when the file knew it already. scratch: device memory to work in, gpu_matmul_tune_scratch() bytes,
 * aligned to 256; what is in it is overwritten. Waits for the stream. */
int gpu_matmul_tune(struct gpu_matmul *m, enum gpu_product which, int stride, int T, int K, int N, void *scratch);
size_t gpu_matmul_tune_scratch(int stride, int T, int K, int N);

#endif
