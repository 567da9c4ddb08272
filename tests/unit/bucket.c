/* bucket - requests and tokens a minute, shared by processes: the pace in virtual time, the file with real processes */

#include "bucket.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gcra.h"
#include "t.h"

#define MS 1000000ull
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define START (1000 * SECOND)	/* of virtual time */

/* ---- virtual time ---- */

static double
uniform(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (double)(*seed >> 11) / (double)(1ull << 53);
}

/* Eight processes, each with one reserved ahead and timers up to 2 ms late; now and then one is stopped for 300 ms, and one is killed while it holds a place. */
static size_t
simulate(double rpm, int minutes, uint64_t *sent, size_t most)
{
	uint64_t cost = (uint64_t)(MINUTE / rpm), seed = 5, at[8];
	struct gcra g = { 0 };
	size_t n = 0;

	for (int i = 0; i < 8; i++)
		at[i] = START + (uint64_t)i;
	for (uint64_t place[8] = { 0 };;) {
		int p = 0;

		for (int i = 1; i < 8; i++)
			if (at[i] < at[p])
				p = i;
		if (at[p] > START + (uint64_t)minutes * MINUTE)
			return n;
		if (place[p] && (p != 3 || at[p] < START + 30 * SECOND) && n < most)
			sent[n++] = at[p];
		place[p] = gcra_take(&g, at[p], cost);
		if (p == 3 && at[p] >= START + 30 * SECOND) {
			at[p] = UINT64_MAX;
			continue;
		}
		if (gcra_due(&g, place[p]) > at[p])
			at[p] = gcra_due(&g, place[p]) + (uint64_t)(uniform(&seed) * 2 * MS) + (uniform(&seed) < 0.001 ? 300 * MS : 0);
	}
}

static void
any_minute_is_within_two_percent_of_the_limit(void)
{
	static const double limits[] = { 3, 60, 600, 6000, 60000 };
	static uint64_t sent[200000];

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		size_t n = simulate(limits[i], 3, sent, sizeof sent / sizeof *sent), end = 0, least = SIZE_MAX, most = 0;

		for (size_t from = 0; from < n; from++) {
			while (end < n && sent[end] < sent[from] + MINUTE)
				end++;
			if (end - from > most)
				most = end - from;
			if (sent[from] > START + SECOND && end < n && end - from < least)
				least = end - from;
		}
		if (!CHECK((double)most <= 1.02 * limits[i] + 1) || !CHECK((double)least >= 0.98 * limits[i] - 1))
			printf("# limit %g: %zu to %zu in a minute\n", limits[i], least, most);
	}
}

static void
a_few_a_minute_are_spread_and_the_first_goes_at_once(void)
{
	struct gcra g = { 0 };
	uint64_t first = gcra_take(&g, START, 20 * SECOND);

	CHECK(gcra_due(&g, first) <= START);
	CHECK_INT(gcra_take(&g, START, 20 * SECOND), first + 20 * SECOND);
	CHECK_INT(gcra_take(&g, START, 20 * SECOND), first + 40 * SECOND);
	/* Idle for an hour: no more saved than the burst. */
	CHECK_INT(gcra_take(&g, START + 3600 * SECOND, 20 * SECOND), START + 3600 * SECOND - GCRA_BURST);
}

static void
different_limits_go_by_their_own_interval(void)
{
	struct gcra g = { 0 };
	uint64_t first = gcra_take(&g, START, SECOND);

	CHECK_INT(gcra_take(&g, START, 10 * SECOND), first + SECOND);
	CHECK_INT(gcra_take(&g, START, SECOND), first + 11 * SECOND);
}

static void
what_is_given_back_is_everybodys_at_once(void)
{
	struct gcra g = { 0 };
	uint64_t big = gcra_take(&g, START, 60 * SECOND), waiting = gcra_take(&g, START, 30 * SECOND);

	CHECK_INT(gcra_due(&g, waiting), gcra_due(&g, big) + 60 * SECOND);
	gcra_back(&g, 57 * (int64_t)SECOND);
	CHECK_INT(gcra_due(&g, waiting), START - GCRA_BURST + 3 * SECOND);
	CHECK_INT(gcra_due(&g, gcra_take(&g, START, 1)), START - GCRA_BURST + 33 * SECOND);
	gcra_back(&g, -10 * (int64_t)SECOND);
	CHECK_INT(gcra_due(&g, waiting), START - GCRA_BURST + 13 * SECOND);
	gcra_give(&g, 30 * SECOND);
	CHECK_INT(gcra_due(&g, gcra_take(&g, START, 1)), START - GCRA_BURST + 13 * SECOND + 1);
	/* More given back than was ever taken saves no more than the burst. */
	gcra_back(&g, 1000 * (int64_t)SECOND);
	CHECK_INT(gcra_due(&g, gcra_take(&g, START, 1)), START - GCRA_BURST);
}

static void
damaged_contents_stop_nobody_for_long(void)
{
	static const uint64_t bad[] = { 0, 1, START, START + 365 * 86400 * SECOND, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX, 0x5555555555555555 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		for (size_t j = 0; j < sizeof bad / sizeof *bad; j++) {
			struct gcra g = { bad[i], bad[j] };
			uint64_t due = gcra_due(&g, gcra_take(&g, START, SECOND));

			CHECK(due <= START + GCRA_AHEAD && due >= START - GCRA_BURST);
			CHECK_INT(gcra_due(&g, gcra_take(&g, START + 1, SECOND)) - due <= SECOND, 1);
		}
}

/* ---- the file ---- */

static char dir[] = "/tmp/sa-bucket-XXXXXX", path[400];

static struct bucket *
open_as(const char *id, double rpm, double tpm)
{
	struct err e;
	struct bucket *b = bucket_open(dir, id, strlen(id), rpm, tpm, &e);

	if (!b)
		printf("# %s\n", e.msg);
	return b;
}

/* The path of the one file there is. */
static void
find_file(void)
{
	DIR *d = opendir(dir);
	struct dirent *f;

	while (d && (f = readdir(d)))
		if (*f->d_name != '.')
			snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
	closedir(d);
}

static void
clean(void)
{
	find_file();
	unlink(path);
}

static void
two_that_open_it_share_it(void)
{
	struct bucket *a = open_as("x", 3, 0), *b = open_as("x", 3, 0), *other = open_as("y", 3, 0);
	struct stat st;
	uint64_t first;

	if (!CHECK(a && b && other))
		return;
	first = bucket_take(a, 0);
	CHECK(first <= bucket_now());
	CHECK_INT(bucket_take(b, 0), first + 20 * SECOND);
	bucket_sent(a);
	CHECK_INT(bucket_take(a, 0), first + 40 * SECOND);
	bucket_give(a);
	CHECK_INT(bucket_due(a), 0);
	CHECK_INT(bucket_take(a, 0), first + 40 * SECOND);
	CHECK(bucket_take(other, 0) <= bucket_now());
	bucket_close(other);
	clean();
	bucket_close(a);
	bucket_close(b);
	find_file();
	CHECK(lstat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 64);
	clean();
}

static void
tokens_are_paced_and_settled(void)
{
	struct bucket *a = open_as("x", 0, 60000), *b = open_as("x", 0, 60000);
	uint64_t first, due;

	if (!CHECK(a && b))
		return;
	first = bucket_take(a, 100000);
	bucket_sent(a);
	CHECK_INT(bucket_take(b, 500), first + 100 * SECOND);
	bucket_settle(a, 100000, 1000);
	due = bucket_due(b);
	CHECK_INT(due, first + SECOND);
	bucket_settle(a, 1000, -1);
	CHECK_INT(bucket_due(b), due);
	bucket_sent(b);
	bucket_settle(b, 500, 2500);
	CHECK_INT(bucket_take(a, 1), first + 3500 * MS);
	/* A usage that cannot be true stops nobody for good. */
	bucket_settle(a, 0, INT64_MAX);
	CHECK(bucket_due(a) <= bucket_now() + GCRA_AHEAD);
	CHECK(bucket_take(b, 1) <= bucket_now() + GCRA_AHEAD);
	bucket_close(a);
	bucket_close(b);
	clean();
}

static void
without_limits_nothing_waits(void)
{
	struct bucket *b = open_as("x", 0, -1);

	if (!CHECK(b))
		return;
	for (int i = 0; i < 100; i++) {
		CHECK(bucket_take(b, 1000000) <= bucket_now());
		bucket_sent(b);
	}
	bucket_close(b);
	clean();
}

static void
a_truncated_file_is_made_whole_and_shared_again(void)
{
	struct bucket *a = open_as("x", 3, 3), *b = open_as("x", 3, 3);
	uint64_t first;

	if (!CHECK(a && b))
		return;
	find_file();
	for (int size = 0; size < 64; size += 21) {
		CHECK(truncate(path, size) == 0);
		first = bucket_take(a, 1);
		bucket_sent(a);
		CHECK(bucket_take(b, 1) > first);
		bucket_sent(b);
	}
	bucket_close(a);
	bucket_close(b);
	clean();
}

/* Another process truncates it all the time: the race between looking at the size and the access is met again and again. */
static void
it_survives_being_truncated_at_any_moment(void)
{
	struct bucket *b = open_as("x", 6e6, 6e6);
	pid_t pid, self = getpid();
	int status;

	if (!CHECK(b))
		return;
	find_file();
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		while (getppid() == self && truncate(path, 0) == 0)
			;
	if (pid == 0)
		_exit(1);
	for (int i = 0; i < 100000; i++) {
		bucket_take(b, 1);
		bucket_sent(b);
		bucket_settle(b, 1, 0);
	}
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	bucket_close(b);
	clean();
}

/* Try what stands at the file's place; it must be refused. */
static void
check_refused(const char *what)
{
	struct err e = { "" };
	struct bucket *b = bucket_open(dir, "x", 1, 3, 0, &e);

	if (!CHECK(!b) || !CHECK(*e.msg))
		printf("# %s\n", what);
	bucket_close(b);
	unlink(path);
	rmdir(path);
}

static void
what_is_not_ours_alone_is_refused(void)
{
	struct bucket *b = open_as("x", 3, 0);
	char other[450];

	if (!CHECK(b))
		return;
	bucket_close(b);
	find_file();
	snprintf(other, sizeof other, "%s.other", path);
	CHECK(chmod(path, 0640) == 0);
	check_refused("readable by the group");
	CHECK(symlink("/dev/null", path) == 0);
	check_refused("a link");
	CHECK(mkdir(path, 0700) == 0);
	check_refused("a directory");
	CHECK(mkfifo(path, 0600) == 0);
	check_refused("a pipe");
	CHECK((b = open_as("x", 3, 0)) && link(path, other) == 0);
	bucket_close(b);
	check_refused("a file of two names");
	unlink(other);
	CHECK(chmod(dir, 0755) == 0);
	check_refused("in a directory that others can enter");
	CHECK(chmod(dir, 0700) == 0);
}

/* ---- processes ---- */

#define CHILDREN 8
#define RPM 12000.0
#define SECONDS 4
#define MOST 4096

struct tally {
	_Atomic unsigned n;
	_Atomic uint64_t sent[MOST];
	_Atomic int held;		/* by the one that is to be killed */
};

static void
hammer(struct tally *t, uint64_t end, bool victim)
{
	struct bucket *b = bucket_open(dir, "x", 1, RPM, 0, NULL);
	uint64_t due, now;
	unsigned i;

	if (!b)
		_exit(1);
	for (;;) {
		bucket_take(b, 1);
		if (victim && bucket_now() > end - SECONDS * SECOND / 2) {
			atomic_store(&t->held, 1);
			pause();
		}
		while ((due = bucket_due(b)) > (now = bucket_now())) {
			if (due >= end)
				_exit(0);
			nanosleep(&(struct timespec){ 0, (long)(due - now < 100 * MS ? due - now : 100 * MS) }, NULL);
		}
		if (now >= end)
			_exit(0);
		bucket_sent(b);
		i = atomic_fetch_add(&t->n, 1);
		if (i < MOST)
			atomic_store(&t->sent[i], now);
	}
}

static int
by_time(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The time in which the whole machine stood still, as far as the burst cannot make up for it: not the bucket's fault. */
static double
stalled(const uint64_t *sent, unsigned n)
{
	double sum = 0;

	for (unsigned i = 1; i < n; i++)
		if (sent[i] - sent[i - 1] > GCRA_BURST / 2)
			sum += (double)(sent[i] - sent[i - 1]) / SECOND;
	return sum;
}

static void
eight_processes_keep_the_limit_and_one_that_is_killed_costs_nothing(void)
{
	struct tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static uint64_t sent[MOST];
	uint64_t start = bucket_now(), end = start + SECONDS * SECOND;
	double least, most;
	pid_t pid[CHILDREN];
	int status;
	unsigned n;

	if (!CHECK(t != MAP_FAILED))
		return;
	fflush(stdout);
	for (int i = 0; i < CHILDREN; i++)
		if ((pid[i] = fork()) == 0)
			hammer(t, end, i == 0);
	while (!atomic_load(&t->held) && bucket_now() < end + 60 * SECOND)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	CHECK(kill(pid[0], SIGKILL) == 0);
	for (int i = 0; i < CHILDREN; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i] && (i == 0 ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0));
	n = atomic_load(&t->n);
	if (!CHECK(n > 0 && n <= MOST))
		return;
	for (unsigned i = 0; i < n; i++)
		sent[i] = atomic_load(&t->sent[i]);
	qsort(sent, n, sizeof *sent, by_time);
	/* The burst is there from the start; nothing else goes beyond the limit, and of it at most 2% are lost. */
	most = RPM / 60 * (SECONDS + (double)GCRA_BURST / SECOND) + 1;
	least = 0.98 * RPM / 60 * (SECONDS + (double)GCRA_BURST / SECOND - stalled(sent, n) - (double)(sent[0] - start) / SECOND) - CHILDREN;
	if (!CHECK(n <= most) || !CHECK(n >= least))
		printf("# %u sent, %.1f to %.1f wanted\n", n, least, most);
	munmap(t, sizeof *t);
	clean();
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 1;
	RUN(any_minute_is_within_two_percent_of_the_limit);
	RUN(a_few_a_minute_are_spread_and_the_first_goes_at_once);
	RUN(different_limits_go_by_their_own_interval);
	RUN(what_is_given_back_is_everybodys_at_once);
	RUN(damaged_contents_stop_nobody_for_long);
	RUN(two_that_open_it_share_it);
	RUN(tokens_are_paced_and_settled);
	RUN(without_limits_nothing_waits);
	RUN(a_truncated_file_is_made_whole_and_shared_again);
	RUN(it_survives_being_truncated_at_any_moment);
	RUN(what_is_not_ours_alone_is_refused);
	RUN(eight_processes_keep_the_limit_and_one_that_is_killed_costs_nothing);
	rmdir(dir);
	return t_done();
}
