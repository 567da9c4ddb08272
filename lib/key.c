/* key.c - see key.h */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_MAX 4096

int
key_check(const char *key, const char *where, struct err *e)
{
	if (!*key)
		return err_set(e, "%s: there is no key in it", where);
	for (const char *p = key; *p; p++)
		if (*p <= ' ' || *p > '~')
			return err_set(e, "%s: a key is one word of printable ASCII", where);
	return 0;
}

/* An open file's text without the white space at its end; -1 with errno. */
static int
read_text(int fd, char *key)
{
	ssize_t n = read(fd, key, KEY_MAX - 1);

	if (n < 0)
		return -1;
	key[n] = '\0';
	n = strlen(key);
	while (n > 0 && strchr(" \t\r\n", key[n - 1]))
		key[--n] = '\0';
	return 0;
}

char *
key_read(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *key = xcalloc(1, KEY_MAX);
	struct stat st;
	int rc = -1;

	if (fd < 0 || fstat(fd, &st) < 0)
		err_set(e, "%s: %s", path, strerror(errno));
	else if (st.st_mode & 077)
		err_set(e, "%s: others can read this key; chmod 600 it", path);
	else if (read_text(fd, key) < 0)
		err_set(e, "%s: %s", path, strerror(errno));
	else
		rc = key_check(key, path, e);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		return key;
	free(key);
	return NULL;
}

int
key_guard(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
