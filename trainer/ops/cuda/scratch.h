/* scratch.h - how much memory the operations of kernels.h work in, in bytes; needs no CUDA, so that a plan can be made without it */
#ifndef SA_SCRATCH_H
#define SA_SCRATCH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the products, on any card: what cuBLASLt's fastest algorithms ask for on sm_90. */
#define GPU_WORKSPACE (32 << 20)

/* What the kernels divide their work into: rows a partial sum (columns.h), numbers a partial sum of squares (sumsq.cu), bytes a row of attention's
 * backward, and rows a block of it for heads of 128 and of 64 or less (attend_back.cu). */
enum { PART_ROWS = 128, SUMSQ_PIECE = 256 * 64, EDGE_BYTES = 16, ATTEND_OWN_128 = 64, ATTEND_OWN_64 = 128 };

size_t gpu_rmsnorm_back_scratch(int T, int C);
size_t gpu_bias_back_scratch(int T, int N);
size_t gpu_attend_back_scratch(int T, int H, int G, int D);	/* fewer tokens may take more */
/* How many of the query heads that share a key head one block takes: all, or the most that make enough blocks. By the sizes alone, so that the bits are the
 * same on every card of a kind. And the floats that the blocks' sums of dk or dv take when they are to be added up. */
int gpu_attend_heads(int T, int H, int G, int D);
size_t gpu_attend_back_sums(int T, int H, int G, int D);
/* A number, not bytes. */
size_t gpu_sumsq_parts(size_t n);

#ifdef __cplusplus
}
#endif
#endif
