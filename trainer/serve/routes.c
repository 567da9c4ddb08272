/* routes.c - who may ask for what, and what is done for each path */
#include <string.h>
#include <strings.h>

#include "answer.h"
#include "clock.h"
#include "exchange.h"
#include "tokenize.h"

struct route {
	const char *path;
	bool prefix;
	bool open;		/* needs no key */
	const char *allow;
	enum MHD_Result (*handle)(struct exchange *x);
};

/* ---- handlers ---- */

static enum MHD_Result
not_ready(struct exchange *x)
{
	struct req_error e;

	if (atomic_load(&x->s->draining))
		req_fail(&e, 503, "", "shutting_down", "the server is shutting down");
	else
		req_fail(&e, 503, "", "loading", "the model is being loaded");
	return respond_error(x, &e);
}

static bool
is_ready(const struct exchange *x)
{
	return engine_serving(x->s->engine) && !atomic_load(&x->s->draining);
}

static enum MHD_Result
get_health(struct exchange *x)
{
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	if (!is_ready(x))
		return not_ready(x);
	buf_adds(&b, "{\"status\":\"ok\"}");
	return respond_json(x, 200, &b);
}

static enum MHD_Result
get_models(struct exchange *x)
{
	const struct serving *s = engine_serving(x->s->engine);
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	if (!is_ready(x))
		return not_ready(x);
	answer_model(&b, x->s->o.name, x->s->created, s->max_context, true);
	return respond_json(x, 200, &b);
}

static enum MHD_Result
get_model(struct exchange *x)
{
	const struct serving *s = engine_serving(x->s->engine);
	struct buf b = BUF_INIT(BUF_MAX_TEXT);
	struct req_error e;

	if (!is_ready(x))
		return not_ready(x);
	if (!req_names(s, x->rest)) {
		req_fail(&e, 404, "model", "model_not_found", "the model '%.200s' does not exist here; this server's is '%.200s'", x->rest, s->name);
		return respond_error(x, &e);
	}
	answer_model(&b, x->s->o.name, x->s->created, s->max_context, false);
	return respond_json(x, 200, &b);
}

static enum MHD_Result
post(struct exchange *x, enum req_kind kind)
{
	struct request r;
	struct req_error e;

	if (!is_ready(x))
		return not_ready(x);
	if (req_parse(&r, kind, x->body.p ? x->body.p : "", x->body.n, engine_serving(x->s->engine), &e) < 0)
		return respond_error(x, &e);
	buf_free(&x->body);
	return respond_request(x, &r);
}

static enum MHD_Result
post_chat(struct exchange *x)
{
	return post(x, REQ_CHAT);
}

static enum MHD_Result
post_completions(struct exchange *x)
{
	return post(x, REQ_COMPLETION);
}

static enum MHD_Result
convert(struct exchange *x, int (*how)(struct buf *out, const char *body, size_t n, const struct serving *s, struct req_error *e))
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	struct req_error e;

	if (!is_ready(x))
		return not_ready(x);
	if (how(&b, x->body.p ? x->body.p : "", x->body.n, engine_serving(x->s->engine), &e) == 0)
		return respond_json(x, 200, &b);
	buf_free(&b);
	return respond_error(x, &e);
}

static enum MHD_Result
post_tokenize(struct exchange *x)
{
	return convert(x, tokenize);
}

static enum MHD_Result
post_detokenize(struct exchange *x)
{
	return convert(x, detokenize);
}

static enum MHD_Result get_metrics(struct exchange *x);

#define GET "GET, HEAD, OPTIONS"
#define POST "POST, OPTIONS"

static const struct route routes[] = {
	{ "/health", false, true, GET, get_health },
	{ "/metrics", false, false, GET, get_metrics },
	{ "/v1/models", false, false, GET, get_models },
	{ "/v1/models/", true, false, GET, get_model },
	{ "/v1/chat/completions", false, false, POST, post_chat },
	{ "/v1/completions", false, false, POST, post_completions },
	{ "/tokenize", false, false, POST, post_tokenize },
	{ "/detokenize", false, false, POST, post_detokenize },
};

#define ROUTES (sizeof routes / sizeof *routes)
_Static_assert(ROUTES + 1 == METRICS_PATHS, "each path is counted, and all others as one");

/* ---- counting ---- */

static enum MHD_Result
get_metrics(struct exchange *x)
{
	const char *names[METRICS_PATHS] = { [ROUTES] = "other" };
	struct metrics_now now = { .version = SA_VERSION, .model = x->s->o.name, .started = x->s->created };
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	for (size_t i = 0; i < ROUTES; i++)
		names[i] = routes[i].path;
	engine_stats(x->s->engine, &now.engine);
	pthread_mutex_lock(&x->s->lock);
	now.connections = x->s->nconnections;
	pthread_mutex_unlock(&x->s->lock);
	metrics_text(&b, &x->s->metrics, names, &now);
	return respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

void
exchange_count(struct exchange *x, bool ok)
{
	struct metrics *m = &x->s->metrics;
	const struct job *j = x->job;
	double now = clock_seconds();

	metrics_request(m, x->route ? x->route - routes : (ptrdiff_t)ROUTES, ok && x->status ? x->status : 499, now - x->began);
	if (ok && j && j->status == 200)
		metrics_answer(m, j, x->began);
}

/* ---- who may ask ---- */

static const struct route *
find_route(const char *url)
{
	for (size_t i = 0; i < ROUTES; i++) {
		const struct route *r = &routes[i];

		if (r->prefix ? strncmp(url, r->path, strlen(r->path)) == 0 : strcmp(url, r->path) == 0)
			return r;
	}
	return NULL;
}

static bool
allowed(const struct route *r, const char *method)
{
	size_t n = strlen(method);

	for (const char *p = r->allow; *p; p += strcspn(p, ","), p += strspn(p, ", "))
		if (strcspn(p, ",") == n && memcmp(p, method, n) == 0)
			return true;
	return false;
}

/* Takes as long whatever the beginnings have in common: how far a guess is right must not show. */
static bool
same_key(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	volatile unsigned char differ = n != m;

	for (size_t i = 0; i < n; i++)
		differ |= a[i] ^ b[i < m ? i : 0];
	return !differ;
}

static bool
has_key(const struct exchange *x)
{
	const char *given = MHD_lookup_connection_value(x->c, MHD_HEADER_KIND, "Authorization");

	if (!x->s->o.key)
		return true;
	if (!given || strncasecmp(given, "Bearer ", 7) != 0)
		return false;
	return same_key(given + 7 + strspn(given + 7, " "), x->s->o.key);
}

/* A browser sends its page's origin with whatever a page may send without asking first. */
static const char *
origin(const struct exchange *x)
{
	return MHD_lookup_connection_value(x->c, MHD_HEADER_KIND, "Origin");
}

static bool
origin_allowed(const struct exchange *x)
{
	const char *given = origin(x), *ours = x->s->o.origin;

	return !given || (ours && (strcmp(ours, "*") == 0 || strcmp(ours, given) == 0));
}

static size_t
header_size(const struct exchange *x)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	return info ? info->header_size : 0;
}

void
exchange_begin(struct exchange *x, const char *url, const char *method)
{
	struct req_error *e = &x->why;

	x->route = find_route(url);
	if (header_size(x) > SERVER_HEADER)
		req_fail(e, 431, "", "header_too_large", "the request's header is larger than %d bytes", SERVER_HEADER);
	else if (!origin_allowed(x))
		req_fail(e, 403, "", "origin_not_allowed", "web pages of '%.100s' may not use this server (sa-serve --cors)", origin(x));
	else if (!x->route)
		req_fail(e, 404, "", "not_found", "no such path here; see /v1/models, /v1/chat/completions, /v1/completions, /tokenize, /detokenize, "
			"/metrics, /health");
	else if (!allowed(x->route, method))
		req_fail(e, 405, "", "method_not_allowed", "this path takes only %s", x->route->allow);
	else if (!x->route->open && strcmp(method, "OPTIONS") != 0 && !has_key(x))
		req_fail(e, 401, "", "invalid_api_key", "this server wants its key: Authorization: Bearer KEY");
}

void
exchange_headers(const struct exchange *x, int status, struct MHD_Response *r)
{
	if (status == 405 || status == 204)
		MHD_add_response_header(r, "Allow", x->route->allow);
	if (origin(x) && origin_allowed(x)) {
		MHD_add_response_header(r, "Access-Control-Allow-Origin", x->s->o.origin);
		MHD_add_response_header(r, "Vary", "Origin");
	}
	if (origin(x) && status == 204) {
		MHD_add_response_header(r, "Access-Control-Allow-Methods", x->route->allow);
		MHD_add_response_header(r, "Access-Control-Allow-Headers", "Authorization, *");
		MHD_add_response_header(r, "Access-Control-Max-Age", "600");
	}
	if (atomic_load(&x->s->draining))
		MHD_add_response_header(r, "Connection", "close");
}

enum MHD_Result
exchange_run(struct exchange *x, const char *url, const char *method)
{
	struct buf none = BUF_INIT(1);

	if (x->why.status)
		return respond_error(x, &x->why);
	if (strcmp(method, "OPTIONS") == 0)
		return respond(x, 204, NULL, &none);
	x->rest = url + strlen(x->route->path);
	return x->route->handle(x);
}
