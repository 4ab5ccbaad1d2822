/* Says what it sees: a small program to compile in every way and to make unreadable. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct stat st;
    char line[64] = "", cwd[4096];
    FILE *f = fopen("file", "r");
    if (!f || !fgets(line, sizeof line, f))
        printf("file: %s\n", strerror(errno));
    printf("%d bits, %d arguments, file says %s", (int)sizeof(long) * 8, argc, line);
    printf("missing: %s\n", stat("missing", &st) == 0 ? "there" : strerror(errno));
    if (stat("file", &st) == 0)
        printf("file: %ld bytes, mode %o\n", (long)st.st_size, (unsigned)st.st_mode);
    printf("cwd: %s\n", getcwd(cwd, sizeof cwd) ? cwd : strerror(errno));
    int count = 0;
    DIR *dir = opendir("dir");
    while (dir && readdir(dir))
        count++;
    printf("dir: %d entries\n", count);
    FILE *new = fopen("hello-made-this", "w");
    if (!new || fputs(argv[argc - 1], new) < 0 || fclose(new))
        printf("writing: %s\n", strerror(errno));
    fflush(stdout);
    if (argc > 1 && strcmp(argv[1], "exec") == 0) {
        execl("./script", "script", "by", "exec", (char *)NULL);
        printf("exec: %s\n", strerror(errno));
    }
    return 21;
}
