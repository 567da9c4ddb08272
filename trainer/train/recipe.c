/* recipe.c - reads LLaMA-Factory's yaml */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "buf.h"
#include "num.h"
#include "recipe.h"

#define FILE_MAX ((size_t)1 << 20)

struct reading {
	struct recipe *recipe;
	const char *path;
	const struct opt *table;
	yaml_document_t *doc;
	struct buf ignored;		/* names that change nothing here */
	/* what options are made of when all is read; NULL: not said */
	const char *dataset_dir, *logging_steps, *eval_steps, *eval_strategy, *save_strategy, *save_steps, *output_dir, *logging_dir;
	const char *lora_rank, *lora_alpha;
	struct buf lora_targets;	/* "q,v" */
	bool lora;
	bool dataset, packing, neat_packing, tensorboard, constant;
};

/* How a name is taken. `text` is its value, one of several where that is a list. */
struct rule {
	const char *name;
	int (*take)(struct reading *r, const struct rule *rule, const char *text, struct err *e);
	const char *option;		/* of sa-train */
	const char *words;		/* "this=that|..." or the values that are accepted, "a|b" */
};

static int
set(const struct reading *r, const char *option, const char *value, struct err *e)
{
	struct recipe *to = r->recipe;

	to->text = xreallocarray(to->text, to->n + 1, sizeof *to->text);
	to->text[to->n] = xstrdup(value);
	return opt_set(r->table, option, to->text[to->n++], e);
}

/* 1, 0, or -1: neither, with a message. */
static int
truth(const char *text, struct err *e)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(text, words[i]) == 0)
			return i % 2;
	return err_set(e, "'%.60s' is neither true nor false", text);
}

static int
value(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	return set(r, rule->option, text, e);
}

static int
flag(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	int yes = truth(text, e);

	if (yes < 0)
		return -1;
	return yes ? opt_set(r->table, rule->option, NULL, e) : 0;
}

static int
nothing(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	(void)text;
	(void)e;
	buf_addf(&r->ignored, "%s%s", r->ignored.n ? ", " : "", rule->name);
	return 0;
}

/* The word of rule->words that `text` is, and its length; in "this=that" the part before the sign. NULL: none. */
static const char *
word_of(const struct rule *rule, const char *text, size_t *len)
{
	for (const char *w = rule->words; *w; w += *len + (w[*len] == '|')) {
		size_t key;

		*len = strcspn(w, "|");
		key = strcspn(w, "=|");
		if (strlen(text) == key && strncasecmp(w, text, key) == 0)
			return w;
	}
	return NULL;
}

static int
no_word(const struct rule *rule, const char *text, struct err *e)
{
	struct buf b = BUF_INIT(400);

	for (const char *w = rule->words; *w; w += strcspn(w, "|"), w += *w == '|')
		buf_addf(&b, "%s%.*s", b.n ? ", " : "", (int)strcspn(w, "=|"), w);
	err_set(e, "'%.60s' is not possible here (only %s)", text, b.p);
	buf_free(&b);
	return -1;
}

/* One of the words, by which the option gets what stands behind the sign. */
static int
word(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	size_t len;
	const char *w = word_of(rule, text, &len);
	char that[64];

	if (!w)
		return no_word(rule, text, e);
	snprintf(that, sizeof that, "%.*s", (int)(len - strlen(text) - 1), w + strlen(text) + 1);
	return set(r, rule->option, that, e);
}

/* One of the words, and nothing follows from it. */
static int
only(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	size_t len;

	(void)r;
	return word_of(rule, text, &len) ? 0 : no_word(rule, text, e);
}

static int
zero(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	char *end;

	(void)r;
	(void)rule;
	return strtod(text, &end) == 0 && end != text && !*end ? 0 : err_set(e, "'%.60s' is not possible here (only 0)", text);
}

static int
dataset(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	char *names = xstrdup(text), *rest = names, *one;
	int rc = 0;

	while (rc == 0 && (one = strsep(&rest, ","))) {
		one += strspn(one, " ");
		for (size_t n = strlen(one); n > 0 && one[n - 1] == ' '; n--)
			one[n - 1] = '\0';
		rc = *one ? set(r, rule->option, one, e) : err_set(e, "an empty name of a data set");
	}
	r->dataset = true;
	free(names);
	return rc;
}

/* Constant is without a warm-up in transformers, whatever the ratio says; constant_with_warmup is sa-train's. */
static int
scheduler(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	r->constant = strcasecmp(text, "constant") == 0;
	return word(r, rule, text, e);
}

static int
steps_or_all(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	return strcmp(text, "-1") == 0 ? 0 : set(r, rule->option, text, e);
}

static int
report_to(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	if (strcasecmp(text, "tensorboard") == 0)
		r->tensorboard = true;
	return only(r, rule, text, e);
}

/* ---- what options are made of when all is read ---- */

#define KEEP(member) \
	static int \
	keep_##member(struct reading *r, const struct rule *rule, const char *text, struct err *e) \
	{ \
		r->member = text; \
		return rule->words ? only(r, rule, text, e) : 0; \
	}
KEEP(dataset_dir)
KEEP(logging_steps)
KEEP(logging_dir)
KEEP(eval_steps)
KEEP(eval_strategy)
KEEP(save_steps)
KEEP(save_strategy)
KEEP(lora_rank)
KEEP(lora_alpha)
#undef KEEP

static int
finetuning_type(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	r->lora = strcasecmp(text, "lora") == 0;
	return only(r, rule, text, e);
}

/* "q_proj,v_proj", or a list: --lora has them as "q,v". */
static int
lora_target(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	(void)rule;
	(void)e;
	while (*text) {
		size_t n = strcspn(text, ", "), keep = n > 5 && strncmp(text + n - 5, "_proj", 5) == 0 ? n - 5 : n;

		if (keep > 0)
			buf_addf(&r->lora_targets, "%s%.*s", r->lora_targets.n ? "," : "", (int)keep, text);
		text += n + strspn(text + n, ", ");
	}
	return 0;
}

static int
output_dir(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	r->output_dir = text;
	return set(r, rule->option, text, e);
}

static int
packing(struct reading *r, const struct rule *rule, const char *text, struct err *e)
{
	int yes = truth(text, e);

	if (yes < 0)
		return -1;
	*(strcmp(rule->name, "packing") == 0 ? &r->packing : &r->neat_packing) = yes;
	return 0;
}

#define YES "true|yes|on|1"
#define NO "false|no|off|0"

static const struct rule rules[] = {
	/* what is trained */
	{ "model_name_or_path", value, "model", NULL },
	{ "stage", word, "stage", "sft=sft|dpo=dpo|kto=kto" },
	{ "pref_beta", value, "pref-beta", NULL },
	{ "pref_loss", only, NULL, "sigmoid" },
	{ "pref_ftx", zero, NULL, NULL },
	{ "pref_bco_weight", zero, NULL, NULL },
	{ "dpo_label_smoothing", value, "label-smoothing", NULL },
	{ "kto_chosen_weight", value, "desirable-weight", NULL },
	{ "kto_rejected_weight", value, "undesirable-weight", NULL },
	{ "finetuning_type", finetuning_type, NULL, "full|lora" },
	{ "lora_rank", keep_lora_rank, NULL, NULL },
	{ "lora_alpha", keep_lora_alpha, NULL, NULL },
	{ "lora_target", lora_target, NULL, NULL },
	{ "lora_dropout", zero, NULL, NULL },
	{ "use_dora", only, NULL, NO },
	{ "use_rslora", only, NULL, NO },
	{ "do_train", only, NULL, YES },
	{ "do_predict", only, NULL, NO },
	{ "template", word, "template", "llama3=llamafactory|qwen=qwen2.5|qwen3=qwen3|qwen3_nothink=chatml|chatml=chatml" },
	{ "resize_vocab", only, NULL, NO },
	{ "split_special_tokens", only, NULL, NO },
	{ "shift_attn", only, NULL, NO },
	/* data */
	{ "dataset", dataset, "data", NULL },
	{ "eval_dataset", dataset, "eval-data", NULL },
	{ "dataset_dir", keep_dataset_dir, NULL, NULL },
	{ "cutoff_len", value, "cutoff", NULL },
	{ "max_samples", value, "max-samples", NULL },
	{ "val_size", value, "eval-ratio", NULL },
	{ "packing", packing, NULL, NULL },
	{ "neat_packing", packing, NULL, NULL },
	{ "train_on_prompt", only, NULL, NO },
	{ "mask_history", only, NULL, NO },
	{ "streaming", only, NULL, NO },
	{ "mix_strategy", only, NULL, "concat" },
	{ "ignore_pad_token_for_loss", only, NULL, YES },
	{ "eval_on_each_dataset", only, NULL, NO },
	{ "disable_shuffling", only, NULL, NO },
	{ "group_by_length", only, NULL, NO },
	{ "dataloader_drop_last", only, NULL, NO },
	/* steps */
	{ "per_device_train_batch_size", value, "batch", NULL },
	{ "gradient_accumulation_steps", value, "accum", NULL },
	{ "num_train_epochs", value, "epochs", NULL },
	{ "max_steps", steps_or_all, "max-steps", NULL },
	{ "learning_rate", value, "lr", NULL },
	{ "lr_scheduler_type", scheduler, "schedule", "cosine=cosine|linear=linear|constant=constant|constant_with_warmup=constant" },
	{ "warmup_ratio", value, "warmup-ratio", NULL },
	{ "warmup_steps", value, "warmup-steps", NULL },
	{ "optim", only, NULL, "adamw_torch|adamw_torch_fused|adamw_hf" },
	{ "adam_beta1", value, "beta1", NULL },
	{ "adam_beta2", value, "beta2", NULL },
	{ "adam_epsilon", value, "eps", NULL },
	{ "weight_decay", value, "weight-decay", NULL },
	{ "max_grad_norm", value, "clip", NULL },
	{ "label_smoothing_factor", zero, NULL, NULL },
	{ "seed", value, "seed", NULL },
	{ "pure_bf16", only, NULL, NO },
	/* evaluation, checkpoints, logs */
	{ "eval_strategy", keep_eval_strategy, NULL, "no|steps|epoch" },
	{ "evaluation_strategy", keep_eval_strategy, NULL, "no|steps|epoch" },
	{ "eval_steps", keep_eval_steps, NULL, NULL },
	{ "output_dir", output_dir, "out", NULL },
	{ "save_strategy", keep_save_strategy, NULL, "no|steps|epoch" },
	{ "save_steps", keep_save_steps, NULL, NULL },
	{ "save_total_limit", value, "keep", NULL },
	{ "save_safetensors", only, NULL, YES },
	{ "load_best_model_at_end", only, NULL, NO },
	{ "metric_for_best_model", only, NULL, "eval_loss|loss" },
	{ "greater_is_better", only, NULL, NO },
	{ "resume_from_checkpoint", flag, "resume", NULL },
	{ "logging_steps", keep_logging_steps, NULL, NULL },
	{ "logging_dir", keep_logging_dir, NULL, NULL },
	{ "report_to", report_to, NULL, "none|tensorboard" },
	{ "push_to_hub", only, NULL, NO },
	{ "predict_with_generate", only, NULL, NO },
	/* how it is done there */
	{ "average_tokens_across_devices", nothing, NULL, NULL },
	{ "bf16", nothing, NULL, NULL },
	{ "cache_dir", nothing, NULL, NULL },
	{ "compute_accuracy", nothing, NULL, NULL },
	{ "data_shared_file_system", nothing, NULL, NULL },
	{ "dataloader_num_workers", nothing, NULL, NULL },
	{ "dataloader_pin_memory", nothing, NULL, NULL },
	{ "ddp_find_unused_parameters", nothing, NULL, NULL },
	{ "ddp_timeout", nothing, NULL, NULL },
	{ "deepspeed", nothing, NULL, NULL },
	{ "disable_gradient_checkpointing", nothing, NULL, NULL },
	{ "disable_tqdm", nothing, NULL, NULL },
	{ "do_eval", nothing, NULL, NULL },
	{ "enable_liger_kernel", nothing, NULL, NULL },
	{ "flash_attn", nothing, NULL, NULL },
	{ "fp16", nothing, NULL, NULL },
	{ "gradient_checkpointing", nothing, NULL, NULL },
	{ "include_num_input_tokens_seen", nothing, NULL, NULL },
	{ "include_tokens_per_second", nothing, NULL, NULL },
	{ "local_rank", nothing, NULL, NULL },
	{ "log_level", nothing, NULL, NULL },
	{ "logging_first_step", nothing, NULL, NULL },
	{ "logging_strategy", nothing, NULL, NULL },
	{ "low_cpu_mem_usage", nothing, NULL, NULL },
	{ "overwrite_cache", nothing, NULL, NULL },
	{ "overwrite_output_dir", nothing, NULL, NULL },
	{ "per_device_eval_batch_size", nothing, NULL, NULL },
	{ "plot_loss", nothing, NULL, NULL },
	{ "preprocessing_batch_size", nothing, NULL, NULL },
	{ "preprocessing_num_workers", nothing, NULL, NULL },
	{ "print_param_status", nothing, NULL, NULL },
	{ "remove_unused_columns", nothing, NULL, NULL },
	{ "run_name", nothing, NULL, NULL },
	{ "save_only_model", nothing, NULL, NULL },
	{ "tf32", nothing, NULL, NULL },
	{ "torch_compile", nothing, NULL, NULL },
	{ "trust_remote_code", nothing, NULL, NULL },
	{ "upcast_layernorm", nothing, NULL, NULL },
	{ "use_cache", nothing, NULL, NULL },
	{ "use_cpu", nothing, NULL, NULL },
	{ "use_fast_tokenizer", nothing, NULL, NULL },
	{ "use_unsloth", nothing, NULL, NULL },
	{ 0 },
};

/* ---- the file ---- */

static bool
is_null(const yaml_node_t *n)
{
	const char *text = (const char *)n->data.scalar.value;

	return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0);
}

static const struct rule *
rule_of(const char *name)
{
	for (const struct rule *rule = rules; rule->name; rule++)
		if (strcmp(rule->name, name) == 0)
			return rule;
	return NULL;
}

/* A value, or each of a list. */
static int
take(struct reading *r, const struct rule *rule, const yaml_node_t *n, struct err *e)
{
	if (n->type == YAML_MAPPING_NODE)
		return err_set(e, "a mapping is not possible here");
	if (n->type == YAML_SCALAR_NODE)
		return is_null(n) ? 0 : rule->take(r, rule, (const char *)n->data.scalar.value, e);
	for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
		const yaml_node_t *one = yaml_document_get_node(r->doc, *i);

		if (one->type != YAML_SCALAR_NODE)
			return err_set(e, "a list in a list");
		if (rule->take(r, rule, (const char *)one->data.scalar.value, e) < 0)
			return -1;
	}
	return 0;
}

static int
read_pairs(struct reading *r, const char *path, const yaml_node_t *root, struct err *e)
{
	bool seen[sizeof rules / sizeof *rules] = { 0 };
	struct err why;

	for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(r->doc, p->key), *v = yaml_document_get_node(r->doc, p->value);
		size_t line = key->start_mark.line + 1;
		const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "?";
		const struct rule *rule = rule_of(name);

		if (!rule)
			return err_set(e, "%s:%zu: %.60s: not known here: misspelt, or nothing that sa-train does", path, line, name);
		if (seen[rule - rules])
			return err_set(e, "%s:%zu: %s: a second time", path, line, name);
		seen[rule - rules] = true;
		if (take(r, rule, v, &why) < 0)
			return err_set(e, "%s:%zu: %s: %s", path, line, name, why.msg);
	}
	return 0;
}

/* LLaMA-Factory: rank 8, alpha twice the rank, all projections. */
static int
adapters(const struct reading *r, struct err *e)
{
	const char *rank = r->lora_rank ? r->lora_rank : "8", *alpha = r->lora_alpha;
	struct buf b = BUF_INIT(1000);
	long long twice;
	int rc;

	if (!alpha && num_int(rank, 1, 1 << 20, &twice, e) < 0)
		return err_set(e, "%s: lora_rank: '%.60s' is no rank", r->path, rank);
	buf_addf(&b, "%s:", rank);
	if (alpha)
		buf_adds(&b, alpha);
	else
		buf_addf(&b, "%lld", 2 * twice);
	buf_addf(&b, ":%s", r->lora_targets.n ? r->lora_targets.p : "all");
	rc = set(r, "lora", b.p, e);
	buf_free(&b);
	return rc;
}

/* The same where it is said by which name the value came. */
static int
set_by(const struct reading *r, const char *option, const char *name, const char *value, struct err *e)
{
	struct err why;

	return set(r, option, value, &why) < 0 ? err_set(e, "%s: %s: %s", r->path, name, why.msg) : 0;
}

/* transformers: without eval_steps those of the log; LLaMA-Factory: the list of data sets is in dataset_dir. */
static int
conclude(struct reading *r, struct err *e)
{
	const char *strategy = r->eval_strategy ? r->eval_strategy : "no";
	struct buf b = BUF_INIT(65536);
	int rc = 0;

	if (r->dataset) {
		buf_addf(&b, "%s/dataset_info.json", r->dataset_dir ? r->dataset_dir : "data");
		rc = set(r, "dataset-info", b.p, e);
	}
	if (rc == 0 && strcasecmp(strategy, "steps") == 0)
		rc = r->eval_steps ? set_by(r, "eval-every", "eval_steps", r->eval_steps, e) :
		     set_by(r, "eval-every", "logging_steps", r->logging_steps ? r->logging_steps : "500", e);
	if (rc == 0 && r->save_strategy && strcasecmp(r->save_strategy, "epoch") == 0)
		rc = opt_set(r->table, "save-epochs", NULL, e);
	else if (rc == 0 && !(r->save_strategy && strcasecmp(r->save_strategy, "no") == 0))
		rc = set_by(r, "save-every", "save_steps", r->save_steps ? r->save_steps : "500", e);
	if (rc == 0 && r->lora)
		rc = adapters(r, e);
	if (rc == 0 && r->constant)
		rc = set(r, "warmup-ratio", "0", e) < 0 ? -1 : set(r, "warmup-steps", "0", e);
	if (rc == 0 && (r->packing || r->neat_packing))
		rc = opt_set(r->table, "pack", NULL, e);
	if (rc == 0 && r->tensorboard) {
		buf_clear(&b);
		buf_addf(&b, "%s/runs", r->output_dir ? r->output_dir : ".");
		rc = set(r, "tensorboard", r->logging_dir ? r->logging_dir : b.p, e);
	}
	if (r->packing && !r->neat_packing)
		warn("packing: the samples of a pack do not see each other here, as with neat_packing");
	buf_free(&b);
	return rc;
}

static int
defaults(const struct reading *r, struct err *e)
{
	static const char *const there[][2] = {
		{ "lr", "5e-5" }, { "schedule", "linear" }, { "warmup-ratio", "0" }, { "batch", "8" }, { "accum", "1" }, { "epochs", "3" }, { "keep", "0" },
	};

	for (size_t i = 0; i < sizeof there / sizeof *there; i++)
		if (opt_set(r->table, there[i][0], there[i][1], e) < 0)
			return -1;
	return 0;
}

static int
parse(struct reading *r, const char *path, const struct buf *text, struct err *e)
{
	yaml_parser_t parser;
	yaml_node_t *root;
	int rc = -1;

	if (!yaml_parser_initialize(&parser))
		die(STATUS_IO, "out of memory");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text->p, text->n);
	if (!yaml_parser_load(&parser, r->doc)) {
		err_set(e, "%s:%zu: %s", path, parser.problem_mark.line + 1, parser.problem ? parser.problem : "not yaml");
	} else {
		root = yaml_document_get_root_node(r->doc);
		if (!root || root->type != YAML_MAPPING_NODE)
			err_set(e, "%s:1: not a mapping of names to values", path);
		else if (defaults(r, e) == 0 && read_pairs(r, path, root, e) == 0)
			rc = conclude(r, e);
		yaml_document_delete(r->doc);
	}
	yaml_parser_delete(&parser);
	return rc;
}

int
recipe_read(struct recipe *recipe, const char *path, const struct opt *table, struct err *e)
{
	struct buf text = BUF_INIT(FILE_MAX);
	yaml_document_t doc;
	struct reading r = { .recipe = recipe, .path = path, .table = table, .doc = &doc, .ignored = BUF_INIT(400), .lora_targets = BUF_INIT(400) };
	int rc = buf_read_file(&text, path, e);

	if (rc == 0)
		rc = parse(&r, path, &text, e);
	if (rc == 0 && r.ignored.n)
		warn("%s: changes nothing here: %s", path, r.ignored.p);
	buf_free(&text);
	buf_free(&r.ignored);
	buf_free(&r.lora_targets);
	return rc;
}

void
recipe_free(struct recipe *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->text[i]);
	free(r->text);
	*r = (struct recipe){ 0 };
}
