/* Load for a registry: how many polls, or records of telemetry, it acknowledges in a second.
 *
 *   load_registry PORT TOKEN polls|records SECONDS [CONNECTIONS] [DEVICES]
 *
 * Each connection has one request on its way at a time. Batches have 100 records, are compressed
 * before the clock starts, and each has an id of its own. Counted is what was answered with 200 or
 * 304. Prints one line. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fleet/protocol/deflate.h"
#include "fleet/protocol/wire_batch.h"

enum { BATCHES = 20000, RECORDS = 100, MAX = 1024 };

typedef struct Bytes {
    char *p;
    size_t n;
} Bytes;

static int port;
static const char *token;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static Bytes request(const char *path, const char *extra, const char *body, size_t size)
{
    Bytes b = {malloc(size + 1000), 0};
    if (!b.p)
        exit(1);
    b.n = (size_t)snprintf(
        b.p, 1000,
        "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%sContent-Length: "
        "%zu\r\n\r\n",
        path, token, extra, size);
    memcpy(b.p + b.n, body, size);
    b.n += size;
    return b;
}

static Bytes batch(int device, int serial)
{
    char *text = NULL, *small = NULL;
    size_t n = 0, m = 0;
    LedgeError err;
    LedgeBatchWriter w;
    LedgeBatchHead head = {.clock_us = (int64_t)time(NULL) * 1000000};
    FILE *to = open_memstream(&text, &n);
    snprintf(head.device_id, sizeof head.device_id, "load-%d", device);
    snprintf(head.batch, sizeof head.batch, "load-%d-%ld-%ld:%d", device, (long)getpid(),
             (long)time(NULL), serial);
    ledge__batch_write_head(&w, to, &head);
    ledge__batch_write_list(&w, LEDGE_BATCH_RECORDS);
    for (int i = 0; i < RECORDS; i++) {
        LedgeTelemetryRecord r = {.seq = (uint64_t)serial * RECORDS + (uint64_t)i,
                                  .timestamp = head.clock_us - i * 100000,
                                  .latency_us = 4000 + rand() % 2000,
                                  .confidence_ppm = rand() % 1000000,
                                  .class_id = rand() % 1000,
                                  .drift = LEDGE_FLEET_DRIFT_FINE,
                                  .model = "mobilenet",
                                  .version = "1.4.0"};
        snprintf(r.request_hash, sizeof r.request_hash, "%08x%08x", (unsigned)rand(),
                 (unsigned)rand());
        ledge__batch_write_record(&w, &r);
    }
    ledge__batch_write_end(&w);
    if (fclose(to) || ledge__deflate(text, n, &err, &small, &m))
        exit(1);
    Bytes b = request("/v1/telemetry", "Content-Encoding: deflate\r\n", small, m);
    free(text);
    free(small);
    return b;
}

static Bytes poll_of(int device)
{
    char body[600];
    const int n = snprintf(
        body, sizeof body,
        "{\"device_id\":\"load-%d\",\"agent\":\"ledge-0.1.0\",\"platform\":{\"arch\":\"x86-64\","
        "\"level\":\"avx2\",\"cores\":4},\"labels\":{\"site\":\"berlin\"},\"clock\":%ld,\"uptime_"
        "s\":100,"
        "\"models\":[{\"name\":\"mobilenet\",\"version\":\"1.4.0\",\"state\":\"running\",\"since_"
        "s\":10,"
        "\"window\":{\"count\":100,\"errors\":0,\"p90_us\":5000,\"drift\":\"fine\"}}]}",
        device, (long)time(NULL));
    return request("/v1/poll", "", body, (size_t)n);
}

typedef struct Line {
    int fd;
    char in[4096];
    size_t got;
} Line;

static int open_line(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        exit(1);
    return fd;
}

static void send_all(int fd, const Bytes *b)
{
    for (size_t at = 0; at < b->n;) {
        const ssize_t n = send(fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        if (n <= 0)
            exit(1);
        at += (size_t)n;
    }
}

/* The status code once an answer is whole; 0: more is to come. */
static int answered(Line *l)
{
    const ssize_t n = recv(l->fd, l->in + l->got, sizeof l->in - 1 - l->got, 0);
    if (n <= 0)
        exit(1);
    l->got += (size_t)n;
    l->in[l->got] = '\0';
    const char *end = strstr(l->in, "\r\n\r\n"), *length = strstr(l->in, "Content-Length: ");
    if (!end)
        return 0;
    const size_t body = length && length < end ? (size_t)atol(length + 16) : 0;
    if (l->got < (size_t)(end + 4 - l->in) + body)
        return 0;
    l->got = 0;
    return atoi(l->in + 9);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    port = atoi(argv[1]);
    token = argv[2];
    const int is_records = argv[3][0] == 'r', lines = argc > 5 ? atoi(argv[5]) : 64,
              devices = argc > 6 ? atoi(argv[6]) : 1000;
    const double seconds = atof(argv[4]);
    const int n = is_records ? BATCHES : devices;
    Bytes *all = calloc((size_t)n, sizeof *all);
    static Line line[MAX];
    if (!all || lines > MAX)
        return 1;
    for (int i = 0; i < n; i++)
        all[i] = is_records ? batch(i % devices, i) : poll_of(i);
    const int ep = epoll_create1(0);
    int sent = 0, good = 0, bad = 0;
    const double start = now();
    for (int i = 0; i < lines; i++) {
        line[i].fd = open_line();
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, line[i].fd, &e);
        send_all(line[i].fd, &all[sent++ % n]);
    }
    int waiting = lines;
    while (waiting > 0) {
        struct epoll_event events[64];
        const int k = epoll_wait(ep, events, 64, 5000);
        if (k <= 0)
            return 1;
        for (int i = 0; i < k; i++) {
            Line *l = &line[events[i].data.u32];
            const int code = answered(l);
            if (!code)
                continue;
            good += code == 200 || code == 304;
            bad += code != 200 && code != 304;
            if (now() - start < seconds && (!is_records || sent < n))
                send_all(l->fd, &all[sent++ % n]);
            else
                waiting--;
        }
    }
    const double took = now() - start;
    printf("%s: %d answered in %.2f s, %.0f %s/s, %d refused\n", argv[3], good, took,
           good * (is_records ? RECORDS : 1) / took, argv[3], bad);
    return bad != 0;
}
