/* dots-tile.h - the register tile of scalar products, included by dots.c once per instruction set
 *
 * NAME(x), TARGET, NATIVE (the dtype of x), E (its type), V (a vector of sums), X (a vector of x or of weights), LANES (elements of an X), ROWS (most
 *rows of a tile). NAME(x_at)(p), NAME(w_at)(d, p, i, scale): LANES elements of x; of a row of dtype d from element i on. NAME(mac)(sum, a, b):
 * sum + a b, lane by lane. NAME(sum4)(a, b, c, d): the sums of their lanes, as four floats. KEEP(x): x stays in its register
 * and is not loaded again for each row. */

static inline __attribute__((always_inline)) TARGET void
NAME(step)(const int rows, const enum dtype d, V sum[][STRIP], const char *x, size_t ldx, const struct strip *s, size_t i)
{
	X b[STRIP];
	int r, j;

#pragma GCC unroll 4
	for (j = 0; j < STRIP; j++) {
		b[j] = NAME(w_at)(d, s->w[j], i, s->scale[j]);
		KEEP(b[j]);
	}
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

/* `fetch` runs are read ahead meanwhile, one after the other and into the second cache, as memory is read fastest: all side by side, or into the first, a
 * step of decoding took 40% longer. */
static inline __attribute__((always_inline)) TARGET void
NAME(tile)(const int rows, const enum dtype d, const int fetch, const char *const *ahead, float *out, size_t ldo, const char *x, size_t ldx,
	   const struct strip *s, size_t cols, size_t k, bool accum)
{
	const size_t due = fetch * LANES * dtype_size(d);	/* bytes a step */
	const char *at = fetch ? ahead[0] : NULL;
	V sum[ROWS][STRIP];
	size_t i, f;
	int r, j, run = 0;

#pragma GCC unroll 8
	for (r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (j = 0; j < STRIP; j++)
			sum[r][j] = (V){ 0 };
	for (i = 0; i + LANES <= k; i += LANES) {
		NAME(step)(rows, d, sum, x + i * sizeof(E), ldx, s, i);
		/* not before the step: there GCC 12 spills one of AVX2's sums */
#pragma GCC unroll 4
		for (f = 0; f < due; f += FETCH_LINE)
			__builtin_prefetch(at + f, 0, 2);
		at += due;
		if (fetch > 1 && (size_t)(at - ahead[run]) >= k * dtype_size(d) && run + 1 < fetch)
			at = ahead[++run];
	}
	if (i < k)
		NAME(rest)(rows, d, sum, x + i * sizeof(E), ldx, s, i, k);
#pragma GCC unroll 8
	for (r = 0; r < rows; r++)
		put4(out + r * ldo, NAME(sum4)(sum[r][0], sum[r][1], sum[r][2], sum[r][3]), cols, accum);
}

static inline __attribute__((always_inline)) TARGET void
NAME(rows)(size_t rows, const enum dtype d, const int fetch, const char *const *ahead, float *out, size_t ldo, const char *x, size_t ldx,
	   const struct strip *s, size_t cols, size_t k, bool accum)
{
	switch (rows) {
#define CASE(r) case r: NAME(tile)(r <= ROWS ? r : 1, d, fetch, ahead, out, ldo, x, ldx, s, cols, k, accum); break;
	CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1)
#undef CASE
	}
}

static inline __attribute__((always_inline)) TARGET void
NAME(run)(const enum dtype d, float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum,
	  const char *const *ahead, int fetch)
{
	switch (fetch) {
#define CASE(n) case n: NAME(rows)(rows, d, n, ahead, out, ldo, x, ldx, s, cols, k, accum); break;
	CASE(4) CASE(2) CASE(1) CASE(0)
#undef CASE
	}
}

#define RUN(d, suffix) \
static TARGET void \
NAME(run_##suffix)(float *out, size_t ldo, const char *x, size_t ldx, size_t rows, const struct strip *s, size_t cols, size_t k, bool accum, \
		   const char *const *ahead, int fetch) \
{ \
	NAME(run)(d, out, ldo, x, ldx, rows, s, cols, k, accum, ahead, fetch); \
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
	.native = NATIVE, .lanes = LANES, .rows = ROWS, .take = NAME(take), .widen = NAME(widen),
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
#undef KEEP
