/* err.c - messages, exit statuses, allocators that may exit */
#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *progname = "sa";
static bool quiet;

int
err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return -1;
}

/* A descriptor 0-2 that is closed would become some file of ours, and records or messages would be written into it; a read or write of it
 * still fails as it should. */
static void
hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

void
prog_init(const char *argv0)
{
	const char *slash;

	hold_standard_descriptors();
	/* A tree that lacks what there was no memory for looks like any other, and would be written as if it were whole. */
	json_set_alloc_funcs(xmalloc, free);
	if (!argv0 || !*argv0)
		return;
	slash = strrchr(argv0, '/');
	progname = slash && slash[1] ? slash + 1 : argv0;
}

static void
say(const char *fmt, va_list ap)
{
	char line[4096];
	int head, n;

	head = snprintf(line, 256, "%s: ", progname);
	if (head > 255)
		head = 255;
	n = vsnprintf(line + head, sizeof line - head, fmt, ap);
	n = n < 0 ? head : n + head;
	if (n > (int)sizeof line - 1)
		n = sizeof line - 1;
	/* A message quotes input and argv: a control byte in it must neither break the line nor reach the terminal. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[n] = '\n';
	while (write(STDERR_FILENO, line, n + 1) < 0 && errno == EINTR)
		;
}

void
warn_quiet(void)
{
	quiet = true;
}

void
vwarn(const char *fmt, va_list ap)
{
	if (!quiet)
		say(fmt, ap);
}

void
warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwarn(fmt, ap);
	va_end(ap);
}

void
die(enum exit_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	exit(status);
}

void *
xreallocarray(void *p, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n) || n > PTRDIFF_MAX)
		die(STATUS_IO, "out of memory");
	p = realloc(p, n ? n : 1);
	if (!p)
		die(STATUS_IO, "out of memory");
	return p;
}

void *
xmalloc(size_t n)
{
	return xreallocarray(NULL, n, 1);
}

void *
xrealloc(void *p, size_t n)
{
	return xreallocarray(p, n, 1);
}

void *
xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		die(STATUS_IO, "out of memory");
	return p;
}

char *
xstrdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(xmalloc(n), s, n);
}

char *
xstrndup(const char *s, size_t n)
{
	char *p;

	n = strnlen(s, n);
	p = xmalloc(n + 1);
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}
