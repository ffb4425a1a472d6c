/* Times requests to a server, one after the other on one connection.
 *
 *   bench_serve [--poll] PORT COUNT BODY PATH [HEADER...]
 *
 * BODY is a file, HEADER is "Name: value"; --poll asks for answers without sleeping, so that it need
 * not be woken. Prints one JSON object: milliseconds of round trips, of
 * what they took beyond the model's own time (ledge_latency_ms in the answer), and of bare
 * exchanges: as many bytes there and back between two plain sockets, with a pause as long as the
 * model's time. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "timing.h"

static bool polls; /* asks for the answer without pause, and so need not be woken for it */

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

/* Bytes that have come, at least one. */
static size_t receive_some(int fd, char *to, size_t room)
{
    ssize_t got;
    do
        got = recv(fd, to, room, polls ? MSG_DONTWAIT : 0);
    while (got < 0 && errno == EAGAIN);
    if (got <= 0)
        die("recv");
    return (size_t)got;
}

/* One answer; its milliseconds in the model, and its size. */
static double receive(int fd, char *buffer, size_t room, size_t *size)
{
    size_t n = 0, whole = 0;
    while (!whole || n < whole) {
        n += receive_some(fd, buffer + n, room - 1 - n);
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
    *size = n;
    const char *ms = memmem(buffer, n, "\"ledge_latency_ms\":", 19);
    return ms ? strtod(ms + 19, NULL) : 0;
}

/* ---- bare exchanges ---- */

typedef struct Echo {
    int listening;
    size_t request, answer;
    double pause;
    char *buffer;
} Echo;

static void *echo(void *arg)
{
    enum { PIECE = 32768 };
    const Echo *e = arg;
    const int fd = accept(e->listening, NULL, NULL), on = 1;
    ssize_t got = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (got > 0) {
        for (size_t n = 0; n < e->request && got > 0; n += got > 0 ? (size_t)got : 0)
            got = recv(fd, e->buffer + n, PIECE < e->request - n ? PIECE : e->request - n, 0);
        const double until = now_ms() + e->pause;
        while (got > 0 && now_ms() < until) {
        }
        if (got > 0)
            send_all(fd, e->buffer, e->answer);
    }
    close(fd);
    return NULL;
}

/* The median of `count` exchanges without their pauses. */
static double bare_exchange(Echo *e, int count, const char *request, char *answer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    pthread_t thread;
    double *took = calloc((size_t)count, sizeof *took);
    e->buffer = calloc(1, e->request > e->answer ? e->request : e->answer);
    e->listening = socket(AF_INET, SOCK_STREAM, 0);
    if (!took || !e->buffer || bind(e->listening, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(e->listening, 1) != 0 ||
        getsockname(e->listening, (struct sockaddr *)&a, &size) != 0 ||
        pthread_create(&thread, NULL, echo, e) != 0)
        die("bare exchange");
    const int fd = connect_to(ntohs(a.sin_port));
    for (int i = -5; i < count; i++) {
        const double start = now_ms();
        send_all(fd, request, e->request);
        for (size_t n = 0; n < e->answer;)
            n += receive_some(fd, answer + n, e->answer - n);
        took[i > 0 ? i : 0] = now_ms() - start - e->pause;
    }
    close(fd);
    pthread_join(thread, NULL);
    close(e->listening);
    qsort(took, (size_t)count, sizeof *took, by_value);
    const double median = took[count / 2];
    free(took);
    free(e->buffer);
    return median;
}

int main(int argc, char **argv)
{
    enum { ROOM = 1 << 22, WARM = 20 };
    LedgeText body = {0}, head = {0};
    polls = argc > 1 && strcmp(argv[1], "--poll") == 0;
    argv += polls;
    argc -= polls;
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
    size_t answer = 0;
    if (!trip || !beyond || !buffer || head.failed || n_head == 0 || count < 1)
        return 1;
    for (int i = -WARM; i < count; i++) {
        const double start = now_ms();
        send_all(fd, head.p, head.n);
        const double model = receive(fd, buffer, ROOM, &answer), took = now_ms() - start;
        if (i >= 0) {
            trip[i] = took;
            beyond[i] = took - model;
        }
    }
    close(fd);
    qsort(trip, (size_t)count, sizeof *trip, by_value);
    qsort(beyond, (size_t)count, sizeof *beyond, by_value);
    Echo bare = {.request = head.n, .answer = answer, .pause = trip[count / 2] - beyond[count / 2]};
    printf("{\"exchange_p50\": %.4f, ", bare_exchange(&bare, count, head.p, buffer));
    printf("\"p50\": %.4f, \"p99\": %.4f, \"overhead_p50\": %.4f, \"overhead_p90\": %.4f, "
           "\"overhead_min\": %.4f}\n",
           trip[count / 2], trip[(count * 99) / 100], beyond[count / 2], beyond[(count * 9) / 10],
           beyond[0]);
    return 0;
}
