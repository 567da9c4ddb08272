/* rope.c - rotary position embedding, threaded
 *
 * Packed sequences repeat their positions, so the sines of each position are computed once a call where that is less work. */
#include <math.h>

#include "cpu.h"
#include "mach.h"
#include "vec.h"

struct job {
	float *x;
	const int *pos;
	const float *inv_freq;
	float *table;	/* [positions][2][D/2], or NULL */
	int positions, sign, T, heads, D;
	struct mach *m;
};

/* cs[0..D/2) cosines, then sines. */
static void
angles(float *cs, const struct job *j, int pos)
{
	int half = j->D / 2, i;

	for (i = 0; i < half; i++) {
		float angle = (float)pos * j->inv_freq[i];

		cs[i] = cosf(angle);
		cs[half + i] = j->sign * sinf(angle);
	}
}

CLONES static void
turn(float *x, const float *cs, int heads, int D)
{
	int half = D / 2, h, i;

	for (h = 0; h < heads; h++, x += D)
		for (i = 0; i < half; i++) {
			float a = x[i], b = x[i + half];

			x[i] = a * cs[i] - b * cs[half + i];
			x[i + half] = b * cs[i] + a * cs[half + i];
		}
}

static void
fill_table(void *arg, int part, int parts)
{
	const struct job *j = arg;
	size_t p, to;

	for (mach_range(j->positions, 1, part, parts, &p, &to); p < to; p++)
		angles(j->table + p * j->D, j, p);
}

static void
turn_rows(void *arg, int part, int parts)
{
	const struct job *j = arg;
	float *own = j->table ? NULL : mach_scratch(j->m, part, j->D);
	size_t t, to;

	for (mach_range(j->T, 1, part, parts, &t, &to); t < to; t++) {
		if (own)
			angles(own, j, j->pos[t]);
		turn(j->x + t * j->heads * j->D, own ? own : j->table + (size_t)j->pos[t] * j->D, j->heads, j->D);
	}
}

void
cpu_rope(struct mach *m, float *x, const int *pos, const float *inv_freq, int sign, int T, int heads, int D)
{
	struct job j = { x, pos, inv_freq, NULL, 0, sign, T, heads, D, m };
	int t;

	for (t = 0; t < T; t++)
		if (pos[t] >= j.positions)
			j.positions = pos[t] + 1;
	if (j.positions < T) {
		j.table = mach_scratch(m, 0, (size_t)j.positions * D);
		mach_run_if(m, 20.0 * j.positions * D, fill_table, &j);
	}
	mach_run_if(m, 2.0 * T * heads * D + (j.table ? 0 : 20.0 * T * D), turn_rows, &j);
}
