/* cacheinfo.c - a cache as people see it: how large and how old it is, and making it smaller */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cachefile.h"
#include "guard.h"

#define DROPS 4096		/* entries a transaction: other processes wait for its end */
#define SPARE ((size_t)64 << 20)	/* of map: dropping from a full one takes pages before it frees any */
#define COPY "data.mdb.new"

static size_t
file_bytes(const struct cachefile *f)
{
	struct stat st;

	return fstatat(f->fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : (size_t)st.st_size;
}

/* The bytes of a reply, and in *at its time (0: not an entry that this version can read). */
static size_t
entry(const MDB_val *v, time_t *at)
{
	struct cachefile_head head;
	bool ours = cachefile_head(v, &head);

	*at = ours ? (time_t)head.time : 0;
	return ours ? v->mv_size - sizeof head : v->mv_size;
}

/* ---- looking ---- */

static void
count(void *arg, const MDB_val *k, const MDB_val *v)
{
	struct cache_info *i = arg;
	time_t at;

	(void)k;
	i->entries++;
	i->bytes += entry(v, &at);
	if (at && (!i->oldest || at < i->oldest))
		i->oldest = at;
	if (at > i->newest)
		i->newest = at;
}

int
cache_info(const char *dir, struct cache_info *i, struct err *e)
{
	struct cachefile f;
	int rc;

	*i = (struct cache_info){ 0 };
	if (cachefile_open(&f, dir, 0, CACHE_READ, e) < 0)
		return -1;
	guard_enter();
	rc = cachefile_walk(&f, count, i);
	guard_leave();
	i->file_bytes = file_bytes(&f);
	if (rc)
		cachefile_error(f.dir, rc, e);
	cachefile_close(&f);
	return rc ? -1 : 0;
}

/* ---- dropping ---- */

struct old {
	time_t before;
	struct cache_key *key;
	size_t n, cap;
};

static void
note(void *arg, const MDB_val *k, const MDB_val *v)
{
	struct old *o = arg;
	time_t at;

	entry(v, &at);
	if (at >= o->before || k->mv_size != sizeof *o->key)
		return;
	if (o->n == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 1024;
		o->key = xreallocarray(o->key, o->cap, sizeof *o->key);
	}
	memcpy(&o->key[o->n++], k->mv_data, sizeof *o->key);
}

/* Up to DROPS of them from `from` on, in one transaction. */
static int
drop_some(struct cachefile *f, const struct old *o, size_t from, long long *dropped)
{
	size_t to = o->n - from > DROPS ? from + DROPS : o->n;
	long long done = 0;
	MDB_txn *txn = NULL;
	int rc;

	if ((rc = cachefile_begin(f, 0, &txn)))
		return rc;
	for (size_t i = from; i < to; i++) {
		rc = mdb_del(txn, f->dbi, &(MDB_val){ sizeof o->key[i], &o->key[i] }, NULL);
		if (rc && rc != MDB_NOTFOUND) {	/* not there: another process dropped it meanwhile */
			mdb_txn_abort(txn);
			return rc;
		}
		done += rc == 0;
	}
	if ((rc = mdb_txn_commit(txn)) == 0)
		*dropped += done;
	return rc;
}

static int
drop_all(struct cachefile *f, const struct old *o, long long *dropped)
{
	int rc = 0;

	*dropped = 0;
	for (size_t i = 0; i < o->n && rc == 0; i += DROPS)
		rc = drop_some(f, o, i, dropped);
	return rc;
}

/* ---- making the file smaller ---- */

/* Is a tenth of it free pages? */
static bool
is_loose(struct cachefile *f)
{
	MDB_stat s;

	if (mdb_env_stat(f->env, &s))
		return false;
	return (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages + 4) * s.ms_psize < file_bytes(f) / 10 * 9;
}

/* A copy without free pages takes the file's place. A kill leaves the one or the other there, whole. */
static int
replace(struct cachefile *f)
{
	int fd, rc;

	unlinkat(f->fd, COPY, 0);
	fd = openat(f->fd, COPY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	rc = mdb_env_copyfd2(f->env, fd, MDB_CP_COMPACT);
	if (rc == 0 && fsync(fd) < 0)
		rc = errno;
	if (close(fd) < 0 && rc == 0)
		rc = errno;
	if (rc == 0 && renameat(f->fd, COPY, f->fd, "data.mdb") < 0)
		rc = errno;
	if (rc)
		unlinkat(f->fd, COPY, 0);
	else
		fsync(f->fd);
	return rc;
}

/* Only when nobody else has it open: they would go on with the old file, unseen. Who opens it meanwhile waits. */
static int
shrink(struct cachefile *f)
{
	if (!is_loose(f) || flock(f->fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	return replace(f);
}

long long
cache_drop(const char *dir, time_t before, struct err *e)
{
	struct old o = { .before = before };
	struct cachefile f;
	struct stat st;
	long long dropped;
	char path[4096];
	int rc;

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	if (cachefile_open(&f, dir, stat(path, &st) < 0 ? 0 : (size_t)st.st_size + SPARE, CACHE_EDIT, e) < 0)
		return -1;
	guard_enter();
	if ((rc = cachefile_walk(&f, note, &o)) || (rc = drop_all(&f, &o, &dropped)))
		cachefile_error(f.dir, rc, e);
	else if ((rc = shrink(&f)))
		err_set(e, "cache %s: %lld entries are dropped, but its file cannot be made smaller: %s", f.dir, dropped, mdb_strerror(rc));
	guard_leave();
	free(o.key);
	cachefile_close(&f);
	return rc ? -1 : dropped;
}
