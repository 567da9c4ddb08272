/* kill.c - a shim (LD_PRELOAD) that ends the program as kill -9 does, right before its KILL_AT-th call that changes a file or a directory
 *
 * What is on the disk then is what the calls before made: run for every number, a program is killed at every moment that leaves something else behind.
 * KILL_RENAME=NAME: only calls that rename something to NAME count. KILL_WITH=N: by signal N, which may be one that the program goes on after.
 * CLOCK_STEP=N: whenever the monotonic clock is looked at, N seconds have passed: what is done every few seconds is done in a short run too. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long
number(const char *name, long none)
{
	const char *text = getenv(name);

	return text ? atol(text) : none;
}

static void
count_one(void)
{
	static long left = -1;

	if (left < 0)
		left = number("KILL_AT", 0);
	if (left > 0 && --left == 0)
		kill(getpid(), (int)number("KILL_WITH", SIGKILL));
}

static void
count(void)
{
	if (!getenv("KILL_RENAME"))
		count_one();
}

static void
count_rename(const char *to)
{
	const char *only = getenv("KILL_RENAME"), *slash = strrchr(to, '/');

	if (!only || strcmp(slash ? slash + 1 : to, only) == 0)
		count_one();
}

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

int
open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	if (flags & (O_CREAT | O_TRUNC))
		count();
	return REAL(open)(path, flags, mode);
}

FILE *
fopen(const char *path, const char *mode)
{
	if (*mode != 'r')
		count();
	return REAL(fopen)(path, mode);
}

size_t
fwrite(const void *p, size_t size, size_t n, FILE *f)
{
	count();
	return REAL(fwrite)(p, size, n, f);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	if (fd != STDERR_FILENO)
		count();
	return REAL(write)(fd, p, n);
}

#define ONE(type, name, parameters, arguments) \
	type \
	name parameters \
	{ \
		count(); \
		return REAL(name) arguments; \
	}
ONE(int, fflush, (FILE *f), (f))
ONE(int, fclose, (FILE *f), (f))
ONE(int, fsync, (int fd), (fd))
ONE(int, ftruncate, (int fd, off_t n), (fd, n))
ONE(int, mkdir, (const char *path, mode_t mode), (path, mode))
ONE(int, rmdir, (const char *path), (path))
ONE(int, symlink, (const char *to, const char *path), (to, path))
ONE(int, unlink, (const char *path), (path))
ONE(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))

int
rename(const char *from, const char *to)
{
	count_rename(to);
	return REAL(rename)(from, to);
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	static long looks;
	int rc = (int)syscall(SYS_clock_gettime, clock, t);

	if (clock == CLOCK_MONOTONIC)
		t->tv_sec += number("CLOCK_STEP", 0) * __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED);
	return rc;
}
