/* bias.c - the gradient of a bias against plain sums */
#include "compare.h"

static void
columns_are_summed(void)
{
	static const int shapes[][3] = { { 1, 8, 8 }, { 129, 264, 264 }, { 300, 40, 64 }, { 80, 512, 520 }, { 1300, 8, 8 } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], N = shapes[s][1], stride = shapes[s][2];
		float *dout = noise16((size_t)T * stride), *db = noise(N), *want = copy(db, N), *gdb = dev32(db, N);

		CHECK_OK(gpu_bias_back(&gpu, gdb, dev16(dout, (size_t)T * stride), stride, device_copy(NULL, gpu_bias_back_scratch(T, N)), T, N));
		for (int n = 0; n < N; n++) {
			double sum = db[n];

			for (int t = 0; t < T; t++)
				sum += dout[(size_t)t * stride + n];
			want[n] = sum;
		}
		CHECK_F32(back32(gdb, N), want, N);
	}
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_bias_back(&gpu, NULL, NULL, 16, NULL, 4, 12), -1);
	CHECK_INT(gpu_bias_back(&gpu, NULL, NULL, 8, NULL, 4, 16), -1);
	CHECK_INT(gpu_bias_back(&gpu, NULL, NULL, 16, NULL, 0, 16), 0);
}

int
main(void)
{
	device_begin();
	RUN(columns_are_summed);
	RUN(other_sizes_are_refused);
	return device_done();
}
