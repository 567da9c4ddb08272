/* grid.cpp - the blocks of a launch, one after another, in the order that CUDASIM_ORDER says; and the settings */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "sim.h"

namespace cudasim {

void
fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("cudasim: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(99);	/* not abort(): no core file, and no sanitizer's opinion of it */
}

void
fill(void *p, int byte, size_t n)
{
	volatile char *to = (volatile char *)p;
	unsigned char c = (unsigned char)byte;
	uint64_t word = c * 0x0101010101010101ull;
	size_t i = 0;

	if ((uintptr_t)p % 8 == 0)
		for (; i + 8 <= n; i += 8)
			*(volatile uint64_t *)(to + i) = word;
	for (; i < n; i++)
		to[i] = (char)c;
}

/* ---- settings ---- */

static const char *
setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

/* The index of a setting's value among `words`, which end with NULL. */
static int
choice(const char *name, const char *const *words)
{
	const char *value = setting(name, words[0]);

	for (int i = 0; words[i]; i++)
		if (!strcmp(value, words[i]))
			return i;
	fail("%s=%s is not known", name, value);
}

static unsigned long long
number(const char *name, const char *otherwise)
{
	const char *value = setting(name, otherwise);
	char *end;
	unsigned long long n = strtoull(value, &end, 10);

	if (*end || end == value)
		fail("%s=%s is no number", name, value);
	return n;
}

static uint64_t random_state;

static void
read_lost(struct options *o)
{
	const char *s = getenv("CUDASIM_LOST"), *colon = s ? strchr(s, ':') : nullptr;

	o->lost_kernel = colon ? s : nullptr;
	o->lost = s ? strtoull(colon ? colon + 1 : s, nullptr, 10) : 0;
}

const struct options *
options(void)
{
	static const char *const orders[] = { "fwd", "rev", "rand", nullptr }, *const landings[] = { "late", "early", "rand", nullptr };
	static const char *const streams[] = { "lazy", "eager", nullptr };
	static struct options o;
	static bool read;

	if (read)
		return &o;
	read = true;
	o.order = (enum order)choice("CUDASIM_ORDER", orders);
	o.async = (enum landing)choice("CUDASIM_ASYNC", landings);
	o.lazy = choice("CUDASIM_STREAMS", streams) == 0;
	o.loose_blocks = number("CUDASIM_XBLOCK", "0") > 0;
	o.sms = (int)number("CUDASIM_SMS", "4");
	o.memory = number("CUDASIM_MEMORY", "17179869184");
	o.dies = getenv("CUDASIM_DIE") ? (int)number("CUDASIM_DIE", "0") : -1;
	o.devices = (int)number("CUDASIM_DEVICES", "1");
	o.slow = (float)number("CUDASIM_SLOW", "1");
	read_lost(&o);
	random_state = number("CUDASIM_SEED", "1") * 0x9e3779b97f4a7c15ull + 1;
	return &o;
}

/* Steele et al. 2014, SplitMix64. */
uint32_t
random_bits(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

/* ---- the blocks ---- */

/* Not by mmap(3): ThreadSanitizer takes what that gives as written by the caller, which would race with every block. */
static char *
shared_new(void)
{
	char *p = (char *)syscall(SYS_mmap, nullptr, (size_t)SHARED_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

	if (p == MAP_FAILED)
		fail("no memory for shared memory");
	return p;
}

static std::vector<size_t>
block_order(size_t n)
{
	std::vector<size_t> all(n);

	std::iota(all.begin(), all.end(), 0);
	if (options()->order == REVERSE)
		for (size_t i = 0; i < n; i++)
			all[i] = n - 1 - i;
	else if (options()->order == RANDOM)
		for (size_t i = n; i > 1; i--)
			std::swap(all[i - 1], all[random_bits() % i]);
	return all;
}

/* CUDASIM_XBLOCK: successive blocks are threads of their own to ThreadSanitizer, and nothing orders them. One that uses another's shared
 * memory anew would look like a race, so each has its own. */
void
grid_run(const struct grid *g)
{
	static char *common = shared_new();
	bool loose = options()->loose_blocks;
	std::vector<char *> shared;
	int set = 0;

	blocks_begin();
	for (size_t i : block_order((size_t)g->grid.x * g->grid.y * g->grid.z)) {
		uint3 index = { (unsigned)(i % g->grid.x), (unsigned)(i / g->grid.x % g->grid.y), (unsigned)(i / ((size_t)g->grid.x * g->grid.y)) };

		if (!loose) {
			block_run(g, index, 0, common);
			blocks_end();
			blocks_begin();
			continue;
		}
		shared.push_back(shared_new());
		block_run(g, index, set++ % FIBER_SETS, shared.back());
	}
	blocks_end();
	for (char *p : shared)
		munmap(p, SHARED_ARENA);
}

}
