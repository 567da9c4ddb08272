/* config.c - config.json and generation_config.json of a checkpoint */
#include "config.h"

#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "families.h"

#define MAX_SIZE (1 << 24)		/* any one dimension */
#define MAX_PARAMS ((int64_t)1 << 42)	/* all of them: products of sizes stay far from overflow */

struct reader {
	const char *path;
	const json_t *root;
	struct err *e;
};

static json_t *
load_json(const char *path, struct err *e)
{
	json_error_t je;
	json_t *root = json_load_file(path, 0, &je);

	if (!root) {
		if (json_error_code(&je) == json_error_cannot_open_file)
			err_set(e, "%s: %s", path, strerror(errno));
		else
			err_set(e, "%s: line %d: %s", path, je.line, je.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		err_set(e, "%s: not a JSON object", path);
		json_decref(root);
		return NULL;
	}
	return root;
}

/* A member that is absent or null has no value. */
static const json_t *
member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}

/* An integer member in lo..hi; `fallback` when absent, an error when that is below lo. */
static int
get_int(const struct reader *r, const json_t *o, const char *key, int lo, int hi, int fallback, int *out)
{
	const json_t *v = member(o, key);

	if (!v && fallback >= lo) {
		*out = fallback;
		return 0;
	}
	if (!v)
		return err_set(r->e, "%s: no %s", r->path, key);
	if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
		return err_set(r->e, "%s: %s must be an integer in %d..%d", r->path, key, lo, hi);
	*out = json_integer_value(v);
	return 0;
}

/* A number member above zero. */
static int
get_real(const struct reader *r, const json_t *o, const char *key, double fallback, double *out)
{
	const json_t *v = member(o, key);

	*out = v ? json_number_value(v) : fallback;
	if ((v && !json_is_number(v)) || !(*out > 0) || *out > FLT_MAX)
		return err_set(r->e, "%s: %s must be a number above 0", r->path, key);
	return 0;
}

static int
get_bool(const struct reader *r, const char *key, bool *out)
{
	const json_t *v = member(r->root, key);

	if (v && !json_is_boolean(v))
		return err_set(r->e, "%s: %s must be true or false", r->path, key);
	*out = json_is_true(v);
	return 0;
}

/* The text of a string member, or "" when absent; what is too long is cut, which no name that we know is. */
static void
get_text(const json_t *o, const char *key, char *out, size_t size)
{
	const char *s = json_string_value(member(o, key));

	snprintf(out, size, "%s", s ? s : "");
}

static int
check_quantised(const struct reader *r)
{
	const json_t *q = member(r->root, "quantization_config"), *method = member(q, "quant_method");

	if (!q)
		return 0;
	return err_set(r->e, "%s: quantization_config: quantised checkpoints%s%s%s are not supported", r->path, json_is_string(method) ? " (" : "",
		       json_is_string(method) ? json_string_value(method) : "", json_is_string(method) ? ")" : "");
}

/* What would change the model and is not implemented. Whoever sets none of it may still write it: false, null, 1 or full_attention. */
static int
check_unsupported(const struct config *c, const struct reader *r)
{
	static const char *const flags[] = { "attention_bias", "mlp_bias", "use_sliding_window" }, *const experts[] = { "num_experts", "num_local_experts" };
	const json_t *layer;
	double part;
	size_t i;
	bool on;
	int n;

	for (i = 0; i < sizeof flags / sizeof *flags; i++) {
		if (get_bool(r, flags[i], &on) < 0)
			return -1;
		if (on && !(i == 0 && c->qkv_bias))	/* transformers does not ask for it where the family has biases anyway */
			return err_set(r->e, "%s: %s is not supported", r->path, flags[i]);
	}
	for (i = 0; i < sizeof experts / sizeof *experts; i++)
		if (get_int(r, r->root, experts[i], 0, MAX_SIZE, 0, &n) < 0 || n > 0)
			return n > 0 ? err_set(r->e, "%s: %s: mixtures of experts are not supported", r->path, experts[i]) : -1;
	if (get_real(r, r->root, "partial_rotary_factor", 1, &part) < 0 || part != 1)
		return part == 1 ? -1 : err_set(r->e, "%s: partial_rotary_factor %g is not supported (1 is)", r->path, part);
	json_array_foreach(member(r->root, "layer_types"), i, layer)
		if (!json_is_string(layer) || strcmp(json_string_value(layer), "full_attention") != 0)
			return err_set(r->e, "%s: layer_types[%zu] is not supported (full_attention is)", r->path, i);
	return check_quantised(r);
}

static int
read_arch(struct config *c, const struct reader *r, const struct family **family)
{
	const char *s = json_string_value(json_array_get(member(r->root, "architectures"), 0));
	const json_t *act = member(r->root, "hidden_act");
	char known[256];

	snprintf(c->arch, sizeof c->arch, "%s", s ? s : "");
	*family = family_find(c->arch);
	if (!*family) {
		family_list(known, sizeof known);
		return err_set(r->e, "%s: architecture \"%s\" is not supported (%s are)", r->path, c->arch, known);
	}
	c->qkv_bias = (*family)->qkv_bias;
	c->qk_norm = (*family)->qk_norm;
	if (act && (!json_is_string(act) || strcmp(json_string_value(act), "silu") != 0))
		return err_set(r->e, "%s: hidden_act \"%s\" is not supported (silu is)", r->path, json_is_string(act) ? json_string_value(act) : "?");
	if (check_unsupported(c, r) < 0)
		return -1;
	get_text(r->root, "dtype", c->dtype, sizeof c->dtype);
	if (!*c->dtype)
		get_text(r->root, "torch_dtype", c->dtype, sizeof c->dtype);
	return get_bool(r, "tie_word_embeddings", &c->tied);
}

static int
read_sizes(struct config *c, const struct reader *r, const struct family *f)
{
	const json_t *o = r->root;
	int64_t per_layer;

	if (get_int(r, o, "hidden_size", 1, MAX_SIZE, 0, &c->hidden) < 0 || get_int(r, o, "num_hidden_layers", 1, 4096, 0, &c->layers) < 0 ||
	    get_int(r, o, "num_attention_heads", 1, 65536, 0, &c->heads) < 0 ||
	    get_int(r, o, "num_key_value_heads", 1, 65536, f->kv_heads ? f->kv_heads : c->heads, &c->kv_heads) < 0 ||
	    get_int(r, o, "head_dim", 1, 65536, f->head_dim ? f->head_dim : c->hidden / c->heads, &c->head_dim) < 0 ||
	    get_int(r, o, "intermediate_size", 1, MAX_SIZE, 0, &c->ffn) < 0 || get_int(r, o, "vocab_size", 1, MAX_SIZE, 0, &c->vocab) < 0 ||
	    get_int(r, o, "max_position_embeddings", 1, MAX_SIZE, f->max_pos, &c->max_pos) < 0)
		return -1;
	if (c->heads % c->kv_heads != 0)
		return err_set(r->e, "%s: num_attention_heads (%d) is not a multiple of num_key_value_heads (%d)", r->path, c->heads, c->kv_heads);
	if (c->head_dim % 2 != 0)
		return err_set(r->e, "%s: head_dim (%d) must be even", r->path, c->head_dim);
	if ((int64_t)c->heads * c->head_dim > MAX_SIZE)
		return err_set(r->e, "%s: head_dim: %d heads of %d are more than this program handles", r->path, c->heads, c->head_dim);
	per_layer = 2LL * c->hidden * c->head_dim * (c->heads + c->kv_heads) + 3LL * c->hidden * c->ffn + 2LL * c->hidden;
	if (per_layer > MAX_PARAMS / c->layers || 2LL * c->vocab * c->hidden > MAX_PARAMS)
		return err_set(r->e, "%s: hidden_size, intermediate_size and vocab_size give more parameters than this program handles", r->path);
	return 0;
}

static int
read_llama3(struct config *c, const struct reader *r, const json_t *s)
{
	c->rope_llama3 = true;
	if (get_real(r, s, "factor", 0, &c->rope_factor) < 0 || get_real(r, s, "low_freq_factor", 0, &c->rope_low) < 0 ||
	    get_real(r, s, "high_freq_factor", 0, &c->rope_high) < 0 ||
	    get_int(r, s, "original_max_position_embeddings", 1, MAX_SIZE, 0, &c->rope_old) < 0)
		return -1;
	if (c->rope_high <= c->rope_low)
		return err_set(r->e, "%s: high_freq_factor must be above low_freq_factor", r->path);
	return 0;
}

/* rope_theta at the top with rope_scaling, or both inside one object of either name. */
static int
read_rope(struct config *c, const struct reader *r)
{
	const json_t *params = member(r->root, "rope_parameters"), *s = params ? params : member(r->root, "rope_scaling"), *v;
	const char *name = params ? "rope_parameters" : "rope_scaling", *key;
	double part;
	char type[32];

	if (get_real(r, member(s, "rope_theta") ? s : r->root, "rope_theta", 10000, &c->rope_theta) < 0)
		return -1;
	if (!s)
		return 0;
	if (!json_is_object(s))
		return err_set(r->e, "%s: %s must be an object", r->path, name);
	json_object_foreach((json_t *)s, key, v)
		if (json_is_object(v))
			return err_set(r->e, "%s: %s: settings for %s alone are not supported", r->path, name, key);
	if (get_real(r, s, "partial_rotary_factor", 1, &part) < 0 || part != 1)
		return part == 1 ? -1 : err_set(r->e, "%s: %s: partial_rotary_factor %g is not supported (1 is)", r->path, name, part);
	get_text(s, member(s, "rope_type") ? "rope_type" : "type", type, sizeof type);
	if (strcmp(type, "llama3") == 0)
		return read_llama3(c, r, s);
	if (strcmp(type, "default") == 0 || (params && !*type))
		return 0;
	return err_set(r->e, "%s: rope type \"%s\" is not supported (default and llama3 are)", r->path, type);
}

static void
add_eos(struct config *c, const json_t *id)
{
	int i, v;

	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= c->vocab)
		return;
	v = json_integer_value(id);
	for (i = 0; i < c->neos; i++)
		if (c->eos[i] == v)
			return;
	if (c->neos < CONFIG_MAX_EOS)
		c->eos[c->neos++] = v;
}

/* eos_token_id: an integer or a list of them. Ids outside the vocabulary can never come up and are left out. */
static void
read_eos(struct config *c, const json_t *root)
{
	const json_t *v = member(root, "eos_token_id"), *id;
	size_t i;

	add_eos(c, v);
	json_array_foreach(v, i, id)
		add_eos(c, id);
}

static int
read_root(struct config *c, const struct reader *r, const json_t *generation)
{
	const struct family *family;
	double eps, range;
	const json_t *bos = member(r->root, "bos_token_id");

	memset(c, 0, sizeof *c);
	if (read_arch(c, r, &family) < 0 || read_sizes(c, r, family) < 0 || read_rope(c, r) < 0)
		return -1;
	if (get_real(r, r->root, "rms_norm_eps", 1e-6, &eps) < 0 || get_real(r, r->root, "initializer_range", 0.02, &range) < 0)
		return -1;
	c->eps = eps;
	c->init_range = range;
	c->bos = json_is_integer(bos) && json_integer_value(bos) >= 0 && json_integer_value(bos) < c->vocab ? (int)json_integer_value(bos) : -1;
	read_eos(c, generation);
	read_eos(c, r->root);
	return 0;
}

static int
read_files(struct config *c, const char *path, const char *generation_path, struct err *e)
{
	struct reader r = { .path = path, .e = e };
	json_t *root = load_json(path, e), *generation = NULL;
	int rc = -1;

	if (!root)
		return -1;
	if (generation_path && access(generation_path, F_OK) == 0) {
		generation = load_json(generation_path, e);
		if (!generation)
			goto out;
	}
	r.root = root;
	rc = read_root(c, &r, generation);
out:
	json_decref(generation);
	json_decref(root);
	return rc;
}

int
config_read(struct config *c, const char *dir, struct err *e)
{
	char path[PATH_MAX], generation[PATH_MAX], adapters[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/config.json", dir) >= (int)sizeof path ||
	    snprintf(adapters, sizeof adapters, "%s/adapter_config.json", dir) >= (int)sizeof adapters ||
	    snprintf(generation, sizeof generation, "%s/generation_config.json", dir) >= (int)sizeof generation)
		return err_set(e, "%.200s...: path is too long", dir);
	if (access(path, F_OK) < 0 && access(adapters, F_OK) == 0)
		return err_set(e, "%s: holds adapters alone, not a model; sa-train --merge writes them as one", dir);
	return read_files(c, path, generation, e);
}

int
config_read_file(struct config *c, const char *path, struct err *e)
{
	return read_files(c, path, NULL, e);
}

/* Llama 3 long-context scaling, as in HF transformers' _compute_llama3_parameters: long wavelengths are divided by the factor, short ones kept,
 * those between blended. */
static float
scaled(const struct config *c, float inv)
{
	float wavelength = 1 / inv * (float)(2 * M_PI), old = c->rope_old, factor = c->rope_factor, low = c->rope_low, high = c->rope_high, blend;

	if (wavelength < old / high)
		return inv;
	if (wavelength > old / low)
		return inv / factor;
	blend = (1 / wavelength * old - low) / (high - low);
	return (1 - blend) * inv / factor + blend * inv;
}

void
config_inv_freq(const struct config *c, float *inv_freq)
{
	int i;

	for (i = 0; i < c->head_dim / 2; i++) {
		float inv = 1 / powf(c->rope_theta, (float)(2 * i) / c->head_dim);

		inv_freq[i] = c->rope_llama3 ? scaled(c, inv) : inv;
	}
}
