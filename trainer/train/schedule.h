/* schedule.h - the learning rate of every step, as HF transformers' schedulers give it. Pure. */
#ifndef SA_SCHEDULE_H
#define SA_SCHEDULE_H

enum schedule_kind { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT };
#define SCHEDULE_WORDS "cosine|linear|constant"

struct schedule {
	enum schedule_kind kind;
	double lr;		/* the highest */
	long steps, warmup;
};

/* ceil(steps * ratio) */
long schedule_warmup(long steps, double ratio);

/* Of step 0..steps-1: lr * step / warmup while step < warmup (so the first update has lr 0), then 0.5 (1 + cos(pi p)) with p = the
 * part of the rest that is over, or 1 - p, or 1. */
double schedule_lr(const struct schedule *s, long step);

#endif
