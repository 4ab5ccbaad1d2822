/* Attaches to a child that is stopped, and asks it something at once, without a wait: that must succeed (ptrace_attach, kernel/ptrace.c).
 * What follows is told, too. Each round is the same; only the first that differs from the one before is printed again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static char told[1024];

static void tell(const char *what, long result)
{
    size_t length = strlen(told);
    snprintf(told + length, sizeof told - length, "%s: %ld %s\n", what, result, result == -1 ? strerror(errno) : "");
}

static void tell_wait(const char *what, pid_t pid)
{
    int status = 0;
    if (waitpid(pid, &status, WUNTRACED | WCONTINUED | __WALL) != pid)
        status = -1;
    tell(what, status);
}

static void round_of(int request)
{
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(7);
    }
    told[0] = 0;
    tell_wait("stops", pid);
    tell("attach", ptrace(request, pid, 0, 0));
    errno = 0;
    ptrace(PTRACE_PEEKUSER, pid, (void *)offsetof(struct user, regs.rsp), 0);
    tell("asked", errno);
    tell("changed", ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, u_debugreg[7]), (void *)0));
    tell_wait("wait", pid);
    tell("detach", ptrace(PTRACE_DETACH, pid, 0, 0));
    tell("continue", kill(pid, SIGCONT));
    int status;
    do
        waitpid(pid, &status, __WALL);
    while (!WIFEXITED(status));
    tell("end", WEXITSTATUS(status));
}

int main(void)
{
    static const int requests[] = {PTRACE_ATTACH, PTRACE_SEIZE};
    for (int i = 0; i < 2; i++) {
        char before[sizeof told] = "";
        for (int n = 0; n < 50; n++) {
            round_of(requests[i]);
            if (strcmp(before, told))
                printf("round %d of %s\n%s", n, i ? "PTRACE_SEIZE" : "PTRACE_ATTACH", told);
            strcpy(before, told);
        }
    }
    return 0;
}
