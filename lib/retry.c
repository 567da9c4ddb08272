/* retry.c - when a request is tried again and how long to wait */

#include "retry.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>

#include "chat.h"
#include "num.h"

double
retry_backoff(long n, double u)
{
	double most = RETRY_BASE;

	for (long i = 1; i < n && most < RETRY_CAP; i++)
		most *= 2;
	return u * (most < RETRY_CAP ? most : RETRY_CAP);
}

/* A number of seconds (or of milliseconds) with the white space around a header's value left out. */
static double
header_number(const char *value, double unit)
{
	char text[64];
	size_t n;
	double x;

	while (isspace((unsigned char)*value))
		value++;
	n = strlen(value);
	while (n > 0 && isspace((unsigned char)value[n - 1]))
		n--;
	if (n == 0 || n >= sizeof text)
		return -1;
	memcpy(text, value, n);
	text[n] = 0;
	return num_real(text, 0, 1e12, &x, NULL) < 0 ? -1 : x * unit;
}

double
retry_after_ms(const char *value)
{
	return header_number(value, 1e-3);
}

double
retry_after(const char *value, time_t now)
{
	double seconds = header_number(value, 1);
	time_t date;

	if (seconds >= 0)
		return seconds;
	/* A date starts with a day's name; curl's parser would also take a bare "-5". */
	while (isspace((unsigned char)*value))
		value++;
	if (!isalpha((unsigned char)*value))
		return -1;
	date = curl_getdate(value, NULL);
	if (date == (time_t)-1)
		return -1;
	return date > now ? (double)(date - now) : 0;
}

bool
retry_unreached(const struct http_result *r)
{
	return r->curl == CURLE_COULDNT_CONNECT || r->curl == CURLE_COULDNT_RESOLVE_HOST || r->curl == CURLE_COULDNT_RESOLVE_PROXY;
}

static enum verdict
transport_verdict(int code, enum rec_class *class)
{
	*class = NET;
	switch (code) {
	case CURLE_URL_MALFORMAT:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return VERDICT_FINAL;
	case CURLE_BAD_CONTENT_ENCODING:	/* these two are how the server is set up: it would do the same again, and be paid again */
	case CURLE_TOO_MANY_REDIRECTS:
		*class = SERVER;
		return VERDICT_FINAL;
	case CURLE_UNSUPPORTED_PROTOCOL:	/* an answer that is no HTTP (read as HTTP/0.9) */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_FILESIZE_EXCEEDED:
		*class = SERVER;
		return VERDICT_AGAIN;
	default:
		return VERDICT_AGAIN;
	}
}

enum verdict
retry_verdict(const struct http_result *r, enum rec_class *class)
{
	char code[64];

	if (r->curl)
		return transport_verdict(r->curl, class);
	if (r->status == 200)
		return VERDICT_GOOD;
	reply_error_code(r->body, r->n, code, sizeof code);
	if (strcmp(code, "insufficient_quota") == 0) {
		*class = RATE;
		return VERDICT_FATAL;
	}
	if (r->status == 429) {
		*class = RATE;
		return VERDICT_PACED;
	}
	if (r->status == 401 || r->status == 403) {
		*class = AUTH;
		return VERDICT_FINAL;
	}
	*class = r->status == 408 ? NET : r->status >= 400 && r->status < 500 && r->status != 409 ? BAD_REQUEST : SERVER;
	return r->status >= 500 || r->status == 408 || r->status == 409 ? VERDICT_AGAIN : VERDICT_FINAL;
}
