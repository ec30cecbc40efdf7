/* fake_nccl.c — NCCL's four functions for the emulated device, over the MPI that the program has loaded: what is tested with it is
 * that they are called rightly, by every rank and in the same order. The device's memory is out of reach for the host, so the
 * numbers go through a copy. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime_api.h"

typedef struct { char internal[128]; } nccl_id;

static const char word[] = "an id that rank 0 made";
static int here;

int ncclGetUniqueId(nccl_id *id);
int ncclCommInitRank(void **comm, int size, nccl_id id, int rank);
int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, void *comm, void *stream);
const char *ncclGetErrorString(int code);

int ncclGetUniqueId(nccl_id *id) {
    memcpy(id->internal, word, sizeof word);
    return 0;
}

int ncclCommInitRank(void **comm, int size, nccl_id id, int rank) {
    if (memcmp(id.internal, word, sizeof word) || rank < 0 || rank >= size) return 4;
    *comm = &here;
    fprintf(stderr, "fake NCCL: rank %d of %d\n", rank, size);
    return 0;
}

int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, void *comm, void *stream) {
    int (*reduce)(const void *, void *, int, void *, void *, void *) = NULL;
    void *f = dlsym(RTLD_DEFAULT, "MPI_Allreduce"), *world = dlsym(RTLD_DEFAULT, "ompi_mpi_comm_world");
    void *f32 = dlsym(RTLD_DEFAULT, "ompi_mpi_float"), *sum = dlsym(RTLD_DEFAULT, "ompi_mpi_op_sum");
    if (!f || !world || !f32 || !sum) return 2;
    if (from != to || type != 7 || op != 0 || comm != &here || !stream) return 4;
    memcpy(&reduce, &f, sizeof reduce);
    const size_t bytes = n * sizeof(float);
    void *copy = malloc(bytes);
    int code = !copy || cudaMemcpyAsync(copy, from, bytes, cudaMemcpyDeviceToHost, stream) ||
               reduce((void *)1 /* MPI_IN_PLACE */, copy, (int)n, f32, sum, world) ||
               cudaMemcpyAsync(to, copy, bytes, cudaMemcpyHostToDevice, stream);
    free(copy);
    return code ? 2 : 0;
}

const char *ncclGetErrorString(int code) { return code == 4 ? "invalid argument" : "unhandled system error"; }
