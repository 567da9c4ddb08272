/* sumsq.c - the norm of a gradient and the factor that clips it */
#include "compare.h"

/* clip[2] of arrays of these sizes, whose numbers are scaled so that the norm is `norm`. */
static float *
clip_of(const size_t *sizes, int arrays, double norm, float gscale, float max_norm, double *is)
{
	size_t parts = 0, at = 0;
	double sum = 0, *part;
	float *x[8], *clip = dev32(NULL, 2);

	for (int i = 0; i < arrays; i++) {
		x[i] = noise(sizes[i]);
		parts += gpu_sumsq_parts(sizes[i]);
		sum += ops_plain.sumsq(NULL, x[i], sizes[i]);
	}
	part = device_copy(NULL, parts * sizeof *part);
	for (int i = 0; i < arrays; i++) {
		for (size_t k = 0; k < sizes[i]; k++)
			x[i][k] *= norm / sqrt(sum);
		CHECK_OK(gpu_sumsq(&gpu, part + at, dev32(x[i], sizes[i]), sizes[i]));
		at += gpu_sumsq_parts(sizes[i]);
	}
	sum = 0;
	for (int i = 0; i < arrays; i++)
		sum += ops_plain.sumsq(NULL, x[i], sizes[i]);
	*is = sqrt(sum);
	CHECK_OK(gpu_clip(&gpu, clip, part, parts, gscale, max_norm));
	return back32(clip, 2);
}

static const size_t sizes[] = { 4, 16384, 16388, 100000, 12 };

static void
the_norm_is_that_of_all_arrays(void)
{
	double is;
	float *clip = clip_of(sizes, 5, 3, 1, 0, &is);

	CHECK_NUM(clip[0], is, 1e-6 * is);
	CHECK(clip[1] == 1);	/* no maximum */
}

static void
norms_past_the_maximum_are_clipped_to_it(void)
{
	static const double norms[] = { 0.5, 1, 4 };

	for (int i = 0; i < 3; i++) {
		double is;
		float *clip = clip_of(sizes, 5, norms[i], 1, 1, &is);

		CHECK_NUM(clip[1], fmin(1, 1 / (is + 1e-6)), 1e-6);
	}
}

static void
the_gradients_scale_comes_before_the_norm(void)
{
	double is;
	float *clip = clip_of(sizes, 3, 8, 0.25f, 1, &is);

	CHECK_NUM(clip[0], is / 4, 1e-6 * is);
	CHECK_NUM(clip[1], 0.25 / (is / 4 + 1e-6), 1e-6);
}

static void
nan_comes_out(void)
{
	float x[8] = { 1, 2, NAN, 4 }, *clip = dev32(NULL, 2);
	double *part = device_copy(NULL, sizeof *part);

	CHECK_OK(gpu_sumsq(&gpu, part, dev32(x, 8), 8));
	CHECK_OK(gpu_clip(&gpu, clip, part, 1, 1, 1));
	clip = back32(clip, 2);
	CHECK_INT(isnan(clip[0]) && isnan(clip[1]), 1);
}

static void
other_sizes_are_refused(void)
{
	CHECK_INT(gpu_sumsq(&gpu, NULL, NULL, 6), -1);
	CHECK_INT(gpu_sumsq(&gpu, NULL, NULL, 0), 0);
}

int
main(void)
{
	device_begin();
	RUN(the_norm_is_that_of_all_arrays);
	RUN(norms_past_the_maximum_are_clipped_to_it);
	RUN(the_gradients_scale_comes_before_the_norm);
	RUN(nan_comes_out);
	RUN(other_sizes_are_refused);
	return device_done();
}
