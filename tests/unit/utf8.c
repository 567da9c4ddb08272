/* utf8: both ways of checking, with jansson (which refuses a string that is not UTF-8) as the oracle */
#include "utf8.h"

#include <jansson.h>
#include <stdint.h>

#include "t.h"

#define PLACES 70	/* where in a text the sequence stands: over the seams of 32 bytes */

static int
oracle(const unsigned char *p, size_t n)
{
	json_t *v = json_stringn((const char *)p, n);

	json_decref(v);
	return v != NULL;
}

/* The text in an allocation of its own, so that a sanitizer sees a read past it. */
static int
agrees(const unsigned char *p, size_t n)
{
	unsigned char *q = malloc(n ? n : 1);
	int want = oracle(p, n), ok;

	memcpy(q, p, n);
	ok = utf8_valid(q, n) == want && utf8_valid_plain(q, n) == want;
	free(q);
	return ok;
}

/* Bytes at which some rule changes. */
static const unsigned char edge[] = {
	0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff,
};
#define EDGES (sizeof edge)

static void
every_sequence_of_two_bytes(void)
{
	unsigned char text[40];
	int wrong = 0;

	memset(text, 'a', sizeof text);
	for (unsigned i = 0; i < 65536; i++) {
		text[31] = i >> 8;
		text[32] = i & 0xff;
		wrong += !agrees(text, 33) + !agrees(text, 40);
	}
	CHECK_INT(wrong, 0);
}

static void
every_sequence_of_four_bytes_at_the_edges(void)
{
	unsigned char text[40];
	int wrong = 0;

	memset(text, 'a', sizeof text);
	for (size_t i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
		text[30] = edge[i % EDGES];
		text[31] = edge[i / EDGES % EDGES];
		text[32] = edge[i / EDGES / EDGES % EDGES];
		text[33] = edge[i / EDGES / EDGES / EDGES];
		wrong += !agrees(text, i % 2 ? 34 : 36);
	}
	CHECK_INT(wrong, 0);
}

static void
a_fault_is_seen_wherever_it_stands(void)
{
	static const char *const bad[] = { "\x80", "\xc3", "\xe4\xbd", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xff" };
	unsigned char text[PLACES + 8];
	int wrong = 0, valid = 0;

	for (size_t fill = 0; fill < 2; fill++)
		for (size_t at = 0; at < PLACES; at++)
			for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
				for (size_t behind = 0; behind < 2; behind++) {
					size_t n = at - (fill ? at % 3 : 0), len = strlen(bad[k]);

					for (size_t i = 0; i < n; i++)
						text[i] = fill ? (unsigned char)"\xe4\xbd\xa0"[i % 3] : 'x';
					memcpy(text + n, bad[k], len);
					text[n + len] = 'y';
					valid += utf8_valid(text, n + len + behind);
					wrong += !agrees(text, n + len + behind) + !agrees(text, n);
				}
	CHECK_INT(wrong, 0);
	CHECK_INT(valid, 0);
}

static void
random_mixtures(void)
{
	static const char *const piece[] = { "a", "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80", "0123456789abcdef0123456789abcdef" };
	uint64_t seed = 11;
	unsigned char text[600];
	int wrong = 0, valid = 0;

	for (int i = 0; i < 50000; i++) {
		size_t n = 0;

		while (n < 200 && (seed = seed * 6364136223846793005u + 1442695040888963407u) >> 60 != 0) {
			const char *s = piece[seed >> 40 & 7];

			memcpy(text + n, s, strlen(s));
			n += strlen(s);
		}
		if (n && i % 2)
			text[(seed >> 33) % n] = edge[(seed >> 20) % EDGES];
		wrong += !agrees(text, n);
		valid += utf8_valid(text, n);
	}
	CHECK_INT(wrong, 0);
	CHECK(valid > 25000 && valid < 45000);
}

int
main(void)
{
	RUN(every_sequence_of_two_bytes);
	RUN(every_sequence_of_four_bytes_at_the_edges);
	RUN(a_fault_is_seen_wherever_it_stands);
	RUN(random_mixtures);
	return t_done();
}
