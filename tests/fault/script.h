/* script.h - what the fault server is to do: the lines of its script (fault.c lists them), and which of them a request gets */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
	OK, ECHO_PROMPT, SEED, ECHO_TOKENS, LENGTH, NULL_TEXT, REFUSAL, FILTERED,	/* these are good replies */
	HALF, JSON, BODY_FILE, STATUS, GARBAGE, NOISE, BIG, ENDLESS, ENDLESS_HEADERS, ENDLESS_INTERIM, CUT, CUT_RESET, CLOSE, RESET, HANG, DOWN, DIE,
};

struct limits;

struct action {
	enum kind kind;
	char *name;		/* as it was written, as a JSON string */
	long long count;	/* requests that got it */
	bool paid;		/* a whole and good reply */
	/* of a mix */
	double percent;		/* of the requests; <0: of all */
	long long first;	/* only so many attempts of each; 0: all */
	/* what is said */
	char *text;		/* behind the action's word */
	long long n;		/* status, MiB, ms */
	char *usage;		/* JSON in place of the usage, "none" for none; NULL: as it should be */
	char *code;
	char *retry_after, *retry_after_ms;
	long long retry_after_date;	/* seconds from now; <0: not said */
	struct limits *over;	/* the reply of a limit: when to come again */
	/* how it is said */
	long long wait_from, wait_to;	/* ms */
	bool chunked, bad_chunks, http10, then_close, then_reset;
	long long drip, drip_head;	/* ms a byte, of the body or of all; 0: at once */
	long long claim;	/* bytes by which the Content-Length is wrong */
	long long interim;	/* 102s before it */
	long long headers, header_size;	/* more headers, bytes of each */
	long long twice;	/* ms after which it comes once more, unasked; <0: not */
	char *header;		/* "Name: value\r\n"... or NULL */
};

/* Dies when the script is wrong. */
void script_read(const char *path);

/* What the request whose body has this hash gets; `attempt` counts the requests of that body, this one included (from 1). *holds is what
 * script_release() is to be given when the reply is through. */
struct action *script_next(uint64_t hash, long attempt, struct limits **holds);
void script_release(struct limits *holds);

/* What GET /v1/models gets, or NULL: the usual. */
const struct action *script_models(void);

/* ms until the rate allows one more; <0: nothing is known. */
long long script_wait_ms(const struct limits *l);

/* Call `each` for all actions of the script, those of the limits included. */
void script_each(void (*each)(const struct action *a, void *arg), void *arg);

/* The next word of *s, which is cut out of it. */
char *script_word(char **s);

#endif
