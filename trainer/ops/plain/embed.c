/* embed.c - rows of a table, plain */
#include <string.h>

#include "plain.h"

void
plain_embed(struct mach *m, float *out, const float *table, const int *ids, int T, int C)
{
	int t;

	(void)m;
	for (t = 0; t < T; t++)
		memcpy(out + (size_t)t * C, table + (size_t)ids[t] * C, C * sizeof *out);
}

void
plain_embed_back(struct mach *m, float *dtable_acc, const float *dout, const int *ids, int T, int C)
{
	int t, c;

	(void)m;
	for (t = 0; t < T; t++)
		for (c = 0; c < C; c++)
			dtable_acc[(size_t)ids[t] * C + c] += dout[(size_t)t * C + c];
}
