/* tokenize.c - see tokenize.h */
#include "tokenize.h"

#include <string.h>

#include "stop.h"

/* Refuse members that `known`, which ends with NULL, does not name. */
static int
check_names(json_t *root, const char *const *known, struct req_error *e)
{
	const char *name = param_stranger(root, known);

	return name ? req_fail(e, 400, name, "unknown_parameter", "unknown parameter '%.60s'", name) : 0;
}

static int
read_text(json_t *root, const struct serving *s, struct ids *out, struct req_error *e)
{
	static const char *const known[] = { "model", "prompt", "add_special_tokens", "return_token_strs", NULL };
	struct req_prompt *p = NULL;
	size_t n = 0;
	int rc;

	if (check_names(root, known, e) < 0)
		return -1;
	if (json_object_get(root, "prompt") && !json_is_string(json_object_get(root, "prompt")))
		return param_type_error(e, "prompt", "a string");
	rc = prompts_text(root, 1, s, &p, &n, e);
	if (rc == 0) {
		*out = p->ids;
		p->ids = (struct ids){ 0 };
	}
	prompts_free(p, n);
	return rc;
}

static int
read_chat(json_t *root, const struct serving *s, struct ids *out, struct req_error *e)
{
	static const char *const known[] = { "model", "messages", "add_generation_prompt", "continue_final_message", "chat_template_kwargs",
		"return_token_strs", NULL };

	return check_names(root, known, e) < 0 ? -1 : prompts_chat(root, s, out, e);
}

static void
write_ids(struct buf *out, const struct ids *ids, bool strings, const struct serving *s)
{
	struct buf spelled = BUF_INIT(BUF_MAX_TEXT);

	buf_addf(out, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":[", ids->n, s->max_context);
	for (size_t i = 0; i < ids->n; i++)
		buf_addf(out, "%s%d", i > 0 ? "," : "", ids->v[i]);
	buf_adds(out, strings ? "],\"token_strs\":[" : "],\"token_strs\":null}");
	for (size_t i = 0; strings && i < ids->n; i++) {
		buf_clear(&spelled);
		tok_spell(s->tok, ids->v[i], &spelled);
		buf_adds(out, i > 0 ? "," : "");
		buf_json(out, spelled.p, spelled.n);
	}
	buf_adds(out, strings ? "]}" : "");
	buf_free(&spelled);
}

int
tokenize(struct buf *out, const char *body, size_t n, const struct serving *s, struct req_error *e)
{
	json_t *root = param_body(body, n, e);
	struct ids ids = { 0 };
	bool strings = false;
	int rc = -1;

	if (root && prompts_model(root, s, e) == 0 && param_bool(root, "return_token_strs", &strings, e) == 0)
		rc = json_object_get(root, "messages") ? read_chat(root, s, &ids, e) : read_text(root, s, &ids, e);
	if (rc == 0)
		write_ids(out, &ids, strings, s);
	ids_free(&ids);
	json_decref(root);
	return rc;
}

static int
read_tokens(struct buf *text, json_t *list, const struct serving *s, struct req_error *e)
{
	if (!list || json_is_null(list))
		return req_fail(e, 400, "tokens", "missing_required_parameter", "'tokens' is required");
	if (!json_is_array(list))
		return param_type_error(e, "tokens", "a list of token ids");
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);
		const char *p;
		size_t n;

		if (!json_is_integer(v))
			return param_type_error(e, "tokens", "a list of token ids");
		if (json_integer_value(v) < 0 || json_integer_value(v) >= s->vocab)
			return req_fail(e, 400, "tokens", "invalid_value", "token id %lld is not in the vocabulary (0 to %d)",
				(long long)json_integer_value(v), s->vocab - 1);
		p = tok_bytes(s->tok, json_integer_value(v), &n);
		if (buf_add(text, p, n) < 0)
			return req_fail(e, 400, "tokens", "invalid_value", "the text of 'tokens' is too long");
	}
	return 0;
}

int
detokenize(struct buf *out, const char *body, size_t n, const struct serving *s, struct req_error *e)
{
	static const char *const known[] = { "model", "tokens", NULL };
	json_t *root = param_body(body, n, e);
	struct buf text = BUF_INIT(BUF_MAX_TEXT), clean = BUF_INIT(4 * BUF_MAX_TEXT);
	int rc = -1;

	buf_clear(&text);
	buf_clear(&clean);
	if (root && check_names(root, known, e) == 0 && prompts_model(root, s, e) == 0)
		rc = read_tokens(&text, json_object_get(root, "tokens"), s, e);
	if (rc == 0) {
		utf8_clean(&clean, text.p, text.n);
		buf_adds(out, "{\"prompt\":");
		buf_json(out, clean.p, clean.n);
		buf_adds(out, "}");
	}
	buf_free(&clean);
	buf_free(&text);
	json_decref(root);
	return rc;
}
