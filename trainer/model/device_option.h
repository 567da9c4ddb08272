/* device_option.h - which processor computes: what an option --device says */
#ifndef SA_DEVICE_OPTION_H
#define SA_DEVICE_OPTION_H

#include <stdbool.h>

#include "err.h"

struct device_option {
	bool cuda;		/* else the CPU */
	int index;		/* cuda:1 is the second one of this machine */
	double memory;		/* bytes of it that may be taken; 0: not said */
};

/* "cpu", "cuda", "cuda:1", "cuda:24GiB" or "cuda:1:24GiB". 0, or -1 with a message. */
int device_option_parse(struct device_option *d, const char *text, struct err *e);
/* "24GiB" or "24GB" in bytes; 0 when it is no such size. */
double device_option_size(const char *text);

/* The file of the algorithms that a GPU's matrix products take, the caller's to free, its folder made where it can be: what SA_TUNE says, else sa/products in
 * XDG_CACHE_HOME or ~/.cache. NULL: SA_TUNE is "off", or there is no place; then none are timed. */
char *device_option_tuned(void);

#endif
