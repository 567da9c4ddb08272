/* cache.h - replies that were paid for, kept in a directory that the processes of one machine share (LMDB)
 *
 * An entry is on disk before cache_stored() gives its item back: whoever writes the record after that finds the reply again, whenever the
 * process was killed. A power cut may lose the last entries, never the file. The first reply for a key stays: a caller that reads it back
 * by cache_get() once it is stored has what every later run will have. A reply comes out as it was put in, or not at all: each entry carries
 * the time and an XXH3 of key, time and bytes. The directory holds hashes and raw replies; no key of the API, no request.
 *
 * Two threads: the caller's (the loop's) reads; one of the cache's own writes everything that is queued in one transaction and syncs, so that
 * neither the disk nor the write lock of another process holds up the loop. A failure to store ends storing for the run, reading goes on.
 * Where damage of the file makes LMDB fault, the program ends with STATUS_IO and a message that says which file to remove. (A limit: LMDB does
 * not check the pages that it writes into, so a damaged one may make it overrun memory of its own before it faults.)
 *
 * LMDB's own limit: a process opens a directory once; cache_open(), cache_info() and cache_drop() of the same one may not overlap in it. */
#ifndef SA_CACHE_H
#define SA_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "buf.h"
#include "err.h"

struct cache;

struct cache_key {
	unsigned char b[16];
};

/* The hash of what decides a reply: the endpoint's URL with the path, the final request body, and the number of the sample (0 unless the same
 * body is asked more than once on purpose). XXH3 128. */
struct cache_key cache_key(const char *base, const char *path, const char *body, size_t n, long sample);

/* Open DIR, made 0700 if it is not there, its files 0600; a symbolic link, a network file system, or a directory that others can write is
 * refused. `limit`: bytes that it may grow to. `stored` is called on the writing thread when cache_stored() has news (uv_async_send() is the
 * thing to do in it). With `stored` NULL it is for reading only: DIR and its file must be there, and cache_put() may not be called. NULL with why. */
struct cache *cache_open(const char *dir, size_t limit, void (*stored)(void *arg), void *arg, struct err *e);

/* Writes what is queued first; items that cache_stored() has not given back are forgotten. */
void cache_close(struct cache *c);

/* 1: found, appended to *out; 0: not there; -1: cannot be read (damaged, I/O, longer than *out may get) with why, *out unchanged. */
int cache_get(struct cache *c, const struct cache_key *k, struct buf *out, struct err *e);

/* Hand a reply (copied) to the writing thread. `item` comes back from cache_stored() once the reply is on disk, or once it is certain that it
 * will not be (cache_failed()); the queue is as long as its caller lets it become. */
void cache_put(struct cache *c, const struct cache_key *k, const char *value, size_t n, void *item);

/* The next one that is through, in the order of cache_put(); false: none now. */
bool cache_stored(struct cache *c, void **item);

/* True, once, when storing has stopped working, with why and what to do. To be asked whenever cache_stored() gave something. */
bool cache_failed(struct cache *c, struct err *e);

/* For people. */
struct cache_info {
	size_t entries;
	size_t bytes;		/* of the replies */
	size_t file_bytes;	/* of DIR/data.mdb */
	time_t oldest, newest;	/* 0 when there is no entry */
};

/* 0, or -1 with why (also when DIR holds no cache: nothing is made). */
int cache_info(const char *dir, struct cache_info *i, struct err *e);

/* Drop what was stored before that time. Returns how many entries, or -1 with why. The file is made smaller when nobody else has it open;
 * else its free pages are used by what is stored next. */
long long cache_drop(const char *dir, time_t before, struct err *e);

#endif
