/* Calls that signals come upon.
 *
 * usage: interrupted handlers      signals with a handler without SA_RESTART while paths are looked up: no such call may fail
 *        interrupted blocking      the same for calls that wait: those do fail
 *        interrupted waits FILE    waits in every way that signal(7) says ends with EINTR although a stop came and no signal; FILE is
 *                                  made when all wait; prints how each ended
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile long caught;

static void handler(int signal)
{
    (void)signal;
    caught++;
}

static void catch_signals(int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

static int handlers(void)
{
    long failed[8] = {0};
    struct stat st;
    char buffer[100];
    catch_signals(0);
    struct itimerval every = {{0, 300}, {0, 300}};
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < 6000; i++) {
        int fd;
        failed[0] += stat("/etc/passwd", &st) != 0;
        failed[1] += access("/etc/passwd", R_OK) != 0;
        fd = open("/etc/passwd", O_RDONLY);
        failed[2] += fd < 0;
        close(fd);
        failed[3] += readlink("/proc/self/exe", buffer, sizeof buffer) <= 0;
        failed[4] += mkdir("interrupted-dir", 0755) != 0;
        failed[5] += rmdir("interrupted-dir") != 0;
        fd = open("interrupted-file", O_CREAT | O_EXCL | O_WRONLY, 0644);
        failed[6] += fd < 0;
        close(fd);
        failed[7] += unlink("interrupted-file") != 0;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("signals came: %s\n", caught > 10 ? "yes" : "no");
    printf("failed: stat %ld access %ld open %ld readlink %ld mkdir %ld rmdir %ld create %ld unlink %ld\n", failed[0], failed[1], failed[2], failed[3], failed[4],
           failed[5], failed[6], failed[7]);
    return 0;
}

static void said(const char *what, long result)
{
    printf("%s: %s, signals %ld\n", what, result < 0 ? strerror(errno) : "done", caught);
    caught = 0;
}

static void soon(void)
{
    struct itimerval once = {{0, 0}, {0, 150000}};
    setitimer(ITIMER_REAL, &once, NULL);
}

/* Calls that are looked at for some of their arguments only, or not in every view. */
static void in_sockets(void)
{
    static char many[1 << 16];
    char byte;
    int stream[2], datagrams[2];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    struct iovec part = {&byte, 1}, whole = {many, sizeof many};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1}, full = {.msg_iov = &whole, .msg_iovlen = 1};
    struct mmsghdr messages = {.msg_hdr = message};
    socketpair(AF_UNIX, SOCK_STREAM, 0, stream);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams);
    int receiver = socket(AF_INET, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(receiver, (struct sockaddr *)&address, sizeof address);
    listen(listener, 1);
    soon(), said("recv", recv(stream[0], &byte, 1, 0));
    soon(), said("recvfrom", recvfrom(receiver, &byte, 1, 0, (struct sockaddr *)&from, &length));
    soon(), said("recvmsg", recvmsg(stream[0], &message, 0));
    soon(), said("recvmsg of a datagram", recvmsg(datagrams[0], &message, 0));
    soon(), said("recvmmsg", recvmmsg(datagrams[0], &messages, 1, 0, NULL));
    soon(), said("accept", accept(listener, NULL, NULL));
    soon(), said("accept with an address", accept(listener, (struct sockaddr *)&from, &length));
    while (send(stream[1], many, sizeof many, MSG_DONTWAIT) > 0 || send(datagrams[1], many, 4096, MSG_DONTWAIT) > 0)
        ;
    soon(), said("sendmsg", sendmsg(stream[1], &full, 0));
    soon(), said("sendto", sendto(datagrams[1], many, 4096, 0, NULL, 0));
}

static void in_locks(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    int mine = open("interrupted-lock", O_RDWR | O_CREAT, 0644), gate[2];
    if (pipe(gate))
        return;
    pid_t holder = fork();
    if (holder == 0) {
        int his = open("interrupted-lock", O_RDWR);
        fcntl(his, F_SETLK, &lock);
        flock(his, LOCK_EX);
        close(gate[1]);
        pause();
        _exit(0);
    }
    close(gate[1]);
    char byte;
    if (read(gate[0], &byte, 1) != 0)
        return;
    soon(), said("a lock of a record", fcntl(mine, F_SETLKW, &lock));
    soon(), said("a lock of an open file's record", fcntl(mine, F_OFD_SETLKW, &lock));
    soon(), said("flock", flock(mine, LOCK_EX));
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    unlink("interrupted-lock");
    caught = 0;
}

static int blocking(void)
{
    int ends[2];
    char byte;
    mkfifo("interrupted-fifo", 0644);
    if (pipe(ends))
        return 1;
    catch_signals(0);
    soon(), said("open of a FIFO", open("interrupted-fifo", O_RDONLY));
    soon(), said("open of a FIFO for writing", open("interrupted-fifo", O_WRONLY));
    soon(), said("read of a pipe", read(ends[0], &byte, 1));
    soon(), said("pause", pause());
    soon(), said("nanosleep", nanosleep(&(struct timespec){5, 0}, NULL));
    soon(), said("poll", poll(NULL, 0, 5000));
    soon(), said("wait of nobody", wait(NULL));
    in_sockets();
    in_locks();
    caught = 0;
    /* With SA_RESTART the open goes on, until a writer comes. */
    catch_signals(SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(500000);
        _exit(open("interrupted-fifo", O_WRONLY) < 0);
    }
    soon();
    int fd = open("interrupted-fifo", O_RDONLY);
    said("open of a FIFO with SA_RESTART", fd);
    int status;
    waitpid(pid, &status, 0);
    printf("writer %d\n", status);
    unlink("interrupted-fifo");
    return 0;
}

#define WAIT_MS 2500

static long in_epoll(void) { return epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, WAIT_MS); }
static long in_poll(void) { return poll(NULL, 0, WAIT_MS); }
static long in_select(void) { return select(0, NULL, NULL, NULL, &(struct timeval){WAIT_MS / 1000, WAIT_MS % 1000 * 1000}); }
static long in_nanosleep(void) { return nanosleep(&(struct timespec){WAIT_MS / 1000, WAIT_MS % 1000 * 1000000}, NULL); }
static long in_clock_nanosleep(void)
{
    errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){WAIT_MS / 1000, WAIT_MS % 1000 * 1000000}, NULL);
    return errno ? -1 : 0;
}
static long in_sigtimedwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return sigtimedwait(&set, NULL, &(struct timespec){WAIT_MS / 1000, WAIT_MS % 1000 * 1000000});
}
static long in_semtimedop(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf take = {0, -1, 0};
    long result = semtimedop(id, &take, 1, &(struct timespec){WAIT_MS / 1000, WAIT_MS % 1000 * 1000000});
    int error = errno;
    semctl(id, 0, IPC_RMID);
    errno = error;
    return result;
}
static long in_recv_timeout(void)
{
    int pair[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return -1;
    struct timeval timeout = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000};
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return recv(pair[0], &byte, 1, 0);
}
static long in_sem_timedwait(void)
{
    sem_t semaphore;
    struct timespec until;
    sem_init(&semaphore, 0, 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 3;
    return sem_timedwait(&semaphore, &until);
}
static long in_inotify(void)
{
    char events[512];
    int fd = inotify_init();
    inotify_add_watch(fd, ".", IN_CREATE);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(WAIT_MS * 1000);
        _exit(mkdir("interrupted-event", 0755) != 0);
    }
    long result = read(fd, events, sizeof events);
    int error = errno;
    /* The file that tells that all wait is an event, too. */
    while (result > 0 && access("interrupted-event", F_OK) != 0)
        result = read(fd, events, sizeof events), error = errno;
    waitpid(pid, NULL, 0);
    rmdir("interrupted-event");
    errno = error;
    return result;
}
static long in_read(void)
{
    int ends[2];
    char byte;
    if (pipe(ends))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        usleep(WAIT_MS * 1000);
        _exit(write(ends[1], "x", 1) != 1);
    }
    long result = read(ends[0], &byte, 1);
    waitpid(pid, NULL, 0);
    return result;
}
static long in_waitpid(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        usleep(WAIT_MS * 1000);
        _exit(0);
    }
    return waitpid(pid, NULL, 0);
}
static long in_fifo(void)
{
    if (mkfifo("interrupted-fifo", 0600))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        usleep(WAIT_MS * 1000);
        _exit(open("interrupted-fifo", O_WRONLY) < 0);
    }
    long result = open("interrupted-fifo", O_RDONLY);
    int error = errno;
    waitpid(pid, NULL, 0);
    unlink("interrupted-fifo");
    errno = error;
    return result;
}
static void *join_me(void *unused)
{
    usleep(WAIT_MS * 1000);
    return unused;
}
static long in_join(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, join_me, NULL);
    errno = pthread_join(thread, NULL);
    return errno ? -1 : 0;
}

static const struct { const char *name; long (*wait)(void); } waits[] = {
    {"epoll_wait", in_epoll}, {"poll", in_poll}, {"select", in_select}, {"nanosleep", in_nanosleep}, {"clock_nanosleep", in_clock_nanosleep},
    {"sigtimedwait", in_sigtimedwait}, {"semtimedop", in_semtimedop}, {"recv with timeout", in_recv_timeout}, {"sem_timedwait", in_sem_timedwait},
    {"read of inotify", in_inotify}, {"read of a pipe", in_read}, {"waitpid", in_waitpid}, {"open of a FIFO", in_fifo}, {"pthread_join", in_join},
};
#define WAITS (sizeof waits / sizeof *waits)

static int wait_all(const char *file)
{
    int results[WAITS][2];
    pid_t pids[WAITS];
    for (size_t i = 0; i < WAITS; i++) {
        if (pipe2(results[i], O_CLOEXEC))
            return 1;
        pids[i] = fork();
        if (pids[i] == 0) {
            char text[100];
            struct timespec begin, end;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            errno = 0;
            long result = waits[i].wait();
            int error = errno;
            clock_gettime(CLOCK_MONOTONIC, &end);
            long ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
            /* How late they end is the affair of the machine. The kernel counts some in ticks. */
            int n = snprintf(text, sizeof text, "%s%s", result < 0 ? strerror(error) : "done", ms < WAIT_MS - 50 ? ", too early" : "");
            _exit(write(results[i][1], text, (size_t)n) != n);
        }
    }
    usleep(500000);
    close(open(file, O_CREAT | O_WRONLY, 0644));
    for (size_t i = 0; i < WAITS; i++) {
        char text[101];
        int status;
        waitpid(pids[i], &status, 0);
        ssize_t n = read(results[i][0], text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        printf("%s: %s\n", waits[i].name, text);
    }
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 2 && strcmp(argv[1], "handlers") == 0)
        return handlers();
    if (argc == 2 && strcmp(argv[1], "blocking") == 0)
        return blocking();
    if (argc == 3 && strcmp(argv[1], "waits") == 0)
        return wait_all(argv[2]);
    fprintf(stderr, "usage: interrupted handlers|blocking|waits FILE\n");
    return 2;
}
