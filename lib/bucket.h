/* bucket.h - requests and tokens a minute, shared by all processes of the user with the same endpoint and key (a memory-mapped file)
 *
 * A process reserves its next request, holds it until it is due, sends it, reserves the next: never more than one ahead. So a killed process
 * wastes at most one request of the budget, and there is nothing to clean up: no lock is held, the state is a few 64-bit words changed by compare-and-swap.
 * In any minute at most 1.01 of the limit goes out, and one request, and those that were sent later than they were due (one a process at most); with
 * enough work at least 0.98 of it. gcra.h has the algorithm. Of tokens, "one request" is all its tokens: one of 5% of the limit may exceed it by 5%.
 * Processes that give different limits each move the shared time on by their own interval.
 *
 *     b = bucket_open(NULL, id, n, rpm, tpm, &e);
 *     bucket_take(b, tokens);                                wherever a request is ready and nothing is held
 *     while (bucket_due(b) > bucket_now()) wait;             ask again after each settlement, and at least every BUCKET_POLL_MS: others give back
 *     send; bucket_sent(b);                                  from here on it is no longer held; or bucket_give(b): it will not be sent after all
 *     bucket_settle(b, tokens, used);                        when the reply is there; 0 where it was refused, not at all where the usage is unknown
 *
 * The file is the user's alone (0600, one name, no link) or is refused. Its contents are trusted no further than GCRA_AHEAD: a damaged one, or a usage that
 * cannot be true, stops nobody for more than ten minutes (or 64 of its own requests, where they take longer). One that is cut short is
 * made whole at the next use; when that happens in the midst of one, a SIGBUS handler (installed by the first bucket_open(), which
 * passes on what is not ours) gives that use a page of its own. One that is removed is shared on by those that have it open. */
#ifndef SA_BUCKET_H
#define SA_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BUCKET_POLL_MS 100

struct bucket;

/* id: endpoint base, NUL, key; its hash names the file, neither is in it. dir: NULL = rundir_open()'s; made 0700, refused where it is a link, not ours
 * or open to others. rpm, tpm: requests and tokens a minute, <= 0: no limit. NULL with the reason. One thread at a time; not across fork(). */
struct bucket *bucket_open(const char *dir, const void *id, size_t n, double rpm, double tpm, struct err *e);

/* What is still held is given back. NULL will do. */
void bucket_close(struct bucket *b);

/* The bucket's clock: CLOCK_BOOTTIME, ns. */
uint64_t bucket_now(void);

/* Reserve the next request, of at most `tokens` tokens. Returns when it is due: <= bucket_now(): at once. */
uint64_t bucket_take(struct bucket *b, long long tokens);

/* When the request that is held is due, as it looks now. */
uint64_t bucket_due(struct bucket *b);

void bucket_sent(struct bucket *b);
void bucket_give(struct bucket *b);

/* It used other than it reserved: the difference is anybody's at once, or is owed. */
void bucket_settle(struct bucket *b, long long reserved, long long used);

#endif
