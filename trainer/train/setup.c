/* setup.c - everything of a run before its first step */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "files.h"
#include "freeze.h"
#include "cudaload.h"
#include "lora.h"
#include "order.h"
#include "plan.h"
#include "prefer.h"
#include "run.h"

static int
read_config(struct run *r, struct err *e)
{
	static const enum dtype stored[] = { [STORE_F32] = DT_F32, [STORE_F16] = DT_F16, [STORE_BF16] = DT_BF16 };
	const struct settings *set = r->set;

	if (device_parse(&r->device, set->device ? set->device : "cpu", e) < 0)
		return -1;
	if (r->device.cuda && set->compute == COMPUTE_F32)
		return err_set(e, "--device cuda computes in bf16: --compute f32 is the CPU's");
	if (set->lora && lora_parse(&r->lora, set->lora, e) < 0)	/* before the data is read */
		return -1;
	r->config_path = set->init ? xstrdup(set->init) : path_join(set->model, "config.json");
	if (set->init ? config_read_file(&r->c, set->init, e) < 0 : config_read(&r->c, set->model, e) < 0)
		return -1;
	r->source = (struct source){ .model = set->model, .tokenizer = set->tokenizer ? set->tokenizer : set->model, .config = r->config_path };
	r->source.dtype = set->store == STORE_AUTO ? checkpoint_dtype(&r->c) : stored[set->store];
	return 0;
}

static int
make_sampler(struct run *r, struct err *e)
{
	const struct settings *set = r->set;

	r->tok = tok_load(r->source.tokenizer, e);
	if (!r->tok)
		return -1;
	sampler_init(&r->sampler, r->tok, r->source.tokenizer, r->c.neos ? r->c.eos[0] : -1);
	r->sampler.template_name = set->template_name;
	r->sampler.vocab = r->c.vocab;
	r->sampler.ranking = set->stage == STAGE_DPO ? RANKING_PAIRS : set->stage == STAGE_KTO ? RANKING_ANY : RANKING_NONE;
	r->sampler.cutoff = set->cutoff < r->c.max_pos ? (int)set->cutoff : r->c.max_pos;
	return 0;
}

static void
plan(struct run *r)
{
	const struct settings *set = r->set;
	long steps;

	r->micro = (size_t)set->batch;
	r->window = (size_t)set->batch * (size_t)set->accum;
	r->steps_per_epoch = (long)((r->data.packs.n + r->window - 1) / r->window);
	r->save_every = set->save_epochs ? r->steps_per_epoch : (long)set->save_every;
	r->eval_every = set->eval_every ? (long)set->eval_every : r->steps_per_epoch;
	steps = set->max_steps ? (long)set->max_steps : (long)ceil((double)r->steps_per_epoch * set->epochs);
	r->schedule = (struct schedule){ .kind = (enum schedule_kind)set->schedule, .lr = set->lr, .steps = steps };
	r->schedule.warmup = set->warmup_steps ? (long)set->warmup_steps : schedule_warmup(steps, set->warmup_ratio);
}

static void
put_hash(json_t *j, const char *name, uint64_t hash)
{
	char text[17];

	snprintf(text, sizeof text, "%016" PRIx64, hash);
	json_object_set_new(j, name, json_string(text));
}

/* Names are the options', so that a refusal says what to change. */
static int
make_identity(struct run *r, struct err *e)
{
	static const char *const schedules[] = { "cosine", "linear", "constant" }, *const norms[] = { "token", "sample" };
	const struct settings *s = r->set;
	char *tokenizer = path_join(r->source.tokenizer, "tokenizer.json");
	uint64_t tok = 0, config = 0;
	int rc = file_hash(tokenizer, &tok, e);

	if (rc == 0)
		rc = file_hash(r->config_path, &config, e);
	free(tokenizer);
	r->identity = json_pack("{sI sf sf sf sI sf sf sf sf sf sf sI sI sI sI sI sI sb ss ss ss}", "steps", (json_int_t)r->schedule.steps, "epochs", s->epochs,
				"lr", s->lr, "warmup-ratio", s->warmup_ratio, "warmup-steps", (json_int_t)s->warmup_steps, "weight-decay", s->decay,
				"beta1", s->beta1, "beta2", s->beta2, "eps", s->eps, "clip", s->clip, "eval-ratio", s->eval_ratio,
				"batch", (json_int_t)s->batch, "accum", (json_int_t)s->accum, "cutoff", (json_int_t)s->cutoff, "seed", (json_int_t)s->seed,
				"threads", (json_int_t)mach_threads(r->mach), "ranks", (json_int_t)r->comm->size, "pack", s->pack, "schedule", schedules[s->schedule],
				"loss-norm", norms[s->loss_norm], "template", r->sampler.template_known ? template_name(r->sampler.template) : "none");
	prefer_identify(r);
	put_hash(r->identity, "data", r->data.hash);
	put_hash(r->identity, "tokenizer", tok);
	put_hash(r->identity, "config", config);
	return rc;
}

/* Does the state of the folder belong to this very run? `where` is for the message. Another number of threads or ranks only costs the last bits of what is to
 * come, if anything. */
static int
same_run(const struct run *r, const json_t *was, bool finished, const char *where, struct err *e)
{
	const char *name;
	json_t *is;

	json_object_foreach(r->identity, name, is) {
		json_t *before = json_object_get(was, name);
		char *a, *b;

		if (json_equal(is, before))
			continue;
		if (strcmp(name, "threads") == 0 || strcmp(name, "ranks") == 0 || strcmp(name, "device") == 0) {
			if (!finished)
				warn("resumed %s %s: the result will not be the same to the last bit", *name == 'd' ? "on another" : "with another number of", name);
			continue;
		}
		if (strcmp(name, "products") == 0) {
			if (before && !finished)	/* else it was another device */
				warn("resumed with other algorithms of matrix products (see SA_TUNE): the result will not be the same to the last bit");
			continue;
		}
		a = json_dumps(before, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
		b = json_dumps(is, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
		err_set(e, "cannot resume from %s: %s was %s, now is %s", where, name, a ? a : "absent", b);
		free(a);
		free(b);
		return -1;
	}
	return 0;
}

/* The folder is this run's from here on. A model in it that is not of a run to go on with is somebody's, maybe the one to start from. */
static int
claim(struct run *r, struct err *e)
{
	const char *out = r->set->out, *model = checkpoint_model(out);
	long latest = checkpoint_latest(out);

	if (!r->set->resume && latest >= 0)
		return err_set(e, "%s: holds the training state of a run at step %ld: go on with --resume, or remove it", out, latest);
	if (model && !(r->set->resume && checkpoint_ours(out)))
		return err_set(e, "%s: holds a model already (%s): give --out another folder, or remove that one first", out, model);
	return log_claim(&r->log, out, e);
}

/* Where does the run begin? r->saved is then the checkpoint that it goes on from, or -1. 0; 1 when it was finished; -1. */
static int
find_start(struct run *r, struct err *e)
{
	const char *out = r->set->out;
	long latest;
	bool finished;
	int rc;

	r->saved = -1;
	if (claim(r, e) < 0)
		return -1;
	if (!r->set->resume)
		return 0;
	latest = checkpoint_latest(out);
	finished = checkpoint_finished(out);
	if (latest < 0 && !finished) {
		warn("%s: no training state, starting anew", out);
		return 0;
	}
	rc = checkpoint_state(out, finished ? -1 : latest, &r->state, e);
	if (rc == 0)
		rc = same_run(r, r->state.run, finished, out, e);
	json_decref(r->state.run);
	r->state.run = NULL;
	if (rc < 0)
		return -1;
	checkpoint_prune(out, finished && !r->save_every ? 0 : r->set->keep ? (long)r->set->keep : LONG_MAX, r->state.best);	/* killed before that? */
	if (finished)
		return 1;
	r->saved = latest;
	return 0;
}

const uint32_t *
run_order(struct run *r, long epoch)
{
	if (r->ordered != epoch)
		order_fill(r->order, r->data.packs.n, (uint64_t)r->set->seed, (uint64_t)epoch);
	r->ordered = epoch;
	return r->order;
}

/* What a micro-batch holds at most. */
struct most {
	size_t tokens, samples;
};

static void
measure(const struct run *r, const struct portion *of, const uint32_t *order, size_t from, size_t to, struct most *most)
{
	size_t next;

	for (; from < to; from = next) {
		struct amount a;

		next = from + r->micro < to ? from + r->micro : to;
		a = run_amount(r, of, order, from, next);
		most->tokens = a.tokens > most->tokens ? a.tokens : most->tokens;
		most->samples = a.samples > most->samples ? a.samples : most->samples;
	}
}

/* Of a GPU: all ranks' choices of algorithms, so that a resumed run knows whether its own are the same. */
static void
put_products(struct run *r)
{
	size_t n = (size_t)r->comm->size;
	uint64_t *all = xcalloc(n, sizeof *all);

	all[r->comm->rank] = r->engine->products;
	comm_gather(r->comm, all, sizeof *all);
	if (r->device.cuda)
		put_hash(r->identity, "products", XXH3_64bits(all, n * sizeof *all));
	free(all);
}

/* What of the activations is kept; ranks of one machine share its memory. 0, or -1 when auto finds no room even for the least. */
static int
choose_keep(const struct run *r, int tokens, enum keep *keep, struct err *e)
{
	size_t rest = (r->grad.n + 2 * r->optim.zero.own) * sizeof(float), available = plan_memory() / (size_t)r->comm->local;

	*keep = r->set->recompute ? (enum keep)r->set->recompute - 1 : KEEP_ALL;
	if (r->set->recompute || available == 0)
		return 0;
	while (rest + acts_size(&r->c, tokens, *keep) > available)
		if (++*keep == KEEPS)
			return err_set(e, "gradients, moments and a micro-batch of %d tokens take %.1f GB, %.1f are to be had: lower --batch or --cutoff, train a part "
				       "(--freeze, --lora), or try --recompute blocks", tokens, (double)(rest + acts_size(&r->c, tokens, KEEP_BLOCKS)) / 1e9,
				       (double)available / 1e9);
	return 0;
}

/* This rank's part of all of it, in the data's order. */
static void
measure_whole(const struct run *r, const struct portion *of, struct most *most)
{
	size_t from = 0, to = of->packs.n;

	run_share(r, of, NULL, &from, &to);
	measure(r, of, NULL, from, to, most);
}

static int
allocate(struct run *r, struct err *e)
{
	enum keep keep;

	long epochs = (r->schedule.steps + r->steps_per_epoch - 1) / r->steps_per_epoch;
	struct most most = { 1, 1 };	/* a rank may have nothing to do */

	r->order = xcalloc(r->data.packs.n, sizeof *r->order);
	for (long k = 0; k < epochs * r->steps_per_epoch; k++) {
		struct place p = run_place(r, k);

		run_share(r, &r->data, run_order(r, p.epoch), &p.from, &p.to);
		measure(r, &r->data, run_order(r, p.epoch), p.from, p.to, &most);
		if (r->prefer.data.mismatched.packs.n > 0)	/* in KTO's steps the same packs of it */
			measure(r, &r->prefer.data.mismatched, run_order(r, p.epoch), p.from, p.to, &most);
	}
	measure_whole(r, &r->eval, &most);
	if (r->set->stage != STAGE_SFT) {	/* the reference goes through them in the data's order */
		measure_whole(r, &r->data, &most);
		measure_whole(r, &r->prefer.data.mismatched, &most);
		measure_whole(r, &r->prefer.eval.mismatched, &most);
	}
	if (most.tokens > INT32_MAX / 4)
		return err_set(e, "a micro-batch of %zu tokens is too large: lower --batch", most.tokens);
	if (r->device.cuda) {
		r->engine = gpu_engine(r->model, &r->optim, r->trained, (int)most.tokens, &r->device, r->set->recompute, e);
		if (!r->engine)
			return -1;
	} else {
		if (choose_keep(r, (int)most.tokens, &keep, e) < 0)
			return -1;
		r->engine = engine_cpu(r->model, &r->optim, &r->grad, (int)most.tokens, keep);
	}
	r->pos = xcalloc(most.tokens, sizeof *r->pos);
	r->ids = xcalloc(most.tokens, sizeof *r->ids);
	r->target = xcalloc(most.tokens, sizeof *r->target);
	r->weight = xcalloc(most.tokens, sizeof *r->weight);
	r->loss = xcalloc(most.tokens, sizeof *r->loss);
	r->cu = xcalloc(most.samples + 1, sizeof *r->cu);
	return 0;
}

static void
attach_adapters(struct run *r)
{
	const struct settings *set = r->set;

	json_object_set_new(r->identity, "lora", json_string(set->lora ? set->lora : "none"));
	if (!set->lora)
		return;
	lora_attach(r->model, &r->lora, (uint64_t)set->seed);
	r->c = r->model->c;
	r->source.adapter_dtype = set->store == STORE_AUTO ? DT_F32 : r->source.dtype;
}

static const struct ops *
choose_ops(const struct run *r)
{
	bool bf16 = r->device.cuda || r->set->compute == COMPUTE_BF16 || (r->set->compute == COMPUTE_AUTO && ops_cpu_has_bf16());

	json_object_set_new(r->identity, "compute", json_string(bf16 ? "bf16" : "f32"));
	json_object_set_new(r->identity, "device", json_string(r->device.cuda ? "cuda" : "cpu"));
	return bf16 ? &ops_cpu_bf16 : &ops_cpu;
}

static int
make_model(struct run *r, struct err *e)
{
	const struct settings *set = r->set;
	const struct ops *ops = choose_ops(r);

	r->model = set->init ? model_new(&r->c, (uint64_t)set->seed, ops, r->mach) : model_load(set->model, ops, r->mach, e);
	if (!r->model)
		return -1;
	attach_adapters(r);
	if (freeze_choose(r, e) < 0)
		return -1;
	weights_some(&r->grad, &r->c, r->trained);
	optim_init(&r->optim, r->comm, r->grad.n);
	r->optim.beta1 = set->beta1;
	r->optim.beta2 = set->beta2;
	r->optim.eps = set->eps;
	r->optim.decay = set->decay;
	r->optim.clip = set->clip;
	return 0;
}

/* "12 dropped, 3 cut at 2048 tokens (1 without the header of a reply, 2 without an end)" */
static void
say_samples(const struct run *r, const struct samples *s, const char *what)
{
	char broken[64] = "", lost[128] = "";

	if (s->broken)
		snprintf(broken, sizeof broken, ", %zu left out", s->broken);
	if (s->cut_header || s->cut_end)
		snprintf(lost, sizeof lost, " (%zu without the header of a reply, %zu without an end)", s->cut_header, s->cut_end);
	warn("%zu %s, %zu tokens, %zu supervised; %zu dropped%s, %zu cut at %d tokens%s", s->n, what, s->tokens, s->supervised, s->dropped, broken, s->cut,
	     r->sampler.cutoff, lost);
}

/* A run of days that cannot write its model in the end is lost: is there room for that, and for the most checkpoints that are there at once? One more than is
 * kept while it is written; where none are asked for, one when the run is stopped. */
static void
check_room(const struct run *r)
{
	const struct settings *set = r->set;
	double rows = (double)r->grad.n, model = set->lora && !set->merge ? 4 * rows : (double)r->model->w.n * (r->source.dtype == DT_F32 ? 4 : 2);
	double checkpoint = (set->lora ? 4 * rows : model) + 12 * rows, saves = r->save_every ? (double)r->schedule.steps / (double)r->save_every : 1;
	double copies = fmin(r->save_every && !set->keep ? saves : (double)set->keep + 1, fmax(1, saves)), need = model + copies * checkpoint;
	double room = dir_room(set->out);

	if (r->saved < 0 && room > 0 && need > room)
		warn("%s: only %.1f GB are free, what the run writes may take %.1f: the model %.1f, checkpoints %.1f each (see --keep)", set->out, room / 1e9,
		     need / 1e9, model / 1e9, checkpoint / 1e9);
}

static void
announce(const struct run *r)
{
	say_samples(r, &r->samples, "samples");
	if (r->set->eval_data.n > 0)
		say_samples(r, &r->eval_samples, "samples to evaluate with");
	if (r->set->eval_ratio > 0)
		warn("%zu samples of them are set aside to evaluate with", r->samples.n - r->data.packs.at[r->data.packs.n]);
	if (r->set->eval_every && r->eval.packs.n == 0)
		warn("--eval-every without --eval-data or --eval-ratio: nothing is evaluated");
	if (r->set->pack)
		warn("%zu packs, filled to %.1f%%", r->data.packs.n, 100.0 * (double)run_amount(r, &r->data, NULL, 0, r->data.packs.n).tokens /
		     (double)r->data.packs.n / r->sampler.cutoff);
	if (r->trained)
		warn("%zu of the parameters are trained, the others stay as they are", r->grad.n);
	if (r->comm->size > 1)
		warn("%d ranks, %d of them on this machine; the samples of a step and the moments are divided among them", r->comm->size, r->comm->local);
	if (r->schedule.steps == 1 && r->schedule.warmup > 0 && r->set->lr > 0)
		warn("the one step is the warm-up's first, with a learning rate of 0: nothing will be learnt (see --warmup-ratio)");
	warn("%zu parameters; %ld steps of %lld x %lld %s, %ld of them warm-up; %zu MB of memory%s", r->model->w.n, r->schedule.steps, r->set->batch,
	     r->set->accum, r->set->pack ? "packs" : r->set->stage == STAGE_DPO ? "pairs" : "samples", r->schedule.warmup,
	     r->engine->bytes / 1000000 + 1, r->comm->size > 1 ? " a rank" : "");
}

/* All that a rank does for itself: read the data, make the model. */
static int
prepare(struct run *r, struct err *e)
{
	const struct settings *set = r->set;

	if (read_config(r, e) < 0 || make_sampler(r, e) < 0 || run_read_data(r, e) < 0 || prefer_data(r, e) < 0)
		return -1;
	plan(r);
	if (make_identity(r, e) < 0 || make_model(r, e) < 0 || allocate(r, e) < 0)
		return -1;
	return r->comm->rank == 0 ? dir_make(set->out, e) : 0;
}

/* Ranks with other files would train something that is nobody's. */
static int
same_on_all(const struct run *r, struct err *e)
{
	json_t *shared = json_copy(r->identity);
	uint64_t own, first;
	char *text;

	json_object_del(shared, "threads");	/* machines may differ */
	text = json_dumps(shared, JSON_SORT_KEYS);
	if (!text)
		die(STATUS_IO, "out of memory");
	own = XXH3_64bits(text, strlen(text));
	if (r->comm->size > 1)
		own = XXH3_64bits_withSeed(r->model->w.all, r->model->w.n * sizeof(float), own);
	first = own;
	comm_broadcast(r->comm, &first, sizeof first);
	free(text);
	json_decref(shared);
	return comm_agree(r->comm, own == first ? 0 : err_set(e, "its data, settings or model are not those of rank 0"), e);
}

/* Rank 0 looks where the run begins, for all. */
static int
find_start_for_all(struct run *r, struct err *e)
{
	int rc = comm_agree(r->comm, r->comm->rank == 0 ? find_start(r, e) : 0, e);

	comm_broadcast(r->comm, &r->saved, sizeof r->saved);
	comm_broadcast(r->comm, &r->state, sizeof r->state);	/* no pointer in it is set */
	return rc;
}

/* What the run writes into. */
static int
open_files(struct run *r, struct err *e)
{
	const struct settings *set = r->set;

	checkpoint_reopen(set->out);
	if (r->state.best && checkpoint_best(set->out, r->state.best, e) < 0)	/* killed between the two? */
		return -1;
	if (log_open(&r->log, r->state.log_bytes, r->schedule.steps, e) < 0)
		return -1;
	r->log.peak = set->peak * 1e12;
	return set->tensorboard ? events_open(&r->log.events, set->tensorboard, r->optim.step, e) : 0;
}

static int
put_on_device(struct run *r, struct err *e)
{
	return r->engine->put(r->engine, e) < 0 ? comm_lost(r->comm, STATUS_USAGE, e) : 0;
}

int
run_setup(struct run *r, const struct settings *set, struct comm *comm, struct err *e)
{
	int rc;

	*r = (struct run){ .set = set, .comm = comm, .ordered = -1, .log.fd = -1, .log.events.fd = -1 };
	r->mach = mach_new(set->threads ? (int)set->threads : comm_threads(comm));
	if (comm_agree(comm, prepare(r, e), e) < 0 || same_on_all(r, e) < 0)
		return -1;
	put_products(r);
	rc = find_start_for_all(r, e);
	if (rc != 0)
		return rc;
	if (comm->rank == 0)
		check_room(r);
	announce(r);
	return put_on_device(r, e);
}

int
run_begin(struct run *r, struct err *e)
{
	const char *out = r->set->out;
	int rc = prefer_reference(r, e);

	if (rc != 0)
		return rc;
	if (r->saved >= 0 && (comm_agree(r->comm, checkpoint_restore(out, r->saved, r->model, &r->grad, &r->optim, e), e) < 0 || put_on_device(r, e) < 0))
		return -1;
	return comm_agree(r->comm, r->comm->rank == 0 ? open_files(r, e) : 0, e);
}

void
run_free(struct run *r)
{
	log_close(&r->log);
	json_decref(r->identity);
	free(r->order);
	free(r->pos);
	free(r->ids);
	free(r->target);
	free(r->cu);
	free(r->weight);
	free(r->loss);
	if (r->engine)
		r->engine->close(r->engine);
	if (r->model) {
		optim_free(&r->optim);
		weights_free(&r->grad);
		model_free(r->model);
	}
	free(r->trained);
	packs_free(&r->data.packs);
	packs_free(&r->eval.packs);
	prefer_free(&r->prefer);
	samples_free(&r->samples);
	samples_free(&r->eval_samples);
	sampler_free(&r->sampler);
	if (r->tok)
		tok_free(r->tok);
	mach_free(r->mach);
	free(r->config_path);
}
