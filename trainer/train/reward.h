/* reward.h - losses over preferences, and their slopes. Pure.
 *
 * All is of log-probabilities of whole responses, in nats: a ratio is log(p / p_ref), of the model that is trained and of the one that it began as; beta times
 * a ratio is the response's reward. The same as in TRL and LLaMA-Factory.
 *
 * DPO (Rafailov et al. 2023, arXiv:2305.18290, equation 7): with x = beta (ratio of the chosen - ratio of the rejected response)
 *	loss = -(1 - s) log sigmoid(x) - s log sigmoid(-x)
 * where s, the label smoothing, is the part of the pairs that are the wrong way round (conservative DPO, Mitchell 2023).
 *
 * KTO (Ethayarajh et al. 2024, arXiv:2402.01306, equations 7 and 8): for a response alone, desirable or not,
 *	loss = w (1 - sigmoid(beta (ratio - z))) or w (1 - sigmoid(beta (z - ratio)))
 * where z, which is not differentiated, estimates the KL divergence of the model from the reference: the mean ratio of mismatched pairs of a prompt and
 * another one's response, 0 when that is negative. */
#ifndef SA_REWARD_H
#define SA_REWARD_H

#include <stdbool.h>

/* The loss of a pair, margin = ratio of the chosen - ratio of the rejected; *slope: d loss / d margin. */
double dpo_loss(double margin, double beta, double smoothing, double *slope);

/* The loss of a response of weight w; *slope: d loss / d ratio. */
double kto_loss(double ratio, double z, bool desirable, double beta, double w, double *slope);

#endif
