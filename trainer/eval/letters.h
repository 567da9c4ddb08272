/* letters.h - multiple choice by log-probability: which option's letter is the likeliest next token
 *
 * ask() and take() of a filter over records with "prompt" and "options" (how many, 2..4). The text is continued by one token; the likeliest
 * letter of those that are options is the answer, of equals the first. A letter that is not among the TOP likeliest tokens that a server
 * shows is less likely than every one that is, so one letter among them decides. Where there is none, each letter is put behind the text and
 * the whole is scored by echo: the differences of the sums are the letters'. That is the same number only where the letter stays a token of
 * its own, so the record then says "decided_by":"echo", and letters_report() counts such.
 *
 * The record gets "logprobs" {"A":-0.3,...} (of the letters that were seen), "response" (the letter) and "by" (the model). */
#ifndef SA_EVAL_LETTERS_H
#define SA_EVAL_LETTERS_H

#include "bench.h"

struct letters {
	const char *before;	/* put after the prompt: "(" */
	const char *space;	/* before the letter in its token: "" or " " */
	bool brackets;		/* the answer is written down as "(A)", not "A" */
};

void letters_ask(const struct letters *l, struct rec *r, struct asks *q);
int letters_take(const struct letters *l, struct rec *r, const struct reply *a, struct asks *more);

/* How many results were decided by echo: "by_echo" of the summary, and a line of the report when there are any. */
void letters_report(const struct bench *b, json_t *summary, struct buf *out);

#endif
