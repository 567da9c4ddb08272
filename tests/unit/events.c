/* events.c - event files as TensorBoard reads them: framing, checksums, fields */
#include "events.h"

#include <stdbool.h>
#include <unistd.h>

#include "buf.h"
#include "t.h"

static char dir[] = "/tmp/sa-events.XXXXXX";

/* RFC 3720, B.4, and the check value of the catalogue of CRCs */
static void
crc32c_has_the_known_values(void)
{
	unsigned char bytes[32] = { 0 };

	CHECK_INT(crc32c("123456789", 9), 0xe3069283);
	CHECK_INT(crc32c(bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, 32);
	CHECK_INT(crc32c(bytes, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (unsigned char)i;
	CHECK_INT(crc32c(bytes, 32), 0x46dd794e);
	CHECK_INT(crc32c("", 0), 0);
}

/* ---- a reader of its own ---- */

static uint64_t
fixed(const char *p, int bytes)
{
	uint64_t x = 0;

	for (int i = 0; i < bytes; i++)
		x |= (uint64_t)(unsigned char)p[i] << 8 * i;
	return x;
}

static uint64_t
varint(const char **p)
{
	uint64_t x = 0;

	for (int shift = 0;; shift += 7) {
		unsigned char c = (unsigned char)*(*p)++;

		x |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return x;
	}
}

static bool
checksum_holds(const char *p, size_t n, uint64_t want)
{
	uint32_t x = (uint32_t)want - 0xa282ead8;

	return (x >> 17 | x << 15) == crc32c(p, n);
}

/* The fields of a message as text: "1:d 2:7 3:'brain.Event:2' 5:{...}" with doubles left out, messages where `nested` has their number's bit. */
static void
show(struct buf *out, const char *p, size_t n, unsigned nested)
{
	for (const char *end = p + n; p < end;) {
		uint64_t key = varint(&p), len;
		float f;
		uint32_t bits;

		buf_addf(out, "%s%d:", out->n && !strchr("{\n", out->p[out->n - 1]) ? " " : "", (int)(key >> 3));
		switch (key & 7) {
		case 0:
			buf_addf(out, "%llu", (unsigned long long)varint(&p));
			break;
		case 1:
			buf_addc(out, 'd');
			p += 8;
			break;
		case 5:
			bits = (uint32_t)fixed(p, 4);
			memcpy(&f, &bits, 4);
			buf_addf(out, "%g", f);
			p += 4;
			break;
		default:
			len = varint(&p);
			if (nested & 1u << (key >> 3)) {
				buf_addc(out, '{');
				show(out, p, len, (key >> 3) == 5 ? 1u << 1 : 0);
				buf_addc(out, '}');
			} else {
				buf_addf(out, "'%.*s'", (int)len, p);
			}
			p += len;
		}
	}
}

static void
read_file(const char *path, struct buf *out)
{
	struct buf b = BUF_INIT(1 << 20);
	struct err e;

	if (!CHECK(buf_read_file(&b, path, &e) == 0))
		return;
	for (const char *p = b.p; p < b.p + b.n;) {
		size_t n = fixed(p, 8);

		if (!CHECK(checksum_holds(p, 8, fixed(p + 8, 4)) && p + 16 + n <= b.p + b.n && checksum_holds(p + 12, n, fixed(p + 12 + n, 4))))
			break;
		show(out, p + 12, n, 1u << 5 | 1u << 7);
		buf_addc(out, '\n');
		p += 16 + n;
	}
	buf_free(&b);
}

static void
a_file_holds_what_was_added(void)
{
	struct buf got = BUF_INIT(1 << 16);
	struct events ev;
	struct err e;

	if (!CHECK(events_open(&ev, dir, 0, &e) == 0))
		return;
	CHECK_INT(events_add(&ev, 1, (struct scalar[]){ { "train/loss", 2.5 }, { "train/learning_rate", 6e-7 } }, 2, &e), 0);
	CHECK_INT(events_add(&ev, 300, &(struct scalar){ "eval/loss", 0.25 }, 1, &e), 0);
	read_file(ev.path, &got);
	CHECK_STR(got.p, "1:d 2:0 3:'brain.Event:2'\n1:d 2:1 5:{1:{1:'train/loss' 2:2.5} 1:{1:'train/learning_rate' 2:6e-07}}\n1:d 2:300 5:{1:{1:'eval/loss' 2:0.25}}\n");
	CHECK(strstr(ev.path, "/events.out.tfevents.") != NULL);
	unlink(ev.path);
	events_close(&ev);
	buf_free(&got);
}

static void
a_run_that_goes_on_says_from_where(void)
{
	struct buf got = BUF_INIT(1 << 16);
	struct events ev;
	struct err e;

	if (!CHECK(events_open(&ev, dir, 20, &e) == 0))
		return;
	read_file(ev.path, &got);
	CHECK_STR(got.p, "1:d 2:0 3:'brain.Event:2'\n1:d 2:21 7:{1:1}\n");
	unlink(ev.path);
	events_close(&ev);
	buf_free(&got);
}

static void
without_a_file_nothing_is_done(void)
{
	struct events ev = { .fd = -1 };
	struct err e;

	CHECK_INT(events_add(&ev, 1, &(struct scalar){ "a", 1 }, 1, &e), 0);
	CHECK_INT(events_open(&ev, "/dev/null/x", 0, &e), -1);
	CHECK(strstr(e.msg, "/dev/null") != NULL);
	events_close(&ev);
}

int
main(void)
{
	if (!mkdtemp(dir))
		return 99;
	RUN(crc32c_has_the_known_values);
	RUN(a_file_holds_what_was_added);
	RUN(a_run_that_goes_on_says_from_where);
	RUN(without_a_file_nothing_is_done);
	rmdir(dir);
	return t_done();
}
