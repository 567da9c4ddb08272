/* local.c - the server of a local checkpoint: found, or started, under a lock */

#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "clock.h"
#include "http.h"
#include "rundir.h"

#define START_SECONDS 120	/* from the start of the process to its lease socket */
#define POLL_MS 20
#define PATH_BYTES 4096

struct server {
	char dir[PATH_MAX];	/* the checkpoint's real path */
	char prefix[80];	/* a socket's path has 108 bytes at most */
	pid_t child;		/* the process we started, or 0 */
	int exit;		/* its exit status (STATUS_USAGE also when there was none to start), or -1 while it runs or is not ours */
};

/* ---- the checkpoint ---- */

/* The files of weights. The directory's own name may hold what is special in a pattern. */
static int
weights(const char *dir, glob_t *g)
{
	char pattern[2 * PATH_BYTES + 32];
	size_t n = 0;

	for (; *dir && n < 2 * PATH_BYTES; dir++) {
		if (strchr("*?[\\", *dir))
			pattern[n++] = '\\';
		pattern[n++] = *dir;
	}
	strcpy(pattern + n, "/*.safetensors");
	return glob(pattern, 0, NULL, g);
}

int
local_check(const char *dir, struct err *e)
{
	static const char *const needed[] = { "config.json", "tokenizer.json" };
	struct stat st;
	glob_t g;
	int found;

	if (stat(dir, &st) < 0)
		return err_set(e, "%s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, "%s: not a checkpoint directory", dir);
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
		char path[PATH_BYTES];

		snprintf(path, sizeof path, "%s/%s", dir, needed[i]);
		if (access(path, R_OK) != 0)
			return err_set(e, "%s: not a checkpoint directory: no %s", dir, needed[i]);
	}
	found = weights(dir, &g);
	globfree(&g);
	return found == 0 ? 0 : err_set(e, "%s: not a checkpoint directory: no *.safetensors", dir);
}

static void
add_identity(struct buf *b, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0)
		buf_addf(b, "%s %lld %lld.%09ld\n", path, (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

/* A checkpoint written anew in the same place is another model, and on another device it has other bits. */
static uint64_t
identity(const char *dir)
{
	const char *device = getenv("SA_DEVICE");
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	char path[PATH_BYTES + 32];
	struct stat st;
	uint64_t hash;
	glob_t g;

	if (stat(dir, &st) == 0)
		buf_addf(&b, "%s %llu %llu\n", dir, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	snprintf(path, sizeof path, "%s/config.json", dir);
	add_identity(&b, path);
	snprintf(path, sizeof path, "%s/tokenizer.json", dir);
	add_identity(&b, path);
	if (weights(dir, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++)
			add_identity(&b, g.gl_pathv[i]);
	globfree(&g);
	if (device && *device && strcmp(device, "cpu") != 0)
		buf_addf(&b, "device %s\n", device);
	hash = XXH3_64bits(b.p, b.n);
	buf_free(&b);
	return hash;
}

/* ---- the files of a server ---- */

static int
set_prefix(struct server *s, struct err *e)
{
	char dir[RUNDIR_BYTES];

	if (rundir_open(dir, e) < 0)
		return -1;
	snprintf(s->prefix, sizeof s->prefix, "%s/%016llx", dir, (unsigned long long)identity(s->dir));
	return 0;
}

static void
path_of(const struct server *s, const char *suffix, char out[108])
{
	snprintf(out, 108, "%s%s", s->prefix, suffix);
}

/* ---- the lease ---- */

static int
take_lock(const struct server *s, struct err *e)
{
	char path[108];
	int fd;

	path_of(s, ".lock", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		close(fd);
		return err_set(e, "%s: %s", path, strerror(errno));
	}
	return fd;
}

static int
connect_lease(const struct server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	path_of(s, ".lease", a.sun_path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The server's end of the lease is closed: it has died. */
static bool
lease_lost(int lease)
{
	char c;
	ssize_t n = recv(lease, &c, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* ---- starting ---- */

/* sa-serve beside this program's own file, else on PATH. */
static int
find_server(char out[PATH_BYTES], struct err *e)
{
	const char *path = getenv("PATH"), *end;
	ssize_t n = readlink("/proc/self/exe", out, PATH_BYTES - 16);

	if (n > 0) {
		out[n] = 0;
		strcpy(strrchr(out, '/') + 1, "sa-serve");
		if (access(out, X_OK) == 0)
			return 0;
	}
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		if (*path == '/' && snprintf(out, PATH_BYTES, "%.*s/sa-serve", (int)(end - path), path) < PATH_BYTES && access(out, X_OK) == 0)
			return 0;
	}
	return err_set(e, "sa-serve is neither beside this program nor on PATH");
}

/* In the child, between fork and exec of a process with threads: system calls only. No descriptor of ours may stay open in the
 * server: it would keep the next stage of a pipe waiting for the end of its input. */
static _Noreturn void
become_server(char *const argv[], char *const env[], int log)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0U, 0);
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") == 0)
		execve(argv[0], argv, env);
	_exit(126);
}

/* Our environment without the key, which the server has no use for and would keep long after we are gone. */
static char **
without_key(void)
{
	size_t n = 0, kept = 0;
	char **env;

	while (environ && environ[n])
		n++;
	env = xcalloc(n + 1, sizeof *env);
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "OPENAI_API_KEY=", 15) != 0)
			env[kept++] = environ[i];
	return env;
}

static int
start_server(struct server *s, struct err *e)
{
	char program[PATH_BYTES], log[108];
	char *argv[] = { program, s->dir, "--shared", s->prefix, NULL }, **env;
	int fd;

	if (find_server(program, e) < 0) {
		s->exit = STATUS_USAGE;
		return -1;
	}
	path_of(s, ".log", log);
	/* Above 2, so that the child's dup2() cannot hit it. */
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, "%s: %s", log, strerror(errno));
	env = without_key();
	s->child = fork();
	if (s->child == 0)
		become_server(argv, env, fd);
	free(env);
	close(fd);
	if (s->child < 0)
		return err_set(e, "cannot start %s: %s", program, strerror(errno));
	return 0;
}

static bool
child_ended(struct server *s)
{
	int status;

	if (s->child == 0)
		return false;
	if (s->exit >= 0)
		return true;
	if (waitpid(s->child, &status, WNOHANG) == s->child)
		s->exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	else if (kill(s->child, 0) < 0)	/* SIGCHLD is ignored here: the status is gone */
		s->exit = 128;
	return s->exit >= 0;
}

/* The last line that the server wrote, without its "sa-serve: ". */
static int
last_words(const struct server *s, struct err *e)
{
	struct buf b = BUF_INIT(1 << 20);
	char path[108], *line;

	path_of(s, ".log", path);
	if (buf_read_file(&b, path, e) < 0) {
		buf_free(&b);
		return -1;
	}
	while (b.n > 0 && b.p[b.n - 1] == '\n')
		b.p[--b.n] = 0;
	line = b.n ? strrchr(b.p, '\n') : NULL;
	line = line ? line + 1 : b.n ? b.p : "(it said nothing)";
	err_set(e, "sa-serve ended: %.400s", strncmp(line, "sa-serve: ", 10) ? line : line + 10);
	buf_free(&b);
	return -1;
}

static void
pause_a_little(void)
{
	nanosleep(&(struct timespec){ 0, POLL_MS * 1000000 }, NULL);
}

static int
wait_for_lease(struct server *s, struct err *e)
{
	double end = clock_seconds() + START_SECONDS;

	for (;;) {
		bool ended = child_ended(s);
		int fd = connect_lease(s);

		if (fd >= 0)
			return fd;
		if (ended)
			return last_words(s, e);
		if (clock_seconds() > end)
			return err_set(e, "sa-serve did not start within %d seconds; see %s.log", START_SECONDS, s->prefix);
		pause_a_little();
	}
}

/* As long as it takes to load, while the server lives. */
static int
wait_for_health(struct server *s, int lease, const char *sock, struct err *e)
{
	struct http_target t = { .base = "http://localhost", .unix_path = sock };
	struct buf body = BUF_INIT(1 << 16);
	long status;
	int rc = -1;

	for (;;) {
		if (http_get(&t, "/health", 10, &body, &status, e) == 0 && status == 200) {
			rc = 0;
			break;
		}
		if (lease_lost(lease)) {
			/* Its exit status decides whose fault it was. */
			for (int i = 0; i < 100 && s->child && !child_ended(s); i++)
				pause_a_little();
			last_words(s, e);
			break;
		}
		pause_a_little();
	}
	buf_free(&body);
	return rc;
}

int
local_open(const char *dir, char **sock, char **name, enum exit_status *status, struct err *e)
{
	struct server s = { .exit = -1 };
	char path[108];
	int lock, lease;

	*status = STATUS_USAGE;
	if (local_check(dir, e) < 0)
		return -1;
	if (!realpath(dir, s.dir))
		return err_set(e, "%s: %s", dir, strerror(errno));
	if (set_prefix(&s, e) < 0)
		return -1;
	lock = take_lock(&s, e);
	if (lock < 0)
		return -1;
	lease = connect_lease(&s);
	if (lease < 0 && start_server(&s, e) == 0)
		lease = wait_for_lease(&s, e);
	close(lock);
	path_of(&s, ".sock", path);
	if (lease >= 0 && wait_for_health(&s, lease, path, e) < 0) {
		close(lease);
		lease = -1;
	}
	if (lease < 0) {
		*status = s.exit == STATUS_USAGE ? STATUS_USAGE : STATUS_ENDPOINT;
		return -1;
	}
	*sock = xstrdup(path);
	*name = local_name(s.dir);
	return lease;
}

char *
local_identity(const char *dir)
{
	char real[PATH_MAX], text[32];

	snprintf(text, sizeof text, "local:%016llx", (unsigned long long)identity(realpath(dir, real) ? real : dir));
	return xstrdup(text);
}

char *
local_name(const char *dir)
{
	char real[PATH_MAX];

	return xstrdup(realpath(dir, real) ? strrchr(real, '/') + 1 : dir);
}
