/* waiting.h — how OpenMP's threads wait for each other. */
#ifndef FD_CLI_WAITING_H
#define FD_CLI_WAITING_H

/* Starts the program again (same arguments) with OpenMP told how to wait, unless the environment already says so
 * (OMP_WAIT_POLICY, GOMP_SPINCOUNT, KMP_BLOCKTIME): the library reads that once, when it is loaded. Returns where the choice is
 * made, or the program cannot start itself. */
void fd_waiting_choose(char **argv);

/* What the environment says now: "sleep at once". out holds 80 bytes. */
void fd_waiting_describe(char out[80]);

#endif
