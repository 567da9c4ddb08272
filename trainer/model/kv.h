/* kv.h - key-value caches of serving: pages out of one pool with a limit, and the prefixes that sequences share
 *
 * A page holds the keys and values of KV_PAGE consecutive tokens, of all layers (op.h: kv_put). A cache is a block table: its page i
 * holds tokens i KV_PAGE on. Pages are mapped when they are first needed and unmapped by kv_trim().
 *
 * Full pages are found again by what they hold: the tokens in them and the page before them, which makes a tree of prefixes. Equal prefixes have
 * equal bits (the forward pass is batch-invariant), so there is one page of each: kv_match() takes over those that are there, kv_publish()
 * makes a sequence's own full pages known, or gives them up for their twins. A full page is never written again.
 *
 * A page that no cache holds stays findable until its memory is needed, or until kv_trim(); the one used longest ago goes first. A cache that holds
 * a page holds all before it, and lets go of the last one first: so the tree only ever loses leaves.
 *
 * One thread at a time for a pool and all its caches. */
#ifndef SA_KV_H
#define SA_KV_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "op.h"

struct kv_pool;
struct kv;

/* What one page takes, bytes. */
size_t kv_page_bytes(const struct config *c, const struct ops *ops);
/* A pool of bytes / kv_page_bytes() pages: no memory yet. kv_pool_free() after all its caches were freed. */
struct kv_pool *kv_pool_new(const struct config *c, const struct ops *ops, size_t bytes);
/* A pool of `pages` pages whose memory is a device's: here they are numbers, from 0 on. None is given back before kv_pool_free(). */
struct kv_pool *kv_pool_numbered(int pages);
void kv_pool_free(struct kv_pool *p);

struct kv_usage {
	int pages;	/* the limit */
	int held;	/* by caches */
	int kept;	/* by none, but still findable */
};
struct kv_usage kv_usage(const struct kv_pool *p);
/* Give unused pages back to the system; `all`: also those that are only kept. */
void kv_trim(struct kv_pool *p, bool all);

/* An empty cache. */
struct kv *kv_new(struct kv_pool *p);
void kv_free(struct kv *kv);
int kv_len(const struct kv *kv);	/* tokens */

/* Pages for `tokens` in all. 0, or -1 when the pool has not so many: then nothing has changed. */
int kv_reserve(struct kv *kv, int tokens);
/* Take over pages that hold ids[kv_len..], as far as they are findable and end within n tokens; the new length. ids[0..kv_len) are the
 * cache's own. Takes nothing when the length is no multiple of KV_PAGE. */
int kv_match(struct kv *kv, const int *ids, int n);

/* For model_forward(): append tokens, whose keys and values come with the pass (room must have been reserved); and, after it, share what is full. */
void kv_append(struct kv *kv, const int *ids, int n);
void kv_publish(struct kv *kv);
float *const *kv_pages(const struct kv *kv);	/* valid until the cache changes, as the next */
const int *kv_numbers(const struct kv *kv);	/* the pages of a numbered pool */

#endif
