/* checkpoint.c - saving and finding checkpoints; state.c has the numbers that only a resumed run needs */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "files.h"
#include "lora.h"
#include "num.h"
#include "statefile.h"

static const char *const dtype_names[] = { [DT_F32] = "float32", [DT_F16] = "float16", [DT_BF16] = "bfloat16" };

enum dtype
checkpoint_dtype(const struct config *c)
{
	for (int d = DT_F32; d <= DT_BF16; d++)
		if (strcmp(c->dtype, dtype_names[d]) == 0)
			return d;
	return DT_F32;
}

static int
copy_into(const char *dir, const char *from_dir, const char *name, struct err *e)
{
	char *from = path_join(from_dir, name), *to = path_join(dir, name);
	int rc = file_copy(from, to, e);

	free(from);
	free(to);
	return rc < 0 ? -1 : 0;
}

/* config.json as it was, unless the weights are stored as something else than it says. */
static int
copy_config(const char *dir, const struct source *src, struct err *e)
{
	char *to = path_join(dir, "config.json"), *text = NULL;
	json_t *config = json_load_file(src->config, 0, NULL);
	const char *member = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
	const char *is = json_string_value(json_object_get(config, member));
	int rc = -1;

	if (is && strcmp(is, dtype_names[src->dtype]) == 0) {
		rc = file_copy(src->config, to, e);
	} else {
		json_object_set_new(config, member, json_string(dtype_names[src->dtype]));
		text = json_dumps(config, JSON_INDENT(2));
		rc = text ? file_write(to, text, strlen(text), e) : err_set(e, "%s cannot be rewritten", src->config);
	}
	if (rc > 0)
		rc = err_set(e, "%s is gone", src->config);
	free(text);
	json_decref(config);
	free(to);
	return rc;
}

static int
save_adapters(const char *dir, const struct source *src, const struct model *m, struct err *e)
{
	char *text = lora_config(&m->c, src->model), *path = path_join(dir, "adapter_config.json");
	int rc = file_write(path, text, strlen(text), e);

	free(text);
	free(path);
	return rc < 0 ? -1 : lora_save(m, dir, src->adapter_dtype, e);
}

/* What transformers loads; the weights last, so that a folder with weights has all the rest. */
static int
save_model(const char *dir, const struct source *src, const struct model *m, struct err *e)
{
	static const char *const names[] = { "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
					     "added_tokens.json", "vocab.json", "merges.txt", NULL };

	if (!m->c.lora.r && copy_config(dir, src, e) < 0)
		return -1;
	if (!m->c.lora.r && copy_into(dir, src->model ? src->model : src->tokenizer, "generation_config.json", e) < 0)
		return -1;
	for (int i = 0; names[i]; i++)
		if (copy_into(dir, src->tokenizer, names[i], e) < 0)
			return -1;
	if (m->c.lora.r)
		return save_adapters(dir, src, m, e);
	return model_save(m, dir, src->dtype, e);
}

static int
save_state(const char *dir, const struct state *s, struct err *e)
{
	json_t *recent = json_array(), *j;
	char *text, *path;
	int rc;

	for (int i = 0; i < s->recent.n; i++)
		json_array_append_new(recent, json_real(s->recent.loss[i]));
	j = json_pack("{sI sI sI sI sI sI sf so sO}", "step", (json_int_t)s->step, "epoch", (json_int_t)s->epoch, "cursor", (json_int_t)s->cursor, "log_bytes",
		      (json_int_t)s->log_bytes, "evaluated", (json_int_t)s->evaluated, "best", (json_int_t)s->best, "best_loss", s->best_loss, "recent", recent,
		      "run", s->run);
	text = json_dumps(j, JSON_INDENT(2));
	path = path_join(dir, "state.json");
	rc = text ? file_write(path, text, strlen(text), e) : err_set(e, "%s: out of memory", path);

	free(path);
	free(text);
	json_decref(j);
	return rc;
}

static char *
step_path(const char *out, long step, const char *tail)
{
	char *p;

	if (asprintf(&p, "%s/step_%ld%s", out, step, tail) < 0)
		die(STATUS_IO, "out of memory");
	return p;
}

/* Make `dir` of what is in `tmp`. */
static int
put_in_place(const char *out, const char *tmp, const char *dir, struct err *e)
{
	dir_remove(dir);
	return rename(tmp, dir) < 0 ? err_set(e, "%s: %s", dir, strerror(errno)) : dir_sync(out, e);
}

int
checkpoint_save(const char *out, const struct source *src, const struct model *m, const struct weights *grad, const struct optim *o, const struct state *s,
		struct err *e)
{
	char *tmp = step_path(out, s->step, ".tmp"), *dir = step_path(out, s->step, ""), *bin = path_join(tmp, "state.bin");
	bool first = o->zero.comm->rank == 0;
	struct err other;
	int rc = 0;

	if (first) {
		dir_remove(tmp);
		rc = dir_make(tmp, e) < 0 || save_model(tmp, src, m, e) < 0 ? -1 : 0;
	}
	if (statefile_write(bin, m, grad, o, s->step, rc == 0 ? e : &other) < 0)	/* whatever came before: the others give their part */
		rc = -1;
	if (first && rc == 0 && (save_state(tmp, s, e) < 0 || dir_sync(tmp, e) < 0 || put_in_place(out, tmp, dir, e) < 0))
		rc = -1;
	if (first && rc < 0)
		dir_remove(tmp);
	free(bin);
	free(dir);
	free(tmp);
	return rc;
}

int
checkpoint_finish(const char *out, const struct source *src, const struct model *m, const struct state *s, struct err *e)
{
	if (save_model(out, src, m, e) < 0 || save_state(out, s, e) < 0)
		return -1;
	return dir_sync(out, e);
}

/* N of a name step_N, or -1; *tmp says whether it is one that was being made. */
static long
step_of(const char *name, bool *tmp)
{
	char digits[32];
	size_t n;
	long long step;

	if (strncmp(name, "step_", 5) != 0)
		return -1;
	n = strspn(name + 5, "0123456789");
	if (n == 0 || n >= sizeof digits)
		return -1;
	*tmp = strcmp(name + 5 + n, ".tmp") == 0;
	if (name[5 + n] && !*tmp)
		return -1;
	memcpy(digits, name + 5, n);
	digits[n] = '\0';
	return num_int(digits, 0, 1LL << 40, &step, NULL) < 0 ? -1 : (long)step;
}

/* The steps of out's checkpoints (tmp: of those that were being made), largest first; the caller frees *steps. */
static size_t
list(const char *out, bool want_tmp, long **steps)
{
	DIR *d = opendir(out);
	struct dirent *f;
	size_t n = 0;

	*steps = NULL;
	while (d && (f = readdir(d))) {
		bool tmp = false;
		long step = step_of(f->d_name, &tmp);
		size_t i = n;

		if (step < 0 || tmp != want_tmp)
			continue;
		*steps = xreallocarray(*steps, n + 1, sizeof **steps);
		for (; i > 0 && (*steps)[i - 1] < step; i--)
			(*steps)[i] = (*steps)[i - 1];
		(*steps)[i] = step;
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

long
checkpoint_latest(const char *out)
{
	long *steps, latest;

	latest = list(out, false, &steps) > 0 ? steps[0] : -1;
	free(steps);
	return latest;
}

int
checkpoint_best(const char *out, long step, struct err *e)
{
	char *link = path_join(out, "best"), *tmp = path_join(out, "best.tmp"), name[32];
	int rc = 0;

	snprintf(name, sizeof name, "step_%ld", step);
	unlink(tmp);
	if (symlink(name, tmp) < 0 || rename(tmp, link) < 0)
		rc = err_set(e, "%s: %s", link, strerror(errno));
	free(tmp);
	free(link);
	return rc < 0 ? -1 : dir_sync(out, e);
}

/* A checkpoint is renamed before it is taken apart, so that none is ever there in part. */
void
checkpoint_prune(const char *out, long keep, long best)
{
	long *steps;
	size_t n = list(out, false, &steps);

	for (size_t i = (size_t)keep; i < n; i++) {
		char *dir = step_path(out, steps[i], ""), *tmp = step_path(out, steps[i], ".tmp");

		dir_remove(tmp);
		if (steps[i] != best && rename(dir, tmp) < 0)
			warn("%s: %s", dir, strerror(errno));
		free(dir);
		free(tmp);
	}
	free(steps);
	n = list(out, true, &steps);
	for (size_t i = 0; i < n; i++) {
		char *tmp = step_path(out, steps[i], ".tmp");

		dir_remove(tmp);
		free(tmp);
	}
	free(steps);
}

static bool
is_there(const char *out, const char *name)
{
	char *path = path_join(out, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

bool
checkpoint_finished(const char *out)
{
	return is_there(out, "state.json");
}

const char *
checkpoint_model(const char *out)
{
	static const char *const names[] = { "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors", NULL };
	const char *const *name = names;

	while (*name && !is_there(out, *name))
		name++;
	return *name;
}

bool
checkpoint_ours(const char *out)
{
	return checkpoint_finished(out) || is_there(out, "log.jsonl");
}

void
checkpoint_reopen(const char *out)
{
	char *path = path_join(out, "state.json");

	unlink(path);
	free(path);
}

int
checkpoint_state(const char *out, long step, struct state *s, struct err *e)
{
	char *dir = step < 0 ? xstrdup(out) : step_path(out, step, ""), *path = path_join(dir, "state.json");
	json_error_t je;
	json_t *j = json_load_file(path, 0, &je);
	json_t *recent, *x;
	json_int_t n[6];
	int rc = -1;
	size_t i;

	*s = (struct state){ 0 };
	if (!j) {
		err_set(e, "%s: %s", path, json_error_code(&je) == json_error_cannot_open_file ? strerror(errno) : je.text);
	} else if (json_unpack_ex(j, &je, 0, "{sI sI sI sI sI sI sF so sO}", "step", &n[0], "epoch", &n[1], "cursor", &n[2], "log_bytes", &n[3], "evaluated", &n[4],
				  "best", &n[5], "best_loss", &s->best_loss, "recent", &recent, "run", &s->run) < 0) {
		err_set(e, "%s: %s", path, je.text);
	} else {
		s->step = n[0];
		s->epoch = n[1];
		s->cursor = n[2];
		s->log_bytes = n[3];
		s->evaluated = n[4];
		s->best = n[5];
		json_array_foreach(recent, i, x)
			if (i < SPIKE_LAST)
				s->recent.loss[s->recent.n++] = json_number_value(x);
		rc = 0;
	}
	json_decref(j);
	free(path);
	free(dir);
	return rc;
}

int
checkpoint_restore(const char *out, long step, struct model *m, const struct weights *grad, struct optim *o, struct err *e)
{
	char *dir = step_path(out, step, ""), *bin = path_join(dir, "state.bin");
	int rc = statefile_read(bin, m, grad, o, step, e);

	o->step = step;
	free(bin);
	free(dir);
	return rc;
}
