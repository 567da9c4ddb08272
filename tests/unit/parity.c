/* parity.c - checkpoints as they are found, against transformers: computing in bf16 (goldens/make_bf16.py), a copy of tied weights, the dtypes and the
 * shards that a checkpoint may have. Logits in float, gradients and long contexts are in model.c and families.c. */
#include <jansson.h>
#include <unistd.h>

#include "cpu/isa.h"
#include "golden.h"

#define GOLDENS "tests/goldens/"

static char tmp[] = "/tmp/sa-parity.XXXXXX";

static const char *
in_tmp(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", tmp, name);
	return path;
}

/* ---- bf16 ---- */

struct off {
	double sum;
	size_t n;
};

static void
add_off(struct off *o, double difference)
{
	o->sum += difference * difference;
	o->n++;
}

static void
measure(struct model *m, const struct golden *g, struct off *logits, struct off *loss)
{
	int V = m->c.vocab;

	for (int s = 0; s < g->nseq; s++) {
		int n = g->cu[s + 1] - g->cu[s];
		const int *ids = g->ids + g->cu[s];
		float *got = run(m, ids, n), *want = floats(numbered(g, "logits", s)), *nll = floats(numbered(g, "loss", s));

		for (int i = 0; i < n * V; i++)
			add_off(logits, (double)got[i] - want[i]);
		for (int t = 0; t + 1 < n; t++)
			add_off(loss, surprise(got + (size_t)t * V, V, ids[t + 1]) - nll[t]);
		free(got);
		free(want);
		free(nll);
	}
}

static void
check_bf16(const char *checkpoint, const json_t *theirs)
{
	struct off logits = { 0, 0 }, loss = { 0, 0 };
	double bounds[2] = { json_real_value(json_object_get(theirs, "logits")), json_real_value(json_object_get(theirs, "loss")) };
	char dir[128], golden[128];
	struct golden g;
	struct model *m;
	struct err e;

	snprintf(dir, sizeof dir, GOLDENS "%s", checkpoint);
	snprintf(golden, sizeof golden, GOLDENS "%s", json_string_value(json_object_get(theirs, "golden")));
	m = model_open(dir, WEIGHTS_AUTO, mach, &e);
	if (!CHECK(m) || !golden_open(&g, golden))
		return;
	measure(m, &g, &logits, &loss);
	if (!CHECK(sqrt(logits.sum / logits.n) <= bounds[0] && sqrt(loss.sum / loss.n) <= bounds[1]))
		printf("#   %s: root mean square off by %g and %g, transformers by %g and %g\n", checkpoint, sqrt(logits.sum / logits.n), sqrt(loss.sum / loss.n),
		       bounds[0], bounds[1]);
	golden_close(&g);
	model_free(m);
}

static void
bf16_checkpoints_are_no_further_off_than_transformers_in_bf16(void)
{
	json_t *all = json_load_file(GOLDENS "bf16.json", 0, NULL), *theirs;
	enum isa was = isa_now();
	const char *checkpoint;

	CHECK_INT(json_object_size(all), 4);
	for (enum isa i = 0; i < ISA_COUNT; i++) {
		if (!isa_usable(i))
			continue;
		isa_use(i);
		json_object_foreach(all, checkpoint, theirs)
			check_bf16(checkpoint, theirs);
	}
	isa_use(was);
	json_decref(all);
}

/* ---- a checkpoint made of another's tensors ---- */

static void
put_text(const char *name, const char *text)
{
	FILE *f = fopen(in_tmp(name), "w");

	if (CHECK(f)) {
		fputs(text, f);
		fclose(f);
	}
}

/* Tensors from[0..n) of `t` as a file of its own, and `more` where that is one. */
static void
put_tensors(const char *name, const struct tensors *t, size_t from, size_t n, const struct tensor_out *more, enum dtype d)
{
	struct tensor_out out[64];
	struct err e;
	size_t i;

	for (i = 0; i < n; i++) {
		const struct tensor *at = tensors_at(t, from + i);

		out[i] = (struct tensor_out){ .name = at->name, .ndim = at->ndim, .data = floats(at) };
		memcpy(out[i].shape, at->shape, sizeof out[i].shape);
	}
	if (more)
		out[i] = *more;
	CHECK_INT(tensors_write(in_tmp(name), out, n + !!more, d, &e), 0);
	for (i = 0; i < n; i++)
		free((float *)out[i].data);
}

static void
put_config(const char *from)
{
	json_t *config = json_load_file(from, 0, NULL);

	CHECK_INT(json_dump_file(config, in_tmp("config.json"), 0), 0);
	json_decref(config);
}

static const char *const made[] = { "config.json", "model.safetensors", "a.safetensors", "b.safetensors", "model.safetensors.index.json" };

static void
forget_all(void)
{
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		unlink(in_tmp(made[i]));
}

/* The weights are tied because config.json says so, whatever the file holds beside them. */
static void
a_tied_checkpoint_may_ship_its_head(void)
{
	struct err e;
	struct tensors *t = tensors_open(GOLDENS "model/tied", &e);
	float *head;
	const struct tensor *embed;

	if (!CHECK(t))
		return;
	embed = tensors_find(t, "model.embed_tokens.weight");
	head = calloc(embed->count, sizeof *head);
	put_config(GOLDENS "model/tied/config.json");
	put_tensors("model.safetensors", t, 0, tensors_count(t),
		    &(struct tensor_out){ .name = "lm_head.weight", .ndim = 2, .shape = { embed->shape[0], embed->shape[1] }, .data = head }, DT_F32);
	check_logits(tmp, GOLDENS "model/tied/expect", &ops_cpu);
	forget_all();
	tensors_close(t);
	free(head);
}

static void
shards_may_be_of_different_dtypes(void)
{
	struct err e;
	struct tensors *t = tensors_open(GOLDENS "model/tied", &e);
	json_t *map = json_object(), *index;
	size_t n, half;

	if (!CHECK(t))
		return;
	n = tensors_count(t);
	half = n / 2;
	put_config(GOLDENS "model/tied/config.json");
	put_tensors("a.safetensors", t, 0, half, NULL, DT_F32);
	put_tensors("b.safetensors", t, half, n - half, NULL, DT_BF16);	/* which the golden's weights are rounded to */
	for (size_t i = 0; i < n; i++)
		json_object_set_new(map, tensors_at(t, i)->name, json_string(i < half ? "a.safetensors" : "b.safetensors"));
	index = json_pack("{s{si} so}", "metadata", "total_size", 0, "weight_map", map);
	json_dump_file(index, in_tmp("model.safetensors.index.json"), 0);
	json_decref(index);
	check_logits(tmp, GOLDENS "model/tied/expect", &ops_cpu);
	forget_all();
	tensors_close(t);
}

static void
what_is_there_of_a_checkpoint_that_is_none_of_ours_is_named(void)
{
	struct err e = { "" };

	put_config(GOLDENS "model/tied/config.json");
	put_text("model.safetensors", "\x02\0\0\0");
	CHECK(!model_load(tmp, &ops_cpu, mach, &e));
	CHECK(strstr(e.msg, "model.safetensors"));
	forget_all();
	put_config(GOLDENS "model/tied/config.json");
	CHECK(!model_load(tmp, &ops_cpu, mach, &e));
	CHECK(strstr(e.msg, "model.safetensors: No such file"));
	forget_all();
}

int
main(void)
{
	mach = mach_new(2);
	if (!mkdtemp(tmp))
		return 99;
	RUN(bf16_checkpoints_are_no_further_off_than_transformers_in_bf16);
	RUN(a_tied_checkpoint_may_ship_its_head);
	RUN(shards_may_be_of_different_dtypes);
	RUN(what_is_there_of_a_checkpoint_that_is_none_of_ours_is_named);
	rmdir(tmp);
	mach_free(mach);
	return t_done();
}
