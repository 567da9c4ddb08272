/* simulator.h - the tests' GPU: sa-cuda.so over the simulator (tests/cudasim), built as this program is */
#ifndef SIMULATOR_H
#define SIMULATOR_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined __SANITIZE_ADDRESS__
#define HOW "asan"
#elif defined __SANITIZE_THREAD__
#define HOW "tsan"
#else
#define HOW "plain"
#endif

/* The library lies beside the unit programs' folder. No algorithms are timed: it would be into the user's file. */
static inline void
use_simulator(const char *argv0)
{
	char path[4096];
	const char *slash = strrchr(argv0, '/');

	snprintf(path, sizeof path, "%.*s/../cudasim/" HOW "/sa-cuda.so", slash ? (int)(slash - argv0) : 1, slash ? argv0 : ".");
	setenv("SA_CUDA", path, 0);
	setenv("SA_TUNE", "off", 1);
}

#endif
