/* `ledge agent run` as a program: small, alive, and what it serves changes with what is assigned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_registry.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/http_client.h"
#include "fleet/agent/resident.h"
#include "fleet/protocol/field_sample.h"

typedef struct Site {
    Registry registry;
    char state[64], root[80], url[64], port[128], key[90];
    pid_t agent;
} Site;

static uint16_t free_port(void)
{
    Registry r;
    registry_start(&r);
    const uint16_t port = r.port;
    registry_stop(&r);
    return port;
}

static int begin(void **state)
{
    Site *s = calloc(1, sizeof *s);
    registry_start(&s->registry);
    registry_url(&s->registry, s->url);
    strcpy(s->state, "/tmp/ledge-resident-XXXXXX");
    assert_non_null(mkdtemp(s->state));
    snprintf(s->root, sizeof s->root, "%s.root.json", s->state);
    const RepoFile *root = repo_get(&s->registry.repo.files, "1.root.json");
    FILE *f = fopen(s->root, "wb");
    assert_int_equal(fwrite(root->bytes, 1, root->size, f), root->size);
    fclose(f);
    snprintf(s->port, sizeof s->port, "--port %u", free_port());
    *state = s;
    return 0;
}

static int end(void **state)
{
    Site *s = *state;
    if (s->agent) {
        kill(s->agent, SIGTERM);
        waitpid(s->agent, NULL, 0);
    }
    registry_stop(&s->registry);
    assert_int_equal(ledge__agent_remove_all(s->state, NULL), LEDGE_OK);
    unlink(s->root);
    free(s);
    return 0;
}

static void start_agent(Site *s, bool serve)
{
    sigset_t hup, before;
    sigemptyset(&hup); /* one that comes before it listens waits, and does not end it */
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, &before);
    s->agent = fork();
    if (s->agent == 0) {
        const int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        execl(LEDGE_EXE, "ledge", "agent", "run", "--state", s->state, "--root", s->root,
              "--registry", s->url, "--device", "cam-1", "--interval", "1", "--serve-args", s->port,
              serve ? "--serve" : "--quiet", s->key[0] ? "--sample-key" : (char *)NULL, s->key,
              (char *)NULL);
        _exit(127);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void wait_s(double s)
{
    const struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&t, NULL);
}

/* The version that the link points at. */
static int linked(const Site *s)
{
    char path[200], target[300] = "";
    int n = 0;
    snprintf(path, sizeof path, "%s/serve/net.onnx", s->state);
    if (readlink(path, target, sizeof target - 1) > 0)
        (void)!sscanf(target, "../versions/net/%d/", &n);
    return n;
}

static int64_t kilobytes(pid_t pid, const char *what)
{
    char path[64], line[200];
    long long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0)
            (void)!sscanf(line + strlen(what), ": %lld", &kb);
    if (f)
        fclose(f);
    return kb;
}

/* A child of the agent whose command line has `word`; 0: none. */
static pid_t child_with(pid_t agent, const char *word)
{
    pid_t found = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; !found && (e = readdir(d));) {
        char path[300], text[1000] = "";
        const pid_t pid = atoi(e->d_name);
        if (pid <= 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "r");
        int parent = 0;
        if (f && fscanf(f, "%*d (%*[^)]) %*c %d", &parent) != 1)
            parent = 0;
        if (f)
            fclose(f);
        if (parent != agent)
            continue;
        snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
        f = fopen(path, "r");
        const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        for (size_t i = 0; i < n; i++)
            text[i] = text[i] ? text[i] : ' ';
        if (strstr(text, word))
            found = pid;
    }
    closedir(d);
    return found;
}

static bool is_ready(const Site *s)
{
    char url[80];
    LedgeHttp *http;
    LedgeHttpAnswer a = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%d", atoi(s->port + 7));
    const LedgeHttpOptions o = {.base = url};
    assert_int_equal(ledge__http_new(&o, NULL, &http), LEDGE_OK);
    const LedgeHttpAsk ask = {.path = "/v2/models/net/ready", .max = 10000};
    const bool ok = ledge__http_ask(http, &ask, NULL, &a) == LEDGE_OK && a.status == 200;
    free(a.body);
    ledge__http_free(http);
    return ok;
}

/* The agent and its server, until that one is ready; without a wait for the first poll's random
 * moment. */
static void start_serving(Site *s)
{
    start_agent(s, true);
    kill(s->agent, SIGHUP);
    for (int i = 0; i < 300 && !is_ready(s); i++)
        wait_s(0.1);
    assert_true(is_ready(s));
}

static void infer(const Site *s)
{
    char url[80], body[4000];
    LedgeHttp *http;
    LedgeHttpAnswer a = {0};
    int n = snprintf(body, sizeof body,
                     "{\"inputs\":[{\"name\":\"picture\",\"shape\":[1,3,8,8],"
                     "\"datatype\":\"FP32\",\"data\":[");
    for (int i = 0; i < 192; i++)
        n += snprintf(body + n, sizeof body - (size_t)n, "%s0.%d", i ? "," : "", i % 10);
    n += snprintf(body + n, sizeof body - (size_t)n, "]}]}");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", atoi(s->port + 7));
    const LedgeHttpOptions o = {.base = url};
    assert_int_equal(ledge__http_new(&o, NULL, &http), LEDGE_OK);
    const LedgeHttpAsk ask = {
        .path = "/v2/models/net/infer", .body = body, .body_size = (size_t)n, .max = 100000};
    assert_int_equal(ledge__http_ask(http, &ask, NULL, &a), LEDGE_OK);
    assert_int_equal(a.status, 200);
    free(a.body);
    ledge__http_free(http);
}

static size_t count_seen(Site *s)
{
    size_t n = 0;
    pthread_mutex_lock(&s->registry.lock);
    for (int i = 0; i < 65536; i++)
        n += s->registry.seen[i];
    pthread_mutex_unlock(&s->registry.lock);
    return n;
}

/* What the server answers reaches the registry, under the version that answered it. */
static void answers_are_told_to_the_registry_once(void **state)
{
    Site *s = *state;
    registry_publish(&s->registry, "net", "7", 1, 1000, 0);
    registry_assign(&s->registry, "net", "7", "", false);
    start_serving(s);
    for (int i = 0; i < 120; i++)
        infer(s);
    for (int i = 0; i < 300 && count_seen(s) < 120; i++)
        wait_s(0.1);
    assert_int_equal(count_seen(s), 120);
    /* And so do the counts of polls, each answer in one window. */
    for (int i = 0; i < 200 && s->registry.told < 120; i++) {
        if (i % 20 == 0)
            kill(s->agent, SIGHUP);
        wait_s(0.1);
    }
    assert_int_equal(s->registry.told, 120);
    assert_string_equal(s->registry.last_poll.models[0].version, "7");
    assert_int_equal(count_seen(s), 120);
}

/* With a key, what the server is asked arrives sealed, and opens as it was; the options of its own
 * say how many. */
static void inputs_are_kept_and_sent_where_a_key_is_given(void **state)
{
    Site *s = *state;
    char name[80];
    LedgeSealKey *key;
    snprintf(name, sizeof name, "%s/sampling", s->state);
    assert_int_equal(ledge__seal_key_new(NULL, &key), LEDGE_OK);
    assert_int_equal(ledge__seal_key_save(key, name, NULL), LEDGE_OK);
    snprintf(s->key, sizeof s->key, "%s.pub", name);
    snprintf(s->port + strlen(s->port), sizeof s->port - strlen(s->port),
             " --sample-below 1.1 --samples-per-hour 3600");
    registry_publish(&s->registry, "net", "7", 1, 1000, 0);
    registry_assign(&s->registry, "net", "7", "", false);
    start_serving(s);
    for (int i = 0; i < 300 && !s->registry.samples.n; i++) {
        infer(s);
        if (i % 20 == 0)
            kill(s->agent, SIGHUP);
        wait_s(0.1);
    }
    assert_true(s->registry.samples.n > 0);
    const RepoFile *one = &s->registry.samples.files[0];
    LedgeFieldHead head;
    LedgeFieldContent *c;
    assert_int_equal(ledge__field_sample_open(one->bytes, one->size, key, NULL, &head, &c),
                     LEDGE_OK);
    assert_string_equal(head.version, "7"); /* the fleet's, not the server's number */
    const float *x = c->inputs[0].data;
    for (int i = 0; i < 192; i++)
        assert_true(x[i] == (float)(i % 10) / 10);
    ledge__field_content_free(c);
    ledge__seal_key_free(key);
}

/* What runs in the shadow is told of by how often it agrees. */
static void shadows_are_compared_with_what_serves(void **state)
{
    Site *s = *state;
    int64_t shown = 0, agreed = 0;
    registry_publish(&s->registry, "net", "1", 1, 1000, 0);
    registry_publish(&s->registry, "net", "2", 2, 1000, 0);
    registry_shadow(&s->registry, "net", "1", "2");
    start_serving(s);
    for (int i = 0; i < 300 && !shown; i++) {
        infer(s);
        if (i % 20 == 0)
            kill(s->agent, SIGHUP);
        wait_s(0.05);
        pthread_mutex_lock(&s->registry.lock);
        for (size_t k = 0; k < s->registry.last_poll.n_models; k++) {
            const LedgePollModel *m = &s->registry.last_poll.models[k];
            if (strcmp(m->version, "2") == 0 && m->window.shadow_count) {
                shown = m->window.shadow_count;
                agreed = m->window.shadow_agree;
            }
        }
        pthread_mutex_unlock(&s->registry.lock);
    }
    assert_true(shown > 0);
    assert_int_equal(agreed, shown);
}

static void the_resident_process_is_small(void **state)
{
    Site *s = *state;
    registry_publish(&s->registry, "net", "1", 1, 100000, 0);
    registry_assign(&s->registry, "net", "1", "", false);
    start_agent(s, false);
    kill(s->agent, SIGHUP); /* do not wait for the first poll's random moment */
    for (int i = 0; i < 300 && linked(s) != 1; i++)
        wait_s(0.1);
    assert_int_equal(linked(s), 1);
    wait_s(1.2);
    const int64_t rss = kilobytes(s->agent, "VmRSS"), peak = kilobytes(s->agent, "VmHWM");
    print_message("RSS %lld kB, peak %lld kB\n", (long long)rss, (long long)peak);
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(peak, 100, 8000);
#endif
}

static void what_is_served_follows_what_is_assigned(void **state)
{
    Site *s = *state;
    registry_publish(&s->registry, "net", "1", 1, 1000, 0);
    registry_assign(&s->registry, "net", "1", "", false);
    start_serving(s);
    const pid_t server = child_with(s->agent, "--repository");
    assert_true(server > 0);
    registry_publish(&s->registry, "net", "2", 2, 1000, 0);
    registry_assign(&s->registry, "net", "2", "", false);
    kill(s->agent, SIGHUP);
    for (int i = 0; i < 300 && linked(s) != 2; i++)
        wait_s(0.1);
    assert_int_equal(linked(s), 2);
    assert_true(is_ready(s)); /* the same server goes on */
    assert_int_equal(child_with(s->agent, "--repository"), server);
    /* A server that dies is started again. */
    kill(server, SIGKILL);
    bool ready = false;
    for (int i = 0; i < 300 && !ready; i++) {
        wait_s(0.1);
        ready = is_ready(s) && child_with(s->agent, "--repository") != server;
    }
    assert_true(ready);
    /* SIGTERM ends all of it. */
    kill(s->agent, SIGTERM);
    int how;
    assert_int_equal(waitpid(s->agent, &how, 0), s->agent);
    s->agent = 0;
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_false(is_ready(s));
}

/* Answers told of the version in polls. */
static int64_t answers_of(Site *s, const char *version)
{
    int64_t n = 0;
    pthread_mutex_lock(&s->registry.lock);
    for (size_t i = 0; i < s->registry.last_poll.n_models; i++)
        if (strcmp(s->registry.last_poll.models[i].version, version) == 0)
            n = s->registry.last_poll.models[i].window.count;
    pthread_mutex_unlock(&s->registry.lock);
    return n;
}

/* A turn that is killed when the link has moved, and before it comes to say so. */
static void the_server_follows_the_link_of_a_turn_that_was_killed(void **state)
{
    Site *s = *state;
    pid_t turn = 0;
    registry_publish(&s->registry, "net", "1", 1, 1000, 0);
    registry_publish(&s->registry, "net", "2", 2, 1000, 0);
    registry_assign(&s->registry, "net", "1", "", false);
    start_serving(s);
    for (int i = 0; i < 100 && child_with(s->agent, "ledge-sync"); i++)
        wait_s(0.1);
    s->registry.faults.batch_ms = 3600000; /* where it tells of the switch */
    registry_assign(&s->registry, "net", "2", "", false);
    kill(s->agent, SIGHUP);
    for (int i = 0; i < 300 && linked(s) != 2; i++)
        wait_s(0.1);
    assert_int_equal(linked(s), 2);
    turn = child_with(s->agent, "ledge-sync");
    assert_true(turn > 0);
    kill(turn, SIGKILL);
    s->registry.faults.batch_ms = 0;
    for (int i = 0; i < 300 && !answers_of(s, "2"); i++) {
        infer(s);
        if (i % 20 == 10)
            kill(s->agent, SIGHUP);
        wait_s(0.1);
    }
    assert_true(answers_of(s, "2") > 0);
}

static bool may_execute(uid_t user, const char *program)
{
    const pid_t pid = fork();
    if (pid == 0)
        _exit(setuid(user) != 0 || access(program, X_OK) != 0);
    int how;
    return waitpid(pid, &how, 0) == pid && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

/* Started by root on another user's folder, all that it starts goes on as that user. */
static void what_root_starts_belongs_to_the_folders_owner(void **state)
{
    enum { SOMEBODY = 65534 };
    Site *s = *state;
    static const char *const made[] = {"slots", "serve", "queue/serve", "status.json"};
    struct stat st;
    if (geteuid() != 0 || !may_execute(SOMEBODY, LEDGE_EXE)) {
        print_message("not run by root, or nobody else may run the program\n");
        skip();
    }
    assert_int_equal(chown(s->state, SOMEBODY, SOMEBODY), 0);
    registry_publish(&s->registry, "net", "1", 1, 1000, 0);
    registry_assign(&s->registry, "net", "1", "", false);
    start_serving(s);
    const pid_t server = child_with(s->agent, "--repository");
    assert_true(server > 0);
    assert_int_equal(kilobytes(server, "Uid"), SOMEBODY);
    assert_int_equal(kilobytes(server, "Gid"), SOMEBODY);
    assert_int_equal(kilobytes(server, "Groups"), -1); /* none */
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", s->state, made[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, SOMEBODY);
    }
    /* And it ends with who started it, whoever that was. */
    kill(s->agent, SIGKILL);
    waitpid(s->agent, NULL, 0);
    s->agent = 0;
    for (int i = 0; i < 300 && is_ready(s); i++)
        wait_s(0.1);
    assert_false(is_ready(s));
}

#ifndef __SANITIZE_ADDRESS__ /* which has to be loaded first */
/* One turn of the program, by a clock that is off by so many seconds. */
static void sync_with_clock(Site *s, const char *off)
{
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        setenv("LD_PRELOAD", LEDGE_CLOCK_SHIM, 1);
        setenv("CLOCK_SHIM_S", off, 1);
        execl(LEDGE_EXE, "ledge", "agent", "sync", "--state", s->state, "--root", s->root,
              "--registry", s->url, "--device", "cam-1", (char *)NULL);
        _exit(127);
    }
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

static void a_wrong_clock_does_no_harm(void **state)
{
    Site *s = *state;
    const int64_t now = time(NULL);
    static const int64_t years[] = {1970, 2099};
    char off[32], version[8];
    s->registry.repo.time = now;
    for (int i = 0; i < 2; i++) {
        const int64_t shift = (years[i] - 1970) * 31556952 + 100 - now;
        snprintf(off, sizeof off, "%lld", (long long)shift);
        snprintf(version, sizeof version, "%d", i + 1);
        registry_publish(&s->registry, "net", version, i + 1, 1000, 0);
        registry_assign(&s->registry, "net", version, "", false);
        sync_with_clock(s, off);
        assert_int_equal(linked(s), i + 1); /* expiry is judged by signed time */
        assert_true(llabs(s->registry.last_poll.clock - (now + shift)) < 60);
        sync_with_clock(s, off); /* which tells how far it is off */
        assert_true(s->registry.last_poll.has_skew);
        assert_true(llabs(s->registry.last_poll.skew_ms / 1000 + shift) < 60);
        assert_true(s->registry.last_poll.models[0].since_s < 60);
    }
    /* And back: what was noted in 2099 lies in the future. */
    registry_publish(&s->registry, "net", "3", 3, 1000, 0);
    registry_assign(&s->registry, "net", "3", "", false);
    sync_with_clock(s, "0");
    assert_int_equal(linked(s), 3);
    assert_true(s->registry.last_poll.models[0].since_s >= 0);
}
#endif

static void systemd_is_told_that_it_lives(void **state)
{
    Site *s = *state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[200];
    bool ready = false, watchdog = false;
    snprintf(at.sun_path, sizeof at.sun_path, "%.60s/notify", s->state);
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    setenv("WATCHDOG_USEC", "900000", 1);
    start_agent(s, false);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    for (int i = 0; i < 100 && !(ready && watchdog); i++) {
        const ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        if (n <= 0) {
            wait_s(0.1);
            continue;
        }
        text[n] = '\0';
        ready = ready || strstr(text, "READY=1");
        watchdog = watchdog || strcmp(text, "WATCHDOG=1") == 0;
    }
    assert_true(ready && watchdog);
    kill(s->agent, SIGTERM);
    bool stopping = false;
    for (int i = 0; i < 100 && !stopping; i++) {
        const ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        text[n > 0 ? n : 0] = '\0';
        stopping = strcmp(text, "STOPPING=1") == 0;
        if (n <= 0)
            wait_s(0.1);
    }
    close(fd);
    assert_true(stopping);
}

static void polls_are_spread_and_backed_off_up_to_an_hour(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t r = i * 0x4000000u;
        const int64_t plain = ledge__resident_wait(60, 0, -1, r);
        assert_in_range(plain, 48000, 72000);
        assert_in_range(ledge__resident_wait(60, 3, -1, r), 384000, 576000);
        assert_in_range(ledge__resident_wait(60, 40, -1, r), 2880000, 4320000);
        assert_in_range(ledge__resident_wait(60, 0, 300, r), 300000, 375000);
        assert_in_range(ledge__resident_wait(60, 0, 999999999, r), 3600000, 4500000);
        assert_in_range(ledge__resident_wait(-5, 0, -1, r), 800, 1200);
    }
    assert_int_not_equal(ledge__resident_wait(60, 0, -1, 0),
                         ledge__resident_wait(60, 0, -1, 1u << 31));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(polls_are_spread_and_backed_off_up_to_an_hour),
        TEST(the_resident_process_is_small),
        TEST(what_is_served_follows_what_is_assigned),
        TEST(the_server_follows_the_link_of_a_turn_that_was_killed),
        TEST(what_root_starts_belongs_to_the_folders_owner),
        TEST(answers_are_told_to_the_registry_once),
        TEST(inputs_are_kept_and_sent_where_a_key_is_given),
        TEST(shadows_are_compared_with_what_serves),
#ifndef __SANITIZE_ADDRESS__
        TEST(a_wrong_clock_does_no_harm),
#endif
        TEST(systemd_is_told_that_it_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
