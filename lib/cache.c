/* cache.c - replies that were paid for: reading them on the loop's thread, writing them on one of its own
 *
 * `reading` is held while the map is read, `writing` during a write transaction; who maps the file anew (another process made it larger)
 * holds both, `writing` first. `lock` is for the queues. */
#include "cache.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <xxhash.h>

#include "cachefile.h"
#include "guard.h"
#include "thread.h"

struct put {
	STAILQ_ENTRY(put) queue;
	struct cache_key key;
	void *item;
	size_t n;
	char value[];
};

STAILQ_HEAD(puts, put);

struct cache {
	struct cachefile file;
	MDB_txn *txn;	/* for reading; reset between gets, so that it holds no pages back */
	pthread_mutex_t reading, writing;
	pthread_t thread;
	bool thread_runs;
	void (*stored)(void *arg);
	void *arg;

	pthread_mutex_t lock;
	pthread_cond_t work;
	struct puts queued, through;
	bool closing;
	bool failed, told;	/* storing; whether cache_failed() has said so */
	struct err why;
};

struct cache_key
cache_key(const char *base, const char *path, const char *body, size_t n, long sample)
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t hash;
	struct cache_key k;
	char number[32];

	if (!state)
		die(STATUS_IO, "out of memory");
	snprintf(number, sizeof number, "%ld", sample);
	XXH3_128bits_reset(state);
	XXH3_128bits_update(state, base, strlen(base));
	XXH3_128bits_update(state, path, strlen(path) + 1);
	XXH3_128bits_update(state, number, strlen(number) + 1);
	XXH3_128bits_update(state, body, n);
	XXH128_canonicalFromHash(&hash, XXH3_128bits_digest(state));
	XXH3_freeState(state);
	memcpy(k.b, hash.digest, sizeof k.b);
	return k;
}

/* ---- the writing thread ---- */

/* The first reply for a key stays, unless it is damaged or none of ours. */
static bool
is_there(struct cache *c, MDB_txn *txn, struct put *p, int *rc)
{
	MDB_val k = { sizeof p->key, &p->key }, v;
	struct cachefile_head head;

	*rc = mdb_get(txn, c->file.dbi, &k, &v);
	if (*rc == MDB_NOTFOUND)
		*rc = 0;
	else if (*rc == 0)
		return cachefile_head(&v, &head) && cachefile_sound(&v, &head, &p->key);
	return false;
}

static int
put_one(struct cache *c, MDB_txn *txn, struct put *p)
{
	MDB_val k = { sizeof p->key, &p->key }, v = { sizeof(struct cachefile_head) + p->n, NULL };
	int rc;

	if (is_there(c, txn, p, &rc) || rc)
		return rc;
	rc = mdb_put(txn, c->file.dbi, &k, &v, MDB_RESERVE);
	if (rc == 0)
		cachefile_fill(&v, &p->key, p->value, p->n);
	return rc;
}

static int
begin_write(struct cache *c, MDB_txn **txn)
{
	int rc = mdb_txn_begin(c->file.env, NULL, 0, txn);

	if (rc != MDB_MAP_RESIZED)
		return rc;
	pthread_mutex_lock(&c->reading);
	rc = cachefile_begin(&c->file, 0, txn);
	pthread_mutex_unlock(&c->reading);
	return rc;
}

static int
transaction(struct cache *c, struct puts *batch)
{
	MDB_txn *txn = NULL;
	struct put *p;
	int rc = begin_write(c, &txn);

	if (rc)
		return rc;
	STAILQ_FOREACH(p, batch, queue)
		if ((rc = put_one(c, txn, p))) {
			mdb_txn_abort(txn);
			return rc;
		}
	return mdb_txn_commit(txn);
}

/* A reader that was killed holds back the pages of its moment: a map that seems full may not be. */
static int
store(struct cache *c, struct puts *batch)
{
	int rc, dead = 0;

	pthread_mutex_lock(&c->writing);
	guard_enter();
	rc = transaction(c, batch);
	if (rc == MDB_MAP_FULL && mdb_reader_check(c->file.env, &dead) == 0 && dead > 0)
		rc = transaction(c, batch);
	guard_leave();
	pthread_mutex_unlock(&c->writing);
	return rc;
}

/* Wait for work and take all of it: what comes in while one transaction is synced makes up the next. False: there will be no more. */
static bool
take_queued(struct cache *c, struct puts *batch, bool *failed)
{
	STAILQ_INIT(batch);
	pthread_mutex_lock(&c->lock);
	while (STAILQ_EMPTY(&c->queued) && !c->closing)
		pthread_cond_wait(&c->work, &c->lock);
	STAILQ_CONCAT(batch, &c->queued);
	*failed = c->failed;
	pthread_mutex_unlock(&c->lock);
	return !STAILQ_EMPTY(batch);
}

static void *
writer(void *arg)
{
	struct cache *c = arg;
	struct puts batch;
	bool failed;
	int rc;

	while (take_queued(c, &batch, &failed)) {
		rc = failed ? 0 : store(c, &batch);
		pthread_mutex_lock(&c->lock);
		if (rc) {
			c->failed = true;
			cachefile_error(c->file.dir, rc, &c->why);
		}
		STAILQ_CONCAT(&c->through, &batch);
		pthread_mutex_unlock(&c->lock);
		c->stored(c->arg);
	}
	return NULL;
}

static int
start_thread(struct cache *c, struct err *e)
{
	int rc = thread_start(&c->thread, writer, c);

	c->thread_runs = rc == 0;
	return rc ? err_set(e, "cannot start the cache's writing thread: %s", strerror(rc)) : 0;
}

/* ---- open and close ---- */

struct cache *
cache_open(const char *dir, size_t limit, void (*stored)(void *arg), void *arg, struct err *e)
{
	struct cache *c = xcalloc(1, sizeof *c);

	if (cachefile_open(&c->file, dir, limit, stored ? CACHE_MAKE : CACHE_READ, e) < 0) {
		free(c);
		return NULL;
	}
	c->stored = stored;
	c->arg = arg;
	pthread_mutex_init(&c->reading, NULL);
	pthread_mutex_init(&c->writing, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	STAILQ_INIT(&c->queued);
	STAILQ_INIT(&c->through);
	if (stored && start_thread(c, e) < 0) {
		cache_close(c);
		return NULL;
	}
	return c;
}

void
cache_close(struct cache *c)
{
	void *item;

	if (c->thread_runs) {
		pthread_mutex_lock(&c->lock);
		c->closing = true;
		pthread_cond_signal(&c->work);
		pthread_mutex_unlock(&c->lock);
		pthread_join(c->thread, NULL);
	}
	while (cache_stored(c, &item))
		;
	guard_enter();
	mdb_txn_abort(c->txn);
	guard_leave();
	cachefile_close(&c->file);
	pthread_mutex_destroy(&c->reading);
	pthread_mutex_destroy(&c->writing);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->work);
	free(c);
}

/* ---- reading ---- */

/* With `reading` held, which is let go and taken again when the file has to be mapped anew. */
static int
begin_read(struct cache *c)
{
	int rc = c->txn ? mdb_txn_renew(c->txn) : mdb_txn_begin(c->file.env, NULL, MDB_RDONLY, &c->txn);

	if (rc != MDB_MAP_RESIZED && rc != MDB_READERS_FULL)
		return rc;
	pthread_mutex_unlock(&c->reading);
	pthread_mutex_lock(&c->writing);
	pthread_mutex_lock(&c->reading);
	rc = cachefile_begin(&c->file, MDB_RDONLY, &c->txn);
	pthread_mutex_unlock(&c->writing);
	return rc;
}

static int
take_value(struct cache *c, const struct cache_key *k, const MDB_val *v, struct buf *out, struct err *e)
{
	struct cachefile_head head;

	if (!cachefile_head(v, &head))
		return 0;
	if (!cachefile_sound(v, &head, k))
		return err_set(e, "cache %s is damaged: the checksum of an entry is wrong; remove %s/data.mdb", c->file.dir, c->file.dir);
	if (buf_add(out, (char *)v->mv_data + sizeof head, v->mv_size - sizeof head) < 0)
		return err_set(e, "cache %s: a reply of %zu bytes is too long", c->file.dir, v->mv_size - sizeof head);
	return 1;
}

int
cache_get(struct cache *c, const struct cache_key *k, struct buf *out, struct err *e)
{
	MDB_val key = { sizeof *k, (void *)k }, v;
	int rc, found = 0;

	pthread_mutex_lock(&c->reading);
	guard_enter();
	rc = begin_read(c);
	if (rc == 0) {
		rc = mdb_get(c->txn, c->file.dbi, &key, &v);
		if (rc == 0)
			found = take_value(c, k, &v, out, e);
		mdb_txn_reset(c->txn);
	}
	guard_leave();
	pthread_mutex_unlock(&c->reading);
	return rc && rc != MDB_NOTFOUND ? cachefile_error(c->file.dir, rc, e) : found;
}

/* ---- writing ---- */

void
cache_put(struct cache *c, const struct cache_key *k, const char *value, size_t n, void *item)
{
	struct put *p = xmalloc(sizeof *p + n);

	p->key = *k;
	p->item = item;
	p->n = n;
	memcpy(p->value, value, n);
	pthread_mutex_lock(&c->lock);
	STAILQ_INSERT_TAIL(&c->queued, p, queue);
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

bool
cache_stored(struct cache *c, void **item)
{
	struct put *p;

	pthread_mutex_lock(&c->lock);
	p = STAILQ_FIRST(&c->through);
	if (p)
		STAILQ_REMOVE_HEAD(&c->through, queue);
	pthread_mutex_unlock(&c->lock);
	if (!p)
		return false;
	*item = p->item;
	free(p);
	return true;
}

bool
cache_failed(struct cache *c, struct err *e)
{
	bool news;

	pthread_mutex_lock(&c->lock);
	news = c->failed && !c->told;
	if (news) {
		c->told = true;
		*e = c->why;
	}
	pthread_mutex_unlock(&c->lock);
	return news;
}
