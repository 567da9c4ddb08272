/* load.c - what the engine begins with */
#include "cudaopen.h"
#include "forward_device.h"
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
	size_t page = kv_page_bytes(c, e->model->ops), bytes = choose_kv_bytes(e, available), most;

	if (bytes < page && e->o.kv_bytes)
		return err_set(err, "--kv-bytes: a page of %d tokens takes %zu bytes", KV_PAGE, page);
	if (bytes < page)
		bytes = page;
	most = ((size_t)e->serving.max_context + KV_PAGE - 1) / KV_PAGE * e->o.max_active;
	if (bytes / page > most)	/* more is never needed, but for prefixes */
		bytes = (e->o.kv_bytes ? bytes / page : most) * page;
	e->kv_bytes = bytes / page * page;
	e->turn.pool = kv_pool_new(c, e->model->ops, e->kv_bytes);
	return 0;
}

/* The pass and the pages of its pool on a GPU. */
static int
make_device(struct engine *e, struct err *err)
{
	struct cuda_wish w = { .device = e->o.device, .kv_bytes = e->o.kv_bytes, .tokens = e->o.turn_tokens, .sequences = e->o.max_active,
			       .context = e->serving.max_context };

	if (cuda_open(e->model, &w, err) < 0)
		return -1;
	e->kv_bytes = e->model->device->page * e->model->device->pages;
	e->turn.pool = kv_pool_numbered(e->model->device->pages);
	return 0;
}

static int
make_turn(struct engine *e, size_t available, struct err *err)
{
	struct turn *t = &e->turn;
	int max = e->serving.max_context;

	if (e->o.device.cuda ? make_device(e, err) < 0 : make_pool(e, available, err) < 0)
		return -1;
	if (kv_usage(t->pool).pages < (max + KV_PAGE - 1) / KV_PAGE)
		e->serving.max_context = kv_usage(t->pool).pages * KV_PAGE;
	*t = (struct turn){ .model = e->model, .tok = e->tok, .mach = e->mach, .pool = t->pool, .budget = e->o.turn_tokens, .max = e->o.max_active };
	turn_init(t);
	return 0;
}

/* Converted weights have huge pages from the start. */
static bool
wants_huge(const struct engine *e, size_t available)
{
	size_t needed = 2 * weight_bytes(e->model) + e->kv_bytes;

	if (e->o.device.cuda || e->o.huge_pages == HUGE_OFF || e->model->v.converted_bytes > 0 || !huge_possible())
		return false;
	return e->o.huge_pages == HUGE_ON || available >= needed;
}

int
engine_load(struct engine *e, struct err *err)
{
	const struct engine_options *o = &e->o;
	struct serving *s = &e->serving;
	size_t available = memory_available();

	if (o->device.cuda && (o->weights == WEIGHTS_F32 || o->weights == WEIGHTS_INT8))
		return err_set(err, "--device cuda has bf16 weights and products: --weights %s is the CPU's", o->weights == WEIGHTS_INT8 ? "int8" : "f32");
	e->tok = tok_load(o->dir, err);
	if (!e->tok)
		return -1;
	if (o->template ? template_by_name(o->template, &s->template, err) < 0 : template_detect(o->dir, &s->template, err) < 0)
		return -1;
	e->model = model_open(o->dir, o->device.cuda ? WEIGHTS_AUTO : o->weights, e->mach, err);
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
	if (make_turn(e, available, err) < 0)
		return -1;
	e->huge = (struct huge){ .file = e->model->file, .mach = e->mach };
	e->moving = wants_huge(e, available);
	return 0;
}
