/* safetensors.h - tensors of a checkpoint's *.safetensors, mapped, and a writer of one
 *
 * Format: 8 bytes little-endian N, N bytes of JSON {"name":{"dtype","shape","data_offsets"},"__metadata__":{}}, data. Everything that
 * a hostile file can get wrong (header size, offsets past the end, overlaps, shapes that overflow or do not match, unknown dtypes) is refused with a message
 * that names the file and the tensor. Source: huggingface/safetensors, format description. */
#ifndef SA_SAFETENSORS_H
#define SA_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "err.h"

struct tensor {
	char *name;
	enum dtype dtype;
	int ndim;
	int64_t shape[4];
	size_t count;		/* elements */
	const void *data;	/* in the mapping; may be unaligned */
};

struct tensors;
struct mapping;

/* model.safetensors, else model.safetensors.index.json with its shards, in `dir`; each tensor in one shard, the one that the index names. */
struct tensors *tensors_open(const char *dir, struct err *e);
void tensors_close(struct tensors *t);
const struct tensor *tensors_find(const struct tensors *t, const char *name);	/* NULL when absent */
size_t tensors_count(const struct tensors *t);
const struct tensor *tensors_at(const struct tensors *t, size_t i);
/* The files that they lie in; NULL past the last. */
struct mapping *tensors_mapping(const struct tensors *t, size_t i);

/* Write one file of float tensors stored as `d`: temporary name, fsync, rename. 0, or -1 with a message. */
struct tensor_out {
	const char *name;
	int ndim;
	int64_t shape[4];
	const float *data;
};
int tensors_write(const char *path, const struct tensor_out *t, size_t n, enum dtype d, struct err *e);

#endif
