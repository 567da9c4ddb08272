/* spend.c - a spending limit: the worst case is reserved before a request is sent, what it really used is settled after */

#include "spend.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "num.h"

#define PICO 1e12
#define USD_MAX 1e15		/* of the limit: more is as good as none, and fits 128 bits */

/* Dollars per million tokens to picodollars a token: both factors are 1e6. */
static long long
token_price(double usd)
{
	if (!(usd > 0))
		return 0;
	return llround((usd < SPEND_PRICE_MAX ? usd : SPEND_PRICE_MAX) * (PICO / 1e6));
}

void
spend_init(struct spend *s, long long max_tokens, double max_usd, double usd_in, double usd_out)
{
	*s = (struct spend){ .max_tokens = max_tokens, .max_pico = -1, .in_price = token_price(usd_in), .out_price = token_price(usd_out) };
	if (max_usd >= 0)
		s->max_pico = (__int128)roundl((long double)(max_usd < USD_MAX ? max_usd : USD_MAX) * (long double)PICO);
}

bool
spend_price(const char *text, double *in, double *out)
{
	const char *colon = strchr(text, ':');
	char first[32];
	double a, b;

	if (!colon || (size_t)(colon - text) >= sizeof first)
		return false;
	memcpy(first, text, (size_t)(colon - text));
	first[colon - text] = 0;
	if (num_real(first, 0, SPEND_PRICE_MAX, &a, NULL) < 0 || num_real(colon + 1, 0, SPEND_PRICE_MAX, &b, NULL) < 0)
		return false;
	*in = a;
	*out = b;
	return true;
}

/* What both sums grow by; within the bounds of one request they cannot overflow in a run. */
struct cost {
	__int128 tokens, pico;
};

static long long
bounded(long long tokens)
{
	return tokens < 0 ? 0 : tokens < SPEND_TOKENS_MAX ? tokens : SPEND_TOKENS_MAX;
}

static struct cost
cost(const struct spend *s, long long in, long long out)
{
	in = bounded(in);
	out = bounded(out);
	return (struct cost){ in + out, (__int128)in * s->in_price + (__int128)out * s->out_price };
}

/* Beside `tokens` and `pico`, which are gone already. */
static bool
fits(const struct spend *s, long long in, long long out, __int128 tokens, __int128 pico)
{
	bool limited = s->max_tokens >= 0 || s->max_pico >= 0;
	struct cost c = cost(s, in, out);

	if (limited && (in > SPEND_TOKENS_MAX || out > SPEND_TOKENS_MAX))
		return false;
	return (s->max_tokens < 0 || tokens + c.tokens <= s->max_tokens) && (s->max_pico < 0 || pico + c.pico <= s->max_pico);
}

bool
spend_reserve(struct spend *s, long long in, long long out)
{
	struct cost c = cost(s, in, out);

	if (!fits(s, in, out, s->tokens + s->reserved_tokens, s->pico + s->reserved_pico))
		return false;
	s->reserved_tokens += c.tokens;
	s->reserved_pico += c.pico;
	return true;
}

bool
spend_reached(const struct spend *s, long long in, long long out)
{
	return !fits(s, in, out, s->tokens, s->pico);
}

void
spend_settle(struct spend *s, long long in, long long out, long long used_in, long long used_out)
{
	struct cost c = cost(s, used_in < 0 ? in : used_in, used_out < 0 ? out : used_out);

	spend_release(s, in, out);
	s->tokens += c.tokens;
	s->pico += c.pico;
}

void
spend_release(struct spend *s, long long in, long long out)
{
	struct cost c = cost(s, in, out);

	s->reserved_tokens -= c.tokens;
	s->reserved_pico -= c.pico;
}

double
spend_usd(const struct spend *s)
{
	return (double)((long double)s->pico / (long double)PICO);
}

long long
spend_tokens(const struct spend *s)
{
	return s->tokens < LLONG_MAX ? (long long)s->tokens : LLONG_MAX;
}
