/* err.h - messages, exit statuses and the allocators that may exit
 *
 * A library function that can fail returns -1 or NULL and leaves one line in a `struct err` of its caller's: what went wrong
 * and where (file, line, tensor), no newline, no program name. Only main(), die() and the x-allocators end the program.
 * Every diagnostic is "program: message\n", written to standard error in one write. */
#ifndef SA_ERR_H
#define SA_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define SA_VERSION "0.1.0"

/* Exit statuses, the same in every program (sa(7), EXIT STATUS). Never 126, 127 or 255: xargs stops on 255. */
enum exit_status {
	STATUS_OK = 0,		/* all records done */
	STATUS_FAILED = 1,	/* some records failed */
	STATUS_USAGE = 2,	/* usage or configuration: options, prompt file, checkpoint */
	STATUS_ENDPOINT = 3,	/* the endpoint is unusable: connection or authorisation */
	STATUS_IO = 4,		/* input or output error, a full disk included */
	STATUS_BUDGET = 5,	/* a spending limit was reached */
};

struct err {
	char msg[512];
};

/* Format the message; always returns -1, so that `return err_set(e, ...)` reads well. `e` may be NULL. */
int err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The name that diagnostics carry: the last component of argv[0]. prog_init() sets it, first thing in main(), before any file is opened:
 * it also sees to it that none gets the number of a standard descriptor that is closed, and that jansson allocates by xmalloc(). */
extern const char *progname;
void prog_init(const char *argv0);

void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vwarn(const char *fmt, va_list ap);
void warn_quiet(void);	/* the two say nothing from now on, die() still does: another process of the same run says it */
_Noreturn void die(enum exit_status status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Allocate or die(STATUS_IO, "out of memory"). Sizes are multiplied with an overflow check; the caller frees with free(). */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);

#endif
