/* form.h - the form that a request wants its replies to have: response_format (OpenAI's), structured_outputs and guided_* (vLLM's)
 *
 *     {"response_format": {"type": "text"}}
 *     {"response_format": {"type": "json_object"}}
 *     {"response_format": {"type": "json_schema", "json_schema": {"name": ..., "schema": ..., "strict": ...}}}
 *     {"structured_outputs": {"json": schema | "regex": string | "choice": list}}
 *     {"guided_json": schema}, {"guided_regex": string}, {"guided_choice": list}
 *
 * A schema is enforced whether "strict" or not. At most one form a request. */
#ifndef SA_FORM_H
#define SA_FORM_H

#include <jansson.h>

#include "guide.h"
#include "param.h"

/* The guide that a request's body asks for, to be released, in *out; NULL: any text. 0, or -1 with *e filled. */
int form_read(struct guide **out, json_t *root, struct guides *all, struct req_error *e);

#endif
