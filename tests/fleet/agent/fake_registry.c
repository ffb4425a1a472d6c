/* The registry of fake_registry.h: one thread a connection, one request a connection. */
#include "fake_registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fleet/protocol/deflate.h"
#include "image/npy.h"
#include "ledge/ledge.h"

#undef NDEBUG
#include <assert.h>

#define OK(call) assert((call) == LEDGE_OK)
enum { HEAD_MAX = 16384, SEEN = 65536, IDS = 4096 };

typedef struct Talk {
    Registry *r;
    int fd;
    char head[HEAD_MAX];
    char *body;
    size_t body_size;
} Talk;

/* splitmix32: good enough that a few trials look like many. */
static unsigned number(Registry *r)
{
    unsigned z = r->seed += 0x9e3779b9u;
    z = (z ^ z >> 16) * 0x21f0aaadu;
    z = (z ^ z >> 15) * 0x735a2d97u;
    return z ^ z >> 15;
}

static int chance(Registry *r)
{
    return (int)(number(r) % 100);
}

static void wait_ms(const Registry *r, int64_t ms)
{
    for (; ms > 0 && !r->stops; ms -= 10) {
        const struct timespec t = {0, (ms < 10 ? ms : 10) * 1000000};
        nanosleep(&t, NULL);
    }
}

/* ---- sending ---- */

static bool put(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n) {
        const ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* So much at once that the rate holds. */
static int64_t put_slowly(Talk *t, const char *p, size_t n, int64_t rate)
{
    int64_t sent = 0;
    const size_t piece = rate ? (size_t)(rate / 50 + 1) : 65536;
    while (n) {
        const size_t k = n < piece ? n : piece;
        if (!put(t->fd, p, k))
            break;
        sent += (int64_t)k;
        p += k;
        n -= k;
        if (rate)
            wait_ms(t->r, 20);
        if (t->r->stops)
            break;
    }
    return sent;
}

static void reset(Talk *t)
{
    const struct linger hard = {1, 0};
    setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void answer(Talk *t, int status, const char *more, const void *body, size_t n)
{
    char head[512];
    const int k = snprintf(head, sizeof head,
                           "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
                           status, n, more);
    if (put(t->fd, head, (size_t)k))
        put(t->fd, body, n);
}

static bool header(const Talk *t, const char *name, char *out, size_t size)
{
    const char *p = strcasestr(t->head, name);
    if (!p)
        return false;
    p += strlen(name);
    while (*p == ' ')
        p++;
    snprintf(out, size, "%.*s", (int)strcspn(p, "\r\n"), p);
    return true;
}

/* ---- files ---- */

typedef struct Plan {
    int64_t from, n;    /* of the file; n bytes are promised */
    int status, cut_at; /* bytes until the answer ends; -1: it does not */
    bool resets, lies, is_wrong;
    int64_t says;
} Plan;

static Plan plan_file(Registry *r, int64_t size, bool is_range, int64_t from)
{
    const Faults *f = &r->faults;
    Plan p = {.from = is_range ? from : 0, .status = is_range ? 206 : 200, .cut_at = -1};
    if (is_range && chance(r) < f->deaf) {
        p.from = 0;
        p.status = 200;
    }
    p.says = p.from;
    if (p.status == 206 && chance(r) < f->shifted)
        p.says = p.from = p.from / 2;
    p.n = size - p.from;
    p.is_wrong = f->forged || chance(r) < f->wrong;
    p.lies = chance(r) < f->lying_etag;
    if (chance(r) < f->cut) {
        p.cut_at = (int)(number(r) % (unsigned)(p.n + 1));
        p.resets = true;
    } else if (chance(r) < f->truncated) {
        p.cut_at = (int)(number(r) % (unsigned)(p.n + 1));
    }
    return p;
}

static void send_file(Talk *t, const char *bytes, size_t size, const char *sha)
{
    Registry *r = t->r;
    char text[100], head[512];
    const bool is_range = header(t, "\r\nRange: bytes=", text, sizeof text);
    const int64_t from = is_range ? strtoll(text, NULL, 10) : 0;
    if (from >= (int64_t)size && size > 0) {
        answer(t, 416, "", "", 0);
        return;
    }
    pthread_mutex_lock(&r->lock);
    const Plan p = plan_file(r, (int64_t)size, is_range, from);
    const unsigned at = p.n ? number(r) % (unsigned)p.n : 0;
    const int64_t rate = r->faults.rate;
    const bool endless = r->faults.endless;
    pthread_mutex_unlock(&r->lock);
    int k = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nETag: \"%s\"\r\nConnection: close\r\n",
                     p.status, p.lies ? "0123" : sha);
    if (!endless)
        k +=
            snprintf(head + k, sizeof head - (size_t)k, "Content-Length: %lld\r\n", (long long)p.n);
    if (p.status == 206)
        k += snprintf(head + k, sizeof head - (size_t)k, "Content-Range: bytes %lld-%lld/%zu\r\n",
                      (long long)p.says, (long long)(p.says + p.n - 1), size);
    k += snprintf(head + k, sizeof head - (size_t)k, "\r\n");
    char *copy = malloc((size_t)p.n + 1);
    assert(copy);
    memcpy(copy, bytes + p.from, (size_t)p.n);
    if (p.is_wrong && p.n)
        copy[at] ^= 0x55;
    int64_t sent = 0;
    if (put(t->fd, head, (size_t)k))
        sent = put_slowly(t, copy, p.cut_at >= 0 ? (size_t)p.cut_at : (size_t)p.n, rate);
    while (endless && !r->stops && put(t->fd, copy, (size_t)p.n))
        sent += p.n;
    if (p.resets)
        reset(t);
    free(copy);
    struct tcp_info seen;
    socklen_t seen_size = sizeof seen;
    const bool is_cut = sent < (p.cut_at >= 0 ? p.cut_at : p.n);
    if (is_cut && getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, &seen, &seen_size) == 0 &&
        (int64_t)seen.tcpi_bytes_acked < sent)
        sent = (int64_t)seen.tcpi_bytes_acked; /* the rest never arrived anywhere */
    pthread_mutex_lock(&r->lock);
    r->sent += sent;
    pthread_mutex_unlock(&r->lock);
}

/* ---- messages ---- */

static void take_poll(Talk *t)
{
    Registry *r = t->r;
    char etag[100], head[100], want[60], text[16384];
    LedgeError err = {0};
    pthread_mutex_lock(&r->lock);
    const LedgeStatus s = ledge__poll_request_read(t->body, t->body_size, &err, &r->last_poll);
    if (s)
        fprintf(stderr, "poll: %s\n%.*s\n", err.message, (int)t->body_size, t->body);
    r->polls++;
    for (size_t i = 0; !s && !r->poll_status && i < r->last_poll.n_models; i++)
        r->told += r->last_poll.models[i].window.count;
    snprintf(head, sizeof head, "ETag: \"%s\"\r\n%s", r->etag,
             r->poll_status == 503 ? "Retry-After: 7\r\n" : "");
    snprintf(want, sizeof want, "\"%s\"", r->etag);
    strcpy(text, r->answer);
    const int status = s ? 400 : r->poll_status;
    pthread_mutex_unlock(&r->lock);
    if (status)
        answer(t, status, head, "", 0);
    else if (header(t, "\r\nIf-None-Match: ", etag, sizeof etag) && strcmp(etag, want) == 0)
        answer(t, 304, head, "", 0);
    else
        answer(t, 200, head, text, strlen(text));
}

static bool store(Registry *r, const char *text, size_t n, char id[LEDGE_FLEET_BATCH])
{
    LedgeBatchReader b;
    LedgeTelemetryRecord rec;
    LedgeFleetNote note;
    if (ledge__batch_open(&b, text, n, NULL))
        return false;
    strcpy(id, b.head.batch);
    for (size_t i = 0; i < r->n_ids; i++)
        if (strcmp(r->ids[i], id) == 0) {
            r->duplicates++;
            return true;
        }
    assert(r->n_ids < IDS);
    strcpy(r->ids[r->n_ids++], id);
    ledge__batch_list(&b, LEDGE_BATCH_RECORDS);
    while (ledge__batch_record(&b, &rec))
        r->seen[rec.class_id % SEEN]++;
    ledge__batch_list(&b, LEDGE_BATCH_EVENTS);
    while (ledge__batch_note(&b, &note))
        if (r->n_events < sizeof r->events / sizeof *r->events)
            r->events[r->n_events++] = note;
    r->batches++;
    return ledge__batch_status(&b, NULL) == LEDGE_OK;
}

static void take_batch(Talk *t)
{
    Registry *r = t->r;
    char id[LEDGE_FLEET_BATCH] = "", reply[300], *text = NULL;
    size_t n = 0;
    wait_ms(r, r->faults.batch_ms);
    bool ok = ledge__inflate(t->body, t->body_size, LEDGE_FLEET_BATCH_MAX, NULL, &text, &n) == 0;
    pthread_mutex_lock(&r->lock);
    const int status = r->batch_status;
    const size_t duplicates = r->duplicates;
    if (ok && (!status || r->batch_stores))
        ok = store(r, text, n, id);
    const int k = snprintf(reply, sizeof reply, "{\"batch\":\"%s\",\"stored\":1,\"duplicate\":%s}",
                           id, r->duplicates > duplicates ? "true" : "false");
    const bool is_lost = chance(r) < r->faults.cut;
    pthread_mutex_unlock(&r->lock);
    free(text);
    if (is_lost)
        reset(t); /* stored, and the answer is lost */
    else if (status)
        answer(t, status, "", "", 0);
    else
        answer(t, ok ? 200 : 400, "", reply, ok ? (size_t)k : 0);
}

/* DEVICE/SHA256 */
static void take_sample(Talk *t, const char *path)
{
    Registry *r = t->r;
    const char *name = strchr(path, '/') + 1;
    pthread_mutex_lock(&r->lock);
    const int status = r->sample_status;
    r->samples_asked++;
    if (!status || r->batch_stores)
        repo_put(&r->samples, name, t->body, t->body_size);
    const bool is_lost = chance(r) < r->faults.cut;
    pthread_mutex_unlock(&r->lock);
    if (is_lost)
        reset(t);
    else
        answer(t, status ? status : 200, "", "{}", 2);
}

static void give(Talk *t, const char *path)
{
    Registry *r = t->r;
    char *bytes = NULL;
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    if (strncmp(path, "/v1/tuf/", 8) == 0) {
        const LedgeTufSource s = repo_source(r->repo.time || true ? &r->repo : NULL);
        if (s.fetch(s.context, path + 8, 8 << 20, NULL, &bytes, &n))
            bytes = NULL;
    } else if (strncmp(path, "/v1/blobs/", 10) == 0 && !r->faults.gone) {
        const RepoFile *f = repo_get(&r->blobs, path + 10);
        if (f) {
            n = f->size;
            bytes = malloc(n + 1);
            assert(bytes);
            memcpy(bytes, f->bytes, n);
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (!bytes)
        answer(t, 404, "", "", 0);
    else if (strncmp(path, "/v1/blobs/", 10) == 0)
        send_file(t, bytes, n, path + 10);
    else
        answer(t, 200, "", bytes, n);
    free(bytes);
}

/* ---- connections ---- */

static bool read_request(Talk *t)
{
    size_t n = 0;
    char text[40], *end = NULL;
    while (!end && n < HEAD_MAX - 1) {
        const ssize_t got = recv(t->fd, t->head + n, HEAD_MAX - 1 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        t->head[n] = '\0';
        end = strstr(t->head, "\r\n\r\n");
    }
    if (!end)
        return false;
    const size_t in_head = n - (size_t)(end + 4 - t->head);
    t->body_size =
        header(t, "\r\nContent-Length: ", text, sizeof text) ? strtoul(text, NULL, 10) : 0;
    t->body = malloc(t->body_size + 1);
    assert(t->body && in_head <= t->body_size);
    memcpy(t->body, end + 4, in_head);
    end[4] = '\0';
    for (n = in_head; n < t->body_size;) {
        const ssize_t got = recv(t->fd, t->body + n, t->body_size - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

static void serve_one(Talk *t)
{
    Registry *r = t->r;
    char method[8], path[400];
    if (!read_request(t) || sscanf(t->head, "%7s %399s", method, path) != 2)
        return;
    if (strncmp(path, "http://", 7) == 0 && strchr(path + 7, '/')) {
        const char *at = strchr(path + 7, '/');
        memmove(path, at, strlen(at) + 1);
        r->proxied++;
    }
    pthread_mutex_lock(&r->lock);
    r->asked++;
    const bool busy = chance(r) < r->faults.busy, silent = chance(r) < r->faults.silent;
    const int delay = r->faults.delay_ms, silent_ms = r->faults.silent_ms;
    pthread_mutex_unlock(&r->lock);
    wait_ms(r, silent ? silent_ms : delay);
    if (silent)
        return;
    if (busy)
        answer(t, 503, "Retry-After: 0\r\n", "", 0);
    else if (strcmp(path, "/v1/poll") == 0)
        take_poll(t);
    else if (strncmp(path, "/v1/samples/", 12) == 0)
        take_sample(t, path + 12);
    else if (strcmp(method, "POST") == 0)
        take_batch(t);
    else
        give(t, path);
}

static void *talk(void *arg)
{
    Talk *t = arg;
    serve_one(t);
    close(t->fd);
    pthread_mutex_lock(&t->r->lock);
    t->r->open--;
    pthread_mutex_unlock(&t->r->lock);
    free(t->body);
    free(t);
    return NULL;
}

static void *listen_to(void *arg)
{
    Registry *r = arg;
    while (!r->stops) {
        pthread_t thread;
        const int fd = accept(r->socket, NULL, NULL);
        if (fd < 0)
            continue;
        Talk *t = calloc(1, sizeof *t);
        assert(t);
        t->r = r;
        t->fd = fd;
        /* So that what nobody takes is not counted as sent. */
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){32768}, sizeof(int));
        pthread_mutex_lock(&r->lock);
        r->open++;
        pthread_mutex_unlock(&r->lock);
        assert(pthread_create(&thread, NULL, talk, t) == 0);
        pthread_detach(thread);
    }
    return NULL;
}

void registry_start(Registry *r)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    memset(r, 0, sizeof *r);
    r->seed = 11;
    r->ids = calloc(IDS, sizeof *r->ids);
    r->seen = calloc(SEEN, sizeof *r->seen);
    assert(r->ids && r->seen);
    repo_new(&r->repo);
    r->repo.time = 0;
    pthread_mutex_init(&r->lock, NULL);
    r->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(r->socket >= 0 && bind(r->socket, (struct sockaddr *)&at, sizeof at) == 0 &&
           listen(r->socket, 64) == 0 &&
           getsockname(r->socket, (struct sockaddr *)&at, &size) == 0);
    r->port = ntohs(at.sin_port);
    strcpy(r->etag, "e0");
    strcpy(r->answer, "{\"etag\":\"e0\",\"time\":1,\"interval_s\":60,\"models\":[]}");
    assert(pthread_create(&r->thread, NULL, listen_to, r) == 0);
}

void registry_stop(Registry *r)
{
    r->stops = true;
    shutdown(r->socket, SHUT_RDWR);
    close(r->socket);
    pthread_join(r->thread, NULL);
    for (int open = 1; open;) {
        pthread_mutex_lock(&r->lock);
        open = r->open;
        pthread_mutex_unlock(&r->lock);
        usleep(1000);
    }
    repo_free(&r->repo);
    repo_clear(&r->blobs);
    repo_clear(&r->samples);
    free(r->ids);
    free(r->seen);
}

const char *registry_url(const Registry *r, char out[64])
{
    snprintf(out, 64, "http://127.0.0.1:%u", r->port);
    return out;
}

/* ---- publishing ---- */

static void put_blob(Registry *r, const char *path, const char *sha)
{
    FILE *f = fopen(path, "rb");
    assert(f);
    assert(fseek(f, 0, SEEK_END) == 0);
    const long n = ftell(f);
    rewind(f);
    char *bytes = malloc((size_t)n + 1);
    assert(bytes && fread(bytes, 1, (size_t)n, f) == (size_t)n);
    fclose(f);
    repo_put(&r->blobs, sha, bytes, (size_t)n);
    free(bytes);
}

static void write_noise(const char *path, size_t n, unsigned seed)
{
    FILE *f = fopen(path, "wb");
    assert(f);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        putc((int)(seed >> 24), f);
    }
    assert(fclose(f) == 0);
}

/* A golden case of the model, its first output off by `off`. */
static void make_golden(const char *model, const char *in_path, const char *out_path, double off)
{
    LedgeModel *m;
    LedgeSession *s;
    static float x[3 * 64];
    LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, 8, 8}, x, sizeof x}, out = {0};
    for (int i = 0; i < 3 * 64; i++)
        x[i] = (float)(i * 37 % 101) / 101;
    OK(ledge_model_load(model, NULL, NULL, &m));
    OK(ledge_session_create(m, NULL, NULL, &s));
    OK(ledge_session_run(s, &in, 1, &out, 1, NULL));
    ((float *)out.data)[0] += (float)off;
    OK(ledge__npy_save(in_path, &in, NULL));
    OK(ledge__npy_save(out_path, &out, NULL));
    ledge_session_free(s);
    ledge_model_free(m);
}

void registry_publish(Registry *r, const char *name, const char *version, int64_t created,
                      size_t more, double off)
{
    static const char *const model = LEDGE_TEST_DATA "/onnx/classifier.onnx";
    char in[64], out[64], noise[64], guest[64], target[LEDGE_FLEET_PATH], sha[LEDGE_SHA256_HEX];
    const char *const paths[] = {model, in, out, noise, guest};
    LedgeRelease *release;
    char *text;
    size_t n;
    snprintf(in, sizeof in, "/tmp/ledge-%d-in.npy", (int)getpid());
    snprintf(out, sizeof out, "/tmp/ledge-%d-out.npy", (int)getpid());
    snprintf(noise, sizeof noise, "/tmp/ledge-%d-noise", (int)getpid());
    make_golden(model, in, out, off);
    snprintf(guest, sizeof guest, "/tmp/ledge-%d-guest", (int)getpid());
    write_noise(noise, more, (unsigned)created);
    write_noise(guest, 3000, (unsigned)created + 1);
    pthread_mutex_lock(&r->lock);
    OK(ledge__release_new(name, version, NULL, &release));
    OK(ledge__release_add(release, LEDGE_RELEASE_MODEL, "model.onnx", model, NULL));
    OK(ledge__release_add(release, LEDGE_RELEASE_GOLDEN, "golden/in.npy", in, NULL));
    OK(ledge__release_add(release, LEDGE_RELEASE_GOLDEN, "golden/out.npy", out, NULL));
    OK(ledge__release_add(release, LEDGE_RELEASE_WASM, "extra/noise.bin", noise, NULL));
    release->created = created;
    release->cases[0] =
        (LedgeGoldenCase){.inputs = {1}, .n_inputs = 1, .outputs = {{2, 1000}}, .n_outputs = 1};
    release->n_cases = 1;
    if (r->guest) { /* any bytes: whoever runs it looks into it */
        OK(ledge__release_add(release, LEDGE_RELEASE_GUEST, LEDGE_RELEASE_GUEST_PATH, guest, NULL));
        strcpy(release->files[4].arch, r->guest);
    }
    for (size_t i = 0; i < release->n_files; i++)
        put_blob(r, paths[i], release->files[i].sha256);
    FILE *to = open_memstream(&text, &n);
    ledge__release_write(release, to);
    fclose(to);
    OK(ledge__sha256_of(text, n, sha));
    repo_put(&r->blobs, sha, text, n);
    ledge__release_target(name, version, target);
    repo_add_target(&r->repo, target, text, false);
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++)
        r->repo.expires[role] = time(NULL) + 30 * REPO_DAY;
    repo_publish(&r->repo, LEDGE_TUF_TARGETS, true);
    pthread_mutex_unlock(&r->lock);
    free(text);
    ledge__release_free(release);
    unlink(in);
    unlink(out);
    unlink(noise);
    unlink(guest);
}

static void assign(Registry *r, LedgePollAnswer *a)
{
    static int n;
    char *text;
    size_t size;
    pthread_mutex_lock(&r->lock);
    snprintf(r->etag, sizeof r->etag, "e%d", ++n);
    strcpy(a->etag, r->etag);
    a->time = time(NULL);
    a->interval_s = 60;
    for (size_t i = 0; i < a->n_models; i++)
        ledge__release_target(a->models[i].name, a->models[i].version, a->models[i].release);
    FILE *to = open_memstream(&text, &size);
    ledge__poll_answer_write(a, to);
    fclose(to);
    assert(size < sizeof r->answer);
    memcpy(r->answer, text, size + 1);
    free(text);
    pthread_mutex_unlock(&r->lock);
}

void registry_assign(Registry *r, const char *name, const char *version, const char *fallback,
                     bool strict)
{
    LedgePollAnswer a = {.n_models = 1};
    strcpy(a.models[0].name, name);
    strcpy(a.models[0].version, version);
    if (fallback[0]) {
        strcpy(a.models[0].fallback_name, name);
        strcpy(a.models[0].fallback_version, fallback);
    }
    a.models[0].strict = strict;
    assign(r, &a);
}

void registry_assign_when(Registry *r, const char *name, const char *version, const char *when)
{
    LedgePollAnswer a = {.n_models = 1};
    strcpy(a.models[0].name, name);
    strcpy(a.models[0].version, version);
    strcpy(a.models[0].when, when);
    assign(r, &a);
}

void registry_shadow(Registry *r, const char *name, const char *version, const char *shadow)
{
    LedgePollAnswer a = {.n_models = 2};
    strcpy(a.models[0].name, name);
    strcpy(a.models[0].version, version);
    strcpy(a.models[1].name, name);
    strcpy(a.models[1].version, shadow);
    a.models[1].shadow = true;
    assign(r, &a);
}
