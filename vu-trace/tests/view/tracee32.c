/* A program of 32 bits, without a library: `tracee32 DIR`. It is there before the filter, and looks whether it gets it. */
static long call(long nr, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(nr), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
enum { EXIT = 1, ACCESS = 33, MKDIR = 39, RMDIR = 40, NANOSLEEP = 162 };

__attribute__((used)) static void begin(long *stack) {
    const char *dir = (const char *)stack[2];
    long time[2] = {0, 600000000};
    call(NANOSLEEP, (long)time, 0, 0);
    if (call(ACCESS, (long)"/virt/answer", 0, 0) != -18) call(EXIT, 3, 0, 0);
    char path[256] = "/virt/host";
    char *end = path + 10;
    for (const char *from = dir; *from; from++) *end++ = *from;
    const char *name = "/compat32";
    for (int i = 0; i < 10; i++) end[i] = name[i];
    for (int i = 0; i < 50; i++) {
        if (call(MKDIR, (long)path, 0755, 0)) call(EXIT, 4, 0, 0);
        if (call(RMDIR, (long)(path + 10), 0, 0)) call(EXIT, 5, 0, 0);
    }
    call(EXIT, 0, 0, 0);
}
__asm__(".globl _start\n_start: mov %esp, %eax\n push %eax\n call begin\n");
