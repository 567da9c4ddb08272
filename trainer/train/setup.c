/* setup.c - everything of a run before its first step */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "files.h"
#include "freeze.h"
#include "order.h"
#include "run.h"

static int
read_config(struct run *r, struct err *e)
{
	static const enum dtype stored[] = { [STORE_F32] = DT_F32, [STORE_F16] = DT_F16, [STORE_BF16] = DT_BF16 };
	const struct settings *set = r->set;

	r->config_path = set->init ? xstrdup(set->init) : path_join(set->model, "config.json");
	if (set->init ? config_read_file(&r->c, set->init, e) < 0 : config_read(&r->c, set->model, e) < 0)
		return -1;
	r->source = (struct source){ .model = set->model, .tokenizer = set->tokenizer ? set->tokenizer : set->model, .config = r->config_path };
	r->source.dtype = set->store == STORE_AUTO ? checkpoint_dtype(&r->c) : stored[set->store];
	return 0;
}

static int
read_data(struct run *r, uint64_t *hash, struct err *e)
{
	const struct settings *set = r->set;

	r->tok = tok_load(r->source.tokenizer, e);
	if (!r->tok)
		return -1;
	sampler_init(&r->sampler, r->tok, r->source.tokenizer, r->c.neos ? r->c.eos[0] : -1);
	r->sampler.template_name = set->template_name;
	r->sampler.vocab = r->c.vocab;
	r->sampler.cutoff = set->cutoff < r->c.max_pos ? (int)set->cutoff : r->c.max_pos;
	if (data_read(&r->data, &r->sampler, set->data, hash, e) < 0)
		return -1;
	if (r->data.n == 0)
		return err_set(e, "%s: no sample with a supervised token (%zu dropped)", set->data, r->data.dropped);
	if (r->data.n > UINT32_MAX)
		return err_set(e, "%s: more than %" PRIu32 " samples", set->data, UINT32_MAX);
	return 0;
}

static void
plan(struct run *r)
{
	const struct settings *set = r->set;
	long steps;

	r->micro = set->loss_norm == LOSS_SAMPLE ? 1 : (size_t)set->batch;	/* a scale of its own for each sample */
	r->window = (size_t)set->batch * (size_t)set->accum;
	r->steps_per_epoch = (long)((r->data.n + r->window - 1) / r->window);
	steps = set->max_steps ? (long)set->max_steps : (long)ceil((double)r->steps_per_epoch * set->epochs);
	r->schedule = (struct schedule){ .kind = (enum schedule_kind)set->schedule, .lr = set->lr, .steps = steps,
					 .warmup = schedule_warmup(steps, set->warmup_ratio) };
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
make_identity(struct run *r, uint64_t data, struct err *e)
{
	static const char *const schedules[] = { "cosine", "linear", "constant" }, *const norms[] = { "token", "sample" };
	const struct settings *s = r->set;
	char *tokenizer = path_join(r->source.tokenizer, "tokenizer.json");
	uint64_t tok = 0, config = 0;
	int rc = file_hash(tokenizer, &tok, e);

	if (rc == 0)
		rc = file_hash(r->config_path, &config, e);
	free(tokenizer);
	r->identity = json_pack("{sI sf sf sf sf sf sf sf sf sI sI sI sI sI ss ss ss}", "steps", (json_int_t)r->schedule.steps, "epochs", s->epochs, "lr", s->lr,
				"warmup-ratio", s->warmup_ratio, "weight-decay", s->decay, "beta1", s->beta1, "beta2", s->beta2, "eps", s->eps, "clip", s->clip,
				"batch", (json_int_t)s->batch, "accum", (json_int_t)s->accum, "cutoff", (json_int_t)s->cutoff, "seed", (json_int_t)s->seed,
				"threads", (json_int_t)mach_threads(r->mach), "schedule", schedules[s->schedule], "loss-norm", norms[s->loss_norm],
				"template", r->sampler.template_known ? template_name(r->sampler.template) : "none");
	put_hash(r->identity, "data", data);
	put_hash(r->identity, "tokenizer", tok);
	put_hash(r->identity, "config", config);
	return rc;
}

/* Does the state of the folder belong to this very run? `where` is for the message. Another number of threads only costs the last bits. */
static int
same_run(const struct run *r, const json_t *was, const char *where, struct err *e)
{
	const char *name;
	json_t *is;

	json_object_foreach(r->identity, name, is) {
		json_t *before = json_object_get(was, name);
		char *a, *b;

		if (json_equal(is, before))
			continue;
		if (strcmp(name, "threads") == 0) {
			warn("resumed with another number of threads: the result will not be the same to the last bit");
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

/* Where does the run begin? Restores weights and moments when it was begun before. 0; 1 when it was finished; -1. */
static int
find_start(struct run *r, long *log_bytes, struct err *e)
{
	const char *out = r->set->out;
	long latest = checkpoint_latest(out);
	bool finished = checkpoint_finished(out);
	struct state s = { 0 };
	int rc;

	*log_bytes = 0;
	r->saved = -1;
	if (!r->set->resume)
		return latest < 0 ? 0 : err_set(e, "%s: holds the training state of a run at step %ld: go on with --resume, or remove it", out, latest);
	if (latest < 0 && !finished) {
		warn("%s: no training state, starting anew", out);
		return 0;
	}
	rc = checkpoint_state(out, finished ? -1 : latest, &s, e);
	if (rc == 0)
		rc = same_run(r, s.run, out, e);
	json_decref(s.run);
	if (rc < 0 || finished)
		return rc < 0 ? -1 : 1;
	*log_bytes = s.log_bytes;
	r->saved = latest;
	return checkpoint_restore(out, latest, r->model, &r->optim, e);
}

const uint32_t *
run_order(struct run *r, long epoch)
{
	if (r->ordered != epoch)
		order_fill(r->order, r->data.n, (uint64_t)r->set->seed, (uint64_t)epoch);
	r->ordered = epoch;
	return r->order;
}

/* Tokens of the largest micro-batch of the run. Windows are whole micro-batches but for the epoch's end, so these start at multiples. */
static size_t
largest(struct run *r)
{
	long epochs = (r->schedule.steps + r->steps_per_epoch - 1) / r->steps_per_epoch;
	size_t most = 0;

	for (long e = 0; e < epochs; e++) {
		const uint32_t *order = run_order(r, e);

		for (size_t i = 0, sum = 0; i < r->data.n; i++) {
			sum = (i % r->micro ? sum : 0) + (size_t)r->data.v[order[i]].n;
			if (sum > most)
				most = sum;
		}
	}
	return most;
}

static int
allocate(struct run *r, struct err *e)
{
	size_t most;

	r->order = xmalloc(r->data.n * sizeof *r->order);
	most = largest(r);
	if (most > INT32_MAX / 4)
		return err_set(e, "a micro-batch of %zu tokens is too large: lower --batch", most);
	r->acts = acts_new(r->model, (int)most);
	r->pos = xmalloc(most * sizeof *r->pos);
	r->ids = xmalloc(most * sizeof *r->ids);
	r->target = xmalloc(most * sizeof *r->target);
	r->cu = xmalloc((r->micro + 1) * sizeof *r->cu);
	return 0;
}

static int
make_model(struct run *r, struct err *e)
{
	const struct settings *set = r->set;

	r->model = set->init ? model_new(&r->c, (uint64_t)set->seed, &ops_cpu, r->mach) : model_load(set->model, &ops_cpu, r->mach, e);
	if (!r->model)
		return -1;
	if (freeze_choose(r, e) < 0)
		return -1;
	weights_some(&r->grad, &r->c, r->trained);
	optim_init(&r->optim, &r->c, r->trained);
	r->optim.beta1 = set->beta1;
	r->optim.beta2 = set->beta2;
	r->optim.eps = set->eps;
	r->optim.decay = set->decay;
	r->optim.clip = set->clip;
	return 0;
}

static void
announce(const struct run *r)
{
	const struct samples *d = &r->data;

	warn("%zu samples, %zu tokens, %zu supervised; %zu dropped, %zu cut at %d tokens", d->n, d->tokens, d->supervised, d->dropped, d->cut, r->sampler.cutoff);
	if (r->trained)
		warn("%zu of the parameters are trained, the others stay as they are", r->grad.n);
	warn("%zu parameters; %ld steps of %lld x %lld samples, %ld of them warm-up; %zu MB of memory", r->model->w.n, r->schedule.steps, r->set->batch,
	     r->set->accum, r->schedule.warmup, ((r->model->w.n + 3 * r->grad.n) * sizeof(float) + acts_bytes(r->acts)) / 1000000 + 1);
}

int
run_setup(struct run *r, const struct settings *set, struct err *e)
{
	uint64_t hash;
	long log_bytes;
	int rc;

	*r = (struct run){ .set = set, .ordered = -1, .log.fd = -1 };
	r->mach = mach_new((int)set->threads);
	if (read_config(r, e) < 0 || read_data(r, &hash, e) < 0)
		return -1;
	plan(r);
	if (make_identity(r, hash, e) < 0 || make_model(r, e) < 0 || allocate(r, e) < 0 || dir_make(set->out, e) < 0)
		return -1;
	rc = find_start(r, &log_bytes, e);
	if (rc != 0)
		return rc;
	announce(r);
	checkpoint_reopen(set->out);
	return log_open(&r->log, set->out, log_bytes, r->schedule.steps, e);
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
	if (r->acts)
		acts_free(r->acts);
	if (r->model) {
		optim_free(&r->optim);
		weights_free(&r->grad);
		model_free(r->model);
	}
	free(r->trained);
	samples_free(&r->data);
	sampler_free(&r->sampler);
	if (r->tok)
		tok_free(r->tok);
	mach_free(r->mach);
	free(r->config_path);
}
