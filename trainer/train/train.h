/* train.h - a training run: fine-tuning of a checkpoint, or training of a new model
 *
 * A step takes the next batch * accum packs (pack.h; without --pack a pack is one sample) of the epoch's order, the last step of an epoch what is
 * left, runs them in micro-batches of `batch` packs, and updates the weights once. Samples of a micro-batch lie behind one another without padding; each
 * attends to itself only. */
#ifndef SA_TRAIN_H
#define SA_TRAIN_H

#include <stdbool.h>

#include "err.h"
#include "opt.h"

/* What the gradient of a step is of.
 * token: the sum over its supervised tokens / their number (HF transformers >= 4.48)
 * sample: the mean over its samples of each one's mean (what <= 4.45 does with a micro-batch of one) */
enum loss_norm { LOSS_TOKEN, LOSS_SAMPLE };

/* sft: on supervised tokens; dpo, kto: on which responses are better (prefer.h) */
enum stage { STAGE_SFT, STAGE_DPO, STAGE_KTO };

/* The numbers that matrix products are of; weights, gradients, sums and all else are float. auto: bf16 where the processor has an instruction for them. */
enum compute { COMPUTE_F32, COMPUTE_BF16, COMPUTE_AUTO };

/* What of a layer is made again in the backward: enum keep of model.h, one less. auto: the first that fits into the memory that there is. */
enum recompute { RECOMPUTE_AUTO, RECOMPUTE_NONE, RECOMPUTE_NORMS, RECOMPUTE_BLOCKS };

enum store { STORE_AUTO, STORE_F32, STORE_F16, STORE_BF16 };	/* how weights are saved; auto: as config.json says */

/* The command line. */
struct settings {
	const char *model, *tokenizer, *init, *out, *template_name;	/* NULL: not given */
	const char *config, *dataset_info, *tensorboard;
	struct opt_list data, eval_data;
	double lr, epochs, warmup_ratio, decay, beta1, beta2, eps, clip, eval_ratio, peak;
	long long batch, accum, cutoff, seed, max_steps, warmup_steps, max_samples, save_every, keep, eval_every, threads;
	int schedule, loss_norm, store, compute, recompute;
	bool resume, pack, save_epochs;
	struct opt_list freeze;		/* patterns of the names of tensors that stay as they are */
	const char *lora;		/* r:alpha:targets; NULL: no adapters */
	bool merge;			/* adapters into the finished model */
	const char *device;		/* what trains, or is planned for (device_parse()); NULL: the CPU */
	bool plan;			/* say what the run would need, and no more */
	long long ranks;		/* processes that are planned for; a run counts its own (comm.h) */
	int stage;
	double pref_beta, label_smoothing, desirable, undesirable;
};

/* Run to the end. An exit status; *sig is the signal that ended the run early (its state is saved then), or 0. */
int train(const struct settings *set, int *sig);

#endif
