/* scratch.c - see scratch.h */
#include <stdint.h>

#include "scratch.h"

enum { BLOCKS = 256 };	/* of attention's dk and dv; the largest cards hold 2 x 148 at a time */

/* Sums over the rows of a matrix, a float for each part and column. */
static size_t
columns(int rows, int C)
{
	return (size_t)((rows + PART_ROWS - 1) / PART_ROWS) * (size_t)C * sizeof(float);
}

size_t
gpu_rmsnorm_back_scratch(int T, int C)
{
	return columns(T, C);
}

size_t
gpu_bias_back_scratch(int T, int N)
{
	return columns(T, N);
}

int
gpu_attend_heads(int T, int H, int G, int D)
{
	int group = H / G, heads = group, parts = T / (D > 64 ? ATTEND_OWN_128 : ATTEND_OWN_64) + 1;

	while (heads > 1 && (group % heads || (int64_t)parts * (H / heads) < BLOCKS))
		heads--;
	return heads;
}

size_t
gpu_attend_back_sums(int T, int H, int G, int D)
{
	int heads = gpu_attend_heads(T, H, G, D);

	return heads < H / G ? (size_t)T * (size_t)(H / heads) * (size_t)D : 0;
}

size_t
gpu_attend_back_scratch(int T, int H, int G, int D)
{
	return (size_t)T * (size_t)H * EDGE_BYTES + 2 * gpu_attend_back_sums(T, H, G, D) * sizeof(float);
}

size_t
gpu_sumsq_parts(size_t n)
{
	return (n + SUMSQ_PIECE - 1) / SUMSQ_PIECE;
}
