/* taxonomy.c - see taxonomy.h */

#include "taxonomy.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "prompt.h"

EMBED(taxonomy_json, "filters/taxonomy.json");

struct taxonomy {
	json_t *root;		/* owns every string below */
	struct category category[CATEGORIES_MAX];
	size_t n;
	json_t *none;		/* the "none" entry: {"name", "zh", "labels"} */
};

static const char *
member(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static int
add_category(struct taxonomy *t, const json_t *o, const char *where, struct err *e)
{
	struct category *c = &t->category[t->n];

	if (t->n == CATEGORIES_MAX)
		return err_set(e, "%s: more than %d categories", where, CATEGORIES_MAX);
	c->code = member(o, "code");
	c->name = member(o, "name");
	c->zh = member(o, "zh");
	if (!c->code || !c->name || !json_is_array(json_object_get(o, "labels")))
		return err_set(e, "%s: category %zu lacks \"code\", \"name\" or \"labels\"", where, t->n + 1);
	if (!c->zh)
		c->zh = c->name;
	t->n++;
	return 0;
}

struct taxonomy *
taxonomy_load(const char *path, struct err *e)
{
	struct taxonomy *t = xcalloc(1, sizeof *t);
	const char *where = path ? path : "taxonomy.json";
	json_error_t je;
	json_t *list, *o;
	size_t i;

	t->root = path ? json_load_file(path, 0, &je) : json_loadb(taxonomy_json, (size_t)(taxonomy_json_end - taxonomy_json), 0, &je);
	if (!t->root) {
		err_set(e, "%s:%d: %s", where, je.line, je.text);
		goto bad;
	}
	t->none = json_object_get(t->root, "none");
	list = json_object_get(t->root, "categories");
	if (!json_is_array(list) || json_array_size(list) == 0) {
		err_set(e, "%s: no \"categories\"", where);
		goto bad;
	}
	json_array_foreach(list, i, o)
		if (add_category(t, o, where, e) < 0)
			goto bad;
	return t;
bad:
	taxonomy_free(t);
	return NULL;
}

void
taxonomy_free(struct taxonomy *t)
{
	if (!t)
		return;
	json_decref(t->root);
	free(t);
}

size_t
taxonomy_size(const struct taxonomy *t)
{
	return t->n;
}

const struct category *
taxonomy_at(const struct taxonomy *t, size_t i)
{
	return &t->category[i];
}

static int
same(const char *a, const char *b)
{
	return a && strcasecmp(a, b) == 0;
}

int
taxonomy_category(const struct taxonomy *t, const char *word)
{
	for (size_t i = 0; i < t->n; i++)
		if (same(t->category[i].code, word) || same(t->category[i].name, word) || same(t->category[i].zh, word))
			return (int)i;
	if (same("none", word) || same(member(t->none, "name"), word) || same(member(t->none, "zh"), word))
		return -1;
	return -2;
}

static int
has_label(const json_t *o, const char *label)
{
	const json_t *list = json_object_get(o, "labels"), *l;
	size_t i;

	json_array_foreach(list, i, l)
		if (same(json_string_value(l), label))
			return 1;
	return 0;
}

int
taxonomy_fold(const struct taxonomy *t, const char *label)
{
	const json_t *list = json_object_get(t->root, "categories"), *o;
	int c = taxonomy_category(t, label);
	size_t i;

	if (c != -2)
		return c;
	json_array_foreach(list, i, o)
		if (has_label(o, label))
			return (int)i;
	return has_label(t->none, label) ? -1 : -2;
}

const char *
taxonomy_code(const struct taxonomy *t, int category)
{
	return category < 0 ? "none" : t->category[category].code;
}
