/* dataset.c - reads an entry of dataset_info.json */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "dataset.h"

static const struct shape alpaca = { .kind = SHAPE_ALPACA, .prompt = "instruction", .query = "input", .response = "output" };
static const struct shape sharegpt = {
	.kind = SHAPE_SHAREGPT, .messages = "conversations", .role = "from", .content = "value", .user = "human", .assistant = "gpt",
	.system_word = "system", .observation = "observation", .function = "function_call",
};

struct name {
	const char *name;
	const char **to;	/* NULL: a member that would change the data and is not known */
};

/* The members of `given` into their places, all of which are NULL before. */
static int
take(const json_t *given, const char *what, const struct name *names, struct err *e)
{
	const char *key;
	const json_t *v;

	for (const struct name *n = names; n->name; n++)
		if (n->to)
			*n->to = NULL;
	if (!json_is_object(given))
		return err_set(e, "\"%s\" is not an object", what);
	json_object_foreach((json_t *)given, key, v) {
		const struct name *n = names;

		while (n->name && strcmp(n->name, key) != 0)
			n++;
		if (json_is_null(v))
			continue;
		if (!n->name || !n->to)
			return err_set(e, "\"%s\": \"%.60s\" is not known here", what, key);
		if (!json_is_string(v))
			return err_set(e, "\"%s\": \"%.60s\" is not a string", what, key);
		*n->to = json_string_value(v);
	}
	return 0;
}

static int
columns(struct shape *s, const json_t *given, struct err *e)
{
	const char *unused;
	bool chat = s->kind == SHAPE_SHAREGPT;
	const struct name names[] = {
		{ "prompt", chat ? &unused : &s->prompt }, { "query", chat ? &unused : &s->query }, { "response", chat ? &unused : &s->response },
		{ "history", chat ? &unused : &s->history }, { "messages", chat ? &s->messages : &unused }, { "system", &s->system },
		{ "tools", NULL }, { "images", NULL }, { "videos", NULL }, { "audios", NULL },
		{ "chosen", &s->chosen }, { "rejected", &s->rejected }, { "kto_tag", &s->label }, { 0 },
	};

	return given ? take(given, "columns", names, e) : 0;
}

static int
tags(struct shape *s, const json_t *given, struct err *e)
{
	const struct name names[] = {
		{ "role_tag", &s->role }, { "content_tag", &s->content }, { "user_tag", &s->user }, { "assistant_tag", &s->assistant },
		{ "observation_tag", &s->observation }, { "function_tag", &s->function }, { "system_tag", &s->system_word }, { 0 },
	};

	return given && s->kind == SHAPE_SHAREGPT ? take(given, "tags", names, e) : 0;
}

/* Members of an entry beside those below that say where else it is, or what else is in it. */
static int
check_members(const json_t *entry, struct err *e)
{
	static const char *const elsewhere[] = { "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", NULL };
	static const char *const fine[] = { "file_name", "formatting", "columns", "tags", "num_samples", "split", "file_sha1", "ranking", NULL };
	const char *key;
	const json_t *v;

	for (const char *const *name = elsewhere; *name; name++)
		if (json_is_string(json_object_get(entry, *name)))
			return err_set(e, "\"%s\": nothing is downloaded here; fetch the file and give its place as \"file_name\" instead", *name);
	json_object_foreach((json_t *)entry, key, v) {
		const char *const *f = fine;

		while (*f && strcmp(*f, key) != 0)
			f++;
		if (!*f && !json_is_null(v) && !json_is_false(v))
			return err_set(e, "\"%.60s\" is not known here", key);
	}
	return 0;
}

/* Only where "ranking" is true are there pairs; of alpaca one of them stands where the response would. */
static int
ranking(struct shape *s, const json_t *given, struct err *e)
{
	if (!json_is_true(given)) {
		s->chosen = s->rejected = NULL;
		return 0;
	}
	if (!s->chosen || !s->rejected)
		return err_set(e, "\"ranking\", but \"columns\" does not name \"chosen\" and \"rejected\"");
	s->response = s->chosen;
	return 0;
}

static int
read_entry(struct dataset *d, const json_t *entry, struct err *e)
{
	const json_t *file = json_object_get(entry, "file_name"), *form = json_object_get(entry, "formatting"), *most = json_object_get(entry, "num_samples");
	const char *formatting = form ? json_string_value(form) : "alpaca";

	if (!json_is_object(entry))
		return err_set(e, "not an object");
	if (check_members(entry, e) < 0)
		return -1;
	if (!json_is_string(file))
		return err_set(e, "no \"file_name\"");
	if (!formatting || (strcmp(formatting, "alpaca") != 0 && strcmp(formatting, "sharegpt") != 0))
		return err_set(e, "\"formatting\" is neither alpaca nor sharegpt");
	if (most && !json_is_null(most) && (!json_is_integer(most) || json_integer_value(most) < 1))
		return err_set(e, "\"num_samples\" is not a whole number above 0");
	d->shape = formatting[0] == 'a' ? alpaca : sharegpt;
	d->most = json_is_integer(most) ? (size_t)json_integer_value(most) : 0;
	if (columns(&d->shape, json_object_get(entry, "columns"), e) < 0 || ranking(&d->shape, json_object_get(entry, "ranking"), e) < 0)
		return -1;
	return tags(&d->shape, json_object_get(entry, "tags"), e);
}

/* The columns that may be missing in a record, and so in all of them when the name is wrong. The default of "query" is in few files. */
enum { COLUMNS = 4 };

static void
optional_columns(const struct shape *s, const char *names[COLUMNS])
{
	names[0] = s->prompt;
	names[1] = s->query == alpaca.query ? NULL : s->query;
	names[2] = s->system;
	names[3] = s->history;
}

unsigned
dataset_columns(const struct shape *s, const json_t *record)
{
	const char *names[COLUMNS];
	unsigned seen = 0;

	optional_columns(s, names);
	for (int i = 0; i < COLUMNS; i++)
		seen |= names[i] && json_object_get(record, names[i]) ? 1u << i : 0;
	return seen;
}

int
dataset_check(const struct dataset *d, unsigned seen, struct err *e)
{
	const char *names[COLUMNS];

	optional_columns(&d->shape, names);
	for (int i = 0; d->info && i < COLUMNS; i++)
		if (names[i] && !(seen & 1u << i))
			return err_set(e, "%s: no record has \"%.60s\", which its columns in dataset_info.json name", d->path, names[i]);
	return 0;
}

/* Beside `info`, unless the name is absolute. */
static char *
place(const char *info, const char *file)
{
	struct buf b = BUF_INIT(65536);
	const char *slash = strrchr(info, '/');

	if (*file != '/' && slash)
		buf_add(&b, info, (size_t)(slash + 1 - info));
	if (buf_adds(&b, file) < 0)
		die(STATUS_USAGE, "%.100s: the path is too long", file);
	return buf_take(&b);
}

int
dataset_find(struct dataset *d, const char *info, const char *name, struct err *e)
{
	json_error_t je;
	const json_t *entry;
	struct err why;

	*d = (struct dataset){ .info = json_load_file(info, JSON_REJECT_DUPLICATES, &je) };
	if (!d->info)
		return je.line < 0 ? err_set(e, "%s: %s", info, strerror(errno)) : err_set(e, "%s:%d: %s", info, je.line, je.text);
	entry = json_object_get(d->info, name);
	if (!entry)
		return err_set(e, "%s: there is no data set \"%s\"", info, name);
	if (read_entry(d, entry, &why) < 0)
		return err_set(e, "%s: %.100s: %.300s", info, name, why.msg);
	d->path = place(info, json_string_value(json_object_get(entry, "file_name")));
	return 0;
}

void
dataset_plain(struct dataset *d, const char *path)
{
	*d = (struct dataset){ .path = xstrdup(path), .shape = shape_any };
}

void
dataset_free(struct dataset *d)
{
	free(d->path);
	json_decref(d->info);
}
