/* sim.h - inside the simulator: what its parts ask of each other
 *
 *     fiber.cpp     stacks and switching between them, and telling the sanitizers of it
 *     block.cpp     one block: its threads, barriers, warp operations, shared memory
 *     grid.cpp      the blocks of a launch
 *     memory.cpp    device and page-locked memory
 *     stream.cpp    work that is put off, and its order
 *     runtime.cpp   the functions of cuda_runtime_api.h
 *     cublaslt.cpp  those of cublasLt.h
 *     nccl.cpp      those of trainer/train/cuda/ncclload.h, between processes
 *
 * One operating system thread. The simulator is never compiled with -fsanitize: it reads and writes what belongs to kernels behind the
 * sanitizers' backs. -DCUDASIM_ASAN and -DCUDASIM_TSAN say which one the rest of the program has.
 *
 * Settings, from the environment (options() reads them once):
 *     CUDASIM_ORDER    fwd | rev | rand    order of blocks, warps and lanes between barriers
 *     CUDASIM_SEED     N                   seed of everything that is random here, the order of streams included
 *     CUDASIM_STREAMS  lazy | eager        put stream work off as long as possible, or do it at once
 *     CUDASIM_ASYNC    late | early | rand when the bytes of a cp.async land: at the wait, at the issue, either
 *     CUDASIM_XBLOCK   0 | 1               under ThreadSanitizer: blocks of a launch are not ordered either
 *     CUDASIM_SMS      N                   multiprocessors of the device that is simulated (4)
 *     CUDASIM_MEMORY   N                   its bytes of memory (16 GiB): cudaMalloc past them fails
 *     CUDASIM_LOST     N | KERNEL:N        the device is lost with launch N, or with the Nth of that kernel: that and what comes after it is not done, waiting
 *                                          for it fails
 *     CUDASIM_DEVICES  N                   how many there are (1)
 *     CUDASIM_DIE      R                   NCCL's rank R kills itself when it has summed and gathers, for the second time */
#ifndef CUDASIM_SIM_H
#define CUDASIM_SIM_H

#include "cudasim.h"

#ifdef CUDASIM_ASAN
extern "C" void __asan_poison_memory_region(void const volatile *p, size_t n);
extern "C" void __asan_unpoison_memory_region(void const volatile *p, size_t n);
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#ifdef CUDASIM_TSAN
extern "C" void __tsan_acquire(void *token);
extern "C" void __tsan_release(void *token);
#define ACQUIRE(token) __tsan_acquire(token)
#define RELEASE(token) __tsan_release(token)
#else
#define ACQUIRE(token) ((void)(token))
#define RELEASE(token) ((void)(token))
#endif

namespace cudasim {

enum order { FORWARD, REVERSE, RANDOM };
enum landing { LATE, EARLY, EITHER };

struct options {
	enum order order;
	enum landing async;
	bool lazy;		/* streams */
	bool loose_blocks;	/* CUDASIM_XBLOCK */
	int sms;
	size_t memory;
	unsigned long long lost;	/* with which launch, 0: never */
	const char *lost_kernel;	/* of the kernel whose name begins so, up to the colon; NULL: of any */
	int devices;
	int dies;		/* CUDASIM_DIE, or -1 */
	float slow;		/* CUDASIM_SLOW: pretended time goes so many times as fast */
};

const struct options *options(void);
uint32_t random_bits(void);
/* memset that no sanitizer sees. */
void fill(void *p, int byte, size_t n);

/* ---- fiber.cpp ---- */

struct fiber;

/* Fiber number i of a set; made when it is first asked for. It calls thread_main() again and again, and is idle when that has returned. Under
 * ThreadSanitizer a fiber counts as a thread: what two fibers do is ordered only by ACQUIRE and RELEASE. */
struct fiber *fiber_get(int set, int i);
enum { FIBER_SETS = 4 };
/* Run f until it yields or thread_main() returns. */
void fiber_run(struct fiber *f);
void fiber_yield(void);
void thread_main(void);

/* ---- block.cpp, grid.cpp ---- */

enum { SHARED_STATIC_MAX = 48 << 10, SHARED_BLOCK_MAX = 227 << 10 };

struct grid {
	const char *name;
	dim3 grid, block;
	size_t shared;		/* dynamic shared memory, bytes */
	std::function<void()> thread;
};

/* Run block `index` of g on fibers of a set. `shared` points to SHARED_ARENA bytes. */
enum { SHARED_ARENA = 512 << 10 };
void block_run(const struct grid *g, uint3 index, int set, char *shared);
/* What was done before blocks_begin() happens before all blocks; what blocks did, before blocks_end() returns. */
void blocks_begin(void);
void blocks_end(void);
void grid_run(const struct grid *g);

/* ---- memory.cpp ---- */

/* NULL: no room. Fresh memory is NaN in every float format. */
void *device_alloc(size_t n);
void device_free(void *p);
size_t device_used(void);
/* Are these n bytes inside one live allocation on the device? */
bool device_range(const void *p, size_t n);
void *pinned_alloc(size_t n);
void pinned_free(void *p);
bool pinned_range(const void *p, size_t n);
/* The host may touch device memory only between these: the work of streams runs so. They nest. */
void device_open(void);
void device_close(void);

/* ---- stream.cpp ---- */

struct stream;
struct event;

struct stream *stream_new(bool nonblocking);
void stream_free(struct stream *s);
/* The stream behind a handle: 0 and cudaStreamLegacy are the legacy stream. */
struct stream *stream_of(cudaStream_t s);
/* Put work into a stream. Runs with device memory open, after everything before it in the stream. */
void submit(struct stream *s, std::function<void()> work);
/* The same, also after the work `after` (-1: none), and when can() says so. Its number. */
int submit_when(struct stream *s, int after, std::function<bool()> can, std::function<void()> work);
/* The device gets on by something of what is submitted, while the host waits without it. */
void work_goes_on(void);
void stream_wait(struct stream *s);
bool stream_idle(struct stream *s);
void all_wait(void);
struct event *event_new(void);
void event_free(struct event *e);
void event_record(struct event *e, struct stream *s);
void event_follow(struct stream *s, struct event *e);	/* work submitted to s from now on runs after e */
void event_wait(struct event *e);
bool event_done(struct event *e);
/* Time here is pretended, in milliseconds: kernels, copies and products say how long they take, so that choices by timing are the same in
 * every run. */
void time_passes(float ms);
bool event_elapsed(float *ms, struct event *from, struct event *to);

}

#endif
