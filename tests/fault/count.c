/* count.c - what a fault server counts and logs */

#include "count.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define LOG_BUFFER ((size_t)1 << 20)

/* One body that was asked, by its hash: a table of 2^n places, at most half of them taken, the next free place on a clash. */
struct body {
	uint64_t hash;		/* 0: free */
	uint32_t asked, paid;
};

static struct body *table;
static size_t places, distinct;
static long long requests, connections, paid, paid_again;
static int at_once, most_at_once;
static FILE *log_file;

/* ---- bodies ---- */

static struct body *
place_of(struct body *t, size_t n, uint64_t hash)
{
	size_t i = hash & (n - 1);

	while (t[i].hash && t[i].hash != hash)
		i = (i + 1) & (n - 1);
	return &t[i];
}

static void
grow(void)
{
	size_t n = places ? 2 * places : 1024;
	struct body *t = xcalloc(n, sizeof *t);

	for (size_t i = 0; i < places; i++)
		if (table[i].hash)
			*place_of(t, n, table[i].hash) = table[i];
	free(table);
	table = t;
	places = n;
}

static struct body *
body_of(uint64_t hash)
{
	struct body *b;

	if (2 * (distinct + 1) > places)
		grow();
	b = place_of(table, places, hash ? hash : 1);
	if (!b->hash) {
		b->hash = hash ? hash : 1;
		distinct++;
	}
	return b;
}

long
count_asked(uint64_t hash)
{
	return ++body_of(hash)->asked;
}

void
count_paid(uint64_t hash)
{
	struct body *b = body_of(hash);

	paid += b->paid == 0;
	paid_again += b->paid > 0;
	b->paid++;
}

/* ---- sums ---- */

void
count_connection(void)
{
	connections++;
}

void
count_enter(void)
{
	at_once++;
	if (at_once > most_at_once)
		most_at_once = at_once;
}

void
count_leave(void)
{
	at_once--;
}

static void
add_to(json_t *o, const char *key, long long n)
{
	json_object_set_new(o, key, json_integer(json_integer_value(json_object_get(o, key)) + n));
}

static void
add_action(const struct action *a, void *o)
{
	json_t *name = json_loads(a->name, JSON_DECODE_ANY, NULL);

	add_to(o, name ? json_string_value(name) : "not UTF-8", a->count);
	json_decref(name);
}

char *
count_json(void)
{
	json_t *actions = json_object(), *asked = json_object(), *o;
	char *text, key[16];

	script_each(add_action, actions);
	for (size_t i = 0; i < places; i++) {
		if (!table[i].asked)
			continue;
		snprintf(key, sizeof key, "%u", table[i].asked);
		add_to(asked, key, 1);
	}
	o = json_pack("{s:I, s:I, s:i, s:I, s:o, s:I, s:I, s:o}", "requests", (json_int_t)requests, "connections", (json_int_t)connections,
		      "at_once", most_at_once, "distinct", (json_int_t)distinct, "asked", asked, "paid", (json_int_t)paid,
		      "paid_again", (json_int_t)paid_again, "actions", actions);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

/* ---- the log ---- */

void
count_open_log(const char *path)
{
	if (!path)
		return;
	log_file = fopen(path, "ae");
	if (!log_file || setvbuf(log_file, NULL, _IOFBF, LOG_BUFFER) != 0)
		die(STATUS_IO, "%s: %s", path, strerror(errno));
}

void
count_flush(void)
{
	if (log_file)
		fflush(log_file);
}

void
count_log(const char *path, const struct asker *who, const struct action *a, long attempt, const char *body, size_t n)
{
	requests++;
	if (!log_file)
		return;
	fprintf(log_file, "{\"path\":\"%s\",\"auth\":\"%s\",\"org\":\"%s\",\"project\":\"%s\",\"at_once\":%d,\"attempt\":%ld,\"action\":%s,\"body\":", path,
		who->auth, who->org, who->project, at_once, attempt, a->name);
	fwrite(body, 1, n, log_file);
	fputs("}\n", log_file);
}
