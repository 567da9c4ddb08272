/* retry.h - when a request is tried again and how long to wait: pure decisions, no clock and no randomness of their own
 *
 * Full jitter: the wait before the next attempt is uniform in 0..min(RETRY_CAP, RETRY_BASE * 2^n). A server's own wish (retry-after-ms,
 * Retry-After) is obeyed instead, up to RETRY_MAX_WAIT. */
#ifndef SA_RETRY_H
#define SA_RETRY_H

#include <stdbool.h>
#include <time.h>

#include "http.h"
#include "rec.h"

#define RETRY_BASE 0.5		/* seconds */
#define RETRY_CAP 30.0
#define RETRY_MAX_WAIT 600.0	/* longest obedience, and how long a request is kept through 429s in all */

/* Seconds to wait after the nth failure (from 1); u is uniform in 0..1. */
double retry_backoff(long n, double u);

/* The seconds that a header's value asks for, or -1 when it asks for nothing readable. A date is measured from `now`; one in the past is 0. */
double retry_after(const char *value, time_t now);
double retry_after_ms(const char *value);

enum verdict {
	VERDICT_GOOD,	/* a reply to read */
	VERDICT_AGAIN,	/* worth another attempt, within --retries */
	VERDICT_PACED,	/* 429: another attempt that does not use up --retries */
	VERDICT_FINAL,	/* no: this request will not succeed */
	VERDICT_FATAL,	/* no, and nor will any other (insufficient_quota) */
};

/* What became of an attempt. `class` is set unless good: the class of the record's failure if this was the last attempt. */
enum verdict retry_verdict(const struct http_result *r, enum rec_class *class);

/* The endpoint was not reached at all: refused, unresolved, unreachable. */
bool retry_unreached(const struct http_result *r);

#endif
