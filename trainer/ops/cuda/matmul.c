/* matmul.c - see matmul.h
 *
 * cuBLASLt's matrices are column-major: a row-major one with rows of K is to it a matrix of K rows. So
 *     forward   out (N x T) = w (K x N)^T  x (K x T)
 *     back x    dx  (K x T) = w (K x N)    dout (N x T)
 *     back w    dw  (K x N) = x (K x T)    dout (N x T)^T
 * and the bias, one number a row of out, is an epilogue of the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "err.h"
#include "kernels.h"
#include "matmul.h"

enum { CANDIDATES = 16, TRIALS = 3, ALIGN = 16, MEMO = 256 };
enum { EACH_MS = 2000, ALL_MS = 60000 };	/* of timing: no more algorithms of a product are tried after that */

_Static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(((struct choice *)0)->algo), "an algorithm is 64 bytes");

struct gpu_matmul {
	struct gpu *g;
	cublasLtHandle_t lt;
	void *workspace;
	size_t workspace_size;
	char card[256];
	struct choice *tuned;	/* that were asked for */
	size_t tuned_count;
	double timed;		/* milliseconds that were measured */
	int cut;		/* products of which not all algorithms were */
	struct choice memo[MEMO];	/* what products take, by hash; T = 0: empty */
};

/* A product as cuBLASLt wants it told. */
struct plan {
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t a, b, d;
};

static int
check(struct gpu_matmul *m, const char *what, cublasStatus_t s)
{
	return s == CUBLAS_STATUS_SUCCESS ? 0 : gpu_refuse(m->g, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(s));
}

/* ---- telling ---- */

static void
plan_free(struct plan *p)
{
	if (p->desc)
		cublasLtMatmulDescDestroy(p->desc);
	if (p->a)
		cublasLtMatrixLayoutDestroy(p->a);
	if (p->b)
		cublasLtMatrixLayoutDestroy(p->b);
	if (p->d)
		cublasLtMatrixLayoutDestroy(p->d);
}

static cublasStatus_t
plan_layouts(struct plan *p, const struct gpu_shape *s)
{
	uint64_t T = (uint64_t)s->T, K = (uint64_t)s->K, N = (uint64_t)s->N;
	cublasLtMatrixLayout_t *x = s->which == GPU_BACK_W ? &p->a : s->which >= GPU_BACK_X ? &p->d : &p->b;
	cublasLtMatrixLayout_t *w = s->which == GPU_BACK_W ? &p->d : &p->a;
	cublasLtMatrixLayout_t *out = s->which >= GPU_BACK_X ? &p->b : &p->d;
	cublasStatus_t e = cublasLtMatrixLayoutCreate(x, CUDA_R_16BF, K, T, s->K);

	if (!e)
		e = cublasLtMatrixLayoutCreate(w, s->which == GPU_BACK_W ? CUDA_R_32F : CUDA_R_16BF, K, N, s->K);
	if (!e)
		e = cublasLtMatrixLayoutCreate(out, s->which == GPU_FORWARD_FLOAT ? CUDA_R_32F : CUDA_R_16BF, N, T, s->stride);
	return e;
}

/* bias is looked at by the algorithms' choice only for being there. */
static int
plan_make(struct gpu_matmul *m, struct plan *p, const struct gpu_shape *s, const void *bias)
{
	int32_t ta = s->which < GPU_BACK_X ? CUBLAS_OP_T : CUBLAS_OP_N, tb = s->which == GPU_BACK_W ? CUBLAS_OP_T : CUBLAS_OP_N;
	uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
	cublasStatus_t e;

	memset(p, 0, sizeof *p);
	e = plan_layouts(p, s);
	if (!e)
		e = cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	if (!e)
		e = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta);
	if (!e)
		e = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb);
	if (!e && s->which == GPU_FORWARD_BIAS)
		e = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
	if (!e && s->which == GPU_FORWARD_BIAS)
		e = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
	return check(m, "describing a product", e);
}

/* ---- candidates ---- */

static cublasStatus_t
prefer(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, uint32_t value)
{
	return cublasLtMatmulPreferenceSetAttribute(pref, attr, &value, sizeof value);
}

static cublasStatus_t
preference_set(struct gpu_matmul *m, cublasLtMatmulPreference_t pref)
{
	uint64_t size = m->workspace_size;
	cublasStatus_t e = cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &size, sizeof size);

	if (!e)
		e = prefer(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
	if (!e)
		e = prefer(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, ALIGN);
	if (!e)
		e = prefer(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, ALIGN);
	if (!e)
		e = prefer(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, ALIGN);
	if (!e)
		e = prefer(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, ALIGN);
	return e;
}

/* How many, best first by the heuristics, those that it could not make left out; -1 on error or when there is none. */
static int
candidates(struct gpu_matmul *m, const struct plan *p, cublasLtMatmulHeuristicResult_t *results, int most)
{
	cublasLtMatmulPreference_t pref;
	int n = 0, good = 0, i;
	cublasStatus_t e = cublasLtMatmulPreferenceCreate(&pref);

	if (check(m, "preferences", e))
		return -1;
	e = preference_set(m, pref);
	if (!e)
		e = cublasLtMatmulAlgoGetHeuristic(m->lt, p->desc, p->a, p->b, p->d, p->d, pref, most, results, &n);
	cublasLtMatmulPreferenceDestroy(pref);
	if (check(m, "choosing an algorithm", e))
		return -1;
	for (i = 0; i < n; i++)
		if (results[i].state == CUBLAS_STATUS_SUCCESS)
			results[good++] = results[i];
	return good > 0 ? good : gpu_refuse(m->g, "cuBLASLt: no algorithm for a product");
}

struct gpu_matmul *
gpu_matmul_new(struct gpu *g, void *workspace, size_t workspace_size)
{
	struct gpu_matmul *m = calloc(1, sizeof *m);
	struct cudaDeviceProp prop;

	if (!m) {
		gpu_refuse(g, "out of memory");
		return NULL;
	}
	m->g = g;
	m->workspace = workspace;
	m->workspace_size = workspace_size;
	if (cudaGetDeviceProperties(&prop, g->device) != cudaSuccess || check(m, "starting", cublasLtCreate(&m->lt))) {
		gpu_matmul_free(m);
		return NULL;
	}
	snprintf(m->card, sizeof m->card, "%s", prop.name);
	return m;
}

void
gpu_matmul_free(struct gpu_matmul *m)
{
	if (!m)
		return;
	if (m->lt)
		cublasLtDestroy(m->lt);
	free(m->tuned);
	free(m);
}

/* ---- choosing ---- */

/* Of the products of the same matrix that were tuned, that of the smallest T from s->T on. */
static const struct choice *
tuned_find(const struct gpu_matmul *m, const struct gpu_shape *s)
{
	const struct choice *best = NULL;

	for (size_t i = 0; i < m->tuned_count; i++) {
		const struct gpu_shape *t = &m->tuned[i].shape;

		if (t->which == s->which && t->stride == s->stride && t->K == s->K && t->N == s->N && t->T >= s->T && (!best || t->T < best->shape.T))
			best = &m->tuned[i];
	}
	return best;
}

static struct choice *
memo_slot(struct gpu_matmul *m, const struct gpu_shape *s)
{
	unsigned h = (unsigned)s->which;

	h = h * 31 + (unsigned)s->T;
	h = h * 31 + (unsigned)s->K;
	h = h * 31 + (unsigned)s->N;
	return &m->memo[(h ^ h >> 8 ^ h >> 16) % MEMO];
}

/* Does cuBLASLt take it for this product? Not always for fewer rows, or with another driver. */
static int
accepts(struct gpu_matmul *m, const struct plan *p, const struct choice *c)
{
	cublasLtMatmulHeuristicResult_t r;
	cublasLtMatmulAlgo_t algo;

	memcpy(&algo, c->algo, sizeof algo);
	return cublasLtMatmulAlgoCheck(m->lt, p->desc, p->a, p->b, p->d, p->d, &algo, &r) == CUBLAS_STATUS_SUCCESS && r.workspaceSize <= m->workspace_size;
}

static int
choose(struct gpu_matmul *m, const struct plan *p, const struct gpu_shape *s, cublasLtMatmulAlgo_t *algo)
{
	const struct choice *tuned;
	struct choice *memo = memo_slot(m, s);
	cublasLtMatmulHeuristicResult_t r;

	if (memcmp(&memo->shape, s, sizeof *s)) {
		tuned = tuned_find(m, s);
		if (tuned && accepts(m, p, tuned))
			memcpy(memo->algo, tuned->algo, sizeof memo->algo);
		else if (candidates(m, p, &r, 1) < 0)
			return -1;
		else
			memcpy(memo->algo, &r.algo, sizeof memo->algo);
		memo->shape = *s;
	}
	memcpy(algo, memo->algo, sizeof *algo);
	return 0;
}

static int
check_sizes(struct gpu_matmul *m, const struct gpu_shape *s)
{
	if (s->T < 0 || s->K < 8 || s->K % 8 || s->N < 1 || s->stride < s->N || s->stride % 8)
		return gpu_refuse(m->g, "product: T %d, K %d, N %d, rows %d apart: K and the rows must be multiples of 8", s->T, s->K, s->N, s->stride);
	return 0;
}

static int
run(struct gpu_matmul *m, const struct plan *p, const cublasLtMatmulAlgo_t *algo, void *d, const void *a, const void *b, float alpha, float beta)
{
	return check(m, "a product", cublasLtMatmul(m->lt, p->desc, &alpha, a, p->a, b, p->b, &beta, d, p->d, d, p->d, algo, m->workspace, m->workspace_size,
						    m->g->stream));
}

static int
product(struct gpu_matmul *m, const struct gpu_shape *s, void *d, const void *a, const void *b, const void *bias, float scale, int accum)
{
	cublasLtMatmulAlgo_t algo;
	struct plan p;
	int e;

	if (check_sizes(m, s))
		return -1;
	if (s->T == 0)
		return 0;
	e = plan_make(m, &p, s, bias);
	if (!e)
		e = choose(m, &p, s, &algo);
	if (!e)
		e = run(m, &p, &algo, d, a, b, scale, accum ? 1 : 0);
	plan_free(&p);
	return e;
}

int
gpu_linear(struct gpu_matmul *m, uint16_t *out, int stride, const uint16_t *x, const uint16_t *w, const uint16_t *bias, int T, int K, int N)
{
	struct gpu_shape s = { bias ? GPU_FORWARD_BIAS : GPU_FORWARD, stride, T, K, N };

	return product(m, &s, out, w, x, bias, 1, 0);
}

int
gpu_linear_scaled(struct gpu_matmul *m, uint16_t *out, int stride, int accum, float scale, const uint16_t *x, const uint16_t *w, int T, int K, int N)
{
	struct gpu_shape s = { GPU_FORWARD, stride, T, K, N };

	return product(m, &s, out, w, x, NULL, scale, accum);
}

int
gpu_linear_float(struct gpu_matmul *m, float *out, int stride, const uint16_t *x, const uint16_t *w, int T, int K, int N)
{
	struct gpu_shape s = { GPU_FORWARD_FLOAT, stride, T, K, N };

	return product(m, &s, out, w, x, NULL, 1, 0);
}

int
gpu_linear_back_x(struct gpu_matmul *m, uint16_t *dx, int accum, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N)
{
	struct gpu_shape s = { accum ? GPU_BACK_X_ACC : GPU_BACK_X, stride, T, K, N };

	return product(m, &s, dx, w, dout, NULL, 1, accum);
}

int
gpu_linear_back_x_scaled(struct gpu_matmul *m, uint16_t *dx, float scale, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N)
{
	struct gpu_shape s = { GPU_BACK_X, stride, T, K, N };

	return product(m, &s, dx, w, dout, NULL, scale, 0);
}

int
gpu_linear_back_w(struct gpu_matmul *m, float *dw_acc, const uint16_t *dout, int stride, const uint16_t *x, int T, int K, int N)
{
	struct gpu_shape s = { GPU_BACK_W, stride, T, K, N };

	return product(m, &s, dw_acc, x, dout, NULL, 1, 1);
}

/* ---- timing ---- */

/* In the scratch: x, w and out (float32 at most), bias, each at a multiple of 256 bytes. */
struct places {
	size_t w, out, bias, size;
};

static struct places
places_of(const struct gpu_shape *s)
{
	size_t T = (size_t)s->T, K = (size_t)s->K, N = (size_t)s->N, up = 255;
	struct places p;

	p.w = (T * K * 2 + up) & ~up;
	p.out = p.w + ((N * K * (s->which == GPU_BACK_W ? 4 : 2) + up) & ~up);
	p.bias = p.out + ((T * (size_t)s->stride * (s->which == GPU_FORWARD_FLOAT ? 4 : 2) + up) & ~up);
	p.size = p.bias + ((N * 2 + up) & ~up);
	return p;
}

size_t
gpu_matmul_tune_scratch(const struct gpu_shape *s)
{
	return places_of(s).size;
}

/* A product that is being timed. */
struct trial {
	struct plan plan;
	cudaEvent_t from, to;
	void *a, *b, *d;
	float beta;
};

/* Milliseconds that `runs` runs take; -1: it does not run. */
static float
time_of(struct gpu_matmul *m, const struct trial *t, const cublasLtMatmulAlgo_t *algo, int runs)
{
	float ms;

	if (cudaEventRecord(t->from, m->g->stream) != cudaSuccess)
		return -1;
	for (int i = 0; i < runs; i++)
		if (run(m, &t->plan, algo, t->d, t->a, t->b, 1, t->beta))
			return -1;
	if (cudaEventRecord(t->to, m->g->stream) != cudaSuccess || cudaEventSynchronize(t->to) != cudaSuccess ||
	    cudaEventElapsedTime(&ms, t->from, t->to) != cudaSuccess)
		return -1;
	m->timed += ms;
	return ms;
}

/* The fastest of the candidates. The first run of each is not looked at, for it may load the kernel; one that then takes twice as long as the best so far is
 * not run again. When the time is over the first that runs is taken. */
static int
fastest(struct gpu_matmul *m, const struct trial *t, struct choice *best)
{
	cublasLtMatmulHeuristicResult_t results[CANDIDATES];
	int n = candidates(m, &t->plan, results, CANDIDATES), i;
	double end = m->timed + EACH_MS < ALL_MS ? m->timed + EACH_MS : ALL_MS;
	float least = -1;

	for (i = 0; i < n && (least < 0 || m->timed < end); i++) {
		const cublasLtMatmulAlgo_t *algo = &results[i].algo;
		float ms = time_of(m, t, algo, 1) < 0 ? -1 : time_of(m, t, algo, 1);

		if (ms < 0 || (least >= 0 && ms > 2 * least))
			continue;
		ms = time_of(m, t, algo, TRIALS) / TRIALS;
		if (ms >= 0 && (least < 0 || ms < least)) {
			least = ms;
			memcpy(best->algo, algo, sizeof best->algo);
		}
	}
	m->cut += i < n;
	if (n < 0 || least >= 0)
		return n < 0 ? -1 : 0;
	return gpu_launched(m->g, "timing a product") ? -1 : gpu_refuse(m->g, "cuBLASLt: no algorithm runs");
}

static int
time_all(struct gpu_matmul *m, struct choice *c, char *scratch)
{
	const struct gpu_shape *s = &c->shape;
	struct places at = places_of(s);
	char *x = scratch, *w = scratch + at.w, *out = scratch + at.out;
	struct trial t = { .a = s->which == GPU_BACK_W ? x : w, .b = s->which >= GPU_BACK_X ? out : x, .d = s->which == GPU_BACK_W ? w : s->which >= GPU_BACK_X ? x : out,
			   .beta = s->which == GPU_BACK_W || s->which == GPU_BACK_X_ACC };
	int e = plan_make(m, &t.plan, s, scratch + at.bias);

	if (!e && (cudaEventCreate(&t.from) != cudaSuccess || cudaEventCreate(&t.to) != cudaSuccess ||
		   cudaMemsetAsync(scratch, 0, at.size, m->g->stream) != cudaSuccess))
		e = gpu_launched(m->g, "timing a product");
	if (!e)
		e = fastest(m, &t, c);
	if (t.from)
		cudaEventDestroy(t.from);
	if (t.to)
		cudaEventDestroy(t.to);
	plan_free(&t.plan);
	return e;
}

static int
use(struct gpu_matmul *m, const struct choice *c)
{
	struct choice *more = realloc(m->tuned, (m->tuned_count + 1) * sizeof *more);

	if (!more)
		return gpu_refuse(m->g, "out of memory");
	m->tuned = more;
	m->tuned[m->tuned_count++] = *c;
	return 0;
}

/* 0; 1 when the choice could not be kept: said, and in use for this run; -1. */
static int
tune(struct gpu_matmul *m, struct choices *kept, const struct gpu_shape *s, void *scratch, size_t size, gpu_say *say)
{
	const struct choice *known = choices_find(kept, s);
	struct choice c = { .shape = *s };
	struct err why;
	int rc;

	if (known)
		return use(m, known);
	if (check_sizes(m, s))
		return -1;
	if (s->T == 0 || gpu_matmul_tune_scratch(s) > size)
		return 0;
	if (time_all(m, &c, scratch))
		return -1;
	rc = choices_add(kept, &c, &why);
	if (rc < 0)
		say("%s; the rest keeps the algorithms that cuBLASLt proposes", why.msg);
	return use(m, &c) ? -1 : rc < 0;
}

int
gpu_matmul_tune(struct gpu_matmul *m, const struct gpu_shape *shapes, int n, const char *file, void *scratch, size_t size, gpu_say *say)
{
	struct choices kept;
	struct err why;
	int e = 0, unknown = 0, opened;

	m->timed = m->cut = 0;
	if (!file)
		return 0;
	opened = choices_open(&kept, file, m->card, cublasLtGetVersion(), false, &why);
	if (opened > 0) {
		say("%s: another process times algorithms; waiting for it", file);
		opened = choices_open(&kept, file, m->card, cublasLtGetVersion(), true, &why);
	}
	if (opened < 0) {
		say("%s; products keep the algorithms that cuBLASLt proposes", why.msg);
		return 0;
	}
	if (kept.broken)
		say("%s: line %d is no choice of an algorithm; the file is made again", file, kept.broken);
	for (int i = 0; i < n; i++)
		unknown += !choices_find(&kept, &shapes[i]) && gpu_matmul_tune_scratch(&shapes[i]) <= size;
	if (unknown)
		say("timing the algorithms of %d matrix products on %s, once; the choices are kept in %s", unknown, m->card, file);
	for (int i = 0; !e && i < n; i++)
		e = tune(m, &kept, &shapes[i], scratch, size, say);
	if (m->cut)
		say("of %d matrix products not all algorithms were timed: %d s for one and %d s for all are the limit", m->cut, EACH_MS / 1000, ALL_MS / 1000);
	choices_close(&kept);
	memset(m->memo, 0, sizeof m->memo);
	return e < 0 ? -1 : 0;
}

/* FNV-1a, 32 bits at a time. */
uint64_t
gpu_matmul_chosen(const struct gpu_matmul *m)
{
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < m->tuned_count; i++) {
		const struct choice *c = &m->tuned[i];
		uint32_t words[5 + 16];

		memcpy(words, &c->shape, 5 * sizeof *words);
		memcpy(words + 5, c->algo, sizeof c->algo);
		for (int k = 0; k < 5 + 16; k++)
			h = (h ^ words[k]) * 1099511628211ull;
	}
	return m->tuned_count ? h : 0;
}
