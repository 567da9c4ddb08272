/* matmul.c - products against ops_plain, and the choice of algorithms */
#include <stdarg.h>
#include <unistd.h>

#include "compare.h"
#include "matmul.h"

enum { WORKSPACE = 1 << 16 };

static struct gpu_matmul *mm;

static struct gpu_matmul *
begin(void)
{
	struct gpu_matmul *m = gpu_matmul_new(&gpu, device_copy(NULL, WORKSPACE), WORKSPACE);

	if (!CHECK(m != NULL))
		exit(1);
	return m;
}

/* Rows of a wider matrix, gathered. */
static float *
gather(const float *x, int stride, int T, int N)
{
	float *rows = host_alloc((size_t)T * N * sizeof *rows);

	for (int t = 0; t < T; t++)
		memcpy(rows + (size_t)t * N, x + (size_t)t * stride, N * sizeof *rows);
	return rows;
}

static void
compare(int T, int K, int N, int stride)
{
	float *x = noise16((size_t)T * K), *w = noise16((size_t)N * K), *bias = noise16(N), *out = noise((size_t)T * N), *wide = noise16((size_t)T * stride);
	float *dout = gather(wide, stride, T, N), *dx = noise16((size_t)T * K), *dw = noise((size_t)N * K);
	uint16_t *gx = dev16(x, (size_t)T * K), *gw = dev16(w, (size_t)N * K), *gout = dev16(wide, (size_t)T * stride), *gd = dev16(wide, (size_t)T * stride);
	uint16_t *gdx = dev16(dx, (size_t)T * K);
	float *gdw = dev32(dw, (size_t)N * K), *gwide = dev32(wide, (size_t)T * stride), *back;

	CHECK_OK(gpu_linear(mm, gout, stride, gx, gw, NULL, T, K, N));
	ops_plain.linear(NULL, out, x, w, NULL, T, K, N);
	back = back16(gout, (size_t)T * stride);
	CHECK_BF16(gather(back, stride, T, N), out, (size_t)T * N);
	for (int n = N; n < stride; n++)
		CHECK(back[n] == wide[n]);	/* nothing is written between rows */
	CHECK_OK(gpu_linear_float(mm, gwide, stride, gx, gw, T, K, N));
	back = back32(gwide, (size_t)T * stride);
	CHECK_F32(gather(back, stride, T, N), out, (size_t)T * N);
	for (int n = N; n < stride; n++)
		CHECK(back[n] == wide[n]);
	CHECK_OK(gpu_linear(mm, gout, stride, gx, gw, dev16(bias, N), T, K, N));
	ops_plain.linear(NULL, out, x, w, bias, T, K, N);
	CHECK_BF16(gather(back16(gout, (size_t)T * stride), stride, T, N), out, (size_t)T * N);

	CHECK_OK(gpu_linear_back_x(mm, gdx, 1, gd, stride, gw, T, K, N));
	CHECK_OK(gpu_linear_back_w(mm, gdw, gd, stride, gx, T, K, N));
	ops_plain.linear_back(NULL, dx, 1, dw, NULL, dout, x, w, T, K, N);
	CHECK_BF16(back16(gdx, (size_t)T * K), dx, (size_t)T * K);
	CHECK_F32(back32(gdw, (size_t)N * K), dw, (size_t)N * K);
	CHECK_OK(gpu_linear_back_x(mm, gdx, 0, gd, stride, gw, T, K, N));
	ops_plain.linear_back(NULL, dx, 0, dw, NULL, dout, x, w, T, K, N);
	CHECK_BF16(back16(gdx, (size_t)T * K), dx, (size_t)T * K);
}

static void
products_equal_plain(void)
{
	compare(1, 8, 8, 8);
	compare(37, 72, 40, 40);
	compare(80, 24, 136, 144);
	compare(19, 64, 53, 56);	/* a vocabulary that 8 does not divide */
}

static int
simulated(void)
{
	struct cudaDeviceProp prop;

	return cudaGetDeviceProperties(&prop, 0) == cudaSuccess && !strcmp(prop.name, "cudasim");
}

/* In float: what algorithms differ in is seldom left in bf16. */
static float *
forward(struct gpu_matmul *m, const uint16_t *x, const uint16_t *w, int T, int K, int N)
{
	float *out = device_copy(NULL, (size_t)T * N * sizeof *out);

	CHECK_OK(gpu_linear_float(m, out, N, x, w, T, K, N));
	return device_back(out, (size_t)T * N * sizeof *out);
}

/* x[T,K]: with a w of ones every sum shows how long the pieces are that it was added up in, for what is added to 2^24 one by one is lost. */
static uint16_t *
telling(int T, int K)
{
	float *x = host_alloc((size_t)T * K * sizeof *x);

	for (int i = 0; i < T * K; i++)
		x[i] = i % K ? 1 : 0x1p24f;
	return dev16(x, (size_t)T * K);
}

static uint16_t *
ones(int n)
{
	float *x = host_alloc((size_t)n * sizeof *x);

	for (int i = 0; i < n; i++)
		x[i] = 1;
	return dev16(x, (size_t)n);
}

static char said[1000];

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + n, sizeof said - n, fmt, ap);
	va_end(ap);
}

static void
tune(struct gpu_matmul *m, const struct gpu_shape *s, int n, const char *file)
{
	size_t size = 1 << 20;

	*said = 0;
	CHECK_OK(gpu_matmul_tune(m, s, n, file, device_copy(NULL, size), size, say));
}

static int
lines_of(const char *file)
{
	FILE *f = fopen(file, "r");
	char line[1000];
	int lines = 0;

	while (fgets(line, sizeof line, f))
		lines++;
	fclose(f);
	return lines;
}

/* A file that is not there yet. */
static const char *
no_file(char template[])
{
	close(mkstemp(template));
	unlink(template);
	return template;
}

/* The stand-in's algorithms differ in their bits, and the middle one is the fastest: tuning shows, is kept in the file, and is found there. */
static void
the_choice_is_timed_once_and_kept(void)
{
	enum { T = 64, K = 200, N = 96 };
	static const struct gpu_shape shapes[] = { { GPU_FORWARD_FLOAT, N, T, K, N }, { GPU_BACK_W, N, T, K, N }, { GPU_FORWARD_FLOAT, N, T, K, N } };
	uint16_t *x = telling(T, K), *w = ones(N * K);
	float *before, *after;
	char name[] = "algorithms.XXXXXX";
	const char *file = no_file(name);
	struct gpu_matmul *m = begin(), *again = begin();

	before = forward(m, x, w, T, K, N);
	CHECK(gpu_matmul_chosen(m) == 0);
	tune(m, shapes, 3, file);
	CHECK(!strncmp(said, "timing the algorithms of 3 matrix products on ", 46) && strstr(said, ", once; the choices are kept in algorithms."));
	after = forward(m, x, w, T, K, N);
	if (simulated())
		CHECK(memcmp(before, after, T * N * 4) != 0);
	CHECK_INT(lines_of(file), 2);
	tune(again, shapes, 3, file);
	CHECK_STR(said, "");
	CHECK(!memcmp(forward(again, x, w, T, K, N), after, T * N * 4));
	CHECK(gpu_matmul_chosen(again) == gpu_matmul_chosen(m) && gpu_matmul_chosen(m) != 0);
	CHECK(!memcmp(forward(mm, x, w, T, K, N), before, T * N * 4));	/* that one knows no file */
	CHECK_INT(lines_of(file), 2);
	gpu_matmul_free(m);
	gpu_matmul_free(again);
	unlink(file);
}

/* Fewer rows take what was chosen for the next larger number; far fewer, for which the stand-in refuses it, and more, the heuristics'. What another process
 * asked for changes nothing. */
static void
fewer_rows_take_the_choice_of_more(void)
{
	enum { K = 200, N = 96 };
	static const struct gpu_shape large = { GPU_FORWARD_FLOAT, N, 64, K, N }, huge = { GPU_FORWARD_FLOAT, N, 80, K, N };
	uint16_t *x = telling(96, K), *w = ones(N * K);
	float *all, *same;
	char name[] = "algorithms.XXXXXX";
	const char *file = no_file(name);
	struct gpu_matmul *m = begin(), *other = begin();

	tune(other, &huge, 1, file);
	tune(m, &large, 1, file);
	all = forward(m, x, w, 64, K, N);	/* rows of the same algorithm are the same, here */
	CHECK(!memcmp(forward(m, x, w, 40, K, N), all, 40 * N * 4));
	if (simulated())
		CHECK(memcmp(forward(mm, x, w, 40, K, N), all, 40 * N * 4) != 0);
	CHECK(!memcmp(forward(m, x, w, 8, K, N), forward(mm, x, w, 8, K, N), 8 * N * 4));
	same = forward(mm, x, w, 72, K, N);
	CHECK(!memcmp(forward(m, x, w, 72, K, N), same, 72 * N * 4));
	if (simulated())
		CHECK(memcmp(forward(other, x, w, 72, K, N), same, 72 * N * 4) != 0);
	gpu_matmul_free(m);
	gpu_matmul_free(other);
	unlink(file);
}

static void
put_file(const char *file, const char *text)
{
	FILE *f = fopen(file, "w");

	fputs(text, f);
	fclose(f);
}

/* Lines of another card or version are left alone, and a choice that this card refuses is passed over; what is no choice is told, and gone. */
static void
a_strange_file_does_no_harm(void)
{
	enum { T = 8, K = 40, N = 16 };
	static const struct gpu_shape s = { GPU_FORWARD_FLOAT, N, T, K, N };
	uint16_t *x = dev16(noise16(T * K), T * K), *w = dev16(noise16(N * K), N * K);
	char name[] = "algorithms.XXXXXX";
	const char *file = no_file(name);
	struct gpu_matmul *m = begin();

	put_file(file, "NVIDIA_H100 130000 2 16 8 40 16 1 2 3 4 5 6 7 8\ncudasim 120000 2 16 8 40 16 1 2 3 4 5 6 7 8\ncudasim 130000 2 16 8 40 16 1 2 3 4 5 6 7 8\n");
	tune(m, &s, 1, file);
	CHECK(!memcmp(forward(m, x, w, T, K, N), forward(mm, x, w, T, K, N), T * N * 4) || !simulated());
	CHECK_INT(lines_of(file), simulated() ? 3 : 4);
	gpu_matmul_free(m);
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = { "nonsense\n", "cudasim 130000 2 16 8 40 16 1 2 3 4\n", "cudasim 130000 2 16 8 40 16 1 2 3 4 5 6 7 8" };
		char text[200];

		snprintf(text, sizeof text, "NVIDIA_H100 130000 2 16 8 40 16 1 2 3 4 5 6 7 8\n%s", ends[i]);
		put_file(file, text);
		m = begin();
		tune(m, &s, 1, file);
		CHECK(strstr(said, ": line 2 is no choice of an algorithm; the file is made again") != NULL);
		CHECK_INT(lines_of(file), 1);
		gpu_matmul_free(m);
	}
	unlink(file);
	m = begin();
	tune(m, &s, 1, "nowhere/at/all");
	CHECK_STR(said, "nowhere/at/all: No such file or directory; products keep the algorithms that cuBLASLt proposes");
	CHECK(gpu_matmul_chosen(m) == 0);
	tune(m, &s, 1, NULL);
	CHECK_STR(said, "");
	gpu_matmul_free(m);
}

static void
one_has_the_file_at_a_time(void)
{
	char name[] = "algorithms.XXXXXX";
	const char *file = no_file(name);
	struct choices one, two;
	struct err e;

	CHECK_INT(choices_open(&one, file, "a card", 1, false, &e), 0);
	CHECK_INT(choices_open(&two, file, "a card", 1, false, &e), 1);
	choices_close(&one);
	CHECK_INT(choices_open(&two, file, "a card", 1, false, &e), 0);
	choices_close(&two);
	unlink(file);
}

static void
every_kind_can_be_tuned(void)
{
	struct gpu_shape s[] = { { GPU_FORWARD, 56, 19, 64, 53 }, { GPU_FORWARD_BIAS, 56, 19, 64, 53 }, { GPU_FORWARD_FLOAT, 56, 19, 64, 53 },
				 { GPU_BACK_X, 56, 19, 64, 53 }, { GPU_BACK_X_ACC, 56, 19, 64, 53 }, { GPU_BACK_W, 56, 19, 64, 53 } };
	char name[] = "algorithms.XXXXXX";
	const char *file = no_file(name);

	tune(mm, s, 6, file);
	CHECK_INT(lines_of(file), 6);
	compare(19, 64, 53, 56);
	s[0].T = 1 << 20;
	tune(mm, s, 1, file);	/* larger than the scratch */
	CHECK_STR(said, "");
	CHECK_INT(lines_of(file), 6);
	unlink(file);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_linear(mm, NULL, 16, NULL, NULL, NULL, 4, 12, 16), -1);
	CHECK_INT(gpu_linear(mm, NULL, 12, NULL, NULL, NULL, 4, 16, 12), -1);
	CHECK_INT(gpu_linear(mm, NULL, 8, NULL, NULL, NULL, 4, 16, 16), -1);
	CHECK_INT(gpu_linear(mm, NULL, 16, NULL, NULL, NULL, 0, 16, 16), 0);
}

static void
compare_scaled(int T, int K, int N, int stride)
{
	float *x = noise16((size_t)T * K), *w = noise16((size_t)N * K), *out = noise((size_t)T * N), *wide = noise16((size_t)T * stride);
	float *were = gather(wide, stride, T, N), *dx = noise16((size_t)T * K), *dw = noise((size_t)N * K);
	uint16_t *gx = dev16(x, (size_t)T * K), *gw = dev16(w, (size_t)N * K), *gout = dev16(wide, (size_t)T * stride), *gdx = dev16(dx, (size_t)T * K);

	ops_plain.linear(NULL, out, x, w, NULL, T, K, N);
	ops_plain.scale(NULL, out, 0.75f, (size_t)T * N);
	CHECK_OK(gpu_linear_scaled(mm, gout, stride, 0, 0.75f, gx, gw, T, K, N));
	CHECK_BF16(gather(back16(gout, (size_t)T * stride), stride, T, N), out, (size_t)T * N);
	ops_plain.add(NULL, out, were, (size_t)T * N);
	CHECK_OK(gpu_linear_scaled(mm, gout = dev16(wide, (size_t)T * stride), stride, 1, 0.75f, gx, gw, T, K, N));
	CHECK_BF16(gather(back16(gout, (size_t)T * stride), stride, T, N), out, (size_t)T * N);

	CHECK_OK(gpu_linear_back_x_scaled(mm, gdx, 0.75f, dev16(wide, (size_t)T * stride), stride, gw, T, K, N));
	ops_plain.linear_back(NULL, dx, 0, dw, NULL, were, x, w, T, K, N);
	ops_plain.scale(NULL, dx, 0.75f, (size_t)T * K);
	CHECK_BF16(back16(gdx, (size_t)T * K), dx, (size_t)T * K);
}

static void
adapters_products_equal_plain(void)
{
	compare_scaled(37, 16, 40, 72);
	compare_scaled(80, 72, 8, 8);
}

int
main(void)
{
	device_begin();
	mm = begin();
	RUN(products_equal_plain);
	RUN(the_choice_is_timed_once_and_kept);
	RUN(fewer_rows_take_the_choice_of_more);
	RUN(a_strange_file_does_no_harm);
	RUN(one_has_the_file_at_a_time);
	RUN(every_kind_can_be_tuned);
	RUN(other_sizes_are_refused);
	RUN(adapters_products_equal_plain);
	gpu_matmul_free(mm);
	return device_done();
}
