/* sa-train - fine-tuning of a checkpoint (all of it, a part, or adapters beside it; on responses or on which of them are better), or training of a new one
 *
 * Method, sections 5.1-5.2; the defaults are the paper's. The run itself is in train/. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mapping.h"
#include "opt.h"
#include "plan.h"
#include "recipe.h"
#include "schedule.h"
#include "train.h"

static const struct settings defaults = {
	.lr = 6e-7, .epochs = 3, .batch = 1, .accum = 50, .warmup_ratio = 0.0005, .cutoff = 2048, .seed = 42,
	.pref_beta = 0.1, .desirable = 1, .undesirable = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .keep = 2, .compute = COMPUTE_AUTO,
};
static struct settings set;
static struct recipe recipe;

static const struct opt opts[] = {
	{ "config", 0, OPT_STR, &set.config, "FILE", "a yaml file of LLaMA-Factory's; the command line goes before it", 0, 0 },
	{ "model", 0, OPT_STR, &set.model, "DIR", "the checkpoint to start from; with --init only its tokenizer files are used", 0, 0 },
	{ "data", 0, OPT_LIST, &set.data, "FILE", "training data: NDJSON or a JSON array of messages, sharegpt, alpaca, prompt/response or text (repeatable)", 0, 0 },
	{ "dataset-info", 0, OPT_STR, &set.dataset_info, "FILE", "a dataset_info.json: --data and --eval-data name data sets of it", 0, 0 },
	{ "eval-data", 0, OPT_LIST, &set.eval_data, "FILE", "data to evaluate with (repeatable)", 0, 0 },
	{ "eval-ratio", 0, OPT_NUM, &set.eval_ratio, "X", "set this part of the data aside to evaluate with; from 1 on: so many records", 0, 1e9 },
	{ "eval-every", 0, OPT_INT, &set.eval_every, "N", "evaluate every N steps and at the end (default: every epoch)", 0, 1e9 },
	{ "max-samples", 0, OPT_INT, &set.max_samples, "N", "use the first N records of each file", 0, 1e9 },
	{ "out", 0, OPT_STR, &set.out, "DIR", "where the model, log.jsonl and the training state go", 0, 0 },
	{ "init", 0, OPT_STR, &set.init, "FILE", "train a new model of the shape that this config.json says", 0, 0 },
	{ "tokenizer", 0, OPT_STR, &set.tokenizer, "DIR", "take the tokenizer files from here (default: --model)", 0, 0 },
	{ "template", 0, OPT_STR, &set.template_name, "NAME", "chat template (default: the one in the tokenizer's files)", 0, 0 },
	{ "lr", 0, OPT_NUM, &set.lr, "X", "highest learning rate (default 6e-7)", 0, 1e3 },
	{ "schedule", 0, OPT_ENUM, &set.schedule, SCHEDULE_WORDS, "after the warm-up (default cosine, down to 0)", 0, 0 },
	{ "warmup-ratio", 0, OPT_NUM, &set.warmup_ratio, "X", "part of the steps in which the rate rises (default 0.0005)", 0, 1 },
	{ "warmup-steps", 0, OPT_INT, &set.warmup_steps, "N", "the same as a number of steps", 0, 1e9 },
	{ "epochs", 0, OPT_NUM, &set.epochs, "N", "passes over the data, fractions allowed (default 3)", 1e-6, 1e6 },
	{ "max-steps", 0, OPT_INT, &set.max_steps, "N", "this many steps, whatever --epochs says", 0, 1e9 },
	{ "batch", 0, OPT_INT, &set.batch, "N", "samples a micro-batch (default 1)", 1, 1e6 },
	{ "pack", 0, OPT_FLAG, &set.pack, NULL, "fill packs of --cutoff tokens; --batch and --accum count packs, samples do not see each other", 0, 0 },
	{ "accum", 0, OPT_INT, &set.accum, "N", "micro-batches a step (default 50)", 1, 1e6 },
	{ "cutoff", 0, OPT_INT, &set.cutoff, "N", "longest sample in tokens, the rest is cut (default 2048)", 2, 1 << 20 },
	{ "loss-norm", 0, OPT_ENUM, &set.loss_norm, "token|sample", "every supervised token weighs the same, or every sample (default token)", 0, 0 },
	{ "weight-decay", 0, OPT_NUM, &set.decay, "X", "AdamW's decay of matrices (default 0)", 0, 1e3 },
	{ "beta1", 0, OPT_NUM, &set.beta1, "X", "AdamW (default 0.9)", 0, 0.999999 },
	{ "beta2", 0, OPT_NUM, &set.beta2, "X", "AdamW (default 0.999)", 0, 0.999999 },
	{ "eps", 0, OPT_NUM, &set.eps, "X", "AdamW (default 1e-8)", 1e-30, 1 },
	{ "clip", 0, OPT_NUM, &set.clip, "X", "largest norm of the gradients, 0: any (default 1)", 0, 1e30 },
	{ "seed", 0, OPT_INT, &set.seed, "N", "of the sample order and of a new model (default 42)", 0, LLONG_MAX },
	{ "save-every", 0, OPT_INT, &set.save_every, "N", "a checkpoint with the training state every N steps", 0, 1e9 },
	{ "save-epochs", 0, OPT_FLAG, &set.save_epochs, NULL, "a checkpoint after every epoch instead", 0, 0 },
	{ "keep", 0, OPT_INT, &set.keep, "K", "how many of them to keep, 0: all (default 2)", 0, 1e6 },
	{ "freeze", 0, OPT_LIST, &set.freeze, "PATTERN", "do not train tensors whose name matches this shell pattern (repeatable)", 0, 0 },
	{ "stage", 0, OPT_ENUM, &set.stage, "sft|dpo|kto", "on responses, or on which of them are better: pairs, for kto also labelled responses (default sft)", 0, 0 },
	{ "pref-beta", 0, OPT_NUM, &set.pref_beta, "X", "dpo, kto: how dear a departure from the start is (default 0.1)", 1e-6, 1e3 },
	{ "label-smoothing", 0, OPT_NUM, &set.label_smoothing, "X", "dpo: the part of the pairs that are the wrong way round (default 0)", 0, 0.499999 },
	{ "desirable-weight", 0, OPT_NUM, &set.desirable, "X", "kto: of desirable responses' losses (default 1)", 0, 1e3 },
	{ "undesirable-weight", 0, OPT_NUM, &set.undesirable, "X", "kto: of the others' (default 1)", 0, 1e3 },
	{ "lora", 0, OPT_STR, &set.lora, "R:ALPHA:TARGETS", "train adapters of this rank beside q, k, v, o, gate, up, down or all, as 16:32:q,v", 0, 0 },
	{ "merge", 0, OPT_FLAG, &set.merge, NULL, "with --lora: write the whole model with the adapters in it", 0, 0 },
	{ "plan", 0, OPT_FLAG, &set.plan, NULL, "print what memory and time a run of this shape needs, and end", 0, 0 },
	{ "device", 0, OPT_STR, &set.device, "DEVICE", "cpu, cuda, cuda:N or cuda:24GiB (of it); with --plan also cpu:24GiB and cuda:CARD (3090, 4090, a100, h100, h200), which need no GPU", 0, 0 },
	{ "ranks", 0, OPT_INT, &set.ranks, "N", "with --plan: of a run in N processes, which mpirun or srun starts (default 1)", 1, 1 << 20 },
	{ "resume", 0, OPT_FLAG, &set.resume, NULL, "go on from the newest training state in --out", 0, 0 },
	{ "dtype", 0, OPT_ENUM, &set.store, "auto|f32|f16|bf16", "how weights are saved (default auto: as config.json says)", 0, 0 },
	{ "compute", 0, OPT_ENUM, &set.compute, "f32|bf16|auto", "the numbers that products are of (default auto: bf16 where the processor multiplies them)", 0, 0 },
	{ "recompute", 0, OPT_ENUM, &set.recompute, "auto|none|norms|blocks", "what the backward makes again to save memory (default auto: as little as fits)", 0, 0 },
	{ "tensorboard", 0, OPT_STR, &set.tensorboard, "DIR", "write an event file for TensorBoard there", 0, 0 },
	{ "peak", 0, OPT_NUM, &set.peak, "X", "what the machine can do, in TFLOP/s: the progress then shows the part of it that is used (MFU)", 0, 1e9 },
	{ "threads", 0, OPT_INT, &set.threads, "N", "default: as many as the process may run on", 0, 1024 },
	{ 0 },
};

/* Options that do not go together. */
static void
check_together(void)
{
	const char *other = set.pack ? "--pack (packing)" : set.loss_norm ? "--loss-norm sample" : NULL;

	if (set.stage && other)
		die(STATUS_USAGE, "--stage %s does not go with %s: leave it out", set.stage == STAGE_DPO ? "dpo" : "kto", other);
	if (set.stage == STAGE_SFT && set.pref_beta != defaults.pref_beta)
		die(STATUS_USAGE, "--pref-beta goes with --stage dpo or kto");
	if (set.stage != STAGE_DPO && set.label_smoothing > 0)
		die(STATUS_USAGE, "--label-smoothing goes with --stage dpo");
	if (set.stage != STAGE_KTO && (set.desirable != defaults.desirable || set.undesirable != defaults.undesirable))
		die(STATUS_USAGE, "--desirable-weight and --undesirable-weight go with --stage kto");
	if (set.eval_data.n && set.eval_ratio > 0)
		die(STATUS_USAGE, "--eval-data (eval_dataset) and --eval-ratio (val_size) are both given: one of them says what is evaluated");
}

static void
check(int operands)
{
	if (operands > 0)
		die(STATUS_USAGE, "no operands are taken; the data goes to --data (see --help)");
	if (set.ranks && !set.plan)
		die(STATUS_USAGE, "--ranks goes with --plan; a run has as many as mpirun or srun started");
	if (set.plan && (set.model || set.init))
		return;
	if (set.data.n == 0 || !set.out || !*set.out)
		die(STATUS_USAGE, "--%s is needed (see --help)", set.data.n ? "out" : "data");
	if (!set.model && !(set.init && set.tokenizer))
		die(STATUS_USAGE, "--model is needed, or --init and --tokenizer (see --help)");
	check_together();
	if (set.lora ? set.init != NULL : set.merge)
		die(STATUS_USAGE, set.lora ? "--lora needs a model to start from, not --init" : "--merge needs --lora");
}

/* The command line over the defaults, or over what is set already. Returns how many operands there are. */
static int
parse(int argc, char **argv)
{
	char **copy = xcalloc((size_t)argc + 1, sizeof *copy);
	int operands;

	memcpy(copy, argv, (size_t)argc * sizeof *copy);	/* it is sorted, and read twice */
	operands = opt_parse(argc, copy, &(struct opt_usage){
		.synopsis = "--model DIR --data FILE --out DIR [--init config.json | --config FILE] [option ...]",
		.about = "Fine-tune a checkpoint on the supervised tokens of its data, or train a new one.",
		.own = opts,
	});
	free(copy);
	return operands;
}

static void
forget(struct opt_list *l)
{
	free(l->v);
	*l = (struct opt_list){ 0 };
}

static int
read_settings(int argc, char **argv)
{
	const char *file;
	bool data, eval;
	int operands;
	struct err e;

	set = defaults;
	operands = parse(argc, argv);
	file = set.config;
	if (!file)
		return operands;
	data = set.data.n > 0;
	eval = set.eval_data.n > 0;
	for (const struct opt *o = opts; o->name; o++)
		if (o->kind == OPT_LIST)
			forget(o->to);
	set = defaults;
	if (recipe_read(&recipe, file, opts, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	if (data) {	/* files instead of the data sets that the recipe names */
		forget(&set.data);
		set.dataset_info = NULL;
	}
	if (data || eval)
		forget(&set.eval_data);
	return parse(argc, argv);
}

int
main(int argc, char **argv)
{
	int status, sig;

	prog_init(argv[0]);
	check(read_settings(argc, argv));
	if (set.plan)
		return plan_run(&set);
	mapping_guard();
	status = train(&set, &sig);
	recipe_free(&recipe);
	if (sig == SIGINT || sig == SIGHUP) {	/* the shell that started us must see that it was Ctrl-C */
		signal(sig, SIG_DFL);
		raise(sig);
	}
	return status;
}
