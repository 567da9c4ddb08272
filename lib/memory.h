/* memory.h - how much memory there is to have */
#ifndef SA_MEMORY_H
#define SA_MEMORY_H

#include <stddef.h>

/* Bytes that this process could still take without swapping: what the kernel thinks is available, or what is left of the control group's (v2) limit
 * when that is less. 0 when neither says. */
size_t memory_available(void);

#endif
