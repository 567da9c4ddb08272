/* cache: full maps, full disks and damage */
#include "cache.h"

#include <lmdb.h>
#include <sys/resource.h>

#include "entries.h"
#include "guard.h"

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
main(void)
{
	sem_init(&news, 0, 0);
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
