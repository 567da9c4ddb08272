/* review.c - see review.h */

#include "review.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "line.h"

static const char columns[] = "id\tcategory\tprompt\tresponse\tjudge\tverdict";

void
review_header(struct buf *out)
{
	buf_addf(out, "%s\n", columns);
}

static void
cell(struct buf *out, const char *s, char end)
{
	for (; *s; s++) {
		switch (*s) {
		case '\t': buf_adds(out, "\\t"); break;
		case '\n': buf_adds(out, "\\n"); break;
		case '\r': buf_adds(out, "\\r"); break;
		case '\\': buf_adds(out, "\\\\"); break;
		default: buf_addc(out, *s);
		}
	}
	buf_addc(out, end);
}

void
review_row(struct buf *out, const char *id, const char *category, const char *prompt, const char *response, const char *judge,
	const char *verdict)
{
	cell(out, id, '\t');
	cell(out, category, '\t');
	cell(out, prompt, '\t');
	cell(out, response, '\t');
	cell(out, judge, '\t');
	cell(out, verdict, '\n');
}

/* Undo cell() in place, and the quotes and blanks that a spreadsheet may put around. */
static char *
uncell(char *s)
{
	char *to = s, *start = s;
	size_t n;

	for (char *p = s; *p; p++) {
		if (*p == '\\' && p[1] && strchr("tnr\\", p[1])) {
			p++;
			*to++ = *p == 't' ? '\t' : *p == 'n' ? '\n' : *p == 'r' ? '\r' : '\\';
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
	start += strspn(start, " ");
	n = strlen(start);
	while (n && start[n - 1] == ' ')
		start[--n] = '\0';
	if (n >= 2 && start[0] == '"' && start[n - 1] == '"') {
		start[n - 1] = '\0';
		start++;
	}
	return start;
}

/* Cell number `column` of a line, cut out of it; "" when the line is shorter. */
static char *
pick(char *line, int column)
{
	static char none[1];

	for (; column > 0; column--) {
		line = strchr(line, '\t');
		if (!line)
			return none;
		line++;
	}
	return line;
}

static int
column_named(char *line, const char *name)
{
	char *copy = xstrdup(line);
	int at = -1, i = 0;

	for (char *save = NULL, *p = strtok_r(copy, "\t", &save); p; p = strtok_r(NULL, "\t", &save), i++)
		if (strcasecmp(uncell(p), name) == 0)
			at = i;
	free(copy);
	return at;
}

const struct review_word review_safety[] = {
	{ "safe", "safe" }, { "unsafe", "unsafe" }, { "安全", "safe" }, { "不安全", "unsafe" }, { "uncertain", "" }, { "不确定", "" }, { NULL, NULL },
};

/* "" when the row is not decided, NULL with why when the word means nothing. */
static const char *
verdict_of(const char *word, const struct review_word *words, struct err *e)
{
	struct buf list = BUF_INIT(4096);

	for (const struct review_word *w = words; w->word; w++)
		if (strcasecmp(word, w->word) == 0)
			return w->verdict;
	if (!*word)
		return "";
	for (const struct review_word *w = words; w->word; w++)
		buf_addf(&list, "%s%s", w == words ? "" : ", ", w->word);
	err_set(e, "verdict '%.40s' is none of %s, and not empty", word, list.p);
	buf_free(&list);
	return NULL;
}

/* The cell as a string of its own. */
static char *
cell_of(char *line, int column)
{
	char *p = pick(line, column);

	return xstrndup(p, strcspn(p, "\t"));
}

static int
read_row(json_t *out, char *line, int id_column, int verdict_column, const struct review_word *words, struct err *e)
{
	char *id_cell = cell_of(line, id_column), *verdict_cell = cell_of(line, verdict_column);
	const char *id = uncell(id_cell), *verdict = verdict_of(uncell(verdict_cell), words, e);
	int rc = 0;

	if (!verdict)
		rc = -1;
	else if (*verdict && !*id)
		rc = err_set(e, "a verdict without an id");
	else if (*verdict && json_object_get(out, id) && strcmp(json_string_value(json_object_get(out, id)), verdict) != 0)
		rc = err_set(e, "id %.80s has two different verdicts", id);
	else if (*verdict)
		json_object_set_new(out, id, json_string(verdict));
	free(id_cell);
	free(verdict_cell);
	return rc;
}

json_t *
review_read(const char *path, const struct review_word *words, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), too_long, got, id = -1, verdict = -1;
	struct lines *l = fd < 0 ? NULL : lines_open(fd, path, LINE_MAX_DEFAULT);
	json_t *out = json_object();
	char *line;
	size_t n;

	if (!l) {
		err_set(e, "%s: %s", path, strerror(errno));
		goto bad;
	}
	while ((got = lines_next(l, &line, &n, &too_long, e)) > 0) {
		char *copy = xstrndup(line, n);
		struct err why;
		int rc = 0;

		if (verdict < 0) {
			id = column_named(copy, "id");
			verdict = column_named(copy, "verdict");
			if (id < 0 || verdict < 0)
				rc = err_set(&why, "no header line with the columns id and verdict");
		} else {
			rc = read_row(out, copy, id, verdict, words, &why);
		}
		free(copy);
		if (rc < 0) {
			err_set(e, "%s:%zu: %s", path, lines_at(l), why.msg);
			goto bad;
		}
	}
	if (got < 0)
		goto bad;
	lines_free(l);
	close(fd);
	return out;
bad:
	if (l)
		lines_free(l);
	if (fd >= 0)
		close(fd);
	json_decref(out);
	return NULL;
}

json_t *
review_marks(const char *dir, json_t *given, const struct review_word *words, struct err *e)
{
	struct buf path = BUF_INIT(65536);
	json_t *marks;

	if (given)
		return json_incref(given);
	buf_addf(&path, "%s/review.tsv", dir);
	marks = access(path.p, F_OK) < 0 ? json_object() : review_read(path.p, words, e);
	buf_free(&path);
	return marks;
}
