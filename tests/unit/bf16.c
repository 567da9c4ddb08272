/* bf16.c - products of bf16 numbers: those of rounded factors on every instruction set, bits that must not depend on the batch or the threads, and the
 * gradients of whole models against torch's in float */
#include "families.h"

#include "cpu/gemm.h"
#include "golden.h"
#include "oracle.h"

static const int products[][3] = {	/* T, K, N */
	{ 1, 1, 1 }, { 1, 257, 33 }, { 2, 5, 3 }, { 7, 300, 100 }, { 13, 17, 31 }, { 48, 64, 32 }, { 101, 513, 129 }, { 250, 1283, 70 }, { 600, 31, 260 },
};

#define EACH_PRODUCT(T, K, N) \
	for (size_t s_ = 0; s_ < sizeof products / sizeof *products; s_++) \
		for (int T = products[s_][0], K = products[s_][1], N = products[s_][2]; T; T = 0)

static float *
rounded(const float *x, size_t n)
{
	uint16_t *h = malloc(n * sizeof *h);
	float *r = malloc(n * sizeof *r);

	from_float(h, x, DT_BF16, n);
	to_float(r, h, DT_BF16, n);
	free(h);
	return r;
}

static void
check_forward(void)
{
	EACH_PRODUCT(T, K, N) {
		float *x = noise(T * K), *w = noise(N * K), *bias = noise(N), *a = noise(T * N), *b = noise(T * N), *xr = rounded(x, T * K), *wr = rounded(w, N * K);

		ops_plain.linear(one, a, xr, wr, NULL, T, K, N);
		ops_cpu_bf16.linear(three, b, x, w, NULL, T, K, N);
		CHECK_CLOSE(b, a, T * N);
		ops_plain.linear(one, a, xr, wr, bias, T, K, N);
		ops_cpu_bf16.linear(three, b, x, w, bias, T, K, N);
		CHECK_CLOSE(b, a, T * N);
		free(x); free(w); free(bias); free(a); free(b); free(xr); free(wr);
	}
}

static void
a_product_is_that_of_its_rounded_factors_on_every_instruction_set(void)
{
	each_isa(check_forward);
}

static void
check_backward(void)
{
	EACH_PRODUCT(T, K, N) {
		float *x = noise(T * K), *w = noise(N * K), *dout = noise(T * N), *dxa = noise(T * K), *dxb = copy(dxa, T * K);
		float *dwa = noise(N * K), *dwb = copy(dwa, N * K), *xr = rounded(x, T * K), *wr = rounded(w, N * K), *dr = rounded(dout, T * N);

		ops_plain.linear_back(one, dxa, 1, dwa, NULL, dr, xr, wr, T, K, N);
		ops_cpu_bf16.linear_back(three, dxb, 1, dwb, NULL, dout, x, w, T, K, N);
		CHECK_CLOSE(dxb, dxa, T * K);
		CHECK_CLOSE(dwb, dwa, N * K);
		ops_cpu_bf16.linear_back(three, dxb, 0, NULL, NULL, dout, x, w, T, K, N);
		ops_plain.linear_back(one, dxa, 0, NULL, NULL, dr, xr, wr, T, K, N);
		CHECK_CLOSE(dxb, dxa, T * K);
		free(x); free(w); free(dout); free(dxa); free(dxb); free(dwa); free(dwb); free(xr); free(wr); free(dr);
	}
}

static void
both_backward_products_are_those_of_rounded_factors_on_every_instruction_set(void)
{
	each_isa(check_backward);
}

static void
the_gradient_of_a_bias_is_a_sum_of_floats(void)
{
	enum { T = 33, K = 2, N = 5 };
	float *x = noise(T * K), *w = noise(N * K), *dout = noise(T * N), a[N] = { 0 }, b[N] = { 0 };

	ops_plain.linear_back(one, NULL, 0, NULL, a, dout, x, w, T, K, N);
	ops_cpu_bf16.linear_back(one, NULL, 0, NULL, b, dout, x, w, T, K, N);
	CHECK_SAME(a, b, N);
	free(x); free(w); free(dout);
}

static void
check_bits(void)
{
	EACH_PRODUCT(T, K, N) {
		float *x = noise(T * K), *w = noise(N * K), *a = noise(T * N), *b = noise(T * N), *dx[2], *dw[2];

		ops_cpu_bf16.linear(three, a, x, w, NULL, T, K, N);
		ops_cpu_bf16.linear(one, b, x, w, NULL, T, K, N);
		CHECK_SAME(a, b, T * N);
		for (int t = 0; t < T; t += 5) {
			ops_cpu_bf16.linear(three, b, x + t * K, w, NULL, 1, K, N);
			CHECK_SAME(b, a + t * N, N);
		}
		for (int i = 0; i < 2; i++) {
			dx[i] = malloc(T * K * sizeof(float));
			dw[i] = calloc(N * K, sizeof(float));
			ops_cpu_bf16.linear_back(i ? three : one, dx[i], 0, dw[i], NULL, a, x, w, T, K, N);
		}
		CHECK_SAME(dx[0], dx[1], T * K);
		CHECK_SAME(dw[0], dw[1], N * K);
		free(x); free(w); free(a); free(b); free(dx[0]); free(dx[1]); free(dw[0]); free(dw[1]);
	}
}

static void
a_row_has_the_same_bits_alone_in_any_batch_and_on_any_threads(void)
{
	each_isa(check_bits);
}

/* What is packed by rows and by columns, and taken by either, is the same numbers; with ties, infinities and NaN among them. */
static void
check_packing(void)
{
	enum { K = 67, N = 29 };
	static const float odd[] = { 1.00390625f, 1.01171875f, -1.00390625f, INFINITY, -INFINITY, 0, -0.0f, 3.4e38f, 1e-30f };
	const struct tile *t = tile_best(DT_BF16);
	float *rows = noise(K * N), *cols = malloc(K * N * sizeof *cols), *a = calloc(K * TILE_MAX_WIDTH, sizeof *a), *b = calloc(K * TILE_MAX_WIDTH, sizeof *b);
	int units = (int)tile_units(t, K), width = t->width, most = N < width ? N : width, i, j;

	memcpy(rows, odd, sizeof odd);
	for (i = 0; i < K; i++)
		for (j = 0; j < N; j++)
			cols[j * K + i] = rows[i * N + j];
	pack_rows(t, a, rows, N, K, most);
	pack_cols(t, b, cols, K, K, most);
	CHECK_SAME(a, b, units * width);
	for (i = 0; i < K; i++)
		for (j = 0; j < most; j++) {
			uint16_t got, want;

			memcpy(&got, (char *)(a + i / 2 * width + j) + i % 2 * 2, sizeof got);
			from_float(&want, rows + i * N + j, DT_BF16, 1);
			CHECK_INT(got, want);
		}
	take_rows(t, a, units, cols, K, TALL < most ? TALL : most, K);
	take_cols(t, b, rows, N, TALL < most ? TALL : most, K);
	for (i = 0; i < units; i++)
		for (j = 0; j < TALL && j < most; j++)
			CHECK(memcmp(a + j * units + i, b + i * TALL + j, sizeof *a) == 0);
	free(rows); free(cols); free(a); free(b);
}

static void
packing_rounds_to_the_nearest_in_every_order(void)
{
	each_isa(check_packing);
}

static void
check_not_finite(void)
{
	float x[] = { 1, NAN, 1, INFINITY, 1, 3.4e38f }, w[] = { 1, 1 }, out[3];

	ops_cpu_bf16.linear(one, out, x, w, NULL, 3, 2, 1);
	CHECK(isnan(out[0]) && isinf(out[1]) && out[2] > 3.3e38f);
}

static void
what_is_not_finite_stays_so(void)
{
	each_isa(check_not_finite);
}

static void
check_attention(void)
{
	static const struct { int H, G, D, cu[4]; } shapes[] = { { 1, 1, 2, { 0, 1, 1, 1 } }, { 6, 2, 10, { 0, 33, 97, 130 } }, { 2, 1, 64, { 0, 5, 6, 301 } } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int H = shapes[s].H, G = shapes[s].G, D = shapes[s].D, T = shapes[s].cu[3], nq = T * H * D, nk = T * G * D;
		float *q = noise(nq), *k = noise(nk), *v = noise(nk), *by = noise(nq), *out = noise(nq), *lse = noise(T * H), *d[9];

		ops_plain.attend(one, out, lse, q, k, v, shapes[s].cu, 3, H, G, D);
		for (int i = 0; i < 9; i++)
			d[i] = noise(i % 3 ? nk : nq);
		ops_plain.attend_back(one, d[0], d[1], d[2], by, q, k, v, out, lse, shapes[s].cu, 3, H, G, D);
		ops_cpu_bf16.attend_back(three, d[3], d[4], d[5], by, q, k, v, out, lse, shapes[s].cu, 3, H, G, D);
		ops_cpu_bf16.attend_back(one, d[6], d[7], d[8], by, q, k, v, out, lse, shapes[s].cu, 3, H, G, D);
		for (int i = 0; i < 3; i++) {
			size_t n = i ? nk : nq;

			CHECK_NUM(off(d[3 + i], d[i], n), 0, 0.01);
			CHECK_SAME(d[3 + i], d[6 + i], n);
		}
		for (int i = 0; i < 9; i++)
			free(d[i]);
		free(q); free(k); free(v); free(by); free(out); free(lse);
	}
}

static void
attentions_backward_is_within_what_rounding_costs(void)
{
	each_isa(check_attention);
}

/* bf16 has 8 bits of precision: a product of random signs is off by about 2^-9 of its length, and so is the gradient behind a few of them. */
static void
check_families(void)
{
	static const struct bounds bf16_bounds = { 2e-3, 0.999, 0.03 };	/* the ratio: of biases of sixteen numbers */
	static const char *const names[] = { "llama", "qwen2", "qwen2-tied", "qwen3" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char dir[64], expect[64];

		snprintf(dir, sizeof dir, "tests/goldens/family/%s", names[i]);
		snprintf(expect, sizeof expect, "tests/goldens/family/%s/expect", names[i]);
		check_gradients_within(dir, expect, &ops_cpu_bf16, &bf16_bounds);
	}
}

static void
gradients_point_where_torchs_in_float_do_on_every_instruction_set(void)
{
	each_isa(check_families);
}

static void
tests(void)
{
	mach = one;
	RUN(a_product_is_that_of_its_rounded_factors_on_every_instruction_set);
	RUN(both_backward_products_are_those_of_rounded_factors_on_every_instruction_set);
	RUN(the_gradient_of_a_bias_is_a_sum_of_floats);
	RUN(a_row_has_the_same_bits_alone_in_any_batch_and_on_any_threads);
	RUN(packing_rounds_to_the_nearest_in_every_order);
	RUN(what_is_not_finite_stays_so);
	RUN(attentions_backward_is_within_what_rounding_costs);
	RUN(gradients_point_where_torchs_in_float_do_on_every_instruction_set);
}

int
main(void)
{
	return oracle_main(tests);
}
