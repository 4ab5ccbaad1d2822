/* The affinity of a thread that has just received a descriptor, and what its children inherit: `affinity FILE`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static cpu_set_t own;

static int is_another(void)
{
	cpu_set_t now;
	sched_getaffinity(0, sizeof now, &now);
	return !CPU_EQUAL(&now, &own);
}

int main(int argc, char **argv)
{
	int another = 0, children = 0;
	if (argc != 2) return 1;
	sched_getaffinity(0, sizeof own, &own);
	for (int i = 0; i < 2000; i++) {
		int fd = open(argv[1], O_RDONLY);
		if (fd < 0) return 1;
		another += is_another();
		close(fd);
	}
	for (int i = 0; i < 200; i++) {
		int status, fd = open(argv[1], O_RDONLY);
		pid_t pid = fork();
		if (pid == 0) _exit(is_another());
		waitpid(pid, &status, 0);
		children += status != 0;
		close(fd);
	}
	printf("another one %d times, children's %d times\n", another, children);
	return 0;
}
