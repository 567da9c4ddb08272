/* retry - when a request is tried again, and how long to wait */

#include "retry.h"

#include <curl/curl.h>

#include "t.h"

#define NOW 1700000000	/* Tue, 14 Nov 2023 22:13:20 GMT */

static void
back_off_doubles_up_to_its_cap_and_is_spread_over_the_whole_range(void)
{
	CHECK_NUM(retry_backoff(1, 1), 0.5, 1e-12);
	CHECK_NUM(retry_backoff(2, 1), 1, 1e-12);
	CHECK_NUM(retry_backoff(6, 1), 16, 1e-12);
	CHECK_NUM(retry_backoff(7, 1), 30, 1e-12);
	CHECK_NUM(retry_backoff(1000000, 1), 30, 1e-12);
	CHECK_NUM(retry_backoff(3, 0.25), 0.5, 1e-12);
	CHECK_NUM(retry_backoff(9, 0), 0, 1e-12);
}

static void
retry_after_is_seconds_or_a_date(void)
{
	CHECK_NUM(retry_after("0", NOW), 0, 1e-12);
	CHECK_NUM(retry_after(" 120\r\n", NOW), 120, 1e-12);
	CHECK_NUM(retry_after("1.5", NOW), 1.5, 1e-12);
	CHECK_NUM(retry_after("Tue, 14 Nov 2023 22:14:00 GMT\r\n", NOW), 40, 1e-12);
	CHECK_NUM(retry_after("Tuesday, 14-Nov-23 22:14:00 GMT", NOW), 40, 1e-12);
	CHECK_NUM(retry_after("Tue Nov 14 22:14:00 2023", NOW), 40, 1e-12);
	CHECK_NUM(retry_after("Tue, 14 Nov 2023 22:00:00 GMT", NOW), 0, 1e-12);
}

static void
what_is_no_wait_is_none(void)
{
	static const char *const bad[] = { "", " ", "-5", "soon", "1e999", "12 apples", "0x10", "nan", "Tue, 99 Nov 2023 22:14:00 GMT" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(retry_after(bad[i], NOW) == -1))
			printf("# %s\n", bad[i]);
	CHECK(retry_after_ms("later") == -1);
	CHECK(retry_after_ms("-1") == -1);
	CHECK_NUM(retry_after_ms("250"), 0.25, 1e-12);
}

static enum verdict
verdict_of(long status, const char *body, enum rec_class *c)
{
	struct http_result r = { .status = status, .body = body, .n = strlen(body), .retry_after = -1 };

	return retry_verdict(&r, c);
}

static void
each_status_has_its_verdict_and_class(void)
{
	static const struct {
		long status;
		enum verdict verdict;
		enum rec_class class;
	} want[] = {
		{ 408, VERDICT_AGAIN, NET }, { 409, VERDICT_AGAIN, SERVER }, { 500, VERDICT_AGAIN, SERVER }, { 503, VERDICT_AGAIN, SERVER },
		{ 529, VERDICT_AGAIN, SERVER }, { 429, VERDICT_PACED, RATE }, { 400, VERDICT_FINAL, BAD_REQUEST }, { 404, VERDICT_FINAL, BAD_REQUEST },
		{ 422, VERDICT_FINAL, BAD_REQUEST }, { 401, VERDICT_FINAL, AUTH }, { 403, VERDICT_FINAL, AUTH }, { 301, VERDICT_FINAL, SERVER },
		{ 204, VERDICT_FINAL, SERVER },
	};
	enum rec_class c;

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		c = BUDGET;
		if (!CHECK_INT(verdict_of(want[i].status, "{}", &c), want[i].verdict) || !CHECK_INT(c, want[i].class))
			printf("# status %ld\n", want[i].status);
	}
	CHECK_INT(verdict_of(200, "{}", &c), VERDICT_GOOD);
}

static void
a_used_up_quota_ends_it_all(void)
{
	enum rec_class c;

	CHECK_INT(verdict_of(429, "{\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}", &c), VERDICT_FATAL);
	CHECK_INT(c, RATE);
	CHECK_INT(verdict_of(429, "{\"error\":{\"type\":\"insufficient_quota\"}}", &c), VERDICT_FATAL);
	CHECK_INT(verdict_of(429, "{\"error\":{\"message\":\"insufficient_quota\"}}", &c), VERDICT_PACED);
}

static enum verdict
verdict_of_transport(int code, enum rec_class *c)
{
	struct http_result r = { .curl = code, .body = "", .retry_after = -1 };

	return retry_verdict(&r, c);
}

static void
a_broken_connection_is_tried_again_and_a_wrong_certificate_is_not(void)
{
	enum rec_class c;
	struct http_result refused = { .curl = CURLE_COULDNT_CONNECT }, timed_out = { .curl = CURLE_OPERATION_TIMEDOUT };

	CHECK_INT(verdict_of_transport(CURLE_COULDNT_CONNECT, &c), VERDICT_AGAIN);
	CHECK_INT(c, NET);
	CHECK_INT(verdict_of_transport(CURLE_RECV_ERROR, &c), VERDICT_AGAIN);
	CHECK_INT(verdict_of_transport(CURLE_OPERATION_TIMEDOUT, &c), VERDICT_AGAIN);
	CHECK_INT(c, NET);
	CHECK_INT(verdict_of_transport(CURLE_UNSUPPORTED_PROTOCOL, &c), VERDICT_AGAIN);
	CHECK_INT(c, SERVER);
	CHECK_INT(verdict_of_transport(CURLE_PEER_FAILED_VERIFICATION, &c), VERDICT_FINAL);
	CHECK_INT(c, NET);
	CHECK_INT(verdict_of_transport(CURLE_WEIRD_SERVER_REPLY, &c), VERDICT_AGAIN);
	CHECK_INT(c, SERVER);
	CHECK(retry_unreached(&refused));
	CHECK(!retry_unreached(&timed_out));
}

static void
what_the_server_would_do_again_is_not_asked_again(void)
{
	enum rec_class c;

	CHECK_INT(verdict_of_transport(CURLE_TOO_MANY_REDIRECTS, &c), VERDICT_FINAL);
	CHECK_INT(c, SERVER);
	CHECK_INT(verdict_of_transport(CURLE_BAD_CONTENT_ENCODING, &c), VERDICT_FINAL);
	CHECK_INT(c, SERVER);
}

int
main(void)
{
	RUN(back_off_doubles_up_to_its_cap_and_is_spread_over_the_whole_range);
	RUN(retry_after_is_seconds_or_a_date);
	RUN(what_is_no_wait_is_none);
	RUN(each_status_has_its_verdict_and_class);
	RUN(a_used_up_quota_ends_it_all);
	RUN(a_broken_connection_is_tried_again_and_a_wrong_certificate_is_not);
	RUN(what_the_server_would_do_again_is_not_asked_again);
	return t_done();
}
