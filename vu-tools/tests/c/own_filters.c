/* What a program knows of its own seccomp filters, of the promise that they need, and of its debugger: by system calls (`calls`), and as /proc tells it (`status`). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int reads_status;
static struct sock_filter nothing[] = {{0x06, 0, 0, SECCOMP_RET_ALLOW}};
static struct sock_fprog filter = {1, nothing};

static void known(const char *when)
{
	char line[256];
	printf("%s: mode %d, promised %d;", when, prctl(PR_GET_SECCOMP), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	FILE *status = reads_status ? fopen("/proc/thread-self/status", "r") : NULL;
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "TracerPid", 9) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp", 7) || !strncmp(line, "State", 5))
			printf(" %.*s", (int)strcspn(line, "\n"), line);
	if (status) fclose(status);
	printf("\n");
	fflush(stdout);
}

static void show(const char *what, long result)
{
	int error = errno;
	printf("%s: %ld %s\n", what, result, result < 0 ? strerror(error) : "");
	fflush(stdout);
}

static void *waits(void *pipe)
{
	char byte;
	if (read(*(int *)pipe, &byte, 1) == 1) known("the other thread");
	return NULL;
}

static void strictly(int by_prctl, void (*then)(void))
{
	int status;
	fflush(stdout);
	if (fork() == 0) {
		long result = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) : syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
		if (result != 0) _exit(7);
		if (write(1, "strict\n", 7) != 7) syscall(SYS_exit, 8);
		then();
		syscall(SYS_exit, 4);
	}
	wait(&status);
	printf("ended: %x\n", status);
}
static void nothing_else(void) {}
static void asks(void) { getppid(); }
static void looks(void) { access("file", F_OK); }

int main(int argc, char **argv)
{
	int go[2];
	pthread_t thread;
	reads_status = argc > 1 && !strcmp(argv[1], "status");
	if (argc > 2) return known("executed"), 0;
	known("at first");
	show("without the promise", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
	show("bad flags", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 20, &filter));
	show("a bad filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 8L));
	show("a bad mode", prctl(PR_SET_SECCOMP, 9));
	show("half a promise", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1));
	strictly(1, nothing_else);
	strictly(0, nothing_else);
	strictly(1, asks);
	strictly(0, looks);
	show("strict with an argument", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 8L));
	show("the promise", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	known("promised");
	for (int all = 0; all < 2; all++) {
		if (pipe(go) || pthread_create(&thread, NULL, waits, &go[0])) return 1;
		show("a filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all ? SECCOMP_FILTER_FLAG_TSYNC : 0, &filter));
		known("filtered");
		if (write(go[1], "x", 1) != 1) return 1;
		pthread_join(thread, NULL);
	}
	show("strict after that", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	show("by prctl", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
	fflush(stdout);
	if (fork() == 0) {
		known("a child");
		execl(argv[0], argv[0], argv[1], "executed", NULL);
	}
	wait(NULL);
	return 0;
}
