/* isa.h - which instruction set the operations use
 *
 * The best that the processor and the kernel have, or what SA_CPU in the environment names: plain, avx2 (with FMA and F16C), avx512 (avx512f) or
 * avx512bf16 (with avx512bw). Asked once, when the first machine is made (mach_new). */
#ifndef SA_ISA_H
#define SA_ISA_H

#include <stdbool.h>

#include "err.h"

enum isa { ISA_PLAIN, ISA_AVX2, ISA_AVX512, ISA_AVX512BF16, ISA_COUNT };

extern const char *const isa_names[ISA_COUNT];

bool isa_usable(enum isa i);
/* `name`, or the best when it is NULL or empty. 0, or -1 with a message: not known, or this processor lacks it. */
int isa_choose(const char *name, enum isa *out, struct err *e);
/* What SA_CPU chooses. Ends the program (STATUS_USAGE) when that cannot be. */
enum isa isa_now(void);
/* From now on: a usable one, while no machine is at work. For tests. */
void isa_use(enum isa i);

#endif
