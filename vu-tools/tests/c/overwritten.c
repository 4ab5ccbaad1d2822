/* A path that lies where other things lie, too, when a child made by fork(2) executes it: `overwritten DIRECTORY` has the programs of a directory executed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;

/* A path without the directory, which is not called the same everywhere. */
static const char *brief(const char *path)
{
	size_t length = strlen(directory);
	return path && !strncmp(path, directory, length) ? path + length : path ? path : "(none)";
}

static int tell(int argc, char **argv)
{
	directory = getenv("DIRECTORY");
	char comm[17] = {0};
	prctl(PR_GET_NAME, comm);
	sigset_t blocked;
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	printf("comm %s, by %s, arguments", comm, brief((const char *)getauxval(AT_EXECFN)));
	for (int i = 0; i < argc; i++) printf(" %s", brief(argv[i]));
	printf(", inside %s, blocked %d\n", brief(getenv("INSIDE")), sigismember(&blocked, SIGALRM));
	return 0;
}

/* The memory that a path is put into. */
static char *place;
static volatile sig_atomic_t ticks;

static void tick(int signal)
{
	(void)signal;
	ticks++;
}

/* In a child: executes what is at `path`, and tells if it cannot. The path is as it was then. */
static void in_child(const char *title, char *path, char **argv, char **envp)
{
	printf("%s: ", title);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execve(path, argv, envp);
		printf("%s, %s\n", strerrorname_np(errno), brief(path));
		fflush(stdout);
		_exit(7);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("  status %d, %s\n", status, brief(path));
	fflush(stdout);
}

static char *put(size_t at, const char *name)
{
	sprintf(place + at, "%s/%s", directory, name);
	return place + at;
}

int main(int argc, char **argv)
{
	if (argc < 2 || getenv("DIRECTORY")) return tell(argc, argv);
	directory = argv[1];
	size_t size = 1 << 16;
	char own[4096] = {0}, *variable;
	if (asprintf(&variable, "DIRECTORY=%s", directory) < 0) return 1;
	char *words[] = {"zero", "one", NULL, NULL}, *environment[] = {variable, "A=B", NULL, NULL};

	place = own + 64;
	in_child("on the stack", put(0, "prog"), words, environment);
	in_child("without a vector", put(0, "prog"), NULL, environment);
	in_child("a script", put(0, "script"), words, environment);
	words[0] = put(0, "prog");
	in_child("as the first argument, too", place, words, environment);
	words[0] = "zero", words[2] = strrchr(put(0, "prog"), '/') + 1;
	in_child("its end as an argument", place, words, environment);
	words[2] = NULL;
	strcpy(own + 64 - 7, "INSIDE=");
	environment[2] = own + 64 - 7;
	in_child("in the environment", put(0, "prog"), words, environment);
	environment[2] = own + 64;
	in_child("as a variable", put(0, "prog"), words, environment);
	environment[2] = NULL, own[63] = 'x';
	in_child("behind something", put(0, "prog"), words, environment);
	own[63] = 0;
	in_child("a link", put(0, "link"), words, environment);
	in_child("missing", put(0, "missing"), words, environment);
	in_child("no program", put(0, "text"), words, environment);
	in_child("not executable", put(0, "plain"), words, environment);
	in_child("a directory", put(0, "."), words, environment);

	/* More than there may be of arguments, behind more than is looked at together. */
	static char long_word[(32 << 12) + 1], *many[2000];
	memset(long_word, 'x', sizeof long_word - 1);
	for (int i = 0; i < 1999; i++) many[i] = i < 1998 ? "word" : long_word;
	in_child("too long an argument", put(0, "prog"), many, environment);
	many[1998] = put(0, "prog");
	for (int i = 3; i < 1998; i++) many[i] = "";
	in_child("behind many arguments", put(0, "prog"), many, environment);

	place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	in_child("across two pages", put(4096 - 8, "prog"), words, environment);
	in_child("at the beginning of a page", put(0, "prog"), words, environment);
	put(4096, "prog");
	mprotect(place, size, PROT_READ);
	in_child("where nothing can be written", place + 4096, words, environment);
	place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	in_child("in shared memory", put(1, "prog"), words, environment);
	in_child("in shared memory, no program", put(1, "text"), words, environment);

	/* Only the child has it. */
	place = own + 64;
	put(0, "prog");
	printf("made by the child: ");
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		execve(put(1, "prog"), words, environment);
		_exit(7);
	}
	waitpid(pid, NULL, 0);
	printf("by execveat: ");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, AT_FDCWD, place, words, environment, 0);
		_exit(7);
	}
	waitpid(pid, NULL, 0);
	printf("by vfork: ");
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execve(place, words, environment);
		_exit(7);
	}
	waitpid(pid, NULL, 0);
	printf("  %s\n", brief(place));

	/* Execs that fail among signals: each leaves the path as it was, and each signal comes. */
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct sigaction action = {.sa_handler = tick};
		sigaction(SIGALRM, &action, NULL);
		struct itimerval often = {{0, 300}, {0, 300}};
		setitimer(ITIMER_REAL, &often, NULL);
		put(0, "text");
		char expected[4096];
		strcpy(expected, place);
		int wrong = 0;
		for (int i = 0; i < 300; i++) {
			execve(place, words, environment);
			wrong += errno != ENOEXEC || strcmp(place, expected) != 0;
		}
		while (ticks < 20) pause();
		printf("among signals: %d wrong\n", wrong);
		setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return 0;
}
