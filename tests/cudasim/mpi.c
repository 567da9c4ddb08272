/* mpi.c - preloaded: while a process waits in MPI its simulated device goes on, as a GPU does
 *
 * Without it another process that waits for that device would wait for ever: here the device is the process (stream.cpp). Of MPI those calls that sa-mpi.so
 * makes while something may be under way. */
#include <mpi.h>
#include <stddef.h>

void (*cudasim_in_mpi)(void);	/* set by nccl.cpp */

static int
wait_for(MPI_Request r)
{
	int done = 0, e = MPI_SUCCESS;

	while (e == MPI_SUCCESS && !done) {
		e = PMPI_Test(&r, &done, MPI_STATUS_IGNORE);
		if (!done && cudasim_in_mpi)
			cudasim_in_mpi();
	}
	return e;
}

int
MPI_Allgather(const void *from, int n, MPI_Datatype type, void *to, int m, MPI_Datatype of, MPI_Comm c)
{
	MPI_Request r;
	int e = PMPI_Iallgather(from, n, type, to, m, of, c, &r);

	return e == MPI_SUCCESS ? wait_for(r) : e;
}

int
MPI_Allgatherv(const void *from, int n, MPI_Datatype type, void *to, const int *m, const int *at, MPI_Datatype of, MPI_Comm c)
{
	MPI_Request r;
	int e = PMPI_Iallgatherv(from, n, type, to, m, at, of, c, &r);

	return e == MPI_SUCCESS ? wait_for(r) : e;
}

int
MPI_Bcast(void *p, int n, MPI_Datatype type, int root, MPI_Comm c)
{
	MPI_Request r;
	int e = PMPI_Ibcast(p, n, type, root, c, &r);

	return e == MPI_SUCCESS ? wait_for(r) : e;
}
