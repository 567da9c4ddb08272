/* cache: replies kept over kill -9, full maps, full disks and damage */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "t.h"

#define LIMIT ((size_t)256 << 20)

static uint64_t seed = 5;
static sem_t news;	/* posted by the writing thread */

static unsigned
rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % n);
}

static void
on_stored(void *arg)
{
	(void)arg;
	sem_post(&news);
}

/* ---- directories ---- */

static void
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
static const char *
fresh(void)
{
	static char dir[300];

	if (!*dir)
		snprintf(dir, sizeof dir, "%s/cache-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
	clear(dir);
	return dir;
}

static const char *
data_of(const char *dir)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	return path;
}

static size_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

/* ---- entries whose value follows from their number ---- */

static struct cache_key
key(unsigned i)
{
	char body[32];

	snprintf(body, sizeof body, "body %u", i);
	return cache_key("http://x/v1", "/chat/completions", body, strlen(body), 0);
}

/* Of very different lengths: inside a page, on pages of its own, empty. */
static size_t
value(unsigned i, char **p)
{
	static char text[70000];
	size_t n = i % 17 == 0 ? i * 7 % 60000 : i % 5 == 0 ? i * 31 % 5000 : i * 13 % 700;

	for (size_t k = 0; k < n; k++)
		text[k] = (char)(i * 2654435761u >> 7 ^ k * 37);
	*p = text;
	return n;
}

static void
put(struct cache *c, unsigned i)
{
	struct cache_key k = key(i);
	char *p;
	size_t n = value(i, &p);

	cache_put(c, &k, p, n, (void *)(uintptr_t)i);
}

/* The next item that is through, waiting for it. */
static unsigned
next_stored(struct cache *c)
{
	void *item;

	while (!cache_stored(c, &item))
		while (sem_wait(&news) < 0 && errno == EINTR)
			;
	return (unsigned)(uintptr_t)item;
}

/* 1: there and right, 0: not there, -1: an error, -2: there and wrong. */
static int
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

static struct cache *
open_at(const char *dir, size_t limit)
{
	struct err e = { "" };
	struct cache *c = cache_open(dir, limit, on_stored, NULL, &e);

	if (!CHECK(c != NULL))
		printf("#   %s\n", e.msg);
	return c;
}

/* Make a cache of entries 0..n-1. */
static void
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

static int
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
static int
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
static int
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
static int
in_child(void (*fn)(void *arg), void *arg, char *text, size_t max)
{
	struct child c;

	return child_start(&c, fn, arg) < 0 ? -1 : child_end(&c, text, max);
}

/* ---- keys ---- */

static void
the_key_depends_on_every_part(void)
{
	struct cache_key k[6];

	k[0] = cache_key("http://x/v1", "/a", "body", 4, 0);
	k[1] = cache_key("http://y/v1", "/a", "body", 4, 0);
	k[2] = cache_key("http://x/v1", "/b", "body", 4, 0);
	k[3] = cache_key("http://x/v1", "/a", "bodx", 4, 0);
	k[4] = cache_key("http://x/v1", "/a", "body", 3, 0);
	k[5] = cache_key("http://x/v1", "/a", "body", 4, 1);
	for (int i = 0; i < 6; i++)
		for (int j = 0; j < i; j++)
			CHECK(memcmp(&k[i], &k[j], sizeof k[i]) != 0);
	/* For good: caches of earlier versions are read by it. */
	CHECK_BYTES((char *)k[0].b, 4, "\x15\x74\x39\x99", 4);
	k[1] = cache_key("http://x/v1", "/a", "body", 4, 0);
	CHECK(memcmp(&k[0], &k[1], sizeof k[0]) == 0);
}

/* ---- the ordinary way ---- */

static void
what_is_put_is_found_byte_for_byte(void)
{
	const char *dir = fresh();
	struct cache *c;
	struct err e;

	fill(dir, 2000);
	if (!(c = open_at(dir, LIMIT)))
		return;
	for (unsigned i = 0; i < 2000; i++)
		CHECK_INT(look(c, i, &e), 1);
	for (unsigned i = 2000; i < 2100; i++)
		CHECK_INT(look(c, i, &e), 0);
	cache_close(c);
	clear(dir);
}

static void
an_entry_is_seen_once_it_is_stored(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, LIMIT);
	struct err e;

	if (!c)
		return;
	for (unsigned i = 0; i < 50; i++) {
		CHECK_INT(look(c, i, &e), 0);
		put(c, i);
		CHECK_INT(next_stored(c), i);
		CHECK_INT(look(c, i, &e), 1);
	}
	cache_close(c);
	clear(dir);
}

static void
closing_writes_what_is_queued(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, LIMIT);
	struct err e;

	if (!c)
		return;
	for (unsigned i = 0; i < 500; i++)
		put(c, i);
	cache_close(c);
	if (!(c = open_at(dir, LIMIT)))
		return;
	for (unsigned i = 0; i < 500; i++)
		CHECK_INT(look(c, i, &e), 1);
	cache_close(c);
	clear(dir);
}

static void
the_first_reply_stays(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, LIMIT);
	struct buf b = BUF_INIT(100);
	struct cache_key k = key(1);
	struct err e;

	if (!c)
		return;
	cache_put(c, &k, "first", 5, NULL);
	cache_put(c, &k, "second", 6, NULL);
	next_stored(c);
	next_stored(c);
	cache_put(c, &k, "third", 5, NULL);
	next_stored(c);
	CHECK_INT(cache_get(c, &k, &b, &e), 1);
	CHECK_STR(b.p, "first");
	cache_close(c);
	buf_free(&b);
	clear(dir);
}

static void
a_reply_longer_than_the_buffer_may_get_is_an_error(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, LIMIT);
	struct buf b = BUF_INIT(8);
	struct cache_key k = key(1);
	struct err e;

	if (!c)
		return;
	buf_adds(&b, "was");
	cache_put(c, &k, "123456", 6, NULL);
	next_stored(c);
	CHECK_INT(cache_get(c, &k, &b, &e), -1);
	CHECK(strstr(e.msg, "too long"));
	CHECK_STR(b.p, "was");
	cache_close(c);
	buf_free(&b);
	clear(dir);
}

static void
reading_only_makes_nothing(void)
{
	const char *dir = fresh();
	struct cache *c;
	struct err e;

	CHECK(cache_open(dir, LIMIT, NULL, NULL, &e) == NULL);
	CHECK(strstr(e.msg, "No such file"));
	mkdir(dir, 0700);
	CHECK(cache_open(dir, LIMIT, NULL, NULL, &e) == NULL);
	CHECK(strstr(e.msg, "no cache in it"));
	CHECK_INT(size_of(data_of(dir)), 0);
	fill(dir, 100);
	c = cache_open(dir, LIMIT, NULL, NULL, &e);
	if (!CHECK(c != NULL))
		return;
	for (unsigned i = 0; i < 100; i++)
		CHECK_INT(look(c, i, &e), 1);
	CHECK_INT(look(c, 100, &e), 0);
	cache_close(c);
	clear(dir);
}

/* ---- who may touch it ---- */

static void
nobody_else_can_read_it(void)
{
	const char *dir = fresh();
	mode_t old = umask(0);
	struct stat st;

	fill(dir, 3);
	umask(old);
	CHECK(stat(dir, &st) == 0 && (st.st_mode & 07777) == 0700);
	CHECK(stat(data_of(dir), &st) == 0 && (st.st_mode & 07777) == 0600);
	clear(dir);
}

static void
refuses(const char *dir, const char *says)
{
	struct err e = { "" };
	struct cache *c = cache_open(dir, LIMIT, on_stored, NULL, &e);

	CHECK(c == NULL);
	if (!CHECK(strstr(e.msg, says)))
		printf("#   %s\n#   not in it: %s\n", e.msg, says);
	if (c)
		cache_close(c);
}

static void
what_is_not_safe_is_refused(void)
{
	const char *dir = fresh();
	char link[400], target[400];
	FILE *f;

	fill(dir, 3);
	snprintf(link, sizeof link, "%s.link", dir);
	unlink(link);
	CHECK(symlink(dir, link) == 0);
	refuses(link, "is a symbolic link");
	strcat(link, "/");
	refuses(link, "is a symbolic link");
	link[strlen(link) - 1] = 0;
	unlink(link);
	chmod(dir, 0770);
	refuses(dir, "others can write");
	chmod(dir, 0700);
	chmod(data_of(dir), 0666);
	refuses(dir, "others can write");
	chmod(data_of(dir), 0600);
	snprintf(target, sizeof target, "%s.target", dir);
	CHECK(rename(data_of(dir), target) == 0 && symlink(target, data_of(dir)) == 0);
	refuses(dir, "is a link");
	unlink(data_of(dir));
	CHECK(rename(target, data_of(dir)) == 0);
	clear(dir);
	if (CHECK((f = fopen(dir, "w")) != NULL))
		fclose(f);
	refuses(dir, "Not a directory");
	unlink(dir);
	refuses("/nowhere/cache", "cannot make it: No such file");
	refuses("/dev/null", "Not a directory");
}

/* ---- kill -9 ---- */

/* Put entries from `from` on; the number of each that is through goes to the parent. */
static void
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

static void
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
static void
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

static void
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

/* Three write at the same time and are killed wherever they are, again and again, over the same file. */
static void
what_was_reported_survives_kill_9(void)
{
	enum { WRITERS = 3, ROUNDS = 25 };
	struct writer w[WRITERS] = { 0 };
	const char *dir = fresh();
	unsigned reported = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned k = 0; k < WRITERS; k++) {
			w[k].first = w[k].end = (k * ROUNDS + round) * 100000;
			start_writer(&w[k], dir);
		}
		/* The delay is only where the kill falls; nothing depends on how far they came. */
		usleep(rnd(40000));
		for (unsigned k = 0; k < WRITERS; k++) {
			end_writer(&w[k]);
			reported += w[k].end - w[k].first;
		}
		check_reported(dir, w, WRITERS);
	}
	CHECK(reported > 0);
	clear(dir);
}

/* A program that dies without cache_close() leaves its reader slot; neither the table of readers nor the pages that it holds run out. */
static void
get_and_die(void *dir)
{
	struct err e;
	struct cache *c = cache_open(dir, LIMIT, on_stored, NULL, &e);

	if (!c || look(c, 0, &e) != 1)
		_exit(9);
	kill(getpid(), SIGKILL);
}

static void
killed_readers_do_not_fill_the_table(void)
{
	const char *dir = fresh();
	char text[1000];
	int status;

	fill(dir, 10);
	for (int i = 0; i < 550; i++) {	/* the table has 500 places */
		status = in_child(get_and_die, (void *)dir, text, sizeof text);
		if (!CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			break;
	}
	clear(dir);
}

/* ---- full ---- */

/* Put until storing stops; so many were stored at least, and less than eight more. */
static unsigned
put_until_full(struct cache *c, unsigned from, struct err *e)
{
	unsigned i;

	for (i = from; i < from + 20000; i += 8) {	/* eight at a time: each sync takes its time */
		for (unsigned k = 0; k < 8; k++)
			put(c, i + k);
		for (unsigned k = 0; k < 8; k++)
			CHECK_INT(next_stored(c), i + k);
		if (cache_failed(c, e))
			return i;
	}
	CHECK(!"it became full");
	return i;
}

static void
a_full_map_stops_storing_and_dropping_makes_room(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, 2 << 20);
	struct cache_info before, after;
	unsigned n;
	struct err e = { "" };

	if (!c)
		return;
	n = put_until_full(c, 0, &e);
	CHECK(n > 100);
	if (!CHECK(strstr(e.msg, "is full") && strstr(e.msg, "sa-report --cache ") && strstr(e.msg, "--cache-size")))
		printf("#   %s\n", e.msg);
	CHECK(!cache_failed(c, &e));	/* said once */
	put(c, n + 8);
	CHECK_INT(next_stored(c), n + 8);
	CHECK_INT(look(c, n + 8, &e), 0);
	for (unsigned i = 0; i < n; i++)
		CHECK_INT(look(c, i, &e), 1);
	cache_close(c);
	CHECK(cache_info(dir, &before, &e) == 0);
	CHECK(before.entries >= n && before.entries < n + 8);
	CHECK(before.oldest > 1600000000 && before.newest >= before.oldest);
	CHECK_INT(cache_drop(dir, before.oldest, &e), 0);
	CHECK_INT(cache_drop(dir, before.newest + 1, &e), before.entries);
	CHECK(cache_info(dir, &after, &e) == 0);
	CHECK_INT(after.entries, 0);
	CHECK_INT(after.bytes, 0);
	CHECK_INT(after.oldest, 0);
	CHECK(after.file_bytes < before.file_bytes / 10);
	if (!(c = open_at(dir, 2 << 20)))
		return;
	CHECK(put_until_full(c, 0, &e) > n / 2);
	cache_close(c);
	clear(dir);
}

static void
dropping_while_it_is_in_use_leaves_the_file_in_place(void)
{
	const char *dir = fresh();
	struct cache *c;
	struct writer w = { 0 };
	unsigned i;
	size_t was;
	struct err e;

	fill(dir, 1000);
	w.first = w.end = 5000;
	start_writer(&w, dir);
	if (CHECK(read(w.fd, &i, sizeof i) == sizeof i))	/* it is open there */
		CHECK_INT(i, w.end++);
	was = size_of(data_of(dir));
	CHECK(cache_drop(dir, time(NULL) + 100, &e) >= 1000);
	CHECK(size_of(data_of(dir)) >= was);
	for (int k = 0; k < 100 && CHECK(read(w.fd, &i, sizeof i) == sizeof i); k++)	/* and it goes on there */
		CHECK_INT(i, w.end++);
	w.first = w.end;
	if (CHECK(read(w.fd, &i, sizeof i) == sizeof i))
		CHECK_INT(i, w.end++);
	end_writer(&w);
	w.first += 50;	/* those before may have been put before the drop: at most 40 are queued */
	check_reported(dir, &w, 1);
	if (!(c = open_at(dir, LIMIT)))
		return;
	for (i = 0; i < 1000; i++)
		CHECK_INT(look(c, i, &e), 0);
	cache_close(c);
	clear(dir);
}

/* A disk that takes no more, as far as a test can have one: a limit on the file's size. */
static void
small_disk(void *arg)
{
	struct rlimit limit = { 1 << 20, RLIM_INFINITY };
	struct cache *c = open_at(arg, LIMIT);
	struct err e = { "" };
	unsigned n;

	if (!c || setrlimit(RLIMIT_FSIZE, &limit) < 0)
		_exit(9);
	n = put_until_full(c, 0, &e);
	warn("%s", e.msg);
	for (unsigned i = 0; i < n; i++)
		if (look(c, i, &e) != 1)
			_exit(8);
	cache_close(c);
	_exit(n > 50 ? 0 : 7);
}

static void
a_full_disk_stops_storing(void)
{
	const char *dir = fresh();
	char text[1000];
	struct cache *c;
	struct err e;

	CHECK_INT(in_child(small_disk, (void *)dir, text, sizeof text), 0);
	/* A write that begins before the limit is cut short there, which is an input/output error to LMDB. */
	if (!CHECK(strstr(text, "File too large: nothing more is stored") || strstr(text, "the disk is full: nothing more is stored")))
		printf("#   %s\n", text);
	if (!(c = open_at(dir, LIMIT)))
		return;
	for (unsigned i = 0; i < 50; i++)
		CHECK_INT(look(c, i, &e), 1);
	cache_close(c);
	clear(dir);
}

/* ---- another process makes it larger ---- */

static void
fill_large(void *dir)
{
	fill(dir, 3000);
	_exit(t_bad ? 9 : 0);
}

static void
a_map_that_another_process_made_larger_is_adopted(void)
{
	const char *dir = fresh();
	struct child other;
	struct cache *c;
	char text[1000];
	struct err e = { "" };

	if (child_start(&other, fill_large, (void *)dir) < 0 || !(c = open_at(dir, 1 << 20)))
		return;
	CHECK_INT(look(c, 1, &e), 0);
	CHECK_INT(child_end(&other, text, sizeof text), 0);
	CHECK(size_of(data_of(dir)) > 2 << 20);
	for (unsigned i = 0; i < 3000; i++)
		if (!CHECK_INT(look(c, i, &e), 1))
			printf("#   %s\n", e.msg);
	put(c, 3000);
	CHECK_INT(next_stored(c), 3000);
	CHECK(!cache_failed(c, &e));
	CHECK_INT(look(c, 3000, &e), 1);
	cache_close(c);
	/* The same, with the writer first. */
	clear(dir);
	if (child_start(&other, fill_large, (void *)dir) < 0 || !(c = open_at(dir, 1 << 20)))
		return;
	CHECK_INT(child_end(&other, text, sizeof text), 0);
	put(c, 3000);
	CHECK_INT(next_stored(c), 3000);
	CHECK(!cache_failed(c, &e));
	CHECK_INT(look(c, 3000, &e), 1);
	cache_close(c);
	clear(dir);
}

/* ---- damage ---- */

static void
overwrite(const char *path, size_t at, const void *p, size_t n)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && pwrite(fd, p, n, (off_t)at) == (ssize_t)n);
	close(fd);
}

static void
a_wrong_byte_in_a_reply_is_found_out(void)
{
	const char *dir = fresh();
	struct cache *c = open_at(dir, LIMIT);
	struct cache_key k = key(1);
	struct buf b = BUF_INIT(1 << 20);
	char *p;
	struct err e;

	if (!c)
		return;
	cache_put(c, &k, "a reply that can be found again", 31, NULL);
	next_stored(c);
	cache_close(c);
	CHECK(buf_read_file(&b, data_of(dir), &e) == 0);
	if (CHECK((p = memmem(b.p, b.n, "a reply that", 12)) != NULL))
		overwrite(data_of(dir), (size_t)(p - b.p) + 3, "X", 1);
	buf_clear(&b);
	if (!(c = open_at(dir, LIMIT)))
		return;
	CHECK_INT(cache_get(c, &k, &b, &e), -1);
	CHECK_INT(b.n, 0);
	if (!CHECK(strstr(e.msg, "is damaged: the checksum of an entry is wrong; remove ") && strstr(e.msg, "/data.mdb")))
		printf("#   %s\n", e.msg);
	/* One that is put again replaces it. */
	cache_put(c, &k, "new", 3, NULL);
	next_stored(c);
	CHECK_INT(cache_get(c, &k, &b, &e), 1);
	CHECK_STR(b.p, "new");
	cache_close(c);
	buf_free(&b);
	clear(dir);
}

/* Use a damaged file in every way; exit 0: all that came out was right or not there, 3: an error with a message, 7: a wrong reply. */
static void
use_damaged(void *arg)
{
	const char *dir = arg;
	struct err e = { "" };
	struct cache *c;
	int rc, bad = 0;
	void *item;

	alarm(100);
	c = cache_open(dir, LIMIT, on_stored, NULL, &e);
	if (!c) {
		warn("%s", e.msg);
		_exit(3);
	}
	for (unsigned i = 0; i < 120; i++) {
		rc = look(c, i, &e);
		if (rc == -2)
			_exit(7);
		bad |= rc < 0;
	}
	for (unsigned i = 1000; i < 1010; i++)
		put(c, i);
	for (unsigned i = 0; i < 10; i++)
		next_stored(c);
	bad |= cache_failed(c, &e);
	for (unsigned i = 1000; i < 1010; i++) {
		rc = look(c, i, &e);
		if (rc == -2)
			_exit(7);
		bad |= rc < 0;
	}
	while (cache_stored(c, &item))
		;
	cache_close(c);
	bad |= cache_drop(dir, 1, &e) < 0;
	if (bad)
		warn("%s", e.msg);
	_exit(bad ? 3 : 0);
}

/* Random bytes, bits, zeros or a piece of another page, up to 4 places; or the file cut off. */
static void
damage(struct buf *b)
{
	unsigned places = 1 + rnd(4);

	if (rnd(10) == 0) {
		b->n = rnd((unsigned)b->n);
		return;
	}
	while (places-- > 0) {
		/* Half of them near the beginning of a page, where its head and the places of its entries are. */
		size_t at = rnd(2) ? rnd((unsigned)b->n) : rnd((unsigned)(b->n / 4096)) * 4096 + rnd(80);
		size_t n = 1 + rnd(rnd(3) ? 8 : 5000), from = rnd((unsigned)b->n);
		unsigned how = rnd(4);

		for (size_t i = 0; i < n && at + i < b->n && from + i < b->n; i++)
			b->p[at + i] = how == 0 ? (char)rnd(256) : how == 1 ? 0 : how == 2 ? (char)(b->p[at + i] ^ 1 << rnd(8)) : b->p[from + i];
	}
}

static void
write_file(const char *path, const struct buf *b)
{
	FILE *f = fopen(path, "w");

	CHECK(f && fwrite(b->p, 1, b->n, f) == b->n);
	if (f)
		fclose(f);
}

/* Writing into damaged pages, LMDB may overrun its own memory: the sanitizer then ends the program where the fault would have come later. */
static bool
sanitizer_stopped_lmdb(const char *text)
{
	return strstr(text, "Sanitizer") && strstr(text, "liblmdb");
}

static void
damage_never_gives_a_wrong_reply_or_a_bare_crash(void)
{
	struct buf good = BUF_INIT(64 << 20), b = BUF_INIT(64 << 20);
	int rounds = getenv("CACHE_FUZZ") ? atoi(getenv("CACHE_FUZZ")) : 120, count[5] = { 0 };
	const char *dir = fresh();
	char text[4000];
	struct err e;

	fill(dir, 120);
	CHECK(buf_read_file(&good, data_of(dir), &e) == 0);
	for (int i = 0; i < rounds; i++) {
		uint64_t was = seed;
		int status, code;

		buf_clear(&b);
		buf_add(&b, good.p, good.n);
		damage(&b);
		write_file(data_of(dir), &b);
		status = in_child(use_damaged, (void *)dir, text, sizeof text);
		code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		if (sanitizer_stopped_lmdb(text))
			continue;
		if (CHECK(code == 0 || code == 3 || code == STATUS_IO))
			count[code]++;
		else
			printf("#   seed %llu: status %x: %s\n", (unsigned long long)was, (unsigned)status, text);
		if (code == STATUS_IO && !CHECK(strstr(text, " is damaged: ") && strstr(text, "/data.mdb\n")))
			printf("#   %s\n", text);
		if (code == 3 && !CHECK(strstr(text, "cache ") && strstr(text, ": ")))
			printf("#   %s\n", text);
	}
	CHECK(count[0] > 0 && count[3] > 0 && count[STATUS_IO] > 0);
	if (getenv("CACHE_FUZZ"))
		printf("# %d right, %d errors, %d ended with the message\n", count[0], count[3], count[STATUS_IO]);
	buf_free(&good);
	buf_free(&b);
	clear(dir);
}

static void
a_damaged_lock_file_does_no_harm(void)
{
	const char *dir = fresh();
	struct cache *c;
	char path[400];
	struct err e;

	fill(dir, 50);
	snprintf(path, sizeof path, "%s/lock.mdb", dir);
	for (int round = 0; round < 50; round++) {
		char junk[300];

		for (size_t i = 0; i < sizeof junk; i++)
			junk[i] = (char)rnd(256);
		overwrite(path, rnd(500), junk, 1 + rnd(300));
		if (!(c = open_at(dir, LIMIT)))
			break;
		CHECK_INT(look(c, 7, &e), 1);
		put(c, 100 + (unsigned)round);
		next_stored(c);
		CHECK(!cache_failed(c, &e));
		cache_close(c);
	}
	clear(dir);
}

/* ---- faults that are not the cache's ---- */

static void
fault_outside(void *dir)
{
	struct cache *c = open_at(dir, LIMIT);

	if (c)
		raise(SIGSEGV);
	_exit(9);
}

static void
fault_inside(void *dir)
{
	struct cache *c = open_at(dir, LIMIT);

	guard_enter();
	if (c)
		raise(SIGSEGV);
	_exit(9);
}

static void
hit(int sig)
{
	(void)sig;
	_exit(42);
}

static void
fault_with_a_handler(void *dir)
{
	signal(SIGSEGV, hit);
	fault_outside(dir);
}

static void
a_fault_elsewhere_has_the_effect_that_it_had(void)
{
	const char *dir = fresh();
	char text[4000];
	int status = in_child(fault_outside, (void *)dir, text, sizeof text);

	CHECK(!WIFEXITED(status) || (WEXITSTATUS(status) != STATUS_IO && WEXITSTATUS(status) != 9));
	CHECK(!strstr(text, "is damaged"));
	status = in_child(fault_with_a_handler, (void *)dir, text, sizeof text);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	status = in_child(fault_inside, (void *)dir, text, sizeof text);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_IO);
	CHECK(strstr(text, "is damaged: "));
	clear(dir);
}

int
main(int argc, char **argv)
{
	sem_init(&news, 0, 0);
	if (argc == 4 && strcmp(argv[1], "--fill") == 0) {	/* DIR N: a cache for tests/sa-report.bats */
		fill(argv[2], (unsigned)atoi(argv[3]));
		return t_bad > 0;
	}
	RUN(the_key_depends_on_every_part);
	RUN(what_is_put_is_found_byte_for_byte);
	RUN(an_entry_is_seen_once_it_is_stored);
	RUN(closing_writes_what_is_queued);
	RUN(the_first_reply_stays);
	RUN(a_reply_longer_than_the_buffer_may_get_is_an_error);
	RUN(reading_only_makes_nothing);
	RUN(nobody_else_can_read_it);
	RUN(what_is_not_safe_is_refused);
	RUN(what_was_reported_survives_kill_9);
	RUN(killed_readers_do_not_fill_the_table);
	RUN(a_full_map_stops_storing_and_dropping_makes_room);
	RUN(dropping_while_it_is_in_use_leaves_the_file_in_place);
	RUN(a_full_disk_stops_storing);
	RUN(a_map_that_another_process_made_larger_is_adopted);
	RUN(a_wrong_byte_in_a_reply_is_found_out);
	RUN(damage_never_gives_a_wrong_reply_or_a_bare_crash);
	RUN(a_damaged_lock_file_does_no_harm);
	RUN(a_fault_elsewhere_has_the_effect_that_it_had);
	return t_done();
}
