/* ncclload.h - the part of NCCL that several GPUs of one run need, found at run time
 *
 * NCCL is linked to nothing here: one GPU needs none, and neither does building. nccl_load() opens libnccl.so.2, or what SA_NCCL names. The declarations are
 * those of NVIDIA's nccl.h, which has had them so since version 2.10; its enums are written as the unsigned int that they are passed as.
 * tests/cudasim/nccl.sh compiles the one against the other and looks each name up in a real library. */
#ifndef SA_NCCLLOAD_H
#define SA_NCCLLOAD_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;
struct ncclComm;
struct err;

struct nccl_id {
	char bytes[128];
};

enum { NCCL_SUCCESS = 0, NCCL_REMOTE_ERROR = 6, NCCL_IN_PROGRESS = 7 };
enum { NCCL_INT8 = 0, NCCL_UINT32 = 3, NCCL_FLOAT = 7 };
enum { NCCL_SUM = 0 };

/* NAME(what it returns, its parameters) */
#define NCCL_FUNCTIONS(F) \
	F(ncclGetUniqueId, unsigned, (struct nccl_id *)) \
	F(ncclCommInitRank, unsigned, (struct ncclComm **, int, struct nccl_id, int)) \
	F(ncclCommDestroy, unsigned, (struct ncclComm *)) \
	F(ncclCommAbort, unsigned, (struct ncclComm *)) \
	F(ncclCommGetAsyncError, unsigned, (struct ncclComm *, unsigned *)) \
	F(ncclReduceScatter, unsigned, (const void *, void *, size_t, unsigned, unsigned, struct ncclComm *, struct CUstream_st *)) \
	F(ncclAllGather, unsigned, (const void *, void *, size_t, unsigned, struct ncclComm *, struct CUstream_st *)) \
	F(ncclGetErrorString, const char *, (unsigned))

struct nccl {
#define F(name, result, parameters) result (*name) parameters;
	NCCL_FUNCTIONS(F)
#undef F
};

/* 0; -1 with a message: there is no NCCL, or it lacks something. It stays for as long as the process lives. */
int nccl_load(struct nccl *n, struct err *e);

#ifdef __cplusplus
}
#endif
#endif
