/* dtype.h - how numbers are stored: conversion to float (exact) and back (round to nearest even) */
#ifndef SA_DTYPE_H
#define SA_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dtype { DT_F32, DT_F16, DT_BF16, DT_INT8 };	/* DT_INT8: only inside a struct matrix, whose scales it needs */

/* Bytes. Here, because in a register tile it must be a constant. */
static inline size_t
dtype_size(enum dtype d)
{
	return d == DT_F32 ? 4 : d == DT_INT8 ? 1 : 2;
}

/* n elements; `in` and `out` need no alignment. Not for DT_INT8. */
void to_float(float *out, const void *in, enum dtype d, size_t n);
void from_float(void *out, const float *in, enum dtype d, size_t n);

#endif
