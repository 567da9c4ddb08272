/* mapping.h - one file of a checkpoint, mapped read-only
 *
 * A file that shrinks while it is mapped makes whoever reads on there fault (SIGBUS). After mapping_guard() that ends the program with a message that
 * names the file. Mappings are opened and closed by one thread at a time. */
#ifndef SA_MAPPING_H
#define SA_MAPPING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "err.h"

struct mapping {
	char *path;
	uint8_t *p;
	size_t n;
	int fd;		/* of what is mapped, whatever has the name by now */
	LIST_ENTRY(mapping) link;
};

/* NULL with a message. */
struct mapping *mapping_open(const char *path, struct err *e);
void mapping_close(struct mapping *m);

/* From now on a fault in a mapping is _exit(STATUS_IO) with "FILE: cut off while it was in use, or it cannot be read"; any other SIGBUS has the effect
 * that it had before. */
void mapping_guard(void);

#endif
