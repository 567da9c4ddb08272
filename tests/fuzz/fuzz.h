/* fuzz.h - what the fuzz targets share
 *
 * A target is one file with LLVMFuzzerTestOneInput(), whose comment says what must hold for every input. `make fuzz` builds it with
 * libFuzzer; main.c, in its place, runs it over the files of its corpus, without clang. Under either, a broken MUST() aborts. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "buf.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

_Noreturn static inline void
fuzz_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

#define MUST(expr) ((expr) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #expr))

/* A byte off the front of the input: a choice that the fuzzer makes; 0 when there is none. */
static inline unsigned
fuzz_byte(const uint8_t **data, size_t *n)
{
	if (*n == 0)
		return 0;
	--*n;
	return *(*data)++;
}

/* The input as a string of the heap's, so that reading past its end is found; a NUL in it ends it. */
static inline char *
fuzz_string(const uint8_t *data, size_t n)
{
	return n ? xstrndup((const char *)data, n) : xstrdup("");
}

/* Is it UTF-8? By jansson. */
static inline bool
fuzz_utf8(const char *s, size_t n)
{
	json_t *v = json_stringn(s, n);

	json_decref(v);
	return v != NULL;
}

/* The path of a file in memory that holds the input. Each call writes the same file anew. */
static inline const char *
fuzz_file(const uint8_t *data, size_t n)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	MUST(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, n, 0) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return path;
}

/* A directory of this process, gone at its end, with one file of that name, which holds the input. */
static char fuzz_dir[64];

static inline void
fuzz_forget(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", fuzz_dir, name);
	unlink(path);
}

static inline void
fuzz_clean(void)
{
	fuzz_forget("tokenizer.json");
	fuzz_forget("model.safetensors");
	fuzz_forget("model.safetensors.index.json");
	fuzz_forget("a.safetensors");
	rmdir(fuzz_dir);
}

static inline const char *
fuzz_in_dir(const char *name, const void *data, size_t n)
{
	char path[256];
	FILE *f;

	if (!fuzz_dir[0]) {
		snprintf(fuzz_dir, sizeof fuzz_dir, "%s/sa-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		MUST(mkdtemp(fuzz_dir) && atexit(fuzz_clean) == 0);
	}
	snprintf(path, sizeof path, "%s/%s", fuzz_dir, name);
	f = fopen(path, "wb");
	MUST(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
	return fuzz_dir;
}

#endif
