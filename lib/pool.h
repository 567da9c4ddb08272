/* pool.h - the endpoints of a run: which of them takes the next request, and when
 *
 * One -e or several. Each (a `struct upstream`) has its own number of requests that it is thought to bear (aimd.h), its own circuit breaker (breaker.h) and its own share
 * of the user's budget of requests and tokens a minute (bucket.h). A request goes to the one that is least loaded of those that take one now; an attempt
 * that failed goes on with another where there is one. One that cannot be opened, or has stopped answering, is left out until it answers again; a local server
 * that has died is started again. One that refuses the key or has no quota left is out for good.
 *
 * All of them must serve the same model: with -m the one that it names, else they are asked, and differing answers are an error.
 * Times are milliseconds of the loop's clock. Belongs to the loop's thread. */
#ifndef SA_POOL_H
#define SA_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "endpoint.h"
#include "opt.h"
#include "rec.h"

struct pool;
struct upstream;

struct pool_options {
	struct opt_list specs;	/* -e; none: the environment's */
	const char *model, *key;
	bool insecure, http2;
	int jobs;		/* in flight at most, all together */
	long long retries;	/* failed probes in a row after which one counts as useless */
	double rpm, tpm;	/* 0: none */
	uv_async_t *wake;	/* sent when an endpoint was opened, or could not be */
};

/* Starts opening all of them, on threads. The strings and the list must outlive the pool. */
struct pool *pool_new(const struct pool_options *o);
void pool_free(struct pool *p);

/* How the opening stands; to be called after each wake. */
enum pool_news {
	POOL_WAIT,	/* some are still being opened for the first time */
	POOL_OPEN,	/* go on */
	POOL_USELESS,	/* none could be opened: *c and *e say why */
	POOL_WRONG,	/* a mistake of the user's (exit 2) */
};
enum pool_news pool_news(struct pool *p, uint64_t now, enum rec_class *c, struct err *e);

const char *pool_model(const struct pool *p);	/* the model's name; NULL until known */

/* Where a request of so many tokens at most may go now; NULL: nowhere, look again at *due (UINT64_MAX: when a request ends). `avoid` (or NULL)
 * is taken only when no other will do. */
struct upstream *pool_pick(struct pool *p, long long tokens, const struct upstream *avoid, uint64_t now, uint64_t *due);

/* All that can be sent now has been. Whether the replies that come next find an endpoint full is told from this, not from what those before them in the same
 * turn have left of it. */
void pool_sent(struct pool *p, uint64_t now);

/* An attempt goes there: returns the tokens that are reserved for it in the shared budget. */
long long upstream_sent(struct upstream *u, uint64_t now);
/* What it really used of them; <0: unknown. */
void upstream_settle(struct upstream *u, long long reserved, long long used);

/* How it ended, exactly one of these. */
void upstream_succeeded(struct upstream *u, uint64_t now, double seconds);
void upstream_failed(struct upstream *u, uint64_t now, bool overload, double random);	/* not reached, no answer, 5xx; random: uniform in 0..1 */
void upstream_paced(struct upstream *u, uint64_t now, double random);	/* 429 */
void upstream_answered(struct upstream *u, uint64_t now);	/* refused as the request deserved (4xx): the endpoint works */
void upstream_unsure(struct upstream *u);	/* cancelled: it says nothing */

void upstream_give_up(struct upstream *u);	/* the key is refused, or the quota used up */
bool upstream_proved(const struct upstream *u);	/* it has answered at least once */
const struct http_target *upstream_target(const struct upstream *u);
const char *upstream_text(const struct upstream *u);	/* what the user wrote */
const char *upstream_identity(const struct upstream *u);	/* which replies are the same: its URL, or the checkpoint's identity */

/* Is there still one that may answer? A run without any goes to its end at once. */
bool pool_useful(const struct pool *p);
int pool_limit(const struct pool *p);		/* requests in flight that they are thought to bear, at most -j */

/* Upstream i in the order of the command line, or NULL behind the last. */
struct upstream *pool_nth(struct pool *p, size_t i);

#endif
