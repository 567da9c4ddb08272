/* schedule.c - warm-up and decay of the learning rate */
#include <math.h>

#include "schedule.h"

long
schedule_warmup(long steps, double ratio)
{
	return (long)ceil((double)steps * ratio);
}

double
schedule_lr(const struct schedule *s, long step)
{
	long rest = s->steps - s->warmup;
	double p;

	if (step < s->warmup)
		return s->lr * ((double)step / (double)s->warmup);
	p = (double)(step - s->warmup) / (double)(rest > 1 ? rest : 1);
	switch (s->kind) {
	case SCHEDULE_COSINE:
		return s->lr * fmax(0, 0.5 * (1 + cos(M_PI * p)));
	case SCHEDULE_LINEAR:
		return s->lr * fmax(0, 1 - p);
	case SCHEDULE_CONSTANT:
		break;
	}
	return s->lr;
}
