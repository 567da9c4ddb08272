/* memory.c - see memory.h */
#include "memory.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The number in a file of one line; SIZE_MAX when there is none ("max"). */
static size_t
number_in(const char *dir, const char *name)
{
	char path[PATH_MAX + 32];
	unsigned long long n;
	FILE *f;
	int got;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return SIZE_MAX;
	got = fscanf(f, "%llu", &n);
	fclose(f);
	return got == 1 ? n : SIZE_MAX;
}

/* Of what a group has taken, the files that nobody has read lately: the kernel drops them first. */
static size_t
droppable(const char *dir)
{
	char path[PATH_MAX + 32], line[128];
	unsigned long long n = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/memory.stat", dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "inactive_file %llu", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* What is left to the group and to each of those that it is in. */
static size_t
left_to_group(void)
{
	char dir[PATH_MAX] = "/sys/fs/cgroup", *at = dir + strlen(dir), *slash;
	FILE *f = fopen("/proc/self/cgroup", "re");
	size_t least = SIZE_MAX;
	int got = f ? fscanf(f, "0::%4000s", at) : 0;

	if (f)
		fclose(f);
	while (got == 1) {
		size_t limit = number_in(dir, "memory.max"), used = number_in(dir, "memory.current"), files = droppable(dir);

		if (used != SIZE_MAX)
			used -= files < used ? files : used;
		if (limit != SIZE_MAX && used != SIZE_MAX && (limit > used ? limit - used : 0) < least)
			least = limit > used ? limit - used : 0;
		slash = strrchr(at, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return least;
}

static size_t
left_to_system(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

size_t
memory_available(void)
{
	size_t group = left_to_group(), system = left_to_system();

	if (system == 0)
		return group == SIZE_MAX ? 0 : group;
	return group < system ? group : system;
}
