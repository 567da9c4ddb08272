/* run.h - the parts of a training run, between setting it up (setup.c) and going through it (train.c) */
#ifndef SA_RUN_H
#define SA_RUN_H

#include <signal.h>

#include "checkpoint.h"
#include "comm.h"
#include "engine.h"
#include "log.h"
#include "model.h"
#include "optim.h"
#include "pack.h"
#include "plan.h"
#include "samples.h"
#include "schedule.h"
#include "train.h"

/* What is trained on, or evaluated. */
struct portion {
	const struct samples *from;
	struct packs packs;		/* of its samples, by their numbers in `from` */
	uint64_t hash;			/* of the records' bytes, and of what was made of them */
};

/* What a run by preferences (prefer.h) has beside a portion. */
struct judged {
	const struct portion *of;
	struct samples mixed;
	struct portion mismatched;	/* KTO: pack i is the prompt of pack i with another one's response */
	double *ref, *now;		/* log-probabilities, nats: the reference's, and the model's of what was gone over last; [k] is that of sample of->packs.sample[k] */
	double *mixed_ref, *mixed_now;	/* of mismatched's packs */
};

struct prefer {
	struct judged data, eval;
	double *ref, *now;		/* [n] where those lie, one behind another */
	size_t n;
};

struct run {
	const struct settings *set;
	struct comm *comm;		/* the caller's */
	struct device device;
	struct config c;
	struct lora lora;		/* the adapters to attach, when set->lora asks for some */
	struct source source;
	char *config_path;		/* the config.json that the model is made by */
	struct tok *tok;
	struct sampler sampler;
	struct samples samples, eval_samples;
	struct portion data, eval;	/* eval.packs.n is 0 when nothing is evaluated */
	struct prefer prefer;
	struct schedule schedule;
	size_t window;			/* packs a step */
	size_t micro;			/* packs a micro-batch */
	long steps_per_epoch, eval_every, save_every;	/* save_every 0: only where it is stopped */
	struct mach *mach;
	struct model *model;
	bool *trained;			/* which of the model's tensors are; NULL: all */
	struct weights grad;		/* of those */
	struct optim optim;
	struct engine *engine;
	struct log log;
	json_t *identity;		/* what a resumed run must have in common with this one */
	struct state state;		/* of the run so far, beside weights and moments */
	bool idle;			/* a step had gradients of 0, which was told */
	long saved;			/* step of the newest checkpoint, -1: none */

	uint32_t *order;		/* of epoch `ordered` */
	long ordered;
	int *pos, *cu, *ids, *target;	/* scratch of a micro-batch */
	float *weight, *loss;
};

/* Read everything and find where to go on. 0; 1 when the run was finished already; -1, with a message. */
int run_setup(struct run *r, const struct settings *set, struct comm *comm, struct err *e);
/* Be where the next step is: the reference, the checkpoint, the files that are written. 0; 1 when a signal came first; -1, or -STATUS_IO when the device failed
 * or a file could not be written, with a message. */
int run_begin(struct run *r, struct err *e);
void run_free(struct run *r);

/* The order of an epoch's packs, made when it is another than the last. */
const uint32_t *run_order(struct run *r, long epoch);

/* The steps' packs. */
struct place {
	long epoch;
	size_t from, to;		/* of the epoch's order */
};
/* Those of step k (from 0). */
struct place run_place(const struct run *r, long k);

/* The device failed in `what` of or after a step: the message in e gets both, and what is left of the run. -STATUS_IO, or the end of all ranks: comm_lost(). */
int run_lost(const struct run *r, const char *what, long step, struct err *e);

extern volatile sig_atomic_t run_stopped;	/* the signal that asked for an end, or 0 */

/* ---- input.c ---- */

/* The files into samples, data and eval; needs the sampler. 0, or -1 with a message. */
int run_read_data(struct run *r, struct err *e);

/* ---- micro.c ---- */

/* The packs order[from..to) of `of` (order NULL: as they are) as one micro-batch in r's scratch. With --loss-norm sample each token weighs one part in the
 * supervised tokens of its sample. */
struct batch run_gather(struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to);
/* The sum of the losses of a micro-batch's sequence s, nats: minus its supervised tokens' log-probability. */
double run_sequence_loss(const struct batch *b, int s);
/* One sample alone. */
struct batch run_gather_one(struct run *r, const struct samples *from, uint32_t sample);

/* What packs hold. */
struct amount {
	size_t samples, tokens, supervised;
	double flops;			/* of forward and backward, see plan_flops() */
};
struct amount run_amount(const struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to);
/* This rank's part of packs order[*from..*to), which it becomes: the ranks' parts lie behind one another and have about the same number of tokens. */
void run_share(const struct run *r, const struct portion *of, const uint32_t *order, size_t *from, size_t *to);
/* What the sum of losses is divided by. */
double run_divisor(const struct run *r, const struct amount *a);

/* "data.jsonl:17", with " (record 9)" where that is another number, into text[n]; of the evaluation's where `from` is. */
const char *run_where(const struct run *r, const struct samples *from, uint32_t sample, char *text, size_t n);

/* ---- eval.c ---- */

/* Is an evaluation due before the next step? */
bool run_eval_due(const struct run *r);
/* Evaluate and log it, collectively; *better: no earlier loss was as low. 0; 1 when a signal came, nothing done; -1; -STATUS_IO. */
int run_evaluate(struct run *r, bool *better, struct err *e);

/* ---- culprit.c ---- */

/* `what` was x, which is no finite number, in a step in which this rank went over order[from..to) of the data, maybe none of it: look for the sample and the
 * first tensor that did it. Returns -1 with the message, which all ranks have. The gradients are spoilt. Collective. */
int run_not_finite(struct run *r, const char *what, double x, long step, const struct portion *of, const uint32_t *order, size_t from, size_t to, struct err *e);

#endif
