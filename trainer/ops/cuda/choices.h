/* choices.h - the file in which the algorithms of matrix products are kept, by card and version of cuBLAS
 *
 * A line a choice: the card's name without spaces, the version, the product's kind (enum gpu_product), stride, T, K and N, and the 64 bytes of the
 * algorithm as eight hexadecimal numbers. Lines of other cards and versions are left alone. A file with anything else in it is not believed: it is begun
 * anew. While a process has the file open the others wait (flock), so that of several that begin together one times and the others find; of two lines
 * for the same product the first counts. */
#ifndef SA_CHOICES_H
#define SA_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;

/* A product as far as the choice of an algorithm goes; which: enum gpu_product. */
struct gpu_shape {
	int which, stride, T, K, N;
};

struct choice {
	struct gpu_shape shape;
	uint64_t algo[8];
};

struct choices {
	FILE *f;
	char card[256];
	size_t version;
	struct choice *v;	/* of this card and version */
	size_t n;
	int broken;		/* line that made the file be begun anew; 0: none */
};

/* Open, lock and read the file, made when it is not there. 0, and choices_close() afterwards; 1: another process has it, and wait is false; -1 with *e set. */
int choices_open(struct choices *c, const char *file, const char *card, size_t version, bool wait, struct err *e);
/* NULL: not known. Valid until the next choices_add(). */
const struct choice *choices_find(const struct choices *c, const struct gpu_shape *s);
/* Add it, and write it out. */
int choices_add(struct choices *c, const struct choice *add, struct err *e);
void choices_close(struct choices *c);

#endif
