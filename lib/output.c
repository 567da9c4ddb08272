/* output.c - where finished lines go: standard output, or a function */

#include "output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"
#include "thread.h"

#define CHUNK ((size_t)64 << 10)	/* bytes from which a flush is worth a write: a pipe's capacity */
#define PIECES 256		/* in one write; lines that lie side by side are one piece */

/* Whole lines. */
struct batch {
	struct slice piece[PIECES];
	size_t n, bytes;
};

/* The thread has `batch` to itself while it is busy. */
struct writer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn;	/* busy or stop has changed */
	bool busy, stop;
	bool wanted;		/* somebody asked while it was busy: a wake when it is through */
	uv_async_t *wake;
	struct batch batch;
	int error;
};

struct output {
	int (*write)(void *arg, const char *line, size_t n);
	void *arg;
	struct batch kept;
	int error;
	bool threaded, never_blocks, is_pipe;
	uv_async_t *wake;
	struct writer *writer;	/* started when something first might block */
};

struct output *
output_new(int (*write_line)(void *arg, const char *line, size_t n), void *arg)
{
	struct output *o = xcalloc(1, sizeof *o);
	struct stat st;

	o->write = write_line;
	o->arg = arg;
	if (!write_line && fstat(STDOUT_FILENO, &st) == 0) {
		o->never_blocks = S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(STDOUT_FILENO));
		o->is_pipe = S_ISFIFO(st.st_mode);
	}
	return o;
}

static void
drop_pieces(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		block_drop(b->piece[i].block);
	b->n = b->bytes = 0;
}

/* ---- writing ---- */

/* The first `done` bytes of *v and those behind it are written. */
static struct iovec *
skip(struct iovec *v, size_t done)
{
	for (; done > 0 && done >= v->iov_len; v++)
		done -= v->iov_len;
	if (done > 0) {
		v->iov_base = (char *)v->iov_base + done;
		v->iov_len -= done;
	}
	return v;
}

/* All of it. 0 or errno. */
static int
write_batch(const struct batch *b)
{
	struct iovec vec[PIECES], *v = vec;
	size_t left = b->bytes;
	int error = 0;

	for (size_t i = 0; i < b->n; i++)
		vec[i] = (struct iovec){ .iov_base = (char *)b->piece[i].p, .iov_len = b->piece[i].n };
	while (!error && left > 0) {
		ssize_t n = writev(STDOUT_FILENO, v, (int)(vec + b->n - v));

		if (n >= 0) {
			left -= (size_t)n;
			v = skip(v, (size_t)n);
		} else if (errno == EAGAIN) {	/* somebody else made it non-blocking: wait as a blocking write would */
			poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
		} else if (errno != EINTR) {
			error = errno;
		}
	}
	return error;
}

/* ---- the thread ---- */

static void *
writer_main(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		int error;

		while (!w->busy && !w->stop)
			pthread_cond_wait(&w->turn, &w->lock);
		if (!w->busy)
			break;
		pthread_mutex_unlock(&w->lock);
		error = write_batch(&w->batch);
		pthread_mutex_lock(&w->lock);
		w->error = w->error ? w->error : error;
		w->busy = false;
		pthread_cond_broadcast(&w->turn);
		if (w->wake && (w->wanted || error))
			uv_async_send(w->wake);
		w->wanted = false;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static struct writer *
writer_new(uv_async_t *wake)
{
	struct writer *w = xcalloc(1, sizeof *w);

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->turn, NULL);
	w->wake = wake;
	if (thread_start(&w->thread, writer_main, w) != 0)
		die(STATUS_IO, "cannot start the writing thread");
	return w;
}

static void
writer_free(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->turn);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	drop_pieces(&w->batch);
	pthread_cond_destroy(&w->turn);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* Is it at work? If not, *error is what has become of what it had. That is freed here, by the thread that allocates: the other would fight for its arena. */
static bool
writer_busy(struct writer *w, bool wait, int *error)
{
	bool busy;

	pthread_mutex_lock(&w->lock);
	while (wait && w->busy)
		pthread_cond_wait(&w->turn, &w->lock);
	busy = w->wanted = w->busy;
	if (!busy && w->error)
		*error = w->error;
	pthread_mutex_unlock(&w->lock);
	if (!busy)
		drop_pieces(&w->batch);
	return busy;
}

static void
writer_give(struct writer *w, struct batch *b)
{
	pthread_mutex_lock(&w->lock);
	w->batch = *b;
	w->busy = true;
	pthread_cond_broadcast(&w->turn);
	pthread_mutex_unlock(&w->lock);
	b->n = b->bytes = 0;
}

/* ---- the output ---- */

void
output_free(struct output *o)
{
	writer_free(o->writer);
	drop_pieces(&o->kept);
	free(o);
}

void
output_thread(struct output *o, uv_async_t *wake)
{
	o->threaded = o->threaded || wake;
	o->wake = wake;
	if (!o->writer)
		return;
	pthread_mutex_lock(&o->writer->lock);
	o->writer->wake = wake;
	pthread_mutex_unlock(&o->writer->lock);
}

/* A pipe that can be written to has room for PIPE_BUF bytes at least (pipe(7)). */
static bool
would_not_block(const struct output *o)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return !o->threaded || o->never_blocks || (o->is_pipe && o->kept.bytes <= PIPE_BUF && poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
}

static int
flush(struct output *o, bool wait)
{
	if (o->writer && writer_busy(o->writer, wait, &o->error))
		return o->error;
	if (o->error) {
		drop_pieces(&o->kept);
	} else if (o->kept.n > 0 && would_not_block(o)) {
		o->error = write_batch(&o->kept);
		drop_pieces(&o->kept);
	} else if (o->kept.n > 0) {
		if (!o->writer)
			o->writer = writer_new(o->wake);
		writer_give(o->writer, &o->kept);
	}
	return o->error;
}

int
output_flush(struct output *o)
{
	return flush(o, false);
}

int
output_finish(struct output *o)
{
	flush(o, true);
	if (o->writer)
		writer_busy(o->writer, true, &o->error);
	return o->error;
}

bool
output_full(const struct output *o)
{
	int error;

	return o->writer && (o->kept.bytes >= CHUNK || o->kept.n == PIECES) && writer_busy(o->writer, false, &error);
}

static void
keep(struct batch *b, struct slice s)
{
	struct slice *last = b->n ? &b->piece[b->n - 1] : NULL;

	b->bytes += s.n;
	if (last && last->block == s.block && last->p + last->n == s.p) {
		last->n += s.n;
		block_drop(s.block);
	} else {
		b->piece[b->n++] = s;
	}
}

void
output_slice(struct output *o, struct slice s)
{
	if (o->error || o->write) {
		if (!o->error && o->write(o->arg, s.p, s.n) < 0)
			o->error = EIO;
		block_drop(s.block);
		return;
	}
	/* A line never shares a write with the beginning of another that does not fit. */
	if (o->kept.n > 0 && o->kept.bytes + s.n > CHUNK)
		output_flush(o);
	if (o->kept.n == PIECES)	/* given although it was full */
		flush(o, true);
	keep(&o->kept, s);
	if (o->kept.bytes >= CHUNK || o->kept.n == PIECES)
		output_flush(o);
}

void
output_line(struct output *o, const char *line, size_t n)
{
	struct block *b = o->write ? NULL : block_new(n);

	if (b)
		line = memcpy(b->p, line, n);
	output_slice(o, (struct slice){ b, line, n });
}

bool
output_gone(const struct output *o)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return !o->write && poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}
