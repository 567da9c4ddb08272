/* log.c - what a run says while it goes */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "files.h"
#include "log.h"
#include "num.h"

#define EVERY 10.0	/* seconds between progress lines in a file */
#define REDRAW 0.2	/* on a terminal */

int
log_claim(struct log *l, const char *out, struct err *e)
{
	*l = (struct log){ .path = path_join(out, "log.jsonl"), .events.fd = -1 };
	l->fd = open(l->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (l->fd < 0)
		return err_set(e, "%s: %s", l->path, strerror(errno));
	if (flock(l->fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, "%s: another sa-train is writing into this folder", l->path);
	warn("%s: cannot be locked (%s): that no other sa-train writes into this folder is yours to see to", l->path, strerror(errno));
	return 0;
}

int
log_open(struct log *l, long keep, long steps, struct err *e)
{
	const char *term = getenv("TERM");
	struct stat st;

	l->steps = steps;
	l->bytes = keep;
	l->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	if (fstat(l->fd, &st) < 0)
		return err_set(e, "%s: %s", l->path, strerror(errno));
	if (st.st_size < keep) {
		warn("%s: steps before the checkpoint are missing in it", l->path);
		l->bytes = st.st_size;
	}
	if (ftruncate(l->fd, l->bytes) < 0)
		return err_set(e, "%s: %s", l->path, strerror(errno));
	l->shown = clock_seconds();
	return 0;
}

/* The most memory that the process has held so far, GB. */
static double
memory(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_maxrss * 1024 / 1e9;
}

/* Of the terminal, which may have been drawn wider since; a line that is longer could not be written over. */
static int
columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : INT_MAX;
}

static void
progress(struct log *l, const struct entry *en)
{
	double now = clock_seconds();
	long left = lround((double)(l->steps - en->step) * l->pace);
	bool last = en->step == l->steps;
	char text[240], mfu[32] = "";
	int n, most;

	if (!last && now - l->shown < (l->terminal ? REDRAW : EVERY))
		return;
	l->shown = now;
	if (l->peak > 0)
		snprintf(mfu, sizeof mfu, "  %.1f%% MFU", 100 * en->flops / en->seconds / l->peak);
	n = snprintf(text, sizeof text, "step %ld/%ld  epoch %.2f  loss %.4f  lr %.2e  norm %.3g  %.0f tokens/s%s  %.1f GB  %ld:%02ld:%02ld left", en->step,
		     l->steps, en->epoch, en->loss, en->lr, en->grad_norm, (double)en->tokens / en->seconds, mfu, memory(), left / 3600, left / 60 % 60, left % 60);
	if (!l->terminal) {
		warn("%s", text);
		return;
	}
	most = columns() - 1;
	n = n < most ? n : most;
	l->width = l->width < most ? l->width : most;
	fprintf(stderr, "\r%.*s%*s", n, text, l->width > n ? l->width - n : 0, "");
	fflush(stderr);
	l->width = n;
}

static void
member(struct buf *b, const char *name, double x)
{
	char text[NUM_TEXT];

	buf_addf(b, ",\"%s\":%s", name, num_text(text, x));
}

/* Append the line, which is freed. */
static int
append(struct log *l, struct buf *b, struct err *e)
{
	ssize_t got = write(l->fd, b->p, b->n);
	int rc = 0;

	if (got < 0 || (size_t)got != b->n) {
		rc = err_set(e, "%s: %s", l->path, got < 0 ? strerror(errno) : "the disk is full");
		if (got > 0 && ftruncate(l->fd, l->bytes) < 0)	/* no half a line for who reads it */
			warn("%s: ends in half a line: %s", l->path, strerror(errno));
	} else {
		l->bytes += (long)b->n;
	}
	buf_free(b);
	return rc;
}

#define REWARDS 5

/* Those that there are, by TensorBoard's names for them. How many. */
static size_t
rewards(struct scalar *to, const struct rewards *w, bool eval)
{
	const struct scalar all[2][REWARDS] = {
		{ { "train/rewards/chosen", w->chosen }, { "train/rewards/rejected", w->rejected }, { "train/rewards/accuracies", w->accuracy },
		  { "train/rewards/margins", w->margin }, { "train/kl", w->kl } },
		{ { "eval/rewards/chosen", w->chosen }, { "eval/rewards/rejected", w->rejected }, { "eval/rewards/accuracies", w->accuracy },
		  { "eval/rewards/margins", w->margin }, { "eval/kl", w->kl } },
	};
	size_t n = 0;

	for (size_t i = 0; w->there && i < REWARDS; i++)
		if (!isnan(all[eval][i].value))
			to[n++] = all[eval][i];
	return n;
}

/* The same as members of a line: "rewards/chosen", of an evaluation "eval_rewards/chosen". */
static void
add_rewards(struct buf *b, const struct scalar *of, size_t n, const char *prefix)
{
	for (size_t i = 0; i < n; i++) {
		char name[40];

		snprintf(name, sizeof name, "%s%s", prefix, strchr(of[i].tag, '/') + 1);
		member(b, name, of[i].value);
	}
}

int
log_step(struct log *l, const struct entry *en, struct err *e)
{
	struct scalar scalars[5 + REWARDS] = {
		{ "train/loss", en->loss }, { "train/learning_rate", en->lr }, { "train/grad_norm", en->grad_norm }, { "train/epoch", en->epoch },
		{ "train/tokens_per_second", (double)en->tokens / en->seconds },
	};
	size_t n = rewards(scalars + 5, &en->rewards, false);
	struct buf b = BUF_INIT(4096);

	buf_addf(&b, "{\"step\":%ld", en->step);
	member(&b, "epoch", en->epoch);
	member(&b, "loss", en->loss);
	member(&b, "lr", en->lr);
	member(&b, "grad_norm", en->grad_norm);
	buf_addf(&b, ",\"tokens\":%ld,\"supervised\":%ld", en->tokens, en->supervised);
	member(&b, "tokens_per_s", round((double)en->tokens / en->seconds));
	if (l->peak > 0)
		member(&b, "mfu", round(1e4 * en->flops / en->seconds / l->peak) / 1e4);
	add_rewards(&b, scalars + 5, n, "");
	member(&b, "seconds", round(en->seconds * 1e4) / 1e4);
	buf_adds(&b, en->spike ? ",\"spike\":true}\n" : "}\n");
	if (append(l, &b, e) < 0 || events_add(&l->events, en->step, scalars, 5 + n, e) < 0)
		return -1;
	l->pace = l->pace > 0 ? 0.95 * l->pace + 0.05 * en->seconds : en->seconds;
	progress(l, en);
	return 0;
}

int
log_eval(struct log *l, const struct evaluation *ev, struct err *e)
{
	struct scalar scalars[1 + REWARDS] = { { "eval/loss", ev->loss } };
	size_t n = rewards(scalars + 1, &ev->rewards, true);
	char right[64] = "";
	struct buf b = BUF_INIT(4096);

	buf_addf(&b, "{\"step\":%ld", ev->step);
	member(&b, "eval_loss", ev->loss);
	add_rewards(&b, scalars + 1, n, "eval_");
	buf_addf(&b, ",\"eval_supervised\":%ld", ev->supervised);
	member(&b, "seconds", round(ev->seconds * 1e4) / 1e4);
	buf_adds(&b, ev->best ? ",\"best\":true}\n" : "}\n");
	if (append(l, &b, e) < 0 || events_add(&l->events, ev->step, scalars, 1 + n, e) < 0)
		return -1;
	if (ev->rewards.there)
		snprintf(right, sizeof right, ", rewards' accuracy %.3f, margin %.3f", ev->rewards.accuracy, ev->rewards.margin);
	log_note(l, "step %ld: evaluation loss %.4f%s%s", ev->step, ev->loss, right, ev->best ? ", the lowest so far" : "");
	return 0;
}

void
log_note(struct log *l, const char *fmt, ...)
{
	va_list ap;

	if (l->width)
		fputc('\n', stderr);
	l->width = 0;
	va_start(ap, fmt);
	vwarn(fmt, ap);
	va_end(ap);
}

int
log_sync(struct log *l, struct err *e)
{
	return fsync(l->fd) < 0 ? err_set(e, "%s: %s", l->path, strerror(errno)) : 0;
}

void
log_close(struct log *l)
{
	if (l->width)
		fputc('\n', stderr);
	l->width = 0;
	events_close(&l->events);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	l->path = NULL;
}
