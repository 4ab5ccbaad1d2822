/* The attributes of what the arguments name, by the calls of 32-bit programs and in their structures, of which the C library uses only the newest. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef __i386__
#error for 32 bits only
#endif

/* `arch/x86/entry/syscalls/syscall_32.tbl` */
enum { STAT = 106, LSTAT, FSTAT, STATFS = 99, FSTATFS, STATFS64 = 268, FSTATFS64, FSTATAT64 = 300 };
/* `arch/x86/include/uapi/asm/stat.h`, `include/uapi/asm-generic/statfs.h` */
struct old_stat {
    uint32_t dev, ino;
    uint16_t mode, nlink, uid, gid;
    uint32_t rdev, size, blksize, blocks, atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec, unused[2];
};
struct statfs32 {
    uint32_t type, bsize, blocks, bfree, bavail, files, ffree, fsid[2], namelen, frsize, flags, spare[4];
};
struct statfs64_32 {
    uint32_t type, bsize;
    uint64_t blocks, bfree, bavail, files, ffree;
    uint32_t fsid[2], namelen, frsize, flags, spare[4];
} __attribute__((packed, aligned(4)));

static long told(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
    return result;
}

static void show(const char *path, int fd, const struct old_stat *stat)
{
    struct stat new;
    if (fstatat(fd, path, &new, path[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH))
        memset(&new, 0, sizeof new);
    printf("  mode %o size %u of %u:%u, written %u.%09u, changed as well %d, the same object %d\n", stat->mode, S_ISDIR(stat->mode) ? 0 : stat->size,
           stat->uid, stat->gid, stat->mtime, stat->mtime_nsec, stat->ctime == (uint32_t)new.st_ctime && stat->ctime_nsec == (uint32_t)new.st_ctim.tv_nsec,
           stat->ino == new.st_ino && stat->dev == new.st_dev && stat->nlink == new.st_nlink && stat->blocks == (uint32_t)new.st_blocks);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *path = argv[i];
        struct old_stat stat = {0};
        struct statfs32 fs = {0};
        struct statfs64_32 fs64 = {0};
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        printf("%s\n", path);
        if (told("lstat", syscall(LSTAT, path, &stat)) == 0)
            show(path, AT_FDCWD, &stat);
        told("stat", syscall(STAT, path, &stat));
        told("stat to nowhere", syscall(STAT, path, 8));
        struct stat64 newest;
        for (int flags = 1; flags; flags <<= 1)
            told("fstatat64", syscall(FSTATAT64, AT_FDCWD, path, &newest, flags));
        told("fstatat64 of the descriptor", syscall(FSTATAT64, fd, "", &newest, AT_EMPTY_PATH));
        if (told("fstat", syscall(FSTAT, fd, &stat)) == 0)
            show("", fd, &stat);
        if (told("statfs", syscall(STATFS, path, &fs)) == 0)
            printf("  %x %u %u, an id %d\n", fs.type, fs.bsize, fs.namelen, fs.fsid[0] || fs.fsid[1]);
        if (told("statfs64", syscall(STATFS64, path, sizeof fs64, &fs64)) == 0)
            printf("  %x %u %u, the same %d %d\n", fs64.type, fs64.bsize, fs64.namelen, fs64.blocks >> 32 || fs.blocks == fs64.blocks,
                   !memcmp(fs.fsid, fs64.fsid, sizeof fs.fsid));
        told("statfs64 of another size", syscall(STATFS64, path, 88, &fs64));
        if (told("fstatfs", syscall(FSTATFS, fd, &fs)) == 0)
            printf("  %x\n", fs.type);
        if (told("fstatfs64", syscall(FSTATFS64, fd, sizeof fs64, &fs64)) == 0)
            printf("  %x %u\n", fs64.type, fs64.bsize);
        told("fstatfs64 of another size", syscall(FSTATFS64, fd, 88, &fs64));
        close(fd);
    }
    return 0;
}
