/* AF_UNIX sockets by names: what stands in addresses and message headers, by all calls that send, receive and tell. A program of 32 bits does
   it by socketcall(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un name(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	return address;
}

static socklen_t size(const struct sockaddr_un *address)
{
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address->sun_path) + 1);
}

static void told(const char *what, long result, const struct sockaddr_un *address, socklen_t length)
{
	int error = errno;
	char text[sizeof *address + 1] = {0};
	memcpy(text, address->sun_path, sizeof address->sun_path);
	/* How much longer the address is than its text, which is not the same everywhere. */
	printf("%s: %ld %s, %zd \"%s\"\n", what, result, result < 0 ? strerror(error) : "", length - strlen(text), length > 2 ? text : "");
}

static int bound(int type, const char *path)
{
	int fd = socket(AF_UNIX, type, 0);
	struct sockaddr_un address = name(path);
	printf("bind %s: %d\n", path, bind(fd, (struct sockaddr *)&address, size(&address)));
	return fd;
}

static struct msghdr header(struct sockaddr_un *address, socklen_t length, struct iovec *part)
{
	return (struct msghdr){.msg_name = address, .msg_namelen = length, .msg_iov = part, .msg_iovlen = 1};
}

static void receive(int fd, int flags)
{
	char text[32];
	struct sockaddr_un from = {0};
	struct iovec part = {text, sizeof text};
	struct msghdr message = header(&from, sizeof from, &part);
	long result = recvmsg(fd, &message, flags | MSG_DONTWAIT);
	told("recvmsg", result, &from, result < 0 ? 0 : message.msg_namelen);
}

/* The same with what else a header says, by recvfrom(2), and where nothing can be written. */
static void little_room(int server, int client, const struct sockaddr_un *to)
{
	char text[32], control[64];
	struct sockaddr_un from;
	struct iovec room = {text, sizeof text};
	int yes = 1, no = 0;
	setsockopt(server, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
	for (size_t rooms = 0; rooms <= sizeof control; rooms += 16) {
		sendto(client, "hello, you there, and what is too much for it", 45, 0, (const struct sockaddr *)to, size(to));
		memset(&from, 0, sizeof from);
		struct msghdr message = header(&from, 2 + rooms / 8, &room);
		message.msg_control = control;
		message.msg_controllen = rooms;
		message.msg_flags = -1;
		long result = recvmsg(server, &message, 0);
		told("recvmsg with little room", result, &from, message.msg_namelen);
		printf("control %zu of %zu, flags %x\n", (size_t)message.msg_controllen, rooms, message.msg_flags);
	}
	setsockopt(server, SOL_SOCKET, SO_PASSCRED, &no, sizeof no);

	struct sockaddr *places[] = {(struct sockaddr *)&from, (struct sockaddr *)1, NULL};
	for (int i = 0; i < 3; i++) {
		for (int rooms = -1; rooms <= 11; rooms += 4) {
			sendto(client, "hello", 5, 0, (const struct sockaddr *)to, size(to));
			memset(&from, 0, sizeof from);
			socklen_t length = rooms;
			long result = recvfrom(server, text, sizeof text, 0, places[i], &length);
			told("recvfrom with little room", result, &from, result < 0 ? 0 : length);

			sendto(client, "hello", 5, 0, (const struct sockaddr *)to, size(to));
			memset(&from, 0, sizeof from);
			struct msghdr message = header((struct sockaddr_un *)places[i], rooms, &room);
			result = recvmsg(server, &message, 0);
			told("recvmsg with little room", result, &from, result < 0 ? 0 : message.msg_namelen);
			while (recv(server, text, sizeof text, MSG_DONTWAIT) >= 0) printf("one more\n");
		}
	}

	/* Of nobody. */
	int nameless = socket(AF_UNIX, SOCK_DGRAM, 0);
	sendto(nameless, "hello", 5, 0, (const struct sockaddr *)to, size(to));
	struct msghdr message = header(&from, 6, &room);
	long result = recvmsg(server, &message, 0);
	told("recvmsg of nobody", result, &from, message.msg_namelen);
	sendto(nameless, "hello", 5, 0, (const struct sockaddr *)to, size(to));
	socklen_t length = 6;
	result = recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &length);
	told("recvfrom of nobody", result, &from, length);
	close(nameless);
}

/* By names, from one bound socket to another. */
static void datagrams(const char *server_path, const char *client_path)
{
	char text[32];
	struct sockaddr_un to = name(server_path), from = {0};
	struct iovec part = {(char *)"hello", 5};
	int server = bound(SOCK_DGRAM, server_path), client = bound(SOCK_DGRAM, client_path);

	struct msghdr message = header(&to, size(&to), &part);
	printf("sendmsg: %zd\n", sendmsg(client, &message, 0));
	receive(server, MSG_PEEK);
	receive(server, 0);

	/* As much of the name as there is room for, and its whole length. */
	sendmsg(client, &message, 0);
	struct iovec room = {text, sizeof text};
	memset(&from, 0, sizeof from);
	message = header(&from, 6, &room);
	long result = recvmsg(server, &message, 0);
	told("recvmsg with little room", result, &from, message.msg_namelen);
	little_room(server, client, &to);

	sendto(client, "hello", 5, 0, (struct sockaddr *)&to, size(&to));
	socklen_t length = sizeof from;
	memset(&from, 0, sizeof from);
	result = recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &length);
	told("recvfrom", result, &from, length);

	/* Several: without a name, with one, with one that is not there. */
	struct sockaddr_un nobody = name("nobody");
	struct mmsghdr several[4] = {{.msg_hdr = header(&to, size(&to), &part)}, {.msg_hdr = header(&to, size(&to), &part)},
				     {.msg_hdr = header(&nobody, size(&nobody), &part)}, {.msg_hdr = header(&to, size(&to), &part)}};
	int sent = 0, once = 0;
	while (sent < 4 && (once = sendmmsg(client, several + sent, 4 - sent, 0)) > 0) sent += once;
	printf("sendmmsg: %d, then %s, %u %u\n", sent, strerror(errno), several[0].msg_len, several[1].msg_len);
	struct sockaddr_un names[3];
	memset(names, 0, sizeof names);
	for (int i = 0; i < 3; i++) several[i].msg_hdr = header(&names[i], sizeof names[i], &room);
	int received = recvmmsg(server, several, 3, MSG_DONTWAIT, NULL);
	printf("recvmmsg: %d\n", received);
	for (int i = 0; i < received; i++) told("  one", several[i].msg_len, &names[i], several[i].msg_hdr.msg_namelen);

	printf("connect: %d\n", connect(client, (struct sockaddr *)&to, size(&to)));
	printf("send: %zd\n", send(client, "hello", 5, 0));
	receive(server, 0);
	length = sizeof from;
	result = getpeername(client, (struct sockaddr *)&from, &length);
	told("getpeername", result, &from, length);
	length = sizeof from;
	result = getsockname(client, (struct sockaddr *)&from, &length);
	told("getsockname", result, &from, length);

	/* Errors. */
	message = header((struct sockaddr_un *)1, size(&to), &part);
	printf("a bad name: %zd", sendmsg(client, &message, 0));
	printf(" %s\n", strerror(errno));
	printf("a bad header: %zd", sendmsg(client, (struct msghdr *)1, 0));
	printf(" %s\n", strerror(errno));
	printf("a bad header: %zd", recvmsg(client, (struct msghdr *)1, MSG_DONTWAIT));
	printf(" %s\n", strerror(errno));
	struct sockaddr_un file = name("file");
	message = header(&file, size(&file), &part);
	printf("a file: %zd", sendmsg(client, &message, 0));
	printf(" %s\n", strerror(errno));
	printf("bind again: %d", bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&to, size(&to)));
	printf(" %s\n", strerror(errno));
	close(server);
	close(client);
	unlink(server_path);
	unlink(client_path);
}

/* A descriptor goes by a stream to a child, which executes this program. */
static void streams(const char *path, const char *self)
{
	int listener = bound(SOCK_STREAM, path);
	printf("listen: %d\n", listen(listener, 1));
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, "take", path, NULL);
		_exit(127);
	}
	struct sockaddr_un from = {0};
	socklen_t length = 5;
	int connection = accept(listener, (struct sockaddr *)&from, &length);
	told("accept", connection < 0 ? -1 : 0, &from, length);
	const char *paths[] = {"dir", "file"};
	int fds[] = {open("dir", O_RDONLY | O_DIRECTORY), open("file", O_RDONLY)};
	for (int i = 0; i < 2; i++) {
		char control[CMSG_SPACE(sizeof(int))] = {0};
		struct iovec part = {(char *)paths[i], 1};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fds[i], sizeof(int));
		printf("pass: %zd\n", sendmsg(connection, &message, 0));
	}
	/* What the child says comes first: this is in the buffer yet. */
	int status;
	waitpid(child, &status, 0);
	printf("child %x\n", status);
	unlink(path);
	unlink("taker");
}

static int take(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un to = name(path), peer = {0};
	struct sockaddr_un own = name("taker");
	printf("bind: %d\n", bind(fd, (struct sockaddr *)&own, size(&own)));
	printf("connect: %d\n", connect(fd, (struct sockaddr *)&to, size(&to)));
	socklen_t length = sizeof peer;
	long result = getpeername(fd, (struct sockaddr *)&peer, &length);
	told("getpeername", result, &peer, length);
	for (int i = 0; i < 2; i++) {
		char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
		struct iovec part = {&byte, 1};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		if (recvmsg(fd, &message, 0) != 1) return 1;
		int got;
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
		char link[64], target[4096] = {0};
		snprintf(link, sizeof link, "/proc/self/fd/%d", got);
		result = readlink(link, target, sizeof target - 1);
		char own[4096] = "?";
		const char *end = strrchr(target, '/');
		if (!getcwd(own, sizeof own)) return 2;
		struct stat st;
		printf("took %s, here: %d, fstat %d, file beside: %d\n", end ? end : "?", strncmp(target, own, strlen(own)) == 0, fstat(got, &st),
		       faccessat(got, "../file", F_OK, 0));
	}
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2) return take(argv[2]);
	char here[4096], path[8192];
	datagrams("server", "client");
	datagrams("dir/server", "./dir/../client");
	if (!getcwd(here, sizeof here)) return 1;
	snprintf(path, sizeof path, "%s/s", here);
	if (strlen(path) < 100) datagrams(path, "client");
	streams("listener", argv[0]);
	return 0;
}
