/* ncclload.c - see ncclload.h */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "ncclload.h"

int
nccl_load(struct nccl *n, struct err *e)
{
	const char *own = getenv("SA_NCCL"), *path = own && *own ? own : "libnccl.so.2", *missing = NULL;
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL), *f;

	if (!lib)
		return err_set(e, "--device cuda in several processes needs NCCL: %s", dlerror());
#define F(name, result, parameters) \
	f = dlsym(lib, #name); \
	memcpy(&n->name, &f, sizeof f); \
	missing = f ? missing : #name;
	NCCL_FUNCTIONS(F)
#undef F
	return missing ? err_set(e, "--device cuda in several processes: %s has no %s", path, missing) : 0;
}
