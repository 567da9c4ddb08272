/* run.h - the parts of a training run, between setting it up (setup.c) and going through it (train.c) */
#ifndef SA_RUN_H
#define SA_RUN_H

#include "checkpoint.h"
#include "log.h"
#include "model.h"
#include "optim.h"
#include "samples.h"
#include "schedule.h"
#include "train.h"

struct run {
	const struct settings *set;
	struct config c;
	struct source source;
	char *config_path;		/* the config.json that the model is made by */
	struct tok *tok;
	struct sampler sampler;
	struct samples data;
	struct schedule schedule;
	size_t window;			/* samples a step */
	size_t micro;			/* samples a micro-batch */
	long steps_per_epoch;
	struct mach *mach;
	struct model *model;
	bool *trained;			/* which of the model's tensors are; NULL: all */
	struct weights grad;		/* of those */
	struct optim optim;
	struct acts *acts;
	struct log log;
	json_t *identity;		/* what a resumed run must have in common with this one */
	long saved;			/* step of the newest checkpoint, -1: none */

	uint32_t *order;		/* of epoch `ordered` */
	long ordered;
	int *pos, *cu;			/* scratch of a micro-batch: positions, sequence bounds */
	int *ids, *target;
};

/* Read everything and find where to go on. 0; 1 when the run was finished already; -1 with a message. */
int run_setup(struct run *r, const struct settings *set, struct err *e);
void run_free(struct run *r);

/* The order of an epoch, made when it is another than the last. */
const uint32_t *run_order(struct run *r, long epoch);

#endif
