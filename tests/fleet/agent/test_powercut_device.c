/* A device whose power is cut, whose agent is killed and whose disk is full, at random operations
 * of turns that sync, test, switch and send, while a producer writes telemetry. After each, the
 * link points at a whole model of a version that was published; in the end every record whose sync
 * was confirmed has been counted, and none twice.
 *
 * LEDGE_TEST_CUTS (60) moments; LEDGE_SEED chooses them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_registry.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/record_code.h"
#include "fleet/agent/spool.h"
#include "powercut.h"

enum { RECORDS = 60000, GROUP = 20 };

/* What the producers have done, shared with them. */
typedef struct Produced {
    int next; /* class_id of the next record; none is used twice */
    bool is_durable[RECORDS + GROUP + 1];
} Produced;

typedef struct Device {
    Registry registry;
    PowerControl *control;
    char state[64], root[80], log[80], url[64];
    LedgeAgentConfig config;
    Produced *produced;
    unsigned seed;
    int version, behind;
    size_t names_lost, writes_lost;
    uint64_t refused;
} Device;

static unsigned chance(Device *d, unsigned most)
{
    d->seed = d->seed * 1103515245u + 12345u;
    return (d->seed >> 16) % most;
}

static void begin(Device *d)
{
    registry_start(&d->registry);
    strcpy(d->state, "/tmp/ledge-device-XXXXXX");
    assert_non_null(mkdtemp(d->state));
    snprintf(d->root, sizeof d->root, "%s.root.json", d->state);
    snprintf(d->log, sizeof d->log, "%s.log", d->state);
    const RepoFile *root = repo_get(&d->registry.repo.files, "1.root.json");
    FILE *f = fopen(d->root, "wb");
    assert_int_equal(fwrite(root->bytes, 1, root->size, f), root->size);
    fclose(f);
    d->config = (LedgeAgentConfig){
        .state = d->state,
        .root = d->root,
        .device_id = "cam-1",
        .keep = 2,
        .http = {.base = registry_url(&d->registry, d->url), .token = "secret", .stall_s = 1},
        .download_wait_ms = 1};
    d->control = power_open(d->log, d->state);
    assert_non_null(d->control);
    d->produced =
        mmap(NULL, sizeof *d->produced, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(d->produced != MAP_FAILED);
    d->produced->next = 1;
}

static void end(Device *d)
{
    registry_stop(&d->registry);
    assert_int_equal(ledge__agent_remove_all(d->state, NULL), LEDGE_OK);
    power_close(d->control);
    munmap(d->produced, sizeof *d->produced);
    unlink(d->root);
    unlink(d->log);
}

static void publish(Device *d)
{
    char text[16];
    snprintf(text, sizeof text, "%d", ++d->version);
    registry_publish(&d->registry, "net", text, d->version, 20000, 0);
    registry_assign(&d->registry, "net", text, "", false);
}

/* ---- the processes of a boot ---- */

static pid_t start_turn(Device *d, LedgeSyncWhat what)
{
    const pid_t pid = fork();
    if (pid == 0) {
        LedgeSyncResult result;
        LedgeError err = {0};
        power_on(d->control);
        (void)!ledge__agent_sync(&d->config, what, &err, &result);
        _exit(0);
    }
    return pid;
}

/* Records go to the system five by five and to the disk twenty by twenty, as those of a real
 * producer wait a while in between; a turn may read them meanwhile. */
static void produce(Produced *p, const char *folder)
{
    LedgeSpool *s;
    if (ledge__spool_open(folder, NULL, &s))
        _exit(1);
    while (p->next < RECORDS) {
        const int first = p->next;
        bool ok = true;
        for (int i = 0; i < GROUP; i++) {
            uint8_t bytes[LEDGE_CODE_MAX];
            const LedgeTelemetryRecord r = {
                .model = "net", .version = "1", .class_id = p->next++, .latency_us = 5};
            ok &= ledge__spool_append(s, bytes, ledge__code_record(&r, bytes), NULL) == LEDGE_OK;
            if (i % 5 == 4) {
                ok &= ledge__spool_flush(s, false, NULL) == LEDGE_OK;
                usleep(1000);
            }
        }
        if (ledge__spool_flush(s, true, NULL) == LEDGE_OK && ok && ledge__spool_lost(s) == 0)
            for (int i = 0; i < GROUP; i++)
                p->is_durable[first + i] = true;
    }
}

static pid_t start_producer(Device *d)
{
    const pid_t pid = fork();
    if (pid == 0) {
        char folder[100];
        snprintf(folder, sizeof folder, "%s/queue/serve", d->state);
        power_on(d->control);
        produce(d->produced, folder);
        _exit(0);
    }
    return pid;
}

/* ---- what must hold ---- */

static void check_served(Device *d)
{
    char path[200], target[300] = "", now[LEDGE_FLEET_NAME] = "", sha[LEDGE_SHA256_HEX],
                    want[LEDGE_SHA256_HEX];
    LedgeAgentDir dir;
    LedgeSlot slot;
    snprintf(path, sizeof path, "%s/serve/net.onnx", d->state);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_int_equal(sscanf(target, "../versions/net/%64[^/]", now), 1);
    assert_int_equal(ledge__sha256_file(path, NULL, sha, NULL), LEDGE_OK);
    assert_int_equal(ledge__sha256_file(LEDGE_TEST_DATA "/onnx/classifier.onnx", NULL, want, NULL),
                     LEDGE_OK);
    assert_string_equal(sha, want);
    assert_in_range(atoi(now), 1, d->version);
    d->behind += atoi(now) == d->version;
    assert_int_equal(ledge__agent_open(&dir, d->state, false, NULL), LEDGE_OK);
    assert_int_equal(ledge__agent_slot(&dir, "net", NULL, &slot), LEDGE_OK);
    assert_true(slot.running.version[0]);
    ledge__agent_close(&dir);
}

static void turn_here(Device *d, LedgeSyncWhat what, LedgeSyncResult *result)
{
    LedgeError err = {0};
    const LedgeStatus status = ledge__agent_sync(&d->config, what, &err, result);
    if (status)
        print_error("%s: %s\n", err.where, err.message);
    assert_int_equal(status, LEDGE_OK);
}

static void check_end(Device *d)
{
    LedgeSyncResult result = {0};
    int durable = 0, seen = 0, lost = 0, twice = 0;
    for (int i = 0; i < 100 && (i < 3 || result.waiting); i++)
        turn_here(d, i == 0 ? LEDGE_SYNC_VERIFY : LEDGE_SYNC_ALL, &result);
    check_served(d);
    for (int i = 1; i < d->produced->next; i++) {
        durable += d->produced->is_durable[i];
        seen += d->registry.seen[i] > 0;
        twice += d->registry.seen[i] > 1;
        lost += d->produced->is_durable[i] && !d->registry.seen[i];
    }
    print_message("%d records confirmed by the disk, %d counted, %zu batches sent again\n", durable,
                  seen, d->registry.duplicates);
    assert_int_equal(lost, 0);
    assert_int_equal(twice, 0);
    assert_int_equal(result.waiting, 0);
    assert_int_equal(result.refused, 0);
    assert_true(durable > 0);
}

/* ---- the rounds ---- */

typedef enum Fault { CUT, CUT_TOO, KILL, FULL } Fault;

/* The operations of a turn that installs a version, for choosing moments among them. */
static uint64_t measure(Device *d)
{
    publish(d);
    assert_true(power_begin(d->control, 0, 0, 0));
    int how;
    const pid_t pid = start_turn(d, LEDGE_SYNC_ALL);
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how));
    check_served(d);
    return d->control->count;
}

static void round_of(Device *d, Fault fault, uint64_t operations, LedgeSyncWhat what)
{
    const uint64_t at = 1 + chance(d, (unsigned)(2 * operations));
    const uint64_t until = fault == FULL ? at + 1 + chance(d, (unsigned)operations) : 0;
    PowerLoss loss = {0};
    int how;
    assert_true(power_begin(d->control, fault == FULL ? 0 : at, fault == FULL ? at : 0, until));
    const pid_t producer = start_producer(d), turn = start_turn(d, what);
    assert_int_equal(waitpid(turn, &how, 0), turn);
    assert_true(WIFEXITED(how) || WTERMSIG(how) == SIGKILL);
    power_cut(d->control);
    kill(producer, SIGKILL);
    assert_int_equal(waitpid(producer, &how, 0), producer);
    d->refused += d->control->refused;
    if (fault == CUT || fault == CUT_TOO)
        assert_true(power_fail(d->control, chance(d, 30000), &loss));
    d->names_lost += loss.names_lost;
    d->writes_lost += loss.writes_lost;
    check_served(d);
}

static void whatever_happens_a_model_serves_and_records_count_once(void **state)
{
    (void)state;
    const char *many = getenv("LEDGE_TEST_CUTS"), *seed = getenv("LEDGE_SEED");
    const int rounds = many ? atoi(many) : 60;
    Device *d = calloc(1, sizeof *d);
    d->seed = seed ? (unsigned)atoi(seed) : 7;
    begin(d);
    publish(d);
    LedgeSyncResult result;
    turn_here(d, LEDGE_SYNC_ALL, &result);
    const uint64_t operations = measure(d);
    for (int i = 0; i < rounds; i++) {
        if (i % 5 == 0)
            publish(d);
        round_of(d, (Fault)(i % 4), operations, i % 3 ? LEDGE_SYNC_ALL : LEDGE_SYNC_VERIFY);
    }
    print_message("%d moments of %llu operations; %zu names and %zu writes lost, %llu refused; "
                  "%d versions, %d times behind the switch\n",
                  rounds, (unsigned long long)operations, d->names_lost, d->writes_lost,
                  (unsigned long long)d->refused, d->version, d->behind);
    check_end(d);
    assert_true(d->names_lost && d->writes_lost && d->refused);
    end(d);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_a_model_serves_and_records_count_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
