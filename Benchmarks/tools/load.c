// load PORT [-c CONNECTIONS] [-d SECONDS | -n REQUESTS] [-w WARM-UP-SECONDS] [-r REQUESTS-PER-SECOND]
//      [-p PATH] [-u UPLOAD-BYTES] [-1]
//
// Warms up, prints "go", and measures from then on. HTTP/1.1 load over keep-alive connections (-1: one connection a request). Without -r each
// connection asks again when it has its answer. With -r request k is due at k/r seconds, whether
// earlier ones have been answered or not, and its latency counts from when it was due: a server that
// stalls is charged for every request that it would have kept waiting (no coordinated omission).
// Prints one line of JSON at the end.
#include "common.h"

static const char *fields =
    "Host: bench.test\r\n"
    "Cookie: session=abcdef0123456789; theme=dark\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n"
    "Referer: http://bench.test/where/the/user/came/from\r\n"
    "X-Trace: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

struct connection {
    int fd;
    uint64_t due;          // of the request under way
    uint64_t waiting_from; // of the oldest request that waits; they are `interval` apart
    uint64_t waiting;
    size_t sent;           // of `request`
    uint64_t upload_left;
    size_t head;           // bytes of the response head that are in `buffer`
    uint64_t body_left;
    int busy, in_body, last; // last: the server ends the connection behind this answer
    char buffer[4096];
};

// Latency in ns: 64 places for each power of two, so within 1.6 %.
static uint64_t histogram[64 * 64], answered, errors, bytes;
static struct connection *connections;
static int connection_count = 64, port, per_request, poller;
static uint64_t rate, upload, interval, begun, wanted = UINT64_MAX;
static char request[4096], block[1 << 16];
static size_t request_length;

static void record(uint64_t ns) {
    int power = 63 - __builtin_clzll(ns | 64);
    histogram[(power - 6) * 64 + (int)((ns >> (power - 6)) & 63)]++;
}

static double percentile(double share) {
    uint64_t want = (uint64_t)((double)answered * share), seen = 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += histogram[i];
        if (seen > want) {
            int power = i / 64;
            return (double)((64 + (uint64_t)(i % 64)) << power) / 1000.0;
        }
    }
    return 0;
}

static void open_connection(struct connection *c) {
    c->fd = connect_to(port);
    watch(poller, c->fd, c);
}

static void begin(struct connection *c, uint64_t due) {
    // With -n nobody leaves in the middle of a request: that would cost the server its connections.
    if (begun == wanted) return;
    begun++;
    c->busy = 1;
    c->due = due;
    c->sent = c->head = 0;
    c->upload_left = upload;
    c->in_body = 0;
    if (per_request) open_connection(c);
}

static void broken(struct connection *c) {
    errors++;
    close(c->fd);
    c->busy = 0;
    if (per_request) return;
    open_connection(c);
    if (!rate) begin(c, now_ns());
}

static void finished(struct connection *c, uint64_t now) {
    c->busy = 0;
    answered++;
    record(now > c->due ? now - c->due : 0);
    if (per_request || c->last) close(c->fd);
    if (!per_request && c->last) open_connection(c);
}

static int write_some(struct connection *c) {
    while (c->sent < request_length || c->upload_left) {
        ssize_t n;
        if (c->sent < request_length) {
            n = send(c->fd, request + c->sent, request_length - c->sent, upload ? MSG_MORE : 0);
            if (n > 0) c->sent += (size_t)n;
        } else {
            n = send(c->fd, block, c->upload_left < sizeof block ? c->upload_left : sizeof block, 0);
            if (n > 0) c->upload_left -= (uint64_t)n;
        }
        if (n < 0) return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
    }
    return 1;
}

// 1: the answer is whole; 0: more must come; -1: broken.
static int read_some(struct connection *c) {
    for (;;) {
        ssize_t n;
        if (c->in_body) {
            if (c->body_left == 0) return 1;
            n = recv(c->fd, block, c->body_left < sizeof block ? c->body_left : sizeof block, 0);
            if (n > 0) {
                c->body_left -= (uint64_t)n;
                bytes += (uint64_t)n;
            }
        } else {
            n = recv(c->fd, c->buffer + c->head, sizeof c->buffer - 1 - c->head, 0);
            if (n > 0) {
                c->head += (size_t)n;
                c->buffer[c->head] = 0;
                char *end = memmem(c->buffer, c->head, "\r\n\r\n", 4);
                if (end) {
                    char *length = strcasestr(c->buffer, "\r\ncontent-length:");
                    if (strncmp(c->buffer, "HTTP/1.1 200", 12) || !length) return -1;
                    size_t more = c->head - (size_t)(end + 4 - c->buffer);
                    c->body_left = strtoull(length + 17, NULL, 10) - more;
                    c->in_body = 1;
                    c->last = strcasestr(c->buffer, "\r\nconnection: close\r") != NULL;
                    bytes += more;
                } else if (c->head == sizeof c->buffer - 1) {
                    return -1;
                }
            }
        }
        if (n == 0) return -1;
        if (n < 0) return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
    }
}

static void drive(struct connection *c) {
    while (c->busy) {
        if (write_some(c) < 0) return broken(c);
        int outcome = read_some(c);
        if (outcome < 0) return broken(c);
        if (outcome == 0) return;
        uint64_t now = now_ns();
        finished(c, now);
        if (!rate) {
            begin(c, now);
        } else if (c->waiting) {
            c->waiting--;
            begin(c, c->waiting_from);
            c->waiting_from += interval * (uint64_t)connection_count;
        }
        if (per_request) return;
    }
}

int main(int count, char **arguments) {
    double seconds = 3, warm_up = 0;
    const char *path = "/bytes/12";
    if (count < 2) return fprintf(stderr, "usage: load PORT [options]; see the source's first lines\n"), 64;
    port = atoi(arguments[1]);
    for (int i = 2; i < count; i++) {
        const char *o = arguments[i];
        if (!strcmp(o, "-1")) {
            per_request = 1;
            continue;
        }
        if (i + 1 == count) return 64;
        const char *v = arguments[++i];
        if (!strcmp(o, "-c")) connection_count = atoi(v);
        else if (!strcmp(o, "-d")) seconds = atof(v);
        else if (!strcmp(o, "-n")) wanted = strtoull(v, NULL, 10), seconds = 600;
        else if (!strcmp(o, "-w")) warm_up = atof(v);
        else if (!strcmp(o, "-r")) rate = strtoull(v, NULL, 10);
        else if (!strcmp(o, "-p")) path = v;
        else if (!strcmp(o, "-u")) upload = strtoull(v, NULL, 10);
        else return fprintf(stderr, "load: what is %s?\n", o), 64;
    }
    raise_descriptor_limit();
    request_length = (size_t)snprintf(
        request, sizeof request, "%s %s HTTP/1.1\r\n%s", upload ? "POST" : "GET", path, fields);
    if (upload)
        request_length += (size_t)snprintf(
            request + request_length, sizeof request - request_length, "Content-Length: %llu\r\n",
            (unsigned long long)upload);
    request_length += (size_t)snprintf(
        request + request_length, sizeof request - request_length, "%s\r\n",
        per_request ? "Connection: close\r\n" : "");
    poller = epoll_create1(0);
    connections = calloc((size_t)connection_count, sizeof *connections);
    uint64_t start = now_ns(), due_count = 0, measured_from = start + (uint64_t)(warm_up * 1e9);
    uint64_t end = measured_from + (uint64_t)(seconds * 1e9);
    int measures = 0;
    if (rate) interval = 1000000000ull / rate;
    for (int i = 0; i < connection_count; i++) {
        if (!per_request) open_connection(connections + i);
        if (!rate) begin(connections + i, start);
    }
    struct epoll_event events[256];
    uint64_t now;
    // A server that is gone refuses at once, again and again.
    while ((now = now_ns()) < end && answered + errors < wanted && errors < answered + 100000) {
        if (!measures && now >= measured_from) {
            measures = 1;
            measured_from = now;
            answered = errors = bytes = 0;
            memset(histogram, 0, sizeof histogram);
            puts("go");
            fflush(stdout);
        }
        while (rate && start + due_count * interval <= now) {
            struct connection *c = connections + due_count % (uint64_t)connection_count;
            uint64_t due = start + due_count++ * interval;
            if (!c->busy) {
                begin(c, due);
                drive(c);
            } else if (c->waiting++ == 0) {
                c->waiting_from = due;
            }
        }
        uint64_t next = rate ? start + due_count * interval : end;
        if (next > end) next = end;
        if (!measures && next > measured_from) next = measured_from;
        uint64_t wait = next > now ? next - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
        int n = epoll_pwait2(poller, events, 256, &timeout, NULL);
        for (int i = 0; i < n; i++) drive(events[i].data.ptr);
        if (per_request && !rate)
            for (int i = 0; i < connection_count; i++)
                if (!connections[i].busy) begin(connections + i, now_ns());
    }
    double took = (double)(now - measured_from) / 1e9;
    uint64_t unanswered = 0;
    for (int i = 0; i < connection_count && rate; i++) {
        // What still waits has waited so long at least.
        if (connections[i].busy && now > connections[i].due) {
            record(now - connections[i].due);
            unanswered++;
        }
        for (uint64_t k = 0; k < connections[i].waiting; k++) {
            uint64_t due = connections[i].waiting_from + k * interval * (uint64_t)connection_count;
            if (now > due) {
                record(now - due);
                unanswered++;
            }
        }
    }
    uint64_t done = answered;
    answered += unanswered;
    printf("{\"requests\": %llu, \"errors\": %llu, \"unanswered\": %llu, \"seconds\": %.4f, \"bytes\": %llu, "
           "\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}\n",
           (unsigned long long)done, (unsigned long long)errors, (unsigned long long)unanswered, took,
           (unsigned long long)bytes, percentile(0.5), percentile(0.99), percentile(0.999999));
    return 0;
}
