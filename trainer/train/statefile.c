/* statefile.c - writes and reads state.bin */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "statefile.h"

struct header {
	char magic[8];
	int64_t step, n;
};

static const char magic[8] = "SATRAIN1";

/* A file and the checksum of what went through it. */
struct through {
	FILE *f;
	XXH3_state_t *hash;
};

static int
through_open(struct through *t, const char *path, const char *mode, struct err *e)
{
	*t = (struct through){ .f = fopen(path, mode) };
	if (!t->f)
		return err_set(e, "%s: %s", path, strerror(errno));
	t->hash = XXH3_createState();
	if (!t->hash)
		die(STATUS_IO, "out of memory");
	XXH3_64bits_reset(t->hash);
	return 0;
}

static int
through_close(struct through *t)
{
	XXH3_freeState(t->hash);
	return fclose(t->f);
}

static int
put(struct through *t, void *p, size_t n)
{
	XXH3_64bits_update(t->hash, p, n);
	return fwrite(p, 1, n, t->f) == n ? 0 : -1;
}

static int
get(struct through *t, void *p, size_t n)
{
	if (fread(p, 1, n, t->f) != n)
		return -1;
	XXH3_64bits_update(t->hash, p, n);
	return 0;
}

/* The model's tensors that are trained, written or read one after another. */
static int
each_trained(struct through *t, const struct model *model, const struct weights *trained, int (*go)(struct through *t, void *p, size_t n))
{
	struct tensor_at at;

	for (int i = 0; model_tensor(&model->c, i, &at) == 0; i++)
		if (weights_tensor(trained, &model->c, i) && go(t, weights_tensor(&model->w, &model->c, i), at.count * sizeof(float)) < 0)
			return -1;
	return 0;
}

int
statefile_write(const char *path, const struct model *model, const struct weights *m, const struct weights *v, long step, struct err *e)
{
	struct header h = { .step = step, .n = (int64_t)m->n };
	size_t bytes = m->n * sizeof(float);
	struct through t;
	uint64_t sum;
	int rc = -1;

	memcpy(h.magic, magic, sizeof magic);
	if (through_open(&t, path, "wb", e) < 0)
		return -1;
	if (put(&t, &h, sizeof h) == 0 && each_trained(&t, model, m, put) == 0 && put(&t, m->all, bytes) == 0 && put(&t, v->all, bytes) == 0) {
		sum = XXH3_64bits_digest(t.hash);
		if (put(&t, &sum, sizeof sum) == 0 && fflush(t.f) == 0 && fsync(fileno(t.f)) == 0)
			rc = 0;
	}
	if (rc < 0)
		err_set(e, "%s: %s", path, strerror(errno));
	if (through_close(&t) < 0 && rc == 0)
		rc = err_set(e, "%s: %s", path, strerror(errno));
	return rc;
}

int
statefile_read(const char *path, struct model *model, struct weights *m, struct weights *v, long step, struct err *e)
{
	size_t bytes = m->n * sizeof(float);
	struct header h;
	struct through t;
	uint64_t sum, want;
	int rc = -1;

	if (through_open(&t, path, "rb", e) < 0)
		return -1;
	if (get(&t, &h, sizeof h) < 0 || memcmp(h.magic, magic, sizeof magic) != 0) {
		err_set(e, "%s: not a training state", path);
	} else if (h.n != (int64_t)m->n || h.step != step) {
		err_set(e, "%s: of step %lld with %lld parameters; step %ld with %zu was expected", path, (long long)h.step, (long long)h.n, step, m->n);
	} else if (each_trained(&t, model, m, get) < 0 || get(&t, m->all, bytes) < 0 || get(&t, v->all, bytes) < 0) {
		err_set(e, "%s: cut short", path);
	} else {
		want = XXH3_64bits_digest(t.hash);
		if (get(&t, &sum, sizeof sum) < 0 || sum != want)
			err_set(e, "%s: damaged (its checksum is wrong)", path);
		else
			rc = 0;
	}
	through_close(&t);
	return rc;
}
