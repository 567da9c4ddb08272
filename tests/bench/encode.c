/* encode - how fast the tokenizer is, on one thread
 *
 *     bench-encode DIR FILE IDS
 *
 * FILE as one text by the tokenizer of DIR: its ids (int, as this machine has them) into the file IDS, and one JSON line {"bytes","ids","seconds"}
 * on standard output, the seconds of processor time and the least of five. Loading is not counted. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "tokenizer.h"

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	struct buf text = BUF_INIT((size_t)1 << 30);
	struct ids ids = { 0 };
	struct tok *t;
	struct err e;
	double least = 1e9, from;
	FILE *f;

	prog_init(argv[0]);
	if (argc != 4)
		die(STATUS_USAGE, "usage: bench-encode DIR FILE IDS");
	t = tok_load(argv[1], &e);
	if (!t || buf_read_file(&text, argv[2], &e) < 0)
		die(STATUS_USAGE, "%s", e.msg);
	for (int r = 0; r < 5; r++) {
		ids.n = 0;
		from = seconds();
		tok_encode(t, text.p, text.n, false, &ids);
		least = seconds() - from < least ? seconds() - from : least;
	}
	f = fopen(argv[3], "wb");
	if (!f || fwrite(ids.v, sizeof *ids.v, ids.n, f) != ids.n || fclose(f) == EOF)
		die(STATUS_IO, "%s: %s", argv[3], strerror(errno));
	printf("{\"bytes\":%zu,\"ids\":%zu,\"seconds\":%.6f}\n", text.n, ids.n, least);
	tok_free(t);
	ids_free(&ids);
	buf_free(&text);
	return 0;
}
