/* fiber.cpp - stacks, switching between them, and telling the sanitizers of it
 *
 * The scheduler is the program's own stack. A switch saves the registers that a called function must keep and changes the stack pointer;
 * where that is not written for the processor, swapcontext(3) does it, ten times slower for its system call. */
#include <sys/mman.h>

#include <vector>

#include "sim.h"

#ifdef CUDASIM_ASAN
extern "C" void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
extern "C" void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
#endif
#ifdef CUDASIM_TSAN
extern "C" void *__tsan_get_current_fiber(void);
extern "C" void *__tsan_create_fiber(unsigned flags);
extern "C" void __tsan_switch_to_fiber(void *fiber, unsigned flags);
enum { TSAN_NO_ORDER = 1 };
#endif

#if defined(__x86_64__) && !defined(CUDASIM_UCONTEXT)
/* cudasim_switch(save, to): push what the ABI has a function keep, leave the stack pointer in *save, continue at `to`. */
extern "C" void cudasim_switch(void **save, void *to);
asm(R"(
	.text
	.globl cudasim_switch
	.type cudasim_switch, @function
cudasim_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size cudasim_switch, .-cudasim_switch
)");
typedef void *context;
#else
#include <ucontext.h>
typedef ucontext_t context;
#endif

namespace cudasim {

enum { GUARD = 4096 };
#ifdef CUDASIM_ASAN
static const size_t STACK = 256 << 10;	/* redzones around every variable */
#else
static const size_t STACK = 64 << 10;
#endif

struct fiber {
	context at;
	char *stack;		/* GUARD bytes that may not be touched, then STACK */
	void *asan, *tsan;
};

static struct fiber scheduler, *current;
static const void *scheduler_bottom;
static size_t scheduler_size;

/* The sanitizers are told before and after each switch. */
static void
leave(struct fiber *from, struct fiber *to)
{
#ifdef CUDASIM_ASAN
	if (to == &scheduler)
		__sanitizer_start_switch_fiber(&from->asan, scheduler_bottom, scheduler_size);
	else
		__sanitizer_start_switch_fiber(&from->asan, to->stack + GUARD, STACK);
#endif
#ifdef CUDASIM_TSAN
	__tsan_switch_to_fiber(to->tsan, TSAN_NO_ORDER);
#endif
	(void)from, (void)to;
}

static void
arrive(struct fiber *at, bool first)
{
#ifdef CUDASIM_ASAN
	bool from_scheduler = at != &scheduler;

	__sanitizer_finish_switch_fiber(first ? nullptr : at->asan, from_scheduler ? &scheduler_bottom : nullptr, from_scheduler ? &scheduler_size : nullptr);
#endif
	(void)at, (void)first, (void)scheduler_bottom, (void)scheduler_size;
}

static void
turn_to(struct fiber *from, struct fiber *to)
{
	leave(from, to);
#if defined(__x86_64__) && !defined(CUDASIM_UCONTEXT)
	cudasim_switch(&from->at, to->at);
#else
	swapcontext(&from->at, &to->at);
#endif
	arrive(from, false);
}

static void
begin(void)
{
	arrive(current, true);
	for (;;) {
		thread_main();
		fiber_yield();
	}
}

static void
start_at(struct fiber *f, void (*fn)(void))
{
#if defined(__x86_64__) && !defined(CUDASIM_UCONTEXT)
	void **sp = (void **)(f->stack + GUARD + STACK - 16);

	*--sp = nullptr;	/* where fn would return to: it does not */
	*--sp = (void *)fn;
	for (int i = 0; i < 6; i++)
		*--sp = nullptr;
	f->at = sp;
#else
	getcontext(&f->at);
	f->at.uc_stack.ss_sp = f->stack + GUARD;
	f->at.uc_stack.ss_size = STACK;
	f->at.uc_link = nullptr;
	makecontext(&f->at, fn, 0);
#endif
}

static struct fiber *
fiber_new(void)
{
	struct fiber *f = new struct fiber();

	f->stack = (char *)mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->stack == MAP_FAILED || mprotect(f->stack, GUARD, PROT_NONE))
		fail("no memory for the stack of a thread");
	start_at(f, begin);
#ifdef CUDASIM_TSAN
	f->tsan = __tsan_create_fiber(0);
#endif
	return f;
}

struct fiber *
fiber_get(int set, int i)
{
	static std::vector<struct fiber *> *all = new std::vector<struct fiber *>[FIBER_SETS];	/* never freed: fibers outlive main() */
	std::vector<struct fiber *> &fibers = all[set];

	while ((int)fibers.size() <= i)
		fibers.push_back(fiber_new());
	return fibers[i];
}

void
fiber_run(struct fiber *f)
{
#ifdef CUDASIM_TSAN
	scheduler.tsan = __tsan_get_current_fiber();
#endif
	current = f;
	turn_to(&scheduler, f);
}

void
fiber_yield(void)
{
	turn_to(current, &scheduler);
}

}
