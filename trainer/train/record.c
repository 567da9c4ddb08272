/* record.c - the kinds of record */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

const struct shape shape_any = { .kind = SHAPE_ANY };

/* What a record of SHAPE_ANY is read by when it is of these kinds. */
static const struct shape any_alpaca = {
	.kind = SHAPE_ALPACA, .prompt = "instruction", .query = "input", .response = "output", .history = "history", .system = "system",
};
static const struct shape any_pair = { .kind = SHAPE_ALPACA, .prompt = "prompt", .response = "response", .history = "history", .system = "system" };
static const struct shape any_sharegpt = {
	.kind = SHAPE_SHAREGPT, .messages = "conversations", .role = "from", .content = "value", .user = "human", .assistant = "gpt",
	.system_word = "system", .observation = "observation", .function = "function_call", .system = "system",
};

static void
say(struct talk *t, const char *role, const char *text)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 8;
		t->m = xreallocarray(t->m, t->cap, sizeof *t->m);
	}
	t->m[t->n++] = (struct msg){ role, text };
}

static const char *
text_of(const json_t *record, const char *name)
{
	return name ? json_string_value(json_object_get(record, name)) : NULL;
}

/* A string member that may be missing: 0 with "" when it is absent or null, -1 when it is something else. */
static int
optional(const json_t *record, const char *name, const char **out, struct err *e)
{
	const json_t *v = name ? json_object_get(record, name) : NULL;

	*out = "";
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return err_set(e, "\"%s\" is not a string", name);
	*out = json_string_value(v);
	return 0;
}

static int
from_messages(struct talk *t, const json_t *record, struct err *e)
{
	const json_t *messages = json_object_get(record, "messages"), *m;
	const char *system, *first = text_of(json_array_get(messages, 0), "role");
	size_t i;

	if (!json_is_array(messages))
		return err_set(e, "\"messages\" is not an array");
	if (optional(record, "system", &system, e) < 0)
		return -1;
	if (*system && first && strcmp(first, "system") != 0)
		say(t, "system", system);
	json_array_foreach(messages, i, m) {
		const char *role = text_of(m, "role"), *content = text_of(m, "content");

		if (!role || !content)
			return err_set(e, "messages[%zu] has no \"role\" and \"content\" strings", i);
		say(t, role, content);
	}
	return 0;
}

/* ---- alpaca ---- */

static int
from_history(struct talk *t, const json_t *history, const char *name, struct err *e)
{
	size_t i;
	const json_t *turn;

	if (!history || json_is_null(history))
		return 0;
	if (!json_is_array(history))
		return err_set(e, "\"%s\" is not an array", name);
	json_array_foreach(history, i, turn) {
		const char *user = json_string_value(json_array_get(turn, 0)), *assistant = json_string_value(json_array_get(turn, 1));

		if (!user || !assistant)
			return err_set(e, "%s[%zu] is not a pair of strings", name, i);
		say(t, "user", user);
		say(t, "assistant", assistant);
	}
	return 0;
}

/* As LLaMA-Factory reads it: prompt and query are joined by a newline, an empty one is left out. */
static int
from_alpaca(struct talk *t, const json_t *record, const struct shape *s, struct err *e)
{
	const char *prompt, *query, *system, *response = text_of(record, s->response);

	if (optional(record, s->prompt, &prompt, e) < 0 || optional(record, s->query, &query, e) < 0 || optional(record, s->system, &system, e) < 0)
		return -1;
	if (!response)
		return s->response ? err_set(e, "no \"%s\" string", s->response) : err_set(e, "the dataset has no response column");
	if (*system)
		say(t, "system", system);
	if (s->history && from_history(t, json_object_get(record, s->history), s->history, e) < 0)
		return -1;
	if (*prompt && *query) {
		size_t n = strlen(prompt), m = strlen(query);

		t->joined = xmalloc(n + m + 2);
		memcpy(t->joined, prompt, n);
		t->joined[n] = '\n';
		memcpy(t->joined + n + 1, query, m + 1);
		prompt = t->joined;
	} else if (*query) {
		prompt = query;
	}
	say(t, "user", prompt);
	say(t, "assistant", response);
	return 0;
}

/* ---- sharegpt ---- */

static bool
is(const char *role, const char *word)
{
	return word && strcmp(role, word) == 0;
}

/* One turn, the k-th after the system message. */
static int
add_turn(struct talk *t, const struct shape *s, const char *role, const char *content, size_t k, struct err *e)
{
	if (is(role, s->observation) || is(role, s->function))
		return err_set(e, "a turn of \"%s\": calls of tools are not known", role);
	if (!is(role, k % 2 ? s->assistant : s->user)) {
		err_set(e, "turn %zu is of \"%.60s\" where \"%s\" was expected", k + 1, role, k % 2 ? s->assistant : s->user);
		return 1;
	}
	say(t, k % 2 ? "assistant" : "user", content);
	return 0;
}

static int
from_sharegpt(struct talk *t, const json_t *record, const struct shape *s, struct err *e)
{
	const json_t *messages = s->messages ? json_object_get(record, s->messages) : NULL, *m;
	const char *system;
	size_t i, turns = 0;
	int rc;

	if (!json_is_array(messages))
		return err_set(e, "no \"%s\" array", s->messages ? s->messages : "messages");
	if (optional(record, s->system, &system, e) < 0)
		return -1;
	if (*system)
		say(t, "system", system);
	json_array_foreach(messages, i, m) {
		const char *role = text_of(m, s->role), *content = text_of(m, s->content);

		if (!role || !content)
			return err_set(e, "%s[%zu] has no \"%s\" and \"%s\" strings", s->messages, i, s->role ? s->role : "role", s->content ? s->content : "content");
		if (i == 0 && is(role, s->system_word)) {
			t->n = 0;
			say(t, "system", content);
			continue;
		}
		rc = add_turn(t, s, role, content, turns++, e);
		if (rc != 0)
			return rc;
	}
	if (turns > 0 && turns % 2 == 0)
		return 0;
	err_set(e, turns ? "the last turn is not the assistant's" : "there are no turns");
	return 1;
}

/* ---- any ---- */

/* A member that is null is there for the sake of other records. */
static bool
is_given(const json_t *record, const char *name)
{
	const json_t *v = json_object_get(record, name);

	return v && !json_is_null(v);
}

static int
from_any(struct talk *t, const json_t *record, struct err *e)
{
	if (is_given(record, "messages"))
		return from_messages(t, record, e);
	if (is_given(record, "conversations"))
		return from_sharegpt(t, record, &any_sharegpt, e);
	if (text_of(record, "instruction") && text_of(record, "output"))
		return from_alpaca(t, record, &any_alpaca, e);
	if (text_of(record, "prompt") && text_of(record, "response"))
		return from_alpaca(t, record, &any_pair, e);
	t->text = text_of(record, "text");
	return t->text ? 0 : err_set(e, "no known kind of record: it needs messages, conversations, instruction and output, prompt and response, or text");
}

int
talk_read(struct talk *t, const json_t *record, const struct shape *shape, struct err *e)
{
	*t = (struct talk){ 0 };
	if (!json_is_object(record))
		return err_set(e, "not a JSON object");
	switch (shape->kind) {
	case SHAPE_ALPACA:
		return from_alpaca(t, record, shape, e);
	case SHAPE_SHAREGPT:
		return from_sharegpt(t, record, shape, e);
	case SHAPE_ANY:
		break;
	}
	return from_any(t, record, e);
}

void
talk_free(struct talk *t)
{
	free(t->joined);
	free(t->m);
}
