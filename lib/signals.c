/* signals.c - SIGINT and SIGTERM while a loop runs */

#include "signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int caught;
static uv_async_t *_Atomic waked;
static struct sigaction old_interrupt, old_terminate, old_pipe;

static void
on_signal(int sig)
{
	uv_async_t *wake = waked;
	int none = 0;

	if (!atomic_compare_exchange_strong(&caught, &none, sig)) {
		signal(sig, SIG_DFL);
		raise(sig);	/* delivered when this returns */
	} else if (wake) {
		uv_async_send(wake);
	}
}

/* No SA_RESTART is needed: a write that comes back is gone on with. */
static void
take(int sig, struct sigaction *old)
{
	struct sigaction handle = { .sa_handler = on_signal };

	sigaction(sig, &handle, old);
	if (old->sa_handler == SIG_IGN)
		sigaction(sig, old, NULL);
}

void
signals_take(uv_async_t *wake)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	caught = 0;
	waked = wake;
	sigaction(SIGPIPE, &ignore, &old_pipe);
	take(SIGINT, &old_interrupt);
	take(SIGTERM, &old_terminate);
}

int
signals_caught(void)
{
	return caught;
}

void
signals_no_wake(void)
{
	waked = NULL;
}

void
signals_give_back(void)
{
	sigaction(SIGINT, &old_interrupt, NULL);
	sigaction(SIGTERM, &old_terminate, NULL);
	sigaction(SIGPIPE, &old_pipe, NULL);
}

void
signals_die(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + sig);
}
