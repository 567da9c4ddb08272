/* splitmix.h - a stream of 64-bit random numbers that is the same on every machine (splitmix64, Steele, Lea, Flood 2014) */
#ifndef SA_SPLITMIX_H
#define SA_SPLITMIX_H

#include <stdint.h>

static inline uint64_t
next64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

#endif
