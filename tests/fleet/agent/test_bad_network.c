/* Downloads over networks that cut, lie, stall and trickle: they come to an end, with the file or
 * with a reason, and fetch no more than a tenth beyond its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_registry.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/download.h"

enum { SIZE = 2000000 };

typedef struct Net {
    Registry registry;
    char folder[64], url[64];
    LedgeReleaseFile file;
    LedgeRelease *release;
} Net;

static int begin(void **state)
{
    Net *n = calloc(1, sizeof *n);
    char source[100];
    registry_start(&n->registry);
    registry_url(&n->registry, n->url);
    strcpy(n->folder, "/tmp/ledge-net-XXXXXX");
    assert_non_null(mkdtemp(n->folder));
    snprintf(source, sizeof source, "%s/source", n->folder);
    char *bytes = malloc(SIZE);
    unsigned seed = 1;
    for (int i = 0; i < SIZE; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (char)(seed >> 24);
    }
    FILE *f = fopen(source, "wb");
    assert_int_equal(fwrite(bytes, 1, SIZE, f), SIZE);
    fclose(f);
    assert_int_equal(ledge__release_new("n", "1", NULL, &n->release), LEDGE_OK);
    assert_int_equal(ledge__release_add(n->release, LEDGE_RELEASE_MODEL, "m", source, NULL), 0);
    n->file = n->release->files[0];
    repo_put(&n->registry.blobs, n->file.sha256, bytes, SIZE);
    free(bytes);
    *state = n;
    return 0;
}

static int end(void **state)
{
    Net *n = *state;
    registry_stop(&n->registry);
    ledge__release_free(n->release);
    assert_int_equal(ledge__agent_remove_all(n->folder, NULL), LEDGE_OK);
    free(n);
    return 0;
}

static void forget(const Net *n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", n->folder, n->file.sha256);
    unlink(path);
    snprintf(path, sizeof path, "%s/%s.part", n->folder, n->file.sha256);
    unlink(path);
}

static bool is_there(const Net *n)
{
    char path[200], sha[LEDGE_SHA256_HEX];
    snprintf(path, sizeof path, "%s/%s", n->folder, n->file.sha256);
    return ledge__sha256_file(path, NULL, sha, NULL) == LEDGE_OK &&
           strcmp(sha, n->file.sha256) == 0;
}

static LedgeStatus fetch(const Net *n, LedgeError *err, int64_t *received)
{
    LedgeHttp *http;
    const LedgeHttpOptions o = {.base = n->url, .stall_s = 1};
    assert_int_equal(ledge__http_new(&o, err, &http), LEDGE_OK);
    const LedgeDownload d = {.http = http, .folder = n->folder, .tries = 20, .wait_ms = 1};
    *err = (LedgeError){0};
    const LedgeStatus status = ledge__download(&d, &n->file, err);
    *received = ledge__http_received(http);
    ledge__http_free(http);
    assert_true(status == LEDGE_OK ? is_there(n) : !is_there(n) && err->message[0]);
    return status;
}

static void two_hundred_trials_converge_within_a_tenth_of_the_size(void **state)
{
    static const struct {
        const char *name;
        Faults faults;
    } nets[] = {
        {"no fault", {0}},
        {"30 % of answers are cut by a reset", {.cut = 30}},
        {"nearly all are cut", {.cut = 85}},
        {"answers that end early", {.truncated = 50}},
        {"wrong bytes", {.wrong = 20, .cut = 20}},
        {"other ranges than asked for", {.shifted = 20, .cut = 40}},
        {"lying ETags", {.lying_etag = 60, .cut = 30}},
        {"a busy server", {.busy = 40, .cut = 20}},
        {"a proxy that ignores ranges now and then", {.deaf = 20, .cut = 40}},
        {"all of it, with delay",
         {.cut = 20,
          .truncated = 10,
          .wrong = 5,
          .busy = 10,
          .shifted = 5,
          .lying_etag = 20,
          .delay_ms = 10}},
    };
    enum { NETS = sizeof nets / sizeof *nets, TRIALS = 200 };
    Net *n = *state;
    double worst[NETS] = {0};
    for (int i = 0; i < TRIALS; i++) {
        const int net = i % NETS;
        LedgeError err;
        int64_t received;
        n->registry.faults = nets[net].faults;
        n->registry.seed = 1000u + (unsigned)i * 7919u;
        forget(n);
        const LedgeStatus status = fetch(n, &err, &received);
        if (status)
            print_error("%s: %s\n", nets[net].name, err.message);
        assert_int_equal(status, LEDGE_OK);
        const double ratio = (double)received / SIZE;
        worst[net] = ratio > worst[net] ? ratio : worst[net];
    }
    for (int i = 0; i < NETS; i++) {
        print_message("%-42s %.3f of the size at most\n", nets[i].name, worst[i]);
        assert_true(worst[i] <= 1.1);
    }
}

/* 30 % of answers cut, 2 s of delay, 20 kB/s, wrong bytes now and then: not scaled down. */
static void a_slow_and_bad_network_at_its_true_speed(void **state)
{
    Net *n = *state;
    LedgeHttp *http;
    LedgeError err = {0};
    char source[100];
    enum { SMALL = 150000 };
    snprintf(source, sizeof source, "%s/source", n->folder);
    assert_int_equal(truncate(source, SMALL), 0);
    assert_int_equal(ledge__release_add(n->release, LEDGE_RELEASE_MODEL, "small", source, &err), 0);
    const LedgeReleaseFile *file = &n->release->files[1];
    const RepoFile *whole = repo_get(&n->registry.blobs, n->file.sha256);
    repo_put(&n->registry.blobs, file->sha256, whole->bytes, SMALL);
    const LedgeHttpOptions o = {.base = n->url};
    n->registry.faults = (Faults){.cut = 30, .wrong = 10, .delay_ms = 2000, .rate = 20000};
    assert_int_equal(ledge__http_new(&o, &err, &http), LEDGE_OK);
    const LedgeDownload d = {.http = http, .folder = n->folder, .tries = 20, .wait_ms = 10};
    const time_t before = time(NULL);
    assert_int_equal(ledge__download(&d, file, &err), LEDGE_OK);
    const double ratio = (double)ledge__http_received(http) / SMALL;
    print_message("%lld s, %.3f of the size\n", (long long)(time(NULL) - before), ratio);
    assert_true(ratio <= 1.1);
    ledge__http_free(http);
}

static void what_cannot_come_stops_with_a_reason(void **state)
{
    Net *n = *state;
    LedgeError err;
    int64_t received;
    n->registry.faults = (Faults){.gone = true};
    assert_int_equal(fetch(n, &err, &received), LEDGE_ERROR_NOT_FOUND);
    assert_non_null(strstr(err.message, "404"));
    assert_int_equal(n->registry.asked, 1); /* not again and again */
    /* Files that are always wrong, with and without hashes of their chunks. */
    n->registry.faults = (Faults){.forged = true};
    assert_int_equal(fetch(n, &err, &received), LEDGE_ERROR_MISMATCH);
    assert_true(received <= 2 * SIZE);
    forget(n);
    LedgeReleaseFile whole = n->file;
    n->file.n_chunks = 0;
    assert_int_equal(fetch(n, &err, &received), LEDGE_ERROR_MISMATCH);
    assert_true(received <= 2 * SIZE + 65536);
    n->file = whole;
    forget(n);
    /* Bytes without end behind the right ones: they are not waited for. */
    n->registry.faults = (Faults){.endless = true};
    assert_int_equal(fetch(n, &err, &received), LEDGE_OK);
    assert_true(received <= SIZE + 65536);
    forget(n);
    n->registry.faults = (Faults){.endless = true, .forged = true};
    assert_int_equal(fetch(n, &err, &received), LEDGE_ERROR_MISMATCH);
    assert_true(received <= 2 * SIZE);
}

/* Uptane's slow retrieval: bytes that trickle for ever. */
static void slow_retrieval_is_ended_and_keeps_what_came(void **state)
{
    Net *n = *state;
    LedgeHttp *http;
    LedgeError err = {0};
    char path[200];
    struct stat st;
    const LedgeHttpOptions o = {.base = n->url, .stall_s = 2, .slowest = 4000};
    n->registry.faults = (Faults){.rate = 1000};
    assert_int_equal(ledge__http_new(&o, &err, &http), LEDGE_OK);
    const LedgeDownload d = {.http = http, .folder = n->folder, .tries = 1, .wait_ms = 1};
    const time_t before = time(NULL);
    assert_int_equal(ledge__download(&d, &n->file, &err), LEDGE_ERROR_IO);
    assert_non_null(strstr(err.message, "too slow"));
    assert_true(time(NULL) - before < 30);
    ledge__http_free(http);
    snprintf(path, sizeof path, "%s/%s.part", n->folder, n->file.sha256);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 0);
    /* When the network is itself again, the rest comes. */
    int64_t received;
    n->registry.faults = (Faults){0};
    assert_int_equal(fetch(n, &err, &received), LEDGE_OK);
    assert_int_equal(received, SIZE - st.st_size);
}

/* Uptane's dropped requests: nothing ever answers. */
static void dropped_requests_end_in_bounded_time(void **state)
{
    Net *n = *state;
    LedgeHttp *http;
    LedgeError err = {0};
    const LedgeHttpOptions o = {.base = n->url, .stall_s = 1};
    n->registry.faults = (Faults){.silent = 100, .silent_ms = 100000};
    assert_int_equal(ledge__http_new(&o, &err, &http), LEDGE_OK);
    const LedgeDownload d = {.http = http, .folder = n->folder, .tries = 2, .wait_ms = 1};
    const time_t before = time(NULL);
    assert_int_equal(ledge__download(&d, &n->file, &err), LEDGE_ERROR_IO);
    assert_true(time(NULL) - before < 30);
    ledge__http_free(http);
}

/* Downloads whose processes are killed at random moments, one after the other, until there were 200
 * kills; what the registry sent, as a share of the files that came. */
static double killed_downloads(Net *n, int64_t rate, int64_t bandwidth, bool chunks,
                               unsigned longest)
{
    const size_t n_chunks = n->file.n_chunks;
    int kills = 0, files = 0;
    unsigned seed = 3;
    n->registry.faults = (Faults){.rate = rate};
    n->registry.sent = 0;
    n->file.n_chunks = chunks ? n_chunks : 0;
    while (kills < 200 || !is_there(n)) {
        if (is_there(n)) {
            files++;
            forget(n);
        }
        const pid_t pid = fork();
        if (pid == 0) {
            LedgeHttp *http;
            LedgeError err;
            const LedgeHttpOptions o = {.base = n->url, .bandwidth = bandwidth};
            if (ledge__http_new(&o, &err, &http))
                _exit(1);
            const LedgeDownload d = {.http = http, .folder = n->folder};
            _exit(ledge__download(&d, &n->file, &err) != LEDGE_OK);
        }
        seed = seed * 1103515245u + 12345u;
        usleep(1000 + (seed >> 8) % longest);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        kills++;
    }
    files++;
    usleep(100000); /* what is on its way is counted when its connection ends */
    forget(n);
    n->file.n_chunks = n_chunks;
    const double share = (double)n->registry.sent / ((double)files * SIZE);
    print_message(
        "%d kills over %d files at %lld B/s, limit %lld, %s: %.3f of their size, %.0f bytes "
        "a kill\n",
        kills, files, (long long)rate, (long long)bandwidth, chunks ? "chunks" : "whole", share,
        (share - 1) * files * SIZE / kills);
    return share;
}

/* While the process waits for a machine that is busy with other things, more is on its way. */
static bool cost_a_tenth_at_most(Net *n, bool chunks)
{
    for (int i = 0; i < 3; i++)
        if (killed_downloads(n, 4000000, 0, chunks, 100000) <= 1.1)
            return true;
    return false;
}

/* The next process goes on where the last one was. By hand, LEDGE_TEST_KILL_US: so many
 * microseconds between kills at most. Each costs what was on its way, so with few it is more than a
 * tenth. */
static void two_hundred_kills_cost_a_tenth_at_most(void **state)
{
    Net *n = *state;
    const char *us = getenv("LEDGE_TEST_KILL_US");
    if (us) {
        (void)killed_downloads(n, 4000000, 0, true, (unsigned)atoi(us));
        (void)killed_downloads(n, 4000000, 0, false, (unsigned)atoi(us));
        return;
    }
    assert_true(cost_a_tenth_at_most(n, true));
    assert_true(cost_a_tenth_at_most(n, false));
}

/* What the machine wrote last before it went down may be anything; what was confirmed is kept. */
static void a_power_cut_costs_what_the_disk_had_not_confirmed(void **state)
{
    Net *n = *state;
    LedgeError err;
    char path[200];
    int64_t received;
    const RepoFile *f = repo_get(&n->registry.blobs, n->file.sha256);
    n->file.n_chunks = 0;
    for (int same = 0; same < 2; same++) {
        const size_t have = 1000000;
        snprintf(path, sizeof path, "%s/%s.part", n->folder, n->file.sha256);
        char *bytes = malloc(have);
        memcpy(bytes, f->bytes, have);
        if (!same)
            memset(bytes + have - 16000, 0, 16000); /* written, never confirmed */
        FILE *to = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, have, to), have);
        fclose(to);
        free(bytes);
        snprintf(path, sizeof path, "%s/%s.boot", n->folder, n->file.sha256);
        char boot[LEDGE_FLEET_NAME] = "another-boot";
        if (same)
            ledge__agent_boot(boot);
        to = fopen(path, "wb");
        fputs(boot, to);
        fclose(to);
        assert_int_equal(fetch(n, &err, &received), LEDGE_OK);
        assert_in_range(received, SIZE - have, SIZE - have + (same ? 0 : 65536));
        assert_int_not_equal(access(path, F_OK), 0);
        forget(n);
    }
    n->file.n_chunks = n->release->files[0].n_chunks;
}

static void the_bandwidth_limit_holds(void **state)
{
    Net *n = *state;
    LedgeHttp *http;
    LedgeError err = {0};
    struct timespec a, b;
    const LedgeHttpOptions o = {.base = n->url, .bandwidth = 1000000};
    assert_int_equal(ledge__http_new(&o, &err, &http), LEDGE_OK);
    const LedgeDownload d = {.http = http, .folder = n->folder};
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(ledge__download(&d, &n->file, &err), LEDGE_OK);
    clock_gettime(CLOCK_MONOTONIC, &b);
    ledge__http_free(http);
    const double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    assert_true(s > 1.2); /* two megabytes at one a second */
}

/* Uptane's partial bundle: all files of a release or none. */
static void partial_bundle_is_not_installed(void **state)
{
    Net *n = *state;
    Registry *r = &n->registry;
    char root_path[100], now[300] = "", link[200], path[200];
    LedgeError err = {0};
    LedgeSyncResult result;
    struct stat st;
    const RepoFile *root = repo_get(&r->repo.files, "1.root.json");
    snprintf(root_path, sizeof root_path, "%s/root.json", n->folder);
    FILE *f = fopen(root_path, "wb");
    assert_int_equal(fwrite(root->bytes, 1, root->size, f), root->size);
    fclose(f);
    const LedgeAgentConfig c = {.state = n->folder,
                                .root = root_path,
                                .device_id = "cam",
                                .http = {.base = n->url},
                                .keep = 1,
                                .download_wait_ms = 1};
    registry_publish(r, "net", "1", 1, 1000, 0);
    registry_assign(r, "net", "1", "", false);
    assert_int_equal(ledge__agent_sync(&c, LEDGE_SYNC_ALL, &err, &result), LEDGE_OK);
    const RepoFiles before = r->blobs;
    registry_publish(r, "net", "2", 2, 3000, 0);
    registry_assign(r, "net", "2", "", false);
    for (size_t i = 0; i < r->blobs.n; i++) /* one of its files is withheld */
        if (r->blobs.files[i].size == 3000) {
            repo_remove(&r->blobs, r->blobs.files[i].name);
            break;
        }
    assert_true(r->blobs.n > before.n - 1);
    assert_int_equal(ledge__agent_sync(&c, LEDGE_SYNC_ALL, &err, &result), LEDGE_OK);
    assert_true(result.problem[0]);
    snprintf(link, sizeof link, "%s/serve/net.onnx", n->folder);
    assert_true(readlink(link, now, sizeof now - 1) > 0);
    assert_non_null(strstr(now, "/net/1/"));
    snprintf(path, sizeof path, "%s/versions/net/2", n->folder);
    assert_int_not_equal(stat(path, &st), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_hundred_trials_converge_within_a_tenth_of_the_size),
        TEST(a_slow_and_bad_network_at_its_true_speed),
        TEST(what_cannot_come_stops_with_a_reason),
        TEST(slow_retrieval_is_ended_and_keeps_what_came),
        TEST(dropped_requests_end_in_bounded_time),
        TEST(two_hundred_kills_cost_a_tenth_at_most),
        TEST(a_power_cut_costs_what_the_disk_had_not_confirmed),
        TEST(the_bandwidth_limit_holds),
        TEST(partial_bundle_is_not_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
