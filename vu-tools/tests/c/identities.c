/* The calls of i386 that have ids of 16 bits, and those of 32; for 64-bit programs, int 0x80 does the same. */
#define _GNU_SOURCE
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static uint32_t words[4];

static long call(long nr, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

static void show(const char *what)
{
	uid_t r, e, s;
	getresuid(&r, &e, &s);
	printf("%s: %u %u %u, short %ld %ld\n", what, r, e, s, call(24, 0, 0, 0), call(49, 0, 0, 0));
}

int main(void)
{
	gid_t groups[2] = {70000, 8};
	uint16_t short_groups[4] = {0};

	printf("setuid16 %ld\n", call(23, 0, 0, 0));
	show("setuid16");
	printf("setresuid32 %ld\n", call(208, -1, 70000, -1));
	show("setresuid32");
	call(208, -1, 0, -1);
	printf("setresuid16 %ld\n", call(164, 0xffff, 3, 0xffff));
	show("setresuid16");
	call(208, -1, 0, -1);
	printf("setreuid16 %ld\n", call(70, 4, 0xffff, 0));
	show("setreuid16");
	printf("setuid16 of nobody %ld, setuid32 %ld\n", call(23, 0xffff, 0, 0), call(213, -1, 0, 0));
	printf("setfsuid16 %ld", call(138, 9, 0, 0));
	printf(" %ld\n", call(138, 0xffff, 0, 0));
	printf("setgroups %d\n", setgroups(2, groups));
#ifdef __i386__
	printf("getgroups16 %ld %ld", call(80, 0, 0, 0), call(80, 4, (long)short_groups, 0));
	printf(" %u %u\n", short_groups[0], short_groups[1]);
	printf("getresgid32 %ld\n", call(211, (long)&words[0], (long)&words[1], (long)&words[2]));
	printf("too few: %ld, a bad address: %ld\n", call(205, 1, (long)words, 0), call(205, 4, 1, 0));
#else
	(void)short_groups;
	(void)words;
#endif
	return 0;
}
