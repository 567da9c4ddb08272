/* sa-serve - an OpenAI-compatible HTTP server over one local checkpoint
 *
 * Three threads: this one waits for signals, leases and clients that hang up; the engine's loads the checkpoint and runs the model (serve/engine.h); the
 * HTTP server's talks to the clients (serve/server.h). The socket is open from the start; until the model is loaded, the answer is 503. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "engine.h"
#include "err.h"
#include "key.h"
#include "lease.h"
#include "listen.h"
#include "mapping.h"
#include "opt.h"
#include "server.h"

#define TICK_MS 1000	/* between looks at the clients' time */

static struct engine_options engine_opts;
static struct server_options server_opts;
static const char *host, *socket_path, *shared, *key_file, *device;
static long long port = -1, threads, max_active = 64, max_context, kv_bytes, turn_tokens = 256, queue_limit = 1024, drain_seconds = 5, timeout = 120;

static const struct opt opts[] = {
	{ .name = "host", .kind = OPT_STR, .to = &host, .arg = "HOST", .help = "address to listen on (127.0.0.1); beyond this machine only with a key" },
	{ .name = "port", .kind = OPT_INT, .to = &port, .arg = "PORT", .help = "port to listen on (8080; 0: the kernel's choice)", .lo = 0, .hi = 65535 },
	{ .name = "unix", .kind = OPT_STR, .to = &socket_path, .arg = "PATH", .help = "listen on a Unix socket instead" },
	{ .name = "name", .kind = OPT_STR, .to = &engine_opts.name, .arg = "NAME", .help = "the model's name (the directory's last component)" },
	{ .name = "shared", .kind = OPT_STR, .to = &shared, .arg = "PREFIX", .help = "serve on PREFIX.sock while somebody holds a lease on PREFIX.lease" },
	{ .name = "key-file", .kind = OPT_STR, .to = &key_file, .arg = "FILE", .help = "the key that clients have to show, instead of SA_SERVE_KEY; readable by its owner only" },
	{ .name = "cors", .kind = OPT_STR, .to = &server_opts.origin, .arg = "ORIGIN", .help = "let web pages of ORIGIN use the server; *: any (none)" },
	{ .name = "timeout", .kind = OPT_INT, .to = &timeout, .arg = "S", .help = "seconds for a request to come whole, and for a reply's next piece to be taken (120)", .lo = 1, .hi = 86400 },
	{ .name = "template", .kind = OPT_STR, .to = &engine_opts.template, .arg = "NAME", .help = "chat template: llama3, llama3.2, llamafactory, chatml, qwen2.5 or qwen3 (by recognition)" },
	{ .name = "date", .kind = OPT_STR, .to = &engine_opts.date, .arg = "TEXT", .help = "the date that a template shows (today)" },
	{ .name = "device", .kind = OPT_STR, .to = &device, .arg = "DEVICE", .help = "what computes: cpu, cuda, cuda:N, cuda:24GiB (of it) or cuda:N:24GiB (SA_DEVICE, else cpu)" },
	{ .name = "weights", .kind = OPT_ENUM, .to = &engine_opts.weights, .arg = "auto|bf16|f32|int8", .help = "how weights are kept and multiplied (auto: as the checkpoint has them)" },
	{ .name = "huge-pages", .kind = OPT_ENUM, .to = &engine_opts.huge_pages, .arg = "auto|on|off", .help = "move weights to huge pages, which are read faster (auto: where memory allows)" },
	{ .name = "threads", .kind = OPT_INT, .to = &threads, .arg = "N", .help = "processor threads (all)", .lo = 0, .hi = 1024 },
	{ .name = "max-active", .kind = OPT_INT, .to = &max_active, .arg = "N", .help = "sequences that are computed at once (64)", .lo = 1, .hi = 4096 },
	{ .name = "max-context", .kind = OPT_INT, .to = &max_context, .arg = "N", .help = "tokens of a prompt and its reply (the checkpoint's)", .lo = 1, .hi = INT_MAX / 2 },
	{ .name = "kv-bytes", .kind = OPT_INT, .to = &kv_bytes, .arg = "N", .help = "bytes of key-value caches (half of the memory that is left; all of a GPU's)", .lo = 1, .hi = LLONG_MAX },
	{ .name = "queue", .kind = OPT_INT, .to = &queue_limit, .arg = "N", .help = "requests that wait for a place; others get 429 (1024)", .lo = 1, .hi = 1 << 20 },
	{ .name = "drain", .kind = OPT_INT, .to = &drain_seconds, .arg = "SECONDS", .help = "for what was accepted, after SIGTERM (5)", .lo = 0, .hi = 86400 },
	{ .name = "turn-tokens", .kind = OPT_INT, .to = &turn_tokens, .arg = "N", .help = "tokens that go through the model at a time (256)", .lo = 1, .hi = 65536 },
	{ .name = NULL },
};

/* Where the server listens, and what belongs to that. */
struct place {
	int fd;
	char text[256];		/* for the ready line */
	char *path;		/* Unix socket to unlink, or NULL */
	struct leases *leases;	/* with --shared */
};

/* What the engine's thread tells this one. */
struct loading {
	int event;		/* eventfd: wakes it */
	atomic_bool loaded, failed;
	char why[512];		/* once it has failed, then or later */
};

static void
on_loaded(void *arg, const char *why)
{
	struct loading *l = arg;

	if (why)
		snprintf(l->why, sizeof l->why, "%s", why);
	atomic_store(why ? &l->failed : &l->loaded, true);
	eventfd_write(l->event, 1);
}

static char *
name_of(const char *dir)
{
	char *real = realpath(dir, NULL), *slash, *name;
	struct stat st;

	if (!real || stat(real, &st) < 0)
		die(STATUS_USAGE, "%s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		die(STATUS_USAGE, "%s: not a directory", dir);
	slash = strrchr(real, '/');
	name = xstrdup(slash[1] ? slash + 1 : real);
	free(real);
	return name;
}

static void
listen_shared(struct place *p, struct err *e)
{
	struct buf path = BUF_INIT(PATH_MAX);

	p->leases = leases_open(shared, e);
	if (!p->leases)
		die(STATUS_USAGE, "%s", e->msg);
	if (buf_addf(&path, "%s.sock", shared) < 0)
		die(STATUS_USAGE, "--shared: too long");
	p->path = buf_take(&path);
	p->fd = listen_unix(p->path, true, e);
	snprintf(p->text, sizeof p->text, "unix:%s", p->path);
}

static void
place_open(struct place *p)
{
	struct err e;
	int tcp_port = port < 0 ? 8080 : port;

	if (!!socket_path + !!shared + (host || port >= 0) > 1)
		die(STATUS_USAGE, "--host/--port, --unix and --shared exclude each other");
	if (shared) {
		listen_shared(p, &e);
	} else if (socket_path) {
		p->fd = listen_unix(socket_path, false, &e);
		p->path = xstrdup(socket_path);
		snprintf(p->text, sizeof p->text, "unix:%s", socket_path);
	} else {
		p->fd = listen_tcp(host ? host : "127.0.0.1", &tcp_port, server_opts.key, &e);
		snprintf(p->text, sizeof p->text, host && strchr(host, ':') ? "http://[%s]:%d/v1" : "http://%s:%d/v1", host ? host : "127.0.0.1", tcp_port);
	}
	if (p->fd < 0)
		die(STATUS_USAGE, "%s", e.msg);
}

static void
place_close(struct place *p)
{
	if (p->path)
		unlink(p->path);
	free(p->path);
	if (p->leases)
		leases_close(p->leases);
}

/* The key that clients have to show. The variable is not for a server that a filter starts: its socket is the user's own. */
static void
load_key(void)
{
	const char *key = getenv("SA_SERVE_KEY");
	struct err e;

	if (key_file) {
		server_opts.key = key_read(key_file, &e);
		if (!server_opts.key)
			die(STATUS_USAGE, "%s", e.msg);
	} else if (key && !shared) {
		if (key_check(key, "SA_SERVE_KEY", &e) < 0)
			die(STATUS_USAGE, "%s", e.msg);
		server_opts.key = key;
	}
	if (server_opts.key && key_guard() < 0)
		warn("warning: a core of this process could show the key");
}

/* What the option says, else the variable, which filters hand down to the server that they start. */
static void
choose_device(void)
{
	const char *given = getenv("SA_DEVICE");
	struct err e;

	if (!device)
		device = given && *given ? given : "cpu";
	if (device_option_parse(&engine_opts.device, device, &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
}

static int signal_event = -1;	/* eventfd: how many signals came */

static void
on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	eventfd_write(signal_event, 1);
	errno = saved;
}

/* A handler and not a mask: libraries start threads of their own before main(), and those would take the signal. A client that hung up is no
 * reason to die. */
static void
signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	signal_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* A connection is a descriptor, and the usual soft limit is 1,024. */
static void
raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static bool
signalled(void)
{
	eventfd_t n;

	return eventfd_read(signal_event, &n) == 0;
}

/* Until a signal, the last lease's end, a checkpoint that does not load or a device that fails. True: the engine has loaded. */
static bool
serve(struct server *s, struct engine *e, struct place *p, struct loading *l)
{
	struct pollfd fd[] = {
		{ .fd = signal_event, .events = POLLIN },
		{ .fd = server_hangup_fd(s), .events = POLLIN },
		{ .fd = l->event, .events = POLLIN },
		{ .fd = p->leases ? leases_fd(p->leases) : -1, .events = POLLIN },
	};
	bool loaded = false;
	eventfd_t n;

	for (;;) {
		int ms = p->leases ? leases_wait(p->leases) : -1;

		poll(fd, sizeof fd / sizeof *fd, ms < 0 || ms > TICK_MS ? TICK_MS : ms);
		if (signalled())
			return loaded;
		server_hangups(s);
		server_expire(s);
		eventfd_read(l->event, &n);
		if (!loaded && atomic_load(&l->loaded)) {
			loaded = true;
			warn("%s ready on %s (%s%s%zu MiB for key-value caches, contexts of %d tokens)", engine_opts.name, p->text, engine_device(e),
			     *engine_device(e) ? ", " : "", engine_kv_bytes(e) >> 20, engine_serving(e)->max_context);
		}
		if (atomic_load(&l->failed))
			return loaded;
		if (p->leases && leases_over(p->leases))
			return loaded;
	}
}

/* What was accepted may end, for a while; a second signal ends the wait. */
static void
drain(struct server *s)
{
	struct pollfd fd = { .fd = signal_event, .events = POLLIN };

	server_drain(s);
	for (long long ms = 0; ms < 1000 * drain_seconds && server_busy(s) > 0; ms += 10)
		if (poll(&fd, 1, 10) > 0 && signalled())
			return;
}

int
main(int argc, char **argv)
{
	static const struct opt_usage usage = { "DIR [--host H] [--port P | --unix PATH] [--name NAME]",
		"Serves the checkpoint in DIR with the OpenAI HTTP protocol.", opts, NULL };
	struct loading loading = { .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct place place = { .fd = -1 };
	struct engine *engine;
	struct server *server;
	struct err e;
	char *name;

	prog_init(argv[0]);
	if (opt_parse(argc, argv, &usage) != 1)
		die(STATUS_USAGE, "give one checkpoint directory (try --help)");
	name = name_of(argv[1]);
	if (!engine_opts.name)
		engine_opts.name = name;
	server_opts.name = engine_opts.name;
	server_opts.timeout = timeout;
	engine_opts.dir = argv[1];
	engine_opts.threads = threads;
	engine_opts.max_active = max_active;
	engine_opts.max_context = max_context;
	engine_opts.kv_bytes = kv_bytes;
	engine_opts.turn_tokens = turn_tokens;
	engine_opts.queue = queue_limit;
	choose_device();
	raise_limit();
	signals();
	mapping_guard();
	load_key();
	place_open(&place);
	engine = engine_start(&engine_opts, on_loaded, &loading);
	server = server_start(place.fd, engine, &server_opts, &e);
	if (!server)
		die(STATUS_IO, "%s", e.msg);
	if (!serve(server, engine, &place, &loading)) {
		if (atomic_load(&loading.failed)) {
			warn("%s", loading.why);
			engine_stop(engine);
		}
		place_close(&place);
		_exit(atomic_load(&loading.failed) ? STATUS_USAGE : STATUS_OK);	/* else the engine's thread may still be reading the checkpoint */
	}
	if (atomic_load(&loading.failed))
		warn("%s", loading.why);
	place_close(&place);	/* first: by the end of it all, somebody else may have a socket there */
	drain(server);
	engine_stop(engine);
	server_stop(server);
	engine_free(engine);
	free(name);
	return atomic_load(&loading.failed) ? STATUS_IO : STATUS_OK;
}
