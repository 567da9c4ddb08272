/* breaker.h - is this endpoint worth sending to? A circuit breaker. Pure: time and chance are arguments.
 *
 * closed     everything may be sent. It opens when the last BREAKER_FAILURES attempts or more failed and the last success (where there was none: the first
 *            of these failures) is BREAKER_SECONDS ago: a burst of failures alone does not open it.
 * open       nothing is sent until a cool-down (full jitter: retry_backoff()) is over; then one request may go as a probe.
 * half-open  the probe is out. Its success closes the breaker, its failure opens it again with the next longer cool-down. A probe that
 *            nothing is heard of for BREAKER_LOST_SECONDS is given up: another may go.
 *
 * A success closes it in whatever state it is: also that of an attempt sent before. A failure while open (of an attempt sent before) changes nothing.
 * Failures are transport failures, 5xx and refused keys; 429 is neither failure nor success, any other answer (also 400) is a success: the endpoint works. */
#ifndef SA_BREAKER_H
#define SA_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 10
#define BREAKER_SECONDS 3
#define BREAKER_LOST_SECONDS 60

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
	enum breaker_state state;
	long failures;		/* in a row */
	uint64_t since_ms;	/* the last success, or the first failure where there was none */
	bool ever;		/* there was a success */
	bool probing;		/* half-open: the probe is out */
	uint64_t due_ms;	/* open: end of the cool-down; half-open: when the probe is given up */
	int probes;		/* failed probes in a row */
};

void breaker_init(struct breaker *b);

/* May a request go to this endpoint now? Where it does, say so by breaker_sent() before asking again. */
bool breaker_may_send(const struct breaker *b, uint64_t now_ms);
void breaker_sent(struct breaker *b, uint64_t now_ms);

void breaker_success(struct breaker *b, uint64_t now_ms);
void breaker_failure(struct breaker *b, uint64_t now_ms, double u);	/* u: uniform in 0..1, for the jitter */
void breaker_unsure(struct breaker *b);					/* an attempt was cancelled, or got a 429: if it was the probe, another may go */

/* When breaker_may_send() will say yes, ms; 0: it does already, or did the moment the state changed. */
uint64_t breaker_due(const struct breaker *b);

/* Failed probes in a row: how long it has been hopeless. */
int breaker_probes(const struct breaker *b);

#endif
