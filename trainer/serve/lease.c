/* lease.c - see lease.h */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "listen.h"

struct leases {
	char *path, *lock_path;
	int listener, epoll, lock;	/* lock: -1 while not held */
	int open;			/* leases */
	int64_t end;			/* ms: when nobody needs the server, unless a lease is open */
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
watch(struct leases *l, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static char *
join(const char *prefix, const char *suffix)
{
	char *p = xmalloc(strlen(prefix) + strlen(suffix) + 1);

	strcpy(p, prefix);
	return strcat(p, suffix);
}

struct leases *
leases_open(const char *prefix, struct err *e)
{
	struct leases *l = xcalloc(1, sizeof *l);

	l->path = join(prefix, ".lease");
	l->lock_path = join(prefix, ".lock");
	l->lock = -1;
	l->end = now_ms() + LEASE_FIRST * 1000;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->listener = listen_unix(l->path, true, e);
	if (l->listener >= 0 && watch(l, l->listener) == 0)
		return l;
	if (l->listener >= 0)
		err_set(e, "%s: %s", l->path, strerror(errno));
	leases_close(l);
	return NULL;
}

int
leases_fd(const struct leases *l)
{
	return l->epoll;
}

int
leases_wait(const struct leases *l)
{
	int64_t left = l->end - now_ms();

	return l->open > 0 ? -1 : left > 0 ? left : 0;
}

static void
take_new(struct leases *l)
{
	int fd;

	while ((fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		if (watch(l, fd) == 0)
			l->open++;
		else
			close(fd);
	}
}

/* A client has nothing to say here: whatever it sends is dropped, its end is the end of the lease. */
static void
look_at(struct leases *l, int fd)
{
	char junk[256];
	ssize_t n = read(fd, junk, sizeof junk);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	close(fd);
	if (--l->open == 0)
		l->end = now_ms() + LEASE_IDLE * 1000;
}

static void
take_in(struct leases *l)
{
	struct epoll_event ev[64];
	int n;

	while ((n = epoll_wait(l->epoll, ev, 64, 0)) > 0)
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == l->listener)
				take_new(l);
			else
				look_at(l, ev[i].data.fd);
		}
}

static bool
get_lock(struct leases *l)
{
	l->lock = open(l->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->lock >= 0 && flock(l->lock, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (l->lock >= 0)
		close(l->lock);
	l->lock = -1;
	return false;
}

bool
leases_over(struct leases *l)
{
	take_in(l);
	if (l->open > 0 || now_ms() < l->end)
		return false;
	if (get_lock(l)) {
		take_in(l);
		if (l->open == 0)
			return true;
		close(l->lock);
		l->lock = -1;
		return false;
	}
	l->end = now_ms() + LEASE_IDLE * 1000;
	return false;
}

void
leases_close(struct leases *l)
{
	if (l->listener >= 0) {
		unlink(l->path);
		close(l->listener);
	}
	if (l->epoll >= 0)
		close(l->epoll);
	if (l->lock >= 0)
		close(l->lock);
	free(l->path);
	free(l->lock_path);
	free(l);
}
