/* plugin.c - finding and loading one */
#include "plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's path beside the program. */
static void
beside(char *path, size_t n, const char *file)
{
	ssize_t len = readlink("/proc/self/exe", path, n - 1);

	while (len > 0 && path[len - 1] != '/')
		len--;
	len = len < 0 ? 0 : len;
	snprintf(path + len, n - (size_t)len, "%s", file);
}

void *
plugin_load(const struct plugin *p, struct err *e)
{
	const char *given = p->variable ? getenv(p->variable) : NULL;
	char path[PATH_MAX + 64];
	void *lib, *at;

	if (given && *given)
		snprintf(path, sizeof path, "%s", given);
	else
		beside(path, sizeof path, p->file);
	if (access(path, F_OK) < 0) {
		err_set(e, "%s is not there: it is built %s", path, p->made);
		return NULL;
	}
	lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL);	/* global: Open MPI's own plugins look for its symbols */
	at = lib ? dlsym(lib, p->symbol) : NULL;
	if (!at)
		err_set(e, "%s", dlerror());
	return at;
}
