/* fault - an OpenAI-like server that does what a script says, to see what the filters do about it
 *
 *     fault --script FILE --ready FILE [--log FILE] [--unix PATH] [--tls CERT --tls-key KEY] [--mute]
 *
 * Listens on 127.0.0.1 (a port of the kernel's choice) or on a Unix socket, then writes the endpoint that a client is to use ("http://...",
 * "https://...", "unix:...") to the ready file. With --mute it accepts connections and never reads or says anything.
 *
 * Line n of the script answers POST request n; the last line answers all further ones. Empty lines and those that begin with # are left
 * out. A line is [LIMIT...] ACTION or [LIMIT...] mix ACTION | ACTION..., an action is [HOW...] WHAT.
 *
 * What is replied, well:
 *     ok TEXT              a chat reply with that content; \n and other JSON escapes are allowed
 *     echo-prompt          a chat reply whose content is the last message of the request
 *     seed                 a chat reply whose content is the request's seed
 *     echo                 a completions reply with the log-probability -LENGTH/10 for each word of the prompt, LENGTH its bytes, and one more
 *     length TEXT          a chat reply with finish_reason "length"
 *     null                 a chat reply with the content null
 *     refusal TEXT         a chat reply with a refusal
 *     filtered TEXT        a chat reply with finish_reason "content_filter"
 * and badly:
 *     half TEXT            the first half of the body that "ok TEXT" has, as a whole reply: truncated JSON
 *     json TEXT            status 200 with that body, whatever it is
 *     file PATH            status 200 with the body from that file
 *     status N [retry-after VALUE | retry-after-ms VALUE | retry-after-date SECONDS-FROM-NOW | code WORD]...      an error of that status; any N
 *     garbage              status 200 with a body that is no JSON
 *     noise                bytes that are no HTTP
 *     big N                status 200 with a body of N MiB of spaces
 *     endless              status 200 with a body of spaces that never ends
 *     endless-headers      status 200 with headers that never end
 *     endless-interim      interim replies (102) and never a final one
 *     cut, cut-reset       the first half of a good reply, then the connection is closed, or reset
 *     close, reset         the connection is closed, or reset, without a reply
 *     hang                 nothing, ever
 *     down MS              all connections are closed and new ones refused for so long
 *     die                  the server ends, at once
 *
 * How, any of:
 *     delay MS, delay MS-MS      after so long; the second form: a time that is a hash of the request
 *     drip MS, drip-head MS      a byte every MS of the body, or of head and body
 *     chunked, bad-chunks        in chunks; the second of them without a size
 *     claim N                    with a Content-Length that is wrong by N bytes (+3, -3)
 *     http10                     as HTTP/1.0, without a length, ended by closing
 *     then-close, then-reset     after the reply the connection is closed, or reset, without a word about it
 *     twice MS                   the reply comes once more MS after the first; 0: with it
 *     interim N                  after N interim replies (102)
 *     header NAME VALUE          with one more header (repeatable)
 *     headers N/BYTES            with N more headers, values of so many bytes
 *     usage JSON                 with that in place of usage (no spaces in it); none: without usage
 *
 * Limits, before the action or the mix:
 *     times N                    the line answers so many requests, not one
 *     slots N, slots N/STATUS    beyond N at once it says 503, or that status
 *     rate N/SECONDS             beyond N requests in so many seconds (a bucket that holds N) it says 429, with Retry-After and retry-after-ms
 *
 * A mix draws one of its actions, which then may also begin with
 *     P%                         for so many of a hundred requests
 *     first K                    only for the first K attempts of a request
 * Requests are told apart by the hash of their body, attempts by counting, so what a record meets does not depend on when it is asked about.
 * "P% first K" is the same P of a hundred bodies at each attempt, "P%" alone is drawn anew for each attempt. The first action that fits is
 * taken, else the last one. So of
 *     mix 20% first 2 status 500 | 5% first 1 cut | 1% delay 500 echo | echo
 * a fifth of the records meet 500 twice, a twentieth one cut reply, every hundredth attempt that met neither is slow.
 *
 * A line "models ACTION", anywhere, says what GET /v1/models gets; else it names one model, "fault". GET /health says ok. GET /count is an object:
 *     requests, connections      all of them (POST requests)
 *     at_once                    the most that were being answered at a time
 *     distinct                   different bodies
 *     asked                      {"1":N,"2":N...}: N bodies were asked so often
 *     paid                       bodies that got a whole good reply
 *     paid_again                 good replies beyond the first to each body
 *     actions                    {"ACTION":N...}
 *
 * Each POST request is logged as one line {"path","auth","org","project","at_once","attempt","action","body"}: at_once is how many were being
 * answered, this one included. A client that has its reply finds its request in the log. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "buf.h"
#include "conn.h"
#include "count.h"
#include "err.h"
#include "opt.h"
#include "script.h"
#include "tls.h"

#define AGAIN_MS 10	/* until the port that was given up is tried again, when it is not free */

static const char *unix_path;
static struct sockaddr_in address;	/* the port is 0 until the kernel chose it */
static uv_loop_t *loop;
static union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t stream; uv_handle_t handle; } server;
static uv_timer_t down;

static int
listen_now(void)
{
	int n = sizeof address, rc;

	if (unix_path) {
		uv_pipe_init(loop, &server.pipe, 0);
		rc = uv_pipe_bind(&server.pipe, unix_path);
	} else {
		uv_tcp_init(loop, &server.tcp);
		rc = uv_tcp_bind(&server.tcp, (struct sockaddr *)&address, 0);
	}
	if (rc == 0)
		rc = uv_listen(&server.stream, 1024, conn_accept);
	if (rc == 0 && !unix_path)
		rc = uv_tcp_getsockname(&server.tcp, (struct sockaddr *)&address, &n);
	return rc;
}

static void on_down(uv_timer_t *t);

static void
on_busy(uv_handle_t *h)
{
	(void)h;
	uv_timer_start(&down, on_down, AGAIN_MS, 0);
}

/* While nobody listened, a client's own end may have had our port. */
static void
on_down(uv_timer_t *t)
{
	(void)t;
	if (listen_now() < 0)
		uv_close(&server.handle, on_busy);
}

void
server_down(long long ms)
{
	conn_close_all();
	if (uv_is_closing(&server.handle) || uv_is_active((uv_handle_t *)&down))
		return;
	uv_close(&server.handle, NULL);
	uv_timer_start(&down, on_down, (uint64_t)ms, 0);
}

/* By another name first, so that whoever waits for the file finds it whole. */
static void
tell(const char *ready, bool tls)
{
	struct buf part = BUF_INIT(4096), where = BUF_INIT(4096);
	FILE *f;

	if (unix_path)
		buf_addf(&where, "unix:%s\n", unix_path);
	else
		buf_addf(&where, "http%s://127.0.0.1:%d/v1\n", tls ? "s" : "", ntohs(address.sin_port));
	buf_addf(&part, "%s.part", ready);
	f = fopen(part.p, "w");
	if (!f || fwrite(where.p, 1, where.n, f) != where.n || fclose(f) == EOF || rename(part.p, ready) < 0)
		die(STATUS_IO, "%s: %s", ready, strerror(errno));
	buf_free(&part);
	buf_free(&where);
}

int
main(int argc, char **argv)
{
	const char *script_path = NULL, *log_path = NULL, *ready = NULL, *cert = NULL, *key = NULL;
	bool mute = false;
	const struct opt opts[] = {
		{ "script", 0, OPT_STR, &script_path, "FILE", "what to answer", 0, 0 },
		{ "log", 0, OPT_STR, &log_path, "FILE", "where each request goes", 0, 0 },
		{ "ready", 0, OPT_STR, &ready, "FILE", "where the endpoint is written once it listens", 0, 0 },
		{ "unix", 0, OPT_STR, &unix_path, "PATH", "listen on this socket instead of 127.0.0.1", 0, 0 },
		{ "tls", 0, OPT_STR, &cert, "FILE", "speak TLS, with this certificate (PEM)", 0, 0 },
		{ "tls-key", 0, OPT_STR, &key, "FILE", "the certificate's key (PEM)", 0, 0 },
		{ "mute", 0, OPT_FLAG, &mute, NULL, "accept connections and be silent", 0, 0 },
		{ 0 },
	};
	const struct opt_usage usage = { "--script FILE --ready FILE [option ...]", "A server that does what a script says.", opts, NULL };

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &usage) != 0 || !script_path || !ready || !cert != !key)
		die(STATUS_USAGE, "usage: fault %s", usage.synopsis);
	signal(SIGPIPE, SIG_IGN);
	script_read(script_path);
	count_open_log(log_path);
	if (cert)
		tls_load(cert, key);
	loop = uv_default_loop();
	uv_timer_init(loop, &down);
	uv_ip4_addr("127.0.0.1", 0, &address);
	conn_init(loop, mute);
	if (listen_now() < 0)
		die(STATUS_IO, "cannot listen");
	tell(ready, cert);
	return uv_run(loop, UV_RUN_DEFAULT);
}
