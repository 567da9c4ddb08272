/* render.c - chat templates: a conversation to token ids */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "buf.h"
#include "pretok.h"
#include "template.h"

/* What is appended to, and the template's special tokens. */
struct writer {
	const struct tok *t;
	struct ids *out, *mark;
	int bos, start, end, eot;	/* of ChatML: start and end are <|im_start|> and <|im_end|>; the others are not there */
	bool apart;		/* struct render's */
	bool open;		/* the message at hand is to be continued: nothing follows its text */
};

static void
put_mark(struct writer *w, size_t before, bool supervised)
{
	for (size_t i = before; w->mark && i < w->out->n; i++)
		ids_add(w->mark, supervised);
}

static void
put_id(struct writer *w, int id, bool supervised)
{
	size_t before = w->out->n;

	ids_add(w->out, id);
	put_mark(w, before, supervised);
}

static void
put_text(struct writer *w, const char *s, size_t n, bool supervised)
{
	size_t before = w->out->n;

	tok_encode(w->t, s, n, false, w->out);
	put_mark(w, before, supervised);
}

static bool
is_chatml(enum template which)
{
	return which >= TEMPLATE_CHATML;
}

static int
writer_init(struct writer *w, const struct tok *t, enum template which, struct err *e)
{
	const struct {
		const char *token;
		int *id;
		bool chatml;
	} needed[] = {
		{ "<|begin_of_text|>", &w->bos, false }, { "<|start_header_id|>", &w->start, false }, { "<|end_header_id|>", &w->end, false },
		{ "<|eot_id|>", &w->eot, false }, { "<|im_start|>", &w->start, true }, { "<|im_end|>", &w->end, true },
	};

	w->t = t;
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
		if (needed[i].chatml != is_chatml(which))
			continue;
		*needed[i].id = tok_id(t, needed[i].token);
		if (*needed[i].id < 0)
			return err_set(e, "the vocabulary has no token %s, which chat template %s needs", needed[i].token, template_name(which));
	}
	return 0;
}

/* ---- Llama 3 ---- */

/* What Python's str.strip() takes, as Jinja's trim does: Unicode's white space and the four separators 0x1c..0x1f. */
static bool
strippable(int c)
{
	return white_space(c) || (c >= 0x1c && c <= 0x1f);
}

static const char *
trim(const char *s, size_t *n)
{
	utf8proc_int32_t c;
	utf8proc_ssize_t k;

	while (*n > 0 && (k = utf8proc_iterate((const utf8proc_uint8_t *)s, *n, &c)) > 0 && strippable(c)) {
		s += k;
		*n -= k;
	}
	while (*n > 0) {
		k = 1;
		while (k < 4 && (size_t)k < *n && ((unsigned char)s[*n - k] & 0xc0) == 0x80)
			k++;
		if (utf8proc_iterate((const utf8proc_uint8_t *)s + *n - k, k, &c) != k || !strippable(c))
			break;
		*n -= k;
	}
	return s;
}

static void
put_header(struct writer *w, const char *role)
{
	put_id(w, w->start, false);
	put_text(w, role, strlen(role), false);
	put_id(w, w->end, false);
}

/* One message. After trimming, "\n\n" and the text never share a token, so that an assistant's may be encoded apart to be marked exactly; LLaMA-Factory
 * encodes a response apart in any case and everything else as one text. */
static void
put_message(struct writer *w, enum template which, const struct msg *m)
{
	bool assistant = strcmp(m->role, "assistant") == 0;
	const char *text = m->text;
	size_t n = strlen(text);
	char *joined;

	put_header(w, m->role);
	if (which != TEMPLATE_LLAMAFACTORY)
		text = trim(text, &n);
	if (assistant) {
		put_text(w, "\n\n", 2, false);
		put_text(w, text, n, true);
	} else {
		joined = xmalloc(n + 2);
		memcpy(joined, "\n\n", 2);
		memcpy(joined + 2, text, n);
		put_text(w, joined, n + 2, false);
		free(joined);
	}
	if (!w->open)
		put_id(w, w->eot, assistant);
}

/* Llama-3.2's system block, which is there without a system message too. */
static void
put_system(struct writer *w, const char *text, const char *date)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	char today[32];
	time_t now = time(NULL);
	struct tm tm;
	size_t n = strlen(text);

	if (!date) {
		strftime(today, sizeof today, "%d %b %Y", localtime_r(&now, &tm));
		date = today;
	}
	text = trim(text, &n);
	buf_addf(&b, "\n\nCutting Knowledge Date: December 2023\nToday Date: %s\n\n", date);
	buf_add(&b, text, n);
	put_header(w, "system");
	put_text(w, b.p, b.n, false);
	if (!w->open)
		put_id(w, w->eot, false);
	buf_free(&b);
}

static void
llama_ids(struct writer *w, enum template which, const struct msg *m, size_t n, const struct render *r)
{
	size_t i = 0;

	put_id(w, w->bos, false);
	if (which == TEMPLATE_LLAMA32) {
		i = strcmp(m[0].role, "system") == 0;
		w->open = i == 1 && n == 1 && r->continue_final;
		put_system(w, i ? m[0].text : "", r->date);
	}
	for (; i < n; i++) {
		w->open = i + 1 == n && r->continue_final;
		put_message(w, which, &m[i]);
	}
	if (r->add_generation) {
		put_header(w, "assistant");
		put_text(w, "\n\n", 2, false);
	}
}

/* ---- ChatML ---- */

#define QWEN25_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

/* A text whose first `plain` bytes, which are ASCII, are not supervised. It is one text to the tokenizer; a token over the border counts as supervised. */
static void
put_marked(struct writer *w, const char *s, size_t n, size_t plain)
{
	size_t from = w->out->n, at = 0, len;

	tok_encode(w->t, s, n, false, w->out);
	for (size_t i = from; w->mark && i < w->out->n; i++) {
		tok_bytes(w->t, w->out->v[i], &len);
		at += len;
		ids_add(w->mark, at > plain);
	}
}

/* A message: head is "role\n", and a thought where there is one. */
static void
put_turn(struct writer *w, const struct buf *head, const char *text, size_t n, bool supervised)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	put_id(w, w->start, false);
	if (supervised && w->apart) {
		put_text(w, head->p, head->n, false);
		put_text(w, text, n, true);
	} else {
		buf_add(&b, head->p, head->n);
		buf_add(&b, text, n);
		put_marked(w, b.p, b.n, supervised ? head->n : SIZE_MAX);
	}
	if (!w->open) {
		put_id(w, w->end, supervised);
		put_text(w, "\n", 1, false);
	}
	buf_free(&b);
}

/* A stretch of text. */
struct span {
	const char *s;
	size_t n;
};

static struct span
without_newlines(struct span t, bool left, bool right)
{
	for (; left && t.n > 0 && *t.s == '\n'; t.s++)
		t.n--;
	for (; right && t.n > 0 && t.s[t.n - 1] == '\n';)
		t.n--;
	return t;
}

/* The last place of `what` in t; NULL. */
static const char *
last_of(struct span t, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = t.n + 1; i-- > 0;)
		if (t.n - i >= n && memcmp(t.s + i, what, n) == 0)
			return t.s + i;
	return NULL;
}

/* An assistant's text into what was thought and what was said, as Qwen3's template splits it: what comes before the first </think>, after the last
 * <think> in that; and what comes after the last </think>. */
static void
split_thought(const char *text, struct span *thought, struct span *said)
{
	static const char open[] = "<think>", shut[] = "</think>";
	const char *first = strstr(text, shut), *at;
	struct span all = { text, strlen(text) };

	*thought = (struct span){ text, 0 };
	*said = all;
	if (!first)
		return;
	*thought = without_newlines((struct span){ text, first - text }, false, true);
	at = last_of(*thought, open);
	if (at)
		*thought = (struct span){ at + strlen(open), thought->s + thought->n - at - strlen(open) };
	*thought = without_newlines(*thought, true, true);
	at = last_of(all, shut) + strlen(shut);
	*said = without_newlines((struct span){ at, text + all.n - at }, true, false);
}

static void
put_qwen3_answer(struct writer *w, const char *text, bool after_last_query, bool last)
{
	struct buf head = BUF_INIT(SIZE_MAX / 2), body = BUF_INIT(SIZE_MAX / 2);
	struct span thought, said;

	buf_addf(&head, "assistant\n");
	split_thought(text, &thought, &said);
	if (after_last_query && (last || thought.n > 0)) {
		struct buf *to = thought.n > 0 ? &body : &head;	/* an empty one is no answer of the model's */

		buf_addf(to, "<think>\n");
		buf_add(to, thought.s, thought.n);
		buf_addf(to, "\n</think>\n\n");
		said = without_newlines(said, true, false);
	}
	buf_add(&body, said.s, said.n);
	put_turn(w, &head, body.p ? body.p : "", body.n, true);
	buf_free(&head);
	buf_free(&body);
}

/* The last message of the user's that is no tool's reply: what answers follow it are one turn. */
static size_t
last_query(const struct msg *m, size_t n)
{
	static const char open[] = "<tool_response>", shut[] = "</tool_response>";

	for (size_t i = n; i-- > 0;) {
		size_t len = strlen(m[i].text), k = strlen(shut);

		if (strcmp(m[i].role, "user") == 0 && !(strncmp(m[i].text, open, strlen(open)) == 0 && len >= k && strcmp(m[i].text + len - k, shut) == 0))
			return i;
	}
	return n - 1;
}

static void
put_plain_turn(struct writer *w, const char *role, const char *text)
{
	struct buf head = BUF_INIT(SIZE_MAX / 2);

	buf_addf(&head, "%s\n", role);
	put_turn(w, &head, text, strlen(text), strcmp(role, "assistant") == 0);
	buf_free(&head);
}

static void
chatml_ids(struct writer *w, enum template which, const struct msg *m, size_t n, const struct render *r)
{
	static const char ready[] = "assistant\n", silent[] = "assistant\n<think>\n\n</think>\n\n";
	size_t query = last_query(m, n);

	if (which == TEMPLATE_QWEN25 && strcmp(m[0].role, "system") != 0)
		put_plain_turn(w, "system", QWEN25_SYSTEM);
	for (size_t i = 0; i < n; i++) {
		w->open = i + 1 == n && r->continue_final;
		if (which == TEMPLATE_QWEN3 && strcmp(m[i].role, "assistant") == 0)
			put_qwen3_answer(w, m[i].text, i > query, i + 1 == n);
		else
			put_plain_turn(w, m[i].role, m[i].text);
	}
	if (r->add_generation) {
		const char *header = which == TEMPLATE_QWEN3 && r->no_thinking ? silent : ready;

		put_id(w, w->start, false);
		put_text(w, header, strlen(header), false);
	}
}

/* ---- all of them ---- */

static int
check_messages(const struct msg *m, size_t n, struct err *e)
{
	if (n == 0)
		return err_set(e, "no messages");
	for (size_t i = 0; i < n; i++)
		if (strcmp(m[i].role, "system") != 0 && strcmp(m[i].role, "user") != 0 && strcmp(m[i].role, "assistant") != 0)
			return err_set(e, "messages[%zu]: unknown role \"%s\" (known: system, user, assistant)", i, m[i].role);
	return 0;
}

int
template_ids(const struct tok *t, enum template which, const struct msg *m, size_t n, const struct render *r, struct ids *out, struct ids *mark, struct err *e)
{
	struct writer w = { .t = t, .out = out, .mark = mark, .apart = r->apart };

	if (check_messages(m, n, e) < 0 || writer_init(&w, t, which, e) < 0)
		return -1;
	if (is_chatml(which))
		chatml_ids(&w, which, m, n, r);
	else
		llama_ids(&w, which, m, n, r);
	return 0;
}
