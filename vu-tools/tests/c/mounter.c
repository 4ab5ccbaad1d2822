/* mount(2) and umount2(2) without the tools.
 *
 * usage: mounter mount SOURCE TARGET TYPE FLAGS DATA     says "ok" or the name of the error
 *        mounter umount TARGET FLAGS
 *        mounter many N SOURCE DIRECTORY                 N mounts of SOURCE on DIRECTORY/0 …, looks at all, and unmounts them in another order
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

static int said(int result)
{
    puts(result == 0 ? "ok" : strerrorname_np(errno));
    return result != 0;
}

static long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int many(int count, const char *source, const char *directory)
{
    char name[4096];
    struct stat wanted, st;
    int wrong = 0;
    if (stat(source, &wanted))
        return said(-1);
    long begin = now_us();
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%d", directory, i);
        if (mount(source, name, "vufs", 0, NULL))
            return printf("mount %d: %s\n", i, strerror(errno)), 1;
    }
    long mounted = now_us();
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%d", directory, i);
        wrong += stat(name, &st) != 0 || st.st_ino != wanted.st_ino;
    }
    printf("seen wrong: %d\n", wrong);
    /* Every one once, in the order of a step that has no common divisor with their number. */
    int step = 7919 % count == 0 ? 1 : 7919;
    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%ld", directory, i * step % count);
        if (umount2(name, 0))
            return printf("umount %s: %s\n", name, strerror(errno)), 1;
        if (i == count / 2) {
            wrong = 0;
            for (long k = 0; k < count; k++) {
                snprintf(name, sizeof name, "%s/%ld", directory, k * step % count);
                wrong += (stat(name, &st) == 0) != (k > i);
            }
            printf("wrong in the middle: %d\n", wrong);
        }
    }
    fprintf(stderr, "a mount took %ld us\n", (mounted - begin) / count);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "mount") == 0)
        return said(mount(argv[2], argv[3], argv[4], strtoul(argv[5], NULL, 0), argv[6]));
    if (argc == 4 && strcmp(argv[1], "umount") == 0)
        return said(umount2(argv[2], atoi(argv[3])));
    if (argc == 5 && strcmp(argv[1], "many") == 0)
        return many(atoi(argv[2]), argv[3], argv[4]);
    fprintf(stderr, "usage: mounter mount SOURCE TARGET TYPE FLAGS DATA | umount TARGET FLAGS | many N SOURCE DIRECTORY\n");
    return 2;
}
