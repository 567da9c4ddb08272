/* kv.c - see kv.h */
#include "kv.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <xxhash.h>

#include "err.h"

#define SYSTEM_PAGE 4096

struct page {
	float *mem;		/* NULL: on a device, as page `number` */
	int number;
	int refs;		/* caches that hold it */
	bool listed;		/* findable */
	const struct page *before;	/* when listed: the page before it, NULL for the first */
	int ids[KV_PAGE];
	SLIST_ENTRY(page) chain;	/* of its bucket, or of the unused pages */
	TAILQ_ENTRY(page) use;	/* when listed and not held: the order of use */
};

SLIST_HEAD(pages, page);

struct kv_pool {
	size_t bytes;		/* of a page; 0: on a device */
	int limit, mapped, nunused, nkept;
	struct pages unused;	/* mapped, neither held nor listed */
	TAILQ_HEAD(, page) kept;	/* used longest ago first */
	struct pages *bucket;
	size_t nbuckets;	/* a power of two */
};

struct kv {
	struct kv_pool *pool;
	struct page **page;
	float **mem;		/* the pages' memory */
	int *number;		/* and numbers */
	int npages, cap;
	int len;		/* tokens */
	int shared;		/* leading pages that are listed */
};

/* ---- the pool ---- */

/* An odd number of the system's pages, so that the same place of consecutive pages does not fall into the same sets of the processor's caches. */
size_t
kv_page_bytes(const struct config *c, const struct ops *ops)
{
	size_t n = c->layers * ops->kv_floats(c->kv_heads, c->head_dim) * sizeof(float);

	n = (n + SYSTEM_PAGE - 1) / SYSTEM_PAGE;
	return (n | 1) * SYSTEM_PAGE;
}

static struct kv_pool *
pool_of(size_t page_bytes, size_t pages)
{
	struct kv_pool *p = xcalloc(1, sizeof *p);

	p->bytes = page_bytes;
	p->limit = pages < INT32_MAX / KV_PAGE ? pages : INT32_MAX / KV_PAGE;
	p->nbuckets = 64;
	while (p->nbuckets < (size_t)p->limit)
		p->nbuckets *= 2;
	p->bucket = xcalloc(p->nbuckets, sizeof *p->bucket);
	TAILQ_INIT(&p->kept);
	return p;
}

struct kv_pool *
kv_pool_new(const struct config *c, const struct ops *ops, size_t bytes)
{
	size_t page = kv_page_bytes(c, ops);

	return pool_of(page, bytes / page);
}

struct kv_pool *
kv_pool_numbered(int pages)
{
	return pool_of(0, pages);
}

struct kv_usage
kv_usage(const struct kv_pool *p)
{
	return (struct kv_usage){ .pages = p->limit, .held = p->mapped - p->nunused - p->nkept, .kept = p->nkept };
}

static struct pages *
bucket_of(const struct kv_pool *p, const struct page *before, const int *ids)
{
	return &p->bucket[XXH3_64bits_withSeed(ids, KV_PAGE * sizeof *ids, (uintptr_t)before) & (p->nbuckets - 1)];
}

static struct page *
find(const struct kv_pool *p, const struct page *before, const int *ids)
{
	struct page *g;

	SLIST_FOREACH(g, bucket_of(p, before, ids), chain)
		if (g->before == before && memcmp(g->ids, ids, sizeof g->ids) == 0)
			return g;
	return NULL;
}

static void
put_unused(struct kv_pool *p, struct page *g)
{
	SLIST_INSERT_HEAD(&p->unused, g, chain);
	p->nunused++;
}

/* Drop the kept page that was used longest ago. */
static void
forget_oldest(struct kv_pool *p)
{
	struct page *g = TAILQ_FIRST(&p->kept);

	TAILQ_REMOVE(&p->kept, g, use);
	p->nkept--;
	SLIST_REMOVE(bucket_of(p, g->before, g->ids), g, page, chain);
	g->listed = false;
	put_unused(p, g);
}

static void
forget_all(struct kv_pool *p)
{
	while (p->nkept > 0)
		forget_oldest(p);
}

static void
unmap_unused(struct kv_pool *p)
{
	struct page *g;

	while ((g = SLIST_FIRST(&p->unused))) {
		SLIST_REMOVE_HEAD(&p->unused, chain);
		p->nunused--;
		p->mapped--;
		if (g->mem)
			munmap(g->mem, p->bytes);
		free(g);
	}
}

void
kv_trim(struct kv_pool *p, bool all)
{
	if (all)
		forget_all(p);
	if (p->bytes > 0)
		unmap_unused(p);
}

void
kv_pool_free(struct kv_pool *p)
{
	if (!p)
		return;
	forget_all(p);
	unmap_unused(p);
	assert(p->mapped == 0);
	free(p->bucket);
	free(p);
}

static void
map_page(struct kv_pool *p)
{
	void *mem = p->bytes ? mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
	struct page *g;

	if (mem == MAP_FAILED)
		return;
	if (mem)
		madvise(mem, p->bytes, MADV_HUGEPAGE);
	g = xcalloc(1, sizeof *g);
	g->mem = mem;
	g->number = p->mapped++;	/* on a device none is ever given back, so these are all different */
	put_unused(p, g);
}

/* An unused page, held by its caller; NULL when there is none. */
static struct page *
take_unused(struct kv_pool *p)
{
	struct page *g;

	if (p->nunused == 0 && p->mapped < p->limit)
		map_page(p);
	if (p->nunused == 0 && p->nkept > 0)
		forget_oldest(p);
	g = SLIST_FIRST(&p->unused);
	if (!g)
		return NULL;
	SLIST_REMOVE_HEAD(&p->unused, chain);
	p->nunused--;
	g->refs = 1;
	return g;
}

static void
hold(struct kv_pool *p, struct page *g)
{
	if (g->refs++ > 0)
		return;
	TAILQ_REMOVE(&p->kept, g, use);
	p->nkept--;
}

static void
let_go(struct kv_pool *p, struct page *g)
{
	if (--g->refs > 0)
		return;
	if (!g->listed) {
		put_unused(p, g);
		return;
	}
	TAILQ_INSERT_TAIL(&p->kept, g, use);
	p->nkept++;
}

/* ---- a cache ---- */

struct kv *
kv_new(struct kv_pool *p)
{
	struct kv *kv = xcalloc(1, sizeof *kv);

	kv->pool = p;
	return kv;
}

static void
drop_last(struct kv *kv)
{
	let_go(kv->pool, kv->page[--kv->npages]);
}

void
kv_free(struct kv *kv)
{
	if (!kv)
		return;
	while (kv->npages > 0)
		drop_last(kv);
	free(kv->page);
	free(kv->mem);
	free(kv->number);
	free(kv);
}

int
kv_len(const struct kv *kv)
{
	return kv->len;
}

float *const *
kv_pages(const struct kv *kv)
{
	return kv->mem;
}

const int *
kv_numbers(const struct kv *kv)
{
	return kv->number;
}

/* Put a held page at place i, where the one before it, if any, is let go. */
static void
set_page(struct kv *kv, int i, struct page *g)
{
	if (i == kv->cap) {
		kv->cap = kv->cap ? 2 * kv->cap : 8;
		kv->page = xreallocarray(kv->page, kv->cap, sizeof *kv->page);
		kv->mem = xreallocarray(kv->mem, kv->cap, sizeof *kv->mem);
		kv->number = xreallocarray(kv->number, kv->cap, sizeof *kv->number);
	}
	if (i < kv->npages)
		let_go(kv->pool, kv->page[i]);
	else
		kv->npages++;
	kv->page[i] = g;
	kv->mem[i] = g->mem;
	kv->number[i] = g->number;
}

int
kv_reserve(struct kv *kv, int tokens)
{
	struct kv_pool *p = kv->pool;
	int had = kv->npages, want = tokens / KV_PAGE + (tokens % KV_PAGE > 0);

	if (want - had > p->limit - (p->mapped - p->nunused - p->nkept))
		return -1;
	while (kv->npages < want) {
		struct page *g = take_unused(p);

		if (!g)		/* the system has no more memory */
			break;
		set_page(kv, kv->npages, g);
	}
	if (kv->npages >= want)
		return 0;
	while (kv->npages > had)
		drop_last(kv);
	return -1;
}

static const struct page *
page_before(const struct kv *kv, int i)
{
	return i > 0 ? kv->page[i - 1] : NULL;
}

int
kv_match(struct kv *kv, const int *ids, int n)
{
	struct page *g;

	if (kv->len % KV_PAGE > 0)
		return kv->len;
	while (n - kv->len >= KV_PAGE && (g = find(kv->pool, page_before(kv, kv->shared), ids + kv->len))) {
		hold(kv->pool, g);
		set_page(kv, kv->shared++, g);
		kv->len += KV_PAGE;
	}
	return kv->len;
}

void
kv_append(struct kv *kv, const int *ids, int n)
{
	int i;

	assert(n <= kv->npages * KV_PAGE - kv->len);
	for (i = 0; i < n; i++, kv->len++)
		kv->page[kv->len / KV_PAGE]->ids[kv->len % KV_PAGE] = ids[i];
}

void
kv_publish(struct kv *kv)
{
	struct kv_pool *p = kv->pool;

	for (; kv->shared < kv->len / KV_PAGE; kv->shared++) {
		const struct page *before = page_before(kv, kv->shared);
		struct page *own = kv->page[kv->shared], *twin = find(p, before, own->ids);

		if (twin) {
			hold(p, twin);
			set_page(kv, kv->shared, twin);
		} else {
			own->before = before;
			own->listed = true;
			SLIST_INSERT_HEAD(bucket_of(p, before, own->ids), own, chain);
		}
	}
}
