/* matmul.c - see matmul.h
 *
 * cuBLASLt's matrices are column-major: a row-major one with rows of K is to it a matrix of K rows. So
 *     forward   out (N x T) = w (K x N)^T  x (K x T)
 *     back x    dx  (K x T) = w (K x N)    dout (N x T)
 *     back w    dw  (K x N) = x (K x T)    dout (N x T)^T
 * and the bias, one number a row of out, is an epilogue of the first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "err.h"
#include "kernels.h"
#include "matmul.h"

enum { CANDIDATES = 16, TRIALS = 3, ALIGN = 16, MEMO = 256 };

/* A product as far as the choice of an algorithm goes. */
struct shape {
	int which, stride, T, K, N;
};

struct choice {
	struct shape shape;
	cublasLtMatmulAlgo_t algo;
};

struct gpu_matmul {
	struct gpu *g;
	cublasLtHandle_t lt;
	void *workspace;
	size_t workspace_size;
	char *file;
	char device[256];	/* a name without spaces */
	struct choice *tuned;
	size_t tuned_count;
	struct choice memo[MEMO];	/* of shapes that were not tuned, by hash; T = 0: empty */
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
plan_layouts(struct plan *p, const struct shape *s)
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
plan_make(struct gpu_matmul *m, struct plan *p, const struct shape *s, const void *bias)
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

/* ---- the file: a line a choice: device, version, shape, 64 bytes in hexadecimal. Lines of other cards and versions are left alone. ---- */

static int
line_read(struct gpu_matmul *m, const char *line, struct choice *c)
{
	char device[256];
	size_t version;
	int at = 0;

	if (sscanf(line, "%255s %zu %d %d %d %d %d%n", device, &version, &c->shape.which, &c->shape.stride, &c->shape.T, &c->shape.K, &c->shape.N, &at) != 7 ||
	    strcmp(device, m->device) || version != cublasLtGetVersion())
		return -1;
	for (size_t i = 0; i < sizeof c->algo.data / sizeof *c->algo.data; i++) {
		int used = 0;

		if (sscanf(line + at, " %" SCNx64 "%n", &c->algo.data[i], &used) != 1)
			return -1;
		at += used;
	}
	return 0;
}

static int
remember(struct gpu_matmul *m, const struct choice *c)
{
	struct choice *more = realloc(m->tuned, (m->tuned_count + 1) * sizeof *more);

	if (!more)
		return gpu_refuse(m->g, "out of memory");
	m->tuned = more;
	m->tuned[m->tuned_count++] = *c;
	return 0;
}

/* A file that is not there is an empty one. */
static int
file_read(struct gpu_matmul *m)
{
	FILE *f = m->file ? fopen(m->file, "r") : NULL;
	char line[1024];
	struct choice c;
	int e = 0;

	while (f && !e && fgets(line, sizeof line, f))
		if (!line_read(m, line, &c))
			e = remember(m, &c);
	if (f)
		fclose(f);
	return e;
}

static int
file_add(struct gpu_matmul *m, const struct choice *c)
{
	const uint64_t *d = c->algo.data;
	FILE *f;
	int bad;

	if (!m->file)
		return 0;
	f = fopen(m->file, "a");
	if (!f)
		return gpu_refuse(m->g, "%s: cannot be written", m->file);
	bad = fprintf(f, "%s %zu %d %d %d %d %d %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", m->device,
		      cublasLtGetVersion(), c->shape.which, c->shape.stride, c->shape.T, c->shape.K, c->shape.N, d[0], d[1], d[2], d[3], d[4], d[5], d[6],
		      d[7]) < 0;
	if (fclose(f) || bad)
		return gpu_refuse(m->g, "%s: cannot be written", m->file);
	return 0;
}

struct gpu_matmul *
gpu_matmul_new(struct gpu *g, void *workspace, size_t workspace_size, const char *file)
{
	struct gpu_matmul *m = calloc(1, sizeof *m);
	struct cudaDeviceProp prop;

	if (!m || (file && !(m->file = strdup(file)))) {
		gpu_refuse(g, "out of memory");
		free(m);
		return NULL;
	}
	m->g = g;
	m->workspace = workspace;
	m->workspace_size = workspace_size;
	if (cudaGetDeviceProperties(&prop, g->device) != cudaSuccess || check(m, "starting", cublasLtCreate(&m->lt)))
		goto bad;
	snprintf(m->device, sizeof m->device, "%s", prop.name);
	for (char *p = m->device; *p; p++)
		if (*p == ' ')
			*p = '_';
	if (file_read(m))
		goto bad;
	return m;
bad:
	gpu_matmul_free(m);
	return NULL;
}

void
gpu_matmul_free(struct gpu_matmul *m)
{
	if (!m)
		return;
	if (m->lt)
		cublasLtDestroy(m->lt);
	free(m->tuned);
	free(m->file);
	free(m);
}

/* ---- choosing ---- */

static const struct choice *
tuned_find(const struct gpu_matmul *m, const struct shape *s)
{
	for (size_t i = m->tuned_count; i-- > 0;)
		if (!memcmp(&m->tuned[i].shape, s, sizeof *s))
			return &m->tuned[i];
	return NULL;
}

static struct choice *
memo_slot(struct gpu_matmul *m, const struct shape *s)
{
	unsigned h = (unsigned)s->which;

	h = h * 31 + (unsigned)s->T;
	h = h * 31 + (unsigned)s->K;
	h = h * 31 + (unsigned)s->N;
	return &m->memo[(h ^ h >> 8 ^ h >> 16) % MEMO];
}

/* The algorithm for a product. A choice from the file that this card does not take (another driver) is passed over. */
static int
choose(struct gpu_matmul *m, const struct plan *p, const struct shape *s, cublasLtMatmulAlgo_t *algo)
{
	const struct choice *tuned = tuned_find(m, s);
	struct choice *memo = memo_slot(m, s);
	cublasLtMatmulHeuristicResult_t r;

	if (tuned && cublasLtMatmulAlgoCheck(m->lt, p->desc, p->a, p->b, p->d, p->d, &tuned->algo, &r) == CUBLAS_STATUS_SUCCESS &&
	    r.workspaceSize <= m->workspace_size) {
		*algo = tuned->algo;
		return 0;
	}
	if (memcmp(&memo->shape, s, sizeof *s)) {
		if (candidates(m, p, &r, 1) < 0)
			return -1;
		memo->shape = *s;
		memo->algo = r.algo;
	}
	*algo = memo->algo;
	return 0;
}

static int
check_sizes(struct gpu_matmul *m, const struct shape *s)
{
	if (s->T < 0 || s->K < 8 || s->K % 8 || s->N < 1 || s->stride < s->N || s->stride % 8)
		return gpu_refuse(m->g, "product: T %d, K %d, N %d, rows %d apart: K and the rows must be multiples of 8", s->T, s->K, s->N, s->stride);
	return 0;
}

static int
run(struct gpu_matmul *m, const struct plan *p, const cublasLtMatmulAlgo_t *algo, void *d, const void *a, const void *b, float beta)
{
	float alpha = 1;

	return check(m, "a product", cublasLtMatmul(m->lt, p->desc, &alpha, a, p->a, b, p->b, &beta, d, p->d, d, p->d, algo, m->workspace, m->workspace_size,
						    m->g->stream));
}

static int
product(struct gpu_matmul *m, const struct shape *s, void *d, const void *a, const void *b, const void *bias, int accum)
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
		e = run(m, &p, &algo, d, a, b, accum ? 1 : 0);
	plan_free(&p);
	return e;
}

int
gpu_linear(struct gpu_matmul *m, uint16_t *out, int stride, const uint16_t *x, const uint16_t *w, const uint16_t *bias, int T, int K, int N)
{
	struct shape s = { bias ? GPU_FORWARD_BIAS : GPU_FORWARD, stride, T, K, N };

	return product(m, &s, out, w, x, bias, 0);
}

int
gpu_linear_float(struct gpu_matmul *m, float *out, int stride, const uint16_t *x, const uint16_t *w, int T, int K, int N)
{
	struct shape s = { GPU_FORWARD_FLOAT, stride, T, K, N };

	return product(m, &s, out, w, x, NULL, 0);
}

int
gpu_linear_back_x(struct gpu_matmul *m, uint16_t *dx, int accum, const uint16_t *dout, int stride, const uint16_t *w, int T, int K, int N)
{
	struct shape s = { accum ? GPU_BACK_X_ACC : GPU_BACK_X, stride, T, K, N };

	return product(m, &s, dx, w, dout, NULL, accum);
}

int
gpu_linear_back_w(struct gpu_matmul *m, float *dw_acc, const uint16_t *dout, int stride, const uint16_t *x, int T, int K, int N)
{
	struct shape s = { GPU_BACK_W, stride, T, K, N };

	return product(m, &s, dw_acc, x, dout, NULL, 1);
}

/* ---- timing ---- */

/* In the scratch: x, w and out (float32 at most), bias, each at a multiple of 256 bytes. */
struct places {
	size_t w, out, bias, size;
};

static struct places
places_of(int stride, int T, int K, int N)
{
	struct places p;
	size_t up = 255;

	p.w = ((size_t)T * (size_t)K * 2 + up) & ~up;
	p.out = p.w + (((size_t)N * (size_t)K * 4 + up) & ~up);
	p.bias = p.out + (((size_t)T * (size_t)stride * 4 + up) & ~up);
	p.size = p.bias + (((size_t)N * 2 + up) & ~up);
	return p;
}

size_t
gpu_matmul_tune_scratch(int stride, int T, int K, int N)
{
	return places_of(stride, T, K, N).size;
}

/* Milliseconds of TRIALS runs after one that warms up; -1: it does not run. */
static float
time_of(struct gpu_matmul *m, const struct plan *p, const cublasLtMatmulAlgo_t *algo, cudaEvent_t from, cudaEvent_t to, void *d, const void *a, const void *b, float beta)
{
	float ms;

	if (run(m, p, algo, d, a, b, beta) || cudaEventRecord(from, m->g->stream) != cudaSuccess)
		return -1;
	for (int i = 0; i < TRIALS; i++)
		if (run(m, p, algo, d, a, b, beta))
			return -1;
	if (cudaEventRecord(to, m->g->stream) != cudaSuccess || cudaEventSynchronize(to) != cudaSuccess || cudaEventElapsedTime(&ms, from, to) != cudaSuccess)
		return -1;
	return ms;
}

static int
fastest(struct gpu_matmul *m, const struct plan *p, const struct shape *s, char *scratch, cublasLtMatmulAlgo_t *best)
{
	struct places at = places_of(s->stride, s->T, s->K, s->N);
	char *x = scratch, *w = scratch + at.w, *out = scratch + at.out;
	char *d = s->which == GPU_BACK_W ? w : s->which >= GPU_BACK_X ? x : out, *a = s->which == GPU_BACK_W ? x : w, *b = s->which >= GPU_BACK_X ? out : x;
	float beta = s->which == GPU_BACK_W || s->which == GPU_BACK_X_ACC, least = -1;
	cublasLtMatmulHeuristicResult_t results[CANDIDATES];
	cudaEvent_t from = NULL, to = NULL;
	int n = candidates(m, p, results, CANDIDATES);

	if (n < 0)
		return -1;
	if (cudaEventCreate(&from) == cudaSuccess && cudaEventCreate(&to) == cudaSuccess && cudaMemsetAsync(scratch, 0, at.size, m->g->stream) == cudaSuccess)
		for (int i = 0; i < n; i++) {
			float ms = time_of(m, p, &results[i].algo, from, to, d, a, b, beta);

			if (ms >= 0 && (least < 0 || ms < least)) {
				least = ms;
				*best = results[i].algo;
			}
		}
	if (from)
		cudaEventDestroy(from);
	if (to)
		cudaEventDestroy(to);
	return least >= 0 ? 0 : gpu_refuse(m->g, "cuBLASLt: no algorithm runs");
}

int
gpu_matmul_tune(struct gpu_matmul *m, enum gpu_product which, int stride, int T, int K, int N, void *scratch)
{
	struct choice c = { .shape = { (int)which, stride, T, K, N } };
	struct plan p;
	int e;

	if (check_sizes(m, &c.shape))
		return -1;
	if (T == 0 || tuned_find(m, &c.shape))
		return 0;
	e = plan_make(m, &p, &c.shape, (char *)scratch + places_of(stride, T, K, N).bias);
	if (!e)
		e = fastest(m, &p, &c.shape, scratch, &c.algo);
	plan_free(&p);
	if (!e)
		e = remember(m, &c);
	return e ? e : file_add(m, &c);
}
