/* tokenize.h - /tokenize and /detokenize, in vLLM's form. Pure but for the tokenizer.
 *
 *     {"prompt", "add_special_tokens": true, "return_token_strs": false}
 *     {"messages", "add_generation_prompt": true, "continue_final_message": false, "chat_template_kwargs", "return_token_strs"}
 *         -> {"count", "max_model_len", "tokens": [id, ...], "token_strs": null or ["as tokenizer.json spells it", ...]}
 *     {"tokens": [id, ...]} -> {"prompt": text}
 *
 * `model` may be given. The ids are those that the same prompt or messages give a request for text, whatever their number. */
#ifndef SA_TOKENIZE_H
#define SA_TOKENIZE_H

#include "buf.h"
#include "prompts.h"

/* 0 with the reply appended to *out, or -1 with *e filled. */
int tokenize(struct buf *out, const char *body, size_t n, const struct serving *s, struct req_error *e);
int detokenize(struct buf *out, const char *body, size_t n, const struct serving *s, struct req_error *e);

#endif
