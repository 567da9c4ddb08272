/* isa.c - the instruction set, by cpuid or by SA_CPU */
#include "isa.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char *const isa_names[ISA_COUNT] = { "plain", "avx2", "avx512", "avx512bf16" };

bool
isa_usable(enum isa i)
{
#ifdef __x86_64__
	switch (i) {
	case ISA_AVX512BF16:
		return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
	case ISA_AVX512:
		return __builtin_cpu_supports("avx512f");
	case ISA_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
	default:
		return true;
	}
#else
	return i == ISA_PLAIN;
#endif
}

int
isa_choose(const char *name, enum isa *out, struct err *e)
{
	int i = ISA_COUNT - 1;

	if (!name || !*name) {
		while (!isa_usable(i))
			i--;
	} else {
		while (i >= 0 && strcmp(name, isa_names[i]) != 0)
			i--;
		if (i < 0)
			return err_set(e, "SA_CPU=%s: not known (plain, avx2, avx512, avx512bf16)", name);
		if (!isa_usable(i))
			return err_set(e, "SA_CPU=%s: this processor does not have it", name);
	}
	*out = i;
	return 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum isa now;

static void
choose(void)
{
	struct err e;

	if (isa_choose(getenv("SA_CPU"), &now, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
}

enum isa
isa_now(void)
{
	pthread_once(&once, choose);
	return now;
}

void
isa_use(enum isa i)
{
	pthread_once(&once, choose);
	now = i;
}
