/* The telemetry queue: what was taken in comes out, once, whatever dies when; what does not fit is
 * counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fleet/agent/dispatch.h"
#include "fleet/agent/spool.h"
#include "fleet/agent/telemetry_queue.h"
#include "fleet/protocol/deflate.h"

static char folder[64];

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/ledge-queue-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int end(void **state)
{
    (void)state;
    return ledge__agent_remove_all(folder, NULL) == LEDGE_OK ? 0 : 1;
}

static void path_of(char out[200], const char *name)
{
    snprintf(out, 200, "%s/%s", folder, name);
}

static void append(LedgeSpool *s, const char *text)
{
    assert_int_equal(ledge__spool_append(s, text, strlen(text), NULL), LEDGE_OK);
}

/* The only segment of a spool. */
static void segment_of(const char *spool, char out[300])
{
    DIR *d = opendir(spool);
    out[0] = '\0';
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".seg"))
            snprintf(out, 300, "%.180s/%.100s", spool, e->d_name);
    closedir(d);
    assert_true(out[0]);
}

static size_t count_records(const char *spool, uint64_t after, uint64_t *last, uint64_t *damaged)
{
    LedgeSpoolReader *r;
    uint64_t number, before = after;
    const void *bytes;
    size_t size, n = 0;
    assert_int_equal(ledge__spool_read(spool, after, false, NULL, &r), LEDGE_OK);
    while (ledge__spool_read_next(r, &number, &bytes, &size)) {
        assert_true(number > before);
        before = number;
        n++;
    }
    if (last)
        *last = before;
    if (damaged)
        *damaged = ledge__spool_read_damaged(r);
    ledge__spool_read_end(r);
    return n;
}

static void records_come_back_in_order_over_restarts(void **state)
{
    (void)state;
    char spool[200], text[32];
    uint64_t last;
    path_of(spool, "s");
    for (int run = 0; run < 5; run++) {
        LedgeSpool *s, *second;
        LedgeError err = {0};
        assert_int_equal(ledge__spool_open(spool, &err, &s), LEDGE_OK);
        assert_int_equal(ledge__spool_next(s), 1 + 10 * run);
        assert_int_equal(ledge__spool_open(spool, &err, &second), LEDGE_ERROR_MISMATCH);
        for (int i = 0; i < 10; i++) {
            snprintf(text, sizeof text, "%d", 10 * run + i);
            append(s, text);
        }
        ledge__spool_close(s);
    }
    LedgeSpoolReader *r;
    const void *bytes;
    uint64_t number;
    size_t size;
    assert_int_equal(ledge__spool_read(spool, 7, false, NULL, &r), LEDGE_OK);
    for (int i = 7; i < 50; i++) {
        assert_true(ledge__spool_read_next(r, &number, &bytes, &size));
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(number, i + 1);
        assert_int_equal(size, strlen(text));
        assert_memory_equal(bytes, text, size);
    }
    assert_false(ledge__spool_read_next(r, &number, &bytes, &size));
    ledge__spool_read_end(r);
    ledge__spool_trim(spool, 25);
    assert_int_equal(count_records(spool, 25, &last, NULL), 25);
    assert_int_equal(count_records(spool, 0, &last, NULL), 30);
}

static void a_torn_tail_is_passed_over_at_every_byte(void **state)
{
    (void)state;
    char spool[200], segment[300], text[100];
    path_of(spool, "torn");
    LedgeSpool *s;
    assert_int_equal(ledge__spool_open(spool, NULL, &s), LEDGE_OK);
    for (int i = 0; i < 5; i++) {
        memset(text, 'a' + i, sizeof text);
        assert_int_equal(ledge__spool_append(s, text, 10 + (size_t)i, NULL), LEDGE_OK);
    }
    ledge__spool_close(s);
    segment_of(spool, segment);
    struct stat st;
    assert_int_equal(stat(segment, &st), 0);
    char *bytes = malloc((size_t)st.st_size);
    int fd = open(segment, O_RDONLY);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    for (long cut = 0; cut <= st.st_size; cut++) {
        fd = open(segment, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, bytes, (size_t)cut), cut);
        close(fd);
        size_t whole = 0;
        for (long at = 0; at + 34 + (long)whole <= cut; whole++)
            at += 34 + (long)whole;
        assert_int_equal(count_records(spool, 0, NULL, NULL), whole);
    }
    free(bytes);
    /* The next writer goes on in a segment of its own, and what was torn is counted. */
    assert_int_equal(truncate(segment, st.st_size - 3), 0);
    assert_int_equal(ledge__spool_open(spool, NULL, &s), LEDGE_OK);
    append(s, "next");
    ledge__spool_close(s);
    uint64_t damaged;
    assert_int_equal(count_records(spool, 0, NULL, &damaged), 5);
    assert_int_equal(damaged, 35);
}

static void bit_rot_costs_the_records_it_hits_and_no_others(void **state)
{
    (void)state;
    char spool[200], segment[300], text[64];
    path_of(spool, "rot");
    LedgeSpool *s;
    assert_int_equal(ledge__spool_open(spool, NULL, &s), LEDGE_OK);
    for (int i = 0; i < 20; i++) {
        memset(text, i, sizeof text);
        assert_int_equal(ledge__spool_append(s, text, sizeof text, NULL), LEDGE_OK);
    }
    ledge__spool_close(s);
    segment_of(spool, segment);
    struct stat st;
    assert_int_equal(stat(segment, &st), 0);
    const int fd = open(segment, O_RDWR);
    for (long at = 0; at < st.st_size; at++) {
        char c;
        assert_int_equal(pread(fd, &c, 1, at), 1);
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
        assert_int_equal(count_records(spool, 0, NULL, NULL), 19);
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
    }
    close(fd);
    assert_int_equal(count_records(spool, 0, NULL, NULL), 20);
}

static LedgeTelemetryRecord record(int64_t n)
{
    LedgeTelemetryRecord r = {.timestamp = 1 + n,
                              .model = "net",
                              .version = "1",
                              .latency_us = 100 + n % 100,
                              .confidence_ppm = 900000,
                              .class_id = n,
                              .request_hash = "abcdef"};
    return r;
}

static void records_and_notes_are_coded_without_loss(void **state)
{
    (void)state;
    uint8_t bytes[LEDGE_CODE_MAX];
    LedgeCoded c;
    LedgeTelemetryRecord r = record(5);
    r.error = true;
    r.drift = LEDGE_FLEET_DRIFT_WARNING;
    r.class_id = -1;
    size_t n = ledge__code_record(&r, bytes);
    ledge__code_read(bytes, n, 77, &c);
    assert_int_equal(c.kind, LEDGE_CODE_RECORD);
    r.seq = 77;
    assert_int_equal(c.record.seq, 77);
    assert_int_equal(c.record.class_id, -1);
    assert_true(c.record.error);
    assert_string_equal(c.record.request_hash, "abcdef");
    for (size_t cut = 0; cut < n; cut++) {
        ledge__code_read(bytes, cut, 77, &c);
        assert_int_equal(c.kind, LEDGE_CODE_NONE);
    }
    LedgeFleetNote note = {.kind = "drift", .severity = "high", .message = "it drifts"};
    n = ledge__code_note(LEDGE_CODE_ALERT, &note, bytes);
    ledge__code_read(bytes, n, 78, &c);
    assert_int_equal(c.kind, LEDGE_CODE_ALERT);
    assert_string_equal(c.note.message, "it drifts");
    const LedgeDropped d = {1, 2, 3};
    n = ledge__code_dropped(&d, bytes);
    ledge__code_read(bytes, n, 79, &c);
    assert_int_equal(c.dropped.sampled, 3);
}

static void read_metrics(const char *name, LedgeProducerMetrics *m)
{
    char path[300], text[32768];
    snprintf(path, sizeof path, "%s/metrics.json", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    assert_int_equal(ledge__metrics_read(text, n, NULL, m), LEDGE_OK);
}

static void a_queue_keeps_all_and_tells_latencies(void **state)
{
    (void)state;
    char name[200];
    LedgeProducerMetrics m;
    LedgeTelemetry *t;
    path_of(name, "serve");
    const LedgeTelemetryOptions o = {.folder = name, .ring = 100000};
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    for (int i = 0; i < 20000; i++) {
        const LedgeTelemetryRecord r = record(i);
        ledge__telemetry_put(t, &r);
    }
    const LedgeFleetNote note = {.kind = "drift", .severity = "high", .message = "x"};
    ledge__telemetry_alert(t, &note);
    ledge__telemetry_shadow(t, "net", "2", true, 50);
    ledge__telemetry_shadow(t, "net", "2", false, 60);
    ledge__telemetry_close(t);
    assert_int_equal(count_records(name, 0, NULL, NULL), 20000);
    read_metrics(name, &m);
    assert_int_equal(m.models[0].count, 20000);
    assert_in_range(m.models[0].p50_us, 147, 152);
    assert_in_range(m.models[0].p99_us, 195, 201);
    assert_in_range(m.models[0].max_us, 198, 200);
    assert_int_equal(m.models[1].shadow_agree, 1);
    assert_int_equal(m.next, 20001);
    path_of(name, "serve.alerts");
    assert_int_equal(count_records(name, 0, NULL, NULL), 1);
    /* Counts go on after a restart. */
    path_of(name, "serve");
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    const LedgeTelemetryRecord r = record(1);
    ledge__telemetry_put(t, &r);
    ledge__telemetry_close(t);
    read_metrics(name, &m);
    assert_int_equal(m.models[0].count, 20001);
}

/* Metrics are told now and then: a batch may be ahead of them. */
static void a_reader_ahead_of_the_metrics_leaves_nothing_waiting(void **state)
{
    (void)state;
    char spool[200];
    LedgeSpool *s;
    path_of(spool, "ahead");
    assert_int_equal(ledge__spool_open(spool, NULL, &s), LEDGE_OK);
    ledge__spool_close(s);
    assert_int_equal(ledge__metrics_waiting(spool, 0), 0); /* nothing was told yet */
    assert_int_equal(ledge__metrics_waiting(spool, 11), 10);
    assert_int_equal(ledge__spool_set_cursor(spool, (LedgeSpoolCursor){7, 1}, NULL), LEDGE_OK);
    assert_int_equal(ledge__metrics_waiting(spool, 11), 3);
    assert_int_equal(ledge__metrics_waiting(spool, 5), 0);
}

/* Every record put is in the spool, or in a count of what was dropped. */
static void check_policy(LedgeOverflow policy)
{
    char name[200];
    LedgeTelemetry *t;
    LedgeSpoolReader *r;
    LedgeDropped sum = {0};
    const void *bytes;
    uint64_t number;
    size_t size, n = 0;
    int64_t newest = -1, oldest = -1;
    snprintf(name, sizeof name, "%s/policy%d", folder, policy);
    const LedgeTelemetryOptions o = {
        .folder = name, .ring = 20000, .disk = 1 << 20, .overflow = policy};
    enum { ALL = 60000 };
    for (int part = 0; part < 3; part++) {
        assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
        for (int i = 0; i < ALL / 3; i++) {
            const LedgeTelemetryRecord one = record(part * (ALL / 3) + i);
            ledge__telemetry_put(t, &one);
            if (i % 400 == 0)
                usleep(1000);
        }
        ledge__telemetry_close(t);
    }
    assert_int_equal(ledge__spool_read(name, 0, false, NULL, &r), LEDGE_OK);
    while (ledge__spool_read_next(r, &number, &bytes, &size)) {
        LedgeCoded c;
        ledge__code_read(bytes, size, number, &c);
        if (c.kind == LEDGE_CODE_RECORD) {
            n++;
            newest = c.record.class_id;
            oldest = oldest < 0 ? newest : oldest;
        } else {
            assert_int_equal(c.kind, LEDGE_CODE_DROPPED);
            sum.oldest += c.dropped.oldest;
            sum.rejected += c.dropped.rejected;
            sum.sampled += c.dropped.sampled;
        }
    }
    ledge__spool_read_end(r);
    assert_true(ledge__agent_bytes(name) < (1 << 20) + LEDGE_SPOOL_SEGMENT);
    if (policy == LEDGE_OVERFLOW_OLDEST) {
        assert_true(newest == ALL - 1 && oldest > 0 && sum.oldest > 0);
        /* Counts of what was dropped are records too and may have gone with the oldest. */
        assert_true((int64_t)n + sum.oldest <= ALL);
    } else {
        assert_int_equal(oldest, 0);
        assert_int_equal((int64_t)n + sum.oldest + sum.rejected + sum.sampled, ALL);
        assert_true(policy == LEDGE_OVERFLOW_REJECT ? sum.sampled == 0 : sum.sampled > 0);
    }
}

static void the_oldest_go_when_that_is_the_policy(void **state)
{
    (void)state;
    check_policy(LEDGE_OVERFLOW_OLDEST);
}

static void new_records_are_rejected_when_that_is_the_policy(void **state)
{
    (void)state;
    check_policy(LEDGE_OVERFLOW_REJECT);
}

static void one_of_ten_gets_in_when_that_is_the_policy(void **state)
{
    (void)state;
    check_policy(LEDGE_OVERFLOW_SAMPLE);
}

/* Segments cannot be written: what is lost is counted once there is room again. */
static void a_full_disk_loses_no_count(void **state)
{
    (void)state;
    enum { ALL = 3000 };
    char name[200];
    path_of(name, "full");
    for (int part = 0; part < 2; part++) {
        const pid_t pid = fork();
        if (pid == 0) {
            LedgeTelemetry *t;
            struct rlimit limit = {20000, RLIM_INFINITY};
            const LedgeTelemetryOptions o = {.folder = name, .ring = 10000};
            signal(SIGXFSZ, SIG_IGN);
            if (ledge__telemetry_open(&o, NULL, &t))
                _exit(1);
            setrlimit(RLIMIT_FSIZE, &limit);
            for (int i = 0; i < ALL; i++) {
                const LedgeTelemetryRecord r = record(i);
                ledge__telemetry_put(t, &r);
                if (i % 100 == 0)
                    usleep(1000);
                if (i == ALL - 10) { /* somebody made room */
                    usleep(200000);
                    limit.rlim_cur = RLIM_INFINITY;
                    setrlimit(RLIMIT_FSIZE, &limit);
                }
            }
            ledge__telemetry_close(t);
            _exit(0);
        }
        int how;
        waitpid(pid, &how, 0);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    LedgeSpoolReader *r;
    const void *bytes;
    uint64_t number;
    size_t size;
    int64_t records = 0, dropped = 0;
    assert_int_equal(ledge__spool_read(name, 0, false, NULL, &r), LEDGE_OK);
    while (ledge__spool_read_next(r, &number, &bytes, &size)) {
        LedgeCoded c;
        ledge__code_read(bytes, size, number, &c);
        records += c.kind == LEDGE_CODE_RECORD;
        if (c.kind == LEDGE_CODE_DROPPED)
            dropped += c.dropped.oldest + c.dropped.rejected + c.dropped.sampled;
    }
    ledge__spool_read_end(r);
    print_message("%lld records, %lld counted as dropped\n", (long long)records,
                  (long long)dropped);
    assert_int_equal(records + dropped, 2 * ALL);
}

static void putting_a_record_waits_for_no_disk(void **state)
{
    (void)state;
    char name[200];
    LedgeTelemetry *t;
    struct timespec a, b;
    int64_t worst = 0, total = 0;
    path_of(name, "fast");
    const LedgeTelemetryOptions o = {.folder = name};
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    for (int i = 0; i < 20000; i++) {
        const LedgeTelemetryRecord r = record(i);
        clock_gettime(CLOCK_MONOTONIC, &a);
        ledge__telemetry_put(t, &r);
        clock_gettime(CLOCK_MONOTONIC, &b);
        const int64_t ns = (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec;
        worst = ns > worst ? ns : worst;
        total += ns;
    }
    ledge__telemetry_close(t);
    print_message("%lld ns a record, %lld at most\n", (long long)(total / 20000), (long long)worst);
    assert_true(total / 20000 < 100000);
}

/* ---- batches ---- */

typedef struct Seen {
    size_t records, batches;
    char ids[400][LEDGE_FLEET_BATCH];
    uint8_t of[20001]; /* how often each class_id was seen */
} Seen;

/* What the registry would do: count each batch id once. */
static void take_batches(const LedgeAgentDir *d, Seen *seen, bool remove_them)
{
    char path[LEDGE_AGENT_PATH];
    ledge__agent_path(d, path, "queue/outbox");
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char file[300], *packed, *text;
        size_t size, n;
        LedgeBatchReader b;
        LedgeTelemetryRecord r;
        snprintf(file, sizeof file, "queue/outbox/%.200s", e->d_name);
        const size_t length = strlen(e->d_name);
        if (length < 3 || strcmp(e->d_name + length - 2, ".z") != 0)
            continue;
        assert_int_equal(ledge__agent_read(d, file, 1 << 20, NULL, &packed, &size), LEDGE_OK);
        assert_int_equal(ledge__inflate(packed, size, LEDGE_FLEET_BATCH_MAX, NULL, &text, &n),
                         LEDGE_OK);
        assert_int_equal(ledge__batch_open(&b, text, n, NULL), LEDGE_OK);
        bool is_new = true;
        for (size_t i = 0; i < seen->batches; i++)
            is_new = is_new && strcmp(seen->ids[i], b.head.batch) != 0;
        if (is_new) {
            strcpy(seen->ids[seen->batches++], b.head.batch);
            ledge__batch_list(&b, LEDGE_BATCH_RECORDS);
            while (ledge__batch_record(&b, &r)) {
                seen->of[r.class_id]++;
                seen->records++;
            }
            assert_int_equal(ledge__batch_status(&b, NULL), LEDGE_OK);
        }
        free(packed);
        free(text);
        if (remove_them)
            assert_int_equal(ledge__agent_remove(d, file, NULL), LEDGE_OK);
    }
    if (dir)
        closedir(dir);
}

/* The process that makes batches is killed at a random moment, again and again; now and then the
 * registry takes what is there. Each record arrives in exactly one batch id. */
static void kill_9_at_random_moments_loses_and_doubles_nothing(void **state)
{
    (void)state;
    enum { RECORDS = 20000, KILLS = 300 };
    LedgeAgentDir d;
    char spool[LEDGE_AGENT_PATH], name[LEDGE_AGENT_PATH];
    LedgeSpool *s;
    unsigned seed = 3;
    Seen *seen = calloc(1, sizeof *seen);
    assert_int_equal(ledge__agent_open(&d, folder, true, NULL), LEDGE_OK);
    ledge__agent_path(&d, spool, "queue/serve");
    ledge__agent_path(&d, name, "queue/outbox");
    assert_int_equal(mkdir(name, 0755), 0);
    assert_int_equal(ledge__spool_open(spool, NULL, &s), LEDGE_OK);
    for (int i = 1; i <= RECORDS; i++) {
        uint8_t bytes[LEDGE_CODE_MAX];
        const LedgeTelemetryRecord r = record(i);
        assert_int_equal(ledge__spool_append(s, bytes, ledge__code_record(&r, bytes), NULL), 0);
    }
    ledge__spool_close(s);
    for (int i = 0; i < KILLS; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            const LedgeDispatch o = {.dir = &d, .device_id = "cam"};
            _exit(ledge__dispatch_fill(&o, "serve", true, NULL, NULL) != LEDGE_OK);
        }
        seed = seed * 1103515245u + 12345u;
        usleep((seed >> 16) % 8000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (i % 7 == 0) { /* acknowledged: the cursor knows before the name goes */
            take_batches(&d, seen, false);
        }
    }
    const LedgeDispatch o = {.dir = &d, .device_id = "cam"};
    assert_int_equal(ledge__dispatch_fill(&o, "serve", true, NULL, NULL), LEDGE_OK);
    take_batches(&d, seen, false);
    print_message("%zu batches\n", seen->batches);
    assert_int_equal(seen->records, RECORDS);
    for (int i = 1; i <= RECORDS; i++)
        assert_int_equal(seen->of[i], 1);
    assert_int_equal(ledge__dispatch_waiting(&d), RECORDS);
    /* Killed before the cursor followed the last batch: it still counts once. */
    const LedgeSpoolCursor before = {RECORDS - LEDGE_DISPATCH_RECORDS, seen->batches - 1};
    assert_int_equal(ledge__spool_set_cursor(spool, before, NULL), LEDGE_OK);
    assert_int_equal(ledge__dispatch_waiting(&d), RECORDS);
    /* And the cursor follows, or the writer would count as lost what is in a batch. */
    assert_int_equal(ledge__dispatch_fill(&o, "serve", true, NULL, NULL), LEDGE_OK);
    assert_int_equal(ledge__spool_cursor(spool).record, RECORDS);
    assert_int_equal(ledge__spool_cursor(spool).batch, seen->batches);
    free(seen);
    ledge__agent_close(&d);
}

/* The process that takes records in is killed: what it had handed to the system is there. */
static void kill_9_of_the_producer_loses_no_flushed_record(void **state)
{
    (void)state;
    char spool[200];
    unsigned seed = 5;
    path_of(spool, "killed");
    uint64_t *flushed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 200; i++) {
        const uint64_t before = *flushed;
        const pid_t pid = fork();
        if (pid == 0) {
            LedgeSpool *s;
            char text[200];
            memset(text, 'x', sizeof text);
            if (ledge__spool_open(spool, NULL, &s))
                _exit(1);
            for (unsigned n = 0;; n++) {
                if (ledge__spool_append(s, text, n % 200, NULL))
                    _exit(1);
                if (n % 5 == 0 && ledge__spool_flush(s, false, NULL) == LEDGE_OK)
                    *flushed = ledge__spool_next(s) - 1;
            }
        }
        seed = seed * 1103515245u + 12345u;
        usleep(200 + (seed >> 16) % 2000);
        kill(pid, SIGKILL);
        int how;
        waitpid(pid, &how, 0);
        assert_true(WIFSIGNALED(how));
        uint64_t last = 0;
        count_records(spool, *flushed > 50 ? *flushed - 50 : 0, &last, NULL);
        /* What was flushed before may have been taken and trimmed. */
        assert_true(*flushed == before || last >= *flushed);
        ledge__spool_trim(spool, *flushed);
    }
    munmap(flushed, 4096);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order_over_restarts),
        TEST(a_torn_tail_is_passed_over_at_every_byte),
        TEST(bit_rot_costs_the_records_it_hits_and_no_others),
        TEST(records_and_notes_are_coded_without_loss),
        TEST(a_queue_keeps_all_and_tells_latencies),
        TEST(a_reader_ahead_of_the_metrics_leaves_nothing_waiting),
        TEST(the_oldest_go_when_that_is_the_policy),
        TEST(new_records_are_rejected_when_that_is_the_policy),
        TEST(one_of_ten_gets_in_when_that_is_the_policy),
        TEST(a_full_disk_loses_no_count),
        TEST(putting_a_record_waits_for_no_disk),
        TEST(kill_9_at_random_moments_loses_and_doubles_nothing),
        TEST(kill_9_of_the_producer_loses_no_flushed_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
