/* spend.h - a spending limit: the worst case is reserved before a request is sent, what it really used is settled after. Pure.
 *
 * Spent and reserved together never exceed the limit, whatever the server does, as long as the worst case is one; what a server used beyond it is counted all the
 * same, and nothing more fits. A request whose usage is unknown (a time-out, a reply without usage) keeps its reservation as spent.
 * Every spend_reserve() that said yes is followed by one spend_settle() or spend_release() with the same two numbers.
 * Money is counted in whole picodollars (1e-12 dollars; a price of 1e-6 dollars per million tokens is 1 a token), in 128 bits, so that sums are exact. */
#ifndef SA_SPEND_H
#define SA_SPEND_H

#include <stdbool.h>

#define SPEND_TOKENS_MAX 1000000000000	/* of one request: more counts as this, and fits no limit */
#define SPEND_PRICE_MAX 1e9		/* dollars per million tokens */

struct spend {
	long long max_tokens;			/* < 0: no limit */
	__int128 max_pico;			/* < 0: no limit */
	long long in_price, out_price;		/* picodollars a token */
	__int128 tokens, reserved_tokens;	/* used; under way */
	__int128 pico, reserved_pico;
};

/* max_tokens < 0: no limit of tokens. max_usd < 0 or NAN: none of money. Prices in dollars per million tokens, 0..SPEND_PRICE_MAX. */
void spend_init(struct spend *s, long long max_tokens, double max_usd, double usd_in, double usd_out);

/* "0.15:0.60": the prices of a million tokens in and out. */
bool spend_price(const char *text, double *in, double *out);

/* Reserve the worst case of a request, in tokens. False: it does not fit into what is left now, nothing is reserved. */
bool spend_reserve(struct spend *s, long long in, long long out);

/* It would not fit even if every request under way turned out to be free: the limit is reached. */
bool spend_reached(const struct spend *s, long long in, long long out);

/* What a request used of its reservation; used_in, used_out < 0: unknown. */
void spend_settle(struct spend *s, long long in, long long out, long long used_in, long long used_out);

/* It was not sent, or was refused unbilled (4xx, 5xx, no connection). */
void spend_release(struct spend *s, long long in, long long out);

/* Spent so far, reservations left out. */
double spend_usd(const struct spend *s);
long long spend_tokens(const struct spend *s);

#endif
