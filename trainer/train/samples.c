/* samples.c - a record becomes the tokens of a training sample */
#include <stdlib.h>
#include <string.h>

#include "samples.h"

/* A conversation built from a record; texts point into the record, except for the joined ones. */
struct talk {
	struct msg *m;
	size_t n, cap;
	char *joined;
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
text_of(json_t *record, const char *name)
{
	return json_string_value(json_object_get(record, name));
}

/* An optional string member: 0 with "" when it is absent or null, -1 when it is something else. */
static int
optional(json_t *record, const char *name, const char **out, struct err *e)
{
	json_t *v = json_object_get(record, name);

	*out = "";
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return err_set(e, "\"%s\" is not a string", name);
	*out = json_string_value(v);
	return 0;
}

static int
from_messages(struct talk *t, json_t *messages, struct err *e)
{
	size_t i;
	json_t *m;

	if (!json_is_array(messages))
		return err_set(e, "\"messages\" is not an array");
	json_array_foreach(messages, i, m) {
		const char *role = text_of(m, "role"), *content = text_of(m, "content");

		if (!role || !content)
			return err_set(e, "messages[%zu] has no \"role\" and \"content\" strings", i);
		say(t, role, content);
	}
	return 0;
}

static int
from_history(struct talk *t, json_t *history, struct err *e)
{
	size_t i;
	json_t *turn;

	if (!history || json_is_null(history))
		return 0;
	if (!json_is_array(history))
		return err_set(e, "\"history\" is not an array");
	json_array_foreach(history, i, turn) {
		const char *user = json_string_value(json_array_get(turn, 0)), *assistant = json_string_value(json_array_get(turn, 1));

		if (!user || !assistant)
			return err_set(e, "history[%zu] is not a pair of strings", i);
		say(t, "user", user);
		say(t, "assistant", assistant);
	}
	return 0;
}

/* Alpaca as LLaMA-Factory reads it: instruction and input are joined by a newline, an empty one is left out. */
static int
from_alpaca(struct talk *t, json_t *record, struct err *e)
{
	const char *instruction = text_of(record, "instruction"), *output = text_of(record, "output"), *input, *system;

	if (optional(record, "input", &input, e) < 0 || optional(record, "system", &system, e) < 0)
		return -1;
	if (*system)
		say(t, "system", system);
	if (from_history(t, json_object_get(record, "history"), e) < 0)
		return -1;
	if (*instruction && *input) {
		size_t n = strlen(instruction) + strlen(input) + 2;

		t->joined = xmalloc(n);
		strcpy(t->joined, instruction);
		strcat(strcat(t->joined, "\n"), input);
		say(t, "user", t->joined);
	} else {
		say(t, "user", *input ? input : instruction);
	}
	say(t, "assistant", output);
	return 0;
}

static int
find_template(struct sampler *how, struct err *e)
{
	if (how->template_known)
		return 0;
	if (how->template_name ? template_by_name(how->template_name, &how->template, e) < 0 : template_detect(how->dir, &how->template, e) < 0)
		return -1;
	how->template_known = true;
	return 0;
}

/* Where a template shows a date, a fixed one: the same data must give the same samples tomorrow. It is the one HF's template falls back on. */
static int
encode_talk(struct sampler *how, const struct talk *t, struct err *e)
{
	static const struct render render = { .add_generation = false, .date = "26 Jul 2024" };

	if (find_template(how, e) < 0)
		return -1;
	return template_ids(how->tok, how->template, t->m, t->n, &render, &how->ids, &how->mark, e);
}

static void
encode_text(struct sampler *how, const char *text)
{
	if (how->bos >= 0)
		ids_add(&how->ids, how->bos);
	tok_encode(how->tok, text, strlen(text), false, &how->ids);
	if (how->end >= 0)
		ids_add(&how->ids, how->end);
	while (how->mark.n < how->ids.n)
		ids_add(&how->mark, 1);
}

static int
encode(struct sampler *how, json_t *record, struct err *e)
{
	struct talk t = { 0 };
	json_t *messages = json_object_get(record, "messages");
	int rc = -1;

	if (messages) {
		rc = from_messages(&t, messages, e);
	} else if (text_of(record, "instruction") && text_of(record, "output")) {
		rc = from_alpaca(&t, record, e);
	} else if (text_of(record, "prompt") && text_of(record, "response")) {
		say(&t, "user", text_of(record, "prompt"));
		say(&t, "assistant", text_of(record, "response"));
		rc = 0;
	} else if (text_of(record, "text")) {
		encode_text(how, text_of(record, "text"));
		return 0;
	} else {
		err_set(e, "no known kind of record: it needs messages, instruction and output, prompt and response, or text");
	}
	if (rc == 0)
		rc = encode_talk(how, &t, e);
	free(t.joined);
	free(t.m);
	return rc;
}

static void
reserve(struct samples *s, size_t tokens)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 1024;
		s->v = xreallocarray(s->v, s->cap, sizeof *s->v);
	}
	if (s->tokens + tokens > s->tokens_cap) {
		s->tokens_cap = s->tokens_cap + s->tokens_cap / 2 + tokens + 65536;
		s->ids = xreallocarray(s->ids, s->tokens_cap, sizeof *s->ids);
		s->target = xreallocarray(s->target, s->tokens_cap, sizeof *s->target);
	}
}

/* Append ids[0..n) with their targets, unless nothing in it is supervised. */
static void
append(struct samples *s, const int *ids, const int *mark, int n, size_t line)
{
	struct sample one = { .at = s->tokens, .n = n, .line = line };

	reserve(s, (size_t)n);
	for (int i = 0; i < n; i++) {
		bool next = i + 1 < n && mark[i + 1];

		s->ids[one.at + i] = ids[i];
		s->target[one.at + i] = next ? ids[i + 1] : -1;
		one.supervised += next;
	}
	if (!one.supervised) {
		s->dropped++;
		return;
	}
	s->v[s->n++] = one;
	s->tokens += (size_t)n;
	s->supervised += (size_t)one.supervised;
}

int
samples_add(struct samples *s, struct sampler *how, json_t *record, size_t line, struct err *e)
{
	size_t n;

	if (!json_is_object(record))
		return err_set(e, "not a JSON object");
	how->ids.n = how->mark.n = 0;
	if (encode(how, record, e) < 0)
		return -1;
	for (size_t i = 0; i < how->ids.n; i++)
		if (how->ids.v[i] >= how->vocab)
			return err_set(e, "token %d is outside the model's vocabulary of %d", how->ids.v[i], how->vocab);
	n = how->ids.n;
	if (n > (size_t)how->cutoff) {
		n = (size_t)how->cutoff;
		s->cut++;
	}
	append(s, how->ids.v, how->mark.v, (int)n, line);
	return 0;
}

void
samples_free(struct samples *s)
{
	free(s->v);
	free(s->ids);
	free(s->target);
	*s = (struct samples){ 0 };
}

void
sampler_init(struct sampler *how, const struct tok *tok, const char *dir, int eos)
{
	*how = (struct sampler){ .tok = tok, .dir = dir, .bos = tok_bos(tok), .end = tok_id(tok, "<|end_of_text|>") };
	if (how->end < 0)
		how->end = tok_id(tok, "<|endoftext|>");
	if (how->end < 0)
		how->end = eos;
}

void
sampler_free(struct sampler *how)
{
	ids_free(&how->ids);
	ids_free(&how->mark);
}
