/* template.h - chat templates as (special id, text) segments, so that special-token text in a message stays text
 *
 * llama3      Meta-Llama-3: BOS, then <|start_header_id|>role<|end_header_id|>\n\n + trimmed text + <|eot_id|> a message
 * llama3.2    the same, a system block always, with the "Cutting Knowledge Date" lines before its text
 * llamafactory  LLaMA-Factory's `llama3`: as llama3 but not trimmed; the prompt and each response are tokenized separately
 * chatml      <|im_start|>role\n + text + <|im_end|>\n a message, nothing trimmed, no BOS
 * qwen2.5     the same, with Qwen's own system message where the conversation begins with none
 * qwen3       chatml with thoughts: those of earlier turns are left out, the last turn always has one, if an empty one
 * The choice comes from tokenizer_config.json's chat_template (or chat_template.jinja) by recognition, never by guessing: unknown is refused with the
 * list. template.c chooses, render.c renders. */
#ifndef SA_TEMPLATE_H
#define SA_TEMPLATE_H

#include "chat.h"
#include "err.h"
#include "tokenizer.h"

enum template { TEMPLATE_LLAMA3, TEMPLATE_LLAMA32, TEMPLATE_LLAMAFACTORY, TEMPLATE_CHATML, TEMPLATE_QWEN25, TEMPLATE_QWEN3 };

/* Meta-Llama-3-8B-Instruct's chat_template, verbatim; it is TEMPLATE_LLAMA3. */
extern const char template_llama3_jinja[];

int template_by_name(const char *name, enum template *out, struct err *e);
const char *template_name(enum template t);
int template_detect(const char *dir, enum template *out, struct err *e);

struct render {
	bool add_generation;	/* end with the assistant's header */
	bool continue_final;	/* end with the last message's text, which is to be continued; not with add_generation */
	const char *date;	/* "26 Jul 2024" for llama3.2; NULL: today */
	bool apart;		/* an answer is encoded apart from the header before it, as it is generated, and as LLaMA-Factory trains it */
	bool no_thinking;	/* qwen3: the assistant's header comes with an empty thought (enable_thinking=false) */
};

/* Append the conversation's ids. mark (unless NULL) gets one entry an id: 1 where the token is an assistant turn's text or its end token (what training
 * supervises; not the empty thought that qwen3 puts before it), 0 elsewhere. 0, or -1 (a special token of the template is not in the vocabulary; an unknown role). */
int template_ids(const struct tok *t, enum template which, const struct msg *m, size_t n, const struct render *r, struct ids *out, struct ids *mark, struct err *e);

#endif
