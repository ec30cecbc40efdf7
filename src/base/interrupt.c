#include "base/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught;

static void on_signal(int number) {
    if (caught) {                        /* the user asks again: end as if we had never caught it */
        signal(number, SIG_DFL);
        raise(number);
    }
    caught = number;
}

void fd_interrupt_install(void) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

bool fd_interrupted(void) { return caught != 0; }
void fd_interrupt_clear(void) { caught = 0; }

const char *fd_interrupt_name(void) {
    int number = caught;
    return number == SIGINT ? "SIGINT" : number == SIGTERM ? "SIGTERM" : "";
}
