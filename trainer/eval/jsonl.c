/* jsonl.c - see jsonl.h */

#include "jsonl.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "line.h"

char *
jsonl_path(const char *dir, const char *name)
{
	struct buf b = BUF_INIT(65536);

	if (buf_addf(&b, "%s/%s", dir, name) < 0)
		die(STATUS_USAGE, "%s: the path is too long", dir);
	return buf_take(&b);
}

/* Have gzip read `fd`, which is closed. What it writes, or -1 with errno. */
static int
unpack(int fd, pid_t *pid)
{
	char *argv[] = { "gzip", "-dc", NULL };
	posix_spawn_file_actions_t fa;
	int out[2], rc;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -1;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, fd, 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	rc = posix_spawnp(pid, "gzip", &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(fd);
	close(out[1]);
	if (rc == 0)
		return out[0];
	close(out[0]);
	errno = rc;
	return -1;
}

static int
each_line(int fd, const char *path, int (*fn)(void *, size_t, json_t *, struct err *), void *arg, struct err *e)
{
	struct lines *lines = lines_open(fd, path, LINE_MAX_DEFAULT);
	int got, too_long, rc = 0;
	size_t n, at = 0;
	struct err why;
	char *line;

	while (rc == 0 && (got = lines_next(lines, &line, &n, &too_long, e)) > 0) {
		json_error_t je = { .text = "the line is too long" };
		json_t *o = too_long ? NULL : json_loadb(line, n, 0, &je);

		rc = !o ? err_set(&why, "%s", je.text) : !json_is_object(o) ? err_set(&why, "not an object") : fn(arg, at++, o, &why);
		if (rc < 0)
			err_set(e, "%s:%zu: %.400s", path, lines_at(lines), why.msg);
		json_decref(o);
	}
	lines_free(lines);
	return rc == 0 ? got : rc;
}

int
jsonl_each(const char *path, int (*fn)(void *arg, size_t at, json_t *o, struct err *e), void *arg, struct err *e)
{
	size_t n = strlen(path);
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc, status = 0;
	pid_t pid = -1;

	if (fd >= 0 && n > 3 && strcmp(path + n - 3, ".gz") == 0)
		fd = unpack(fd, &pid);
	if (fd < 0)
		return err_set(e, "%s: %s", path, strerror(errno));
	rc = each_line(fd, path, fn, arg, e);
	close(fd);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc == 0 && status != 0)
		return err_set(e, "%s: gzip cannot unpack it", path);
	return rc < 0 ? -1 : 0;
}
