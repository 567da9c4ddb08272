/* listen.c - see listen.h */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static int
open_socket(const union address *a, socklen_t n, struct err *e, const char *what)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return err_set(e, "%s: %s", what, strerror(errno));
	if (a->any.sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, &a->any, n) == 0 && listen(fd, 1024) == 0)
		return fd;
	err_set(e, "%s: %s", what, strerror(errno));
	close(fd);
	return -1;
}

/* The length of the address, or 0 when it is none. *loopback: it is one of this machine alone. */
static socklen_t
read_address(union address *a, const char *host, int port, bool *loopback)
{
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET, host, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		*loopback = ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
		return sizeof a->in;
	}
	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET6, host, &a->in6.sin6_addr) == 1) {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
		*loopback = IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
		return sizeof a->in6;
	}
	return 0;
}

int
listen_tcp(const char *host, int *port, const char *key, struct err *e)
{
	union address a;
	bool loopback;
	socklen_t n = read_address(&a, host, *port, &loopback);
	char what[128];
	int fd;

	if (n == 0)
		return err_set(e, "--host %s: not an address (127.0.0.1, ::1, 0.0.0.0, ...) or localhost", host);
	if (!loopback && !key)
		return err_set(e, "--host %s: without a key (--key-file) only a loopback address (127.0.0.1, ::1): whoever reaches the port can use the model",
			host);
	snprintf(what, sizeof what, "%s port %d", host, *port);
	fd = open_socket(&a, n, e, what);
	if (fd < 0)
		return -1;
	getsockname(fd, &a.any, &n);
	*port = ntohs(a.any.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	return fd;
}

static bool
somebody_listens(const union address *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (connect(fd, &a->any, sizeof a->un) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

int
listen_unix(const char *path, bool force, struct err *e)
{
	union address a = { .un = { .sun_family = AF_UNIX } };
	struct stat st;
	mode_t old;
	int fd;

	if (strlen(path) >= sizeof a.un.sun_path)
		return err_set(e, "%s: a socket's path may have at most %zu bytes", path, sizeof a.un.sun_path - 1);
	strcpy(a.un.sun_path, path);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, "%s: exists and is no socket", path);
	if (!force && somebody_listens(&a))
		return err_set(e, "%s: another server listens on it", path);
	unlink(path);
	old = umask(0177);
	fd = open_socket(&a, sizeof a.un, e, path);
	umask(old);
	return fd;
}
