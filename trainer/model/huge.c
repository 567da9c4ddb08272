/* huge.c - see huge.h */
#include "huge.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping.h"

void
huge_advise(void *p, size_t n)
{
	uintptr_t from = ((uintptr_t)p + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, to = ((uintptr_t)p + n) / HUGE_PAGE * HUGE_PAGE;

	if (from < to)
		madvise((void *)from, to - from, MADV_HUGEPAGE);
}

bool
huge_possible(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	char line[64] = "";
	bool ok = f && fgets(line, sizeof line, f) && !strstr(line, "[never]");

	if (f)
		fclose(f);
	return ok;
}

/* Linux 6.7's PAGEMAP_SCAN, which Debian 12's headers do not have (linux/fs.h, Documentation/admin-guide/mm/pagemap.rst). */
struct pagemap_region {
	uint64_t start, end, categories;
};

struct pagemap_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_PAGEMAP _IOWR('f', 16, struct pagemap_scan)
#define IS_HUGE (1 << 6)

/* Whether p[0..n) are huge pages of the page cache. Where the kernel cannot say: no. */
static bool
is_huge(const uint8_t *p, size_t n)
{
	struct pagemap_region r = { 0 };
	struct pagemap_scan s = { .size = sizeof s, .start = (uintptr_t)p, .end = (uintptr_t)p + n, .vec = (uintptr_t)&r, .vec_len = 1,
				  .category_mask = IS_HUGE, .return_mask = IS_HUGE };
	int fd;
	bool all;

	if (madvise((void *)p, n, MADV_POPULATE_READ) < 0)
		return false;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	all = fd >= 0 && ioctl(fd, SCAN_PAGEMAP, &s) == 1 && r.start == (uintptr_t)p && r.end == (uintptr_t)p + n;
	if (fd >= 0)
		close(fd);
	return all;
}

/* Pages for n bytes at a multiple of theirs, or NULL. */
static uint8_t *
pages_new(size_t n)
{
	uint8_t *p = mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at;
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p % HUGE_PAGE;
	at = p + before;
	if (before > 0)
		munmap(p, before);
	munmap(at + n, HUGE_PAGE - before);
	madvise(at, n, MADV_HUGEPAGE);
	return at;
}

struct reading {
	int fd;
	uint8_t *to;
	size_t n, at;		/* bytes; where in the file */
	atomic_bool failed;
};

/* Not out of the mapping: that would fault, and die where the file has been cut off. */
static void
read_part(void *arg, int part, int parts)
{
	struct reading *r = arg;
	size_t from, to;
	ssize_t got;

	for (mach_range(r->n, HUGE_PAGE / 8, part, parts, &from, &to); from < to; from += got) {
		got = pread(r->fd, r->to + from, to - from, r->at + from);
		if (got <= 0) {
			atomic_store(&r->failed, true);
			return;
		}
	}
}

/* The copy takes the mapping's place in one call of the kernel. */
static bool
copy(struct huge *h, const struct mapping *m, size_t n)
{
	struct reading r = { .fd = m->fd, .n = n, .at = h->at };

	r.to = pages_new(n);
	if (!r.to)
		return false;
	mach_run(h->mach, read_part, &r);
	if (!atomic_load(&r.failed) && mprotect(r.to, n, PROT_READ) == 0 && mremap(r.to, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, m->p + h->at) != MAP_FAILED) {
		h->copied += n;
		return true;
	}
	munmap(r.to, n);
	return false;
}

bool
huge_step(struct huge *h, size_t most)
{
	const struct mapping *m;
	size_t from, to;

	for (; (m = tensors_mapping(h->file, h->map)); h->map++, h->at = 0) {
		from = -(uintptr_t)m->p % HUGE_PAGE;
		h->at = h->at < from ? from : h->at;
		to = m->n < from ? h->at : m->n - (m->n - from) % HUGE_PAGE;
		if (h->at < to)
			break;
	}
	if (!m)
		return false;
	to = to - h->at > most ? h->at + most : to;
	if (!is_huge(m->p + h->at, to - h->at) && !copy(h, m, to - h->at))
		return false;
	h->at = to;
	return true;
}
