/* files.c - whole files and folders */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"
#include "files.h"

#define COPY_MAX ((size_t)1 << 30)	/* a tokenizer.json is 10-30 MB */

char *
path_join(const char *dir, const char *name)
{
	char *p;

	if (asprintf(&p, "%s/%s", dir, name) < 0)
		die(STATUS_IO, "out of memory");
	return p;
}

int
dir_make(const char *path, struct err *e)
{
	char *p = xstrdup(path);
	int rc = 0;

	for (char *s = p + 1; *p && rc == 0; s++) {
		char c = *s;

		if (c != '/' && c)
			continue;
		*s = '\0';
		if (mkdir(p, 0777) < 0 && errno != EEXIST)
			rc = err_set(e, "%s: %s", p, strerror(errno));
		*s = c;
		if (!c)
			break;
	}
	free(p);
	return rc;
}

int
dir_sync(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = err_set(e, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

double
dir_room(const char *path)
{
	struct statvfs st;

	return statvfs(path, &st) == 0 ? (double)st.f_bavail * (double)st.f_frsize : 0;
}

void
dir_remove(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *f;

	if (!d)
		return;
	while ((f = readdir(d)))
		if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0)
			unlinkat(dirfd(d), f->d_name, 0);
	closedir(d);
	if (rmdir(path) < 0)
		warn("%s: cannot be removed: %s", path, strerror(errno));
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t got = write(fd, p, n);

		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
	return 0;
}

int
file_write(const char *path, const void *p, size_t n, struct err *e)
{
	char *tmp;
	int fd, rc = 0;

	if (asprintf(&tmp, "%s.tmp", path) < 0)
		die(STATUS_IO, "out of memory");
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || write_all(fd, p, n) < 0 || fsync(fd) < 0)
		rc = err_set(e, "%s: %s", tmp, strerror(errno));
	if (fd >= 0 && close(fd) < 0 && rc == 0)
		rc = err_set(e, "%s: %s", tmp, strerror(errno));
	if (rc == 0 && rename(tmp, path) < 0)
		rc = err_set(e, "%s: %s", path, strerror(errno));
	if (rc < 0)
		unlink(tmp);
	free(tmp);
	return rc;
}

int
file_copy(const char *from, const char *to, struct err *e)
{
	struct buf b = BUF_INIT(COPY_MAX);
	int rc;

	if (access(from, F_OK) < 0 && errno == ENOENT)
		return 1;
	rc = buf_read_file(&b, from, e);
	if (rc == 0)
		rc = file_write(to, b.p, b.n, e);
	buf_free(&b);
	return rc;
}

int
file_hash(const char *path, uint64_t *hash, struct err *e)
{
	struct buf b = BUF_INIT(COPY_MAX);
	int rc = buf_read_file(&b, path, e);

	if (rc == 0)
		*hash = XXH3_64bits(b.p, b.n);
	buf_free(&b);
	return rc;
}
