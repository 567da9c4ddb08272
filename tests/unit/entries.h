/* entries.h - directories, entries whose value follows from their number, and children: what the tests of the cache share */
#ifndef ENTRIES_H
#define ENTRIES_H

#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define LIMIT ((size_t)256 << 20)

static uint64_t seed = 5;
static sem_t news;	/* posted by the writing thread; main() makes it */

static inline unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % n);
}

static inline void
on_stored(void *arg)
{
	(void)arg;
	sem_post(&news);
}

/* ---- directories ---- */

static inline void
clear(const char *dir)
{
	static const char *const name[] = { "data.mdb", "lock.mdb", "data.mdb.new" };
	char path[400];

	for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, name[i]);
		unlink(path);
	}
	if (rmdir(dir) < 0)
		unlink(dir);
}

/* The path of a directory that is not there, in $TMPDIR; one for all tests, each of which leaves it removed. */
static inline const char *
fresh(void)
{
	static char dir[300];

	if (!*dir)
		snprintf(dir, sizeof dir, "%s/cache-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
	clear(dir);
	return dir;
}

static inline const char *
data_of(const char *dir)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	return path;
}

static inline size_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

/* ---- entries whose value follows from their number ---- */

static inline struct cache_key
key(unsigned i)
{
	char body[32];

	snprintf(body, sizeof body, "body %u", i);
	return cache_key("http://x/v1", "/chat/completions", body, strlen(body), 0);
}

/* Of very different lengths: inside a page, on pages of its own, empty. */
static inline size_t
value(unsigned i, char **p)
{
	static char text[70000];
	size_t n = i % 17 == 0 ? i * 7 % 60000 : i % 5 == 0 ? i * 31 % 5000 : i * 13 % 700;

	for (size_t k = 0; k < n; k++)
		text[k] = (char)(i * 2654435761u >> 7 ^ k * 37);
	*p = text;
	return n;
}

static inline void
put(struct cache *c, unsigned i)
{
	struct cache_key k = key(i);
	char *p;
	size_t n = value(i, &p);

	cache_put(c, &k, p, n, (void *)(uintptr_t)i);
}

/* The next item that is through, waiting for it. */
static inline unsigned
next_stored(struct cache *c)
{
	void *item;

	while (!cache_stored(c, &item))
		while (sem_wait(&news) < 0 && errno == EINTR)
			;
	return (unsigned)(uintptr_t)item;
}

/* 1: there and right, 0: not there, -1: an error, -2: there and wrong. */
static inline int
look(struct cache *c, unsigned i, struct err *e)
{
	struct buf b = BUF_INIT(100000);
	struct cache_key k = key(i);
	char *p;
	size_t n = value(i, &p);
	int rc = cache_get(c, &k, &b, e);

	if (rc == 1 && (b.n != n || (n && memcmp(b.p, p, n) != 0)))
		rc = -2;
	buf_free(&b);
	return rc;
}

static inline struct cache *
open_at(const char *dir, size_t limit)
{
	struct err e = { "" };
	struct cache *c = cache_open(dir, limit, on_stored, NULL, &e);

	if (!CHECK(c != NULL))
		printf("#   %s\n", e.msg);
	return c;
}

/* Make a cache of entries 0..n-1. */
static inline void
fill(const char *dir, unsigned n)
{
	struct cache *c = open_at(dir, LIMIT);
	struct err e;

	if (!c)
		return;
	for (unsigned i = 0; i < n; i++)
		put(c, i);
	for (unsigned i = 0; i < n; i++)
		CHECK_INT(next_stored(c), i);
	CHECK(!cache_failed(c, &e));
	cache_close(c);
}

/* ---- in another process ---- */

static inline int
status_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

struct child {
	pid_t pid;
	int go, err;	/* a byte into the one starts it; the other is its standard error */
};

/* A child that waits for child_end() before it calls fn: made before this process has threads, as ThreadSanitizer cannot follow one made after. */
static inline int
child_start(struct child *c, void (*fn)(void *arg), void *arg)
{
	int go[2], err[2];
	char byte;

	fflush(stdout);
	if (!CHECK(pipe(go) == 0) || !CHECK(pipe(err) == 0) || !CHECK((c->pid = fork()) >= 0))
		return -1;
	if (c->pid == 0) {
		dup2(err[1], STDERR_FILENO);
		close(err[0]);
		close(err[1]);
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(10);
		signal(SIGXFSZ, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	close(go[0]);
	close(err[1]);
	c->go = go[1];
	c->err = err[0];
	return 0;
}

/* Let it run; its standard error as text. Its status, as of waitpid(). */
static inline int
child_end(struct child *c, char *text, size_t max)
{
	size_t at = 0;
	ssize_t n;

	CHECK(write(c->go, "", 1) == 1);
	close(c->go);
	while (at < max - 1 && (n = read(c->err, text + at, max - 1 - at)) > 0)
		at += (size_t)n;
	text[at] = 0;
	close(c->err);
	return status_of(c->pid);
}

/* Run `fn` in a child; its wait status, what it wrote on standard error in text[]. */
static inline int
in_child(void (*fn)(void *arg), void *arg, char *text, size_t max)
{
	struct child c;

	return child_start(&c, fn, arg) < 0 ? -1 : child_end(&c, text, max);
}

/* ---- writers that are killed ---- */

/* Put entries from `from` on; the number of each that is through goes to the parent. */
static inline void
write_for_ever(const char *dir, unsigned from, int fd)
{
	struct err e;
	struct cache *c = cache_open(dir, LIMIT, on_stored, NULL, &e);
	unsigned put_up_to = from, i;

	if (!c)
		_exit(9);
	for (;;) {
		while (put_up_to < from + 40 || put_up_to % 16)
			put(c, put_up_to++);
		i = next_stored(c);
		if (cache_failed(c, &e) || write(fd, &i, sizeof i) != sizeof i)
			_exit(8);
		from = i + 1;
	}
}

struct writer {
	pid_t pid;
	int fd;
	unsigned first, end;	/* [first, end) were reported */
};

static inline void
start_writer(struct writer *w, const char *dir)
{
	int fd[2];

	fflush(stdout);
	if (!CHECK(pipe(fd) == 0))
		return;
	w->pid = fork();
	if (w->pid == 0) {
		close(fd[0]);
		write_for_ever(dir, w->first, fd[1]);
	}
	close(fd[1]);
	w->fd = fd[0];
}

/* What was reported before the kill, in order. */
static inline void
end_writer(struct writer *w)
{
	unsigned i;
	int status;

	kill(w->pid, SIGKILL);
	while (read(w->fd, &i, sizeof i) == sizeof i)
		CHECK_INT(i, w->end++);
	close(w->fd);
	status = status_of(w->pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static inline void
check_reported(const char *dir, const struct writer *w, unsigned n)
{
	struct cache *c = open_at(dir, LIMIT);
	struct err e = { "" };

	for (unsigned k = 0; c && k < n; k++)
		for (unsigned i = w[k].first; i < w[k].end; i++)
			if (!CHECK_INT(look(c, i, &e), 1))
				printf("#   %u: %s\n", i, e.msg);
	if (c)
		cache_close(c);
}

#endif
