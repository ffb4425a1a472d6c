/* Times requests to a server, one after the other on one connection.
 *
 *   bench_serve PORT COUNT BODY PATH [HEADER...]
 *
 * BODY is a file, HEADER is "Name: value". Prints one JSON object: milliseconds of round trips, and
 * of what they took beyond the model's own time (ledge_latency_ms in the answer). */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void read_file(const char *path, LedgeText *out)
{
    char piece[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        ledge__text_put(out, piece, n);
    fclose(f);
}

static int connect_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            die("send");
        p += done;
        n -= (size_t)done;
    }
}

/* One answer; its milliseconds in the model. */
static double receive(int fd, char *buffer, size_t room)
{
    size_t n = 0, whole = 0;
    while (!whole || n < whole) {
        const ssize_t got = recv(fd, buffer + n, room - 1 - n, 0);
        if (got <= 0)
            die("recv");
        n += (size_t)got;
        buffer[n] = '\0';
        const char *end = whole ? NULL : strstr(buffer, "\r\n\r\n");
        const char *length = end ? strcasestr(buffer, "\r\nContent-Length:") : NULL;
        if (end && !length)
            exit(1);
        if (end)
            whole = (size_t)(end + 4 - buffer) + strtoul(length + 17, NULL, 10);
        if (whole >= room)
            exit(1);
    }
    if (strncmp(buffer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "bench_serve: %s\n", buffer);
        exit(1);
    }
    const char *ms = memmem(buffer, n, "\"ledge_latency_ms\":", 19);
    return ms ? strtod(ms + 19, NULL) : 0;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    enum { ROOM = 1 << 22, WARM = 20 };
    LedgeText body = {0}, head = {0};
    if (argc < 5)
        return 2;
    const int fd = connect_to(atoi(argv[1])), count = atoi(argv[2]);
    read_file(argv[3], &body);
    ledge__text_printf(&head, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n",
                       argv[4], body.n);
    for (int i = 5; i < argc; i++)
        ledge__text_printf(&head, "%s\r\n", argv[i]);
    ledge__text_add(&head, "\r\n");
    const size_t n_head = head.n;
    ledge__text_put(&head, body.p, body.n);
    double *trip = calloc((size_t)count + 1, sizeof *trip);
    double *beyond = calloc((size_t)count + 1, sizeof *beyond);
    char *buffer = malloc(ROOM);
    if (!trip || !beyond || !buffer || head.failed || n_head == 0 || count < 1)
        return 1;
    for (int i = -WARM; i < count; i++) {
        const double start = now_ms();
        send_all(fd, head.p, head.n);
        const double model = receive(fd, buffer, ROOM), took = now_ms() - start;
        if (i >= 0) {
            trip[i] = took;
            beyond[i] = took - model;
        }
    }
    close(fd);
    qsort(trip, (size_t)count, sizeof *trip, compare);
    qsort(beyond, (size_t)count, sizeof *beyond, compare);
    printf("{\"p50\": %.4f, \"p99\": %.4f, \"overhead_p50\": %.4f, \"overhead_p90\": %.4f, "
           "\"overhead_min\": %.4f}\n",
           trip[count / 2], trip[(count * 99) / 100], beyond[count / 2], beyond[(count * 9) / 10],
           beyond[0]);
    return 0;
}
