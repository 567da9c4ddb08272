/* reference.c - the reference's log-probabilities: the pass that computes them, and the file that keeps them */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "clock.h"
#include "files.h"
#include "prefer.h"

static const char magic[8] = "SAREFER2";

/* Seconds between two writings of what there is, which are what a kill costs. Ranks wait for one another then, so no more often. */
#define ROUND 5.0

/* Of this rank's packs from..to, those that are left. */
struct part {
	const struct portion *of;
	double *logp;
	size_t from, to;
};

/* How a rank's round ended; the highest is how that of all did. */
enum { DONE, MORE, STOPPED };

/* Which of the packs it was. */
static int
not_finite(const struct run *r, const struct portion *of, const double *logp, size_t from, size_t to, struct err *e)
{
	char where[300];
	size_t k = of->packs.at[from];

	while (k + 1 < of->packs.at[to] && isfinite(logp[k]))
		k++;
	return err_set(e, "the reference's loss is not finite at %s: is the model whole?", run_where(r, of->from, of->packs.sample[k], where, sizeof where));
}

static size_t
missing(const double *logp, size_t from, size_t to)
{
	size_t n = 0;

	for (; from < to; from++)
		n += isnan(logp[from]);
	return n;
}

/* Go on with a part until `end`, a time of the clock. DONE, MORE, STOPPED; -1; -STATUS_IO. Micro-batches are always the same ones, whatever is there already. */
static int
score_part(struct run *r, struct part *p, double end, struct err *e)
{
	const size_t *at = p->of->packs.at;
	size_t next;

	for (; p->from < p->to; p->from = next) {
		struct batch b;
		double loss;

		next = p->from + r->micro < p->to ? p->from + r->micro : p->to;
		if (missing(p->logp, at[p->from], at[next]) == 0)
			continue;
		if (run_stopped)
			return STOPPED;
		if (clock_seconds() > end)
			return MORE;
		if (prefer_score(r, p->of, NULL, p->from, next, p->logp, &b, &loss, e) < 0)
			return run_lost(r, "the reference before step", r->saved > 0 ? r->saved + 1 : 1, e);
		if (!isfinite(loss))
			return not_finite(r, p->of, p->logp, p->from, next, e);
	}
	return DONE;
}

static int
score_parts(struct run *r, struct part *p, int n, struct err *e)
{
	double end = clock_seconds() + ROUND;
	int rc = DONE;

	for (int i = 0; i < n && rc == DONE; i++)
		rc = score_part(r, &p[i], end, e);
	return rc;
}

/* What any rank has, all have. */
static void
merge(const struct run *r)
{
	size_t n = r->prefer.n;
	double *all;

	if (r->comm->size == 1)
		return;
	all = xcalloc((size_t)r->comm->size * n, sizeof *all);
	memcpy(all + (size_t)r->comm->rank * n, r->prefer.ref, n * sizeof *all);
	comm_gather(r->comm, all, n * sizeof *all);
	for (size_t i = 0; i < n; i++) {
		size_t from = i;

		while (isnan(all[from]) && from + n < (size_t)r->comm->size * n)
			from += n;
		r->prefer.ref[i] = all[from];
	}
	free(all);
}

/* ---- the file ---- */

struct header {
	char magic[8];
	uint64_t key, n;
};

static uint64_t
hash_portion(const struct judged *j, uint64_t seed)
{
	uint64_t key = seed;

	if (!j->of || j->of->packs.n == 0)
		return key;
	key = samples_hash(j->of->from, key);
	key = XXH3_64bits_withSeed(j->of->packs.sample, j->of->packs.at[j->of->packs.n] * sizeof(uint32_t), key);
	return samples_hash(&j->mixed, key);
}

static struct header
header(const struct run *r)
{
	struct header h = { .key = XXH3_64bits(r->model->w.all, r->model->w.n * sizeof(float)), .n = r->prefer.n };

	memcpy(h.magic, magic, sizeof magic);
	h.key = hash_portion(&r->prefer.eval, hash_portion(&r->prefer.data, h.key));
	return h;
}

/* Was it there, undamaged, and of this key? */
static bool
read_cache(const char *path, const struct header *want, double *values)
{
	size_t values_bytes = want->n * sizeof *values, bytes = sizeof *want + values_bytes;
	struct buf b = BUF_INIT(bytes + 64);
	struct err e;
	uint64_t sum;
	bool good = access(path, F_OK) == 0 && buf_read_file(&b, path, &e) == 0 && b.n == bytes + sizeof sum && memcmp(b.p, want, sizeof *want) == 0;

	if (good) {
		memcpy(&sum, b.p + bytes, sizeof sum);
		good = sum == XXH3_64bits(b.p, bytes);
	}
	if (good)
		memcpy(values, b.p + sizeof *want, values_bytes);
	buf_free(&b);
	return good;
}

static int
write_cache(const char *path, const struct header *h, const double *values, struct err *e)
{
	size_t bytes = sizeof *h + h->n * sizeof *values;
	char *p = xmalloc(bytes + sizeof(uint64_t));
	uint64_t sum;
	int rc;

	memcpy(p, h, sizeof *h);
	memcpy(p + sizeof *h, values, h->n * sizeof *values);
	sum = XXH3_64bits(p, bytes);
	memcpy(p + bytes, &sum, sizeof sum);
	rc = file_write(path, p, bytes + sizeof sum, e);
	free(p);
	return rc < 0 ? -STATUS_IO : 0;
}

/* ---- both ---- */

/* What of a portion is this rank's to compute; one part for the responses, one for the mismatched pairs. */
static int
add_parts(const struct run *r, const struct judged *j, struct part *p)
{
	const struct portion *of[] = { j->of, &j->mismatched };
	double *const logp[] = { j->ref, j->mixed_ref };
	int n = 0;

	for (int i = 0; i < 2; i++) {
		if (!of[i] || of[i]->packs.n == 0)
			continue;
		p[n] = (struct part){ of[i], logp[i], 0, of[i]->packs.n };
		run_share(r, of[i], NULL, &p[n].from, &p[n].to);
		n++;
	}
	return n;
}

/* ref[n], by all ranks together, and into the file from time to time. */
static int
complete(struct run *r, const char *path, const struct header *h, struct err *e)
{
	struct prefer *p = &r->prefer;
	struct part parts[4];
	int n = add_parts(r, &p->data, parts), rc;
	double shown = clock_seconds();

	n += add_parts(r, &p->eval, parts + n);
	do {
		rc = comm_agree(r->comm, score_parts(r, parts, n, e), e);
		if (rc < 0)
			return rc;
		merge(r);
		if (comm_agree(r->comm, r->comm->rank == 0 ? write_cache(path, h, p->ref, e) : 0, e) < 0)
			return -STATUS_IO;
		if (clock_seconds() - shown > 10) {
			shown = clock_seconds();
			warn("reference: %zu of %zu", p->n - missing(p->ref, 0, p->n), p->n);
		}
	} while (rc == MORE);
	return rc == STOPPED;
}

static size_t
responses(const struct judged *j)
{
	return j->of ? j->of->packs.at[j->of->packs.n] : 0;
}

/* A portion's values lie from `at` on; where they end. */
static size_t
place(const struct prefer *p, struct judged *j, size_t at)
{
	size_t mixed = at + responses(j);

	j->ref = p->ref + at;
	j->now = p->now + at;
	j->mixed_ref = p->ref + mixed;
	j->mixed_now = p->now + mixed;
	return mixed + j->mixed.n;
}

int
prefer_reference(struct run *r, struct err *e)
{
	struct prefer *p = &r->prefer;
	struct header h;
	size_t left;
	char *path;
	int rc = 0;

	if (r->set->stage == STAGE_SFT)
		return 0;
	p->n = responses(&p->data) + p->data.mixed.n + responses(&p->eval) + p->eval.mixed.n;
	p->ref = xcalloc(p->n, sizeof *p->ref);
	p->now = xcalloc(p->n, sizeof *p->now);
	place(p, &p->eval, place(p, &p->data, 0));
	for (size_t i = 0; i < p->n; i++)
		p->ref[i] = NAN;
	h = header(r);
	path = path_join(r->set->out, "reference.bin");
	if (r->comm->rank == 0)
		read_cache(path, &h, p->ref);
	comm_broadcast(r->comm, p->ref, p->n * sizeof *p->ref);
	left = missing(p->ref, 0, p->n);
	if (left > 0) {
		warn("first the reference's log-probabilities: %zu, of which %zu are there already", p->n, p->n - left);
		rc = complete(r, path, &h, e);
	}
	free(path);
	return rc;
}
