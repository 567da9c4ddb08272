/* families.c - the table of architectures */
#include "families.h"

#include <stdio.h>
#include <string.h>

static const struct family families[] = {
	{ .arch = "LlamaForCausalLM", .max_pos = 2048 },					/* Llama 2, 3, 3.1, 3.2 */
	{ .arch = "Qwen2ForCausalLM", .qkv_bias = true, .kv_heads = 32, .max_pos = 32768 },	/* Qwen2, Qwen2.5 */
	{ .arch = "Qwen3ForCausalLM", .qk_norm = true, .head_dim = 128, .kv_heads = 32, .max_pos = 32768 },
};

#define COUNT (sizeof families / sizeof *families)

const struct family *
family_find(const char *arch)
{
	for (size_t i = 0; i < COUNT; i++)
		if (strcmp(families[i].arch, arch) == 0)
			return &families[i];
	return NULL;
}

void
family_list(char *text, size_t size)
{
	size_t n = 0;

	*text = '\0';
	for (size_t i = 0; i < COUNT && n < size; i++)
		n += snprintf(text + n, size - n, "%s%s", i == 0 ? "" : i + 1 < COUNT ? ", " : " and ", families[i].arch);
}
