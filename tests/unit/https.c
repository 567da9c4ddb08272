/* https - certificates that are right and wrong, against a TLS server in a thread with certificates made here */

#include <arpa/inet.h>
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "http.h"
#include "retry.h"
#include "t.h"

static char file[64];	/* the certificate, as SSL_CERT_FILE wants it */

/* ---- the server ---- */

struct server {
	SSL_CTX *ctx;
	int fd;
	char base[64];
	pthread_t thread;
	atomic_bool h2_offered;
};

static void
extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* Self-signed, for `names`, good until `seconds` from now; also written to `file`. */
static void
certificate(SSL_CTX *ctx, const char *names, long seconds)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f = fopen(file, "w");

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -100000);
	X509_gmtime_adj(X509_getm_notAfter(x), seconds);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	extension(x, NID_basic_constraints, "critical,CA:TRUE");
	extension(x, NID_subject_alt_name, names);
	X509_sign(x, key, EVP_sha256());
	SSL_CTX_use_certificate(ctx, x);
	SSL_CTX_use_PrivateKey(ctx, key);
	PEM_write_X509(f, x);
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned inlen, void *arg)
{
	static const unsigned char http1[] = "http/1.1";
	struct server *s = arg;

	(void)ssl;
	for (unsigned i = 0; i < inlen; i += in[i] + 1u)
		if (in[i] == 2 && memcmp(in + i + 1, "h2", 2) == 0)
			s->h2_offered = true;
	*out = http1;
	*n = sizeof http1 - 1;
	return SSL_TLSEXT_ERR_OK;
}

static void
serve(struct server *s, int fd)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	SSL *ssl = SSL_new(s->ctx);
	char head[8192];

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1)
		while (SSL_read(ssl, head, sizeof head) > 0 && SSL_write(ssl, reply, sizeof reply - 1) > 0)
			;
	SSL_free(ssl);
	close(fd);
}

static void *
serve_main(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		serve(s, fd);
	return NULL;
}

static void
server_start(struct server *s, const char *names, long seconds, int newest)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;

	s->h2_offered = false;
	s->ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_cipher_list(s->ctx, "ALL:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(s->ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(s->ctx, newest);
	SSL_CTX_set_alpn_select_cb(s->ctx, on_alpn, s);
	certificate(s->ctx, names, seconds);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->fd, (void *)&in, sizeof in) < 0 || listen(s->fd, 64) < 0 || getsockname(s->fd, (void *)&in, &len) < 0)
		perror("server"), exit(1);
	snprintf(s->base, sizeof s->base, "https://127.0.0.1:%d/v1", ntohs(in.sin_port));
	pthread_create(&s->thread, NULL, serve_main, s);
}

static void
server_stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	SSL_CTX_free(s->ctx);
}

/* ---- the client ---- */

struct got {
	struct http_result r;
	int calls;
};

static void
on_done(void *arg, const struct http_result *r)
{
	struct got *g = arg;

	g->r = *r;
	g->calls++;
}

/* Two requests, one after the other; the result of the second. */
static struct http_result
ask(const struct http_target *t)
{
	uv_loop_t loop;
	struct http *h;
	struct got g = { .calls = 0 };

	uv_loop_init(&loop);
	h = http_new(&loop, 4);
	for (int i = 1; i <= 2; i++) {
		http_post(h, t, "/x", "{}", 2, 60, on_done, &g);
		uv_run(&loop, UV_RUN_DEFAULT);
		CHECK_INT(g.calls, i);
	}
	http_free(h);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK_INT(uv_loop_close(&loop), 0);
	return g.r;
}

static void
refused(const char *base, int curl, const char *why)
{
	struct http_result r = ask(&(struct http_target){ .base = base, .key = "sk-secret" });
	enum rec_class class;

	CHECK_INT(r.curl, curl);
	CHECK(!r.sent);
	CHECK_INT(retry_verdict(&r, &class), VERDICT_FINAL);
	CHECK_INT(class, NET);
	if (!CHECK(strstr(r.why, why)))
		printf("# %s\n", r.why);
}

#define GOOD "IP:127.0.0.1"
#define DAY 86400

static void
a_certificate_that_the_environment_names_is_trusted(void)
{
	static const char *const names[] = { "SSL_CERT_FILE", "CURL_CA_BUNDLE" };
	struct server s;
	struct http_result r;
	struct buf out = BUF_INIT(1000);
	struct err e;
	long status;

	server_start(&s, GOOD, DAY, TLS1_3_VERSION);
	for (int i = 0; i < 2; i++) {
		setenv(names[i], file, 1);
		r = ask(&(struct http_target){ .base = s.base });
		CHECK_INT(r.curl, 0);
		CHECK_INT(r.status, 200);
		CHECK_INT(http_get(&(struct http_target){ .base = s.base }, "/x", 60, &out, &status, &e), 0);
		CHECK_STR(out.p, "hello");
		unsetenv(names[i]);
	}
	CHECK(!s.h2_offered);
	server_stop(&s);
	buf_free(&out);
}

static void
an_unknown_one_is_refused_unless_checking_is_off(void)
{
	struct server s;
	struct http_result r;

	server_start(&s, GOOD, DAY, TLS1_3_VERSION);
	refused(s.base, CURLE_PEER_FAILED_VERIFICATION, "SSL_CERT_FILE");
	r = ask(&(struct http_target){ .base = s.base, .insecure = true });
	CHECK_INT(r.curl, 0);
	CHECK_INT(r.status, 200);
	server_stop(&s);
}

static void
one_for_another_host_is_refused(void)
{
	struct server s;

	server_start(&s, "DNS:other.example", DAY, TLS1_3_VERSION);
	setenv("SSL_CERT_FILE", file, 1);
	refused(s.base, CURLE_PEER_FAILED_VERIFICATION, "for another host");
	unsetenv("SSL_CERT_FILE");
	server_stop(&s);
}

static void
one_that_has_run_out_is_refused(void)
{
	struct server s;

	server_start(&s, GOOD, -1000, TLS1_3_VERSION);
	setenv("SSL_CERT_FILE", file, 1);
	refused(s.base, CURLE_PEER_FAILED_VERIFICATION, "must be renewed");
	unsetenv("SSL_CERT_FILE");
	server_stop(&s);
}

static void
a_file_of_certificates_that_is_not_there_is_named(void)
{
	struct server s;

	server_start(&s, GOOD, DAY, TLS1_3_VERSION);
	setenv("SSL_CERT_FILE", "/nonexistent/authority.pem", 1);
	refused(s.base, CURLE_SSL_CACERT_BADFILE, "/nonexistent/authority.pem");
	unsetenv("SSL_CERT_FILE");
	server_stop(&s);
}

static void
tls_1_2_is_the_oldest(void)
{
	struct server s;
	struct http_result r;

	server_start(&s, GOOD, DAY, TLS1_2_VERSION);
	CHECK_INT(ask(&(struct http_target){ .base = s.base, .insecure = true }).status, 200);
	server_stop(&s);
	server_start(&s, GOOD, DAY, TLS1_1_VERSION);
	r = ask(&(struct http_target){ .base = s.base, .insecure = true });
	CHECK_INT(r.curl, CURLE_SSL_CONNECT_ERROR);
	CHECK(!r.sent);
	server_stop(&s);
}

static void
http2_is_offered_when_it_is_asked_for(void)
{
	struct server s;
	struct http_result r;

	server_start(&s, GOOD, DAY, TLS1_3_VERSION);
	r = ask(&(struct http_target){ .base = s.base, .insecure = true, .http2 = true });
	CHECK_INT(r.status, 200);	/* over 1.1, which the server chose */
	CHECK(s.h2_offered);
	server_stop(&s);
}

int
main(void)
{
	static const char *const unset[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE" };

	for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
		unsetenv(unset[i]);
	signal(SIGPIPE, SIG_IGN);
	snprintf(file, sizeof file, "/tmp/https-test-%ld.pem", (long)getpid());
	RUN(a_certificate_that_the_environment_names_is_trusted);
	RUN(an_unknown_one_is_refused_unless_checking_is_off);
	RUN(one_for_another_host_is_refused);
	RUN(one_that_has_run_out_is_refused);
	RUN(a_file_of_certificates_that_is_not_there_is_named);
	RUN(tls_1_2_is_the_oldest);
	RUN(http2_is_offered_when_it_is_asked_for);
	unlink(file);
	return t_done();
}
