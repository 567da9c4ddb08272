/* tile.h - the register tile, included by tile.c once per instruction set
 *
 * NAME(x), TARGET, V (a vector of floats), WIDE (floats in it), ROWS (most rows of a tile), SPLAT(p) (one float in all lanes),
 * FMA(a, b, c) = a b + c, where a unit may be a pair of bf16 numbers (gemm.h). ROWS x 2 vectors of sums, 2 of the panel and a splat fit into the registers. */

static inline __attribute__((always_inline)) TARGET void
NAME(tile)(const int rows, float *c, size_t ldc, const float *a, size_t row, size_t col, const float *panel, size_t k, bool accum)
{
	V sum[ROWS][2];
	size_t i;
	int r;

#pragma GCC unroll 12
	for (r = 0; r < rows; r++) {
		sum[r][0] = accum ? LOAD(c + r * ldc) : (V){ 0 };
		sum[r][1] = accum ? LOAD(c + r * ldc + WIDE) : (V){ 0 };
	}
	for (i = 0; i < k; i++, a += col, panel += 2 * WIDE) {
		V b0 = LOAD(panel), b1 = LOAD(panel + WIDE);

#pragma GCC unroll 12
		for (r = 0; r < rows; r++) {
			V x = SPLAT(a + r * row);

			sum[r][0] = FMA(x, b0, sum[r][0]);
			sum[r][1] = FMA(x, b1, sum[r][1]);
		}
	}
#pragma GCC unroll 12
	for (r = 0; r < rows; r++) {
		STORE(c + r * ldc, sum[r][0]);
		STORE(c + r * ldc + WIDE, sum[r][1]);
	}
}

/* As many of `rows` as one tile takes; returns how many. */
static TARGET size_t
NAME(some)(float *c, size_t ldc, const float *a, size_t row, size_t col, const float *panel, size_t k, size_t rows, bool accum)
{
	if (rows >= ROWS) {
		NAME(tile)(ROWS, c, ldc, a, row, col, panel, k, accum);
		return ROWS;
	}
	if (ROWS > 8 && rows >= 8) {
		NAME(tile)(ROWS > 8 ? 8 : 1, c, ldc, a, row, col, panel, k, accum);
		return 8;
	}
	if (rows >= 4) {
		NAME(tile)(4, c, ldc, a, row, col, panel, k, accum);
		return 4;
	}
	if (rows >= 2) {
		NAME(tile)(2, c, ldc, a, row, col, panel, k, accum);
		return 2;
	}
	NAME(tile)(1, c, ldc, a, row, col, panel, k, accum);
	return 1;
}

static TARGET void
NAME(run)(float *c, size_t ldc, const float *a, size_t row, size_t col, const float *panel, size_t k, size_t rows, size_t cols, bool accum)
{
	float edge[ROWS * 2 * WIDE] __attribute__((aligned(64)));
	size_t n, r;

	for (; rows > 0; rows -= n, c += n * ldc, a += n * row) {
		if (cols == 2 * WIDE) {
			n = NAME(some)(c, ldc, a, row, col, panel, k, rows, accum);
			continue;
		}
		for (r = 0; accum && r < ROWS && r < rows; r++)
			memcpy(edge + r * 2 * WIDE, c + r * ldc, cols * sizeof *c);
		n = NAME(some)(edge, 2 * WIDE, a, row, col, panel, k, rows, accum);
		for (r = 0; r < n; r++)
			memcpy(c + r * ldc, edge + r * 2 * WIDE, cols * sizeof *c);
	}
}

#undef NAME
#undef TARGET
#undef V
#undef WIDE
#undef ROWS
#undef SPLAT
#undef LOAD
#undef STORE
#undef FMA
