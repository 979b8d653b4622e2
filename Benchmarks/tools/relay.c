// relay PORT ORIGIN-PORT: passes bytes both ways and looks at none: the floor of what a proxy costs.
#include "common.h"

struct side {
    struct side *other;
    int fd, open;
    char *kept; // what `other` sent and this socket did not take
    size_t kept_count;
    int ended; // `other` has sent its last byte
};

static char block[1 << 16];
static int poller;

static void drop(struct side *s) {
    struct side *both[2] = {s, s->other};
    for (int i = 0; i < 2; i++) {
        if (both[i]->open) close(both[i]->fd);
        both[i]->open = 0;
    }
}

static int put(struct side *to, const char *bytes, size_t count) {
    ssize_t n = to->kept_count ? 0 : send(to->fd, bytes, count, 0);
    if (n < 0 && errno != EAGAIN && errno != ENOTCONN) return -1;
    if (n < 0) n = 0;
    size_t left = count - (size_t)n;
    if (left) {
        to->kept = realloc(to->kept, to->kept_count + left);
        memcpy(to->kept + to->kept_count, bytes + n, left);
        to->kept_count += left;
    }
    return 0;
}

static int step(struct side *s) {
    if (s->kept_count) {
        ssize_t n = send(s->fd, s->kept, s->kept_count, 0);
        if (n < 0 && errno != EAGAIN && errno != ENOTCONN) return -1;
        if (n > 0) {
            memmove(s->kept, s->kept + n, s->kept_count - (size_t)n);
            s->kept_count -= (size_t)n;
        }
        if (!s->kept_count) {
            free(s->kept);
            s->kept = NULL;
            if (s->ended) return shutdown(s->fd, SHUT_WR), 0;
            if (step(s->other) < 0) return -1;
        }
    }
    while (!s->other->kept_count) {
        ssize_t n = recv(s->fd, block, sizeof block, 0);
        if (n < 0) return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
        if (n == 0) {
            if (s->ended) return -1;
            s->other->ended = 1;
            if (!s->other->kept_count) shutdown(s->other->fd, SHUT_WR);
            return 0;
        }
        if (put(s->other, block, (size_t)n) < 0) return -1;
        if ((size_t)n < sizeof block) return 0;
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count != 3) return fprintf(stderr, "usage: relay PORT ORIGIN-PORT\n"), 64;
    raise_descriptor_limit();
    int listener = listen_on(atoi(arguments[1])), origin = atoi(arguments[2]);
    poller = epoll_create1(0);
    struct epoll_event events[256], e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    struct side *gone[256];
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1), gone_count = 0;
        for (int i = 0; i < n; i++) {
            struct side *s = events[i].data.ptr;
            if (s) {
                if (s->open && step(s) < 0) {
                    drop(s);
                    gone[gone_count++] = s;
                }
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                struct side *pair = calloc(2, sizeof *pair);
                no_delay(fd);
                pair[0] = (struct side){.other = pair + 1, .fd = fd, .open = 1};
                pair[1] = (struct side){.other = pair, .fd = connect_to(origin), .open = 1};
                watch(poller, pair[0].fd, pair);
                watch(poller, pair[1].fd, pair + 1);
            }
        }
        // Both halves may have been in the batch: they are freed behind it.
        for (int i = 0; i < gone_count; i++) {
            struct side *first = gone[i] < gone[i]->other ? gone[i] : gone[i]->other;
            free(first[0].kept);
            free(first[1].kept);
            free(first);
        }
    }
}
