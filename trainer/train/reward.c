/* reward.c - DPO's and KTO's losses */
#include <math.h>

#include "reward.h"

static double
sigmoid(double x)
{
	double e = exp(-fabs(x));

	return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static double
log_sigmoid(double x)
{
	return fmin(x, 0) - log1p(exp(-fabs(x)));
}

double
dpo_loss(double margin, double beta, double smoothing, double *slope)
{
	double x = beta * margin;

	*slope = beta * (smoothing * sigmoid(x) - (1 - smoothing) * sigmoid(-x));
	return -(1 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x);
}

double
kto_loss(double ratio, double z, bool desirable, double beta, double w, double *slope)
{
	double x = desirable ? beta * (ratio - z) : beta * (z - ratio), p = sigmoid(x);

	*slope = (desirable ? -w : w) * beta * p * sigmoid(-x);
	return w * sigmoid(-x);
}
