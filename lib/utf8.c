/* utf8.c - is it UTF-8? */
#include "utf8.h"

#include <stdint.h>
#include <string.h>

size_t
utf8_len(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		lo = 0xa0;	/* shorter forms exist below */
	else if (p[0] == 0xed)
		hi = 0x9f;	/* surrogates */
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;	/* past U+10FFFF */
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool
utf8_valid_plain(const unsigned char *p, size_t n)
{
	size_t i = 0, len;
	uint64_t eight;

	while (i < n) {
		if (n - i >= 8) {
			memcpy(&eight, p + i, 8);
			if (!(eight & 0x8080808080808080u)) {
				i += 8;
				continue;
			}
		}
		/* Most of Chinese text: three bytes that no special case touches. */
		if (n - i >= 3 && p[i] > 0xe0 && p[i] < 0xed && (p[i + 1] & 0xc0) == 0x80 && (p[i + 2] & 0xc0) == 0x80) {
			i += 3;
			continue;
		}
		len = utf8_len(p + i, n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

#ifdef __x86_64__
#include <immintrin.h>

/* Validation by lookup (J. Keiser, D. Lemire, "Validating UTF-8 in less than one instruction per byte", 2021). Whatever can be wrong shows in
 * the first twelve bits of a sequence: three tables of 16, by the nibbles of a byte and the high nibble of the next, say which errors each
 * allows; an error is one that all three allow. TWICE is a continuation behind a continuation: right exactly where a lead byte two or three
 * places before asks for it. */
enum {
	SHORT = 1, LONG = 2, OVERLONG_3 = 4, LARGE = 8, SURROGATE = 16, OVERLONG_2 = 32, LARGE_1000 = 64, OVERLONG_4 = 64, TWICE = 128,
	ANY = SHORT | LONG | TWICE,
	LARGER = ANY | LARGE | LARGE_1000,
	CONT = LONG | OVERLONG_2 | TWICE,
};

static const uint8_t lead_high[16] = {
	LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, TWICE, TWICE, TWICE, TWICE,
	SHORT | OVERLONG_2, SHORT, SHORT | OVERLONG_3 | SURROGATE, SHORT | LARGE | LARGE_1000 | OVERLONG_4,
};
static const uint8_t lead_low[16] = {
	ANY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, ANY | OVERLONG_2, ANY, ANY, ANY | LARGE, LARGER, LARGER, LARGER,
	LARGER, LARGER, LARGER, LARGER, LARGER, LARGER | SURROGATE, LARGER, LARGER,
};
static const uint8_t next_high[16] = {
	SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
	CONT | OVERLONG_3 | LARGE_1000 | OVERLONG_4, CONT | OVERLONG_3 | LARGE, CONT | SURROGATE | LARGE, CONT | SURROGATE | LARGE,
	SHORT, SHORT, SHORT, SHORT,
};

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i
look_up(const uint8_t table[16], __m256i nibbles)
{
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table)), nibbles);
}

/* Nonzero bytes where the 32 of `now` are wrong, given the 32 before them. */
AVX2 static inline __m256i
wrong(__m256i before, __m256i now)
{
	const __m256i low = _mm256_set1_epi8(0x0f);
	__m256i over = _mm256_permute2x128_si256(before, now, 0x21);
	__m256i back1 = _mm256_alignr_epi8(now, over, 15), back2 = _mm256_alignr_epi8(now, over, 14), back3 = _mm256_alignr_epi8(now, over, 13);
	__m256i errors = _mm256_and_si256(look_up(lead_low, _mm256_and_si256(back1, low)), _mm256_and_si256(
		look_up(lead_high, _mm256_and_si256(_mm256_srli_epi16(back1, 4), low)), look_up(next_high, _mm256_and_si256(_mm256_srli_epi16(now, 4), low))));
	/* The top bit where the byte two before is at least 0xe0 or the one three before at least 0xf0. */
	__m256i asked = _mm256_or_si256(_mm256_subs_epu8(back2, _mm256_set1_epi8(0xe0 - 0x80)), _mm256_subs_epu8(back3, _mm256_set1_epi8((char)(0xf0 - 0x80))));

	return _mm256_xor_si256(_mm256_and_si256(asked, _mm256_set1_epi8((char)0x80)), errors);
}

AVX2 static bool
valid_avx2(const unsigned char *p, size_t n)
{
	__m256i before = _mm256_setzero_si256(), now, error = before;
	unsigned char last[32] = { 0 };	/* the rest, and at least one NUL: there a sequence that was cut is wrong */

	for (; n >= 32; p += 32, n -= 32) {
		now = _mm256_loadu_si256((const __m256i *)p);
		if (_mm256_movemask_epi8(_mm256_or_si256(before, now)))
			error = _mm256_or_si256(error, wrong(before, now));
		before = now;
	}
	memcpy(last, p, n);
	now = _mm256_loadu_si256((const __m256i *)last);
	error = _mm256_or_si256(error, wrong(before, now));
	return _mm256_testz_si256(error, error);
}
#endif

bool
utf8_valid(const unsigned char *p, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return valid_avx2(p, n);
#endif
	return utf8_valid_plain(p, n);
}
