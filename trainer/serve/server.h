/* server.h - the HTTP side: libmicrohttpd's thread reads requests, hands them to the engine and sends what it makes
 *
 * One epoll thread serves all connections; one that waits for the engine is suspended, so thousands cost no threads. While suspended nobody
 * reads from it, so its descriptor is also in an epoll set of ours that only looks for the client's hanging up: server_hangups(). */
#ifndef SA_SERVER_H
#define SA_SERVER_H

#include "engine.h"
#include "err.h"

#define SERVER_BODY ((size_t)16 << 20)	/* bytes of a request's body */
#define SERVER_HEADER 16384		/* of its header */
#define SERVER_CONNECTIONS 4096

struct server;

struct server_options {
	const char *name;	/* the model's */
	const char *key;	/* what clients have to show, as a bearer token; NULL: nothing */
	const char *origin;	/* of the web pages that may ask ("*": any); NULL: none may */
	int timeout;		/* seconds: for a request to come whole, for a reply's next piece to be taken, for an idle connection */
};

/* Serve on a listening socket, which is then the server's. What *o points to must outlive it. NULL with a message. */
struct server *server_start(int listener, struct engine *e, const struct server_options *o, struct err *why);

/* A descriptor that is readable when a client has gone, and what then to call: cancels that client's request. */
int server_hangup_fd(const struct server *s);
void server_hangups(struct server *s);
/* To be called about every second: ends connections whose request has not come whole in time (408). */
void server_expire(struct server *s);

/* Refuse new requests with 503; what was taken goes on. */
void server_drain(struct server *s);
/* Requests whose reply has not been sent in full. */
int server_busy(struct server *s);
/* Close all connections and free. The engine must have been stopped (not freed) before: nothing may be suspended. */
void server_stop(struct server *s);

#endif
