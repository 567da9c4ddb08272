/* ops.c - the fast operations against the plain ones, the plain backward passes against finite differences, and bits that must not depend on
 * the batch or the threads (attention is in attend.c) */
#include "cpu/gemm.h"
#include "oracle.h"

/* ---- embed ---- */

static void
embed_gathers_rows_and_its_backward_adds_in_token_order(void)
{
	enum { T = 37, C = 19, V = 11 };
	float *table = noise(V * C), *dout = noise(T * C), *a = noise(T * C), *b = noise(T * C), *da = noise(V * C), *db = copy(da, V * C);
	int ids[T], t;

	for (t = 0; t < T; t++)
		ids[t] = t * 7 % V;
	ops_plain.embed(one, a, table, ids, T, C);
	ops_cpu.embed(three, b, table, ids, T, C);
	CHECK_SAME(a, b, T * C);
	CHECK_SAME(a + 3 * C, table + ids[3] * C, C);
	ops_plain.embed_back(one, da, dout, ids, T, C);
	ops_cpu.embed_back(three, db, dout, ids, T, C);
	CHECK_SAME(da, db, V * C);
	free(table); free(dout); free(a); free(b); free(da); free(db);
}

/* ---- rmsnorm ---- */

struct norm_case {
	float *out, *x, *w, *by;
	int T, C;
};

static double
norm_loss(void *arg)
{
	struct norm_case *n = arg;

	ops_plain.rmsnorm(one, n->out, NULL, n->x, n->w, 1e-5f, n->T, n->C);
	return weighed(n->out, n->by, n->T * n->C);
}

static void
rmsnorm_fast_equals_plain(void)
{
	static const int shapes[][2] = { { 1, 1 }, { 3, 7 }, { 5, 16 }, { 64, 33 }, { 301, 256 } };

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int T = shapes[s][0], C = shapes[s][1], n = T * C;
		float *x = noise(n), *w = noise(C), *dout = noise(n), *a = noise(n), *b = noise(n), *ra = noise(T), *rb = noise(T);
		float *dxa = noise(n), *dxb = copy(dxa, n), *dwa = noise(C), *dwb = copy(dwa, C);

		ops_plain.rmsnorm(one, a, ra, x, w, 1e-5f, T, C);
		ops_cpu.rmsnorm(three, b, rb, x, w, 1e-5f, T, C);
		CHECK_CLOSE(b, a, n);
		CHECK_CLOSE(rb, ra, T);
		ops_plain.rmsnorm_back(one, dxa, dwa, dout, x, w, ra, T, C);
		ops_cpu.rmsnorm_back(three, dxb, dwb, dout, x, w, ra, T, C);
		CHECK_CLOSE(dxb, dxa, n);
		CHECK_NUM(off(dwb, dwa, C), 0, 1e-5);
		free(x); free(w); free(dout); free(a); free(b); free(ra); free(rb); free(dxa); free(dxb); free(dwa); free(dwb);
	}
}

static void
rmsnorm_backward_is_the_slope_of_the_forward(void)
{
	enum { T = 3, C = 10 };
	struct norm_case n = { noise(T * C), noise(T * C), noise(C), noise(T * C), T, C };
	float rstd[T], dx[T * C] = { 0 }, dw[C] = { 0 };

	ops_plain.rmsnorm(one, n.out, rstd, n.x, n.w, 1e-5f, T, C);
	ops_plain.rmsnorm_back(one, dx, dw, n.by, n.x, n.w, rstd, T, C);
	check_slope("x", n.x, dx, T * C, 1e-2f, norm_loss, &n);
	check_slope("w", n.w, dw, C, 1e-2f, norm_loss, &n);
	free(n.out); free(n.x); free(n.w); free(n.by);
}

/* ---- linear ---- */

static const int products[][3] = {	/* T, K, N */
	{ 1, 1, 1 }, { 1, 256, 33 }, { 2, 5, 3 }, { 7, 300, 100 }, { 13, 17, 31 }, { 48, 64, 32 }, { 101, 512, 129 }, { 250, 513, 70 }, { 600, 31, 260 },
};

static void
linear_fast_equals_plain(void)
{
	for (size_t s = 0; s < sizeof products / sizeof *products; s++) {
		int T = products[s][0], K = products[s][1], N = products[s][2];
		float *x = noise(T * K), *w = noise(N * K), *bias = noise(N), *a = noise(T * N), *b = noise(T * N);

		ops_plain.linear(one, a, x, w, NULL, T, K, N);
		ops_cpu.linear(three, b, x, w, NULL, T, K, N);
		CHECK_CLOSE(b, a, T * N);
		ops_plain.linear(one, a, x, w, bias, T, K, N);
		ops_cpu.linear(three, b, x, w, bias, T, K, N);
		CHECK_CLOSE(b, a, T * N);
		free(x); free(w); free(bias); free(a); free(b);
	}
}

static void
linear_backward_fast_equals_plain(void)
{
	for (size_t s = 0; s < sizeof products / sizeof *products; s++) {
		int T = products[s][0], K = products[s][1], N = products[s][2];
		float *x = noise(T * K), *w = noise(N * K), *dout = noise(T * N), *dxa = noise(T * K), *dxb = copy(dxa, T * K);
		float *dwa = noise(N * K), *dwb = copy(dwa, N * K), *ba = noise(N), *bb = copy(ba, N);

		ops_plain.linear_back(one, dxa, 1, dwa, ba, dout, x, w, T, K, N);
		ops_cpu.linear_back(three, dxb, 1, dwb, bb, dout, x, w, T, K, N);
		CHECK_CLOSE(dxb, dxa, T * K);
		CHECK_CLOSE(dwb, dwa, N * K);
		CHECK_CLOSE(bb, ba, N);
		ops_plain.linear_back(one, dxa, 0, dwa, NULL, dout, x, w, T, K, N);
		ops_cpu.linear_back(three, dxb, 0, dwb, NULL, dout, x, w, T, K, N);
		CHECK_CLOSE(dxb, dxa, T * K);
		ops_cpu.linear_back(three, NULL, 0, dwb, NULL, dout, x, w, T, K, N);
		CHECK_CLOSE(bb, ba, N);
		free(x); free(w); free(dout); free(dxa); free(dxb); free(dwa); free(dwb); free(ba); free(bb);
	}
}

struct linear_case {
	float *out, *x, *w, *bias, *by;
	int T, K, N;
};

static double
linear_loss(void *arg)
{
	struct linear_case *c = arg;

	ops_plain.linear(one, c->out, c->x, c->w, c->bias, c->T, c->K, c->N);
	return weighed(c->out, c->by, c->T * c->N);
}

static void
linear_backward_is_the_slope_of_the_forward(void)
{
	enum { T = 4, K = 7, N = 5 };
	struct linear_case c = { noise(T * N), noise(T * K), noise(N * K), noise(N), noise(T * N), T, K, N };
	float dx[T * K], dw[N * K] = { 0 }, db[N] = { 0 };

	ops_plain.linear_back(one, dx, 0, dw, db, c.by, c.x, c.w, T, K, N);
	check_slope("x", c.x, dx, T * K, 1e-2f, linear_loss, &c);
	check_slope("w", c.w, dw, N * K, 1e-2f, linear_loss, &c);
	check_slope("bias", c.bias, db, N, 1e-2f, linear_loss, &c);
	free(c.out); free(c.x); free(c.w); free(c.bias); free(c.by);
}

static void
linear_row_has_the_same_bits_alone_in_any_batch_and_on_any_threads(void)
{
	for (size_t s = 0; s < sizeof products / sizeof *products; s++) {
		int T = products[s][0], K = products[s][1], N = products[s][2], t;
		float *x = noise(T * K), *w = noise(N * K), *a = noise(T * N), *b = noise(T * N), *row = noise(N);

		ops_cpu.linear(three, a, x, w, NULL, T, K, N);
		ops_cpu.linear(one, b, x, w, NULL, T, K, N);
		CHECK_SAME(a, b, T * N);
		for (t = 0; t < T; t += 5) {
			ops_cpu.linear(three, row, x + t * K, w, NULL, 1, K, N);
			CHECK_SAME(row, a + t * N, N);
		}
		free(x); free(w); free(a); free(b); free(row);
	}
}

static void
linear_backward_has_the_same_bits_on_any_threads(void)
{
	enum { T = 250, K = 300, N = 130 };
	float *x = noise(T * K), *w = noise(N * K), *dout = noise(T * N), *dx = noise(T * K), *dx2 = noise(T * K), *dw = noise(N * K), *dw2 = copy(dw, N * K);

	ops_cpu.linear_back(one, dx, 0, dw, NULL, dout, x, w, T, K, N);
	ops_cpu.linear_back(three, dx2, 0, dw2, NULL, dout, x, w, T, K, N);
	CHECK_SAME(dx, dx2, T * K);
	CHECK_SAME(dw, dw2, N * K);
	free(x); free(w); free(dout); free(dx); free(dx2); free(dw); free(dw2);
}

/* The tiles of slower machines run here too; those with FMA agree bit for bit. */
static void
register_tiles_of_every_instruction_set_agree(void)
{
	enum { ROWS = 29, K = 67, MOST = TILE_MAX_WIDTH };
	float *a = noise(ROWS * K), *b = noise(K * MOST), *was = noise(ROWS * MOST), *want = copy(was, ROWS * MOST), *panel = malloc(K * MOST * sizeof *panel);

	for (int accum = 0; accum < 2; accum++)
		for (int cols = 1; cols <= 8; cols += 7) {
			float *first = NULL;

			for (int r = 0; r < ROWS; r++)
				for (int c = 0; c < cols; c++) {
					double sum = accum ? was[r * MOST + c] : 0;

					for (int i = 0; i < K; i++)
						sum += (double)a[r * K + i] * b[i * MOST + c];
					want[r * MOST + c] = sum;
				}
			for (int i = 0; tiles[i]; i++) {
				float *got = copy(was, ROWS * MOST);

				if (tiles[i]->dtype == DT_F32 && isa_usable(tiles[i]->isa)) {	/* the others: bf16.c */
					pack_rows(tiles[i], panel, b, MOST, K, cols);
					tiles[i]->run(got, MOST, a, K, 1, panel, K, ROWS, cols, accum);
					CHECK_CLOSE(got, want, ROWS * MOST);
					if (first && tiles[i]->isa != ISA_PLAIN)
						CHECK_SAME(got, first, ROWS * MOST);
					if (!first)
						first = copy(got, ROWS * MOST);
				}
				free(got);
			}
			free(first);
			memcpy(want, was, ROWS * MOST * sizeof *want);
		}
	free(a); free(b); free(was); free(want); free(panel);
}

/* ---- rope ---- */

static void
rope_turns_and_turns_back(void)
{
	enum { T = 23, H = 3, D = 10, N = T * H * D };
	float freq[D / 2] = { 1, 0.5f, 0.1f, 0.01f, 0.001f }, *x = noise(N), *a = copy(x, N), *b = copy(x, N);
	int pos[T], t;

	for (t = 0; t < T; t++)
		pos[t] = t < 20 ? t % 7 : 5000 * (t - 19);	/* with a table of sines and (below) without */
	ops_plain.rope(one, a, pos, freq, 1, T, H, D);
	ops_cpu.rope(three, b, pos, freq, 1, T, H, D);
	CHECK_CLOSE(b, a, N);
	ops_cpu.rope(three, b, pos, freq, -1, T, H, D);
	CHECK_CLOSE(b, x, N);
	memcpy(a, x, N * sizeof *a);
	memcpy(b, x, N * sizeof *b);
	ops_plain.rope(one, a, pos, freq, 1, 20, H, D);
	ops_cpu.rope(three, b, pos, freq, 1, 20, H, D);
	CHECK_CLOSE(b, a, N);
	ops_cpu.rope(three, x + 19 * H * D, pos + 19, freq, 1, 1, H, D);
	CHECK_SAME(x + 19 * H * D, b + 19 * H * D, H * D);
	/* rotate_half: element i turns with element i + D/2 */
	b[0] = 1;
	b[5] = 0;
	ops_cpu.rope(one, b, (int[]){ 1 }, freq, 1, 1, 1, D);
	CHECK_NUM(b[0], cos(1), 1e-6);
	CHECK_NUM(b[5], sin(1), 1e-6);
	free(x); free(a); free(b);
}

/* ---- swiglu ---- */

struct swiglu_case {
	float *out, *gate, *up, *by;
	int n;
};

static double
swiglu_loss(void *arg)
{
	struct swiglu_case *c = arg;

	ops_plain.swiglu(one, c->out, c->gate, c->up, 1, c->n);
	return weighed(c->out, c->by, c->n);
}

static void
swiglu_fast_equals_plain_and_its_backward_is_the_slope(void)
{
	enum { T = 57, F = 37, N = T * F, FEW = 50 };
	struct swiglu_case c = { noise(N), noise(N), noise(N), noise(N), FEW };
	float *a = noise(N), *b = noise(N), *ga = noise(N), *gb = noise(N), *ua = noise(N), *ub = noise(N);

	for (int i = 0; i < N; i++)
		c.gate[i] *= 8;
	c.gate[0] = 200;
	c.gate[1] = -200;
	ops_plain.swiglu(one, a, c.gate, c.up, T, F);
	ops_cpu.swiglu(three, b, c.gate, c.up, T, F);
	CHECK_CLOSE(b, a, N);
	ops_plain.swiglu_back(one, ga, ua, c.by, c.gate, c.up, T, F);
	ops_cpu.swiglu_back(three, gb, ub, c.by, c.gate, c.up, T, F);
	CHECK_CLOSE(gb, ga, N);
	CHECK_CLOSE(ub, ua, N);
	for (int i = 0; i < FEW; i++)
		c.gate[i] = rnd();
	ops_plain.swiglu_back(one, ga, ua, c.by, c.gate, c.up, 1, FEW);
	check_slope("gate", c.gate, ga, FEW, 1e-2f, swiglu_loss, &c);
	check_slope("up", c.up, ua, FEW, 1e-2f, swiglu_loss, &c);
	free(c.out); free(c.gate); free(c.up); free(c.by); free(a); free(b); free(ga); free(gb); free(ua); free(ub);
}

/* ---- cross entropy ---- */

struct loss_case {
	float *logits, *scratch;
	int target[4], T, V;
	const float *weight;
};

static double
entropy_loss(void *arg)
{
	struct loss_case *c = arg;

	memcpy(c->scratch, c->logits, c->T * c->V * sizeof(float));
	return 3 * ops_plain.cross_entropy(one, c->scratch, NULL, c->target, c->weight, 1, c->T, c->V);
}

static void
cross_entropy_gradient_is_the_slope_of_the_loss(void)
{
	enum { T = 3, V = 9 };
	static const float weight[T] = { 1, 0.25f, 2 };
	struct loss_case c = { noise(T * V), noise(T * V), { 0, 8, 4 }, T, V, weight };
	float *grad = copy(c.logits, T * V);

	ops_plain.cross_entropy(one, grad, NULL, c.target, weight, 3, T, V);
	check_slope("logits", c.logits, grad, T * V, 1e-2f, entropy_loss, &c);
	free(c.logits); free(c.scratch); free(grad);
}

static void
cross_entropy_fast_equals_plain(void)
{
	static const int sizes[] = { 1, 5, 16, 1000, 4099 };
	enum { T = 21 };

	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		int V = sizes[s], target[T];
		float *a = noise(T * V), *b, la[T], lb[T], weight[T];
		double sa, sb;

		for (int t = 0; t < T; t++)
			target[t] = t * 31 % V, weight[t] = s % 2 ? 1 : t * 0.1f;
		for (int v = 0; v < V; v++)	/* logits of 1e4 */
			a[V + v] *= 1e4f;
		b = copy(a, T * V);
		sa = ops_plain.cross_entropy(one, a, la, target, s % 2 ? NULL : weight, 0.5f, T, V);
		sb = ops_cpu.cross_entropy(three, b, lb, target, weight, 0.5f, T, V);
		CHECK_NUM(sb, sa, 1e-6 * sa + 1e-6);
		CHECK_CLOSE(lb, la, T);
		CHECK_CLOSE(b, a, T * V);
		free(a);
		free(b);
	}
}

static void
log_sum_exp_equals_that_in_fp64(void)
{
	static const int sizes[] = { 1, 7, 16, 1024, 1025, 128256 };

	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		int n = sizes[s];
		float *x = noise(n);
		double sum = 0;

		for (int i = 0; i < n; i++)
			sum += exp(x[i] *= 20);
		CHECK_NUM(log_sum_exp(x, n), log(sum), 2e-6);
		x[n / 2] = 3e38f;
		CHECK_NUM(log_sum_exp(x, n), 3e38f, 0);
		x[n / 2] = NAN;
		CHECK(isnan(log_sum_exp(x, n)));
		x[n / 2] = INFINITY;
		CHECK(!isfinite(log_sum_exp(x, n)));
		for (int i = 0; i < n; i++)
			x[i] = -INFINITY;
		CHECK(!isfinite(log_sum_exp(x, n)));
		free(x);
	}
}

/* ---- the optimizer's ---- */

static void
sums_squares_and_multiples_fast_equal_plain(void)
{
	enum { N = 200003 };
	float *x = noise(N), *a = noise(N), *b = copy(a, N);
	double sum = ops_plain.sumsq(one, x, N);

	CHECK_NUM(ops_cpu.sumsq(three, x, N), sum, 1e-9 * sum);
	CHECK(ops_cpu.sumsq(three, x, N) == ops_cpu.sumsq(one, x, N));
	CHECK_NUM(ops_cpu.sumsq(three, x, 0), 0, 0);
	ops_plain.add(one, a, x, N);
	ops_cpu.add(three, b, x, N);
	CHECK_SAME(a, b, N);
	ops_plain.scale(one, a, 0.3f, N);
	ops_cpu.scale(three, b, 0.3f, N);
	CHECK_SAME(a, b, N);
	CHECK(b[N - 1] != x[N - 1]);
	free(x); free(a); free(b);
}

static void
adamw_fast_equals_plain(void)
{
	enum { N = 20011 };
	float *g = noise(N), *w[2], *mom[2], *var[2];

	w[0] = noise(N);
	w[1] = copy(w[0], N);
	mom[0] = noise(N);
	mom[1] = copy(mom[0], N);
	var[0] = noise(N);
	for (int i = 0; i < N; i++)
		var[0][i] = fabsf(var[0][i]);
	var[1] = copy(var[0], N);
	for (int step = 3; step < 6; step++) {
		ops_plain.adamw(one, w[0], g, mom[0], var[0], N, 0.7f, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, step);
		ops_cpu.adamw(three, w[1], g, mom[1], var[1], N, 0.7f, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, step);
	}
	CHECK_CLOSE(w[1], w[0], N);
	CHECK_CLOSE(mom[1], mom[0], N);
	CHECK_CLOSE(var[1], var[0], N);
	for (int i = 0; i < 2; i++) {
		free(w[i]);
		free(mom[i]);
		free(var[i]);
	}
	free(g);
}

/* The first step from zero moments is lr * sign(g), less the decay. */
static void
adamw_first_step_is_the_learning_rate(void)
{
	float w[2] = { 1, 1 }, g[2] = { 0.3f, -5 }, mom[2] = { 0 }, var[2] = { 0 };

	ops_cpu.adamw(one, w, g, mom, var, 2, 1, 0.01f, 0.9f, 0.999f, 1e-8f, 0.5f, 1);
	CHECK_NUM(w[0], 1 - 0.01 - 0.01 * 0.5, 1e-6);
	CHECK_NUM(w[1], 1 + 0.01 - 0.01 * 0.5, 1e-6);
}

/* ---- the machine ---- */

struct tally {
	int parts[64], total;
};

static void
count_part(void *arg, int part, int parts)
{
	struct tally *c = arg;

	c->parts[part]++;
	if (part == 0)
		c->total = parts;
}

static void
every_part_runs_once_a_call(void)
{
	for (int threads = 1; threads <= 5; threads += 2) {
		struct mach *m = mach_new(threads);
		struct tally c = { 0 };

		CHECK_INT(mach_threads(m), threads);
		for (int i = 0; i < 1000; i++)
			mach_run(m, count_part, &c);
		CHECK_INT(c.total, threads);
		for (int p = 0; p < 64; p++)
			CHECK_INT(c.parts[p], p < threads ? 1000 : 0);
		mach_free(m);
	}
}

static void
tests(void)
{
	RUN(every_part_runs_once_a_call);
	RUN(embed_gathers_rows_and_its_backward_adds_in_token_order);
	RUN(rmsnorm_fast_equals_plain);
	RUN(rmsnorm_backward_is_the_slope_of_the_forward);
	RUN(linear_fast_equals_plain);
	RUN(linear_backward_fast_equals_plain);
	RUN(linear_backward_is_the_slope_of_the_forward);
	RUN(linear_row_has_the_same_bits_alone_in_any_batch_and_on_any_threads);
	RUN(linear_backward_has_the_same_bits_on_any_threads);
	RUN(register_tiles_of_every_instruction_set_agree);
	RUN(rope_turns_and_turns_back);
	RUN(swiglu_fast_equals_plain_and_its_backward_is_the_slope);
	RUN(cross_entropy_gradient_is_the_slope_of_the_loss);
	RUN(cross_entropy_fast_equals_plain);
	RUN(log_sum_exp_equals_that_in_fp64);
	RUN(sums_squares_and_multiples_fast_equal_plain);
	RUN(adamw_fast_equals_plain);
	RUN(adamw_first_step_is_the_learning_rate);
}

int
main(void)
{
	return oracle_main(tests);
}
