/* rope.cu - rotary position embedding in place: element i of a head turns with element i + D/2 (rotate_half)
 *
 * A thread has 8 angles of one token and turns them in a few heads: sine and cosine cost more than the turning. Angles are float32 products
 * and their sines are those of the accurate function, whose error does not grow with the position. */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 128, HEADS_EACH = 4 };

static __device__ __forceinline__ void
turn8(uint16_t *low, uint16_t *high, const float *c, const float *s)
{
	struct eight a = load8(low), b = load8(high);

	for (int k = 0; k < 8; k++) {
		float x = a.f[k], y = b.f[k];

		a.f[k] = x * c[k] - y * s[k];
		b.f[k] = y * c[k] + x * s[k];
	}
	store8(low, &a);
	store8(high, &b);
}

static __global__ void __launch_bounds__(THREADS)
rope_kernel(uint16_t *x, int stride, const int *pos, const float *inv_freq, float sign, int T, int heads, int D)
{
	int pieces = D / 16, groups = (heads + HEADS_EACH - 1) / HEADS_EACH;
	size_t n = (size_t)T * groups * pieces, step = (size_t)gridDim.x * blockDim.x;

	for (size_t item = (size_t)blockIdx.x * blockDim.x + threadIdx.x; item < n; item += step) {
		int i = (int)(item % pieces) * 8, first = (int)(item / pieces % groups) * HEADS_EACH, t = (int)(item / pieces / groups);
		uint16_t *row = x + (size_t)t * stride + i;
		float c[8], s[8], at = pos[t];

		for (int k = 0; k < 8; k++) {
			sincosf(at * inv_freq[i + k], &s[k], &c[k]);
			s[k] *= sign;
		}
		for (int h = first; h < min(heads, first + HEADS_EACH); h++)
			turn8(row + (size_t)h * D, row + (size_t)h * D + D / 2, c, s);
	}
}

extern "C" int
gpu_rope(struct gpu *g, uint16_t *x, int stride, const int *pos, const float *inv_freq, int sign, int T, int heads, int D)
{
	size_t items = (size_t)(T > 0 ? T : 0) * (size_t)((heads + HEADS_EACH - 1) / HEADS_EACH) * (size_t)(D / 16);

	if (T < 0 || heads < 1 || D < 16 || D % 16 || stride % 8 || stride < heads * D)
		return gpu_refuse(g, "rope: %d tokens of %d heads of %d, %d apart", T, heads, D, stride);
	if (T == 0)
		return 0;
	LAUNCH(rope_kernel, gpu_blocks(g, items, THREADS), THREADS, 0, g->stream, x, stride, pos, inv_freq, (float)sign, T, heads, D);
	return gpu_launched(g, "rope");
}
