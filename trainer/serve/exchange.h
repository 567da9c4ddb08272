/* exchange.h - inside the HTTP side: one request on a connection, from its header to the end of its reply
 *
 * server.c has the connections, routes.c who may ask for what, respond.c what is sent. All of it runs on the HTTP thread but for job_wake(). */
#ifndef SA_EXCHANGE_H
#define SA_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#include "engine.h"
#include "metrics.h"
#include "server.h"

/* A connection. */
struct connection {
	LIST_ENTRY(connection) link;
	int fd;
	bool reading;		/* no request of it is being answered */
	double deadline;	/* monotonic seconds: when a request has to be there */
};

struct server {
	struct MHD_Daemon *mhd;
	struct engine *engine;
	struct server_options o;
	time_t created;
	int hangup;		/* epoll */
	atomic_bool draining;
	atomic_int busy;
	struct metrics metrics;
	pthread_mutex_t lock;	/* of the connections */
	LIST_HEAD(, connection) connections;
	int nconnections;
};

struct exchange {
	struct server *s;
	struct MHD_Connection *c;
	struct connection *connection;
	const struct route *route;	/* NULL: no such path */
	const char *rest;		/* of the path, behind the route's; valid while the handler runs */
	struct buf body;
	struct req_error why;		/* status 0: nothing speaks against it so far; else the body is dropped */
	double began;			/* monotonic seconds */
	int status;			/* of the reply; 0: none yet */
	int retry_after;		/* seconds, for 429 and 503; 0: one */
	bool counted;			/* in s->busy */
	int fd;				/* in s->hangup, or -1 */
	struct job *job;
	bool suspended;			/* guarded by the engine's lock */
};

/* ---- routes.c ---- */

/* Find the route; x->why is then what speaks against the request so far: its header, path, method, origin or key. */
void exchange_begin(struct exchange *x, const char *url, const char *method);
/* The request is whole: answer it, or have the engine do so. */
enum MHD_Result exchange_run(struct exchange *x, const char *url, const char *method);
/* Headers that depend on who asks for what: Allow, those of CORS, Connection. */
void exchange_headers(const struct exchange *x, int status, struct MHD_Response *r);
/* Count it; `ok`: the reply was sent in full. */
void exchange_count(struct exchange *x, bool ok);

/* ---- respond.c ---- */

/* The bytes of *body become the reply's. type: its media type. */
enum MHD_Result respond(struct exchange *x, int status, const char *type, struct buf *body);
enum MHD_Result respond_json(struct exchange *x, int status, struct buf *body);
enum MHD_Result respond_error(struct exchange *x, const struct req_error *e);
/* Have the engine compute *r, which is then the job's. The reply follows, or respond_job() when it is done. */
enum MHD_Result respond_request(struct exchange *x, struct request *r);
enum MHD_Result respond_job(struct exchange *x);

#endif
