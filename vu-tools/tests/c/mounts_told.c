/* What statx, statmount and listmount tell of mounts, beside /proc/self/mountinfo: consistent, whoever answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct request {
    uint32_t size, spare;
    uint64_t id, param, namespace;
};

struct told {
    uint32_t size, options;
    uint64_t mask;
    uint32_t major, minor;
    uint64_t magic;
    uint32_t sb_flags, type;
    uint64_t id, parent;
    uint32_t old_id, old_parent;
    uint64_t attributes, propagation, peers, master, from;
    uint32_t root, point;
    uint64_t namespace;
    uint32_t subtype, source, option_count, option_array, security_count, security_array;
    uint64_t supported, more[45];
    char strings[];
};
_Static_assert(sizeof(struct told) == 512, "layout of struct statmount");

#define LSMT_ROOT UINT64_MAX
#define ID_UNIQUE 0x4000U
#define ID_OLD 0x1000U

static long statmount(uint64_t id, uint64_t mask, void *buffer, size_t size, unsigned flags)
{
    struct request request = { .size = sizeof request, .id = id, .param = mask };
    return syscall(457, &request, buffer, size, flags) < 0 ? -errno : 0;
}

static long listmount(uint64_t id, uint64_t last, uint64_t *ids, size_t count, unsigned flags)
{
    struct request request = { .size = sizeof request, .id = id, .param = last };
    long listed = syscall(458, &request, ids, count, flags);
    return listed < 0 ? -errno : listed;
}

static uint64_t mount_of(int dir, const char *path, unsigned what)
{
    struct statx stat;
    if (statx(dir, path, *path ? 0 : AT_EMPTY_PATH, what, &stat) < 0) {
        printf("statx %s: %s\n", path, strerror(errno));
        return 0;
    }
    if (!(stat.stx_mask & what))
        printf("%s: not told\n", path);
    return stat.stx_mnt_id;
}

static void check(int good, const char *what)
{
    if (!good)
        printf("wrong: %s\n", what);
}

static char buffer[1 << 16] __attribute__((aligned(8)));

/* The line of mountinfo with this number: its parent, point and type. */
static int line_of(unsigned id, unsigned *parent, char *point, char *type)
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    char line[8192];
    int found = 0;
    while (!found && fgets(line, sizeof line, file)) {
        unsigned number;
        char *dash = strstr(line, " - ");
        if (sscanf(line, "%u %u %*s %*s %4095s", &number, parent, point) == 3 && number == id && dash)
            found = sscanf(dash, " - %255s", type) == 1;
    }
    fclose(file);
    return found;
}

int main(int argc, char **argv)
{
    static uint64_t all[4096], some[4096];
    long count = listmount(LSMT_ROOT, 0, all, 4096, 0);
    check(count > 0, "listmount");
    unsigned lines = 0;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    check(count == (long)lines, "as many as in mountinfo");
    struct told *told = (void *)buffer;
    for (long i = 0; i < count; i++) {
        check(i == 0 || all[i] > all[i - 1], "ascending");
        long failed = statmount(all[i], 0x3ff, buffer, sizeof buffer, 0);
        if (failed) {
            printf("statmount: %s\n", strerror((int)-failed));
            continue;
        }
        unsigned parent;
        char point[4096], type[256];
        check(told->id == all[i], "its own number");
        if (!line_of(told->old_id, &parent, point, type)) {
            printf("wrong: no line in mountinfo\n");
            continue;
        }
        check(parent == told->old_parent, "parent");
        check(!strchr(point, '\\') ? !strcmp(point, told->strings + told->point) : 1, "mount point");
        check(!strcmp(type, told->strings + told->type), "type");
        check(!strcmp(told->strings, ""), "offset 0");
    }
    /* In pieces, and backwards. */
    long got = 0;
    uint64_t last = 0;
    for (long more; (more = listmount(LSMT_ROOT, last, some + got, 3, 0)) > 0; got += more)
        last = some[got + more - 1];
    check(got == count && !memcmp(all, some, sizeof *all * (size_t)count), "in pieces");
    got = last = 0;
    for (long more; (more = listmount(LSMT_ROOT, last, some + got, 5, 1)) > 0; got += more)
        last = some[got + more - 1];
    check(got == count, "backwards");
    for (long i = 0; i < got && got == count; i++)
        check(some[i] == all[count - 1 - i], "backwards");
    /* The mounts of the paths that were given: by path, descriptor and relative name, both numbers. */
    for (int i = 1; i < argc; i++) {
        uint64_t id = mount_of(AT_FDCWD, argv[i], ID_UNIQUE), old = mount_of(AT_FDCWD, argv[i], ID_OLD);
        int fd = open(argv[i], O_RDONLY), path = open(argv[i], O_PATH);
        check(mount_of(fd, "", ID_UNIQUE) == id && mount_of(path, "", ID_OLD) == old, "by descriptor");
        close(fd);
        close(path);
        long failed = statmount(id, 0x13, buffer, sizeof buffer, 0);
        if (failed) {
            printf("statmount %s: %s\n", argv[i], strerror((int)-failed));
            continue;
        }
        check(told->old_id == old, "old number");
        printf("%s: %s %d\n", argv[i], told->strings + told->point, (int)(told->attributes & 15));
        long below = listmount(id, 0, some, 4096, 0);
        check(below >= 0 && below < count, "below");
        for (long j = 0; j < below; j++)
            check(some[j] != id, "not itself");
        int at = open(argv[i], O_PATH | O_DIRECTORY);
        if (at >= 0 && fchdir(at) == 0) {
            check(mount_of(AT_FDCWD, ".", ID_UNIQUE) == id && mount_of(AT_FDCWD, "", ID_UNIQUE) == id, "working directory");
            close(at);
        }
        size_t size = told->size;
        printf("%ld %ld %ld %ld\n", statmount(id, 0x13, buffer, size, 0), statmount(id, 0x13, buffer, size - 1, 0), statmount(id, 0x13, buffer, 512, 0), statmount(id, 0x3, buffer, 100, 0));
        printf("%ld %ld %ld %ld\n", statmount(id, 0, NULL, 512, 0), statmount(id, 0, buffer, 512, 1), statmount(id + (UINT64_C(1) << 40), 0, buffer, 512, 0), listmount(id, 0, NULL, 0, 0));
        struct request odd = { .size = 8, .id = id };
        printf("%ld", syscall(457, &odd, buffer, 512, 0) < 0 ? (long)-errno : 0L);
        odd.size = sizeof odd;
        odd.spare = 77777;
        printf(" %ld", syscall(457, &odd, buffer, 512, 0) < 0 ? (long)-errno : 0L);
        odd.spare = 0;
        odd.namespace = 5;
        printf(" %ld", syscall(457, &odd, buffer, 512, 0) < 0 ? (long)-errno : 0L);
        printf(" %ld %ld %ld\n", statmount(5, 0, buffer, 512, 0), listmount(LSMT_ROOT, 7, some, 1, 0), listmount(LSMT_ROOT, 0, some, 1, 2));
    }
    return 0;
}
