/* breaker.c - is this endpoint worth sending to? */

#include "breaker.h"

#include "retry.h"

void
breaker_init(struct breaker *b)
{
	*b = (struct breaker){ .state = BREAKER_CLOSED };
}

bool
breaker_may_send(const struct breaker *b, uint64_t now)
{
	if (b->state == BREAKER_CLOSED || (b->state == BREAKER_HALF_OPEN && !b->probing))
		return true;
	return now >= b->due_ms;
}

void
breaker_sent(struct breaker *b, uint64_t now)
{
	if (b->state == BREAKER_CLOSED)
		return;
	b->state = BREAKER_HALF_OPEN;
	b->probing = true;
	b->due_ms = now + BREAKER_LOST_SECONDS * 1000;
}

void
breaker_success(struct breaker *b, uint64_t now)
{
	*b = (struct breaker){ .state = BREAKER_CLOSED, .since_ms = now, .ever = true };
}

static void
cool_down(struct breaker *b, uint64_t now, double u)
{
	b->state = BREAKER_OPEN;
	b->probing = false;
	b->due_ms = now + (uint64_t)(retry_backoff(b->probes + 1, u) * 1000);
}

void
breaker_failure(struct breaker *b, uint64_t now, double u)
{
	if (b->state == BREAKER_OPEN)
		return;
	if (b->state == BREAKER_HALF_OPEN) {
		b->probes++;
		cool_down(b, now, u);
		return;
	}
	if (b->failures++ == 0 && !b->ever)
		b->since_ms = now;
	if (b->failures >= BREAKER_FAILURES && now - b->since_ms >= BREAKER_SECONDS * 1000)
		cool_down(b, now, u);
}

void
breaker_unsure(struct breaker *b)
{
	if (b->state == BREAKER_HALF_OPEN)
		b->probing = false;
}

uint64_t
breaker_due(const struct breaker *b)
{
	return b->state == BREAKER_OPEN || b->probing ? b->due_ms : 0;
}

int
breaker_probes(const struct breaker *b)
{
	return b->probes;
}
