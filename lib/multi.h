/* multi.h - libcurl's multi interface on a libuv loop, by socket actions
 *
 * curl says which descriptors and which timer it wants; libuv says what happened; after every action `after` is called, where the owner
 * drains finished transfers (also when curl says that none is running). `after` is never entered from a curl callback.
 *
 * A connection's watcher lives as long as the connection. curl takes its wish back at the end of
 * each transfer and makes it again at the start of the next: obeying it to the letter would be six epoll_ctl() a request, most of what a
 * request costs the kernel. An idle connection's watcher stays armed, does not keep the loop alive, and ends the
 * connection when anything comes that nobody asked for. */
#ifndef SA_MULTI_H
#define SA_MULTI_H

#include <curl/curl.h>
#include <uv.h>

struct multi;

/* Starts libcurl too. At most max_connections stay open when idle. */
struct multi *multi_new(uv_loop_t *loop, int max_connections, void (*after)(void *arg), void *arg);
void multi_free(struct multi *m);	/* no transfer may be in it; handles close in the loop's next turn */

void multi_prepare(struct multi *m, CURL *easy);	/* once for each handle, before its first transfer */
int multi_add(struct multi *m, CURL *easy);	/* 0 or -1 */
void multi_remove(struct multi *m, CURL *easy);
CURL *multi_finished(struct multi *m, CURLcode *result);	/* the next transfer that has ended, still in it; NULL: no more */
void multi_kick(struct multi *m);	/* `after` is called in the loop's next turn */

#endif
