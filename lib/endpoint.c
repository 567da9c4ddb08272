/* endpoint.c - where a model is: a URL, a Unix socket, or a local checkpoint */

#include "endpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "chat.h"
#include "local.h"
#include "retry.h"

#define MODELS_TIMEOUT 30.0	/* seconds an attempt */
#define MODELS_ATTEMPTS 4
#define BASE_UNIX "http://localhost/v1"

static const char *
from_environment(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static char *
copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* ---- what was written ---- */

static const char *
after(const char *spec, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncmp(spec, scheme, n) == 0 && spec[n] ? spec + n : NULL;
}

int
endpoint_check(const char *spec, struct err *e)
{
	const char *path;

	if (after(spec, "http://") || after(spec, "https://"))
		return 0;
	if ((path = after(spec, "unix:"))) {
		if (strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
			return err_set(e, "%s: the path of a socket has at most 107 bytes", spec);
		return 0;
	}
	if ((path = after(spec, "local:")))
		return local_check(path, e);
	return err_set(e, "%s: an endpoint is a URL (http://, https://), unix:PATH or local:DIR", spec);
}

/* ---- the model's name ---- */

static void
wait_seconds(double s)
{
	nanosleep(&(struct timespec){ (time_t)s, (long)((s - (double)(time_t)s) * 1e9) }, NULL);
}

static int
first_model(struct endpoint *ep, const struct buf *body, struct err *e)
{
	json_t *root = json_loadb(body->p ? body->p : "", body->n, 0, NULL);
	const char *id = json_string_value(json_object_get(json_array_get(json_object_get(root, "data"), 0), "id"));

	ep->model = copy(id);
	json_decref(root);
	ep->status = STATUS_USAGE;
	return id ? 0 : err_set(e, "%s: the server names no model; give -m NAME", ep->text);
}

/* Ask /v1/models; an unreachable or busy server gets as many chances as a request's first few. */
static int
ask_model(struct endpoint *ep, struct err *e)
{
	struct buf body = BUF_INIT(1 << 20);
	struct err why;
	char text[200];
	long status = 0;
	int rc = -1;

	for (int i = 1;; i++) {
		rc = http_get(&ep->target, "/models", MODELS_TIMEOUT, &body, &status, &why);
		if (i == MODELS_ATTEMPTS || (rc == 0 && status < 500 && status != 429 && status != 408))
			break;
		wait_seconds(retry_backoff(i, 1));
	}
	ep->status = STATUS_ENDPOINT;
	ep->refused = status == 401 || status == 403;
	reply_error(body.p ? body.p : "", body.n, text, sizeof text);
	http_hide_key(&ep->target, text);
	if (rc < 0)
		err_set(e, "%s: %s", ep->text, why.msg);
	else if (status == 200)
		rc = first_model(ep, &body, e);
	else if (status == 404 || status == 405)
		ep->status = STATUS_USAGE, rc = err_set(e, "%s: the server lists no models (HTTP %ld); give -m NAME", ep->text, status);
	else
		rc = err_set(e, "%s: HTTP %ld: %s", ep->text, status, text);
	buf_free(&body);
	return rc;
}

/* ---- opening ---- */

/* What goes into a header is one line. The value itself is not shown: it may be a key. */
static int
check_header(const char *what, const char *s, struct err *e)
{
	for (; s && *s; s++)
		if (*s <= ' ' || *s > '~')
			return err_set(e, "%s: must be one word of printable ASCII", what);
	return 0;
}

static int
set_url(struct endpoint *ep, const char *url, struct err *e)
{
	size_t n = strlen(url);

	while (n > 0 && url[n - 1] == '/')
		n--;
	ep->base = xstrndup(url, n);
	ep->key = copy(ep->target.key ? ep->target.key : from_environment("OPENAI_API_KEY"));
	ep->org = copy(from_environment("OPENAI_ORG_ID"));
	ep->project = copy(from_environment("OPENAI_PROJECT_ID"));
	if (check_header("OPENAI_API_KEY", ep->key, e) < 0 || check_header("OPENAI_ORG_ID", ep->org, e) < 0)
		return -1;
	return check_header("OPENAI_PROJECT_ID", ep->project, e);
}

/* A server on a Unix socket is the user's own; no key is sent unless one was given for it. */
static void
set_unix(struct endpoint *ep, const char *path)
{
	ep->base = xstrdup(BASE_UNIX);
	ep->path = copy(path);
	ep->key = copy(ep->target.key);
}

static int
set_local(struct endpoint *ep, const char *dir, struct err *e)
{
	char *name;

	ep->lease = local_open(dir, &ep->path, &name, &ep->status, e);
	if (ep->lease < 0)
		return -1;
	ep->base = xstrdup(BASE_UNIX);
	if (ep->model)
		free(name);
	else
		ep->model = name;
	return 0;
}

static int
set_target(struct endpoint *ep, struct err *e)
{
	int rc = 0;

	if (endpoint_check(ep->text, e) < 0)
		return -1;
	if (after(ep->text, "local:")) {
		rc = set_local(ep, after(ep->text, "local:"), e);
	} else if (after(ep->text, "unix:")) {
		set_unix(ep, after(ep->text, "unix:"));
	} else {
		rc = set_url(ep, ep->text, e);
	}
	ep->target = (struct http_target){ ep->base, ep->path, ep->key, ep->org, ep->project, ep->target.insecure, ep->target.http2 };
	return rc;
}

static const char *
spec_or_default(const char *spec)
{
	if (!spec)
		spec = from_environment("SA_ENDPOINT");
	return spec ? spec : from_environment("OPENAI_BASE_URL");
}

char *
endpoint_identity(const char *spec)
{
	char *id;
	size_t n;

	spec = spec_or_default(spec);
	if (!spec)
		return NULL;
	if (after(spec, "local:"))
		return local_identity(after(spec, "local:"));
	id = xstrdup(spec);
	for (n = strlen(id); n > 0 && id[n - 1] == '/'; n--)
		id[n - 1] = 0;
	return id;
}

char *
endpoint_model(const char *spec, const char *model)
{
	model = model ? model : from_environment("SA_MODEL");
	spec = spec_or_default(spec);
	if (!model && spec && after(spec, "local:"))
		return local_name(after(spec, "local:"));
	return copy(model);
}

int
endpoint_open(struct endpoint *ep, const char *spec, const char *model, struct err *e)
{
	ep->lease = -1;
	ep->status = STATUS_USAGE;
	spec = spec_or_default(spec);
	if (!spec)
		return err_set(e, "no endpoint: give -e URL (a server; the key from OPENAI_API_KEY) or -e local:DIR (a checkpoint on this machine)");
	ep->text = xstrdup(spec);
	ep->model = copy(model ? model : from_environment("SA_MODEL"));
	if (set_target(ep, e) == 0 && (ep->model || ask_model(ep, e) == 0))
		return 0;
	endpoint_close(ep);
	return -1;
}

void
endpoint_close(struct endpoint *ep)
{
	if (ep->lease >= 0)
		close(ep->lease);
	if (ep->key)
		explicit_bzero(ep->key, strlen(ep->key));
	free(ep->base);
	free(ep->path);
	free(ep->key);
	free(ep->org);
	free(ep->project);
	free(ep->model);
	free(ep->text);
	*ep = (struct endpoint){ .lease = -1, .status = ep->status, .refused = ep->refused };
}
