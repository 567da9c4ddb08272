/* num.h - numbers from text and to text, with ranges, independent of the locale */
#ifndef SA_NUM_H
#define SA_NUM_H

#include "err.h"

/* The whole of `s` as a decimal integer in lo..hi. 0, or -1 with a message that names the range. */
int num_int(const char *s, long long lo, long long hi, long long *out, struct err *e);

/* The whole of `s` as a finite decimal number in lo..hi. No hex, inf or nan. */
int num_real(const char *s, double lo, double hi, double *out, struct err *e);

/* The shortest decimal text that reads back as the same double; a JSON number. `x` must be finite. Returns buf. */
#define NUM_TEXT 32
char *num_text(char buf[NUM_TEXT], double x);

#endif
