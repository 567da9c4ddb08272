/* add.c - gpu_add against ops_plain */
#include "compare.h"

static void
add_equals_plain(void)
{
	static const size_t sizes[] = { 8, 8 * 255, 8 * 256, 8 * 257, 8 * 9001 };

	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		size_t n = sizes[s];
		float *a = noise16(n), *b = noise16(n);
		uint16_t *da = dev16(a, n), *db = dev16(b, n);

		CHECK_OK(gpu_add(&gpu, da, db, n));
		ops_plain.add(NULL, a, b, n);
		CHECK_BF16(back16(da, n), a, n);
	}
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_add(&gpu, NULL, NULL, 12), -1);
	CHECK_STR(gpu_err.msg, "add: 12 is no multiple of 8");
	CHECK_INT(gpu_add(&gpu, NULL, NULL, 0), 0);
}

int
main(void)
{
	device_begin();
	RUN(add_equals_plain);
	RUN(other_sizes_are_refused);
	return device_done();
}
