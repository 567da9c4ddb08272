/* safetensors.c - what is written is read back, rounding, and hostile files refused by name */
#include "safetensors.h"

#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

static char dir[] = "/tmp/sa-tensors.XXXXXX";

static const char *
in_dir(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void
put_bytes(const char *name, const void *p, size_t n)
{
	FILE *f = fopen(in_dir(name), "wb");

	if (CHECK(f)) {
		CHECK_INT(fwrite(p, 1, n, f), n);
		fclose(f);
	}
}

/* A file with this header and `data` zero bytes after it. */
static void
put_file(const char *name, const char *header, size_t data)
{
	size_t n = strlen(header);
	char *p = calloc(1, 8 + n + data);

	for (int i = 0; i < 8; i++)
		p[i] = (char)((uint64_t)n >> 8 * i);
	memcpy(p + 8, header, n);
	put_bytes(name, p, 8 + n + data);
	free(p);
}

static void
forget(const char *name)
{
	unlink(in_dir(name));
}

/* Opening is refused with a message that holds the file's name and `why`. */
static void
refused(const char *file, const char *why)
{
	struct err e = { "" };
	struct tensors *t = tensors_open(dir, &e);

	CHECK(!t);
	if (!CHECK(strstr(e.msg, file) && strstr(e.msg, why)))
		printf("#   got %s\n#   want %s and %s\n", e.msg, file, why);
	tensors_close(t);
}

static void
header_refused(const char *header, size_t data, const char *why)
{
	put_file("model.safetensors", header, data);
	refused("model.safetensors", why);
	forget("model.safetensors");
}

/* ---- good files ---- */

static void
what_is_written_is_read_back(void)
{
	static const float a[6] = { 1, -2, 0.5f, 3, 65504, -0.0f }, b[1] = { 0.25f };
	static const struct tensor_out out[] = {
		{ .name = "a.weight", .ndim = 2, .shape = { 2, 3 }, .data = a }, { .name = "b \"q\"", .ndim = 0, .data = b }, { .name = "none", .ndim = 1, .shape = { 0 }, .data = a },
	};
	struct err e;

	for (enum dtype d = DT_F32; d <= DT_BF16; d++) {
		struct tensors *t;
		const struct tensor *x;
		float got[6];

		CHECK_INT(tensors_write(in_dir("model.safetensors"), out, 3, d, &e), 0);
		t = tensors_open(dir, &e);
		if (!CHECK(t))
			return;
		CHECK_INT(tensors_count(t), 3);
		CHECK_STR(tensors_at(t, 0)->name, "a.weight");
		x = tensors_find(t, "a.weight");
		if (!CHECK(x))
			return;
		CHECK_INT(x->dtype, d);
		CHECK_INT(x->ndim, 2);
		CHECK_INT(x->shape[0], 2);
		CHECK_INT(x->shape[1], 3);
		CHECK_INT(x->count, 6);
		to_float(got, x->data, d, 6);
		if (d != DT_BF16)
			CHECK(memcmp(got, a, sizeof a) == 0);
		else
			CHECK(got[0] == 1 && got[2] == 0.5f && got[4] == 65536 && signbit(got[5]));
		x = tensors_find(t, "b \"q\"");
		CHECK(x && x->count == 1 && x->ndim == 0);
		x = tensors_find(t, "none");
		CHECK(x && x->count == 0);
		CHECK(!tensors_find(t, "a"));
		CHECK(access(in_dir("model.safetensors.tmp"), F_OK) < 0);
		tensors_close(t);
	}
	forget("model.safetensors");
}

static void
a_write_that_fails_names_the_file_and_leaves_nothing(void)
{
	static const float a[1] = { 1 };
	static const struct tensor_out out = { .name = "a", .ndim = 1, .shape = { 1 }, .data = a };
	struct err e;

	CHECK_INT(tensors_write("/nowhere/model.safetensors", &out, 1, DT_F32, &e), -1);
	CHECK_STR(e.msg, "/nowhere/model.safetensors: No such file or directory");
	mkdir(in_dir("taken"), 0700);
	CHECK_INT(tensors_write(in_dir("taken"), &out, 1, DT_F32, &e), -1);
	CHECK(access(in_dir("taken.tmp"), F_OK) < 0);
	rmdir(in_dir("taken"));
}

static void
metadata_is_skipped_and_shards_are_joined(void)
{
	struct err e;
	struct tensors *t;

	put_file("s1.safetensors", "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
	put_file("s2.safetensors", "{\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,3],\"data_offsets\":[0,6]}}", 6);
	put_bytes("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"s2.safetensors\",\"a\":\"s1.safetensors\"}}", 58);
	t = tensors_open(dir, &e);
	if (CHECK(t)) {
		CHECK_INT(tensors_count(t), 2);
		CHECK(tensors_find(t, "a") && tensors_find(t, "b"));
	}
	tensors_close(t);
	put_file("s2.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8);
	refused(dir, "tensor a: in two shards");
	put_file("s2.safetensors", "{}", 0);
	refused("index.json", "tensor b: not in s2.safetensors");
	put_file("s1.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}", 8);
	refused("index.json", "tensor b: not in s2.safetensors but in s1.safetensors");
	forget("s2.safetensors");
	refused("s2.safetensors", "No such file");
	put_bytes("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", 40);
	refused("index.json", "must name files beside it, not \"../s1.safetensors\"");
	put_bytes("model.safetensors.index.json", "{\"weight_map\":{\"a\":7}}", 22);
	refused("index.json", "must name files beside it");
	put_bytes("model.safetensors.index.json", "{}", 2);
	refused("index.json", "no weight_map");
	put_bytes("model.safetensors.index.json", "{\"weight", 8);
	refused("index.json", "");
	forget("model.safetensors.index.json");
	forget("s1.safetensors");
}

/* ---- hostile files ---- */

static void
a_header_that_does_not_fit_is_refused(void)
{
	refused("model.safetensors", "No such file");
	put_bytes("model.safetensors", "", 0);
	refused("model.safetensors", "shorter than its header");
	put_bytes("model.safetensors", "\x02\0\0\0\0\0\0", 7);
	refused("model.safetensors", "shorter than its header");
	put_bytes("model.safetensors", "\x03\0\0\0\0\0\0\0{}", 10);
	refused("model.safetensors", "header of 3 bytes does not fit");
	put_bytes("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
	refused("model.safetensors", "header of 18446744073709551615 bytes does not fit");
	put_bytes("model.safetensors", "\xf8\xff\xff\xff\xff\xff\xff\xff{}", 10);
	refused("model.safetensors", "does not fit");
	forget("model.safetensors");
	mkdir(in_dir("model.safetensors"), 0700);
	refused("model.safetensors", "not a safetensors file");
	rmdir(in_dir("model.safetensors"));
}

static void
a_header_that_is_not_its_json_is_refused(void)
{
	header_refused("", 0, "not a JSON object");
	header_refused("[]", 0, "not a JSON object");
	header_refused("{\"a\":", 0, "not a JSON object");
	header_refused("{\"a\":{\"dtype\":\"F32\"},\"a\":{}}", 0, "duplicate");
	header_refused("{\"a\":3}", 0, "tensor a: dtype (none)");
	header_refused("{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "tensor a: dtype F64 is not supported");
	header_refused("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "tensor a: dtype (none)");
}

static void
shapes_that_lie_are_refused(void)
{
	header_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "tensor a: shape must be a list");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "tensor a: shape must be a list of at most 4");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "tensor a: shape holds something that is no size");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "no size");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 4, "tensor a: shape overflows");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 4, "tensor a: shape and data_offsets do not match");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "tensor a: shape and data_offsets do not match");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, "");
}

static void
offsets_that_lie_are_refused(void)
{
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor a: data_offsets must be two");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "tensor a: data_offsets must be two");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "ascending");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "ascending");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[\"0\",8]}}", 8, "data_offsets must be two");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 8, "tensor a: data_offsets 4..12 lie past the end of the file (8 bytes of data)");
	header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9223372036854775800,9223372036854775807]}}", 8, "lie past the end");
	header_refused("{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[4,12]}}", 12,
		       "tensor a: its data overlaps that of b");
	header_refused("{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlaps");
}

/* Every prefix of a good file is refused or whole. */
static void
a_truncated_file_is_refused_wherever_it_ends(void)
{
	static const float a[2] = { 1, 2 };
	static const struct tensor_out out = { .name = "a", .ndim = 1, .shape = { 2 }, .data = a };
	char bytes[512];
	size_t n, i;
	struct err e;
	FILE *f;

	CHECK_INT(tensors_write(in_dir("model.safetensors"), &out, 1, DT_F32, &e), 0);
	f = fopen(in_dir("model.safetensors"), "rb");
	if (!CHECK(f))
		return;
	n = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	for (i = 0; i < n; i++) {
		put_bytes("model.safetensors", bytes, i);
		refused("model.safetensors", "");
	}
	forget("model.safetensors");
}

/* ---- conversion ---- */

static uint16_t
stored(float f, enum dtype d)
{
	uint16_t u;

	from_float(&u, &f, d, 1);
	return u;
}

static float
loaded(uint16_t u, enum dtype d)
{
	float f;

	to_float(&f, &u, d, 1);
	return f;
}

static void
every_16_bit_value_survives(void)
{
	int wrong = 0;
	uint32_t u;

	for (enum dtype d = DT_F16; d <= DT_BF16; d++)
		for (u = 0; u < 65536; u++) {
			float f = loaded(u, d);

			wrong += isnan(f) ? !isnan(loaded(stored(f, d), d)) : stored(f, d) != u;
		}
	CHECK_INT(wrong, 0);
}

static void
half_is_exact_and_rounds_to_nearest_even(void)
{
	CHECK(loaded(0x3c00, DT_F16) == 1);
	CHECK(loaded(0x7bff, DT_F16) == 65504);
	CHECK(loaded(0x0001, DT_F16) == 0x1p-24f);
	CHECK(loaded(0x83ff, DT_F16) == -1023 * 0x1p-24f);
	CHECK(isinf(loaded(0xfc00, DT_F16)));
	CHECK_INT(stored(1 + 0x1p-11f, DT_F16), 0x3c00);		/* a tie goes to even */
	CHECK_INT(stored(1 + 3 * 0x1p-11f, DT_F16), 0x3c02);
	CHECK_INT(stored(1 + 0x1p-11f + 0x1p-20f, DT_F16), 0x3c01);
	CHECK_INT(stored(65519.99f, DT_F16), 0x7bff);
	CHECK_INT(stored(65520, DT_F16), 0x7c00);			/* up to infinity */
	CHECK_INT(stored(-1e30f, DT_F16), 0xfc00);
	CHECK_INT(stored(0x1p-25f, DT_F16), 0);				/* half of the least: to even */
	CHECK_INT(stored(0x1.000002p-25f, DT_F16), 1);
	CHECK_INT(stored(0x1.ffcp-15f, DT_F16), 0x3ff + 1);		/* rounds up into the normals */
	CHECK_INT(stored(-0.0f, DT_F16), 0x8000);
}

static void
bf16_rounds_to_nearest_even_and_keeps_nan(void)
{
	uint32_t bits = 0x7f800001;	/* a NaN whose payload is in the dropped bits */
	float nan;

	memcpy(&nan, &bits, sizeof nan);
	CHECK_INT(stored(1, DT_BF16), 0x3f80);
	CHECK_INT(stored(1 + 0x1p-8f, DT_BF16), 0x3f80);
	CHECK_INT(stored(1 + 3 * 0x1p-8f, DT_BF16), 0x3f82);
	CHECK_INT(stored(1 + 0x1p-8f + 0x1p-20f, DT_BF16), 0x3f81);
	CHECK_INT(stored(3.4e38f, DT_BF16), 0x7f80);
	CHECK_INT(stored(-INFINITY, DT_BF16), 0xff80);
	CHECK(isnan(loaded(stored(nan, DT_BF16), DT_BF16)));
	CHECK(isnan(loaded(stored(nan, DT_F16), DT_F16)));
	CHECK_INT(dtype_size(DT_F32), 4);
	CHECK_INT(dtype_size(DT_BF16), 2);
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 1;
	RUN(what_is_written_is_read_back);
	RUN(a_write_that_fails_names_the_file_and_leaves_nothing);
	RUN(metadata_is_skipped_and_shards_are_joined);
	RUN(a_header_that_does_not_fit_is_refused);
	RUN(a_header_that_is_not_its_json_is_refused);
	RUN(shapes_that_lie_are_refused);
	RUN(offsets_that_lie_are_refused);
	RUN(a_truncated_file_is_refused_wherever_it_ends);
	RUN(every_16_bit_value_survives);
	RUN(half_is_exact_and_rounds_to_nearest_even);
	RUN(bf16_rounds_to_nearest_even_and_keeps_nan);
	rmdir(dir);
	return t_done();
}
