/* count.h - what a fault server counts and logs: requests, how often each body was asked, and which were answered well
 *
 * The log is buffered. Whoever answers requests calls count_flush() before, so that a client that has its reply finds its request in the log. */
#ifndef FAULT_COUNT_H
#define FAULT_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "script.h"

void count_open_log(const char *path);	/* NULL: no log; dies when it cannot be written */
void count_flush(void);

void count_connection(void);
/* A request is there / its answer is through (or its connection gone). */
void count_enter(void);
void count_leave(void);

/* The next attempt of this body (from 1). */
long count_asked(uint64_t hash);
/* The whole good reply to it was sent. */
void count_paid(uint64_t hash);

/* One line of the log. */
struct asker { char auth[256], org[64], project[64]; };	/* what the headers say of who asks; "" when they do not */
void count_log(const char *path, const struct asker *who, const struct action *a, long attempt, const char *body, size_t n);

/* The object that GET /count answers, malloc'd. */
char *count_json(void);

#endif
