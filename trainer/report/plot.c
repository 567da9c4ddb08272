/* plot.c - see plot.h */

#include "plot.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "html.h"

#define SVG_MAX ((size_t)64 << 20)

const char *
plot_label(struct plot *p, const char *text)
{
	static char placeholder[32];

	p->label = xreallocarray(p->label, p->labels + 1, sizeof *p->label);
	p->label[p->labels] = xstrdup(text);
	snprintf(placeholder, sizeof placeholder, "\"@%zu@\"", p->labels++);
	return placeholder;
}

int
plot_text_width(const char *text)
{
	double px = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		px += c >= 'A' && c <= 'Z' ? 9.6 : c < 0x80 ? 7.4 : (c & 0xC0) == 0x80 ? 0 : c >= 0xE0 ? 13 : 7.5;
	}
	return (int)px + 1;
}

/* ---- the child ---- */

static int
memory_file(const char *name, const char *text, size_t n, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return err_set(e, "cannot make a file in memory: %s", strerror(errno));
	if (n && (write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)) {
		err_set(e, "cannot write a file in memory: %s", strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static void
read_back(int fd, struct buf *out)
{
	char part[65536];
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, part, sizeof part)) > 0)
		if (buf_add(out, part, (size_t)n) < 0)
			break;
}

/* Run it with the three descriptors. 0, or -1 with why. */
static int
spawn_gnuplot(int in, int out, int err, struct err *e)
{
	extern char **environ;
	char *argv[] = { "gnuplot", "-d", "-", NULL };
	posix_spawn_file_actions_t fa;
	int status, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_adddup2(&fa, err, 2);
	rc = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc == ENOENT)
		return err_set(e, "gnuplot is not installed: it draws the pictures (Debian package gnuplot-nox)");
	if (rc != 0)
		return err_set(e, "cannot run gnuplot: %s", strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, "cannot wait for gnuplot: %s", strerror(errno));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : err_set(e, "gnuplot failed");
}

/* Pipes would need two threads: files in memory do not. */
static int
run_gnuplot(const struct buf *script, struct buf *svg, struct err *e)
{
	struct buf words = BUF_INIT(4096);
	int in = memory_file("script", script->p, script->n, e);
	int out = memory_file("svg", NULL, 0, e), err = memory_file("words", NULL, 0, e);
	int rc = in < 0 || out < 0 || err < 0 ? -1 : spawn_gnuplot(in, out, err, e);

	if (err >= 0)
		read_back(err, &words);
	if (rc == 0)
		read_back(out, svg);
	if (rc == 0 && (!svg->n || !strstr(svg->p, "<svg") || !strstr(svg->p, "</svg>")))
		rc = err_set(e, "gnuplot made no picture%s%.300s", words.n ? ": " : "", words.n ? words.p : "");
	else if (rc < 0 && words.n)
		rc = err_set(e, "gnuplot: %.400s", words.p);
	for (char *p = e->msg; rc < 0 && *p; p++)
		if (*p == '\n')
			*p = ' ';
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	buf_free(&words);
	return rc;
}

/* ---- the SVG ---- */

static bool
starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

/* @12@ -> the text. Returns where the input goes on, or NULL when this is no placeholder. */
static const char *
put_label(struct buf *page, const struct plot *p, const char *s)
{
	char *end;
	unsigned long k;

	if (s[0] != '@' || s[1] < '0' || s[1] > '9')
		return NULL;
	k = strtoul(s + 1, &end, 10);
	if (*end != '@' || k >= p->labels)
		return NULL;
	html_text(page, p->label[k]);
	return end + 1;
}

/* Copy the element without gnuplot's own title, with unique identifiers and the labels in place. */
static void
put_svg(struct buf *page, const struct plot *p, const char *svg, const char *alt)
{
	static const char *const names[] = { "id='", "id=\"", "xlink:href='#", "url(#", NULL };
	static int pictures;
	const char *s = strstr(svg, "<svg"), *next;

	pictures++;
	buf_adds(page, "<svg role=\"img\" aria-label=\"");
	html_text(page, alt);
	buf_addc(page, '"');
	for (s += 4; *s;) {
		int i = 0;

		if (starts(s, "<title>Gnuplot") || starts(s, "<desc>Produced")) {
			s = strstr(s, starts(s, "<t") ? "</title>" : "</desc>");
			s = strchr(s, '>') + 1;
			continue;
		}
		if (starts(s, "</svg>")) {
			buf_adds(page, "</svg>\n");
			return;
		}
		next = put_label(page, p, s);
		if (next) {
			s = next;
			continue;
		}
		while (names[i] && !starts(s, names[i]))
			i++;
		if (names[i]) {
			buf_addf(page, "%sp%d-", names[i], pictures);
			s += strlen(names[i]);
		} else {
			buf_addc(page, *s++);
		}
	}
}

static int
put_picture(struct buf *page, int width, const char *alt, plot_draw *draw, const void *data, struct err *e)
{
	struct plot p = { .script = BUF_INIT(SVG_MAX), .width = width, .height = width * 9 / 16 };
	struct buf script = BUF_INIT(SVG_MAX), svg = BUF_INIT(SVG_MAX);
	int rc;

	draw(&p, data);
	buf_addf(&script, "set encoding utf8\nset terminal svg size %d,%d fixed noenhanced font 'sans,13' linewidth 1\n"
		"set border 0\nset tics scale 0 textcolor rgb '#46505a'\n"
		"set xlabel textcolor rgb '#46505a'\nset ylabel textcolor rgb '#46505a'\n"
		"set grid linecolor rgb '#e3e6e8' linewidth 1\nset style fill solid 1 noborder\n", p.width, p.height);
	buf_add(&script, p.script.p, p.script.n);
	rc = run_gnuplot(&script, &svg, e);
	if (rc == 0)
		put_svg(page, &p, svg.p, alt);
	for (size_t i = 0; i < p.labels; i++)
		free(p.label[i]);
	free(p.label);
	buf_free(&p.script);
	buf_free(&script);
	buf_free(&svg);
	return rc;
}

int
plot_figure(struct buf *page, const char *alt, const char *caption, plot_draw *draw, const void *data, struct err *e)
{
	buf_adds(page, "<figure>\n<div class=\"wide\">");
	if (put_picture(page, PLOT_WIDE, alt, draw, data, e) < 0)
		return -1;
	buf_adds(page, "</div>\n<div class=\"narrow\">");
	if (put_picture(page, PLOT_NARROW, alt, draw, data, e) < 0)
		return -1;
	buf_adds(page, "</div>\n<figcaption>");
	html_text(page, caption);
	buf_adds(page, "</figcaption>\n</figure>\n");
	return 0;
}
