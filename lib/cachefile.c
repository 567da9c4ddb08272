/* cachefile.c - the directory of a cache, opened, and what an entry looks like */
#include "cachefile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "guard.h"

#define READERS 500	/* processes at a time; 64 bytes of lock.mdb each */

/* ---- messages ---- */

static bool
is_damage(int rc)
{
	return rc >= MDB_PAGE_NOTFOUND && rc <= MDB_BAD_DBI && rc != MDB_MAP_FULL && rc != MDB_READERS_FULL && rc != MDB_MAP_RESIZED;
}

int
cachefile_error(const char *dir, int rc, struct err *e)
{
	if (is_damage(rc))
		return err_set(e, "cache %s is damaged: %s; remove %s/data.mdb", dir, mdb_strerror(rc), dir);
	if (rc == MDB_MAP_FULL)
		return err_set(e, "cache %s is full, nothing more is stored: make room by sa-report --cache %s --drop-older DAYS, or give a larger --cache-size",
			       dir, dir);
	if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
		return err_set(e, "cache %s: %s: nothing more is stored; sa-report --cache %s --drop-older DAYS makes room in it", dir, strerror(rc), dir);
	if (rc == EIO)	/* also what LMDB makes of a write that was cut short */
		return err_set(e, "cache %s: input/output error, or the disk is full: nothing more is stored; sa-report --cache %s --drop-older DAYS makes room",
			       dir, dir);
	if (rc == MDB_READERS_FULL)
		return err_set(e, "cache %s: more than %d processes use it", dir, READERS);
	if (rc == ENOMEM)
		return err_set(e, "cache %s: cannot map it into memory (ulimit -v?): give a smaller --cache-size", dir);
	return err_set(e, "cache %s: %s", dir, mdb_strerror(rc));
}

/* An assertion of LMDB's: about its pages, so the file is damaged. */
static void
on_assert(MDB_env *env, const char *what)
{
	(void)env;
	guard_fail(what);
}

/* ---- who may touch it ---- */

/* What somebody else can write could hold a reply that no model gave. */
static int
check_owner(const char *what, const struct stat *st, struct err *e)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return err_set(e, "cache: %s belongs to another user (%ld)", what, (long)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, "cache: others can write %s: chmod go-w it, or take another directory", what);
	return 0;
}

/* Processes of two machines would each believe to be alone: LMDB's locks are in shared memory. */
static int
check_file_system(int fd, const char *dir, struct err *e)
{
	static const unsigned long remote[] = { NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, AFS_SUPER_MAGIC,
		0x00c36400 /* Ceph */, 0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */, 0x19830326 /* BeeGFS */ };
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return err_set(e, "cache %s: %s", dir, strerror(errno));
	for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
		if (((unsigned long)fs.f_type & 0xffffffff) == remote[i])
			return err_set(e, "cache %s: is on a network file system, where locks and memory maps do not hold: take a directory of this machine", dir);
	return 0;
}

/* 1: a file of ours, 0: not there. */
static int
check_file(const struct cachefile *f, const char *name, struct err *e)
{
	struct stat st;
	char what[300];

	snprintf(what, sizeof what, "%.200s/%s", f->dir, name);
	if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_set(e, "cache: %s: %s", what, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, "cache: %s is a link or no regular file", what);
	return check_owner(what, &st, e) < 0 ? -1 : 1;
}

static int
open_dir(struct cachefile *f, enum cachefile_use use, struct err *e)
{
	struct stat st;
	int rc;

	if (use == CACHE_MAKE && mkdir(f->dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, "cache %s: cannot make it: %s", f->dir, strerror(errno));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0) {
		rc = errno;
		if (lstat(f->dir, &st) == 0 && S_ISLNK(st.st_mode))
			return err_set(e, "cache %s: is a symbolic link: give the directory itself", f->dir);
		return err_set(e, "cache %s: %s", f->dir, strerror(rc));
	}
	if (fstat(f->fd, &st) < 0)
		return err_set(e, "cache %s: %s", f->dir, strerror(errno));
	if (check_owner(f->dir, &st, e) < 0 || check_file_system(f->fd, f->dir, e) < 0)
		return -1;
	while ((rc = flock(f->fd, LOCK_SH)) < 0 && errno == EINTR)	/* waits while cache_drop() replaces the file */
		;
	if (rc < 0)
		return err_set(e, "cache %s: cannot lock it: %s", f->dir, strerror(errno));
	rc = check_file(f, "data.mdb", e);
	if (rc == 0 && use != CACHE_MAKE)
		return err_set(e, "%s: no cache in it", f->dir);
	return rc < 0 || check_file(f, "lock.mdb", e) < 0 ? -1 : 0;
}

/* ---- the environment ---- */

int
cachefile_walk(struct cachefile *f, void (*visit)(void *arg, const MDB_val *k, const MDB_val *v), void *arg)
{
	MDB_txn *txn = NULL;
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc;

	if ((rc = cachefile_begin(f, MDB_RDONLY, &txn)))
		return rc;
	if (!(rc = mdb_cursor_open(txn, f->dbi, &cursor))) {
		while (!(rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)))
			visit(arg, &k, &v);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static void
touch(void *arg, const MDB_val *k, const MDB_val *v)
{
	(void)arg;
	(void)k;
	if (v->mv_size)
		(void)((volatile char *)v->mv_data)[v->mv_size - 1];
}

/* A file shorter than its last page: LMDB may leave free pages at the end unwritten; any other that is missing is damage, better found now than
 * half-way through a run. */
static int
check_length(struct cachefile *f)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	int fd, rc;

	if ((rc = mdb_env_info(f->env, &info)) || (rc = mdb_env_stat(f->env, &stat)) || (rc = mdb_env_get_fd(f->env, &fd)))
		return rc;
	if (fstat(fd, &st) < 0)
		return errno;
	return (size_t)st.st_size / stat.ms_psize < info.me_last_pgno + 1 ? cachefile_walk(f, touch, NULL) : 0;	/* every page that a read can reach */
}

/* The files that LMDB has open are those that were looked at; no child of ours inherits them. */
static int
check_same(struct cachefile *f, struct err *e)
{
	struct stat a, b;
	int fd;

	mdb_env_get_fd(f->env, &fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (fstat(fd, &a) < 0 || fstatat(f->fd, "data.mdb", &b, AT_SYMLINK_NOFOLLOW) < 0 || a.st_ino != b.st_ino || a.st_dev != b.st_dev)
		return err_set(e, "cache %s: was replaced while it was opened", f->dir);
	return 0;
}

static int
open_env(struct cachefile *f, size_t limit, enum cachefile_use use)
{
	MDB_txn *txn = NULL;
	unsigned flags;
	int rc;

	/* One sync a commit: a power cut may undo the last transactions, never damage the file. */
	flags = MDB_NOTLS | MDB_NOMETASYNC | (use == CACHE_READ ? MDB_RDONLY : 0);
	if ((rc = mdb_env_create(&f->env)) || (rc = mdb_env_set_assert(f->env, on_assert)) || (rc = mdb_env_set_maxreaders(f->env, READERS)) ||
	    (limit && (rc = mdb_env_set_mapsize(f->env, limit))) || (rc = mdb_env_open(f->env, f->dir, flags, 0600)) ||
	    (rc = mdb_reader_check(f->env, NULL)) || (rc = cachefile_begin(f, MDB_RDONLY, &txn)))
		return rc;
	if ((rc = mdb_dbi_open(txn, NULL, 0, &f->dbi)) || (rc = mdb_dbi_flags(txn, f->dbi, &flags))) {
		mdb_txn_abort(txn);
		return rc;
	}
	if ((rc = mdb_txn_commit(txn)))
		return rc;
	return flags ? MDB_INVALID : check_length(f);
}

int
cachefile_open(struct cachefile *f, const char *dir, size_t limit, enum cachefile_use use, struct err *e)
{
	size_t n = strlen(dir);
	int rc;

	while (n > 1 && dir[n - 1] == '/')	/* open() would follow a link before a slash */
		n--;
	*f = (struct cachefile){ .dir = xstrndup(dir, n), .fd = -1 };
	guard_on(f->dir);
	if (open_dir(f, use, e) < 0)
		goto fail;
	guard_enter();
	rc = open_env(f, limit, use);
	guard_leave();
	if (rc)
		cachefile_error(f->dir, rc, e);
	else
		rc = check_same(f, e);
	if (rc == 0)
		return 0;
fail:
	cachefile_close(f);
	return -1;
}

void
cachefile_close(struct cachefile *f)
{
	guard_enter();
	if (f->env)
		mdb_env_close(f->env);
	guard_leave();
	guard_off();
	if (f->fd >= 0)
		close(f->fd);
	free(f->dir);
}

int
cachefile_begin(struct cachefile *f, unsigned flags, MDB_txn **txn)
{
	int rc = 0, tries;

	for (tries = 0; tries < 4; tries++) {
		rc = *txn ? mdb_txn_renew(*txn) : mdb_txn_begin(f->env, NULL, flags, txn);
		if (rc == MDB_MAP_RESIZED)
			rc = mdb_env_set_mapsize(f->env, 0);
		else if (rc == MDB_READERS_FULL)
			rc = mdb_reader_check(f->env, NULL);
		else
			return rc;
		if (rc)
			return rc;
	}
	return flags & MDB_RDONLY ? MDB_READERS_FULL : MDB_MAP_RESIZED;
}

/* ---- entries ---- */

bool
cachefile_head(const MDB_val *v, struct cachefile_head *head)
{
	if (v->mv_size < sizeof *head || !v->mv_data)	/* a damaged page can give a length without a place */
		return false;
	memcpy(head, v->mv_data, sizeof *head);
	return head->version == CACHE_VERSION;
}

static uint64_t
sum_of(const struct cachefile_head *head, const struct cache_key *k, const char *value, size_t n)
{
	struct {
		struct cachefile_head head;
		struct cache_key key;
	} seed = { *head, *k };

	seed.head.sum = 0;
	return XXH3_64bits_withSeed(value, n, XXH3_64bits(&seed, sizeof seed));
}

void
cachefile_fill(MDB_val *v, const struct cache_key *k, const char *value, size_t n)
{
	struct cachefile_head head = { .version = CACHE_VERSION, .time = time(NULL) };

	head.sum = sum_of(&head, k, value, n);
	memcpy(v->mv_data, &head, sizeof head);
	memcpy((char *)v->mv_data + sizeof head, value, n);
}

bool
cachefile_sound(const MDB_val *v, const struct cachefile_head *head, const struct cache_key *k)
{
	return sum_of(head, k, (char *)v->mv_data + sizeof *head, v->mv_size - sizeof *head) == head->sum;
}
