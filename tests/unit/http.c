/* http - requests, connections that end, time-outs, cancelling and keys, against small servers */

#include <curl/curl.h>
#include <dirent.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "buf.h"
#include "key.h"
#include "place.h"
#include "retry.h"
#include "server.h"

/* ---- plain requests ---- */

static void
a_request_has_what_a_server_needs_and_asks_for_no_compression(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	c.target.org = "some-org";
	ask(&c, "{\"a\":1}", 7, 60, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 200);
	CHECK_STR(g.body, "hello");
	CHECK_STR(g.r.why, "");
	CHECK(g.r.sent);
	CHECK(g.r.retry_after < 0);
	client_close(&c);
	server_stop(&s);
	CHECK(strncmp(s.head, "POST /v1/x HTTP/1.1\r\n", 21) == 0);
	CHECK(strstr(s.head, "\r\nAuthorization: Bearer " KEY "\r\n"));
	CHECK(strstr(s.head, "\r\nContent-Type: application/json\r\n"));
	CHECK(strstr(s.head, "\r\nOpenAI-Organization: some-org\r\n"));
	CHECK(!strstr(s.head, "OpenAI-Project"));
	CHECK(!strstr(s.head, "Accept-Encoding"));
	CHECK(strstr(s.head, "\r\nUser-Agent: sa/"));
}

static void
connections_are_used_again_and_the_target_may_change(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	for (int i = 0; i < 20; i++)
		ask(&c, "{}", 2, 60, &g);
	CHECK_INT(s.connections, 1);
	CHECK_INT(s.requests, 20);
	c.target.key = "another";
	ask(&c, "{}", 2, 60, &g);
	CHECK_STR(g.body, "hello");
	pthread_mutex_lock(&s.lock);
	CHECK(strstr(s.head, "Bearer another\r\n"));
	pthread_mutex_unlock(&s.lock);
	c.target.key = NULL;
	ask(&c, "{}", 2, 60, &g);
	CHECK_STR(g.body, "hello");
	client_close(&c);
	server_stop(&s);
	CHECK(!strstr(s.head, "Authorization"));
}

static void
a_large_body_is_sent_without_waiting_for_leave(void)
{
	struct server s;
	struct client c;
	struct got g;
	size_t n = (size_t)3 << 20;
	char *body = malloc(n);

	memset(body, 'x', n);
	server_start(&s, NULL, serve_text, OK(2) "ok", strlen(OK(2) "ok"));
	client_open(&c, s.base);
	ask(&c, body, n, 60, &g);
	CHECK_STR(g.body, "ok");
	pthread_mutex_lock(&s.lock);
	CHECK(strstr(s.head, "Content-Length: 3145728\r\n"));
	CHECK(!strstr(s.head, "Expect"));
	pthread_mutex_unlock(&s.lock);
	ask(&c, "{}", 2, 60, &g);	/* and a small one by the same handle */
	CHECK_STR(g.body, "ok");
	client_close(&c);
	server_stop(&s);
	CHECK(strstr(s.head, "Content-Length: 2\r\n"));
	free(body);
}

static void
a_unix_socket_does_as_well(void)
{
	char path[64];
	struct server s;
	struct client c;
	struct got g;

	snprintf(path, sizeof path, "/tmp/http-test-%ld", (long)getpid());
	server_start(&s, path, serve_text, OK(2) "ok", strlen(OK(2) "ok"));
	setenv("http_proxy", "http://127.0.0.1:1", 1);	/* not for this */
	client_open(&c, "http://localhost/v1");
	c.target.unix_path = path;
	for (int i = 0; i < 3; i++)
		ask(&c, "{}", 2, 60, &g);
	unsetenv("http_proxy");
	CHECK_STR(g.body, "ok");
	CHECK_INT(s.connections, 1);
	client_close(&c);
	server_stop(&s);
	unlink(path);
}

static void
retry_after_comes_with_the_reply(void)
{
	static const char text[] = "HTTP/1.1 429 No\r\nRetry-After: 7\r\nretry-after-ms: 250\r\nContent-Length: 2\r\n\r\n{}";
	struct got g;

	ask_server(serve_text, text, sizeof text - 1, &g);
	CHECK_INT(g.r.status, 429);
	CHECK_NUM(g.r.retry_after, 0.25, 1e-9);
}

static void
get_waits_for_the_answer(void)
{
	struct server s;
	struct buf out = BUF_INIT(1 << 16);
	struct err e;
	long status;

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	CHECK_INT(http_get(&(struct http_target){ .base = s.base }, "/models", 60, &out, &status, &e), 0);
	CHECK_INT(status, 200);
	CHECK_STR(out.p, "hello");
	server_stop(&s);
	CHECK(strncmp(s.head, "GET /v1/models HTTP/1.1\r\n", 25) == 0);
	CHECK_INT(http_get(&(struct http_target){ .base = "http://127.0.0.1:1/v1" }, "/models", 60, &out, &status, &e), -1);
	CHECK_INT(status, 0);
	CHECK(strstr(e.msg, "127.0.0.1"));
	buf_free(&out);
}

/* ---- connections that end ---- */

/* Every connection answers one request and is closed. */
static void
serve_and_close(struct conn *c)
{
	if (!read_request(c))
		return;
	says(c, OK(2) "ok");
	shutdown(c->fd, SHUT_RDWR);
	c->server->flag++;
}

static void
a_kept_connection_that_was_closed_in_between_is_no_failed_attempt(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_and_close, NULL, 0);
	client_open(&c, s.base);
	for (int i = 1; i <= 5; i++) {
		ask(&c, "{}", 2, 60, &g);
		CHECK_INT(g.r.curl, 0);
		CHECK_STR(g.body, "ok");
		wait_for(&s.flag, i);
	}
	client_close(&c);
	server_stop(&s);
	CHECK_INT(s.connections, 5);
	CHECK_INT(s.requests, 5);
}

/* The second request on a connection is read, and then the connection is closed or reset without a byte. */
static void
serve_one_and_break(struct conn *c)
{
	struct linger hard = { 1, 0 };

	if (!read_request(c) || !says(c, OK(2) "ok") || !read_request(c))
		return;
	if (c->number % 2)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	shutdown(c->fd, SHUT_RDWR);
}

static void
a_kept_connection_that_breaks_under_the_request_is_replaced(void)
{
	struct server s;
	struct client c;
	struct got g;

	server_start(&s, NULL, serve_one_and_break, NULL, 0);
	client_open(&c, s.base);
	for (int i = 0; i < 6; i++) {
		ask(&c, "{}", 2, 60, &g);
		CHECK_INT(g.r.curl, 0);
		CHECK_STR(g.body, "ok");
	}
	client_close(&c);
	server_stop(&s);
	CHECK_INT(s.connections, 6);
	CHECK_INT(s.requests, 11);
}

/* The first reply is followed by what looks like another one. `text` says whether at once or a little later. */
static void
serve_too_much(struct conn *c)
{
	static const char more[] = OK(4) "evil";
	bool at_once = c->server->n > 0;

	if (!read_request(c))
		return;
	if (c->number > 1) {
		says(c, OK(4) "good");
	} else if (at_once) {
		says(c, OK(5) "first" OK(4) "evil");
	} else {
		says(c, OK(5) "first");
		poll(NULL, 0, 50);
		says(c, more);
	}
	c->server->flag++;
	read_request(c);
	says(c, OK(5) "worse");
}

static void
what_comes_after_a_reply_is_not_the_next_reply(void)
{
	for (size_t at_once = 0; at_once < 2; at_once++) {
		struct server s;
		struct client c;
		struct got g;

		server_start(&s, NULL, serve_too_much, "", at_once);
		client_open(&c, s.base);
		ask(&c, "{}", 2, 60, &g);
		CHECK_STR(g.body, "first");
		wait_for(&s.flag, 1);
		poll(NULL, 0, 20);
		ask(&c, "{}", 2, 60, &g);
		if (!CHECK_STR(g.body, "good"))
			printf("# at once: %zu\n", at_once);
		client_close(&c);
		server_stop(&s);
	}
}

/* ---- time ---- */

static void
serve_slowly(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD "\r\n"))
		while (says(c, "x"))
			poll(NULL, 0, 10);
}

static void
serve_nothing(struct conn *c)
{
	read_request(c);
	read_request(c);
}

static void
an_attempt_ends_at_its_time_out(void)
{
	static const struct {
		void (*serve)(struct conn *);
		const char *why;
	} cases[] = { { serve_slowly, "it had begun" }, { serve_nothing, "none had begun" } };
	struct server s;
	struct client c;
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		server_start(&s, NULL, cases[i].serve, NULL, 0);
		client_open(&c, s.base);
		ask(&c, "{}", 2, 0.3, &g);
		CHECK_INT(g.r.curl, CURLE_OPERATION_TIMEDOUT);
		CHECK(g.r.seconds >= 0.29);
		CHECK(strstr(g.r.why, "0.3 seconds") && strstr(g.r.why, cases[i].why));
		CHECK(g.r.sent);
		CHECK_INT(retry_verdict(&g.r, &class), VERDICT_AGAIN);
		CHECK_INT(class, NET);
		client_close(&c);
		server_stop(&s);
	}
}

static void
time_outs_of_all_lengths_end_in_their_order(void)
{
	static const double seconds[] = { 0.4, 0.1, 60, 0.2, 0.3, 0.1 };
	struct server s;
	struct client c;
	struct got g[LEN(seconds)];
	struct http_req *r[LEN(seconds)];

	memset(g, 0, sizeof g);
	server_start(&s, NULL, serve_nothing, NULL, 0);
	client_open(&c, s.base);
	for (size_t i = 0; i < LEN(seconds); i++)
		r[i] = http_post(c.http, &c.target, "/x", "{}", 2, seconds[i], on_done, &g[i]);
	while (!g[0].calls)
		uv_run(&c.loop, UV_RUN_ONCE);
	for (size_t i = 0; i < LEN(seconds); i++)
		if (seconds[i] < 1) {
			CHECK_INT(g[i].calls, 1);
			CHECK_INT(g[i].r.curl, CURLE_OPERATION_TIMEDOUT);
			CHECK(g[i].r.seconds >= seconds[i] - 0.01);
		}
	CHECK_INT(g[2].calls, 0);
	http_cancel(r[2]);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g[2].calls, 1);
	client_close(&c);
	server_stop(&s);
}

static void
what_was_never_connected_was_never_sent(void)
{
	struct got g;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	char base[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct http_result *r = &g.r;

	if (!CHECK(bind(fd, (void *)&in, sizeof in) == 0 && getsockname(fd, (void *)&in, &len) == 0))
		return;
	snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(in.sin_port));	/* bound, and nobody listens: refused */
	ask_one(base, &g);
	close(fd);
	CHECK_INT(r->curl, CURLE_COULDNT_CONNECT);
	CHECK(!r->sent);
	CHECK(retry_unreached(r));
	ask_one("http://127.0.0.1:99999/v1", &g);
	CHECK_INT(r->curl, CURLE_URL_MALFORMAT);
	CHECK(!r->sent);
	ask_one("ftp://127.0.0.1/v1", &g);
	CHECK_INT(r->curl, CURLE_UNSUPPORTED_PROTOCOL);
	CHECK(!r->sent);
}

/* A listener whose queue is full lets nobody in. */
static void
a_time_out_before_the_connection_says_so(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	struct client c;
	struct got g;
	char base[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0), queue[8];

	if (!CHECK(bind(fd, (void *)&in, sizeof in) == 0 && listen(fd, 0) == 0 && getsockname(fd, (void *)&in, &len) == 0))
		return;
	for (size_t i = 0; i < LEN(queue); i++) {
		queue[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(queue[i], (void *)&in, sizeof in);
	}
	snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(in.sin_port));
	client_open(&c, base);
	ask(&c, "{}", 2, 0.3, &g);
	CHECK_INT(g.r.curl, CURLE_OPERATION_TIMEDOUT);
	CHECK(!g.r.sent);
	CHECK(strstr(g.r.why, "not connected"));
	client_close(&c);
	for (size_t i = 0; i < LEN(queue); i++)
		close(queue[i]);
	close(fd);
}

/* ---- cancelling ---- */

static void
a_cancelled_request_ends_once_and_later(void)
{
	struct server s;
	struct client c;
	struct got g = { 0 };
	struct http_req *r;

	server_start(&s, NULL, serve_nothing, NULL, 0);
	client_open(&c, s.base);
	r = http_post(c.http, &c.target, "/x", "{}", 2, 60, on_done, &g);
	http_cancel(r);
	CHECK_INT(g.calls, 0);
	http_cancel(r);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g.calls, 1);
	CHECK(g.r.cancelled);
	CHECK(!g.r.sent);
	r = http_post(c.http, &c.target, "/x", "{}", 2, 60, on_done, &g);
	while (s.requests == 0)
		uv_run(&c.loop, UV_RUN_NOWAIT);
	http_cancel(r);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(g.calls, 2);
	CHECK(g.r.cancelled);
	CHECK(g.r.sent);
	client_close(&c);
	server_stop(&s);
}

static int
open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 3;	/* ., .. and the directory */
}

/* Many requests with random ends: a storm of them, each with a place of its own in `slots`. */
#define SLOTS 64
struct storm {
	struct client *client;
	int left, good, cancelled, other;
	unsigned seed;
	struct slot {
		struct storm *storm;
		struct http_req *req;
		char *body;	/* borrowed until done: freed there, at once */
	} slots[SLOTS];
};

static void storm_next(struct slot *s);

static void
on_storm_done(void *arg, const struct http_result *r)
{
	struct slot *s = arg;
	struct storm *m = s->storm;
	struct slot *victim = &m->slots[rand_r(&m->seed) % SLOTS];

	s->req = NULL;
	memset(s->body, 'z', strlen(s->body));
	free(s->body);
	if (r->cancelled)
		m->cancelled++;
	else if (r->curl == 0 && r->status == 200 && strcmp(r->body, "hello") == 0)
		m->good++;
	else
		m->other++;
	if (victim->req && rand_r(&m->seed) % 4 == 0)
		http_cancel(victim->req);
	storm_next(s);
}

static void
storm_next(struct slot *s)
{
	struct storm *m = s->storm;

	if (m->left == 0)
		return;
	m->left--;
	s->body = strdup("{\"some\":\"body\"}");
	s->req = http_post(m->client->http, &m->client->target, rand_r(&m->seed) % 8 ? "/a" : "/b", s->body, strlen(s->body), 60, on_storm_done, s);
	if (rand_r(&m->seed) % 32 == 0)
		http_cancel(s->req);
}

static void
ten_thousand_requests_with_random_cancels_leave_nothing(void)
{
	int before = open_files();
	struct server s;
	struct client c;
	struct storm m = { .client = &c, .left = 10000, .seed = 7 };

	server_start(&s, NULL, serve_text, OK(5) "hello", strlen(OK(5) "hello"));
	client_open(&c, s.base);
	for (size_t i = 0; i < SLOTS; i++) {
		m.slots[i].storm = &m;
		storm_next(&m.slots[i]);
	}
	uv_run(&c.loop, UV_RUN_DEFAULT);
	CHECK_INT(m.good + m.cancelled + m.other, 10000);
	CHECK_INT(m.other, 0);
	CHECK(m.cancelled > 500);
	CHECK(m.good > 5000);
	client_close(&c);
	server_stop(&s);
	CHECK_INT(open_files(), before);
}

/* ---- keys ---- */

/* libcurl's allocator, looking at what is freed. */
static bool watching;
static int freed_with_key;

static void
watch_free(void *p)
{
	if (watching && p && strncmp(p, "Authorization: Bearer ", 22) == 0)
		freed_with_key++;
	free(p);
}

static void
a_header_with_a_key_is_wiped_before_it_is_freed(void)
{
	struct http_target t = { .base = "http://127.0.0.1/v1", .key = KEY };
	struct curl_slist *plain = curl_slist_append(NULL, "Authorization: Bearer x");

	watching = true;
	curl_slist_free_all(plain);
	CHECK_INT(freed_with_key, 1);	/* the watch works */
	place_free(place_new(&t, "/x"));
	CHECK_INT(freed_with_key, 1);
	watching = false;
}

static void
a_guarded_process_leaves_no_core(void)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
		if (prctl(PR_GET_DUMPABLE) != 1 || key_guard() != 0 || prctl(PR_GET_DUMPABLE) != 0)
			_exit(1);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (!CHECK(child > 0 && waitpid(child, &status, 0) == child))
		return;
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(!WCOREDUMP(status));
}

int
main(void)
{
	tests_start();
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, watch_free, realloc, strdup, calloc);
	RUN(a_guarded_process_leaves_no_core);	/* first: it forks, and there are no threads yet */
	RUN(a_header_with_a_key_is_wiped_before_it_is_freed);
	RUN(a_request_has_what_a_server_needs_and_asks_for_no_compression);
	RUN(connections_are_used_again_and_the_target_may_change);
	RUN(a_large_body_is_sent_without_waiting_for_leave);
	RUN(a_unix_socket_does_as_well);
	RUN(retry_after_comes_with_the_reply);
	RUN(get_waits_for_the_answer);
	RUN(a_kept_connection_that_was_closed_in_between_is_no_failed_attempt);
	RUN(a_kept_connection_that_breaks_under_the_request_is_replaced);
	RUN(what_comes_after_a_reply_is_not_the_next_reply);
	RUN(an_attempt_ends_at_its_time_out);
	RUN(time_outs_of_all_lengths_end_in_their_order);
	RUN(what_was_never_connected_was_never_sent);
	RUN(a_time_out_before_the_connection_says_so);
	RUN(a_cancelled_request_ends_once_and_later);
	RUN(ten_thousand_requests_with_random_cancels_leave_nothing);
	return t_done();
}
