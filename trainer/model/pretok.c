/* pretok.c - text to pieces with PCRE2, and GPT-2's byte alphabet */
#include "pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

const char pretok_llama3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* Letters and numbers of Unicode 15 and 16, which the reference engine knows; PCRE2 10.42 stops at Unicode 14. */
#define NEW_LETTERS \
	"\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}" \
	"\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}" \
	"\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}" \
	"\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}" \
	"\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NEW_NUMBERS \
	"\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}" \
	"\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"
#define LETTER "\\p{L}" NEW_LETTERS
#define NUMBER "\\p{N}" NEW_NUMBERS
#define SPACE "\\p{wspace}"	/* PCRE2's \s also takes U+180E, which the reference engine's does not */

/* The expressions that are known, and how PCRE2 has to be told them. */
static const struct {
	const char *pattern, *pcre;
} known[] = {
	{ pretok_llama3, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n" LETTER NUMBER "]?[" LETTER "]+|[" NUMBER "]{1,3}| ?[^" SPACE LETTER NUMBER "]+[\\r\\n]*"
		"|" SPACE "*[\\r\\n]+|" SPACE "+(?!\\P{wspace})|" SPACE "+" },
};

struct pretok {
	pcre2_code *code;
	pcre2_match_context *context;
};

static const char *
find(const char *pattern)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i].pattern, pattern) == 0)
			return known[i].pcre;
	return NULL;
}

struct pretok *
pretok_new(const char *pattern, struct err *e)
{
	const char *pcre = find(pattern);
	struct pretok *p;
	PCRE2_SIZE at;
	int code;

	if (!pcre) {
		err_set(e, "unknown pre-tokenizer pattern %.200s", pattern);
		return NULL;
	}
	p = xcalloc(1, sizeof *p);
	p->code = pcre2_compile((PCRE2_SPTR)pcre, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
	p->context = pcre2_match_context_create(NULL);
	if (!p->code || !p->context) {
		err_set(e, "PCRE2 does not take the pre-tokenizer's pattern (error %d at %zu)", code, (size_t)at);
		pretok_free(p);
		return NULL;
	}
	/* Without the just-in-time compiler (not on every machine) it is the same, slower; a long run of spaces then needs many steps. */
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
	pcre2_set_match_limit(p->context, UINT32_MAX);
	return p;
}

void
pretok_free(struct pretok *p)
{
	if (!p)
		return;
	pcre2_match_context_free(p->context);
	pcre2_code_free(p->code);
	free(p);
}

/* How many of s[0..n) are valid UTF-8. */
static size_t
valid(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		utf8proc_int32_t c;
		utf8proc_ssize_t k;

		if ((unsigned char)s[i] < 0x80) {
			i++;
			continue;
		}
		k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, n - i, &c);
		if (k <= 0)
			break;
		i += k;
	}
	return i;
}

/* The pieces of valid UTF-8. An expression that fails for want of memory ends the program, as every allocation does. */
static void
run_valid(const struct pretok *p, pcre2_match_data *match, const char *s, size_t n, pretok_piece *piece, void *arg)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
	size_t at = 0;

	while (at < n) {
		int rc = pcre2_match(p->code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK, match, p->context);

		if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
			die(STATUS_IO, "PCRE2 error %d in the tokenizer", rc);
		if (rc < 0 || found[0] > at)
			piece(arg, s + at, (rc < 0 ? n : found[0]) - at);
		if (rc < 0)
			break;
		piece(arg, s + found[0], found[1] - found[0]);
		at = found[1];
	}
}

void
pretok_run(const struct pretok *p, const char *s, size_t n, pretok_piece *piece, void *arg)
{
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);

	if (!match)
		die(STATUS_IO, "out of memory");
	while (n > 0) {
		size_t ok = valid(s, n);

		run_valid(p, match, s, ok, piece, arg);
		if (ok < n)
			piece(arg, s + ok++, 1);
		s += ok;
		n -= ok;
	}
	pcre2_match_data_free(match);
}

/* A byte that prints stands for itself; the other 68 (0..0x20, 0x7f..0xa0 and 0xad) follow from U+0100 on, in order. */
int
alphabet_char(unsigned char byte)
{
	if (byte <= 0x20)
		return 0x100 + byte;
	if (byte >= 0x7f && byte <= 0xa0)
		return 0x121 + byte - 0x7f;
	return byte == 0xad ? 0x143 : byte;
}

int
alphabet_byte(int c)
{
	if (c >= 0x100 && c <= 0x120)
		return c - 0x100;
	if (c >= 0x121 && c <= 0x142)
		return c - 0x121 + 0x7f;
	if (c == 0x143)
		return 0xad;
	return c >= 0 && c < 0x100 && alphabet_char(c) == c ? c : -1;
}

bool
white_space(int c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
		c == 0x202f || c == 0x205f || c == 0x3000;
}
