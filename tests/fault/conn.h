/* conn.h - the connections of a fault server: requests in, replies out as the script says */
#ifndef FAULT_CONN_H
#define FAULT_CONN_H

#include <stdbool.h>
#include <uv.h>

/* Answer on this loop. mute: never say or read anything. */
void conn_init(uv_loop_t *loop, bool mute);

/* uv_listen()'s callback. */
void conn_accept(uv_stream_t *server, int status);

void conn_close_all(void);

/* In fault.c: end all connections, refuse new ones, and listen again after so many ms. */
void server_down(long long ms);

#endif
