/* cudasim.h - what a kernel sees when its source is compiled by g++ for the CPU: CUDA's names, each with its meaning here
 *
 * Included by trainer/ops/cuda/gpu.h and by nothing else. A CUDA thread is a fiber; the blocks of a launch run one after another. How the
 * threads are run, what is checked and what is not is told in README.md beside this file; sim.h is the inside.
 *
 * A call that other threads take part in (barriers, shuffles, mma) is known by its place in the source: all threads that meet in one must
 * have come to the same line. So each takes a hidden last argument, its caller's file and line. */
#ifndef CUDASIM_H
#define CUDASIM_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include <cuda_runtime_api.h>
#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_bf16.h>

/* NVIDIA's headers, where they are used, define these as attributes of their own compiler. */
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __launch_bounds__
#undef __forceinline__
#undef __noinline__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

namespace cudasim {

struct place {
	const char *file;
	int line;
};

enum warp_op { SHFL_IDX, SHFL_UP, SHFL_DOWN, SHFL_XOR, ANY, ALL, BALLOT, SYNCWARP, ADD, MAX, MIN, MATCH, TOGETHER };

/* One lane's part in a warp operation. TOGETHER: fn is called once, when all lanes of the mask are there, with every lane's part (NULL for
 * those outside of the mask); it is how mma and ldmatrix are made. */
struct lane_part {
	uint64_t value, result;
	int source, width;
	void *data;
	void (*fn)(struct lane_part **lanes);
};

extern uint3 thread_index, block_index;
extern dim3 block_dim, grid_dim;

[[noreturn]] void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void block_barrier(struct place at);
/* The barriers with a predicate: how many threads' was true. */
int block_count(int predicate, int *threads, struct place at);
void warp_meet(enum warp_op op, unsigned mask, struct lane_part *part, struct place at);
unsigned lanes_alive(void);
/* Shared memory of the running block: the launch's dynamic part, and the variable that `key` stands for. */
void *shared_dynamic(void);
void *shared_static(const void *key, size_t size);
void check_argument(const void *p, const char *kernel, int which);
void launch(const void *kernel, const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t s, std::function<void()> thread);
/* cp.async of this thread: n <= 16 bytes come from src, the rest of the 16 is zero. land() does it when it is time: it is the kernel's, so that the
 * sanitizers see it. */
void async_copy(void *shared, const void *src, int n, void (*land)(void *to, const void *from, int n));
void async_commit(void);
void async_wait(int pending);

template <class T> inline T
shuffle(enum warp_op op, unsigned mask, T v, int source, int width, struct place at)
{
	static_assert(sizeof v <= 8, "a shuffle moves 8 bytes at most");
	struct lane_part part = {};

	memcpy(&part.value, &v, sizeof v);
	part.source = source;
	part.width = width;
	warp_meet(op, mask, &part, at);
	memcpy(&v, &part.result, sizeof v);
	return v;
}

inline uint64_t
vote(enum warp_op op, unsigned mask, uint64_t v, struct place at)
{
	struct lane_part part = {};

	part.value = v;
	warp_meet(op, mask, &part, at);
	return part.result;
}

template <class T> inline void
check_pointer(const char *kernel, int which, T v)
{
	if constexpr (std::is_pointer_v<T>)
		check_argument((const void *)v, kernel, which);
}

template <class... P, class... A> inline void
launch_kernel(void (*kernel)(P...), const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t s, A... args)
{
	int which = 0;

	static_assert(sizeof...(P) == sizeof...(A), "a kernel is launched with another number of arguments than it takes");
	(check_pointer<P>(name, which++, (P)args), ...);
	launch((const void *)kernel, name, grid, block, shared, s, [=]() { kernel((P)args...); });
}

/* A relaxed atomic read-modify-write; returns the value before. */
template <class T, class F> inline T
read_modify_write(T *p, F change)
{
	using U = std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 8, uint64_t, uint16_t>>;
	U was = __atomic_load_n((U *)p, __ATOMIC_RELAXED), next;
	T old;

	do {
		memcpy(&old, &was, sizeof old);
		T now = change(old);
		memcpy(&next, &now, sizeof next);
	} while (!__atomic_compare_exchange_n((U *)p, &was, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return old;
}

}

#define CUDASIM_HERE cudasim::place at = { __builtin_FILE(), __builtin_LINE() }
#define threadIdx (cudasim::thread_index)
#define blockIdx (cudasim::block_index)
#define blockDim (cudasim::block_dim)
#define gridDim (cudasim::grid_dim)
#define warpSize 32

/* gpu.h says what these are for. A shared variable is found by the address of a static byte of its own. */
#define SHARED(type, name, dims) \
	typedef type name##_shared_type dims; \
	static char name##_shared_key; \
	name##_shared_type &name = *(name##_shared_type *)cudasim::shared_static(&name##_shared_key, sizeof(name##_shared_type))
#define DYN_SHARED(type, name) type *name = (type *)cudasim::shared_dynamic()
#define LAUNCH(kernel, grid, block, shared, stream, ...) \
	cudasim::launch_kernel(kernel, #kernel, (grid), (block), (shared), (stream), __VA_ARGS__)

/* ---- barriers, votes, shuffles ---- */

inline void __syncthreads(CUDASIM_HERE) { cudasim::block_barrier(at); }
inline int __syncthreads_count(int p, CUDASIM_HERE) { int n; return cudasim::block_count(p, &n, at); }
inline int __syncthreads_and(int p, CUDASIM_HERE) { int n, count = cudasim::block_count(p, &n, at); return count == n; }
inline int __syncthreads_or(int p, CUDASIM_HERE) { int n; return cudasim::block_count(p, &n, at) > 0; }
inline void __syncwarp(unsigned mask = ~0u, CUDASIM_HERE) { cudasim::vote(cudasim::SYNCWARP, mask, 0, at); }
inline int __any_sync(unsigned mask, int p, CUDASIM_HERE) { return cudasim::vote(cudasim::ANY, mask, p != 0, at); }
inline int __all_sync(unsigned mask, int p, CUDASIM_HERE) { return cudasim::vote(cudasim::ALL, mask, p != 0, at); }
inline unsigned __ballot_sync(unsigned mask, int p, CUDASIM_HERE) { return cudasim::vote(cudasim::BALLOT, mask, p != 0, at); }
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, CUDASIM_HERE) { return cudasim::vote(cudasim::ADD, mask, v, at); }
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, CUDASIM_HERE) { return cudasim::vote(cudasim::MAX, mask, v, at); }
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, CUDASIM_HERE) { return cudasim::vote(cudasim::MIN, mask, v, at); }
inline unsigned __match_any_sync(unsigned mask, unsigned v, CUDASIM_HERE) { return cudasim::vote(cudasim::MATCH, mask, v, at); }
inline unsigned __activemask() { return cudasim::lanes_alive(); }

template <class T> inline T
__shfl_sync(unsigned mask, T v, int source, int width = 32, CUDASIM_HERE)
{
	return cudasim::shuffle(cudasim::SHFL_IDX, mask, v, source, width, at);
}

template <class T> inline T
__shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, CUDASIM_HERE)
{
	return cudasim::shuffle(cudasim::SHFL_UP, mask, v, by, width, at);
}

template <class T> inline T
__shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, CUDASIM_HERE)
{
	return cudasim::shuffle(cudasim::SHFL_DOWN, mask, v, by, width, at);
}

template <class T> inline T
__shfl_xor_sync(unsigned mask, T v, int by, int width = 32, CUDASIM_HERE)
{
	return cudasim::shuffle(cudasim::SHFL_XOR, mask, v, by, width, at);
}

/* Order between the blocks of one launch is not modelled: a kernel that needs a fence to be right is not proved right here. */
inline void __threadfence() {}
inline void __threadfence_block() {}

/* ---- atomics ---- */

template <class T> inline T atomicAdd(T *p, T v) { return cudasim::read_modify_write(p, [=](T old) { return (T)(old + v); }); }
template <class T> inline T atomicMax(T *p, T v) { return cudasim::read_modify_write(p, [=](T old) { return old > v ? old : v; }); }
template <class T> inline T atomicMin(T *p, T v) { return cudasim::read_modify_write(p, [=](T old) { return old < v ? old : v; }); }
template <class T> inline T atomicExch(T *p, T v) { return cudasim::read_modify_write(p, [=](T) { return v; }); }
template <class T> inline T atomicCAS(T *p, T is, T v) { return cudasim::read_modify_write(p, [=](T old) { return old == is ? v : old; }); }

/* ---- numbers ---- */

inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, sizeof f); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, sizeof u); return u; }
inline float __int_as_float(int i) { return __uint_as_float((unsigned)i); }
inline int __float_as_int(float f) { return (int)__float_as_uint(f); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }
template <class T> inline void __stcs(T *p, T v) { *p = v; }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }

#endif
