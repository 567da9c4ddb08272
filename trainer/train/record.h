/* record.h - one record of the data as a conversation, or as plain text
 *
 * Its members are named by a shape: as dataset_info.json has them (dataset.h), or, SHAPE_ANY, recognised:
 *
 *     {"messages":[{"role","content"}],"system"}
 *     {"conversations":[{"from":"human"|"gpt"|"system","value"}],"system"}   sharegpt
 *     {"instruction","input","output","system","history"}                  alpaca: instruction + "\n" + input is the user's turn
 *     {"prompt","response","system","history"}                             a record of this suite
 *     {"text"}                                                             plain text
 *
 * As in LLaMA-Factory a sharegpt conversation whose turns are not user, assistant, user, assistant ... is left out. Pure. */
#ifndef SA_RECORD_H
#define SA_RECORD_H

#include <jansson.h>

#include "chat.h"
#include "err.h"

enum shape_kind { SHAPE_ANY, SHAPE_ALPACA, SHAPE_SHAREGPT };

/* Names of members and, of sharegpt, words of the role's member. NULL: there is none such. */
struct shape {
	enum shape_kind kind;
	const char *prompt, *query, *response, *history;		/* alpaca */
	const char *messages, *role, *content;				/* sharegpt */
	const char *user, *assistant, *system_word, *observation, *function;
	const char *system;						/* both */
	const char *chosen, *rejected, *label;				/* both: of ranking.h, not of a conversation; SHAPE_ANY has none */
};

extern const struct shape shape_any;

/* The texts are the record's, which must outlive it. */
struct talk {
	struct msg *m;
	size_t n, cap;
	const char *text;	/* plain text; there are no messages then */
	char *joined;		/* the one text that is not the record's */
};

/* 0; 1 when the conversation is to be left out, for the reason in e; -1 with why the record cannot be used. talk_free() in any case. */
int talk_read(struct talk *t, const json_t *record, const struct shape *shape, struct err *e);
void talk_free(struct talk *t);

#endif
