/* Links that change right after they were followed: `links DIRECTORY`; with `links DIRECTORY NEXT DONE`, somebody else changes one when NEXT appears, and makes DONE. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[4096], made[4096], to[4096];

static const char *in(char *buffer, const char *directory, const char *name)
{
	snprintf(buffer, 4096, "%s/%s", directory, name);
	return buffer;
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(name);
	close(fd);
}

/* What open, stat and access find at an absolute path. */
static void look(const char *title, const char *directory, const char *name)
{
	char text[64] = "";
	struct stat status;
	int fd = open(in(path, directory, name), O_RDONLY);
	int opened = fd < 0 ? errno : 0;
	if (fd >= 0) {
		if (read(fd, text, sizeof text - 1) < 0) perror("read");
		close(fd);
	}
	int looked = stat(path, &status) < 0 ? errno : 0;
	printf("%s: '%s' %s, %ld %s, %s\n", title, text, strerrorname_np(opened), looked ? -1L : (long)status.st_size, strerrorname_np(looked),
	       strerrorname_np(access(path, R_OK) < 0 ? errno : 0));
}

static void link_anew(const char *directory, const char *target)
{
	if (symlink(target, in(made, directory, "new")) < 0) perror("symlink");
	rename(made, in(path, directory, "d/link"));
}

int main(int argc, char **argv)
{
	const char *directory = argv[1];
	mkdir(in(path, directory, "d"), 0700);
	mkdir(in(path, directory, "e"), 0700);
	write_file(in(path, directory, "one"), "1");
	write_file(in(path, directory, "e/two"), "22");
	link_anew(directory, "../one");
	if (argc == 4) {
		look("before", directory, "d/link");
		look("before", directory, "d/link");
		write_file(argv[2], "");
		while (access(argv[3], F_OK) < 0) {
		}
		look("after", directory, "d/link");
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		look("the first", directory, "d/link");
		link_anew(directory, "../e/two");
		look("another", directory, "d/link");
		write_file(in(path, directory, "three"), "333");
		rename(in(path, directory, "three"), in(to, directory, "e/two"));
		look("replaced", directory, "d/link");
		int d = open(in(path, directory, "d"), O_RDONLY | O_DIRECTORY), e = open(in(path, directory, "e"), O_RDONLY | O_DIRECTORY);
		if (geteuid()) {
			fchmod(d, 0);
			look("where the link is, nobody may look", directory, "d/link");
			fchmod(d, 0700);
			look("and may again", directory, "d/link");
			fchmod(e, 0);
			look("where it leads, nobody may look", directory, "d/link");
			fchmod(e, 0700);
		}
		close(d), close(e);
		unlink(in(path, directory, "e/two"));
		look("gone", directory, "d/link");
		write_file(in(path, directory, "e/two"), "22");
		look("there", directory, "d/link");
		symlink(in(to, directory, "one"), in(made, directory, "new"));
		rename(made, in(path, directory, "d/link"));
		look("absolute", directory, "d/link");
		link_anew(directory, "../one");
	}
	return 0;
}
