/* http-hostile - replies that are wrong in every way there is */

#include <curl/curl.h>

#include "retry.h"
#include "server.h"

static void
wrong_replies_end_in_words_and_a_class(void)
{
	static const struct {
		const char *text;
		size_t n;
		int curl;
		const char *why;
		enum verdict verdict;
		enum rec_class class;
	} cases[] = {
#define TEXT(s) s, sizeof s - 1
		{ TEXT(OK(10) "abc"), CURLE_PARTIAL_FILE, "", VERDICT_AGAIN, NET },
		{ TEXT(""), CURLE_GOT_NOTHING, "", VERDICT_AGAIN, NET },
		{ TEXT("HTTP/1.1 200 OK\r\n"), CURLE_PARTIAL_FILE, "header", VERDICT_AGAIN, NET },
		{ TEXT("HTTP/1.1 100 Continue\r\n\r\n"), CURLE_GOT_NOTHING, "", VERDICT_AGAIN, NET },
		{ TEXT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), CURLE_PARTIAL_FILE, "", VERDICT_AGAIN, NET },
		{ TEXT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), CURLE_RECV_ERROR, "", VERDICT_AGAIN, NET },
		{ TEXT("what is this\r\n\r\n"), CURLE_UNSUPPORTED_PROTOCOL, "HTTP/0.9", VERDICT_AGAIN, SERVER },
		{ TEXT("\0\1\2\3\4\5\6\7\r\n\r\n"), CURLE_UNSUPPORTED_PROTOCOL, "", VERDICT_AGAIN, SERVER },
		{ TEXT("HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "two lengths", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2, 3\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "Content-Length", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: -1\r\n\r\nok"), CURLE_WEIRD_SERVER_REPLY, "Content-Length", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), CURLE_WEIRD_SERVER_REPLY,
			"both", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), CURLE_WEIRD_SERVER_REPLY, "coding", VERDICT_AGAIN, SERVER },
		{ TEXT(OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"), CURLE_BAD_CONTENT_ENCODING,
			"the reply is compressed, which was not asked for", VERDICT_FINAL, SERVER },
		{ TEXT(OK_HEAD "content-encoding:br\r\n\r\nok"), CURLE_BAD_CONTENT_ENCODING, "compressed", VERDICT_FINAL, SERVER },
		{ TEXT(OK_HEAD "Content-Length: 99999999999\r\n\r\nok"), CURLE_FILESIZE_EXCEEDED, "64 MiB", VERDICT_AGAIN, SERVER },
		{ TEXT("HTTP/1.1 301 Moved\r\nLocation: https://other.example/v1?k=1\r\nContent-Length: 0\r\n\r\n"), CURLE_TOO_MANY_REDIRECTS,
			"the server redirects to https://other.example/v1 (not followed)", VERDICT_FINAL, SERVER },
		{ TEXT("HTTP/1.1 307 Moved\r\nLocation: http://u:" KEY "@h/" KEY "\r\nContent-Length: 0\r\n\r\n"), CURLE_TOO_MANY_REDIRECTS,
			"redirects to another place", VERDICT_FINAL, SERVER },
	};
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		int bad = t_bad;

		ask_server(serve_text_once, cases[i].text, cases[i].n, &g);
		CHECK_INT(g.r.curl, cases[i].curl);
		CHECK(*g.r.why && strstr(g.r.why, cases[i].why));
		CHECK(!strstr(g.r.why, KEY));
		CHECK(g.r.sent);
		class = BUDGET;
		CHECK_INT(retry_verdict(&g.r, &class), cases[i].verdict);
		CHECK_INT(class, cases[i].class);
		if (t_bad != bad)
			printf("# case %zu: %s\n", i, g.r.why);
	}
}

static void
odd_replies_that_are_right_are_taken(void)
{
	static const char *const cases[] = {
		OK_HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
		OK_HEAD "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Content-Encoding:\r\nContent-Length: 2\r\n\r\nok",
		OK_HEAD "Connection: close\r\n\r\nok",
		"HTTP/1.0 200 OK\r\n\r\nok",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" OK(2) "ok",
		"HTTP/1.1 103 Early\r\nContent-Length: 7\r\nContent-Encoding: gzip\r\n\r\n" OK(2) "ok",
	};
	struct got g;

	for (size_t i = 0; i < LEN(cases); i++) {
		ask_server(serve_text_once, cases[i], strlen(cases[i]), &g);
		if (!CHECK_INT(g.r.curl, 0) || !CHECK_INT(g.r.status, 200) || !CHECK_STR(g.body, "ok"))
			printf("# case %zu: %s\n", i, g.r.why);
	}
}

static void
a_status_counts_though_its_explanation_is_compressed(void)
{
	static const char text[] = "HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01";
	struct got g;
	enum rec_class class;

	ask_server(serve_text_once, text, sizeof text - 1, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 401);
	CHECK_INT(g.r.n, 0);
	CHECK(strstr(g.r.why, "compressed"));
	CHECK_INT(retry_verdict(&g.r, &class), VERDICT_FINAL);
	CHECK_INT(class, AUTH);
}

static void
serve_endless_lines(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD))
		while (says(c, "X: y\r\n"))
			;
}

static void
serve_endless_header_bytes(struct conn *c)
{
	char line[1024];

	memset(line, 'x', sizeof line);
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	if (read_request(c) && says(c, OK_HEAD))
		while (say(c, line, sizeof line))
			;
}

static void
serve_endless_interim(struct conn *c)
{
	if (read_request(c))
		while (says(c, "HTTP/1.1 100 Continue\r\n\r\n"))
			;
}

static void
serve_endless_trailers(struct conn *c)
{
	if (read_request(c) && says(c, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"))
		while (says(c, "X: y\r\n"))
			;
}

static void
headers_that_do_not_end_are_cut_off(void)
{
	static void (*const cases[])(struct conn *) = { serve_endless_lines, serve_endless_header_bytes, serve_endless_interim, serve_endless_trailers };
	struct got g;
	enum rec_class class;

	for (size_t i = 0; i < LEN(cases); i++) {
		ask_server(cases[i], NULL, 0, &g);
		CHECK_INT(g.r.curl, CURLE_WEIRD_SERVER_REPLY);
		if (!CHECK(strstr(g.r.why, "1,000 lines or 256 KiB")))
			printf("# case %zu: %s\n", i, g.r.why);
		CHECK_INT(retry_verdict(&g.r, &class), VERDICT_AGAIN);
		CHECK_INT(class, SERVER);
	}
}

static void
serve_endless_body(struct conn *c)
{
	static char block[1 << 16];

	if (read_request(c) && says(c, OK_HEAD "\r\n"))
		while (say(c, block, sizeof block))
			;
}

static void
a_body_that_does_not_end_is_cut_off(void)
{
	struct got g;

	ask_server(serve_endless_body, NULL, 0, &g);
	CHECK_INT(g.r.curl, CURLE_FILESIZE_EXCEEDED);
	CHECK_STR(g.r.why, "the reply is longer than 64 MiB");
}

static void
serve_early(struct conn *c)
{
	char rest[65536];
	size_t got, length;

	if (!read_head(c, &got, &length))
		return;
	says(c, "HTTP/1.1 413 Too long\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
	while (recv(c->fd, rest, sizeof rest, 0) > 0)
		;
}

static void
a_refusal_counts_that_comes_before_the_request_is_wholly_sent(void)
{
	struct server s;
	struct client c;
	struct got g;
	size_t n = (size_t)32 << 20;
	char *body = malloc(n);

	memset(body, ' ', n);
	server_start(&s, NULL, serve_early, NULL, 0);
	client_open(&c, s.base);
	ask(&c, body, n, 60, &g);
	CHECK_INT(g.r.curl, 0);
	CHECK_INT(g.r.status, 413);
	client_close(&c);
	server_stop(&s);
	free(body);
}

int
main(void)
{
	tests_start();
	RUN(wrong_replies_end_in_words_and_a_class);
	RUN(odd_replies_that_are_right_are_taken);
	RUN(a_status_counts_though_its_explanation_is_compressed);
	RUN(headers_that_do_not_end_are_cut_off);
	RUN(a_body_that_does_not_end_is_cut_off);
	RUN(a_refusal_counts_that_comes_before_the_request_is_wholly_sent);
	return t_done();
}
