/* memory.cpp - device and page-locked memory
 *
 * Device memory is one reserved range, given out once and never again, so that a pointer to what was freed stays wrong. The host cannot
 * touch it: outside of stream work the pages are closed, and the signal that follows says so. Under AddressSanitizer what lies between
 * allocations, and what was freed, is poisoned. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "sim.h"

namespace cudasim {

enum { PAGE = 4096, REDZONE = 512 };
static const size_t RANGE = 64ull << 30;

typedef std::map<char *, size_t> allocations;
static allocations live, locked;
static char *device;
static size_t given, used;	/* bytes of the range, bytes that are allocated */
static int open_count;

static void
on_fault(int signal_number, siginfo_t *info, void *)
{
	static const char message[] = "cudasim: host code touched device memory, or anyone what was freed\n";
	char *at = (char *)info->si_addr;

	if (device && at >= device && at < device + RANGE) {
		if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
			_exit(98);
		_exit(99);
	}
	signal(signal_number, SIG_DFL);
}

static void
reserve(void)
{
	struct sigaction sa = {};

	sa.sa_sigaction = on_fault;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(SIGSEGV, &sa, nullptr);
	device = (char *)mmap(nullptr, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (device == MAP_FAILED)
		fail("no address space for device memory");
	given = PAGE;
}

/* From the lowest allocation that is live on. */
static void
protect(int how)
{
	char *from = live.empty() ? device + given : live.begin()->first;

	if (device && from < device + given)
		mprotect(from, (size_t)(device + given - from), how);
}

void
device_open(void)
{
	if (open_count++ == 0)
		protect(PROT_READ | PROT_WRITE);
}

void
device_close(void)
{
	if (--open_count == 0)
		protect(PROT_NONE);
}

void *
device_alloc(size_t n)
{
	size_t size = (n + REDZONE + PAGE - 1) & ~(size_t)(PAGE - 1);
	char *p;

	if (!device)
		reserve();
	if (n == 0 || n > options()->memory - used || size > RANGE - given)
		return nullptr;
	p = device + given;
	given += size;
	used += n;
	live[p] = n;
	device_open();
	mprotect(p, size, PROT_READ | PROT_WRITE);
	POISON(p, size);
	UNPOISON(p, n);
	fill(p, 0xff, n);
	device_close();
	return p;
}

void
device_free(void *p)
{
	allocations::iterator it = live.find((char *)p);

	if (!p)
		return;
	if (it == live.end())
		fail("cudaFree of what cudaMalloc did not give, or what is free already");
	device_open();
	fill(p, 0xff, it->second);
	POISON(p, it->second);
	used -= it->second;
	mprotect(p, (it->second + REDZONE + PAGE - 1) & ~(size_t)(PAGE - 1), PROT_NONE);
	live.erase(it);
	device_close();
}

size_t
device_used(void)
{
	return used;
}

static bool
inside(const allocations &all, const void *p, size_t n)
{
	allocations::const_iterator it = all.upper_bound((char *)p);

	if (it == all.begin())
		return false;
	--it;
	return (const char *)p + n <= it->first + it->second;
}

bool
device_range(const void *p, size_t n)
{
	return inside(live, p, n);
}

void *
pinned_alloc(size_t n)
{
	char *p = (char *)malloc(n);

	if (p)
		locked[p] = n;
	return p;
}

void
pinned_free(void *p)
{
	if (p && !locked.erase((char *)p))
		fail("cudaFreeHost of what cudaMallocHost did not give, or what is free already");
	free(p);
}

bool
pinned_range(const void *p, size_t n)
{
	return inside(locked, p, n);
}

void
check_argument(const void *p, const char *kernel, int which)
{
	if (p && !device_range(p, 1) && !pinned_range(p, 1))
		fail("launch of %s: argument %d points to no live device memory", kernel, which);
}

}
