/* interrupt.h — SIGINT and SIGTERM ask a running job to finish its step, save and leave with exit code 130. */
#ifndef FD_BASE_INTERRUPT_H
#define FD_BASE_INTERRUPT_H

#include <stdbool.h>

/* Installs the handlers. A second signal of the same kind ends the program at once, as users expect. */
void fd_interrupt_install(void);
bool fd_interrupted(void);
void fd_interrupt_clear(void);         /* forgets a caught signal (tests, programs that go on) */
const char *fd_interrupt_name(void);   /* "SIGINT", "SIGTERM" or "" */

#endif
