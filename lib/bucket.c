/* bucket.c - requests and tokens a minute, shared by all processes of the user with the same endpoint and key */

#include "bucket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "gcra.h"
#include "rundir.h"

#define LAYOUT "sa bucket 1"	/* part of the name, so that no two layouts meet in a file */
#define SECOND 1000000000ull
#define MINUTE (60 * SECOND)

/* The file. Zeros are a fresh one, any contents are valid. */
struct shared {
	struct gcra requests, tokens;
	uint64_t unused[4];
};

_Static_assert(sizeof(struct shared) == 64 && ATOMIC_LLONG_LOCK_FREE == 2, "the file's layout");

struct bucket {
	struct bucket *link;
	struct shared *map;
	volatile sig_atomic_t lost;	/* the page is ours alone: see on_bus() */
	int fd;
	double request_ns, token_ns;	/* what one costs; 0: no limit */
	bool held;
	uint64_t request, token;	/* held: its places */
	uint64_t cost;			/* held: of its tokens */
	uint64_t latest;		/* held: due by then, whatever happens to the file */
};

/* ---- the mapping ---- */

/* Whoever truncates the file takes its page away under us; the access that finds out gets a page of our own instead and goes on. check() brings the
 * file back. The kernel has no other way to survive it (files cannot be sealed), and a look at the size before each access would still lose the race. */
static struct bucket *opened;
static struct sigaction before;

static void
on_bus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (struct bucket *b = info->si_code > 0 ? opened : NULL; b; b = b->link)
		if (at - (uintptr_t)b->map < sizeof *b->map &&
				mmap(b->map, sizeof *b->map, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == b->map) {
			b->lost = 1;
			return;
		}
	/* Not ours: as if we were not here. A fault happens again. */
	sigaction(sig, &before, NULL);
	if (info->si_code <= 0)
		raise(sig);
}

static int
watch(struct bucket *b, struct err *e)
{
	struct sigaction a = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO }, old;

	b->link = opened;
	opened = b;
	if (sigaction(SIGBUS, &a, &old) < 0)
		return err_set(e, "SIGBUS: %s", strerror(errno));
	if (old.sa_sigaction != on_bus)
		before = old;
	return 0;
}

/* The file is ours alone, and whole: it only ever grows here, so several may do it at once. Its block is allocated, for a full disk would be a SIGBUS too. */
static int
whole(int fd, const char *path, struct err *e)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077 || st.st_nlink > 1)
		return err_set(e, "%s: must be a file of yours that nobody else can open", path);
	rc = st.st_size < (off_t)sizeof(struct shared) ? posix_fallocate(fd, 0, sizeof(struct shared)) : 0;
	return rc == 0 ? 0 : err_set(e, "%s: %s", path, strerror(rc));
}

/* Before each use: a truncated file is made whole, and shared again. Where that fails we pace ourselves alone. */
static void
check(struct bucket *b)
{
	struct shared *at = b->map;

	if (whole(b->fd, "", NULL) < 0 || !b->lost)
		return;
	b->lost = 0;
	if (mmap(at, sizeof *at, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, b->fd, 0) != at)
		b->lost = 1;
}

static int
map_file(struct bucket *b, const char *path, struct err *e)
{
	b->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (b->fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	if (whole(b->fd, path, e) < 0)
		return -1;
	b->map = mmap(NULL, sizeof *b->map, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	if (b->map == MAP_FAILED) {
		b->map = NULL;
		return err_set(e, "%s: %s", path, strerror(errno));
	}
	return watch(b, e);
}

/* ---- opening ---- */

/* The clock starts again with each boot, so each has its own files. */
static void
add_boot(struct buf *b)
{
	char id[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, id, sizeof id);

	if (n > 0)
		buf_add(b, id, (size_t)n);
	if (fd >= 0)
		close(fd);
}

static int
path_of(char out[PATH_MAX], const char *dir, const void *id, size_t n, struct err *e)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	XXH128_hash_t h;
	int rc;

	buf_add(&b, LAYOUT, sizeof LAYOUT);
	add_boot(&b);
	rc = buf_add(&b, id, n);	/* last, so that no growth leaves a copy of the key behind */
	h = XXH3_128bits(b.p, b.n);
	explicit_bzero(b.p, b.n);
	buf_free(&b);
	if (rc < 0)
		return err_set(e, "endpoint and key: %s", strerror(ENAMETOOLONG));
	if (snprintf(out, PATH_MAX, "%s/bucket-%016llx%016llx", dir, (unsigned long long)h.high64, (unsigned long long)h.low64) >= PATH_MAX)
		return err_set(e, "%s: %s", dir, strerror(ENAMETOOLONG));
	return 0;
}

struct bucket *
bucket_open(const char *dir, const void *id, size_t n, double rpm, double tpm, struct err *e)
{
	struct bucket *b = xcalloc(1, sizeof *b);
	char run[RUNDIR_BYTES], path[PATH_MAX];

	b->fd = -1;
	b->request_ns = rpm > 0 ? MINUTE / rpm : 0;
	b->token_ns = tpm > 0 ? MINUTE / tpm : 0;
	if ((dir ? rundir_private(dir, e) : rundir_open(run, e)) < 0 || path_of(path, dir ? dir : run, id, n, e) < 0 || map_file(b, path, e) < 0) {
		bucket_close(b);
		return NULL;
	}
	return b;
}

void
bucket_close(struct bucket *b)
{
	if (!b)
		return;
	if (b->held)
		bucket_give(b);
	for (struct bucket **p = &opened; *p; p = &(*p)->link)
		if (*p == b) {
			*p = b->link;
			break;
		}
	if (b->map)
		munmap(b->map, sizeof *b->map);
	if (b->fd >= 0)
		close(b->fd);
	free(b);
}

/* ---- pacing ---- */

uint64_t
bucket_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t
bounded(double ns)
{
	return ns < (double)GCRA_COST_MAX ? (uint64_t)(ns + 0.5) : GCRA_COST_MAX;
}

static uint64_t
token_cost(const struct bucket *b, long long tokens)
{
	return tokens > 0 ? bounded((double)tokens * b->token_ns) : 0;
}

uint64_t
bucket_take(struct bucket *b, long long tokens)
{
	uint64_t now = bucket_now(), cost = bounded(b->request_ns), most;

	if (b->held)
		bucket_give(b);
	check(b);
	b->cost = token_cost(b, tokens);
	b->held = true;
	if (b->request_ns > 0)
		b->request = gcra_take(&b->map->requests, now, cost);
	if (b->token_ns > 0)
		b->token = gcra_take(&b->map->tokens, now, b->cost);
	most = cost > b->cost ? cost : b->cost;
	b->latest = now + gcra_ahead(most);
	return bucket_due(b);
}

uint64_t
bucket_due(struct bucket *b)
{
	uint64_t due = 0, at;

	if (!b->held)
		return 0;
	check(b);
	if (b->request_ns > 0)
		due = gcra_due(&b->map->requests, b->request);
	if (b->token_ns > 0 && (at = gcra_due(&b->map->tokens, b->token)) > due)
		due = at;
	return due < b->latest ? due : b->latest;
}

void
bucket_sent(struct bucket *b)
{
	b->held = false;
}

void
bucket_give(struct bucket *b)
{
	if (!b->held)
		return;
	b->held = false;
	check(b);
	if (b->request_ns > 0)
		gcra_give(&b->map->requests, bounded(b->request_ns));
	if (b->token_ns > 0)
		gcra_give(&b->map->tokens, b->cost);
}

void
bucket_settle(struct bucket *b, long long reserved, long long used)
{
	if (used < 0 || b->token_ns == 0)
		return;
	check(b);
	gcra_back(&b->map->tokens, (int64_t)token_cost(b, reserved) - (int64_t)token_cost(b, used));
}
