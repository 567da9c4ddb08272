/* cachefile.h - the directory of a cache, opened, and what an entry looks like: shared by cache.c (a run) and cacheinfo.c (people)
 *
 * DIR holds LMDB's data.mdb and lock.mdb. Whoever has it open holds a shared flock(2) on the directory, so that the file is replaced only
 * when nobody has (cache_drop()). Calls into LMDB stand between guard_enter() and guard_leave(). */
#ifndef SA_CACHEFILE_H
#define SA_CACHEFILE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache.h"
#include "err.h"

struct cachefile {
	char *dir;
	int fd;		/* of the directory; carries the lock */
	MDB_env *env;
	MDB_dbi dbi;
};

enum cachefile_use {
	CACHE_MAKE,	/* made where it is not there, read and written */
	CACHE_EDIT,	/* must be there, read and written */
	CACHE_READ,	/* must be there, read */
};

/* `limit`: bytes of the map; 0: what the file says. A file that needs more has it. 0, or -1 with why and nothing left open. */
int cachefile_open(struct cachefile *f, const char *dir, size_t limit, enum cachefile_use use, struct err *e);
void cachefile_close(struct cachefile *f);

/* Begin a transaction (MDB_RDONLY or 0), or renew *txn if it is one that was reset. The map must not be in use in this process: where
 * another one has made the file larger, it is mapped again. An LMDB or errno code. */
int cachefile_begin(struct cachefile *f, unsigned flags, MDB_txn **txn);

/* Call `visit` on every entry, in a read-only transaction of its own. An LMDB or errno code. */
int cachefile_walk(struct cachefile *f, void (*visit)(void *arg, const MDB_val *k, const MDB_val *v), void *arg);

/* The message for an LMDB or errno code: what it is, and what to do. -1. */
int cachefile_error(const char *dir, int rc, struct err *e);

/* An entry: a head and the bytes of the reply. */
struct cachefile_head {
	uint32_t version;	/* CACHE_VERSION; any other: not an entry of ours, so not there */
	uint32_t zero;
	int64_t time;		/* when it was stored, seconds since 1970 */
	uint64_t sum;		/* XXH3 of version to time, the key and the bytes */
};
#define CACHE_VERSION 0x31434153	/* "SAC1" */

/* Its head; false when it is none of ours. */
bool cachefile_head(const MDB_val *v, struct cachefile_head *head);
void cachefile_fill(MDB_val *v, const struct cache_key *k, const char *value, size_t n);	/* v: room for head and value */
bool cachefile_sound(const MDB_val *v, const struct cachefile_head *head, const struct cache_key *k);	/* the sum is right */

#endif
