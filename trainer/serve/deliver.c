/* deliver.c - what a turn brought to a job: built without the lock, handed over with it */
#include <stdlib.h>

#include "answer.h"
#include "clock.h"
#include "inside.h"
#include "stop.h"

static struct answer
job_answer(struct engine *e, struct job *j)
{
	return (struct answer){ j->id, j->created, e->serving.name, e->tok, &j->req };
}

/* Give the bytes of *b to the client's side; `done`: they are the last. */
static void
hand_over(struct engine *e, struct job *j, struct buf *b, int status, bool done)
{
	engine_lock(e);
	if (j->out.n == 0) {
		struct buf empty = j->out;

		j->out = *b;
		*b = empty;
	} else {
		buf_add(&j->out, b->p, b->n);
	}
	j->status = status;
	j->done = done;
	if (done) {
		TAILQ_REMOVE(&e->jobs, j, all);
		queue_remove(&e->queue, j);
	}
	j->wake(j);
	engine_unlock(e);
	buf_free(b);
}

void
deliver_done(struct engine *e, struct job *j)
{
	struct answer a = job_answer(e, j);
	struct buf b = BUF_INIT(j->out.max);
	struct choice **c = xcalloc(j->nseq, sizeof *c);

	for (size_t i = 0; i < j->nseq; i++) {
		c[i] = &j->seq[i].c;
		j->generated += c[i]->generated;
	}
	j->ended = clock_seconds();
	if (j->req.stream)
		answer_done(&b, &a, c, j->nseq);
	else
		answer_whole(&b, &a, c, j->nseq);
	hand_over(e, j, &b, 200, true);
	free(c);
	job_release(e, j);
}

void
deliver_error(struct engine *e, struct job *j, const struct req_error *why)
{
	struct buf b = BUF_INIT(j->out.max);

	buf_adds(&b, j->req.stream ? "data: " : "");
	answer_error(&b, why);
	buf_adds(&b, j->req.stream ? "\n\n" : "");
	hand_over(e, j, &b, why->status, true);
	job_release(e, j);
}

void
deliver_stream(struct engine *e, struct job *j, struct choice *c)
{
	struct answer a = job_answer(e, j);
	struct buf b = BUF_INIT(j->out.max);
	size_t end = c->text.n;

	if (c->finish == FINISH_NONE) {
		end -= stops_hold(&j->req.stop, c->text.p, c->from, end);
		end = end <= c->sent ? c->sent : c->sent + utf8_whole(c->text.p + c->sent, end - c->sent);
	}
	if (j->req.kind == REQ_CHAT && c->generated == 1)
		answer_role(&b, &a, c->index);
	answer_delta(&b, &a, c, end);
	if (c->finish != FINISH_NONE)
		answer_finish(&b, &a, c);
	if (b.n > 0)
		hand_over(e, j, &b, 200, false);
	buf_free(&b);
}
