/* script.h - what the fault server is to do: the lines of its script (fault.c lists them) and the replies they stand for */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include "buf.h"

enum kind { OK, ECHO_PROMPT, SEED, ECHO_TOKENS, LENGTH, NULL_TEXT, REFUSAL, FILTERED, JSON, STATUS, GARBAGE, NOISE, BIG, CUT, CLOSE, RESET, HANG, DIE };

struct action {
	enum kind kind;
	char *text;		/* behind the word */
	long long status, mib;
	char *retry_after, *code;
	long long times;
	long long wait_from, wait_to;	/* ms */
};

/* The next word of *s, which is cut out of it. */
char *script_word(char **s);

void script_read(const char *path);	/* dies when it is wrong */
const struct action *script_next(void);	/* what the next request gets */

/* Append the whole HTTP reply. `body` (n bytes) is the request's. Not for those that send nothing. */
void script_reply(struct buf *out, const struct action *a, const char *body, size_t n);
void script_add_reply(struct buf *out, long long status, const char *headers, const char *body, size_t n);

#endif
