/* checkpoint.h - checkpoints of a run: what HF transformers loads, and what the run needs to go on
 *
 * out/step_N/ holds model.safetensors, the configuration and tokenizer files, and
 *
 *     state.bin     float weights, first and second moments; a header and an XXH3 checksum of the whole
 *     state.json    struct state; `run` is what a resumed run must have in common with this one
 *
 * It is made as step_N.tmp and renamed when everything is on the disk, so a step_N is whole. out/best is a link to the one whose evaluation loss was lowest.
 * The finished run's model is in out/ itself, beside a state.json that says so. Of a model with adapters
 * (lora.h) these are written, in PEFT's files, instead of the whole model. */
#ifndef SA_CHECKPOINT_H
#define SA_CHECKPOINT_H

#include <jansson.h>
#include <stdbool.h>

#include "model.h"
#include "optim.h"
#include "spike.h"

/* Where the files that are copied come from, and how weights are stored. */
struct source {
	const char *model;	/* generation_config.json; NULL: none */
	const char *tokenizer;	/* folder of tokenizer*.json and its companions */
	const char *config;	/* path of config.json */
	enum dtype dtype;
	enum dtype adapter_dtype;
};

struct state {
	long step;		/* updates made */
	long epoch;		/* the one that the next step is in, from 0 */
	long cursor;		/* samples of it that are done */
	long log_bytes;		/* length of log.jsonl */
	long evaluated;		/* step of the last evaluation; 0: none yet */
	long best;		/* step with the lowest evaluation loss, which has a checkpoint; 0: none */
	double best_loss;
	struct recent recent;	/* losses, to tell a spike by */
	json_t *run;
};

/* The dtype that config.json names; F32 when it names none that we write. */
enum dtype checkpoint_dtype(const struct config *c);

/* Write out/step_N; `grad` says which tensors are trained. 0, or -1 with a message, nothing left of it and what was there before untouched. Collective, but rank 0
 * alone writes and has a result. */
int checkpoint_save(const char *out, const struct source *src, const struct model *m, const struct weights *grad, const struct optim *o, const struct state *s,
		    struct err *e);

/* Write the finished model into out/ itself, and out/state.json last. */
int checkpoint_finish(const char *out, const struct source *src, const struct model *m, const struct state *s, struct err *e);

/* The largest N of out/step_N, or -1. */
long checkpoint_latest(const char *out);

/* Read out/step_N, or with step < 0 out's own, state.json. s->run is the caller's to release. 0; -1 with a message. */
int checkpoint_state(const char *out, long step, struct state *s, struct err *e);
/* Was out finished (has it a state.json of its own)? */
bool checkpoint_finished(const char *out);
/* The name of a file of out's own, not of a step's, that is weights or adapters; NULL: there is none. */
const char *checkpoint_model(const char *out);
/* Has a run written into it? */
bool checkpoint_ours(const char *out);
/* It is being written to again: take the mark away. */
void checkpoint_reopen(const char *out);

/* Restore weights and moments from out/step_N, which rank 0 reads. Collective; the result is each rank's own. */
int checkpoint_restore(const char *out, long step, struct model *m, const struct weights *grad, struct optim *o, struct err *e);

/* Point out/best to out/step_N. 0, or -1 with a message. */
int checkpoint_best(const char *out, long step, struct err *e);

/* Remove all but the newest `keep` of the out/step_N and step_BEST, and what an interrupted save left. */
void checkpoint_prune(const char *out, long keep, long best);

#endif
