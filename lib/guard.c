/* guard.c - a message and an exit status where a library faults on a damaged file */
#include "guard.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"

static const int caught[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
#define CAUGHT (sizeof caught / sizeof *caught)

static struct sigaction former[CAUGHT];
static int users;
static char before[1024], after[1024];	/* the message, around the reason: made in advance, a handler can only write it */
static _Thread_local volatile sig_atomic_t inside;

void
guard_fail(const char *why)
{
	struct iovec line[] = { { before, strlen(before) }, { (char *)why, strlen(why) }, { after, strlen(after) } };
	ssize_t n = writev(STDERR_FILENO, line, 3);

	(void)n;
	_exit(STATUS_IO);
}

static void
on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (inside)
		guard_fail(sig == SIGBUS ? "a file of it is cut off, or the disk is full" : "LMDB cannot make sense of its pages");
	for (size_t i = 0; i < CAUGHT; i++)
		if (caught[i] == sig)
			sigaction(sig, &former[i], NULL);
	/* A fault happens again by itself when this returns; a signal that was sent does not. */
	if (info->si_code <= 0)
		raise(sig);
}

/* A path in a message: what would break the line or reach the terminal becomes a question mark, as in warn(). */
static void
clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

void
guard_on(const char *dir)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	snprintf(before, sizeof before, "%.100s: cache %.800s is damaged: ", progname, dir);
	snprintf(after, sizeof after - 1, "; remove %.800s/data.mdb", dir);
	clean(before);
	clean(after);
	strcat(after, "\n");
	if (users++ > 0)
		return;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &sa, &former[i]);
}

void
guard_off(void)
{
	if (--users > 0)
		return;
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &former[i], NULL);
}

void
guard_enter(void)
{
	inside++;
}

void
guard_leave(void)
{
	inside--;
}
