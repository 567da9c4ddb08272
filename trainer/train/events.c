/* events.c - TensorBoard's event files */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "events.h"
#include "files.h"

uint32_t
crc32c(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {	/* bit by bit: an event has a hundred bytes */
		crc ^= s[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void
put_fixed(struct buf *b, uint64_t x, int bytes)
{
	for (int i = 0; i < bytes; i++)
		buf_addc(b, (char)(x >> 8 * i));
}

/* ---- protocol buffers: a field's key is number << 3 | wire type ---- */

enum wire { VARINT, FIXED64, BYTES, FIXED32 = 5 };

static void
put_varint(struct buf *b, uint64_t x)
{
	for (; x >= 0x80; x >>= 7)
		buf_addc(b, (char)(x | 0x80));
	buf_addc(b, (char)x);
}

static void
put_key(struct buf *b, int field, enum wire wire)
{
	put_varint(b, (uint64_t)field << 3 | wire);
}

static void
put_bytes(struct buf *b, int field, const void *p, size_t n)
{
	put_key(b, field, BYTES);
	put_varint(b, n);
	buf_add(b, p, n);
}

static void
put_double(struct buf *b, int field, double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof bits);
	put_key(b, field, FIXED64);
	put_fixed(b, bits, 8);
}

static void
put_float(struct buf *b, int field, float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	put_key(b, field, FIXED32);
	put_fixed(b, bits, 4);
}

/* event.proto and summary.proto */
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, SESSION_STATUS = 1, SESSION_START = 1 };

static void
event_begin(struct buf *b, long step)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	put_double(b, EVENT_TIME, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
	put_key(b, EVENT_STEP, VARINT);
	put_varint(b, (uint64_t)step);
}

static uint32_t
masked(const void *p, size_t n)
{
	uint32_t crc = crc32c(p, n);

	return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* Write the event, which is freed, as one record in one write: who reads along never sees half of it. */
static int
write_event(struct events *ev, struct buf *event, struct err *e)
{
	struct buf b = BUF_INIT(1 << 20);
	ssize_t got;
	int rc = 0;

	put_fixed(&b, event->n, 8);
	put_fixed(&b, masked(b.p, 8), 4);
	buf_add(&b, event->p, event->n);
	put_fixed(&b, masked(event->p, event->n), 4);
	got = write(ev->fd, b.p, b.n);
	if (got < 0 || (size_t)got != b.n)
		rc = err_set(e, "%s: %s", ev->path, got < 0 ? strerror(errno) : "the disk is full");
	buf_free(&b);
	buf_free(event);
	return rc;
}

static int
write_head(struct events *ev, long step, struct err *e)
{
	static const char version[] = "brain.Event:2";
	struct buf b = BUF_INIT(4096), session = BUF_INIT(16);

	event_begin(&b, 0);
	put_bytes(&b, EVENT_VERSION, version, sizeof version - 1);
	if (write_event(ev, &b, e) < 0)
		return -1;
	if (step == 0)
		return 0;
	put_key(&session, SESSION_STATUS, VARINT);
	put_varint(&session, SESSION_START);
	event_begin(&b, step + 1);
	put_bytes(&b, EVENT_SESSION, session.p, session.n);
	buf_free(&session);
	return write_event(ev, &b, e);
}

int
events_open(struct events *ev, const char *dir, long step, struct err *e)
{
	char host[64] = "localhost", name[160];

	*ev = (struct events){ .fd = -1 };
	if (dir_make(dir, e) < 0)
		return -1;
	gethostname(host, sizeof host - 1);
	snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.0", (long long)time(NULL), host, (long)getpid());
	ev->path = path_join(dir, name);
	ev->fd = open(ev->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
	if (ev->fd < 0)
		return err_set(e, "%s: %s", ev->path, strerror(errno));
	return write_head(ev, step, e);
}

int
events_add(struct events *ev, long step, const struct scalar *s, size_t n, struct err *e)
{
	struct buf b = BUF_INIT(1 << 16), summary = BUF_INIT(1 << 16), value = BUF_INIT(4096);

	if (ev->fd < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		buf_clear(&value);
		put_bytes(&value, VALUE_TAG, s[i].tag, strlen(s[i].tag));
		put_float(&value, VALUE_SIMPLE, (float)s[i].value);
		put_bytes(&summary, SUMMARY_VALUE, value.p, value.n);
	}
	event_begin(&b, step);
	put_bytes(&b, EVENT_SUMMARY, summary.p, summary.n);
	buf_free(&value);
	buf_free(&summary);
	return write_event(ev, &b, e);
}

void
events_close(struct events *ev)
{
	if (ev->fd >= 0)
		close(ev->fd);
	free(ev->path);
	*ev = (struct events){ .fd = -1 };
}
