/* chat.c - the OpenAI protocol as text: request bodies out, replies in. Pure. */

#include "chat.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "num.h"

/* ---- requests ---- */

static int
add_text(struct buf *out, const char *s)
{
	return buf_json(out, s, strlen(s));
}

static int
add_num(struct buf *out, const char *name, double x)
{
	char text[NUM_TEXT];

	return buf_addf(out, ",\"%s\":%s", name, num_text(text, x));
}

static int
add_params(struct buf *out, const struct params *p)
{
	int bad = 0;

	if (!isnan(p->temperature))
		bad |= add_num(out, "temperature", p->temperature);
	if (!isnan(p->top_p))
		bad |= add_num(out, "top_p", p->top_p);
	if (p->max_tokens >= 0)
		bad |= buf_addf(out, ",\"max_tokens\":%ld", p->max_tokens);
	if (p->seed >= 0)
		bad |= buf_addf(out, ",\"seed\":%lld", p->seed);
	for (size_t i = 0; p->stop && p->stop[i]; i++) {
		bad |= buf_adds(out, i ? "," : ",\"stop\":[");
		bad |= add_text(out, p->stop[i]);
		if (!p->stop[i + 1])
			bad |= buf_addc(out, ']');
	}
	return bad;
}

static int
add_model(struct buf *out, const char *model)
{
	return buf_adds(out, "{\"model\":") | add_text(out, model);
}

int
chat_body(struct buf *out, const char *model, const struct msg *m, size_t n, const struct params *p)
{
	int bad = add_model(out, model) | buf_adds(out, ",\"messages\":[");

	for (size_t i = 0; i < n; i++) {
		bad |= buf_adds(out, i ? ",{\"role\":" : "{\"role\":") | add_text(out, m[i].role);
		bad |= buf_adds(out, ",\"content\":") | add_text(out, m[i].text) | buf_addc(out, '}');
	}
	bad |= buf_addc(out, ']') | add_params(out, p) | buf_addc(out, '}');
	return bad ? -1 : 0;
}

int
completion_body(struct buf *out, const char *model, const char *text, const struct params *p)
{
	int bad = add_model(out, model) | buf_adds(out, ",\"prompt\":") | add_text(out, text) | add_params(out, p);

	if (p->logprobs > 0)
		bad |= buf_addf(out, ",\"logprobs\":%d", p->logprobs);
	return bad | buf_addc(out, '}') ? -1 : 0;
}

int
echo_body(struct buf *out, const char *model, const char *text, int top)
{
	int bad = add_model(out, model) | buf_adds(out, ",\"prompt\":") | add_text(out, text);

	/* max_tokens 1, not 0: some servers refuse 0; reply_nll() cuts the one generated token off. */
	bad |= buf_addf(out, ",\"echo\":true,\"logprobs\":%d,\"max_tokens\":1,\"temperature\":0}", top);
	return bad ? -1 : 0;
}

/* ---- replies ---- */

/* A count that no server can mean (negative, or past what a double counts exactly) is none. */
static long
count(const json_t *v)
{
	double x = json_number_value(v);

	return json_is_number(v) && x >= 0 && x < 0x1p53 ? (long)x : -1;
}

/* Of the usual chat reply jansson would make a tree of forty values, for four of them to be read. So these are found where they lie. Whatever
 * is not as usual (several choices, log-probabilities, keys with escapes, a NUL, what is no JSON) is jansson's to read, or to refuse. */

/* The member of that name that counts, the last one; NULL when there is none. */
static const struct json_span *
member(const char *s, const struct json_object *o, const char *name)
{
	size_t len = strlen(name);

	for (const struct json_span *m = o->span + o->n; m-- > o->span;)
		if (m->key_end - m->key == len + 2 && memcmp(s + m->key + 1, name, len) == 0)
			return m;
	return NULL;
}

/* The object that is the value of a member (`open` is '{'), or the only one of the list that is its value ('['); *s becomes where it begins. 0 or -1. */
static int
enter(const char **s, const struct json_span *m, char open, struct json_object *o)
{
	const char *from, *to;

	if (!m || (*s)[m->value] != open)
		return -1;
	from = *s + m->value;
	to = *s + m->value_end;
	if (open == '[') {
		from += 1 + strspn(from + 1, " \t\r\n");
		for (to--; to > from && strchr(" \t\r\n", to[-1]);)
			to--;
	}
	*s = from;
	return json_scan(from, (size_t)(to - from), o, NULL) < 0 || o->escaped ? -1 : 0;
}

/* A member that is a string, as one that the reply owns; else NULL. */
static const char *
text_of(struct reply *r, const char *s, const struct json_span *m)
{
	json_t *v = m && s[m->value] == '"' ? json_read(s + m->value, m->value_end - m->value) : NULL;

	if (v)
		json_array_append_new(r->root, v);
	return json_string_value(v);
}

static long
count_of(const char *s, const struct json_span *m)
{
	json_t *v = m ? json_read(s + m->value, m->value_end - m->value) : NULL;
	long n = count(v);

	json_decref(v);
	return n;
}

static int
read_usage(struct reply *r, const char *s, const struct json_span *m)
{
	struct json_object o = { .span = NULL };
	int rc;

	r->prompt_tokens = r->completion_tokens = -1;
	if (!m || s[m->value] != '{')
		return 0;
	rc = enter(&s, m, '{', &o);
	if (rc == 0) {
		r->prompt_tokens = count_of(s, member(s, &o, "prompt_tokens"));
		r->completion_tokens = count_of(s, member(s, &o, "completion_tokens"));
	}
	json_object_done(&o);
	return rc;
}

/* 0; -1: not as usual. */
static int
read_chat(struct reply *r, const char *s, size_t n)
{
	struct json_object all, choice, message;
	const struct json_span *logprobs;
	const char *c = s, *m;
	int rc = -1;

	choice.span = message.span = NULL;
	if (json_scan(s, n, &all, NULL) < 0 || all.nul || all.escaped || enter(&c, member(s, &all, "choices"), '[', &choice) < 0)
		goto out;
	m = c;
	logprobs = member(c, &choice, "logprobs");
	if ((logprobs && c[logprobs->value] != 'n') || enter(&m, member(c, &choice, "message"), '{', &message) < 0)
		goto out;
	if (read_usage(r, s, member(s, &all, "usage")) < 0)
		goto out;
	r->root = json_array();
	r->text = text_of(r, m, member(m, &message, "content"));
	r->refusal = text_of(r, m, member(m, &message, "refusal"));
	r->finish = text_of(r, c, member(c, &choice, "finish_reason"));
	rc = 0;
out:
	json_object_done(&all);
	json_object_done(&choice);
	json_object_done(&message);
	return rc;
}

int
reply_parse(struct reply *r, const char *body, size_t n, struct err *e)
{
	json_error_t je;
	json_t *choice, *message, *usage;
	char why[200];

	memset(r, 0, sizeof *r);
	if (read_chat(r, body, n) == 0)
		return 0;
	r->root = json_loadb(body, n, 0, &je);
	if (!r->root)
		return err_set(e, "the reply is not JSON (%s)", je.text);
	choice = json_array_get(json_object_get(r->root, "choices"), 0);
	if (!json_is_object(choice)) {
		reply_error(body, n, why, sizeof why);
		reply_free(r);
		return err_set(e, "the reply has no choices: %s", why);
	}
	message = json_object_get(choice, "message");
	r->text = json_string_value(json_object_get(message ? message : choice, message ? "content" : "text"));
	r->refusal = json_string_value(json_object_get(message, "refusal"));
	r->finish = json_string_value(json_object_get(choice, "finish_reason"));
	usage = json_object_get(r->root, "usage");
	r->prompt_tokens = count(json_object_get(usage, "prompt_tokens"));
	r->completion_tokens = count(json_object_get(usage, "completion_tokens"));
	return 0;
}

void
reply_free(struct reply *r)
{
	json_decref(r->root);
	memset(r, 0, sizeof *r);
}

/* `s` as one printable line of less than `max` bytes, not cut inside a UTF-8 sequence. */
static void
one_line(const char *s, size_t n, char *out, size_t max)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len + 1 < max; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c == 0x7f) {
			if (len > 0 && out[len - 1] != ' ')
				out[len++] = ' ';
		} else {
			out[len++] = (char)c;
		}
	}
	if (len + 1 == max) {
		while (len > 0 && ((unsigned char)out[len - 1] & 0xc0) == 0x80)
			len--;
		if (len > 0 && (unsigned char)out[len - 1] >= 0xc0)
			len--;
	}
	while (len > 0 && out[len - 1] == ' ')
		len--;
	out[len] = 0;
}

/* {"error":{"message":...}} (OpenAI, vLLM), {"error":"..."}, {"message":...}, {"detail":"..."}; borrowed from root, NULL when none. */
static const char *
error_text(json_t *root)
{
	json_t *error = json_object_get(root, "error");
	const char *s = json_string_value(json_object_get(error, "message"));

	if (!s)
		s = json_string_value(error);
	if (!s)
		s = json_string_value(json_object_get(root, "message"));
	return s ? s : json_string_value(json_object_get(root, "detail"));
}

void
reply_error(const char *body, size_t n, char *out, size_t max)
{
	json_t *root = json_loadb(body, n, 0, NULL);
	const char *s = error_text(root);

	if (s)
		one_line(s, strlen(s), out, max);
	else if (n > 0)
		one_line(body, n, out, max < 121 ? max : 121);
	else
		one_line("(empty body)", 12, out, max);
	json_decref(root);
}

void
reply_error_code(const char *body, size_t n, char *out, size_t max)
{
	json_t *root = json_loadb(body, n, 0, NULL), *error = json_object_get(root, "error");
	const char *s = json_string_value(json_object_get(error, "code"));

	if (!s)
		s = json_string_value(json_object_get(error, "type"));
	one_line(s ? s : "", s ? strlen(s) : 0, out, max);
	json_decref(root);
}

/* ---- log-probabilities ---- */

static int
add_logprob(struct nll *out, json_t *v)
{
	double x;

	if (!json_is_number(v))
		return -1;
	x = json_number_value(v);
	if (!isfinite(x) || x > 0)
		return -1;
	out->sum -= x;
	out->tokens++;
	return 0;
}

/* vLLM: [null, {"token id": {"logprob","rank","decoded_token"}, ...}, ...]; the prompt's own token is the first of its object. */
static json_t *
vllm_logprob(json_t *position)
{
	return json_object_get(json_object_iter_value(json_object_iter(position)), "logprob");
}

int
reply_nll(const struct reply *r, struct nll *out)
{
	json_t *choice = json_array_get(json_object_get(r->root, "choices"), 0);
	json_t *list = json_object_get(json_object_get(choice, "logprobs"), "token_logprobs");
	json_t *vllm = json_object_get(choice, "prompt_logprobs");
	size_t n;

	*out = (struct nll){ 0 };
	if (json_is_array(list)) {
		n = json_array_size(list);
		if (r->prompt_tokens < 1 || (size_t)r->prompt_tokens > n)
			return -1;
		for (size_t i = 1; i < (size_t)r->prompt_tokens; i++)
			if (add_logprob(out, json_array_get(list, i)) < 0)
				return -1;
		return 0;
	}
	if (!json_is_array(vllm))
		vllm = json_object_get(r->root, "prompt_logprobs");
	if (!json_is_array(vllm) || json_array_size(vllm) == 0)
		return -1;
	for (size_t i = 1; i < json_array_size(vllm); i++)
		if (add_logprob(out, vllm_logprob(json_array_get(vllm, i))) < 0)
			return -1;
	return 0;
}

int
reply_top_logprob(const struct reply *r, long at, const char *token, double *out)
{
	json_t *choice = json_array_get(json_object_get(r->root, "choices"), 0);
	json_t *list = json_object_get(json_object_get(choice, "logprobs"), "top_logprobs");
	json_t *v = at < 0 ? NULL : json_object_get(json_array_get(list, (size_t)at), token);

	if (!json_is_number(v))
		return -1;
	*out = json_number_value(v);
	return 0;
}

/* ---- scores ---- */

static const char *
skip_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* The inside of ```...``` (with or without a language), or the whole text. Malloc'd, without white space at its ends. */
static char *
unfence(const char *text)
{
	size_t n;

	text = skip_space(text);
	n = strlen(text);
	while (n > 0 && strchr(" \t\r\n", text[n - 1]))
		n--;
	if (n >= 6 && strncmp(text, "```", 3) == 0 && strncmp(text + n - 3, "```", 3) == 0) {
		const char *inside = text + 3;

		n -= 6;
		for (; n > 0 && strchr("abcdefghijklmnopqrstuvwxyz", *inside); inside++)
			n--;
		text = inside;
	}
	return xstrndup(text, n);
}

/* One number up to a delimiter; moves *s past it and the white space after. */
static int
one_score(const char **s, double *out, struct err *e)
{
	size_t n = strcspn(*s, ", \t\r\n]");
	char text[40];

	if (n == 0 || n >= sizeof text)
		return err_set(e, "not a bare list of numbers");
	memcpy(text, *s, n);
	text[n] = 0;
	if (num_real(text, 0, 1, out, NULL) < 0)
		return err_set(e, "not a number between 0 and 1: %s", text);
	*s = skip_space(*s + n);
	return 0;
}

int
chat_scores(const char *text, double *out, int want, struct err *e)
{
	char *copy = unfence(text);
	const char *s = skip_space(copy);
	bool list = *s == '[';
	int rc = -1;

	if (list)
		s = skip_space(s + 1);
	for (int i = 0; i < want; i++) {
		if (i > 0 && *s++ != ',') {
			err_set(e, "%d of %d scores", i, want);
			goto out;
		}
		s = skip_space(s);
		if (one_score(&s, &out[i], e) < 0)
			goto out;
	}
	if (list && *s == ']')
		s = skip_space(s + 1);
	else if (list)
		s = ",";
	rc = *s ? err_set(e, "%s after %d scores", *s == ',' ? "more" : "text", want) : 0;
out:
	free(copy);
	return rc;
}
