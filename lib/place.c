/* place.c - where requests go: a target and a path, as the libcurl options that all requests to it share */

#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"

#define CONNECT_TIMEOUT_MS 10000L
#define RECEIVE_BUFFER 16384L	/* most replies in one read */
#define SEND_BUFFER 16384L	/* libcurl's 64 KiB would be 4 MiB for 64 long prompts over TLS */
#define EXPECT_FROM ((size_t)1 << 20)	/* from this size libcurl would ask for a 100 first and wait a second for it */

struct place {
	struct http_target target;	/* its strings are ours */
	char *path;
	CURLU *url;		/* NULL when libcurl cannot read it */
	char *text;		/* base + path */
	struct curl_slist *headers, *headers_large;
	const char *ca_file, *ca_dir;	/* the environment's; NULL: libcurl's own */
	bool proxied;		/* the environment names a proxy of some kind */
};

/* ---- made once ---- */

static char *
copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void
wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void
wipe_list(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

static struct curl_slist *
add_header(struct curl_slist *list, const char *name, const char *value)
{
	size_t n = strlen(name) + (value ? strlen(value) : 0) + 1;
	struct curl_slist *longer;
	char *line;

	if (!value)
		return list;
	line = xmalloc(n);	/* not a growing buffer: that would leave copies of a key behind */
	snprintf(line, n, "%s%s", name, value);
	longer = curl_slist_append(list, line);
	wipe(line);
	if (!longer)
		die(STATUS_IO, "out of memory");
	return longer;
}

/* libcurl writes every byte of them through a printf of its own at each request (60 instructions a byte): as few as will do. */
static struct curl_slist *
headers(const struct http_target *t)
{
	struct curl_slist *list = add_header(NULL, "Content-Type: ", "application/json");

	list = add_header(list, "User-Agent: ", "sa/" SA_VERSION);
	list = add_header(list, "Authorization: Bearer ", t->key);
	list = add_header(list, "OpenAI-Organization: ", t->org);
	return add_header(list, "OpenAI-Project: ", t->project);
}

static const char *
from_environment(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static bool
any_proxy(void)
{
	static const char *const names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (from_environment(names[i]))
			return true;
	return false;
}

struct place *
place_new(const struct http_target *t, const char *path)
{
	struct place *p = xcalloc(1, sizeof *p);
	size_t n = strlen(t->base) + strlen(path) + 1;

	p->target = (struct http_target){ xstrdup(t->base), copy(t->unix_path), copy(t->key), copy(t->org), copy(t->project), t->insecure, t->http2 };
	p->path = xstrdup(path);
	p->text = xmalloc(n);
	snprintf(p->text, n, "%s%s", t->base, path);
	p->url = curl_url();
	if (p->url && curl_url_set(p->url, CURLUPART_URL, p->text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
		curl_url_cleanup(p->url);
		p->url = NULL;
	}
	p->headers = headers(t);
	p->headers_large = add_header(headers(t), "Expect:", "");
	p->ca_file = from_environment("CURL_CA_BUNDLE");
	if (!p->ca_file) {
		p->ca_file = from_environment("SSL_CERT_FILE");
		p->ca_dir = from_environment("SSL_CERT_DIR");
	}
	p->proxied = any_proxy();
	return p;
}

void
place_free(struct place *p)
{
	curl_url_cleanup(p->url);
	wipe_list(p->headers);
	wipe_list(p->headers_large);
	wipe((char *)p->target.key);
	free((char *)p->target.base);
	free((char *)p->target.unix_path);
	free((char *)p->target.org);
	free((char *)p->target.project);
	free(p->path);
	free(p->text);
	free(p);
}

static bool
same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool
place_is(const struct place *p, const struct http_target *t, const char *path)
{
	const struct http_target *q = &p->target;

	return same(p->path, path) && same(q->base, t->base) && same(q->unix_path, t->unix_path) && same(q->key, t->key) && same(q->org, t->org) &&
		same(q->project, t->project) && q->insecure == t->insecure && q->http2 == t->http2;
}

const char *
place_key(const struct place *p)
{
	return p->target.key;
}

/* ---- handles ---- */

/* Where there is a file of certificates, libcurl's own folder of them (the same, on Debian) is left out: only then is the file read once
 * and not for every connection, which takes 20 ms and 0.8 MB each (64 connections: 69 MB resident against 17). */
static void
set_tls(const struct place *p, CURL *c)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (p->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, p->ca_file);
	if (p->ca_dir || p->ca_file || curl_version_info(CURLVERSION_NOW)->cainfo)
		curl_easy_setopt(c, CURLOPT_CAPATH, p->ca_dir);
	if (p->target.insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

/* Without a proxy in the environment libcurl is kept from looking for one at every request. */
static void
set_route(const struct place *p, CURL *c)
{
	if (p->target.unix_path)
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, p->target.unix_path);
	if (p->target.unix_path || !p->proxied) {
		curl_easy_setopt(c, CURLOPT_PROXY, "");
		curl_easy_setopt(c, CURLOPT_NOPROXY, "");
	}
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
}

CURL *
place_handle(const struct place *p, char *why)
{
	CURL *c = curl_easy_init();

	if (!c)
		die(STATUS_IO, "out of memory");
	if (p->url)
		curl_easy_setopt(c, CURLOPT_CURLU, p->url);
	else
		curl_easy_setopt(c, CURLOPT_URL, p->text);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, p->target.http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PIPEWAIT, p->target.http2 ? 1L : 0L);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, p->headers);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)BUF_MAX_TEXT);
	set_tls(p, c);
	set_route(p, c);
	return c;
}

void
place_body(const struct place *p, CURL *easy, const char *body, size_t n)
{
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, n >= EXPECT_FROM ? p->headers_large : p->headers);
}

/* ---- words ---- */

/* OpenSSL's numbers (X509_V_ERR_*), which libcurl passes on. */
static const char *
certificate_advice(long verify)
{
	switch (verify) {
	case 0:
	case 1:	/* libcurl has not come to the chain: it looks at the name first */
		return "the certificate is for another host: use the name that it is for";
	case 9:
	case 10:
		return "the server's certificate must be renewed, or this machine's clock is wrong";
	case 18:
	case 19:
	case 20:
	case 21:
		return "trust its authority with SSL_CERT_FILE=FILE, or do not check with --insecure";
	default:
		return "it can be left unchecked with --insecure";
	}
}

void
place_explain(const struct place *p, CURL *easy, CURLcode code, const char *why, char *out, size_t max)
{
	long verify = 0;

	if (!*why)
		why = curl_easy_strerror(code);
	if (code == CURLE_FILESIZE_EXCEEDED) {
		snprintf(out, max, "the reply is longer than 64 MiB");
	} else if (code == CURLE_PEER_FAILED_VERIFICATION) {
		curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verify);
		snprintf(out, max, "%.150s (%s)", why, certificate_advice(verify));
	} else if (code == CURLE_SSL_CACERT_BADFILE && p->ca_file) {
		snprintf(out, max, "no certificates can be read from %s, which the environment names", p->ca_file);
	} else {
		snprintf(out, max, "%s", why);
	}
}
