/* main.c - a fuzz target without libFuzzer: every file of the command line once (tests/fuzz.bats) */
#include "fuzz.h"


static void
one(const char *path)
{
	struct buf b = BUF_INIT((size_t)64 << 20);
	struct err e;
	uint8_t *copy;

	if (buf_read_file(&b, path, &e) < 0)
		die(STATUS_IO, "%s", e.msg);
	copy = xmalloc(b.n);	/* exactly as long, so that a sanitizer sees reads past the end */
	if (b.n)
		memcpy(copy, b.p, b.n);
	LLVMFuzzerTestOneInput(copy, b.n);
	free(copy);
	buf_free(&b);
}

int
main(int argc, char **argv)
{
	prog_init(argv[0]);
	for (int i = 1; i < argc; i++) {
		fprintf(stderr, "%s\n", argv[i]);	/* the last one named is the one that it aborted at */
		one(argv[i]);
	}
	printf("%d\n", argc - 1);
	return 0;
}
