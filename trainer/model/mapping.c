/* mapping.c - see mapping.h */
#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static LIST_HEAD(, mapping) all = LIST_HEAD_INITIALIZER(all);	/* for the handler; it runs in a thread that reads one of them, which then stays */
static struct sigaction former;

struct mapping *
mapping_open(const char *path, struct err *e)
{
	struct mapping *m = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < 8) {
		err_set(e, "%s: not a safetensors file: shorter than its header", path);
		goto out;
	}
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		err_set(e, "%s: %s", path, strerror(errno));
		goto out;
	}
	madvise(p, st.st_size, MADV_HUGEPAGE);	/* what is not in the page cache yet comes in huge pages, where the file system can do that */
	m = xcalloc(1, sizeof *m);
	*m = (struct mapping){ .path = xstrdup(path), .p = p, .n = st.st_size, .fd = fd };
	LIST_INSERT_HEAD(&all, m, link);
	return m;
out:
	if (fd >= 0)
		close(fd);
	return NULL;
}

void
mapping_close(struct mapping *m)
{
	LIST_REMOVE(m, link);
	munmap(m->p, m->n);
	close(m->fd);
	free(m->path);
	free(m);
}

/* Append s to the line, as far as it fits: what would break the line or reach the terminal becomes a question mark, as in warn(). */
static size_t
put(char *line, size_t n, size_t max, const char *s)
{
	for (; *s && n < max; s++)
		line[n++] = (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s;
	return n;
}

/* In a handler: no formatting, no allocation. */
static _Noreturn void
fail(const struct mapping *m)
{
	char line[1024];
	size_t n = put(line, 0, 100, progname);
	ssize_t rc;

	n = put(line, n, sizeof line, ": ");
	n = put(line, n, sizeof line - 100, m->path);
	n = put(line, n, sizeof line - 1, ": cut off while it was in use, or it cannot be read");
	line[n++] = '\n';
	rc = write(STDERR_FILENO, line, n);
	(void)rc;
	_exit(STATUS_IO);
}

static void
on_fault(int sig, siginfo_t *info, void *context)
{
	const uint8_t *at = info->si_addr;
	const struct mapping *m;

	(void)context;
	if (info->si_code > 0)
		LIST_FOREACH(m, &all, link)
			if (at >= m->p && at < m->p + m->n)
				fail(m);
	sigaction(sig, &former, NULL);
	/* A fault happens again by itself when this returns; a signal that was sent does not. */
	if (info->si_code <= 0)
		raise(sig);
}

void
mapping_guard(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, &former);
}
