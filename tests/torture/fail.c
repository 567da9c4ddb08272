/* fail.c - a shim (LD_PRELOAD) that makes one call fail: an allocation, or a call on a file
 *
 * Which one, the page of torture.h says; calls are counted from the end of the libraries' own start-up on, in all threads, not in child
 * processes. Calls on descriptors that are neither files nor one of the standard streams (sockets, event descriptors) are left alone: what those can give,
 * the fault server gives. So is standard error, by which the program is to say what is wrong. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "torture.h"

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

static size_t (*real_fwrite)(const void *, size_t, size_t, FILE *);
static int (*real_fflush)(FILE *), (*real_fclose)(FILE *);
static FILE *(*real_fopen)(const char *, const char *);
static struct torture *page;
static __thread bool inside;	/* of this file's own doing */

static void
note_frames(void)
{
	void *at[TORTURE_FRAMES + 2];
	int n = backtrace(at, TORTURE_FRAMES + 2);

	for (int i = 2; i < n; i++) {
		const char *module, *slash;
		Dl_info d;

		if (!dladdr(at[i], &d))
			continue;
		slash = strrchr(d.dli_fname, '/');
		module = slash ? slash + 1 : d.dli_fname;
		snprintf(page->frame[page->frames++], TORTURE_SITE, "%s(%s)+0x%zx", module, d.dli_sname ? d.dli_sname : "", (size_t)((char *)at[i] - (char *)d.dli_fbase));
	}
}

/* Is it this call's turn? */
static bool
turn(bool counts)
{
	if (!page || inside || !counts)
		return false;
	if (__atomic_add_fetch(&page->count, 1, __ATOMIC_RELAXED) != page->at)
		return false;
	inside = true;
	note_frames();
	inside = false;
	return true;
}

static bool
no_memory(void)
{
	if (!turn(page && page->mode == TORTURE_MEMORY))
		return false;
	errno = ENOMEM;
	return true;
}

/* Also called by what comes before start(): the constructors of libraries. */
static void
find_streams(void)
{
	if (real_fopen)
		return;
	inside = true;
	*(void **)&real_fwrite = dlsym(RTLD_NEXT, "fwrite");
	*(void **)&real_fflush = dlsym(RTLD_NEXT, "fflush");
	*(void **)&real_fclose = dlsym(RTLD_NEXT, "fclose");
	*(void **)&real_fopen = dlsym(RTLD_NEXT, "fopen");
	inside = false;
}

__attribute__((constructor)) static void
start(void)
{
	const char *fd = getenv("TORTURE_FD");
	void *at[2], *p;

	find_streams();
	if (!fd)
		return;
	inside = true;
	backtrace(at, 2);	/* loads what it needs */
	inside = false;
	unsetenv("LD_PRELOAD");
	unsetenv("TORTURE_FD");
	p = (void *)syscall(SYS_mmap, NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
	syscall(SYS_close, atoi(fd));
	page = p == MAP_FAILED ? NULL : p;
}

/* ---- memory ---- */

void *
malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t count, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *p, size_t n)
{
	return n && no_memory() ? NULL : __libc_realloc(p, n);
}

void *
reallocarray(void *p, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, n);
}

void *
memalign(size_t alignment, size_t n)
{
	return no_memory() ? NULL : __libc_memalign(alignment, n);
}

void *
aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

int
posix_memalign(void **out, size_t alignment, size_t n)
{
	void *p = memalign(alignment, n);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

/* ---- files ---- */

static bool
is_file(int fd)
{
	struct stat st;

	if (fd == 0 || fd == 1)
		return true;
	return fd > 2 && syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) == 0 && S_ISREG(st.st_mode);
}

static bool
fails(int fd, int error)
{
	if (!turn(page && page->mode == TORTURE_FILES && (fd == AT_FDCWD || is_file(fd))))
		return false;
	errno = error;
	return true;
}

/* A read or write of n bytes: how many of them, or -1 with errno. */
static ssize_t
allowed(int fd, size_t n, int error)
{
	if (fails(fd, error))
		return -1;
	if (page && page->mode == TORTURE_SHORT && n > 1 && is_file(fd) && turn(true))
		return 1;
	if (page && page->mode == TORTURE_EINTR && is_file(fd) && turn(true)) {
		errno = EINTR;
		return -1;
	}
	return (ssize_t)n;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	ssize_t m = allowed(fd, n, ENOSPC);

	return m < 0 ? m : syscall(SYS_write, fd, p, m);
}

ssize_t
read(int fd, void *p, size_t n)
{
	ssize_t m = allowed(fd, n, EIO);

	return m < 0 ? m : syscall(SYS_read, fd, p, m);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	ssize_t m = allowed(fd, n, ENOSPC);

	return m < 0 ? m : syscall(SYS_pwrite64, fd, p, m, at);
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	ssize_t m = allowed(fd, n, EIO);

	return m < 0 ? m : syscall(SYS_pread64, fd, p, m, at);
}

ssize_t
writev(int fd, const struct iovec *v, int count)
{
	size_t total = 0;
	ssize_t m;

	for (int i = 0; i < count; i++)
		total += v[i].iov_len;
	m = allowed(fd, total, ENOSPC);
	if (m < 0)
		return m;
	return (size_t)m == total ? syscall(SYS_writev, fd, v, count) : syscall(SYS_write, fd, v[0].iov_base, v[0].iov_len ? 1 : 0);
}

/* Streams: the C library's own writes cannot be got hold of. */
size_t
fwrite(const void *p, size_t size, size_t count, FILE *f)
{
	find_streams();
	return f != stderr && fails(fileno(f), ENOSPC) ? 0 : real_fwrite(p, size, count, f);
}

int
fflush(FILE *f)
{
	find_streams();
	return f && f != stderr && fails(fileno(f), ENOSPC) ? EOF : real_fflush(f);
}

int
fclose(FILE *f)
{
	bool bad = f != stderr && fails(fileno(f), ENOSPC);
	int rc;

	find_streams();
	rc = real_fclose(f);
	if (bad)
		errno = ENOSPC;
	return bad ? EOF : rc;
}

FILE *
fopen(const char *path, const char *mode)
{
	find_streams();
	return fails(AT_FDCWD, EMFILE) ? NULL : real_fopen(path, mode);
}

int
fsync(int fd)
{
	return fails(fd, EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return fails(fd, EIO) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int
ftruncate(int fd, off_t n)
{
	return fails(fd, ENOSPC) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

/* The descriptor is gone even so, as on Linux. */
int
close(int fd)
{
	bool bad = fails(fd, EIO);
	int rc = (int)syscall(SYS_close, fd);

	if (bad)
		errno = EIO;
	return bad ? -1 : rc;
}

static int
open_at(int dir, const char *path, int flags, va_list ap)
{
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;

	return fails(AT_FDCWD, EMFILE) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
	va_list ap;
	int fd;

	va_start(ap, flags);
	fd = open_at(AT_FDCWD, path, flags, ap);
	va_end(ap);
	return fd;
}

int
openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	int fd;

	va_start(ap, flags);
	fd = open_at(dir, path, flags, ap);
	va_end(ap);
	return fd;
}

void *
mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
	return fd >= 0 && fails(fd, ENOMEM) ? MAP_FAILED : (void *)syscall(SYS_mmap, p, n, prot, flags, fd, at);
}

/* The names that large-file builds use. */
FILE *fopen64(const char *, const char *) __attribute__((alias("fopen")));
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
