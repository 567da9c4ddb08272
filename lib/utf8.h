/* utf8.h - is it UTF-8?  Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF. Pure. */
#ifndef SA_UTF8_H
#define SA_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the sequence at p (n > 0 bytes there), 0 when it is none. */
size_t utf8_len(const unsigned char *p, size_t n);

/* Are n bytes all valid? By 32 bytes at a time where the CPU has AVX2. */
bool utf8_valid(const unsigned char *p, size_t n);
bool utf8_valid_plain(const unsigned char *p, size_t n);	/* the same on any CPU */

#endif
