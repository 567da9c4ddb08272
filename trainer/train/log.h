/* log.h - log.jsonl, one JSON line a step or evaluation, and the progress on standard error
 *
 * On a terminal the progress is one line that is written over (TERM=dumb: not); elsewhere a line every ten seconds. There are no colours. */
#ifndef SA_LOG_H
#define SA_LOG_H

#include <stdbool.h>

#include "err.h"
#include "events.h"

/* Of a step by preferences (prefer.h), each a mean; NAN: there is none. */
struct rewards {
	bool there;
	double chosen, rejected, margin;	/* beta * log(p / p_ref) of the desired and the other responses, and the difference of the two */
	double accuracy;	/* part of the pairs whose chosen response has the higher reward; KTO: of the responses that are on their side of z */
	double kl;		/* KTO's z, nats */
};

struct entry {
	long step;		/* from 1 */
	double epoch;		/* passed after this step, with its fraction */
	double loss;		/* nats a supervised token (--loss-norm sample: mean over samples) */
	double lr;
	double grad_norm;	/* before clipping */
	long tokens, supervised;
	double flops;		/* floating-point operations of the step */
	double seconds;
	struct rewards rewards;
	bool spike;		/* the loss is far above what it was (spike.h) */
};

struct evaluation {
	long step;		/* updates made before it */
	double loss;		/* as of a step */
	struct rewards rewards;
	long supervised;
	double seconds;
	bool best;		/* the lowest so far */
};

struct log {
	int fd;
	char *path;
	bool terminal;
	long steps;		/* of the whole run */
	double shown;		/* when progress was last shown, seconds of the monotonic clock */
	int width;		/* columns that it took */
	long bytes;		/* length of the file */
	double pace;		/* seconds a step, smoothed */
	struct events events;	/* for TensorBoard too, where it is open */
	double peak;		/* floating-point operations a second that the machine can do at most; 0: not known */
};

/* Open out/log.jsonl and lock it, before anything in the folder is touched: two runs never write into one. */
int log_claim(struct log *l, const char *out, struct err *e);
/* Of a claimed one: cut it to its first `keep` bytes. */
int log_open(struct log *l, long keep, long steps, struct err *e);
int log_step(struct log *l, const struct entry *en, struct err *e);
int log_eval(struct log *l, const struct evaluation *ev, struct err *e);
void log_note(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));	/* a line on standard error, whatever the progress line does */
int log_sync(struct log *l, struct err *e);
void log_close(struct log *l);		/* ends the progress line */

#endif
