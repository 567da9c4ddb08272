/* dots-tile.h - the register tile of scalar products, included by dots.c once per instruction set
 *
 * NAME(x), TARGET, NATIVE (the dtype of x), E (its type), V (a vector of sums), X (a vector of x or of weights), LANES (elements of an X), ROWS (most
 * rows of a tile). NAME(x_at)(p), NAME(w_at)(d, p, i, scale): LANES elements of x; of a row of dtype d from element i on. NAME(mac)(sum, a, b):
 * sum + a b, lane by lane. NAME(sum4)(a, b, c, d): the sums of their lanes, as four floats. */

static inline __attribute__((always_inline)) TARGET void
NAME(step)(const int rows, const enum dtype d, V sum[][STRIP], const char *x, size_t ldx, const struct strip *s, size_t i)
{
	X b[STRIP];
	int r, j;

#pragma GCC unroll 4
	for (j = 0; j < STRIP; j++)
		b[j] = NAME(w_at)(d, s->w[j], i, s->scale[j]);
#pragma GCC unroll 8
	for (r = 0; r < rows; r++) {
		X a = NAME(x_at)(x + r * ldx);

#pragma GCC unroll 4
		for (j = 0; j < STRIP; j++)
			sum[r][j] = NAME(mac)(sum[r][j], a, b[j]);
	}
}

/* The last elements of the rows, fewer than LANES of them: what lies behind may be another tensor or the end of the mapping. */
static inline __attribute__((always_inline)) TARGET void
NAME(rest)(const int rows, const enum dtype d, V sum[][STRIP], const char *x, size_t ldx, const struct strip *s, size_t i, size_t k)
{
	char edge[STRIP][LANES * 4];
	struct strip end;
	int j;

	memset(edge, 0, sizeof edge);
	for (j = 0; j < STRIP; j++) {
		memcpy(edge[j], s->w[j] + i * dtype_size(d), (k - i) * dtype_size(d));
		end.w[j] = edge[j];
		end.scale[j] = d == DT_INT8 ? s->scale[j] + i / MATRIX_GROUP : NULL;
	}
	NAME(step)(rows, d, sum, x, ldx, &end, 0);
}

static inline __attribute__((always_inline)) TARGET void
NAME(tile)(const int rows, const enum dtype d, float *out, size_t ldo, const char *x, size_t ldx, const struct strip *s, size_t cols, size_t k, bool accum)
{
	V sum[ROWS][STRIP];
	size_t i;
	int r, j;

#pragma GCC unroll 8
	for (r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (j = 0; j < STRIP; j++)
			sum[r][j] = (V){ 0 };
	for (i = 0; i + LANES <= k; i += LANES)
		NAME(step)(rows, d, sum, x + i * sizeof(E), ldx, s, i);
	if (i < k)
		NAME(rest)(rows, d, sum, x + i * sizeof(E), ldx, s, i, k);
#pragma GCC unroll 8
	for (r = 0; r < rows; r++)
		put4(out + r * ldo, NAME(sum4)(sum[r][0], sum[r][1], sum[r][2], sum[r][3]), cols, accum);
}

/* As many rows as one tile takes; returns how many. */
static inline __attribute__((always_inline)) TARGET size_t
NAME(some)(const enum dtype d, float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum)
{
	if (rows >= ROWS) {
		NAME(tile)(ROWS, d, out, ldo, x, ldx, s, cols, k, accum);
		return ROWS;
	}
	if (ROWS > 4 && rows >= 4) {
		NAME(tile)(ROWS > 4 ? 4 : 1, d, out, ldo, x, ldx, s, cols, k, accum);
		return 4;
	}
	if (rows >= 2) {
		NAME(tile)(2, d, out, ldo, x, ldx, s, cols, k, accum);
		return 2;
	}
	NAME(tile)(1, d, out, ldo, x, ldx, s, cols, k, accum);
	return 1;
}

static inline __attribute__((always_inline)) TARGET void
NAME(run)(const enum dtype d, float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum,
	  const struct strip *next)
{
	size_t bytes = k * dtype_size(d), share = (bytes * ROWS + rows - 1) / rows, at, n;

	for (at = 0; rows > 0; rows -= n, out += n * ldo, x += n * ldx, at += share) {
		if (next)
			fetch(next, at, at + share < bytes ? at + share : bytes);
		n = NAME(some)(d, out, ldo, x, ldx, rows, s, cols, k, accum);
	}
}

#define RUN(d, suffix) \
static TARGET void \
NAME(run_##suffix)(float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum, \
		   const struct strip *next) \
{ \
	NAME(run)(d, out, ldo, x, ldx, rows, s, cols, k, accum, next); \
}
FORMATS
#undef RUN

static TARGET void
NAME(take)(void *to, const float *x, size_t n)
{
	E *out = to;
	float edge[LANES] = { 0 };
	size_t i;

	for (i = 0; i + LANES <= n; i += LANES)
		NAME(put)(out + i, x + i);
	if (i < n) {
		memcpy(edge, x + i, (n - i) * sizeof *x);
		NAME(put)(out + i, edge);
	}
}

static inline __attribute__((always_inline)) TARGET void
NAME(widen_as)(const enum dtype d, E *out, const char *w, const float *scale, size_t n)
{
	char edge[LANES * 4] = { 0 };
	size_t i;

	for (i = 0; i + LANES <= n; i += LANES) {
		X v = NAME(w_at)(d, w, i, scale);

		memcpy(out + i, &v, sizeof v);
	}
	if (i < n) {
		X v;

		memcpy(edge, w + i * dtype_size(d), (n - i) * dtype_size(d));
		v = NAME(w_at)(d, edge, 0, d == DT_INT8 ? scale + i / MATRIX_GROUP : NULL);
		memcpy(out + i, &v, sizeof v);
	}
}

static TARGET void
NAME(widen)(void *to, enum dtype d, const char *w, const float *scale, size_t n)
{
#define RUN(f, suffix) if (d == f) NAME(widen_as)(f, to, w, scale, n);
	FORMATS
#undef RUN
}

static const struct dots NAME(dots) = {
	.native = NATIVE, .lanes = LANES, .take = NAME(take), .widen = NAME(widen),
#define RUN(d, suffix) .run[d] = NAME(run_##suffix),
	FORMATS
#undef RUN
};

#undef NAME
#undef TARGET
#undef NATIVE
#undef E
#undef V
#undef X
#undef LANES
#undef ROWS
#undef FORMATS
