/* plugin.h - parts of a program that lie beside it as shared objects, because what they link need not be there: MPI, CUDA */
#ifndef SA_PLUGIN_H
#define SA_PLUGIN_H

#include "err.h"

struct plugin {
	const char *file;	/* "sa-mpi.so", in the folder of the program that runs */
	const char *variable;	/* of the environment: another path for it; NULL: none */
	const char *symbol;	/* what in it is wanted */
	const char *made;	/* how it comes to be there: "by `make cuda`, which needs nvcc" */
};

/* The symbol's address, for as long as the process lives. NULL, with a message, when the file is not there, is not loadable or has no such symbol. What is in it
 * is found by the objects that it loads in turn. */
void *plugin_load(const struct plugin *p, struct err *e);

#endif
