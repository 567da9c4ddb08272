/* choices.c - see choices.h */
#include "choices.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "err.h"

/* 1: a choice of this card and version; 0: of another; -1: none at all. */
static int
line_read(const struct choices *c, const char *line, struct choice *to)
{
	struct gpu_shape *s = &to->shape;
	char card[256];
	size_t version;
	int at = 0;

	if (sscanf(line, "%255s %zu %d %d %d %d %d%n", card, &version, &s->which, &s->stride, &s->T, &s->K, &s->N, &at) != 7)
		return -1;
	for (size_t i = 0; i < sizeof to->algo / sizeof *to->algo; i++) {
		int used = 0;

		if (sscanf(line + at, " %" SCNx64 "%n", &to->algo[i], &used) != 1)
			return -1;
		at += used;
	}
	if (strcmp(line + at, "\n") != 0)	/* cut short, or more */
		return -1;
	return strcmp(card, c->card) == 0 && version == c->version;
}

static int
remember(struct choices *c, const struct choice *add)
{
	struct choice *more = realloc(c->v, (c->n + 1) * sizeof *more);

	if (!more)
		return -1;
	c->v = more;
	c->v[c->n++] = *add;
	return 0;
}

static int
read_all(struct choices *c)
{
	char line[1024];
	struct choice one;

	for (int number = 1; fgets(line, sizeof line, c->f); number++) {
		int is = line_read(c, line, &one);

		if (is < 0) {
			c->broken = number;
			c->n = 0;
			return ftruncate(fileno(c->f), 0);
		}
		if (is > 0 && remember(c, &one) < 0)
			return -1;
	}
	return ferror(c->f) ? -1 : 0;
}

int
choices_open(struct choices *c, const char *file, const char *card, size_t version, bool wait, struct err *e)
{
	int fd = open(file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666), rc;

	*c = (struct choices){ .version = version };
	snprintf(c->card, sizeof c->card, "%s", card);
	for (char *p = c->card; *p; p++)
		if (*p == ' ')
			*p = '_';
	if (fd < 0)
		return err_set(e, "%s: %s", file, strerror(errno));
	c->f = fdopen(fd, "a+");
	if (!c->f) {
		close(fd);
		return err_set(e, "out of memory");
	}
	while ((rc = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB)) < 0 && errno == EINTR)
		;
	if (rc < 0 && errno == EWOULDBLOCK) {
		choices_close(c);
		return 1;
	}
	if (rc < 0 || fseek(c->f, 0, SEEK_SET) < 0 || read_all(c) < 0) {
		err_set(e, "%s: %s", file, strerror(errno));
		choices_close(c);
		return -1;
	}
	return 0;
}

const struct choice *
choices_find(const struct choices *c, const struct gpu_shape *s)
{
	for (size_t i = 0; i < c->n; i++)
		if (!memcmp(&c->v[i].shape, s, sizeof *s))
			return &c->v[i];
	return NULL;
}

int
choices_add(struct choices *c, const struct choice *add, struct err *e)
{
	const struct gpu_shape *s = &add->shape;

	fseek(c->f, 0, SEEK_END);	/* between reading and writing */
	fprintf(c->f, "%s %zu %d %d %d %d %d", c->card, c->version, s->which, s->stride, s->T, s->K, s->N);
	for (size_t i = 0; i < sizeof add->algo / sizeof *add->algo; i++)
		fprintf(c->f, " %" PRIx64, add->algo[i]);
	fputc('\n', c->f);
	if (fflush(c->f) || ferror(c->f))
		return err_set(e, "a choice of algorithm could not be written: %s", strerror(errno));
	return remember(c, add) < 0 ? err_set(e, "out of memory") : 0;
}

void
choices_close(struct choices *c)
{
	if (c->f)
		fclose(c->f);	/* and unlocked */
	free(c->v);
	*c = (struct choices){ 0 };
}
