/* answer.c - see answer.h */
#include "answer.h"

#include <math.h>
#include <string.h>

#include "stop.h"

/* Bytes as a JSON string; what is no UTF-8 becomes U+FFFD. */
static void
text_json(struct buf *out, const char *p, size_t n)
{
	struct buf clean = BUF_INIT(BUF_MAX_TEXT);

	buf_clear(&clean);
	utf8_clean(&clean, p, n);
	buf_json(out, clean.p, clean.n);
	buf_free(&clean);
}

/* A token's bytes as a JSON string. One that is no whole UTF-8 has no text of its own: then, as OpenAI does, its bytes as \xNN. */
static void
token_json(struct buf *out, const struct answer *a, int id)
{
	size_t n;
	const char *p = tok_bytes(a->tok, id, &n);
	struct buf clean = BUF_INIT(BUF_MAX_TEXT);

	buf_clear(&clean);
	utf8_clean(&clean, p, n);
	if (clean.n != n || memcmp(clean.p, p, n) != 0) {
		buf_clear(&clean);
		if (a->req->kind == REQ_COMPLETION)
			buf_adds(&clean, "bytes:");
		for (size_t i = 0; i < n; i++)
			buf_addf(&clean, "\\x%02x", (unsigned char)p[i]);
	}
	buf_json(out, clean.p, clean.n);
	buf_free(&clean);
}

/* Nine digits give every float back. */
static void
logprob_json(struct buf *out, float x)
{
	if (isnan(x))
		buf_adds(out, "null");
	else
		buf_addf(out, "%.9g", x < -9999 ? -9999.0 : x);	/* JSON has no infinity; OpenAI's stand-in for it */
}

static void
head(struct buf *out, const struct answer *a, const char *object)
{
	buf_addf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", a->id, object, (long long)a->created);
	text_json(out, a->model, strlen(a->model));
}

static void
usage(struct buf *out, const struct answer *a, struct choice *const *c, size_t n)
{
	long long prompt = 0, made = 0;

	for (size_t i = 0; i < a->req->nprompts; i++)
		prompt += a->req->prompt[i].ids.n;
	for (size_t i = 0; i < n; i++)
		made += c[i]->generated;
	buf_addf(out, "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld}", prompt, made, prompt + made);
}

static const char *
finish_json(enum finish f)
{
	return f == FINISH_STOP ? "\"stop\"" : f == FINISH_LENGTH ? "\"length\"" : "null";
}

/* ---- log-probabilities, chat form ---- */

static void
chat_token(struct buf *out, const struct answer *a, int id, float logprob)
{
	size_t n;
	const char *p = tok_bytes(a->tok, id, &n);

	buf_adds(out, "{\"token\":");
	token_json(out, a, id);
	buf_adds(out, ",\"logprob\":");
	logprob_json(out, logprob);
	buf_adds(out, ",\"bytes\":[");
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s%d", i ? "," : "", (unsigned char)p[i]);
	buf_adds(out, "]");
}

/* How many of the most likely tokens to show: a prompt's may have been scored with more, for its prompt_logprobs. */
static int
wanted(const struct scored *t, int top)
{
	return t->ntop < top ? t->ntop : top;
}

static void
chat_logprobs(struct buf *out, const struct answer *a, const struct choice *c, size_t from, size_t to)
{
	buf_adds(out, "{\"content\":[");
	for (size_t i = from; i < to; i++) {
		const struct scored *t = &c->tok[i];

		buf_adds(out, i > from ? "," : "");
		chat_token(out, a, t->id, t->logprob);
		buf_adds(out, ",\"top_logprobs\":[");
		for (int k = 0; k < wanted(t, a->req->logprobs); k++) {
			buf_adds(out, k ? "," : "");
			chat_token(out, a, t->top[k], t->top_logprob[k]);
			buf_adds(out, "}");
		}
		buf_adds(out, "]}");
	}
	buf_adds(out, "],\"refusal\":null}");
}

/* ---- log-probabilities, completions form ---- */

/* The most likely tokens and, where it is not among them, the token itself. */
static void
top_object(struct buf *out, const struct answer *a, const struct scored *t)
{
	int n = wanted(t, a->req->logprobs);
	bool own = false;

	if (isnan(t->logprob)) {
		buf_adds(out, "null");
		return;
	}
	buf_addc(out, '{');
	for (int k = 0; k < n; k++) {
		buf_adds(out, k ? "," : "");
		token_json(out, a, t->top[k]);
		buf_addc(out, ':');
		logprob_json(out, t->top_logprob[k]);
		own = own || t->top[k] == t->id;
	}
	if (!own) {
		buf_adds(out, n ? "," : "");
		token_json(out, a, t->id);
		buf_addc(out, ':');
		logprob_json(out, t->logprob);
	}
	buf_addc(out, '}');
}

/* Offsets count characters of the text as it is sent; a token that begins within one is at that one. Tokens come in the text's order, so that each
 * chunk of a stream counts on from the last one. */
static void
offsets(struct buf *out, struct choice *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		bool whole;

		while (c->walked < c->tok[i].at) {
			size_t next = c->walked + utf8_step(c->text.p + c->walked, c->text.n - c->walked, &whole);

			if (next > c->tok[i].at)
				break;
			c->walked = next;
			c->chars++;
		}
		buf_addf(out, "%s%zu", i > from ? "," : "", c->chars);
	}
}

static void
completion_logprobs(struct buf *out, const struct answer *a, struct choice *c, size_t from, size_t to)
{
	buf_adds(out, "{\"tokens\":[");
	for (size_t i = from; i < to; i++) {
		buf_adds(out, i > from ? "," : "");
		token_json(out, a, c->tok[i].id);
	}
	buf_adds(out, "],\"token_logprobs\":[");
	for (size_t i = from; i < to; i++) {
		buf_adds(out, i > from ? "," : "");
		logprob_json(out, c->tok[i].logprob);
	}
	buf_adds(out, "],\"top_logprobs\":[");
	for (size_t i = from; i < to; i++) {
		buf_adds(out, i > from ? "," : "");
		top_object(out, a, &c->tok[i]);
	}
	buf_adds(out, "],\"text_offset\":[");
	offsets(out, c, from, to);
	buf_adds(out, "]}");
}

static void
logprobs(struct buf *out, const struct answer *a, struct choice *c, size_t from, size_t to)
{
	buf_adds(out, ",\"logprobs\":");
	if (a->req->logprobs < 0 || from == to)
		buf_adds(out, "null");
	else if (a->req->kind == REQ_CHAT)
		chat_logprobs(out, a, c, from, to);
	else
		completion_logprobs(out, a, c, from, to);
}

/* ---- whole replies ---- */

static void
prompt_token(struct buf *out, const struct answer *a, int id, float logprob, int rank)
{
	size_t n;
	const char *p = tok_bytes(a->tok, id, &n);

	buf_addf(out, "\"%d\":{\"logprob\":", id);
	logprob_json(out, logprob);
	buf_addf(out, ",\"rank\":%d,\"decoded_token\":", rank);
	text_json(out, p, n);
	buf_addc(out, '}');
}

/* vLLM's form: null for the first token, then {"ID":{"logprob","rank","decoded_token"}} with the token itself first and the most likely ones. */
static void
prompt_logprobs(struct buf *out, const struct answer *a, const struct choice *c)
{
	buf_adds(out, ",\"prompt_logprobs\":[");
	for (size_t i = 0; i < c->nprompt; i++) {
		const struct scored *t = &c->tok[i];

		buf_adds(out, i > 0 ? "," : "");
		if (isnan(t->logprob)) {
			buf_adds(out, "null");
			continue;
		}
		buf_addc(out, '{');
		prompt_token(out, a, t->id, t->logprob, t->rank);
		for (int k = 0; k < wanted(t, a->req->prompt_logprobs); k++)
			if (t->top[k] != t->id) {
				buf_addc(out, ',');
				prompt_token(out, a, t->top[k], t->top_logprob[k], k + 1);
			}
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

static void
whole_choice(struct buf *out, const struct answer *a, struct choice *c)
{
	buf_addf(out, "{\"index\":%d,", c->index);
	if (a->req->kind == REQ_CHAT) {
		buf_adds(out, "\"message\":{\"role\":\"assistant\",\"content\":");
		text_json(out, c->text.p, c->text.n);
		buf_adds(out, ",\"refusal\":null}");
	} else {
		buf_adds(out, "\"text\":");
		text_json(out, c->text.p, c->text.n);
	}
	logprobs(out, a, c, a->req->echo ? 0 : c->nprompt, c->ntok);
	if (a->req->kind == REQ_COMPLETION && a->req->prompt_logprobs >= 0)
		prompt_logprobs(out, a, c);
	buf_addf(out, ",\"finish_reason\":%s}", finish_json(c->finish));
}

void
answer_whole(struct buf *out, const struct answer *a, struct choice *const *c, size_t n)
{
	head(out, a, a->req->kind == REQ_CHAT ? "chat.completion" : "text_completion");
	buf_adds(out, ",\"choices\":[");
	for (size_t i = 0; i < n; i++) {
		buf_adds(out, i ? "," : "");
		whole_choice(out, a, c[i]);
	}
	buf_adds(out, "],\"usage\":");
	usage(out, a, c, n);
	if (a->req->kind == REQ_CHAT && a->req->prompt_logprobs >= 0)
		prompt_logprobs(out, a, c[0]);
	buf_adds(out, "}");
}

/* ---- streams ---- */

static void
chunk_head(struct buf *out, const struct answer *a)
{
	buf_adds(out, "data: ");
	head(out, a, a->req->kind == REQ_CHAT ? "chat.completion.chunk" : "text_completion");
	buf_adds(out, ",\"choices\":[");
}

static void
chunk_end(struct buf *out, const struct answer *a)
{
	buf_adds(out, a->req->usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

void
answer_role(struct buf *out, const struct answer *a, int index)
{
	chunk_head(out, a);
	buf_addf(out, "{\"index\":%d,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}", index);
	chunk_end(out, a);
}

void
answer_delta(struct buf *out, const struct answer *a, struct choice *c, size_t end)
{
	size_t to = c->tok_sent;

	while (to < c->ntok && (c->finish != FINISH_NONE || c->tok[to].at < end))
		to++;
	if (end <= c->sent && to == c->tok_sent)
		return;
	chunk_head(out, a);
	buf_addf(out, "{\"index\":%d,%s", c->index, a->req->kind == REQ_CHAT ? "\"delta\":{\"content\":" : "\"text\":");
	text_json(out, c->text.p + c->sent, end - c->sent);
	buf_adds(out, a->req->kind == REQ_CHAT ? "}" : "");
	logprobs(out, a, c, c->tok_sent, to);
	buf_adds(out, ",\"finish_reason\":null}");
	chunk_end(out, a);
	c->sent = end;
	c->tok_sent = to;
}

void
answer_finish(struct buf *out, const struct answer *a, const struct choice *c)
{
	chunk_head(out, a);
	buf_addf(out, "{\"index\":%d,%s,\"logprobs\":null,\"finish_reason\":%s}", c->index, a->req->kind == REQ_CHAT ? "\"delta\":{}" : "\"text\":\"\"",
		finish_json(c->finish));
	chunk_end(out, a);
}

void
answer_done(struct buf *out, const struct answer *a, struct choice *const *c, size_t n)
{
	if (a->req->usage) {
		chunk_head(out, a);
		buf_adds(out, "],\"usage\":");
		usage(out, a, c, n);
		buf_adds(out, "}\n\n");
	}
	buf_adds(out, "data: [DONE]\n\n");
}

/* ---- errors and models ---- */

static void
member(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, ",\"%s\":", name);
	if (value && *value)
		text_json(out, value, strlen(value));
	else
		buf_adds(out, "null");
}

void
answer_error(struct buf *out, const struct req_error *e)
{
	buf_adds(out, "{\"error\":{\"message\":");
	text_json(out, e->message, strlen(e->message));
	member(out, "type", e->type);
	member(out, "param", e->param);
	member(out, "code", e->code);
	buf_adds(out, "}}");
}

void
answer_model(struct buf *out, const char *name, time_t created, int max_context, bool list)
{
	buf_adds(out, list ? "{\"object\":\"list\",\"data\":[" : "");
	buf_adds(out, "{\"id\":");
	text_json(out, name, strlen(name));
	buf_addf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"local\",\"max_model_len\":%d}", (long long)created, max_context);
	buf_adds(out, list ? "]}" : "");
}
