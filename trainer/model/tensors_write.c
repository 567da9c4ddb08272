/* tensors_write.c - one safetensors file of float tensors, written whole or not at all */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "safetensors.h"

#define MAX_HEADER ((size_t)100 << 20)
#define BLOCK 65536	/* elements converted at a time */

static size_t
count_of(const struct tensor_out *t)
{
	size_t n = 1;
	int i;

	for (i = 0; i < t->ndim; i++)
		n *= t->shape[i];
	return n;
}

/* The 8 bytes of length and the JSON, padded with spaces so that the data is aligned to 8 bytes. */
static int
put_header(struct buf *b, const struct tensor_out *t, size_t n, enum dtype d)
{
	static const char *const names[] = { [DT_F32] = "F32", [DT_F16] = "F16", [DT_BF16] = "BF16" };
	size_t i, at = 0;
	int bad, j;

	bad = buf_add(b, "\0\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}", 8 + 31);
	for (i = 0; i < n; i++) {
		size_t bytes = count_of(&t[i]) * dtype_size(d);

		bad |= buf_addc(b, ',') | buf_json(b, t[i].name, strlen(t[i].name)) | buf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[", names[d]);
		for (j = 0; j < t[i].ndim; j++)
			bad |= buf_addf(b, "%s%lld", j ? "," : "", (long long)t[i].shape[j]);
		bad |= buf_addf(b, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
		at += bytes;
	}
	bad |= buf_addc(b, '}');
	while (b->n % 8 != 0 && !bad)
		bad = buf_addc(b, ' ');
	for (j = 0; j < 8 && !bad; j++)
		b->p[j] = (unsigned char)((uint64_t)(b->n - 8) >> 8 * j);
	return bad ? -1 : 0;
}

static int
put_data(FILE *f, const struct tensor_out *t, enum dtype d, void *block)
{
	size_t n = count_of(t), i, k;

	for (i = 0; i < n; i += k) {
		k = n - i < BLOCK ? n - i : BLOCK;
		from_float(block, t->data + i, d, k);
		if (fwrite(block, dtype_size(d), k, f) != k)
			return -1;
	}
	return 0;
}

static int
put_file(FILE *f, const struct buf *header, const struct tensor_out *t, size_t n, enum dtype d)
{
	void *block = xmalloc(BLOCK * sizeof(float));
	int rc = fwrite(header->p, 1, header->n, f) == header->n ? 0 : -1;
	size_t i;

	for (i = 0; i < n && rc == 0; i++)
		rc = put_data(f, &t[i], d, block);
	free(block);
	if (rc == 0 && (fflush(f) != 0 || fsync(fileno(f)) != 0))
		rc = -1;
	return rc;
}

/* The rename is only durable once its directory is: a checkpoint that was reported written must survive a power cut. */
static int
sync_dir(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc;

	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

int
tensors_write(const char *path, const struct tensor_out *t, size_t n, enum dtype d, struct err *e)
{
	struct buf header = BUF_INIT(MAX_HEADER);
	char tmp[PATH_MAX];
	FILE *f;
	int rc = -1;

	if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
		return err_set(e, "%.200s...: path is too long", path);
	if (put_header(&header, t, n, d) < 0) {
		err_set(e, "%s: header is too large", path);
		goto out;
	}
	f = fopen(tmp, "wbe");
	if (f) {
		rc = put_file(f, &header, t, n, d);
		if (fclose(f) != 0)
			rc = -1;
	}
	if (rc == 0)
		rc = rename(tmp, path) == 0 && sync_dir(path) == 0 ? 0 : -1;
	if (rc < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
		unlink(tmp);
	}
out:
	buf_free(&header);
	return rc;
}
