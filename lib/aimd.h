/* aimd.h - how many requests may be in flight below --jobs: additive increase, multiplicative decrease. Pure: the time is an argument.
 *
 * Starts at the ceiling. A round trip is the smoothed duration of a successful attempt. Signals of overload (429, 503, no connection) cut the limit
 * at most once per round trip, and once in as many replies as may be in flight (places may be held by requests that hang), in proportion to their
 * share of the replies of late, as DCTCP does (RFC 8257): by half when there was nothing else, by 2.5% when it was one in twenty; never below 1.
 * Successes grow it by 1 + limit/24 per round trip, where it was the limit that held back more.
 * After an outage (a cut without any success since the one before) it grows by 1 a success up to half of what was known to work.
 * Other failures (500, time-outs, 400) are neither, but replies.
 *
 * Where it comes to rest (tests/unit/aimd.c simulates it, with refusals as slow as answers and twenty times as fast):
 *     a server that takes C at once        about C: 1.1 C at 64, 1.4 C at 4, no more than C where it refuses fast; at least 95% of C are always busy;
 *                                          a tenth of the replies are refusals at 200, an eighth at 64, a third to a half at 4 and below (more where
 *                                          they are fast)
 *     one that turns away p at random      p/2 = 1/24 + 1/limit: the ceiling up to 8%, 120 at 10%, 30 at 15%, 15 at 20%
 *     growth from 1, nothing turned away   to 64 in 34 round trips, to 256 in 60
 *     after an outage                      1; a few round trips to half of what was known, the rest as above */
#ifndef SA_AIMD_H
#define SA_AIMD_H

#include <stdbool.h>
#include <stdint.h>

struct aimd {
	double limit, ceiling;
	double known;		/* the limit at the last cut that had successes beside the signals: up to half of it we grow fast */
	double rtt_ms;		/* smoothed duration of a success; 0 before the first */
	uint64_t cut_ms;	/* when the limit was last cut, or the first reply came */
	uint64_t good, since;	/* successes, and replies, since */
	double all, bad;	/* replies, and signals among them, each cut's counting for less */
};

/* ceiling >= 1. */
void aimd_init(struct aimd *a, int ceiling);

/* An attempt has succeeded: it took took_ms. limited: as many were in flight as were allowed; else nothing is learnt about more (RFC 7661). */
void aimd_success(struct aimd *a, uint64_t now_ms, double took_ms, bool limited);

/* An attempt has failed in a way that says nothing about load: a reply all the same. */
void aimd_other(struct aimd *a, uint64_t now_ms);

/* An attempt has met an overloaded server. */
void aimd_overload(struct aimd *a, uint64_t now_ms);

/* How many may be in flight now, 1..ceiling. */
int aimd_limit(const struct aimd *a);

#endif
