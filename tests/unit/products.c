/* products.c - matrix products over stored rows, of every instruction set and dtype: against the plain ones, and bits that depend on neither the
 * batch nor the threads; how SA_CPU chooses */
#include "cpu/isa.h"
#include "err.h"
#include "oracle.h"

static const int shapes[][3] = {	/* T, K, N */
	{ 1, 1, 1 }, { 1, 256, 33 }, { 2, 5, 3 }, { 7, 300, 100 }, { 13, 33, 31 }, { 3, 1024, 17 }, { 5, 1060, 4 }, { 32, 2080, 66 }, { 101, 512, 129 }, { 600, 100, 260 },
	{ 10, 2200, 800 }, { 140, 2600, 40 },	/* several groups of a unit, several slabs of x */
};

#define EACH_SHAPE(s) for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)

/* Run fn for every instruction set that this processor has, and every dtype. */
static void
each(void (*fn)(enum isa i, enum dtype d))
{
	for (int i = 0; i < ISA_COUNT; i++)
		for (enum dtype d = DT_F32; d <= DT_INT8; d++) {
			int bad = t_bad;

			if (!isa_usable(i))
				continue;
			isa_use(i);
			fn(i, d);
			if (t_bad > bad)
				printf("#   %s, dtype %d\n", isa_names[i], d);
		}
}

/* Random weights as d. They begin at an odd address and end with the allocation, so that a sanitizer sees what reads past them. */
static struct matrix
matrix_new(enum dtype d, int N, int K)
{
	float *w = noise((size_t)N * K), *scale = NULL;
	size_t bytes = (size_t)N * K * dtype_size(d);
	char *rows = malloc(bytes + 1);

	if (d == DT_INT8) {
		scale = malloc(N * matrix_groups(K) * sizeof *scale);
		for (int n = 0; n < N; n++)
			matrix_quantise((signed char *)rows + 1 + (size_t)n * K, scale + n * matrix_groups(K), w + (size_t)n * K, K);
	} else {
		from_float(rows + 1, w, d, (size_t)N * K);
	}
	free(w);
	return (struct matrix){ .dtype = d, .N = N, .K = K, .rows = rows + 1, .scale = scale };
}

static void
matrix_drop(struct matrix *w)
{
	free((char *)w->rows - 1);
	free((float *)w->scale);
}

/* x as a bf16 product sees it. */
static float *
rounded(const float *x, size_t n)
{
	unsigned char *half = malloc(2 * n);
	float *y = malloc(n * sizeof *y);

	from_float(half, x, DT_BF16, n);
	to_float(y, half, DT_BF16, n);
	free(half);
	return y;
}

/* The plain product takes float activations, the bf16 product rounds them (and int8 weights) to bf16 first. */
static void
check_against_plain(enum isa i, enum dtype d)
{
	EACH_SHAPE(s) {
		int T = shapes[s][0], K = shapes[s][1], N = shapes[s][2];
		struct matrix w = matrix_new(d, N, K);
		float *x = noise(T * K), *bias = noise(N), *a = noise(T * N), *b = noise(T * N);
		bool bf16 = i == ISA_AVX512BF16 && d >= DT_BF16;
		float *as = bf16 ? rounded(x, T * K) : copy(x, T * K);
		double most = bf16 && d == DT_INT8 ? 4e-3 : TOL;

		ops_plain.products(one, &(struct product){ &w, bias, a }, 1, as, T);
		ops_cpu.products(three, &(struct product){ &w, bias, b }, 1, x, T);
		CHECK_NUM(off(b, a, T * N), 0, most);
		w.wide = true;
		ops_plain.products(one, &(struct product){ &w, NULL, a }, 1, x, T);
		ops_cpu.products(three, &(struct product){ &w, NULL, b }, 1, x, T);
		CHECK_CLOSE(b, a, T * N);
		matrix_drop(&w);
		free(x); free(bias); free(a); free(b); free(as);
	}
}

static void
products_fast_equal_plain(void)
{
	each(check_against_plain);
}

static void
check_bits(enum isa i, enum dtype d)
{
	(void)i;
	EACH_SHAPE(s) {
		int T = shapes[s][0], K = shapes[s][1], N = shapes[s][2], t, n;
		struct matrix w = matrix_new(d, N, K);
		float *x = noise(T * K), *bias = noise(N), *a = noise(T * N), *b = noise(T * N);

		ops_cpu.products(three, &(struct product){ &w, bias, a }, 1, x, T);
		ops_cpu.products(one, &(struct product){ &w, bias, b }, 1, x, T);
		CHECK_SAME(a, b, T * N);
		for (t = 0; t < T; t += n) {	/* in pieces of 1, 3, 8, 32, ... */
			n = t % 3 == 0 ? 1 : t % 3 == 1 ? 3 : t % 2 ? 8 : 32;
			n = T - t < n ? T - t : n;
			ops_cpu.products(t % 2 ? one : three, &(struct product){ &w, bias, b + t * N }, 1, x + t * K, n);
		}
		CHECK_SAME(a, b, T * N);
		matrix_drop(&w);
		free(x); free(bias); free(a); free(b);
	}
}

static void
products_have_the_same_bits_alone_in_any_batch_and_on_any_threads(void)
{
	each(check_bits);
}

static void
check_together(enum isa i, enum dtype d)
{
	enum { T = 9, K = 100 };
	struct matrix w[3] = { matrix_new(d, 70, K), matrix_new(DT_F32, 5, K), matrix_new(d, 130, K) };
	float *x = noise(T * K), *bias = noise(5), *a[3], *b[3];

	(void)i;
	for (int j = 0; j < 3; j++) {
		a[j] = noise(T * w[j].N);
		b[j] = noise(T * w[j].N);
		ops_cpu.products(three, &(struct product){ &w[j], j == 1 ? bias : NULL, a[j] }, 1, x, T);
	}
	ops_cpu.products(three, (struct product[]){ { &w[0], NULL, b[0] }, { &w[1], bias, b[1] }, { &w[2], NULL, b[2] } }, 3, x, T);
	for (int j = 0; j < 3; j++) {
		CHECK_SAME(a[j], b[j], T * w[j].N);
		matrix_drop(&w[j]);
		free(a[j]);
		free(b[j]);
	}
	free(x);
	free(bias);
}

static void
products_of_one_x_are_those_of_each_matrix(void)
{
	each(check_together);
}

static void
gather_widens_rows_of_every_dtype(void)
{
	enum { T = 7, K = 70, N = 11 };
	static const int ids[T] = { 0, 10, 3, 3, 9, 1, 10 };

	for (enum dtype d = DT_F32; d <= DT_INT8; d++) {
		struct matrix w = matrix_new(d, N, K);
		float a[T * K], b[T * K], row[K];

		ops_plain.gather(one, a, &w, ids, T);
		ops_cpu.gather(three, b, &w, ids, T);
		CHECK_SAME(a, b, T * K);
		matrix_floats(row, &w, 9, 0, K);
		CHECK_SAME(row, a + 4 * K, K);
		matrix_drop(&w);
	}
}

static void
int8_is_off_by_half_a_step_of_its_group_at_most(void)
{
	enum { K = 70 };
	float *x = noise(K), y[K], scale[3];
	signed char q[K];

	memset(x + 32, 0, 32 * sizeof *x);	/* a group of zeros stays one */
	matrix_quantise(q, scale, x, K);
	matrix_floats(y, &(struct matrix){ .dtype = DT_INT8, .N = 1, .K = K, .rows = q, .scale = scale }, 0, 0, K);
	for (int k = 0; k < K; k++)
		CHECK_NUM(y[k], x[k], 0.5001 * scale[k / 32]);
	CHECK(y[40] == 0);
	x[69] = NAN;
	matrix_quantise(q, scale, x, K);
	CHECK(isnan(scale[2]) && !isnan(scale[0]));
	free(x);
}

static void
sa_cpu_chooses_an_instruction_set_by_name(void)
{
	struct err e;
	enum isa i;

	CHECK_INT(isa_choose("plain", &i, &e), 0);
	CHECK_INT(i, ISA_PLAIN);
	CHECK_INT(isa_choose(NULL, &i, &e), 0);
	CHECK(isa_usable(i));
	for (int better = i + 1; better < ISA_COUNT; better++)
		CHECK(!isa_usable(better));
	CHECK_INT(isa_choose("avx9", &i, &e), -1);
	CHECK_STR(e.msg, "SA_CPU=avx9: not known (plain, avx2, avx512, avx512bf16)");
	for (int j = 0; j < ISA_COUNT; j++)
		CHECK_INT(isa_choose(isa_names[j], &i, &e), isa_usable(j) ? 0 : -1);
}

static void
tests(void)
{
	RUN(products_fast_equal_plain);
	RUN(products_have_the_same_bits_alone_in_any_batch_and_on_any_threads);
	RUN(products_of_one_x_are_those_of_each_matrix);
	RUN(gather_widens_rows_of_every_dtype);
	RUN(int8_is_off_by_half_a_step_of_its_group_at_most);
	RUN(sa_cpu_chooses_an_instruction_set_by_name);
}

int
main(void)
{
	return oracle_main(tests);
}
