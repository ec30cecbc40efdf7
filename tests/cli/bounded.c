/* bounded SECONDS COMMAND… — runs a command and says on file descriptor 3 what it took: "EXIT MILLISECONDS KIB".
 * EXIT is 128 + n after signal n. MILLISECONDS of processor time, since other tests share the cores; KIB: the most
 * memory it had at one time. After SECONDS on the clock the command is killed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static void late(int number) { kill(child, SIGKILL); }

int main(int argc, char **argv) {
    struct rusage used;
    int status;
    if (argc < 3) return 2;
    child = fork();
    if (child < 0) return 2;
    if (!child) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    struct sigaction act = {.sa_handler = late, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &act, NULL);
    alarm((unsigned)atoi(argv[1]));
    if (wait4(child, &status, 0, &used) < 0) return 2;
    long cpu = used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000 + used.ru_stime.tv_sec * 1000 +
               used.ru_stime.tv_usec / 1000;
    dprintf(3, "%d %ld %ld\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), cpu,
            used.ru_maxrss);
    return 0;
}
