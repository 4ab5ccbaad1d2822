/* What a program finds about itself when it begins: `named WAY PATH` executes PATH, itself by another name, in one of several ways; `named` alone tells. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int tell(int argc, char **argv)
{
	char comm[17] = {0}, exe[4096] = {0}, line[4096] = {0};
	prctl(PR_GET_NAME, comm);
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return 1;
	int fd = open("/proc/self/cmdline", O_RDONLY);
	ssize_t length = read(fd, line, sizeof line - 1);
	for (ssize_t i = 0; i < length; i++)
		if (line[i] == 0) line[i] = '|';
	const char *end = strrchr(exe, '/');
	printf("%d %s, by %s, comm %s, exe %s, cmdline %s, vdso %d\n", argc, argv[0], (const char *)getauxval(AT_EXECFN), comm, end ? end : exe, line,
	       getauxval(AT_SYSINFO_EHDR) != 0);
	return 0;
}

int main(int argc, char **argv)
{
	char *words[] = {"zero", "one", NULL};
	if (argc < 3) return tell(argc, argv);
	const char *way = argv[1], *path = argv[2];
	if (!strcmp(way, "path")) execve(path, words, environ);
	if (!strcmp(way, "nothing")) syscall(SYS_execve, path, NULL, environ);
	if (!strcmp(way, "dir")) syscall(SYS_execveat, open(".", O_PATH | O_CLOEXEC), path, words, environ, 0);
	if (!strcmp(way, "fd")) syscall(SYS_execveat, open(path, O_PATH), "", words, environ, AT_EMPTY_PATH);
	if (!strcmp(way, "link")) {
		char link[64];
		snprintf(link, sizeof link, "/proc/self/fd/%d", open(path, O_RDONLY));
		execve(link, words, environ);
	}
	printf("%s %s: %s\n", way, path, strerror(errno));
	return 0;
}
