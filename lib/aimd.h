/* aimd.h - how many requests may be in flight below --jobs: additive increase, multiplicative decrease. Pure: the time is an argument.
 *
 * Starts at the ceiling. A round trip is the smoothed duration of a successful attempt. Signals of overload (429, 503, no connection) cut the limit
 * at most once per round trip, in proportion to their share of the replies since the last cut, as DCTCP does (RFC 8257): by half when there was
 * nothing else, by 2.5% when it was one in twenty; never below 1. Successes grow it by 1 + limit/24 per round trip.
 * Other failures (500, time-outs, 400) are neither: report them nowhere here. */
#ifndef SA_AIMD_H
#define SA_AIMD_H

#include <stdint.h>

struct aimd {
	double limit, ceiling;
	double known;		/* the limit at the last cut that had successes beside the signals: up to half of it we grow fast */
	double rtt_ms;		/* smoothed duration of a success; 0 before the first */
	uint64_t cut_ms;	/* when the limit was last cut, or the first reply came */
	unsigned good, bad;	/* replies since */
};

/* ceiling >= 1. */
void aimd_init(struct aimd *a, int ceiling);

/* An attempt has succeeded: it took took_ms. */
void aimd_success(struct aimd *a, uint64_t now_ms, double took_ms);

/* An attempt has met an overloaded server. */
void aimd_overload(struct aimd *a, uint64_t now_ms);

/* How many may be in flight now, 1..ceiling. */
int aimd_limit(const struct aimd *a);

#endif
