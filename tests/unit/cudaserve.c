/* cudaserve.c - the serving pass of a GPU, run by the simulator (tests/cudasim), against the CPU's in float */
#include <unistd.h>

#include "cudaopen.h"
#include "fit.h"
#include "forward_device.h"
#include "simulator.h"
#include "small.h"

enum { N = 90, ROWS = 32 };	/* tokens of a sequence: two pages and a part of one; rows of a product */

static const struct family {
	const char *name;
	bool tied, bias, norms;
	int head_dim;
} families[] = {
	{ "llama", true, false, false, 16 }, { "qwen2", true, true, false, 32 }, { "qwen3", false, false, true, 16 },
};

static struct model *m;
static struct forward_device *gpu;
static struct kv_pool *pool;

/* The nearest bf16 number, so that both sides have the same weights. */
static float
rounded(float f)
{
	uint16_t b;

	from_float(&b, &f, DT_BF16, 1);
	to_float(&f, &b, DT_BF16, 1);
	return f;
}

static struct model *
model_of(const struct family *f)
{
	struct config c = mid_config();
	struct tensor_at at;

	c.tied = f->tied;
	c.qkv_bias = f->bias;
	c.qk_norm = f->norms;
	c.head_dim = f->head_dim;
	m = model_new(&c, 7, &ops_cpu, mach);
	for (int i = 0; model_tensor(&c, i, &at) == 0; i++)
		for (size_t k = 0; k < at.count; k++) {
			float *w = &m->w.all[at.offset + k];

			*w = rounded(*w + (at.ndim == 1 ? 0.2f * sinf((float)(k * 7 + i)) : 0));
		}
	return m;
}

static void
open_gpu(const struct family *f, int tokens, int sequences, size_t kv_bytes)
{
	struct cuda_wish w = { .device.cuda = true, .tokens = tokens, .sequences = sequences, .context = 300, .kv_bytes = kv_bytes };
	struct err e;

	model_of(f);
	if (!CHECK(cuda_open(m, &w, &e) == 0)) {
		printf("# %s\n", e.msg);
		exit(1);
	}
	gpu = m->device;
	pool = kv_pool_numbered(gpu->pages);
}

static void
close_gpu(void)
{
	kv_pool_free(pool);
	m->device = gpu;
	model_free(m);
}

/* All logits of ids[0..n), the chunks ending at the numbers in `cuts` (0: the last). */
static float *
in_chunks(const int *ids, int n, const int *cuts)
{
	int V = m->c.vocab, from = 0, to;
	float *logits = malloc((size_t)n * V * sizeof *logits);
	struct kv *kv = kv_new(pool);
	struct err e;

	for (; from < n; from = to, cuts++) {
		to = *cuts ? *cuts : n;
		if (!CHECK(model_forward(m, &(struct chunk){ kv, ids + from, to - from, 0, logits + (size_t)from * V }, 1, &e) == 0))
			printf("# %s\n", e.msg);
	}
	CHECK_INT(kv_len(kv), n);
	kv_free(kv);
	return logits;
}

static const int whole[] = { 0 };

/* How far `got` is from `want`, of its size: the whole, and the worst row. bf16 has 8 bits, so that each of the dozen arrays that a layer makes is within
 * 0.2% of what was computed; here that comes to 0.018 and 0.039 at most. A bias left out, or positions off by one, to 0.2 and 0.8 at least. */
static void
near(const char *name, const float *got, const float *want, int rows, int V)
{
	double off = 0, size = 0, worst = 0;

	for (int t = 0; t < rows; t++) {
		double row_off = 0, row_size = 0;

		for (int i = t * V; i < (t + 1) * V; i++) {
			row_off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
			row_size += (double)want[i] * want[i];
		}
		off += row_off;
		size += row_size;
		worst = fmax(worst, row_off / row_size);
	}
	if (!CHECK(sqrt(off / size) < 0.025 && sqrt(worst) < 0.06))
		printf("#   %s: off by %.4f of the whole, %.4f of a row\n", name, sqrt(off / size), sqrt(worst));
}

static void
logits_are_those_of_the_cpu(void)
{
	for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
		int ids[N];
		float *got, *want;

		open_gpu(&families[f], ROWS, 4, 0);
		fill_ids(ids, N, m->c.vocab, 3);
		got = in_chunks(ids, N, whole);
		m->device = NULL;
		want = run(m, ids, N);
		near(families[f].name, got, want, N, m->c.vocab);
		free(got);
		free(want);
		close_gpu();
	}
}

/* In chunks that begin and end anywhere, and token by token over the end of a page. The simulator's cuBLASLt takes another algorithm for products of less
 * than 24 rows, which changes a bf16 number in ten thousand: so there are many of them. */
static void
the_same_bits_in_any_chunks(void)
{
	static const int cuts[][20] = {
		{ 1, 33, 64, 65, 0 }, { 40, 61, 62, 63, 64, 65, 66, 67, 68, 0 }, { 20, 40, 60, 80, 0 }, { 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77, 84, 0 },
	};

	for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
		open_gpu(&families[f], ROWS, 4, 0);
		for (int i = 0; i < 8; i++) {
			int ids[N];
			float *want, *got;

			fill_ids(ids, N, m->c.vocab, 4 + i);
			want = in_chunks(ids, N, whole);
			kv_trim(pool, true);
			got = in_chunks(ids, N, cuts[i % 4]);
			CHECK(memcmp(got, want, (size_t)N * m->c.vocab * sizeof *got) == 0);
			free(got);
			free(want);
		}
		close_gpu();
	}
}

/* Of a vocabulary so large that a slice's logits come in three parts: the same bits as a part at a time. */
static void
logits_come_in_parts(void)
{
	enum { V = 524296, T = 90 };	/* 32 rows of it are 64 MiB */
	struct config c = { .hidden = 16, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 16, .ffn = 16, .vocab = V, .max_pos = 128, .eps = 1e-5f,
			    .rope_theta = 10000, .tied = true, .init_range = 0.1f };
	struct cuda_wish w = { .device.cuda = true, .tokens = T, .sequences = 1, .context = 100 };
	int ids[T];
	float *got, *want;
	struct err e;

	m = model_new(&c, 3, &ops_cpu, mach);
	CHECK_INT(cuda_open(m, &w, &e), 0);
	gpu = m->device;
	pool = kv_pool_numbered(gpu->pages);
	fill_ids(ids, T, V, 8);
	got = in_chunks(ids, T, whole);
	kv_trim(pool, true);
	want = in_chunks(ids, T, (const int[]){ 30, 60, 0 });
	CHECK(memcmp(got, want, (size_t)T * V * sizeof *got) == 0);
	CHECK(memcmp(got, got + (size_t)V, V * sizeof *got) != 0);
	free(got);
	free(want);
	close_gpu();
}

/* Four that share a beginning of two pages, computed by the first of them, then all together for some tokens each: the last logits of each are those that
 * it has alone. Of some rows no logits are wanted, and together they are more than a slice, which is of two sequences. */
static void
the_same_bits_alone_and_among_others(void)
{
	enum { SEQUENCES = 4, SHARED = 2 * KV_PAGE };
	static const int length[SEQUENCES] = { 90, 66, 70, 65 };
	int ids[SEQUENCES][N], V;
	float *alone[SEQUENCES], *logits;
	struct chunk c[SEQUENCES];
	struct err e;

	open_gpu(&families[2], ROWS, SEQUENCES / 2, 0);
	V = m->c.vocab;
	logits = calloc((size_t)SEQUENCES * V, sizeof *logits);
	for (int s = 0; s < SEQUENCES; s++) {
		fill_ids(ids[s], N, V, 50 + s);
		fill_ids(ids[s], SHARED, V, 9);
		alone[s] = in_chunks(ids[s], length[s], whole);
	}
	kv_trim(pool, true);
	for (int s = 0; s < SEQUENCES; s++) {
		struct kv *kv = kv_new(pool);
		int n = kv_match(kv, ids[s], length[s] - 1);

		CHECK_INT(n, s > 0 ? SHARED : 0);
		if (s == 0)
			CHECK_INT(model_forward(m, &(struct chunk){ kv, ids[s], SHARED + 3, SHARED + 3, NULL }, 1, &e), 0);
		n = kv_len(kv);
		c[s] = (struct chunk){ kv, ids[s] + n, length[s] - n, length[s] - n - 1, logits + s * V };
	}
	CHECK_INT(model_forward(m, c, SEQUENCES, &e), 0);
	for (int s = 0; s < SEQUENCES; s++) {
		CHECK(memcmp(logits + s * V, alone[s] + (size_t)(length[s] - 1) * V, V * sizeof *logits) == 0);
		kv_free(c[s].kv);
		free(alone[s]);
	}
	free(logits);
	close_gpu();
}

/* Pages that were let go and taken again by others, in another order. */
static void
pages_are_used_again(void)
{
	int ids[5][N];
	float *first[5], *again;
	struct err e;
	struct kv *kv;

	open_gpu(&families[0], ROWS, 2, 4 * (size_t)KV_PAGE * 2 * 2 * 2 * 16 * sizeof(uint16_t));
	CHECK_INT(gpu->pages, 4);
	CHECK_INT(gpu->context, 4 * KV_PAGE);
	for (int i = 0; i < 5; i++) {
		fill_ids(ids[i], N, m->c.vocab, 70 + i);
		first[i] = in_chunks(ids[i], N, whole);
	}
	for (int i = 4; i >= 0; i--) {
		again = in_chunks(ids[i], N, (const int[]){ 60, 0 });
		CHECK(memcmp(again, first[i], (size_t)N * m->c.vocab * sizeof *again) == 0);
		free(again);
		free(first[i]);
	}
	kv = kv_new(pool);
	CHECK_INT(model_forward(m, &(struct chunk){ kv, ids[0], N, N, NULL }, 1, &e), 0);
	CHECK(model_forward(m, &(struct chunk){ kv, ids[1], 4 * KV_PAGE, 0, NULL }, 1, &e) < 0 && strstr(e.msg, "no memory for 128 tokens after 90"));
	CHECK(model_forward(m, &(struct chunk){ kv, (const int[]){ 301 }, 1, 1, NULL }, 1, &e) < 0 && strstr(e.msg, "token id 301"));
	kv_free(kv);
	close_gpu();
}

/* Weights that the checkpoint has in other formats are rounded as bf16. */
static void
what_is_no_bf16_is_rounded(void)
{
	int ids[8];
	float *got, *want;

	open_gpu(&families[1], ROWS, 1, 0);
	fill_ids(ids, 8, m->c.vocab, 5);
	want = in_chunks(ids, 8, whole);
	close_gpu();
	model_of(&families[1]);
	for (size_t i = 0; i < m->w.n; i++)
		m->w.all[i] *= 1 + 1e-3f;	/* less than half of a bf16's last bit */
	CHECK_INT(cuda_open(m, &(struct cuda_wish){ .device.cuda = true, .tokens = ROWS, .sequences = 1, .context = 300 }, &(struct err){ "" }), 0);
	gpu = m->device;
	pool = kv_pool_numbered(gpu->pages);
	got = in_chunks(ids, 8, whole);
	CHECK(memcmp(got, want, 8 * m->c.vocab * sizeof *got) == 0);
	free(got);
	free(want);
	close_gpu();
}

static void
put_config(const struct config *c, const char *dir)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/config.json", dir);
	f = fopen(path, "w");
	fprintf(f, "{\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":%d,\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
		   "\"head_dim\":%d,\"intermediate_size\":%d,\"vocab_size\":%d,\"max_position_embeddings\":%d,\"rms_norm_eps\":1e-5,"
		   "\"tie_word_embeddings\":true,\"rope_theta\":10000,\"hidden_act\":\"silu\"}", c->hidden, c->layers, c->heads, c->kv_heads, c->head_dim, c->ffn,
		c->vocab, c->max_pos);
	CHECK(fclose(f) == 0);
}

/* A checkpoint's mapped files, stored as d: its logits. */
static float *
from_files(const char *dir, enum dtype d, const int *ids, int n)
{
	struct cuda_wish w = { .device.cuda = true, .tokens = ROWS, .sequences = 1, .context = 300 };
	float *logits = NULL;
	struct err e;

	model_of(&families[1]);
	put_config(&m->c, dir);
	CHECK_INT(model_save(m, dir, d, &e), 0);
	model_free(m);
	m = model_open(dir, WEIGHTS_AUTO, mach, &e);
	if (!CHECK(m && cuda_open(m, &w, &e) == 0)) {
		printf("# %s\n", e.msg);
		exit(1);
	}
	gpu = m->device;
	pool = kv_pool_numbered(gpu->pages);
	logits = in_chunks(ids, n, whole);
	close_gpu();
	return logits;
}

/* bf16 numbers are the same in bf16 and float files; float16 ones lose those that are small. */
static void
checkpoints_of_all_formats_are_taken(void)
{
	char dir[] = "/tmp/cudaserve.XXXXXX", path[256];
	int ids[N], V = mid_config().vocab;
	float *want, *got;

	if (!CHECK(mkdtemp(dir) != NULL))
		return;
	fill_ids(ids, N, V, 6);
	open_gpu(&families[1], ROWS, 1, 0);
	want = in_chunks(ids, N, whole);
	close_gpu();
	for (enum dtype d = DT_F32; d <= DT_BF16; d++) {
		got = from_files(dir, d, ids, N);
		if (d == DT_F16)
			near("float16", got, want, N, V);
		else
			CHECK(memcmp(got, want, (size_t)N * V * sizeof *got) == 0);
		free(got);
	}
	free(want);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, i ? "config.json" : "model.safetensors");
		unlink(path);
	}
	rmdir(dir);
}

static bool
opens(struct cuda_wish w, struct err *e)
{
	bool ok;

	model_of(&families[0]);
	ok = cuda_open(m, &w, e) == 0;
	if (ok)
		w.context = m->device->context;
	model_free(m);
	return ok;
}

/* The device gets what is planned, to the byte; with a byte less there is a page less, or a message that says what would fit. */
static void
memory_is_planned(void)
{
	struct cuda_wish w = { .device.cuda = true, .tokens = 256, .sequences = 4, .context = 300 };
	struct err e = { "" };
	size_t page, bytes;
	int pages;

	model_of(&families[0]);
	CHECK_INT(cuda_open(m, &w, &e), 0);
	bytes = m->device->bytes;
	pages = m->device->pages;
	page = m->device->page;
	CHECK_INT(pages, 4 * 10);
	CHECK_INT(m->device->context, 300);
	model_free(m);
	w.device.memory = (double)(bytes + CUDA_CONTEXT);
	model_of(&families[0]);
	CHECK(cuda_open(m, &w, &e) == 0 && m->device->pages == pages && m->device->bytes == bytes);
	model_free(m);
	w.device.memory--;
	model_of(&families[0]);
	CHECK(cuda_open(m, &w, &e) == 0 && m->device->pages == pages - 1 && m->device->bytes == bytes - page);
	model_free(m);
	w.kv_bytes = pages * page;
	CHECK(!opens(w, &e) && strstr(e.msg, "--kv-bytes: 327680 bytes are asked for, 319488 are left on the GPU"));
	w.kv_bytes = page - 1;
	CHECK(!opens(w, &e) && strstr(e.msg, "--kv-bytes: a page of 32 tokens takes 8192 bytes"));
	w.kv_bytes = 0;
	w.device.memory -= (double)(pages * page);
	CHECK(!opens(w, &e) && strstr(e.msg, "with turns of 256 tokens") && strstr(e.msg, "lower --turn-tokens"));
	w.tokens = KV_PAGE;
	CHECK(opens(w, &e));
	w.device.memory = 1e6;
	CHECK(!opens(w, &e) && strstr(e.msg, "too little for this model"));
}

static void
what_cannot_be_done_is_told(void)
{
	struct cuda_wish w = { .device = { .cuda = true, .index = 3 }, .tokens = 32, .sequences = 1, .context = 64 };
	char *so = xstrdup(getenv("SA_CUDA"));
	struct family odd = families[0];
	struct err e;

	CHECK(!opens(w, &e) && strstr(e.msg, "--device cuda: CUDA device 3: "));
	w.device.index = 0;
	setenv("SA_CUDA", "/nowhere/sa-cuda.so", 1);
	CHECK(!opens(w, &e) && strstr(e.msg, "--device cuda: /nowhere/sa-cuda.so is not there: it is built by `make cuda`"));
	setenv("SA_CUDA", "/proc/self/exe", 1);
	CHECK(!opens(w, &e) && strstr(e.msg, "--device cuda: "));
	setenv("SA_CUDA", so, 1);
	odd.head_dim = 24;
	model_of(&odd);
	CHECK(cuda_open(m, &w, &e) < 0 && strstr(e.msg, "--device cuda: heads of 24"));
	model_free(m);
	free(so);
}

static void
devices_are_spelt(void)
{
	static const char *const bad[] = {
		"", "gpu", "cuda:", "cuda:x", "cuda1", "cuda:0GiB", "cuda:1:", "cuda:1:2", "cuda:123", "cuda:1:24GiB:", "cuda:24gib", "cpu:1",
	};
	struct device_option d;
	struct err e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(device_option_parse(&d, bad[i], &e) < 0))
			printf("#   %s\n", bad[i]);
	CHECK(device_option_parse(&d, "cpu", &e) == 0 && !d.cuda);
	CHECK(device_option_parse(&d, "cuda", &e) == 0 && d.cuda && d.index == 0 && d.memory == 0);
	CHECK(device_option_parse(&d, "cuda:24", &e) == 0 && d.index == 24 && d.memory == 0);
	CHECK(device_option_parse(&d, "cuda:80GB", &e) == 0 && d.index == 0 && d.memory == 80e9);
	CHECK(device_option_parse(&d, "cuda:1:0.5GiB", &e) == 0 && d.index == 1 && d.memory == 1 << 29);
}

int
main(int argc, char **argv)
{
	(void)argc;
	use_simulator(argv[0]);
	mach = mach_new(1);
	RUN(logits_are_those_of_the_cpu);
	RUN(the_same_bits_in_any_chunks);
	RUN(logits_come_in_parts);
	RUN(the_same_bits_alone_and_among_others);
	RUN(pages_are_used_again);
	RUN(what_is_no_bf16_is_rounded);
	RUN(checkpoints_of_all_formats_are_taken);
	RUN(memory_is_planned);
	RUN(what_cannot_be_done_is_told);
	RUN(devices_are_spelt);
	mach_free(mach);
	return t_done();
}
