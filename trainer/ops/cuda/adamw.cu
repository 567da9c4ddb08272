/* adamw.cu - one AdamW update in one pass over weights, gradient and moments
 *
 * At a learning rate of 6e-7 most updates are smaller than half of a bf16 weight's last bit: the weight itself must be float32, exactly. It is kept
 * whole, or as the bf16 copy that the products read and the 16 bits that the copy lacks (4 bytes a parameter instead of 6). Moments in bf16
 * are rounded up or down by chance in the proportion of what is cut off, so that what is too small for a bit is added on average. */
#include "gpu.h"
#include "kernels.h"

enum { THREADS = 256, SPLIT = 4 };

struct step {
	float lr, b1, b2, c1, c2, eps, decay;	/* c1, c2: 1 - b^step */
	uint64_t seed;
};

/* Weight bits <-> the bf16 number next to it (ties away from zero) and the low half. */
static __device__ __forceinline__ void
split(float w, uint16_t *copy, uint16_t *low)
{
	unsigned u = __float_as_uint(w);

	*copy = (uint16_t)((u + 0x8000u) >> 16);
	*low = (uint16_t)u;
}

static __device__ __forceinline__ float
join(uint16_t copy, uint16_t low)
{
	return __uint_as_float(((unsigned)copy - (low >> 15)) << 16 | low);
}

/* Steele et al. 2014, SplitMix64: 64 bits for one parameter of one step. */
static __device__ __forceinline__ uint64_t
bits_of(uint64_t seed, uint64_t parameter)
{
	uint64_t z = seed + (parameter + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static __device__ __forceinline__ uint16_t
round_by_chance(float f, unsigned bits)
{
	unsigned u = __float_as_uint(f);

	if ((u & 0x7f800000u) != 0x7f800000u)	/* infinity and NaN stay */
		u += bits & 0xffffu;
	return (uint16_t)(u >> 16);
}

/* Four neighbouring bf16 numbers: one 8-byte access. */
struct four {
	uint16_t h[4];
};

static __device__ __forceinline__ struct four
load4(const uint16_t *p)
{
	uint2 u = *reinterpret_cast<const uint2 *>(p);

	return { { (uint16_t)u.x, (uint16_t)(u.x >> 16), (uint16_t)u.y, (uint16_t)(u.y >> 16) } };
}

static __device__ __forceinline__ void
store4(uint16_t *p, const struct four *v)
{
	*reinterpret_cast<uint2 *>(p) = make_uint2(v->h[0] | (unsigned)v->h[1] << 16, v->h[2] | (unsigned)v->h[3] << 16);
}

static __device__ __forceinline__ void
load_floats(float *out, const float *p)
{
	float4 v = *reinterpret_cast<const float4 *>(p);

	out[0] = v.x;
	out[1] = v.y;
	out[2] = v.z;
	out[3] = v.w;
}

static __device__ __forceinline__ void
store_floats(float *p, const float *v)
{
	*reinterpret_cast<float4 *>(p) = make_float4(v[0], v[1], v[2], v[3]);
}

template <bool MASTER> static __device__ __forceinline__ void
load_weights(float *w, const struct gpu_adamw *a, size_t i)
{
	if (MASTER) {
		load_floats(w, a->master + i);
	} else {
		struct four copy = load4(a->copy + i), low = load4(a->low + i);

		for (int k = 0; k < 4; k++)
			w[k] = join(copy.h[k], low.h[k]);
	}
}

template <bool MASTER> static __device__ __forceinline__ void
store_weights(const struct gpu_adamw *a, size_t i, const float *w)
{
	struct four copy, low;

	for (int k = 0; k < 4; k++)
		if (MASTER)
			copy.h[k] = bf16_down(w[k]);
		else
			split(w[k], &copy.h[k], &low.h[k]);
	store4(a->copy + i, &copy);
	if (MASTER)
		store_floats(a->master + i, w);
	else
		store4(a->low + i, &low);
}

template <bool HALF> static __device__ __forceinline__ void
load_moments(float *m, float *v, const struct gpu_adamw *a, size_t i)
{
	if (HALF) {
		struct four mh = load4(a->m16 + i), vh = load4(a->v16 + i);

		for (int k = 0; k < 4; k++) {
			m[k] = bf16_up(mh.h[k]);
			v[k] = bf16_up(vh.h[k]);
		}
	} else {
		load_floats(m, a->m + i);
		load_floats(v, a->v + i);
	}
}

template <bool HALF> static __device__ __forceinline__ void
store_moments(const struct gpu_adamw *a, size_t i, const float *m, const float *v, uint64_t seed)
{
	if (HALF) {
		struct four mh, vh;

		for (int k = 0; k < 4; k++) {
			uint64_t bits = bits_of(seed, a->first + i + k);

			mh.h[k] = round_by_chance(m[k], (unsigned)bits);
			vh.h[k] = round_by_chance(v[k], (unsigned)(bits >> 16));
		}
		store4(a->m16 + i, &mh);
		store4(a->v16 + i, &vh);
	} else {
		store_floats(a->m + i, m);
		store_floats(a->v + i, v);
	}
}

template <bool MASTER, bool HALF> static __global__ void __launch_bounds__(THREADS)
adamw_kernel(struct gpu_adamw a, const float *grad, const float *gscale, struct step s)
{
	size_t by = (size_t)gridDim.x * blockDim.x * SPLIT;
	float scale = gscale ? *gscale : 1.0f;

	for (size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * SPLIT; i < a.n; i += by) {
		float w[SPLIT], m[SPLIT], v[SPLIT], d[SPLIT];

		load_weights<MASTER>(w, &a, i);
		load_moments<HALF>(m, v, &a, i);
		load_floats(d, grad + i);
		for (int k = 0; k < SPLIT; k++) {
			d[k] *= scale;
			m[k] = s.b1 * m[k] + (1 - s.b1) * d[k];
			v[k] = s.b2 * v[k] + (1 - s.b2) * d[k] * d[k];
			w[k] -= s.lr * (m[k] / s.c1 / (sqrtf(v[k] / s.c2) + s.eps) + s.decay * w[k]);
		}
		store_weights<MASTER>(&a, i, w);
		store_moments<HALF>(&a, i, m, v, s.seed);
	}
}

static __global__ void __launch_bounds__(THREADS)
split_kernel(uint16_t *copy, uint16_t *low, const float *w, size_t n)
{
	size_t by = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += by)
		split(w[i], &copy[i], &low[i]);
}

static __global__ void __launch_bounds__(THREADS)
join_kernel(float *w, const uint16_t *copy, const uint16_t *low, size_t n)
{
	size_t by = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += by)
		w[i] = join(copy[i], low[i]);
}

extern "C" int
gpu_adamw(struct gpu *g, const struct gpu_adamw *a, const float *grad, const float *gscale, float lr, float b1, float b2, float eps, float decay, long step, uint64_t seed)
{
	struct step s = { lr, b1, b2, (float)(1 - pow(b1, (double)step)), (float)(1 - pow(b2, (double)step)), eps, decay, seed * 0xd1342543de82ef95ull + (uint64_t)step };
	bool master = a->master != NULL, half = a->m16 != NULL;
	int blocks = gpu_blocks(g, a->n / SPLIT, THREADS);

	if (a->n % SPLIT || step < 1 || !a->copy || (!master && !a->low) || (half ? !a->v16 : !a->m || !a->v))
		return gpu_refuse(g, "adamw: %zu parameters, step %ld: no multiple of %d, or an array is missing", a->n, step, (int)SPLIT);
	if (a->n == 0)
		return 0;
	if (master && half)
		LAUNCH((adamw_kernel<true, true>), blocks, THREADS, 0, g->stream, *a, grad, gscale, s);
	else if (master)
		LAUNCH((adamw_kernel<true, false>), blocks, THREADS, 0, g->stream, *a, grad, gscale, s);
	else if (half)
		LAUNCH((adamw_kernel<false, true>), blocks, THREADS, 0, g->stream, *a, grad, gscale, s);
	else
		LAUNCH((adamw_kernel<false, false>), blocks, THREADS, 0, g->stream, *a, grad, gscale, s);
	return gpu_launched(g, "adamw");
}

extern "C" int
gpu_adamw_split(struct gpu *g, uint16_t *copy, uint16_t *low, const float *w, size_t n)
{
	if (n == 0)
		return 0;
	LAUNCH(split_kernel, gpu_blocks(g, n, THREADS), THREADS, 0, g->stream, copy, low, w, n);
	return gpu_launched(g, "adamw split");
}

extern "C" int
gpu_adamw_join(struct gpu *g, float *w, const uint16_t *copy, const uint16_t *low, size_t n)
{
	if (n == 0)
		return 0;
	LAUNCH(join_kernel, gpu_blocks(g, n, THREADS), THREADS, 0, g->stream, w, copy, low, n);
	return gpu_launched(g, "adamw join");
}
