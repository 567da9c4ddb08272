/* cublaslt.cpp - the functions of cublasLt.h: products by plain loops, and all checks of sizes and places that a GPU would leave to chance
 *
 * A product's shape decides which algorithms there are: three, of which the middle one is the fastest in pretended time. They add in pieces
 * of different length, so that which one was taken shows in the bits. The heuristics' first is the first of them, of few columns the last. One that
 * belongs to another matrix, or to many tokens where there are few, is refused, which the real library only does when it cannot run it. */
#include <cublasLt.h>

#include <cstdio>
#include <vector>

#include "sim.h"

using namespace cudasim;

namespace {

struct layout {
	cudaDataType type;
	uint64_t rows, cols;
	int64_t ld;
};

struct description {
	cublasComputeType_t compute;
	cudaDataType scale;
	int32_t ta, tb;
	uint32_t epilogue;
	const void *bias;
};

struct preference {
	uint64_t workspace;
	uint32_t reductions, alignment[4];
};

/* What the 64 bytes of an algorithm hold. */
struct algorithm {
	uint64_t shape, index, workspace, alignment;
};

enum { ALGORITHMS = 3, FEW = 24 };
const size_t VERSION = 130000;

cublasStatus_t
set(void *field, size_t size, const void *value, size_t given)
{
	if (size != given)
		return CUBLAS_STATUS_INVALID_VALUE;
	memcpy(field, value, size);
	return CUBLAS_STATUS_SUCCESS;
}

size_t
element(cudaDataType t)
{
	return t == CUDA_R_32F ? 4 : 2;
}

size_t
extent(const layout *l)
{
	return ((size_t)l->ld * (l->cols - 1) + l->rows) * element(l->type);
}

float
get(const void *p, cudaDataType t, size_t i)
{
	return t == CUDA_R_32F ? ((const float *)p)[i] : __bfloat162float(((const __nv_bfloat16 *)p)[i]);
}

void
put(void *p, cudaDataType t, size_t i, float v)
{
	if (t == CUDA_R_32F)
		((float *)p)[i] = v;
	else
		((__nv_bfloat16 *)p)[i] = __float2bfloat16_rn(v);
}

/* What is wrong with the shapes; NULL: nothing. All matrices are column-major. */
const char *
wrong(const description *d, const layout *a, const layout *b, const layout *c, const layout *to)
{
	uint64_t m = d->ta ? a->cols : a->rows, k = d->ta ? a->rows : a->cols, kb = d->tb ? b->cols : b->rows, n = d->tb ? b->rows : b->cols;

	if (d->compute != CUBLAS_COMPUTE_32F || d->scale != CUDA_R_32F || a->type != CUDA_R_16BF || b->type != CUDA_R_16BF)
		return "types";
	for (const layout *l : { a, b, c, to })
		if (l->ld < (int64_t)l->rows)
			return "a leading dimension is smaller than the rows";
	for (const layout *l : { a, b, c, to })
		if (l->ld * element(l->type) % 16)
			return "a leading dimension is no multiple of 16 bytes: no fast algorithm takes it";
	if (k != kb)
		return "A's columns are not B's rows";
	if (to->rows != m || to->cols != n || memcmp(c, to, sizeof *c))
		return "D, or C, is not A's rows by B's columns";
	if (d->epilogue == CUBLASLT_EPILOGUE_BIAS ? !d->bias : d->epilogue != CUBLASLT_EPILOGUE_DEFAULT)
		return "the epilogue, or its bias";
	return nullptr;
}

/* FNV-1a of the sizes; tokens, which are added over where B is transposed and else columns, count as few or many. */
uint64_t
shape_of(const description *d, const layout *a, const layout *b, const layout *to)
{
	uint64_t h = 1469598103934665603ull, tokens = d->tb ? a->cols : to->cols;

	for (uint64_t v : { (uint64_t)d->ta, (uint64_t)d->tb, (uint64_t)d->epilogue, a->rows, d->tb ? 0 : a->cols, (uint64_t)a->ld, b->rows, (uint64_t)b->ld,
			    (uint64_t)to->ld, (uint64_t)to->type, (uint64_t)(tokens < FEW) })
		h = (h ^ v) * 1099511628211ull;
	return h;
}

/* to[i,j] of A's row i and B's column j: sums of `piece` products each, added up. */
float
dot(const std::vector<float> &x, const std::vector<float> &y, size_t i, size_t j, size_t k, size_t piece)
{
	float total = 0;

	for (size_t from = 0; from < k; from += piece) {
		float sum = 0;

		for (size_t p = from; p < k && p < from + piece; p++)
			sum += x[i * k + p] * y[j * k + p];
		total += sum;
	}
	return total;
}

/* op(A) by rows, op(B) by columns: count vectors of k numbers. */
std::vector<float>
vectors(const void *p, const layout *l, bool along_columns, size_t count, size_t k)
{
	std::vector<float> v(count * k);

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < k; j++)
			v[i * k + j] = get(p, l->type, along_columns ? i * (size_t)l->ld + j : j * (size_t)l->ld + i);
	return v;
}

void
check_operand(const char *name, const void *p, size_t n, size_t alignment)
{
	if (!device_range(p, n))
		fail("cublasLtMatmul: %s (%zu bytes by its layout) is not inside one live allocation of the device", name, n);
	if ((uintptr_t)p % alignment)
		fail("cublasLtMatmul: %s is not aligned to %zu bytes, as was promised when the algorithm was chosen", name, alignment);
}

cublasStatus_t
check_algorithm(const algorithm *g, const description *d, const layout *a, const layout *b, const layout *c, const layout *to)
{
	const char *why = wrong(d, a, b, c, to);

	if (why) {
		fprintf(stderr, "cudasim: cublasLt: %s\n", why);
		return CUBLAS_STATUS_INVALID_VALUE;
	}
	return g->shape == shape_of(d, a, b, to) && g->index < ALGORITHMS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

}

extern "C" cublasStatus_t
cublasLtCreate(cublasLtHandle_t *h)
{
	*h = (cublasLtHandle_t)new int;
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtDestroy(cublasLtHandle_t h)
{
	delete (int *)h;
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" size_t
cublasLtGetVersion(void)
{
	return VERSION;
}

extern "C" const char *
cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_SUCCESS ? "success" : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "an invalid value";
}

extern "C" cublasStatus_t
cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
	if (!rows || !cols)
		return CUBLAS_STATUS_INVALID_VALUE;
	*l = (cublasLtMatrixLayout_t)new layout{ type, rows, cols, ld };
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
	delete (layout *)l;
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale)
{
	*d = (cublasLtMatmulDesc_t)new description{ compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr };
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
	delete (description *)d;
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t attr, const void *value, size_t size)
{
	description *d = (description *)handle;

	switch (attr) {
	case CUBLASLT_MATMUL_DESC_TRANSA:
		return set(&d->ta, sizeof d->ta, value, size);
	case CUBLASLT_MATMUL_DESC_TRANSB:
		return set(&d->tb, sizeof d->tb, value, size);
	case CUBLASLT_MATMUL_DESC_EPILOGUE:
		return set(&d->epilogue, sizeof d->epilogue, value, size);
	case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
		return set(&d->bias, sizeof d->bias, value, size);
	default:
		fail("cublasLt: attribute %d of a product is not modelled", (int)attr);
	}
}

extern "C" cublasStatus_t
cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
	*p = (cublasLtMatmulPreference_t)new preference{ 0, 7, { 256, 256, 256, 256 } };
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
	delete (preference *)p;
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle, cublasLtMatmulPreferenceAttributes_t attr, const void *value, size_t size)
{
	preference *p = (preference *)handle;

	switch (attr) {
	case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
		return set(&p->workspace, sizeof p->workspace, value, size);
	case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
		return set(&p->reductions, sizeof p->reductions, value, size);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
		return set(&p->alignment[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof *p->alignment, value, size);
	default:
		fail("cublasLt: preference %d is not modelled", (int)attr);
	}
}

extern "C" cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t la, cublasLtMatrixLayout_t lb,
			       cublasLtMatrixLayout_t lc, cublasLtMatrixLayout_t lto, cublasLtMatmulPreference_t pref, int asked,
			       cublasLtMatmulHeuristicResult_t results[], int *given)
{
	const description *d = (description *)desc;
	const layout *a = (layout *)la, *b = (layout *)lb, *c = (layout *)lc, *to = (layout *)lto;
	const preference *p = (preference *)pref;
	const char *why = wrong(d, a, b, c, to);

	*given = 0;
	if (why) {
		fprintf(stderr, "cudasim: cublasLt: %s\n", why);
		return CUBLAS_STATUS_NOT_SUPPORTED;
	}
	for (; *given < asked && *given < ALGORITHMS; ++*given) {
		cublasLtMatmulHeuristicResult_t *r = &results[*given];
		int index = to->cols < FEW ? ALGORITHMS - 1 - *given : *given;
		algorithm g = { shape_of(d, a, b, to), (uint64_t)index, p->workspace / 2, p->alignment[0] };

		memset(r, 0, sizeof *r);
		memcpy(&r->algo, &g, sizeof g);
		r->workspaceSize = g.workspace;
	}
	return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t
cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
			cublasLtMatrixLayout_t to, const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result)
{
	const algorithm *g = (const algorithm *)algo;

	memset(result, 0, sizeof *result);
	result->algo = *algo;
	result->workspaceSize = g->workspace;
	return result->state = check_algorithm(g, (description *)desc, (layout *)a, (layout *)b, (layout *)c, (layout *)to);
}

extern "C" cublasStatus_t
cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *pa, cublasLtMatrixLayout_t la, const void *pb,
	       cublasLtMatrixLayout_t lb, const void *beta, const void *pc, cublasLtMatrixLayout_t lc, void *pto, cublasLtMatrixLayout_t lto,
	       const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_size, cudaStream_t s)
{
	description d = *(description *)desc;
	layout a = *(layout *)la, b = *(layout *)lb, c = *(layout *)lc, to = *(layout *)lto;
	algorithm g;
	float times = *(const float *)alpha, plus = *(const float *)beta;
	size_t m = to.rows, n = to.cols, k = d.ta ? a.rows : a.cols;

	memcpy(&g, algo, sizeof g);
	if (cublasStatus_t e = check_algorithm(&g, &d, &a, &b, &c, &to))
		return e;
	check_operand("A", pa, extent(&a), g.alignment);
	check_operand("B", pb, extent(&b), g.alignment);
	check_operand("C", pc, extent(&c), g.alignment);
	check_operand("D", pto, extent(&to), g.alignment);
	if (g.workspace > workspace_size)
		return CUBLAS_STATUS_INVALID_VALUE;
	if (g.workspace)
		check_operand("the workspace", workspace, workspace_size, 256);
	if (d.bias)
		check_operand("the bias", d.bias, m * element(to.type), 2);
	submit(stream_of(s), [=] {
		std::vector<float> x = vectors(pa, &a, d.ta, m, k), y = vectors(pb, &b, !d.tb, n, k);

		for (size_t j = 0; j < n; j++)
			for (size_t i = 0; i < m; i++) {
				float v = times * dot(x, y, i, j, k, (size_t)16 << g.index);

				if (plus != 0)
					v += plus * get(pc, c.type, j * (size_t)c.ld + i);
				if (d.epilogue == CUBLASLT_EPILOGUE_BIAS)
					v += get(d.bias, to.type, i);
				put(pto, to.type, j * (size_t)to.ld + i, v);
			}
		time_passes(g.index == 1 ? 0.01f : 0.02f);
	});
	return CUBLAS_STATUS_SUCCESS;
}
