// What Swift cannot import: variadic calls, macros and unions of the kernel's interface.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// accept4 is a GNU extension; _GNU_SOURCE in an imported header breaks clean builds.
int cplatform_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
    __asm__("accept4");
// Keeps room behind a file's end; the same extension.
int cplatform_fallocate(int fd, int mode, off_t offset, off_t length) __asm__("fallocate");
// Names a thread, for process listings.
int cplatform_setname(pthread_t thread, const char *name) __asm__("pthread_setname_np");
// CPUs of the affinity mask.
int cplatform_cpu_count(void);
void cplatform_release_code(void);
// Starts a program in a session, and so a process group, of its own: no signal is blocked or ignored
// there, standard input is /dev/null, standard output and error are `output`, and no other descriptor
// is left open. 0, or the error's number.
int cplatform_spawn(const char *path, char *const arguments[], char *const environment[], int output, pid_t *pid);

static inline int cplatform_epoll_ctl(int poller, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(poller, op, fd, &event);
}

static inline uint64_t cplatform_event_data(const struct epoll_event *event) {
    return event->data.u64;
}

static inline int cplatform_open(const char *path, int flags, mode_t mode) {
    return open(path, flags, mode);
}

static inline int cplatform_openat(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags, mode);
}

// Swift sees the structure of that name alone.
static inline int cplatform_flock(int fd, int operation) { return flock(fd, operation); }

static inline int cplatform_renameat(int from, const char *name, int to, const char *other) {
    return renameat(from, name, to, other);
}

// Random bytes of the kernel's, without a file that a container may lack.
static inline ssize_t cplatform_random(void *bytes, size_t count) {
    return syscall(SYS_getrandom, bytes, count, 0);
}

// Writes wait again on what was opened without waiting.
static inline int cplatform_set_blocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? flags : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

// The plain calls: the library's functions are points where a thread may be cancelled, which none
// here ever is, and saying so costs as much as the call's own way into the kernel.
static inline ssize_t cplatform_recv(int fd, void *bytes, size_t count) {
    return syscall(SYS_recvfrom, fd, bytes, count, 0, NULL, NULL);
}
static inline ssize_t cplatform_send(int fd, const void *bytes, size_t count) {
    return syscall(SYS_sendto, fd, bytes, count, MSG_NOSIGNAL, NULL, 0);
}

static inline int cplatform_errno(void) { return errno; }
// A peer that has left, and a file that may not grow, are errors of a write and end no process.
static inline void cplatform_ignore_write_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

// A descriptor that is readable once the process has ended.
static inline int cplatform_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
// Where SIGCHLD is ignored, as a parent may have left it, nobody learns how a child ended.
static inline void cplatform_keep_children(void) { signal(SIGCHLD, SIG_DFL); }
static inline int cplatform_exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
static inline int cplatform_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
// A pipe that programs do not inherit, and whose ends do not wait.
int cplatform_pipe(int ends[2]);

#define CPLATFORM_EPOLL_EDGE (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
static inline uint32_t cplatform_epoll_edge(void) { return (uint32_t)CPLATFORM_EPOLL_EDGE; }
static inline uint32_t cplatform_epoll_listen(void) { return EPOLLIN | EPOLLEXCLUSIVE; }

#endif
