/* endpoint.h - where a model is: a URL, a Unix socket, or a local checkpoint
 *
 *     https://host/v1      any OpenAI-compatible server; the key from OPENAI_API_KEY
 *     unix:PATH            a server that somebody started on that socket
 *     local:DIR            one sa-serve per user and checkpoint, shared by every process that names it
 *
 * local: the first process to come takes a lock file in a 0700 directory of the user's ($XDG_RUNTIME_DIR/sa, else /tmp/sa-UID; checked for
 * owner and mode), starts sa-serve (beside this program's own file, else on PATH) on a socket there and waits until /health says ok. Each
 * client holds one connection to the server's lease socket open until it exits: the kernel closes it also after kill -9. The server ends a
 * few seconds after the last lease closes. local.h has the details. */
#ifndef SA_ENDPOINT_H
#define SA_ENDPOINT_H

#include "err.h"
#include "http.h"

struct endpoint {
	struct http_target target;
	char *model;		/* as asked for (-m, SA_MODEL) or, for local:, the checkpoint's name; NULL: asked of /v1/models before the first request */
	int lease;		/* descriptor that keeps a local server alive, or -1 */
	char *text;		/* what the user wrote, for messages */
	enum exit_status status;	/* after a failure: STATUS_USAGE (nothing given, a wrong directory) or STATUS_ENDPOINT (it does not answer) */
	bool refused;		/* the failure was a 401 or 403 */
	char *base, *path, *key, *org, *project;	/* what target points into */
};

/* What can be known without connecting: the form of `spec`, a checkpoint in DIR. 0, or -1 with why. */
int endpoint_check(const char *spec, struct err *e);

/* What tells its replies from another's, without connecting: the URL, the socket, or the checkpoint with its files' sizes and times. `spec` NULL: from
 * the environment. malloc'd; NULL when there is none. */
char *endpoint_identity(const char *spec);
/* The model's name as far as it is known without connecting: `model`, SA_MODEL, or that of a local checkpoint. malloc'd or NULL. */
char *endpoint_model(const char *spec, const char *model);

/* `spec` or, when NULL, SA_ENDPOINT, OPENAI_BASE_URL. The caller clears *ep and may set target.key (copied; NULL: from OPENAI_API_KEY) and
 * target.insecure. Starts the local server where needed and waits for it (blocking, up to two minutes for the process, then as long as it
 * takes to load). 0, or -1 with a message that says what to do and ep->status; nothing is then left to close. */
int endpoint_open(struct endpoint *ep, const char *spec, const char *model, struct err *e);
void endpoint_close(struct endpoint *ep);

#endif
