// origin PORT: answers every HTTP/1.1 request with as many bytes as the last number in its path says
// ("/bytes/16384"; 12 without one). Request bodies by content-length are read and dropped.
#include "common.h"

struct client {
    int fd;
    size_t head;         // bytes of the head that are in `buffer`
    uint64_t drop;       // bytes of a request body still to come
    uint64_t body, sent; // of the response under way; `head_out` comes first
    char head_out[128];
    size_t head_length, head_sent;
    int writing;
    char buffer[8192];
};

static char block[1 << 16];

static void answer(struct client *c) {
    uint64_t size = 12, length = 0;
    c->buffer[c->head] = 0;
    char *end = strchr(c->buffer, '\r');
    char *path = memmem(c->buffer, (size_t)(end - c->buffer), "/bytes/", 7);
    if (path) size = strtoull(path + 7, NULL, 10);
    char *field = strcasestr(c->buffer, "\r\ncontent-length:");
    if (field) length = strtoull(field + 17, NULL, 10);
    c->drop = length;
    c->head_length = (size_t)snprintf(
        c->head_out, sizeof c->head_out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n\r\n",
        (unsigned long long)size);
    c->head_sent = 0;
    c->body = size;
    c->sent = 0;
}

// 1: all is out, or will be when the request body is in; 0: the socket is full; -1: broken.
static int flush(struct client *c) {
    c->writing = 1;
    while (c->head_sent < c->head_length || c->sent < c->body) {
        uint64_t left = c->body - c->sent;
        size_t some = left < sizeof block ? (size_t)left : sizeof block;
        ssize_t n;
        if (c->head_sent < c->head_length) {
            char out[sizeof c->head_out + 16384];
            size_t rest = c->head_length - c->head_sent;
            if (some > 16384) some = 16384;
            memcpy(out, c->head_out + c->head_sent, rest);
            memcpy(out + rest, block, some);
            n = send(c->fd, out, rest + some, 0);
            if (n > 0) {
                size_t of_head = (size_t)n < rest ? (size_t)n : rest;
                c->head_sent += of_head;
                c->sent += (uint64_t)n - of_head;
            }
        } else {
            n = send(c->fd, block, some, 0);
            if (n > 0) c->sent += (uint64_t)n;
        }
        if (n < 0) return errno == EAGAIN ? 0 : -1;
    }
    c->writing = 0;
    return 1;
}

static int serve(struct client *c) {
    if (c->writing && c->drop == 0) {
        int done = flush(c);
        if (done <= 0) return done;
    }
    for (;;) {
        if (c->drop > 0) {
            ssize_t n = recv(c->fd, block, c->drop < sizeof block ? c->drop : sizeof block, 0);
            if (n == 0) return -1;
            if (n < 0) return errno == EAGAIN ? 0 : -1;
            c->drop -= (uint64_t)n;
        } else {
            ssize_t n = recv(c->fd, c->buffer + c->head, sizeof c->buffer - 1 - c->head, 0);
            if (n == 0) return -1;
            if (n < 0) return errno == EAGAIN ? 0 : -1;
            c->head += (size_t)n;
            char *end = memmem(c->buffer, c->head, "\r\n\r\n", 4);
            if (!end) continue;
            size_t used = (size_t)(end - c->buffer) + 4, more = c->head - used;
            answer(c);
            if (more > c->drop) return -1; // no pipelining here
            c->drop -= more;
            c->head = 0;
        }
        if (c->drop == 0) {
            int done = flush(c);
            if (done <= 0) return done;
        }
    }
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: origin PORT\n"), 64;
    raise_descriptor_limit();
    memset(block, 'x', sizeof block);
    int listener = listen_on(atoi(arguments[1])), poller = epoll_create1(0);
    struct epoll_event events[256], e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c) {
                if (serve(c) < 0) {
                    close(c->fd);
                    free(c);
                }
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                no_delay(fd);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                watch(poller, fd, c);
            }
        }
    }
}
