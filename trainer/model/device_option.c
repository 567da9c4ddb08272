/* device_option.c - see device_option.h */
#include "device_option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

double
device_option_size(const char *text)
{
	char unit[4] = "", after;
	double size;

	if (sscanf(text, "%lf%3[GiB]%c", &size, unit, &after) != 2 || !(size > 0 && size < 1e6))
		return 0;
	return strcmp(unit, "GiB") == 0 ? size * (1 << 30) : strcmp(unit, "GB") == 0 ? size * 1e9 : 0;
}

int
device_option_parse(struct device_option *d, const char *text, struct err *e)
{
	const char *at = text + 4;
	size_t digits;
	int used = 0;

	*d = (struct device_option){ .cuda = strncmp(text, "cuda", 4) == 0 };
	if (strcmp(text, "cpu") == 0)
		return 0;
	digits = d->cuda && *at == ':' ? strspn(at + 1, "0123456789") : 0;
	if (digits > 0 && (!at[1 + digits] || at[1 + digits] == ':') && sscanf(at, ":%2d%n", &d->index, &used) == 1)
		at += used;
	if (d->cuda && *at == ':')
		d->memory = device_option_size(at + 1);
	if (d->cuda && (!*at || d->memory > 0))
		return 0;
	return err_set(e, "--device %s: cpu, cuda, cuda:N, cuda:SIZE as cuda:24GiB, or cuda:N:SIZE", text);
}

char *
device_option_tuned(void)
{
	const char *own = getenv("SA_TUNE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char path[4096];
	int n;

	if (own && *own)
		return strcmp(own, "off") == 0 ? NULL : xstrdup(own);
	if (!(cache && *cache) && !(home && *home))
		return NULL;
	if (cache && *cache)
		n = snprintf(path, sizeof path, "%s", cache);
	else
		n = snprintf(path, sizeof path, "%s/.cache", home);
	if (n < 0 || (size_t)n > sizeof path - 16)
		return NULL;
	mkdir(path, 0777);	/* what opens the file says what is not there */
	strcpy(path + n, "/sa");
	mkdir(path, 0777);
	strcat(path, "/products");
	return xstrdup(path);
}
