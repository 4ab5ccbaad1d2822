// Looks at paths again and again in one process, while other things happen. Each argument is a step:
//   has        whether this process has an agent: a segment of code behind the C library's data
//   PATH       what several calls say of it, asked so often that the answers come from where they come in the long run
//   ?PATH      who answers what stat(2) asks of it: this process itself, or a hypervisor, for whom it waits
//   =PATH      the same of statfs(2)
//   #DIR       the same of opendir(3)
//   &DIR       the same of a directory that is open: its attributes, its listing, and a file `f` in it
//   *DIR       the same of all directories in one, each opened once below the descriptor of that
//   [DIR       opens a directory and keeps it
//   ]NAME      what is there under this name, and what it lists and is itself, again and again
//   bad        what calls say of paths that cannot be read
//   !COMMAND   for the shell
//   @DIR       chdir
//   %DIR       chroot
//   root       becomes virtual root
//   filter     installs a filter that kills who asks for attributes without following links
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static int find(struct dl_phdr_info *info, size_t size, void *found) {
    (void)size;
    if (!strstr(info->dlpi_name, "libc.so.6")) return 0;
    int writable = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD) continue;
        writable |= header->p_flags & PF_W;
        if (writable && header->p_flags & PF_X) *(int *)found = 1;
    }
    return 0;
}

static int result(long value) {
    return value < 0 ? -errno : 0;
}

// One line about a path.
static void describe(const char *path, char *line, size_t size) {
    struct stat followed = {0}, itself = {0};
    struct statx extended = {0};
    char target[256] = "", list[256];
    int a = result(stat(path, &followed)), b = result(lstat(path, &itself));
    int c = result(access(path, R_OK)), d = result(readlink(path, target, sizeof target - 1));
    int e = result(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &extended));
    int f = result(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW));
    int g = result(listxattr(path, list, sizeof list));
    struct statfs system = {0};
    int i = result(statfs(path, &system));
    // An open file: what it is called, and what is in it.
    char name[256] = "", link[64], byte = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK), h = result(fd);
    if (fd >= 0) {
        struct stat opened;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, name, sizeof name - 1) < 0 || fstat(fd, &opened) || opened.st_ino != followed.st_ino) h = -9999;
        if (read(fd, &byte, 1) < 0) byte = 'd';
        // A directory is a place to begin at.
        struct stat below;
        if (S_ISDIR(opened.st_mode) && !fstatat(fd, "sub", &below, AT_SYMLINK_NOFOLLOW)) byte = 's';
        int inner = openat(fd, "f", O_RDONLY);
        if (inner >= 0) byte = 'f';
        close(inner);
        close(fd);
    }
    snprintf(line, size, "%d:%o:%ld %d:%o %d %d:%s %d:%lld %d %d %d:%lx:%lx %d:%s:%d", a, followed.st_mode, a ? 0 : (long)followed.st_size, b, itself.st_mode & S_IFMT, c,
             d, target, e, e ? 0 : (long long)extended.stx_size, f, g, i, (long)system.f_type, (long)system.f_flags, h, name, byte);
    if (!a && (followed.st_ino != extended.stx_ino || followed.st_mtim.tv_nsec != extended.stx_mtime.tv_nsec)) strcat(line, " CONTRADICTION");
}

static void look(const char *path) {
    char line[1024], again[1024];
    describe(path, line, sizeof line);
    for (int i = 0; i < 50; i++) {
        describe(path, again, sizeof again);
        if (strcmp(line, again)) {
            printf("%s: first %s, then %s\n", path, line, again);
            exit(1);
        }
    }
    printf("%s %s\n", path, line);
}

// Who waits for another process is switched away from; who is answered by the kernel is not.
static void who(char call, const char *path) {
    enum { CALLS = 200 };
    struct rusage before, after;
    struct stat buffer;
    struct statfs system;
    for (int attempt = 0; attempt < 5; attempt++) {
        getrusage(RUSAGE_SELF, &before);
        for (int i = 0; i < CALLS; i++) {
            DIR *directory;
            switch (call) {
            case '?': stat(path, &buffer); break;
            case '=': statfs(path, &system); break;
            case '#':
                if ((directory = opendir(path))) closedir(directory);
                break;
            }
        }
        getrusage(RUSAGE_SELF, &after);
        if (after.ru_nvcsw - before.ru_nvcsw < CALLS / 2) {
            printf("%s is answered here\n", path);
            return;
        }
    }
    printf("%s is answered elsewhere\n", path);
}

// The same by a descriptor.
static void who_below(const char *path) {
    enum { ROUNDS = 100 };
    struct rusage before, after;
    struct stat buffer;
    char entries[4096];
    int fd = open(path, O_RDONLY | O_DIRECTORY), found = 0, listed = 0;
    for (int attempt = 0; attempt < 5; attempt++) {
        getrusage(RUSAGE_SELF, &before);
        found = listed = 0;
        for (int i = 0; i < ROUNDS; i++) {
            fstat(fd, &buffer);
            fstatat(fd, "f", &buffer, 0);
            lseek(fd, 0, SEEK_SET);
            listed += getdents64(fd, entries, sizeof entries) > 0;
            int inner = openat(fd, "f", O_RDONLY);
            found += inner >= 0 && !fstat(inner, &buffer) && S_ISREG(buffer.st_mode);
            close(inner);
        }
        getrusage(RUSAGE_SELF, &after);
        if (after.ru_nvcsw - before.ru_nvcsw < ROUNDS) break;
    }
    printf("&%s is answered %s: %d %d\n", path, after.ru_nvcsw - before.ru_nvcsw < ROUNDS ? "here" : "elsewhere", found, listed);
    close(fd);
}

static void who_in(const char *path) {
    enum { MOST = 400 };
    static char names[MOST][64];
    int count = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory)) && count < MOST;)
        if (*entry->d_name != '.') snprintf(names[count++], sizeof *names, "%s", entry->d_name);
    struct rusage before, after;
    struct stat buffer;
    char entries[4096];
    for (int attempt = 0; attempt < 5; attempt++) {
        getrusage(RUSAGE_SELF, &before);
        for (int i = 0; i < count; i++) {
            int fd = openat(dirfd(directory), names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (fd < 0 || fstat(fd, &buffer) || fstatat(fd, "f", &buffer, 0) || getdents64(fd, entries, sizeof entries) <= 0) perror(names[i]);
            close(fd);
        }
        getrusage(RUSAGE_SELF, &after);
        if (after.ru_nvcsw - before.ru_nvcsw < count / 2) break;
    }
    printf("*%s is answered %s: %d\n", path, after.ru_nvcsw - before.ru_nvcsw < count / 2 ? "here" : "elsewhere", count);
    closedir(directory);
}

// What is seen by a directory that has been open for long.
static void describe_below(int directory, const char *name, char *line, size_t size) {
    struct stat itself = {0}, found = {0}, opened = {0};
    char entries[4096];
    int a = result(fstat(directory, &itself)), b = result(fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW));
    int fd = openat(directory, name, O_RDONLY | O_NONBLOCK), c = result(fd), d = fd < 0 ? 0 : result(fstat(fd, &opened)), listed = 0;
    close(fd);
    lseek(directory, 0, SEEK_SET);
    for (long length; (length = getdents64(directory, entries, sizeof entries)) > 0;)
        for (long at = 0; at < length; at += ((struct dirent64 *)(entries + at))->d_reclen) listed++;
    snprintf(line, size, "%d:%o:%d %d:%o:%ld %d:%d:%o:%ld %d", a, itself.st_mode, itself.st_nlink > 0, b, found.st_mode, S_ISREG(found.st_mode) ? (long)found.st_size : 0, c, d,
             opened.st_mode, S_ISREG(opened.st_mode) ? (long)opened.st_size : 0, listed);
}

static void look_below(int directory, const char *name) {
    char line[256], again[256];
    describe_below(directory, name, line, sizeof line);
    for (int i = 0; i < 50; i++) {
        describe_below(directory, name, again, sizeof again);
        if (strcmp(line, again)) {
            printf("%s: first %s, then %s\n", name, line, again);
            exit(1);
        }
    }
    printf("]%s %s\n", name, line);
}

static void bad(void) {
    struct stat buffer;
    char *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(hole + 4096, 4096);
    memcpy(hole + 4096 - 4, "/usr", 4);
    const char *paths[] = {NULL, (char *)8, (char *)-1, (char *)0x800000000000, hole + 4096 - 4, hole + 4096};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        for (int k = 0; k < 3; k++) {
            char target[9];
            // volatile: the compiler knows that these must not be NULL.
            const char *volatile path = paths[i];
            printf("%zu: %d %d %d %d %d\n", i, result(stat(path, &buffer)), result(lstat(path, &buffer)), result(access(path, R_OK)),
                   result(readlink(path, target, 9)), result(lgetxattr(path, "user.x", target, 9)));
        }
    }
    printf("%d %d\n", result(stat("/usr", (struct stat *)8)), result(lstat("/usr/bin", (struct stat *)8)));
}

static void filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, AT_SYMLINK_NOFOLLOW, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    printf("filter %d\n", result(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)));
    struct stat buffer;
    for (int i = 0; i < 50; i++)
        if (stat("/usr/bin/env", &buffer) || access("/usr/bin/env", X_OK)) perror("/usr/bin/env");
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    int kept = -1;
    for (int i = 1; i < argc; i++) {
        char *step = argv[i];
        if (!strcmp(step, "has")) {
            int found = 0;
            dl_iterate_phdr(find, &found);
            printf("has %s\n", found ? "an agent" : "none");
        } else if (!strcmp(step, "bad")) {
            bad();
        } else if (!strcmp(step, "root")) {
            if (setresuid(0, 0, 0)) perror(step);
        } else if (!strcmp(step, "filter")) {
            filter();
        } else if (*step == '!') {
            int status = system(step + 1);
            if (status) printf("%s: %d\n", step, status);
        } else if (*step == '&') {
            who_below(step + 1);
        } else if (*step == '*') {
            who_in(step + 1);
        } else if (*step == '[') {
            close(kept);
            kept = open(step + 1, O_RDONLY | O_DIRECTORY);
            if (kept < 0) printf("%s: %d\n", step, errno);
        } else if (*step == ']') {
            look_below(kept, step + 1);
        } else if (strchr("?=#", *step)) {
            who(*step, step + 1);
        } else if (*step == '@') {
            if (chdir(step + 1)) printf("%s: %d\n", step, errno);
        } else if (*step == '%') {
            if (chroot(step + 1)) printf("%s: %d\n", step, errno);
        } else {
            look(step);
        }
    }
}
