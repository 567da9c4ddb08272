/* head.h - the header lines of a reply, one by one as they come: what is taken from them and what is refused. Pure.
 *
 * Everything a server sends before, between and after the heads counts towards HEAD_BYTES and HEAD_LINES: interim replies (1xx) and trailers
 * too, so that none of them can go on for ever. A status line begins a new head; only the last one's members mean anything.
 * Refused: a coding that was not asked for (a decompression bomb needs a decompressor, and there is none), lengths that contradict
 * each other or cannot be read (where such a reply ends is anybody's guess), a length beside a chunked coding. */
#ifndef SA_HEAD_H
#define SA_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HEAD_BYTES ((size_t)256 << 10)
#define HEAD_LINES 1000

struct head {
	size_t bytes;
	long lines;
	bool ended;		/* the empty line was there: what follows are trailers, or another head */
	int status;		/* 0: no status line yet */
	bool coded;		/* Content-Encoding, other than identity */
	bool chunked;		/* Transfer-Encoding: chunked */
	long long length;	/* Content-Length; -1: none */
	double retry_after;	/* seconds: retry-after-ms, Retry-After in seconds or as a date; <0: none */
	char place[400];	/* Location, cut; "": none */
};

void head_init(struct head *h);

/* One line of n bytes with its end of line, or without. 0, or -1 with what is wrong in *why (a constant). */
int head_line(struct head *h, const char *line, size_t n, const char **why);

/* Where a redirect leads, for people: one line of printable ASCII, at most about 100 bytes, without user, password and query, and nothing at all
 * of it when the beginning of `key` is in it (NULL: no key). */
void head_place(const struct head *h, const char *key, char *out, size_t max);

#endif
