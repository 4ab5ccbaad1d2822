/* What debuggers look at: children of all kinds, threads, signals, an exec. `debugged [PROGRAM…]` executes PROGRAM at its end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

volatile int counter;

__attribute__((noinline)) int add(int a, int b) { return a + b; }

static void nap(int ms) {
    struct timespec t = {0, ms * 1000000L};
    nanosleep(&t, NULL);
}

static void *worker(void *argument) {
    for (int i = 0; i < 3; i++) counter = add(counter, 10);
    return argument;
}

static void on_signal(int signal) { counter += signal; }

int main(int argc, char **argv) {
    printf("sum %d\n", add(1, 2));
    fflush(stdout);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    pid_t child = fork();
    if (child == 0) {
        struct stat st;
        nap(50);
        _exit(stat("file", &st) == 0 && mkdir("made", 0750) == 0 ? 3 : 4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("child %x\n", status);
    fflush(stdout);
    child = vfork();
    if (child == 0) {
        execl("./script", "script", "argument", NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, NULL) != 0) return 1;
    pthread_join(thread, NULL);
    printf("counter %d\n", counter);
    fflush(stdout);
    if (argc > 1) execv(argv[1], argv + 1);
    return 0;
}
