/* template.c - chat templates: their names, and recognising a checkpoint's own */
#include "template.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "buf.h"

#define FILE_MAX ((size_t)16 << 20)
#define KNOWN "llama3, llama3.2, llamafactory, chatml, qwen2.5, qwen3"

static const char *const names[] = {
	[TEMPLATE_LLAMA3] = "llama3",
	[TEMPLATE_LLAMA32] = "llama3.2",
	[TEMPLATE_LLAMAFACTORY] = "llamafactory",
	[TEMPLATE_CHATML] = "chatml",
	[TEMPLATE_QWEN25] = "qwen2.5",
	[TEMPLATE_QWEN3] = "qwen3",
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

/* Others are known by the XXH64 of their text without the last line ends (goldens/make_template.py prints it). */
static const struct {
	uint64_t hash;
	enum template which;
} hashes[] = {
	{ 0x3f951c547f06568f, TEMPLATE_CHATML },	/* "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + ...", transformers' old default */
	{ 0x408946d744ba89ee, TEMPLATE_CHATML },	/* the same with line ends themselves for \n */
	{ 0x438e1930d4ab6761, TEMPLATE_CHATML },	/* Qwen3-4B-Instruct-2507 */
	{ 0x14f39dfcc63bcdcb, TEMPLATE_QWEN25 },	/* Qwen2.5-7B-Instruct */
	{ 0xa2f2632e64077a8e, TEMPLATE_QWEN3 },		/* Qwen3-8B */
	{ 0xebed4c75e31de940, TEMPLATE_QWEN3 },		/* the same as first published, in April 2025: differs for contents that are no strings */
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
	for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++)
		if (XXH64(jinja, n, 0) == hashes[i].hash) {
			*out = hashes[i].which;
			return true;
		}
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
