/* subjects.c - see subjects.h */

#include "subjects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <xxhash.h>

#include "csv.h"

#define CSV_MAX ((size_t)256 << 20)	/* bytes of a file */

/* Where the six members of a row are. */
enum { QUESTION, OPTION_A, ANSWER = OPTION_A + EXAM_OPTIONS, MEMBERS };
static const char *const member[MEMBERS] = { "question", "A", "B", "C", "D", "answer" };

/* ---- mapping.json ---- */

static int
group_named(struct exam *x, const char *name)
{
	for (size_t i = 0; i < x->groups; i++)
		if (strcmp(x->group[i], name) == 0)
			return (int)i;
	if (x->groups == sizeof x->group / sizeof *x->group)
		return -1;
	x->group[x->groups] = xstrdup(name);
	return (int)x->groups++;
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct subject *)a)->key, ((const struct subject *)b)->key);
}

static int
read_mapping(struct exam *x, const char *path, struct err *e)
{
	static const char *const usual[] = { "STEM", "Social Sciences", "Humanities", "Other" };
	json_error_t je;
	json_t *all = json_load_file(path, 0, &je), *o;
	const char *key;
	int rc = 0;

	if (!json_is_object(all)) {
		json_decref(all);
		return je.line > 0 ? err_set(e, "%s:%d: %s", path, je.line, je.text) : err_set(e, "%s: %s", path, all ? "not an object" : je.text);
	}
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		group_named(x, usual[i]);
	x->subject = xcalloc(json_object_size(all) + 1, sizeof *x->subject);
	json_object_foreach(all, key, o) {
		const char *name = json_string_value(json_object_get(o, "name")), *group = json_string_value(json_object_get(o, "category"));
		struct subject *s = &x->subject[x->subjects];

		if (!name || !group || (s->group = group_named(x, group)) < 0) {
			rc = err_set(e, "%s: subject '%.80s' has no %s", path, key, !name ? "name" : !group ? "category" : "category of few");
			break;
		}
		s->key = xstrdup(key);
		s->name = xstrdup(name);
		x->subjects++;
	}
	if (rc == 0 && x->subjects == 0)
		rc = err_set(e, "%s: no subjects in it", path);
	qsort(x->subject, x->subjects, sizeof *x->subject, by_key);
	json_decref(all);
	return rc;
}

/* ---- the files of a subject ---- */

/* Whether the row is a header; then where the members are goes to `at`. */
static bool
read_header(const struct csv *c, int at[MEMBERS])
{
	int found[MEMBERS];

	for (int m = 0; m < MEMBERS; m++) {
		size_t i = 0;

		while (i < c->cells && strcasecmp(c->cell[i], member[m]) != 0)
			i++;
		if (i == c->cells)
			return false;
		found[m] = (int)i;
	}
	memcpy(at, found, sizeof found);
	return true;
}

static int
read_row(struct sample *s, const struct csv *c, const int at[MEMBERS], struct err *e)
{
	const char *answer;

	for (int m = 0; m < MEMBERS; m++)
		if ((size_t)at[m] >= c->cells || !*c->cell[at[m]])
			return err_set(e, "no %s", member[m]);
	answer = c->cell[at[ANSWER]];
	if (answer[0] < 'A' || answer[0] >= 'A' + EXAM_OPTIONS || answer[1])
		return err_set(e, "the answer '%.20s' is none of A to %c", answer, 'A' + EXAM_OPTIONS - 1);
	*s = (struct sample){ .prompt = xstrdup(c->cell[at[QUESTION]]), .noptions = EXAM_OPTIONS, .answer = answer[0] - 'A' };
	for (int i = 0; i < EXAM_OPTIONS; i++)
		s->options[i] = xstrdup(c->cell[at[OPTION_A + i]]);
	return 0;
}

static void
add_question(struct exam *x, size_t subject, struct sample *s, size_t row)
{
	struct buf id = BUF_INIT(4096);

	buf_addf(&id, "%s-%zu", x->subject[subject].key, row);
	s->id = buf_take(&id);
	s->category = (int)subject;
	samples_add(&x->list, s);
}

/* The rows of a file: the first `most` become examples, or all become questions. */
static int
read_rows(struct exam *x, size_t subject, const char *path, const struct buf *text, bool examples, size_t most, struct err *e)
{
	int at[MEMBERS] = { 0, 1, 2, 3, 4, 5 }, got;
	struct subject *sub = &x->subject[subject];
	struct sample s;
	struct err why;
	struct csv c;
	size_t row = 0;

	csv_init(&c, text->p, text->n);
	for (size_t line = 0; (got = csv_next(&c, &why)) > 0; line++) {
		if (line == 0 && read_header(&c, at))
			continue;
		if (examples && sub->nshots == most)
			break;
		if ((got = read_row(&s, &c, at, &why)) < 0)
			break;
		if (examples)
			sub->shots[sub->nshots++] = s;
		else
			add_question(x, subject, &s, ++row);
	}
	if (got < 0)
		err_set(e, "%s:%zu: %s", path, c.line ? c.line : 1, why.msg);
	csv_free(&c);
	if (got >= 0 && examples && sub->nshots < most)
		return err_set(e, "%s: %zu examples, not %zu", path, sub->nshots, most);
	return got < 0 ? -1 : 0;
}

/* DIR/SPLIT/KEY_SPLIT.csv or DIR/SPLIT/KEY.csv. The path is the caller's. */
static char *
file_of(const char *dir, const char *split, const char *key)
{
	struct buf b = BUF_INIT(65536);

	buf_addf(&b, "%s/%s/%s_%s.csv", dir, split, key, split);
	if (access(b.p, F_OK) < 0) {
		buf_clear(&b);
		buf_addf(&b, "%s/%s/%s.csv", dir, split, key);
	}
	return buf_take(&b);
}

static int
read_file(struct exam *x, size_t subject, const char *dir, const char *split, bool examples, size_t most, XXH3_state_t *h, struct err *e)
{
	char *path = file_of(dir, split, x->subject[subject].key);
	struct buf text = BUF_INIT(CSV_MAX);
	int rc = buf_read_file(&text, path, e);

	if (rc == 0) {
		XXH3_64bits_update(h, text.p, text.n);
		rc = read_rows(x, subject, path, &text, examples, most, e);
	}
	buf_free(&text);
	free(path);
	return rc;
}

/* ---- the directory ---- */

static char *
join(const char *dir, const char *name)
{
	struct buf b = BUF_INIT(65536);

	if (buf_addf(&b, "%s/%s", dir, name) < 0)
		die(STATUS_USAGE, "%s: the path is too long", dir);
	return buf_take(&b);
}

/* DIR or DIR/data, whichever has the split's folder. */
static char *
folder_of(const char *dir, const char *split)
{
	char *data = join(dir, "data"), *in = join(data, split);

	if (access(in, F_OK) < 0) {
		free(data);
		data = xstrdup(dir);
	}
	free(in);
	return data;
}

/* The files are published as a zip, which is easily left packed. */
static int
check_folder(const char *dir, const char *folder, const char *split, struct err *e)
{
	char *in = join(folder, split);
	int rc = access(in, F_OK) == 0 ? 0 : err_set(e, "%s: no folder '%s' in it: unpack the benchmark's zip there", dir, split);

	free(in);
	return rc;
}

int
exam_load(struct exam *x, const char *dir, const char *split, size_t shots, struct err *e)
{
	char *mapping = join(dir, "mapping.json"), *folder = folder_of(dir, split);
	XXH3_state_t *h = XXH3_createState();
	int rc;

	*x = (struct exam){ 0 };
	XXH3_64bits_reset(h);
	rc = read_mapping(x, mapping, e);
	if (rc == 0)
		rc = check_folder(dir, folder, split, e);
	for (size_t i = 0; i < x->subjects && rc == 0; i++) {
		XXH3_64bits_update(h, x->subject[i].name, strlen(x->subject[i].name) + 1);
		if (shots)
			rc = read_file(x, i, folder, "dev", true, shots, h, e);
		if (rc == 0)
			rc = read_file(x, i, folder, split, false, 0, h, e);
	}
	snprintf(x->data_hash, sizeof x->data_hash, "%016llx", (unsigned long long)XXH3_64bits_digest(h));
	XXH3_freeState(h);
	if (rc == 0 && x->list.n == 0)
		rc = err_set(e, "%s: no questions in it", folder);
	free(folder);
	free(mapping);
	return rc;
}

void
exam_free(struct exam *x)
{
	for (size_t i = 0; i < x->subjects; i++) {
		struct subject *s = &x->subject[i];

		for (size_t k = 0; k < s->nshots; k++)
			sample_free(&s->shots[k]);
		free(s->key);
		free(s->name);
	}
	for (size_t i = 0; i < x->groups; i++)
		free(x->group[i]);
	free(x->subject);
	samples_free(&x->list);
}

/* ---- prompts ---- */

static void
add_header(const struct wording *w, const struct subject *s, struct buf *out)
{
	const char *at = strstr(w->header, "%s");

	buf_add(out, w->header, (size_t)(at - w->header));
	for (const char *p = w->header_key ? s->key : s->name; *p; p++)
		buf_addc(out, w->header_key && *p == '_' ? ' ' : *p);
	buf_adds(out, at + 2);
}

static void
add_block(const struct wording *w, const struct sample *s, struct buf *out)
{
	buf_adds(out, w->question);
	buf_adds(out, s->prompt);
	for (int i = 0; i < EXAM_OPTIONS; i++)
		buf_addf(out, "\n%c. %s", 'A' + i, s->options[i]);
	buf_adds(out, w->answer);
}

void
exam_prompt(const struct exam *x, const struct wording *w, size_t shots, const struct sample *s, struct buf *out)
{
	const struct subject *sub = &x->subject[s->category];

	if (w->header)
		add_header(w, sub, out);
	for (size_t i = 0; i < shots; i++) {
		add_block(w, &sub->shots[i], out);
		buf_addf(out, "%s%c\n\n", w->letter, 'A' + sub->shots[i].answer);
	}
	add_block(w, s, out);
}
