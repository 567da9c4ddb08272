/* prompts.c - see prompts.h */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"

#define PROMPT_KINDS "a string, a list of strings, a list of token ids or a list of lists of token ids"

bool
req_names(const struct serving *s, const char *name)
{
	size_t n = strlen(s->path);

	while (n > 1 && s->path[n - 1] == '/')
		n--;
	if (strcmp(name, s->name) == 0 || strcmp(name, s->path) == 0)
		return true;
	return strncmp(name, s->path, n) == 0 && strspn(name + n, "/") == strlen(name + n);
}

int
prompts_model(json_t *root, const struct serving *s, struct req_error *e)
{
	json_t *v = json_object_get(root, "model");

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return param_type_error(e, "model", "a string");
	if (!req_names(s, json_string_value(v)))
		return req_fail(e, 404, "model", "model_not_found", "the model '%.200s' does not exist here; this server's is '%.200s'",
			json_string_value(v), s->name);
	return 0;
}

/* ---- prompt ---- */

static void
encode_text(struct req_prompt *p, const char *s, size_t n, const struct tok *t)
{
	int bos = tok_bos(t);

	if (bos >= 0)
		ids_add(&p->ids, bos);
	tok_encode(t, s, n, true, &p->ids);
	p->hidden = bos >= 0;
	if (bos >= 0 && p->ids.n > 1 && p->ids.v[1] == bos) {	/* the text has its own */
		memmove(p->ids.v, p->ids.v + 1, (p->ids.n - 1) * sizeof *p->ids.v);
		p->ids.n--;
		p->hidden = 0;
	}
}

static int
copy_ids(struct req_prompt *p, json_t *list, const struct serving *s, struct req_error *e)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);

		if (!json_is_integer(v))
			return param_type_error(e, "prompt", PROMPT_KINDS);
		if (json_integer_value(v) < 0 || json_integer_value(v) >= s->vocab)
			return req_fail(e, 400, "prompt", "invalid_value", "token id %lld is not in the vocabulary (0 to %d)",
				(long long)json_integer_value(v), s->vocab - 1);
		ids_add(&p->ids, json_integer_value(v));
	}
	p->hidden = p->ids.n > 0 && p->ids.v[0] == tok_bos(s->tok);
	return 0;
}

static int
read_one(struct req_prompt *p, json_t *v, bool special, const struct serving *s, struct req_error *e)
{
	if (json_is_array(v))
		return copy_ids(p, v, s, e);
	if (!json_is_string(v))
		return param_type_error(e, "prompt", PROMPT_KINDS);
	if (special)
		encode_text(p, json_string_value(v), json_string_length(v), s->tok);
	else
		tok_encode(s->tok, json_string_value(v), json_string_length(v), true, &p->ids);
	return 0;
}

int
prompts_text(json_t *root, size_t most, const struct serving *s, struct req_prompt **list, size_t *n, struct req_error *e)
{
	json_t *v = json_object_get(root, "prompt");
	size_t count = json_array_size(v);
	bool one = !json_is_array(v) || (count > 0 && json_is_integer(json_array_get(v, 0))), special = true;

	if (param_bool(root, "add_special_tokens", &special, e) < 0)
		return -1;
	if (!v || json_is_null(v))
		return req_fail(e, 400, "prompt", "missing_required_parameter", "'prompt' is required");
	if (!one && (count == 0 || count > most))
		return req_fail(e, 400, "prompt", "invalid_value", "'prompt' must hold from 1 to %zu prompts", most);
	if (one)
		count = 1;
	*list = xcalloc(count, sizeof **list);
	*n = count;
	for (size_t i = 0; i < count; i++)
		if (read_one(&(*list)[i], one ? v : json_array_get(v, i), special, s, e) < 0)
			return -1;
	return 0;
}

/* ---- messages ---- */

/* Text parts, with a line end between them, as vLLM and llama.cpp join them. */
static int
join_parts(struct buf *out, json_t *parts, struct req_error *e)
{
	for (size_t i = 0; i < json_array_size(parts); i++) {
		json_t *part = json_array_get(parts, i), *text = json_object_get(part, "text");
		const char *type = json_string_value(json_object_get(part, "type"));

		if (!type || strcmp(type, "text") != 0)
			return req_fail(e, 400, "messages", "unsupported_content", "content of type '%.40s' is not supported, only 'text'", type ? type : "");
		if (!json_is_string(text))
			return param_type_error(e, "messages", "made of parts with a string 'text'");
		buf_adds(out, i > 0 ? "\n" : "");
		buf_add(out, json_string_value(text), json_string_length(text));
	}
	return 0;
}

/* m->text is malloc'd. */
static int
read_message(struct msg *m, json_t *v, size_t at, struct req_error *e)
{
	json_t *content = json_object_get(v, "content");
	const char *role = json_string_value(json_object_get(v, "role"));
	struct buf text = BUF_INIT(BUF_MAX_TEXT);

	if (!role)
		return req_fail(e, 400, "messages", "invalid_value", "message %zu has no 'role'", at);
	if (strcmp(role, "developer") == 0)
		role = "system";
	if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
		return req_fail(e, 400, "messages", "invalid_value", "message %zu: the role '%.40s' is not supported (system, user, assistant)", at, role);
	if (json_array_size(json_object_get(v, "tool_calls")) > 0)
		return req_fail(e, 400, "messages", "unsupported_content", "message %zu: 'tool_calls' are not supported", at);
	if (!json_is_string(content) && !json_is_array(content))
		return req_fail(e, 400, "messages", "invalid_type", "message %zu: 'content' must be a string or a list of text parts", at);
	if (json_is_string(content))
		buf_add(&text, json_string_value(content), json_string_length(content));
	else if (join_parts(&text, content, e) < 0) {
		buf_free(&text);
		return -1;
	}
	*m = (struct msg){ role, buf_take(&text) };
	return 0;
}

/* The template's own arguments: of those known here, enable_thinking is the one that some template looks at. */
static int
read_kwargs(struct render *how, json_t *root, struct req_error *e)
{
	json_t *kwargs = json_object_get(root, "chat_template_kwargs"), *v;
	const char *name;
	bool thinking = true;

	if (!kwargs || json_is_null(kwargs))
		return 0;
	if (!json_is_object(kwargs))
		return param_type_error(e, "chat_template_kwargs", "an object");
	json_object_foreach(kwargs, name, v)
		if (strcmp(name, "enable_thinking") != 0)
			return req_fail(e, 400, "chat_template_kwargs", "unsupported_parameter",
				"chat_template_kwargs: '%.60s' is not supported, only 'enable_thinking'", name);
	if (param_bool(kwargs, "enable_thinking", &thinking, e) < 0)
		return -1;
	how->no_thinking = !thinking;
	return 0;
}

/* A message is either continued or followed by a new one. */
static int
read_render(struct render *how, json_t *root, struct req_error *e)
{
	if (param_bool(root, "add_generation_prompt", &how->add_generation, e) < 0 ||
	    param_bool(root, "continue_final_message", &how->continue_final, e) < 0)
		return -1;
	if (how->continue_final && json_is_true(json_object_get(root, "add_generation_prompt")))
		return req_fail(e, 400, "continue_final_message", "invalid_value",
			"'continue_final_message' and 'add_generation_prompt' cannot both be true");
	how->add_generation = how->add_generation && !how->continue_final;
	return read_kwargs(how, root, e);
}

int
prompts_chat(json_t *root, const struct serving *s, struct ids *out, struct req_error *e)
{
	json_t *list = json_object_get(root, "messages");
	size_t n = json_array_size(list);
	struct render how = { .add_generation = true, .date = s->date };
	struct msg *m;
	struct err why;
	int rc = -1;

	if (!list || json_is_null(list))
		return req_fail(e, 400, "messages", "missing_required_parameter", "'messages' is required");
	if (!json_is_array(list) || n == 0)
		return param_type_error(e, "messages", "a list of at least one message");
	if (read_render(&how, root, e) < 0)
		return -1;
	m = xcalloc(n, sizeof *m);
	for (size_t i = 0; i < n; i++)
		if (read_message(&m[i], json_array_get(list, i), i, e) < 0)
			goto out;
	rc = template_ids(s->tok, s->template, m, n, &how, out, NULL, &why);
	if (rc < 0)
		req_fail(e, 400, "messages", "invalid_value", "%s", why.msg);
out:
	for (size_t i = 0; i < n; i++)
		free((char *)m[i].text);
	free(m);
	return rc;
}

/* ---- */

int
prompts_fit(const struct ids *ids, const char *param, const struct serving *s, struct req_error *e)
{
	if (ids->n == 0)
		return req_fail(e, 400, param, "invalid_value", "'%s' has no tokens", param);
	if (ids->n > (size_t)s->max_context)
		return req_fail(e, 400, param, "context_length_exceeded", "this model's maximum context length is %d tokens, but '%s' has %zu",
			s->max_context, param, ids->n);
	return 0;
}

void
prompts_free(struct req_prompt *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ids_free(&list[i].ids);
	free(list);
}
