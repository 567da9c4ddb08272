/* cache: replies kept, by several processes, over kill -9 */
#include "cache.h"

#include "entries.h"

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
	return t_done();
}
