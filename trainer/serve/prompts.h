/* prompts.h - what a request is about, as token ids: its `prompt`, or its `messages` by the chat template. Pure but for the tokenizer. */
#ifndef SA_PROMPTS_H
#define SA_PROMPTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "param.h"
#include "template.h"
#include "tokenizer.h"

/* What requests are read against. */
struct serving {
	const struct tok *tok;
	enum template template;
	const char *date;	/* for templates that show one; NULL: today */
	const char *name;	/* the model's */
	const char *path;	/* the checkpoint's directory, also accepted as the model's name */
	int vocab;		/* ids are below this */
	struct guides *guides;	/* (guide.h) the forms that replies may have */
	int max_context;	/* tokens of a prompt and its continuation */
};

struct req_prompt {
	struct ids ids;
	size_t hidden;		/* leading ids that are no text of the user's: a BOS that was added */
};

/* True when a request may name the model so. */
bool req_names(const struct serving *s, const char *name);
/* The member `model`, if it is there. 0, or -1 with *e filled, as the next. */
int prompts_model(json_t *root, const struct serving *s, struct req_error *e);

/* The member `prompt`: a string, a list of strings, of ids or of lists of ids, at most `most` prompts. *list[*n] is the caller's, also
 * after a failure (both begin as NULL and 0). A string gets the tokenizer's BOS unless it begins with one or "add_special_tokens" is false. */
int prompts_text(json_t *root, size_t most, const struct serving *s, struct req_prompt **list, size_t *n, struct req_error *e);

/* The member `messages`, rendered as add_generation_prompt, continue_final_message and chat_template_kwargs say. */
int prompts_chat(json_t *root, const struct serving *s, struct ids *out, struct req_error *e);

/* A prompt has tokens and fits into the context. `param`: what it came from. */
int prompts_fit(const struct ids *ids, const char *param, const struct serving *s, struct req_error *e);

void prompts_free(struct req_prompt *list, size_t n);

#endif
