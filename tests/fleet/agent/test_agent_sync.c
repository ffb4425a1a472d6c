/* Whole turns of the agent against a registry on the loopback: what is assigned comes to run, what
 * is bad never does, and whatever is cut off goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_registry.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/dispatch.h"
#include "fleet/agent/install.h"
#include "fleet/agent/telemetry_queue.h"

typedef struct Site {
    Registry registry;
    char state[64], root[80], url[64];
    LedgeAgentConfig config;
    LedgeSyncResult result;
    LedgeError err;
} Site;

static int begin(void **state)
{
    Site *s = calloc(1, sizeof *s);
    registry_start(&s->registry);
    strcpy(s->state, "/tmp/ledge-agent-XXXXXX");
    assert_non_null(mkdtemp(s->state));
    snprintf(s->root, sizeof s->root, "%s.root.json", s->state);
    const RepoFile *root = repo_get(&s->registry.repo.files, "1.root.json");
    FILE *f = fopen(s->root, "wb");
    assert_int_equal(fwrite(root->bytes, 1, root->size, f), root->size);
    fclose(f);
    s->config = (LedgeAgentConfig){
        .state = s->state,
        .root = s->root,
        .device_id = "cam-1",
        .keep = 2,
        .http = {.base = registry_url(&s->registry, s->url), .token = "secret", .stall_s = 1},
        .download_wait_ms = 1};
    *state = s;
    return 0;
}

static int end(void **state)
{
    Site *s = *state;
    registry_stop(&s->registry);
    assert_int_equal(ledge__agent_remove_all(s->state, NULL), LEDGE_OK);
    unlink(s->root);
    free(s);
    return 0;
}

static void turn(Site *s, LedgeSyncWhat what)
{
    s->err = (LedgeError){0};
    const LedgeStatus status = ledge__agent_sync(&s->config, what, &s->err, &s->result);
    if (status)
        print_error("%s: %s\n", s->err.where, s->err.message);
    assert_int_equal(status, LEDGE_OK);
}

/* Publishes a version (registry_publish), assigns it, and has the device take a turn. */
static void bring(Site *s, const char *version, int64_t created, size_t more, double off)
{
    registry_publish(&s->registry, "net", version, created, more, off);
    registry_assign(&s->registry, "net", version, "", false);
    turn(s, LEDGE_SYNC_ALL);
}

static LedgeSlot slot(Site *s)
{
    LedgeAgentDir d;
    LedgeSlot out;
    assert_int_equal(ledge__agent_open(&d, s->state, false, NULL), LEDGE_OK);
    assert_int_equal(ledge__agent_slot(&d, "net", NULL, &out), LEDGE_OK);
    ledge__agent_close(&d);
    return out;
}

/* The file that would be served is whole; its version. */
static void served(const Site *s, char out[LEDGE_FLEET_NAME])
{
    char path[200], target[300] = "", sha[LEDGE_SHA256_HEX], want[LEDGE_SHA256_HEX];
    snprintf(path, sizeof path, "%s/serve/net.onnx", s->state);
    out[0] = '\0';
    if (readlink(path, target, sizeof target - 1) <= 0)
        return;
    assert_int_equal(sscanf(target, "../versions/net/%64[^/]", out), 1);
    assert_int_equal(ledge__sha256_file(path, NULL, sha, NULL), LEDGE_OK);
    assert_int_equal(ledge__sha256_file(LEDGE_TEST_DATA "/onnx/classifier.onnx", NULL, want, NULL),
                     LEDGE_OK);
    assert_string_equal(sha, want);
}

static void must_serve(Site *s, const char *version)
{
    char now[LEDGE_FLEET_NAME];
    served(s, now);
    if (strcmp(now, version) != 0)
        print_error("problem: %s; candidate: %s\n", s->result.problem, slot(s).candidate_reason);
    assert_string_equal(now, version);
    assert_string_equal(slot(s).running.version, version);
}

static bool saw_event(const Site *s, const char *kind)
{
    for (size_t i = 0; i < s->registry.n_events; i++)
        if (strcmp(s->registry.events[i].kind, kind) == 0)
            return true;
    return false;
}

static void a_device_gets_tests_and_serves_what_is_assigned(void **state)
{
    Site *s = *state;
    bring(s, "1", 100, 200000, 0);
    must_serve(s, "1");
    assert_true(s->result.changed && s->result.polled && s->result.has_skew);
    assert_string_equal(s->result.problem, "");
    assert_true(saw_event(s, "started"));
    /* Nothing changes: 304, and no file is asked for again. */
    const int64_t sent = s->registry.sent;
    turn(s, LEDGE_SYNC_ALL);
    assert_false(s->result.changed);
    assert_true(s->result.polled);
    assert_int_equal(s->registry.sent, sent);
    assert_int_equal(s->registry.last_poll.n_models, 1);
    assert_int_equal(s->registry.last_poll.models[0].state, LEDGE_FLEET_RUNNING);
    /* The next version, whose unchanged files come from the disk. */
    registry_publish(&s->registry, "net", "2", 200, 50000, 0);
    registry_assign(&s->registry, "net", "2", "1", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_true(s->registry.sent - sent < 60000);
    assert_int_equal(slot(s).n_kept, 1);
    assert_true(saw_event(s, "switched"));
}

static void a_model_with_wrong_answers_never_runs(void **state)
{
    Site *s = *state;
    bring(s, "1", 100, 10, 0);
    bring(s, "2", 200, 10, 0.25);
    must_serve(s, "1");
    assert_true(saw_event(s, "self_test_failed"));
    turn(s, LEDGE_SYNC_ALL);
    const LedgePollModel *m = &s->registry.last_poll.models[1];
    assert_string_equal(m->version, "2");
    assert_int_equal(m->state, LEDGE_FLEET_FAILED);
    assert_non_null(strstr(m->reason, "was published"));
    /* Repaired under the same name, it is another release. */
    registry_publish(&s->registry, "net", "2", 300, 10, 0);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
}

static void what_nobody_signed_is_not_installed(void **state)
{
    Site *s = *state;
    registry_publish(&s->registry, "net", "1", 100, 10, 0);
    registry_assign(&s->registry, "net", "9", "", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "");
    assert_non_null(strstr(slot(s).candidate_reason, "nobody signed"));
    /* Another registry's root. */
    LedgeTufKeys other = {0};
    repo_key(&other, 3, 2);
    LedgeTufKeys own = s->registry.repo.keys[LEDGE_TUF_TARGETS];
    s->registry.repo.keys[LEDGE_TUF_TARGETS] = other;
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    registry_assign(&s->registry, "net", "2", "", false);
    s->registry.repo.keys[LEDGE_TUF_TARGETS] = own;
    ledge__tuf_keys_free(&other);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "");
    assert_non_null(strstr(s->result.problem, "another key"));
}

static void a_lying_registry_cannot_take_a_device_back(void **state)
{
    Site *s = *state;
    registry_publish(&s->registry, "net", "1", 100, 10, 0);
    bring(s, "2", 200, 10, 0);
    must_serve(s, "2");
    registry_assign(&s->registry, "net", "1", "", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_non_null(strstr(slot(s).candidate_reason, "older"));
}

static void damaged_files_fall_back_and_are_mended(void **state)
{
    Site *s = *state;
    char path[200];
    bring(s, "1", 100, 70000, 0);
    registry_publish(&s->registry, "net", "2", 200, 90000, 0);
    registry_assign(&s->registry, "net", "2", "1", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    /* Without the registry the device falls back to what it has. */
    snprintf(path, sizeof path, "%s/versions/net/2/extra/noise.bin", s->state);
    assert_int_equal(chmod(path, 0644), 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "XXXX", 4, 5), 4);
    close(fd);
    s->registry.poll_status = 500;
    s->registry.faults.gone = true;
    turn(s, LEDGE_SYNC_VERIFY);
    must_serve(s, "1");
    assert_true(slot(s).is_fallback);
    /* With it, the damaged version is fetched again and runs. */
    s->registry.poll_status = 0;
    s->registry.faults.gone = false;
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_false(slot(s).is_fallback);
    assert_true(saw_event(s, "damaged") && saw_event(s, "fell_back"));
    /* The only version there is mends itself in place. */
    char other[200];
    snprintf(other, sizeof other, "%s/versions/net/1", s->state);
    assert_int_equal(ledge__agent_remove_all(other, NULL), LEDGE_OK);
    assert_int_equal(unlink(path), 0);
    turn(s, LEDGE_SYNC_VERIFY);
    must_serve(s, "2");
    assert_int_equal(access(path, F_OK), 0);
}

static void a_server_that_does_not_stay_up_falls_back(void **state)
{
    Site *s = *state;
    bring(s, "1", 100, 10, 0);
    bring(s, "2", 200, 10, 0);
    turn(s, LEDGE_SYNC_FALL_BACK);
    must_serve(s, "1");
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1"); /* and is not tried again */
    assert_int_equal(s->registry.last_poll.models[0].state, LEDGE_FLEET_FALLBACK);
}

static void strictly_this_version_or_none(void **state)
{
    Site *s = *state;
    char now[LEDGE_FLEET_NAME];
    bring(s, "1", 100, 10, 0);
    registry_publish(&s->registry, "net", "2", 200, 10, 0.5);
    registry_assign(&s->registry, "net", "2", "", true);
    turn(s, LEDGE_SYNC_ALL);
    served(s, now);
    assert_string_equal(now, "");
    registry_assign(&s->registry, "net", "1", "", true);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1");
}

static void a_shadow_is_fetched_and_tested_but_does_not_serve(void **state)
{
    Site *s = *state;
    char path[200], target[300] = "";
    registry_publish(&s->registry, "net", "1", 100, 10, 0);
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    registry_shadow(&s->registry, "net", "1", "2");
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1");
    snprintf(path, sizeof path, "%s/shadow/net.onnx", s->state);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_non_null(strstr(target, "/net/2/"));
    turn(s, LEDGE_SYNC_ALL);
    assert_int_equal(s->registry.last_poll.n_models, 2);
    assert_string_equal(s->registry.last_poll.models[1].version, "2");
    assert_int_equal(s->registry.last_poll.models[1].state, LEDGE_FLEET_TESTING);
    assert_int_equal(access(path, F_OK), 0);
    /* It steps out of the shadow without being fetched again. */
    const int64_t sent = s->registry.sent;
    registry_assign(&s->registry, "net", "2", "", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(s->registry.sent, sent);
    /* One that fails its self-test casts none. */
    registry_publish(&s->registry, "net", "3", 300, 10, 0.5);
    registry_shadow(&s->registry, "net", "2", "3");
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_int_not_equal(access(path, F_OK), 0);
}

static const char *this_arch(void)
{
#if defined(__x86_64__)
    return "x86-64";
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "other";
#endif
}

static void a_guest_lies_beside_its_model_and_is_checked_with_it(void **state)
{
    Site *s = *state;
    char link[100], real[300], path[400];
    bring(s, "1", 100, 10, 0);
    s->registry.guest = this_arch();
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    registry_assign(&s->registry, "net", "2", "1", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    /* Where the server looks: in the folder of the file that the link leads to. */
    snprintf(link, sizeof link, "%s/serve/net.onnx", s->state);
    assert_non_null(realpath(link, real));
    snprintf(path, sizeof path, "%.*s/guest.lwm", (int)(strrchr(real, '/') - real), real);
    assert_int_equal(access(path, R_OK), 0);
    /* Changed on the disk, the version is damaged, and the one before runs. */
    assert_int_equal(chmod(path, 0644), 0);
    const int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "XXXX", 4, 5), 4);
    close(fd);
    s->registry.poll_status = 500;
    s->registry.faults.gone = true;
    turn(s, LEDGE_SYNC_VERIFY);
    must_serve(s, "1");
    assert_true(slot(s).is_fallback);
}

static void a_guest_changed_on_the_way_never_arrives(void **state)
{
    Site *s = *state;
    bring(s, "1", 100, 10, 0);
    s->registry.guest = this_arch();
    s->registry.faults.forged = true; /* the model's own bytes are on the disk already */
    bring(s, "2", 200, 10, 0);
    must_serve(s, "1");
    assert_non_null(strstr(slot(s).candidate_reason, "not what was signed"));
}

static void a_guest_for_other_machines_is_refused_with_its_version(void **state)
{
    Site *s = *state;
    bring(s, "1", 100, 10, 0);
    s->registry.guest = "riscv64";
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    registry_assign(&s->registry, "net", "2", "", false);
    const int64_t sent = s->registry.sent;
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1");
    assert_non_null(strstr(slot(s).candidate_reason, "a guest for riscv64"));
    assert_true(s->registry.sent - sent < 20000); /* the release alone */
}

static void old_versions_go_and_the_quota_holds(void **state)
{
    Site *s = *state;
    char version[8], path[100];
    s->config.quota = 400000;
    for (int i = 1; i <= 6; i++) {
        snprintf(version, sizeof version, "%d", i);
        bring(s, version, 100 * i, 100000, 0);
        must_serve(s, version);
        snprintf(path, sizeof path, "%s/versions", s->state);
        assert_true(ledge__agent_bytes(path) <= s->config.quota);
        assert_true(slot(s).n_kept <= 2);
    }
    bring(s, "7", 700, 500000, 0);
    must_serve(s, "6");
    assert_non_null(strstr(slot(s).candidate_reason, "do not fit"));
}

/* A download that is no longer wanted makes room; one that is under way stays. */
static void downloads_of_what_is_no_longer_assigned_make_room(void **state)
{
    Site *s = *state;
    char path[100];
    s->config.quota = 700000;
    bring(s, "1", 100, 10, 0);
    registry_publish(&s->registry, "net", "2", 200, 400000, 0);
    registry_assign(&s->registry, "net", "2", "", false);
    s->registry.faults.truncated = 100;
    s->config.download_tries = 1;
    turn(s, LEDGE_SYNC_ALL);
    snprintf(path, sizeof path, "%s/blobs", s->state);
    const int64_t came = ledge__agent_bytes(path);
    assert_true(came > 0);
    turn(s, LEDGE_SYNC_ALL);
    assert_true(ledge__agent_bytes(path) >= came);
    registry_assign(&s->registry, "net", "1", "", false);
    turn(s, LEDGE_SYNC_ALL);
    assert_int_equal(ledge__agent_bytes(path), 0);
    s->registry.faults = (Faults){0};
    registry_assign(&s->registry, "net", "2", "", false);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_int_equal(ledge__agent_bytes(path), 0);
}

/* The registry has a name that only the proxy can reach. */
static void all_that_is_asked_goes_through_the_proxy(void **state)
{
    Site *s = *state;
    s->config.http.base = "http://registry.invalid:8070";
    s->config.http.proxy = s->url;
    bring(s, "1", 100, 30000, 0);
    must_serve(s, "1");
    assert_true(s->registry.proxied > 5);
    assert_int_equal(s->registry.proxied, s->registry.asked);
    s->config.http.proxy = "http://127.0.0.1:1"; /* nobody is there */
    turn(s, LEDGE_SYNC_ALL);
    assert_false(s->result.polled);
    assert_true(s->result.problem[0]);
    must_serve(s, "1");
}

static void put_record(const Site *s, const char *producer, int64_t seconds_ago)
{
    char name[100];
    LedgeTelemetry *t;
    snprintf(name, sizeof name, "%s/queue/%s", s->state, producer);
    const LedgeTelemetryOptions o = {.folder = name};
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    const LedgeTelemetryRecord r = {.model = "net",
                                    .version = "1",
                                    .class_id = 1,
                                    .timestamp = (time(NULL) - seconds_ago) * 1000000};
    ledge__telemetry_put(t, &r);
    ledge__telemetry_close(t);
}

static void a_switch_waits_until_the_device_is_idle(void **state)
{
    Site *s = *state;
    char path[100];
    bring(s, "1", 100, 10, 0);
    put_record(s, "serve", 2);
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    registry_assign_when(&s->registry, "net", "2", "idle");
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1");
    assert_int_equal(slot(s).candidate_state, LEDGE_FLEET_TESTING);
    snprintf(path, sizeof path, "%s/versions/net/2", s->state); /* fetched and tested already */
    assert_int_equal(access(path, F_OK), 0);
    put_record(s, "serve", 100);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    /* The clock was set back by a day: the last record is of tomorrow, and none came since. */
    put_record(s, "serve", -86400);
    registry_publish(&s->registry, "net", "3", 300, 10, 0);
    registry_assign_when(&s->registry, "net", "3", "idle");
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "3");
}

static void a_switch_waits_for_its_hours(void **state)
{
    Site *s = *state;
    char when[32];
    const time_t now = time(NULL);
    struct tm tm;
    assert_non_null(localtime_r(&now, &tm));
    bring(s, "1", 100, 10, 0);
    registry_publish(&s->registry, "net", "2", 200, 10, 0);
    snprintf(when, sizeof when, "%02d:00-%02d:00", (tm.tm_hour + 2) % 24, (tm.tm_hour + 3) % 24);
    registry_assign_when(&s->registry, "net", "2", when);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "1");
    snprintf(when, sizeof when, "%02d:00-%02d:00", tm.tm_hour, (tm.tm_hour + 2) % 24);
    registry_assign_when(&s->registry, "net", "2", when);
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
}

static bool leave(const Site *s, const char *name, int64_t age)
{
    char path[200];
    const struct timespec at = {.tv_sec = time(NULL) - age}, both[2] = {at, at};
    snprintf(path, sizeof path, "%s/%s", s->state, name);
    const int fd = open(path, O_WRONLY | O_CREAT, 0644);
    const bool ok = fd >= 0 && futimens(fd, both) == 0;
    return ok && close(fd) == 0;
}

static bool is_there(const Site *s, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", s->state, name);
    return access(path, F_OK) == 0;
}

static void files_that_never_got_their_names_go_with_time(void **state)
{
    static const char *const old[] = {"slots/net.json.123-0.tmp", "serve/x.1-10.tmp"},
                             *const kept[] = {"shadow/a.tmp", "shadow/1-2.tmp", "shadow/b.-1.tmp",
                                              "shadow/c.12-.tmp", "shadow/d.1-2.json"};
    Site *s = *state;
    turn(s, LEDGE_SYNC_ALL);
    assert_true(leave(s, old[0], 7200) && leave(s, old[1], 7200));
    assert_true(leave(s, "slots/young.5-0.tmp", 60));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(leave(s, kept[i], 7200));
    turn(s, LEDGE_SYNC_ALL);
    assert_true(is_there(s, old[0]));
    turn(s, LEDGE_SYNC_VERIFY);
    assert_false(is_there(s, old[0]) || is_there(s, old[1]));
    assert_true(is_there(s, "slots/young.5-0.tmp"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(is_there(s, kept[i]));
}

static void a_busy_registry_is_left_alone_for_as_long_as_it_asks(void **state)
{
    Site *s = *state;
    s->registry.poll_status = 503;
    turn(s, LEDGE_SYNC_ALL);
    assert_int_equal(s->result.retry_after, 7);
    assert_non_null(strstr(s->result.problem, "503"));
    registry_stop(&s->registry);
    turn(s, LEDGE_SYNC_ALL);
    assert_false(s->result.polled);
    assert_true(s->result.problem[0]);
    registry_start(&s->registry);
}

static void telemetry_is_counted_once_whatever_is_lost(void **state)
{
    Site *s = *state;
    enum { RECORDS = 3000 };
    char name[100];
    LedgeTelemetry *t;
    snprintf(name, sizeof name, "%s/queue", s->state);
    mkdir(name, 0755);
    snprintf(name, sizeof name, "%s/queue/serve", s->state);
    const LedgeTelemetryOptions o = {.folder = name, .ring = 10000};
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    for (int i = 1; i <= RECORDS; i++) {
        const LedgeTelemetryRecord r = {.model = "net", .version = "1", .class_id = i};
        ledge__telemetry_put(t, &r);
    }
    ledge__telemetry_close(t);
    s->registry.faults.cut = 30; /* stored, but the answer is lost */
    s->registry.faults.busy = 20;
    for (int i = 0; i < 400 && (i == 0 || s->result.waiting); i++)
        turn(s, LEDGE_SYNC_TELEMETRY);
    assert_int_equal(s->result.waiting, 0);
    assert_true(s->registry.duplicates > 0);
    for (int i = 1; i <= RECORDS; i++)
        assert_int_equal(s->registry.seen[i], 1);
    /* A batch that will never be taken is not sent for ever. */
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    const LedgeTelemetryRecord r = {.model = "net", .version = "1", .class_id = 1};
    ledge__telemetry_put(t, &r);
    ledge__telemetry_close(t);
    s->registry.faults = (Faults){0};
    s->registry.batch_status = 400;
    turn(s, LEDGE_SYNC_TELEMETRY);
    assert_int_equal(s->result.refused, 1);
    assert_int_equal(s->result.waiting, 0);
    /* One whose spool somebody removed goes all the same, and holds up no other. */
    assert_int_equal(ledge__telemetry_open(&o, NULL, &t), LEDGE_OK);
    ledge__telemetry_put(t, &r);
    ledge__telemetry_close(t);
    s->registry.batch_status = 503;
    turn(s, LEDGE_SYNC_TELEMETRY);
    assert_int_equal(ledge__agent_remove_all(name, NULL), LEDGE_OK);
    s->registry.batch_status = 0;
    turn(s, LEDGE_SYNC_TELEMETRY);
    assert_int_equal(s->result.sent, 1);
    assert_int_equal(s->result.waiting, 0);
}

/* The process of a turn is killed at random moments while versions come and go. Whatever is left,
 * the link points at a whole model of a version that was published, the slot can be read, and the
 * next turns converge. */
static void kill_9_at_random_moments_leaves_a_model_that_serves(void **state)
{
    Site *s = *state;
    const char *many = getenv("LEDGE_TEST_KILLS");
    const int kills = many ? atoi(many) : 60;
    int version = 1;
    unsigned seed = 9, switches = 0;
    char text[16], now[LEDGE_FLEET_NAME];
    bool *ran = calloc((size_t)kills + 2, sizeof *ran);
    assert_non_null(ran);
    registry_publish(&s->registry, "net", "1", 1, 100000, 0);
    registry_assign(&s->registry, "net", "1", "", false);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    turn(s, LEDGE_SYNC_ALL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    const unsigned us =
        (unsigned)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000) * 5 / 4;
    must_serve(s, "1");
    for (int i = 0; i < kills; i++) {
        if (i % 4 == 0) {
            snprintf(text, sizeof text, "%d", ++version);
            registry_publish(&s->registry, "net", text, version, 100000, 0);
            registry_assign(&s->registry, "net", text, "", false);
        }
        const pid_t pid = fork();
        if (pid == 0) {
            (void)!ledge__agent_sync(&s->config, i % 3 ? LEDGE_SYNC_ALL : LEDGE_SYNC_VERIFY,
                                     &s->err, &s->result);
            _exit(0);
        }
        seed = seed * 1103515245u + 12345u;
        usleep((useconds_t)((double)us * ((seed >> 16) % 1000) / 1000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        const LedgeSlot before = slot(s);
        assert_true(before.running.version[0]);
        served(s, now);
        assert_true(now[0]);
        const int n = atoi(now);
        assert_true(n >= 1 && n <= version);
        switches += n == version;
        ran[n] = true;
    }
    turn(s, LEDGE_SYNC_VERIFY);
    turn(s, LEDGE_SYNC_ALL);
    snprintf(text, sizeof text, "%d", version);
    if (strcmp(slot(s).running.version, text) != 0) /* its test was begun three times */
        assert_non_null(strstr(slot(s).candidate_reason, "never came to an end"));
    print_message("%d kills, %u times behind the switch\n", kills, switches);
    assert_true(switches > 0);
    /* And the registry heard of all that ran. */
    for (size_t i = 0; i < s->registry.n_events; i++)
        if (strcmp(s->registry.events[i].kind, "switched") == 0 ||
            strcmp(s->registry.events[i].kind, "started") == 0)
            ran[atoi(s->registry.events[i].version)] = false;
    for (int i = 1; i <= version; i++)
        assert_false(ran[i]);
    free(ran);
}

/* Files cannot grow beyond a limit, as on a disk that is full: wherever a turn is stopped by it,
 * what runs goes on running, and with room again the turn comes to its end. */
static void a_full_disk_stops_a_turn_and_harms_nothing(void **state)
{
    static const rlim_t limits[] = {0,     1,     50,    200,   400,    1000,   3000,
                                    10000, 30000, 66000, 90000, 131072, 150000, 199999};
    Site *s = *state;
    LedgeAgentDir d;
    bring(s, "1", 100, 10, 0);
    registry_publish(&s->registry, "net", "2", 200, 200000, 0);
    registry_assign(&s->registry, "net", "2", "", false);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            const struct rlimit limit = {limits[i], limits[i]};
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &limit);
            (void)!ledge__agent_sync(&s->config, LEDGE_SYNC_ALL, &s->err, &s->result);
            _exit(0);
        }
        int how;
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
        must_serve(s, "1");
    }
    turn(s, LEDGE_SYNC_ALL);
    must_serve(s, "2");
    assert_int_equal(ledge__agent_open(&d, s->state, false, NULL), LEDGE_OK);
    assert_int_equal(ledge__dispatch_waiting(&d), 0);
    ledge__agent_close(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_gets_tests_and_serves_what_is_assigned),
        TEST(a_model_with_wrong_answers_never_runs),
        TEST(what_nobody_signed_is_not_installed),
        TEST(a_lying_registry_cannot_take_a_device_back),
        TEST(damaged_files_fall_back_and_are_mended),
        TEST(a_server_that_does_not_stay_up_falls_back),
        TEST(strictly_this_version_or_none),
        TEST(a_shadow_is_fetched_and_tested_but_does_not_serve),
        TEST(a_guest_lies_beside_its_model_and_is_checked_with_it),
        TEST(a_guest_changed_on_the_way_never_arrives),
        TEST(a_guest_for_other_machines_is_refused_with_its_version),
        TEST(old_versions_go_and_the_quota_holds),
        TEST(downloads_of_what_is_no_longer_assigned_make_room),
        TEST(all_that_is_asked_goes_through_the_proxy),
        TEST(a_switch_waits_until_the_device_is_idle),
        TEST(a_switch_waits_for_its_hours),
        TEST(files_that_never_got_their_names_go_with_time),
        TEST(a_busy_registry_is_left_alone_for_as_long_as_it_asks),
        TEST(telemetry_is_counted_once_whatever_is_lost),
        TEST(a_full_disk_stops_a_turn_and_harms_nothing),
        TEST(kill_9_at_random_moments_leaves_a_model_that_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
