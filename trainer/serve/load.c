/* load.c - what the engine begins with */
#include "inside.h"
#include "memory.h"

/* Mapped files count as available, but are going to be read all the time. */
static size_t
weight_bytes(const struct model *m)
{
	struct tensor_at t;
	size_t n = 0;

	for (int i = 0; model_tensor(&m->c, i, &t) == 0; i++)
		n += t.count;
	return n * dtype_size(m->v.embed.dtype);
}

/* The caches' limit: half of what was available before the checkpoint was loaded, less what that takes. */
static size_t
choose_kv_bytes(const struct engine *e, size_t available)
{
	size_t weights = weight_bytes(e->model);

	if (e->o.kv_bytes)
		return e->o.kv_bytes;
	return (available > weights ? available - weights : 0) / 2;
}

static int
make_pool(struct engine *e, size_t available, struct err *err)
{
	const struct config *c = &e->model->c;
	size_t page = kv_page_bytes(c, &ops_cpu), bytes = choose_kv_bytes(e, available), most;
	int max = e->serving.max_context;

	if (bytes < page && e->o.kv_bytes)
		return err_set(err, "--kv-bytes: a page of %d tokens takes %zu bytes", KV_PAGE, page);
	if (bytes < page)
		bytes = page;
	most = ((size_t)max + KV_PAGE - 1) / KV_PAGE * e->o.max_active;
	if (bytes / page > most)	/* more is never needed, but for prefixes */
		bytes = (e->o.kv_bytes ? bytes / page : most) * page;
	e->kv_bytes = bytes / page * page;
	if (e->kv_bytes / page * KV_PAGE < (size_t)max)
		e->serving.max_context = e->kv_bytes / page * KV_PAGE;
	e->turn = (struct turn){ .model = e->model, .tok = e->tok, .mach = e->mach, .pool = kv_pool_new(c, &ops_cpu, e->kv_bytes),
				 .budget = e->o.turn_tokens, .max = e->o.max_active };
	turn_init(&e->turn);
	return 0;
}

/* Converted weights have huge pages from the start. */
static bool
wants_huge(const struct engine *e, size_t available)
{
	size_t needed = 2 * weight_bytes(e->model) + e->kv_bytes;

	if (e->o.huge_pages == HUGE_OFF || e->model->v.converted_bytes > 0 || !huge_possible())
		return false;
	return e->o.huge_pages == HUGE_ON || available >= needed;
}

int
engine_load(struct engine *e, struct err *err)
{
	const struct engine_options *o = &e->o;
	struct serving *s = &e->serving;
	size_t available = memory_available();

	e->tok = tok_load(o->dir, err);
	if (!e->tok)
		return -1;
	if (o->template ? template_by_name(o->template, &s->template, err) < 0 : template_detect(o->dir, &s->template, err) < 0)
		return -1;
	e->model = model_open(o->dir, o->weights, &ops_cpu, e->mach, err);
	if (!e->model)
		return -1;
	if (tok_size(e->tok) > e->model->c.vocab)
		return err_set(err, "%s: the tokenizer has %d tokens, the model only %d", o->dir, tok_size(e->tok), e->model->c.vocab);
	s->tok = e->tok;
	s->date = o->date;
	s->name = o->name;
	s->path = o->dir;
	s->vocab = e->model->c.vocab;
	s->guides = guides_new(e->tok, s->vocab, e->model->c.eos, e->model->c.neos);
	s->max_context = o->max_context && o->max_context < e->model->c.max_pos ? o->max_context : e->model->c.max_pos;
	if (make_pool(e, available, err) < 0)
		return -1;
	e->huge = (struct huge){ .file = e->model->file, .mach = e->mach };
	e->moving = wants_huge(e, available);
	return 0;
}
