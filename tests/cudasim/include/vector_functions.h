/* vector_functions.h - CUDA's make_*(), those in use: see cuda_runtime_api.h beside it */
#ifndef CUDASIM_VECTOR_FUNCTIONS_H
#define CUDASIM_VECTOR_FUNCTIONS_H

#include "vector_types.h"

static inline int2 make_int2(int x, int y) { return { x, y }; }
static inline int4 make_int4(int x, int y, int z, int w) { return { x, y, z, w }; }
static inline uint2 make_uint2(unsigned int x, unsigned int y) { return { x, y }; }
static inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return { x, y, z, w }; }
static inline float2 make_float2(float x, float y) { return { x, y }; }
static inline float4 make_float4(float x, float y, float z, float w) { return { x, y, z, w }; }

#endif
