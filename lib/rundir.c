/* rundir.c - the user's runtime directory: what processes of one user share */

#include "rundir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
rundir_private(const char *dir, struct err *e)
{
	struct stat st;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, "%s: %s", dir, strerror(errno));
	if (lstat(dir, &st) < 0)
		return err_set(e, "%s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		return err_set(e, "%s: must be a directory of yours that nobody else can enter", dir);
	return 0;
}

int
rundir_open(char out[RUNDIR_BYTES], struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n = run && *run == '/' ? snprintf(out, RUNDIR_BYTES, "%s/sa", run) : RUNDIR_BYTES;

	if (n >= RUNDIR_BYTES || access(run, W_OK) < 0)
		snprintf(out, RUNDIR_BYTES, "/tmp/sa-%lu", (unsigned long)geteuid());
	return rundir_private(out, e);
}
