/* The waits of a debugger without children.
 *
 * Signals come upon them at every moment, also just as they begin: each ends the wait that it meets. It prints whether some slept on, but for the few in whose
 * time the machine was busy. Then one thread waits, another has a child, and the first is told of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 400

static volatile sig_atomic_t caught;

static void handler(int signal)
{
    (void)signal;
    caught++;
}

static void *wait_for_child(void *debuggee)
{
    int status = 0;
    pid_t child = waitpid(-1, &status, __WALL);
    printf("child: %s, %d\n", child > 0 && child != *(pid_t *)debuggee ? "told" : "not told", WEXITSTATUS(status));
    return NULL;
}

static int debug(pid_t debuggee)
{
    int slept = 0, otherwise = 0, status;
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    if (ptrace(PTRACE_SEIZE, debuggee, 0, 0))
        return perror("PTRACE_SEIZE"), 1;
    for (int i = 0; i < ROUNDS; i++) {
        /* The second signal is for a wait that the first has not ended. */
        struct itimerval soon = {{0, 100000}, {0, 1 + i % 100}}, never = {{0, 0}, {0, 0}};
        caught = 0;
        setitimer(ITIMER_REAL, &soon, NULL);
        pid_t result = caught ? 0 : waitpid(debuggee, &status, __WALL);
        setitimer(ITIMER_REAL, &never, NULL);
        otherwise += result > 0 || (result < 0 && errno != EINTR);
        slept += caught > 1;
    }
    printf("slept on: %s, ended otherwise: %d\n", slept > ROUNDS / 20 ? "many" : "none", otherwise);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_child, &debuggee);
    usleep(300000);
    if (fork() == 0)
        _exit(7);
    pthread_join(thread, NULL);
    return 0;
}

int main(void)
{
    int status, ready[2];
    char byte;
    if (pipe(ready))
        return 1;
    pid_t debuggee = fork();
    if (debuggee == 0) {
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        return 1;
    pid_t debugger = fork();
    if (debugger == 0) {
        status = debug(debuggee);
        fflush(stdout);
        _exit(status);
    }
    waitpid(debugger, &status, 0);
    kill(debuggee, SIGKILL);
    waitpid(debuggee, NULL, 0);
    printf("debugger %d\n", status);
    return 0;
}
