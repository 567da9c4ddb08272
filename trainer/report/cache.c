/* cache.c - a cache of replies as people see it: its size and age, and dropping what is old */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache.h"
#include "report.h"

#define DAY 86400.0

/* Where there is none, the command line is wrong; one that cannot be read is an input error. */
static bool
is_there(const char *dir)
{
	char path[4096];
	struct stat st;

	if (stat(dir, &st) < 0) {
		warn("cache %s: %s", dir, strerror(errno));
		return false;
	}
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	if (lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		warn("%s: no cache in it (no data.mdb)", dir);
		return false;
	}
	return true;
}

static void
show_time(const char *what, time_t t)
{
	char text[40];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		printf("%-8s %s\n", what, text);
}

static void
show(const struct cache_info *i)
{
	printf("%-8s %zu\n%-8s %zu\n%-8s %zu\n", "entries", i->entries, "bytes", i->bytes, "file", i->file_bytes);
	if (i->entries) {
		show_time("oldest", i->oldest);
		show_time("newest", i->newest);
	}
}

static int
drop(const char *dir, double days, const struct cache_info *before, struct cache_info *after, struct err *e)
{
	long long n = cache_drop(dir, time(NULL) - (time_t)(days * DAY), e);

	if (n < 0 || cache_info(dir, after, e) < 0)
		return -1;
	printf("%-8s %lld\n%-8s %zu\n", "dropped", n, "freed", before->file_bytes > after->file_bytes ? before->file_bytes - after->file_bytes : 0);
	return 0;
}

int
report_cache(const char *dir, double days)
{
	struct cache_info i, after;
	struct err e;

	if (!is_there(dir))
		return STATUS_USAGE;
	if (cache_info(dir, &i, &e) < 0 || (days >= 0 && drop(dir, days, &i, &after, &e) < 0)) {
		warn("%s", e.msg);
		return STATUS_IO;
	}
	show(days >= 0 ? &after : &i);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		warn("write error on standard output");
		return STATUS_IO;
	}
	return STATUS_OK;
}
