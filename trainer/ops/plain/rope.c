/* rope.c - rotary position embedding, plain: element i of a head turns with element i + D/2 (rotate_half) */
#include <math.h>

#include "plain.h"

static void
rotate(float *x, float pos, const float *inv_freq, int sign, int D)
{
	int i;

	for (i = 0; i < D / 2; i++) {
		float angle = pos * inv_freq[i];
		float c = cosf(angle), s = sign * sinf(angle);
		float a = x[i], b = x[i + D / 2];

		x[i] = a * c - b * s;
		x[i + D / 2] = b * c + a * s;
	}
}

void
plain_rope(struct mach *m, float *x, const int *pos, const float *inv_freq, int sign, int T, int heads, int D)
{
	int t, h;

	(void)m;
	for (t = 0; t < T; t++)
		for (h = 0; h < heads; h++, x += D)
			rotate(x, pos[t], inv_freq, sign, D);
}
