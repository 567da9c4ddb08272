/* config.c - config.json files, which come from anywhere
 *
 * A file is refused with a message that names it, or its sizes are positive and fit together, and the rotation frequencies are finite. */
#include "fuzz.h"

#include <math.h>

#include "config.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct config c;
	struct err e = { "" };
	const char *path = fuzz_file(data, n);
	float *freq;

	if (config_read_file(&c, path, &e) < 0) {
		MUST(strstr(e.msg, path));
		return 0;
	}
	MUST(c.hidden > 0 && c.layers > 0 && c.heads > 0 && c.kv_heads > 0 && c.head_dim > 0 && c.ffn > 0 && c.vocab > 0 && c.max_pos > 0);
	MUST(c.heads % c.kv_heads == 0 && c.head_dim % 2 == 0 && c.neos >= 0 && c.neos <= CONFIG_MAX_EOS);
	MUST(c.eps >= 0 && isfinite(c.eps) && isfinite(c.init_range));
	freq = xreallocarray(NULL, (size_t)c.head_dim / 2, sizeof *freq);
	config_inv_freq(&c, freq);
	for (int i = 0; i < c.head_dim / 2; i++)
		MUST(isfinite(freq[i]) && freq[i] >= 0);
	free(freq);
	return 0;
}
