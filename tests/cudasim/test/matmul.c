/* matmul.c - products against ops_plain, and the choice of algorithms */
#include <unistd.h>

#include "compare.h"
#include "matmul.h"

enum { WORKSPACE = 1 << 16 };

static struct gpu_matmul *mm;

static struct gpu_matmul *
begin(const char *file)
{
	struct gpu_matmul *m = gpu_matmul_new(&gpu, device_copy(NULL, WORKSPACE), WORKSPACE, file);

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

static uint16_t *
forward(struct gpu_matmul *m, const uint16_t *x, const uint16_t *w, int T, int K, int N)
{
	uint16_t *out = device_copy(NULL, (size_t)T * N * 2);

	CHECK_OK(gpu_linear(m, out, N, x, w, NULL, T, K, N));
	return device_back(out, (size_t)T * N * 2);
}

/* The stand-in's algorithms differ in their bits, and the middle one is the fastest: tuning shows, is kept in the file, and is found there. */
static void
the_choice_is_timed_once_and_kept(void)
{
	enum { T = 64, K = 200, N = 96 };
	uint16_t *x = dev16(noise16(T * K), T * K), *w = dev16(noise16(N * K), N * K), *before, *after;
	char file[] = "algorithms.XXXXXX", line[1000];
	int fd = mkstemp(file), lines = 0;
	void *scratch = device_copy(NULL, gpu_matmul_tune_scratch(N, T, K, N));
	struct gpu_matmul *m = begin(file), *again;
	FILE *f;

	close(fd);
	before = forward(m, x, w, T, K, N);
	CHECK_OK(gpu_matmul_tune(m, GPU_FORWARD, N, T, K, N, scratch));
	CHECK_OK(gpu_matmul_tune(m, GPU_BACK_W, N, T, K, N, scratch));
	CHECK_OK(gpu_matmul_tune(m, GPU_FORWARD, N, T, K, N, scratch));
	after = forward(m, x, w, T, K, N);
	if (simulated())
		CHECK(memcmp(before, after, T * N * 2) != 0);
	again = begin(file);
	CHECK(!memcmp(forward(again, x, w, T, K, N), after, T * N * 2));
	CHECK(!memcmp(forward(mm, x, w, T, K, N), before, T * N * 2));	/* that one knows no file */
	f = fopen(file, "r");
	while (fgets(line, sizeof line, f))
		lines++;
	fclose(f);
	CHECK_INT(lines, 2);
	gpu_matmul_free(m);
	gpu_matmul_free(again);
	unlink(file);
}

/* Lines of another card, another version, or cut short are passed over; a choice that this card refuses, too. */
static void
a_strange_file_does_no_harm(void)
{
	enum { T = 8, K = 40, N = 16 };
	uint16_t *x = dev16(noise16(T * K), T * K), *w = dev16(noise16(N * K), N * K);
	char file[] = "algorithms.XXXXXX";
	int fd = mkstemp(file);
	FILE *f = fdopen(fd, "w");
	struct gpu_matmul *m;

	fprintf(f, "NVIDIA_H100 130000 0 16 8 40 16 1 2 3 4 5 6 7 8\ncudasim 120000 0 16 8 40 16 1 2 3 4 5 6 7 8\n");
	fprintf(f, "cudasim 130000 0 16 8 40 16 1 2 3 4\n\nnonsense\ncudasim 130000 0 16 8 40 16 1 2 3 4 5 6 7 8");
	fclose(f);
	m = begin(file);
	CHECK(!memcmp(forward(m, x, w, T, K, N), forward(mm, x, w, T, K, N), T * N * 2));
	gpu_matmul_free(m);
	unlink(file);
	m = begin("nowhere/at/all");
	CHECK_INT(gpu_matmul_tune(m, GPU_FORWARD, N, T, K, N, device_copy(NULL, gpu_matmul_tune_scratch(N, T, K, N))), -1);
	CHECK_STR(gpu_err.msg, "nowhere/at/all: cannot be written");
	gpu_matmul_free(m);
}

static void
every_kind_can_be_tuned(void)
{
	void *scratch = device_copy(NULL, gpu_matmul_tune_scratch(56, 19, 64, 53));

	for (int which = GPU_FORWARD; which <= GPU_BACK_W; which++)
		CHECK_OK(gpu_matmul_tune(mm, which, 56, 19, 64, 53, scratch));
	compare(19, 64, 53, 56);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_linear(mm, NULL, 16, NULL, NULL, NULL, 4, 12, 16), -1);
	CHECK_INT(gpu_linear(mm, NULL, 12, NULL, NULL, NULL, 4, 16, 12), -1);
	CHECK_INT(gpu_linear(mm, NULL, 8, NULL, NULL, NULL, 4, 16, 16), -1);
	CHECK_INT(gpu_linear(mm, NULL, 16, NULL, NULL, NULL, 0, 16, 16), 0);
}

int
main(void)
{
	device_begin();
	mm = begin(NULL);
	RUN(products_equal_plain);
	RUN(the_choice_is_timed_once_and_kept);
	RUN(a_strange_file_does_no_harm);
	RUN(every_kind_can_be_tuned);
	RUN(other_sizes_are_refused);
	gpu_matmul_free(mm);
	return device_done();
}
