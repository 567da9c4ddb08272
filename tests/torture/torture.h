/* torture.h - what the shim (fail.c) and its driver (torture.c) share: a page of memory whose descriptor is in TORTURE_FD */
#ifndef TORTURE_H
#define TORTURE_H

#include <stdint.h>

enum torture_mode {
	TORTURE_MEMORY,	/* malloc() and its kin give NULL */
	TORTURE_FILES,	/* calls on files and standard streams fail: a write with ENOSPC, a read or close with EIO, an open with EMFILE, a mapping with ENOMEM */
	TORTURE_SHORT,	/* a read or write does only the first byte */
	TORTURE_EINTR,	/* a read or write is interrupted */
};

#define TORTURE_FRAMES 24
#define TORTURE_SITE 96

struct torture {
	int mode;
	long at;	/* which call fails, from 1; 0: none, only counted */
	long count;	/* calls so far */
	int frames;	/* how the failing call was reached, as "module(function)+offset", innermost first; 0: it never came to that */
	char frame[TORTURE_FRAMES][TORTURE_SITE];
};

#endif
