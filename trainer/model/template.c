/* template.c - chat templates: recognising a checkpoint's own, and rendering a conversation to token ids */
#include "template.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#include "buf.h"
#include "pretok.h"

#define FILE_MAX ((size_t)16 << 20)
#define KNOWN "llama3, llama3.2, llamafactory"

static const char *const names[] = {
	[TEMPLATE_LLAMA3] = "llama3",
	[TEMPLATE_LLAMA32] = "llama3.2",
	[TEMPLATE_LLAMAFACTORY] = "llamafactory",
};

int
template_by_name(const char *name, enum template *out, struct err *e)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], name) == 0) {
			*out = i;
			return 0;
		}
	return err_set(e, "unknown chat template \"%s\" (known: " KNOWN ")", name);
}

const char *
template_name(enum template t)
{
	return names[t];
}

/* ---- recognising ---- */

#define LLAMA3_MESSAGES \
	"{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + " \
	"'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}" \
	"{% endif %}{{ content }}{% endfor %}"
#define LLAMA3_GENERATION "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"

const char template_llama3_jinja[] = LLAMA3_MESSAGES "{% if add_generation_prompt %}" LLAMA3_GENERATION "{% endif %}";

/* Of the first days of Meta-Llama-3: it always ends with the assistant's header, which add_generation decides here. */
static const char llama3_first[] = LLAMA3_MESSAGES LLAMA3_GENERATION;

/* Llama-3.2's is long, mostly about tools, and was re-issued several times: it is known by the statements that decide how messages without tools come
 * out, white space left out (each begins with "-", so that none between them counts). 3.1's, which has no strftime_now, is another. */
static const char *const llama32[] = {
	"{{-bos_token}}",
	"date_string=strftime_now(\"%d%b%Y\")",
	"{%-ifmessages[0]['role']=='system'%}{%-setsystem_message=messages[0]['content']|trim%}{%-setmessages=messages[1:]%}"
		"{%-else%}{%-setsystem_message=\"\"%}",
	"{{-\"<|start_header_id|>system<|end_header_id|>\\n\\n\"}}",
	"{{-\"CuttingKnowledgeDate:December2023\\n\"}}{{-\"TodayDate:\"+date_string+\"\\n\\n\"}}",
	"{{-system_message}}{{-\"<|eot_id|>\"}}",
	"{{-'<|start_header_id|>'+message['role']+'<|end_header_id|>\\n\\n'+message['content']|trim+'<|eot_id|>'}}",
	"{%-ifadd_generation_prompt%}{{-'<|start_header_id|>assistant<|end_header_id|>\\n\\n'}}{%-endif%}",
};

/* Shortens s in place. */
static void
drop_white_space(char *s)
{
	char *to = s;

	for (; *s; s++)
		if (!strchr(" \t\r\n", *s))
			*to++ = *s;
	*to = '\0';
}

/* Whether `jinja` is a known template. It is changed. */
static bool
recognise(char *jinja, enum template *out)
{
	size_t n = strlen(jinja);

	while (n > 0 && strchr(" \t\r\n", jinja[n - 1]))	/* a file's last newline */
		jinja[--n] = '\0';
	*out = TEMPLATE_LLAMA3;
	if (strcmp(jinja, template_llama3_jinja) == 0 || strcmp(jinja, llama3_first) == 0)
		return true;
	*out = TEMPLATE_LLAMA32;
	drop_white_space(jinja);
	for (size_t i = 0; i < sizeof llama32 / sizeof *llama32; i++)
		if (!strstr(jinja, llama32[i]))
			return false;
	return true;
}

/* tokenizer_config.json's template as a string of the caller's: the member's text or, in a list of named ones, the "default". NULL: there is none. */
static char *
config_template(const json_t *config)
{
	const json_t *v = json_object_get(config, "chat_template"), *named;
	size_t i;

	json_array_foreach(v, i, named) {
		const char *name = json_string_value(json_object_get(named, "name"));

		if (name && strcmp(name, "default") == 0)
			return xstrdup(json_is_string(json_object_get(named, "template")) ? json_string_value(json_object_get(named, "template")) : "");
	}
	return json_is_string(v) ? xstrdup(json_string_value(v)) : NULL;
}

/* The checkpoint's template, a string of the caller's, and the file that it is in. chat_template.jinja comes first, as in transformers. */
static char *
read_template(const char *dir, struct buf *path, struct err *e)
{
	struct buf file = BUF_INIT(FILE_MAX);
	json_error_t je;
	json_t *config;
	char *jinja = NULL;

	if (buf_addf(path, "%s/chat_template.jinja", dir) < 0) {
		err_set(e, "%.200s: path too long", dir);
		return NULL;
	}
	if (access(path->p, F_OK) == 0) {
		if (buf_read_file(&file, path->p, e) == 0)
			jinja = buf_take(&file);
		buf_free(&file);
		return jinja;
	}
	buf_clear(path);
	buf_addf(path, "%s/tokenizer_config.json", dir);
	if (buf_read_file(&file, path->p, e) < 0)
		goto out;
	config = json_loadb(file.p, file.n, 0, &je);
	jinja = config_template(config);
	if (!config)
		err_set(e, "%s: line %d: %s", path->p, je.line, je.text);
	else if (!jinja)
		err_set(e, "%s: no chat_template; name one with --template (known: " KNOWN ")", path->p);
	json_decref(config);
out:
	buf_free(&file);
	return jinja;
}

int
template_detect(const char *dir, enum template *out, struct err *e)
{
	struct buf path = BUF_INIT(PATH_MAX);
	char *jinja = read_template(dir, &path, e);
	int rc = -1;

	if (jinja && recognise(jinja, out))
		rc = 0;
	else if (jinja)
		err_set(e, "%s: the chat template is none of those known (" KNOWN "); name the one that fits with --template", path.p);
	free(jinja);
	buf_free(&path);
	return rc;
}

/* ---- rendering ---- */

/* What is appended to, and the template's special tokens. */
struct writer {
	const struct tok *t;
	struct ids *out, *mark;
	int bos, start, end, eot;
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

static int
writer_init(struct writer *w, const struct tok *t, enum template which, struct err *e)
{
	const struct {
		const char *token;
		int *id;
	} needed[] = {
		{ "<|begin_of_text|>", &w->bos }, { "<|start_header_id|>", &w->start }, { "<|end_header_id|>", &w->end }, { "<|eot_id|>", &w->eot },
	};

	w->t = t;
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
		*needed[i].id = tok_id(t, needed[i].token);
		if (*needed[i].id < 0)
			return err_set(e, "the vocabulary has no token %s, which chat template %s needs", needed[i].token, names[which]);
	}
	return 0;
}

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
	put_id(w, w->eot, false);
	buf_free(&b);
}

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
	struct writer w = { .out = out, .mark = mark };
	size_t i = 0;

	if (check_messages(m, n, e) < 0 || writer_init(&w, t, which, e) < 0)
		return -1;
	put_id(&w, w.bos, false);
	if (which == TEMPLATE_LLAMA32) {
		i = strcmp(m[0].role, "system") == 0;
		put_system(&w, i ? m[0].text : "", r->date);
	}
	for (; i < n; i++)
		put_message(&w, which, &m[i]);
	if (r->add_generation) {
		put_header(&w, "assistant");
		put_text(&w, "\n\n", 2, false);
	}
	return 0;
}
