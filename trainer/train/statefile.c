/* statefile.c - writes and reads state.bin */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "statefile.h"

struct header {
	char magic[8];
	int64_t step, n;
};

static const char magic[8] = "SATRAIN1";

/* A file and the checksum of what went through it. Nothing goes on after the first failure. */
struct through {
	FILE *f;
	XXH3_state_t *hash;
	int failed;	/* why, as errno */
	const struct comm *comm;
};

static int
through_open(struct through *t, const struct comm *comm, const char *path, const char *mode, struct err *e)
{
	*t = (struct through){ .comm = comm };
	t->hash = XXH3_createState();
	if (!t->hash)
		die(STATUS_IO, "out of memory");
	XXH3_64bits_reset(t->hash);
	if (comm->rank > 0)
		return 0;
	t->f = fopen(path, mode);
	t->failed = t->f ? 0 : errno;
	return t->f ? 0 : err_set(e, "%s: %s", path, strerror(errno));
}

static int
through_close(struct through *t)
{
	XXH3_freeState(t->hash);
	return t->f ? fclose(t->f) : 0;
}

/* From rank 0; the others do nothing. */
static void
put(struct through *t, const void *p, size_t n)
{
	if (t->comm->rank > 0 || t->failed)
		return;
	XXH3_64bits_update(t->hash, p, n);
	errno = EIO;
	t->failed = fwrite(p, 1, n, t->f) == n ? 0 : errno;
}

/* To rank 0, and from there to all when `shared`. */
static void
get(struct through *t, void *p, size_t n, bool shared)
{
	if (t->comm->rank == 0 && !t->failed) {
		t->failed = fread(p, 1, n, t->f) == n ? 0 : EIO;
		if (!t->failed)
			XXH3_64bits_update(t->hash, p, n);
	}
	if (shared)
		comm_broadcast(t->comm, p, n);
}

static void
put_weights(struct through *t, const struct model *model, const struct weights *grad)
{
	struct tensor_at at;

	for (int i = 0; model_tensor(&model->c, i, &at) == 0; i++)
		if (weights_tensor(grad, &model->c, i))
			put(t, weights_tensor(&model->w, &model->c, i), at.count * sizeof(float));
}

static void
get_weights(struct through *t, struct model *model, const struct weights *grad)
{
	struct tensor_at at;

	for (int i = 0; model_tensor(&model->c, i, &at) == 0; i++)
		if (weights_tensor(grad, &model->c, i))
			get(t, weights_tensor(&model->w, &model->c, i), at.count * sizeof(float), true);
}

/* `own` is m or v, `room` a bucket with more than one rank. */
static void
put_moments(struct through *t, const struct zero *z, const float *own, float *room)
{
	size_t at, n;

	for (size_t b = 0; zero_bucket(z, b, &at, &n); b++)
		put(t, zero_collect(z, own, b, room), n * sizeof *own);
}

static void
get_moments(struct through *t, const struct zero *z, float *own, float *room)
{
	size_t at, n;

	for (size_t b = 0; zero_bucket(z, b, &at, &n); b++) {
		struct own part;

		get(t, room ? room : own, n * sizeof *own, true);
		if (room && zero_own(z, at, at + n, &part))
			memcpy(own + part.place, room + part.at - at, part.n * sizeof *own);
	}
}

/* Where a bucket of all ranks' moments is put together; NULL: one rank has them so already. */
static float *
bucket_room(const struct zero *z)
{
	return z->comm->size > 1 ? xcalloc(z->bucket, sizeof(float)) : NULL;
}

int
statefile_write(const char *path, const struct model *model, const struct weights *grad, const struct optim *o, long step, struct err *e)
{
	struct header h = { .step = step, .n = (int64_t)grad->n };
	float *room = bucket_room(&o->zero);
	struct through t;
	uint64_t sum;
	int rc;

	memcpy(h.magic, magic, sizeof magic);
	rc = through_open(&t, o->zero.comm, path, "wb", e);
	put(&t, &h, sizeof h);
	put_weights(&t, model, grad);
	put_moments(&t, &o->zero, o->m, room);
	put_moments(&t, &o->zero, o->v, room);
	sum = XXH3_64bits_digest(t.hash);
	put(&t, &sum, sizeof sum);
	if (!t.failed && t.f && (fflush(t.f) != 0 || fsync(fileno(t.f)) != 0))
		t.failed = errno;
	if (rc == 0 && t.failed)
		rc = err_set(e, "%s: %s", path, strerror(t.failed));
	if (through_close(&t) < 0 && rc == 0)
		rc = err_set(e, "%s: %s", path, strerror(errno));
	free(room);
	return rc;
}

/* Is it a state of this model and step? The others have rank 0's word for it. */
static int
check_header(struct through *t, const char *path, size_t n, long step, struct err *e)
{
	struct header h = { 0 };
	int rc = 0;

	get(t, &h, sizeof h, false);
	if (t->comm->rank > 0)
		;
	else if (t->failed || memcmp(h.magic, magic, sizeof magic) != 0)
		rc = err_set(e, "%s: not a training state", path);
	else if (h.n != (int64_t)n || h.step != step)
		rc = err_set(e, "%s: of step %lld with %lld parameters; step %ld with %zu was expected", path, (long long)h.step, (long long)h.n, step, n);
	comm_broadcast(t->comm, &rc, sizeof rc);
	return rc;
}

int
statefile_read(const char *path, struct model *model, const struct weights *grad, struct optim *o, long step, struct err *e)
{
	float *room = bucket_room(&o->zero);
	struct through t;
	uint64_t sum, want;
	int rc = through_open(&t, o->zero.comm, path, "rb", e), header = check_header(&t, path, grad->n, step, rc == 0 ? e : NULL);

	if (rc == 0 && header < 0)
		rc = -1;
	if (header == 0) {
		get_weights(&t, model, grad);
		get_moments(&t, &o->zero, o->m, room);
		get_moments(&t, &o->zero, o->v, room);
		want = XXH3_64bits_digest(t.hash);
		if (t.failed)
			rc = err_set(e, "%s: cut short", path);
		get(&t, &sum, sizeof sum, false);
		if (rc == 0 && t.comm->rank == 0 && (t.failed || sum != want))
			rc = err_set(e, "%s: damaged (its checksum is wrong)", path);
	}
	free(room);
	through_close(&t);
	return rc;
}
