/* safetensors.c - checkpoints' tensor files, which come from anywhere
 *
 * A file is refused with a message, or all bytes of all its tensors can be read, none outside the file, and every tensor is found by its name.
 * The first byte says whether the rest is model.safetensors or an index whose only shard is there. */
#include "fuzz.h"

#include "safetensors.h"

/* One tensor "a" of two floats. */
static const char shard[] = "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  \0\0\x80\x3f\0\0\0\x40";

static void
check(const struct tensors *t, size_t file)
{
	const char *low = NULL, *high = NULL;

	for (size_t i = 0; i < tensors_count(t); i++) {
		const struct tensor *one = tensors_at(t, i);
		size_t count = 1, bytes = one->count * dtype_size(one->dtype);
		const char *p = one->data;
		volatile char sum = 0;

		MUST(one->ndim >= 0 && one->ndim <= 4 && tensors_find(t, one->name) == one);
		for (int d = 0; d < one->ndim; d++) {
			MUST(one->shape[d] >= 0);
			count *= (size_t)one->shape[d];
		}
		MUST(count == one->count && bytes <= file);
		for (size_t k = 0; k < bytes; k++)
			sum += p[k];
		(void)sum;
		low = bytes && (!low || p < low) ? p : low;
		high = bytes && (!high || p + bytes > high) ? p + bytes : high;
	}
	MUST(!low || (size_t)(high - low) <= file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	bool index = fuzz_byte(&data, &n) & 1;
	struct err e = { "" };
	struct tensors *t;

	if (!fuzz_dir[0])
		fuzz_in_dir("a.safetensors", shard, sizeof shard - 1);
	fuzz_forget("model.safetensors");
	t = tensors_open(fuzz_in_dir(index ? "model.safetensors.index.json" : "model.safetensors", data, n), &e);
	if (t)
		check(t, index ? sizeof shard - 1 : n);
	else
		MUST(e.msg[0]);
	tensors_close(t);
	return 0;
}
