/* key.h - the key of an API: read from a file that only its owner can read, and kept in this process */
#ifndef SA_KEY_H
#define SA_KEY_H

#include "err.h"

/* The one word of printable ASCII in the file at `path`, without the white space behind it; malloc'd. NULL with a message that names the file: it cannot
 * be read, others can read it, there is no such word in it. */
char *key_read(const char *path, struct err *e);

/* What a key must be: one word of printable ASCII. `where` it came from is for the message. 0 or -1. */
int key_check(const char *key, const char *where, struct err *e);

/* From now on the process leaves no core and other processes of the user cannot read its memory. Call it when there is a key.
 * 0, or -1 when the kernel refuses. It lasts until exec(); /proc/PID/environ and the like become root's. */
int key_guard(void);

#endif
