/* The process that stays, see resident.h. */
#include "fleet/agent/resident.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/backoff.h"
#include "fleet/agent/telemetry_queue.h"

enum {
    TICK_MS = 1000,
    LONGEST_S = 3600,          /* between polls, whatever fails */
    FIRST_MS = 10000,          /* the first poll after a start, at most */
    BATCH = 100,               /* records that are sent at once … */
    BATCH_MS = 60000,          /* … or after this time */
    TURN_MS = 6 * 3600 * 1000, /* a turn that takes longer is ended */
    VERIFY_MS = 24 * 3600 * 1000,
    CRASHES = 3,       /* of the server … */
    CRASH_MS = 120000, /* … within this time after a switch */
    RESTART_MS = 1000,
    LONGEST_RESTART_MS = 60000,
    STATUS_MAX = 16384,
    METRICS_MAX = 32768,
};

typedef enum Kind { SYNC, VERIFY, TELEMETRY, FALL_BACK } Kind;
static const char *const kinds[] = {"sync", "verify", "telemetry", "fall-back"};

typedef struct Resident {
    const LedgeResidentOptions *o;
    LedgeAgentDir dir;
    pid_t turn, server; /* 0: none */
    Kind kind;
    int64_t turn_began, next_poll, next_batch, next_verify, next_server, notify_at;
    int64_t server_began, switched, server_wait;
    int64_t notify_ms; /* between signs of life for systemd; 0: it asks for none */
    int failures, telemetry_failures, crashes, turns;
    int64_t changes, links;
    bool stops, fell_back, was_ready;
} Resident;

static int64_t now_ms(void)
{
    return ledge__clock_ms(CLOCK_BOOTTIME); /* goes on in sleep, and never back */
}

int64_t ledge__resident_wait(int64_t interval_s, int failures, int64_t retry_after, uint32_t random)
{
    const int64_t asked = retry_after < LONGEST_S ? retry_after : LONGEST_S;
    const int64_t s = interval_s < 1 ? 1 : interval_s < LONGEST_S ? interval_s : LONGEST_S;
    return ledge__backoff_ms(s * 1000, failures, LONGEST_S * 1000, asked * 1000, random);
}

static void say(const Resident *r, const char *what, const char *more)
{
    if (!r->o->quiet)
        fprintf(stderr, "ledge agent: %s%s\n", what, more);
}

/* ---- systemd ---- */

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    strcpy(to.sun_path, path);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, size);
    close(fd);
}

static void begin_notify(Resident *r)
{
    const char *us = getenv("WATCHDOG_USEC");
    r->notify_ms = us ? strtoll(us, NULL, 10) / 3000 : 0;
    notify("READY=1\nSTATUS=waiting for the first poll");
}

/* ---- processes ---- */

/* owner: whose folder it is goes on with it. NULL: whoever we are; a turn reads its token before it
 * does so itself. */
static pid_t start(char **argv, const char *owner)
{
    sigset_t none;
    LedgeError err = {0};
    fflush(NULL);
    const pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? 0 : pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    unsetenv("NOTIFY_SOCKET"); /* we speak to systemd, they do not */
    if (owner && ledge__agent_become_owner(owner, &err)) {
        fprintf(stderr, "ledge agent: %s: %s\n", err.where, err.message);
        _exit(1);
    }
    execv(argv[0], argv);
    fprintf(stderr, "ledge agent: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void begin_turn(Resident *r, Kind kind)
{
    r->kind = kind;
    r->turn_began = now_ms();
    r->o->sync[1] = (char *)(uintptr_t)kinds[kind];
    r->turn = start(r->o->sync, NULL);
}

static void begin_server(Resident *r)
{
    r->server_began = now_ms();
    r->server = start(r->o->serve, r->o->state);
}

/* Models that are served now, by the links to them. */
static int64_t count_links(const Resident *r)
{
    char path[LEDGE_AGENT_PATH];
    int64_t n = 0;
    ledge__agent_path(&r->dir, path, "serve");
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* Another file is to be served: the server reads models anew on SIGHUP, but forgets none. */
static void tell_server(Resident *r)
{
    const int64_t links = count_links(r);
    r->switched = now_ms();
    r->crashes = 0;
    r->fell_back = false;
    r->server_wait = 0;
    r->next_server = 0;
    if (r->server)
        kill(r->server, links < r->links ? SIGTERM : SIGHUP);
    r->links = links;
}

static void server_ended(Resident *r, int how)
{
    const int64_t now = now_ms();
    r->server = 0;
    if (r->stops)
        return;
    const bool failed = !WIFEXITED(how) || WEXITSTATUS(how) != 0;
    if (!failed && now - r->server_began > RESTART_MS)
        r->server_wait = 0;
    if (now - r->server_began > CRASH_MS)
        r->server_wait = 0;
    r->server_wait = !r->server_wait                           ? RESTART_MS
                     : r->server_wait * 2 < LONGEST_RESTART_MS ? r->server_wait * 2
                                                               : LONGEST_RESTART_MS;
    r->next_server = now + r->server_wait;
    if (failed)
        say(r, "the server ended", WIFSIGNALED(how) ? " by a signal" : " with an error");
    if (failed && now - r->switched < CRASH_MS)
        r->crashes++;
}

/* ---- turns ---- */

static bool read_result(const Resident *r, LedgeSyncResult *out)
{
    char *text;
    size_t n;
    if (ledge__agent_read(&r->dir, "status.json", STATUS_MAX, NULL, &text, &n))
        return false;
    LedgeStatus status = ledge__sync_result_read(text, n, NULL, out);
    free(text);
    return status == LEDGE_OK;
}

static void plan_next(Resident *r, const LedgeSyncResult *s, bool ok)
{
    const int64_t now = now_ms();
    const int64_t wait = ok ? s->interval_s : r->o->interval_s;
    if (r->kind == TELEMETRY) {
        r->telemetry_failures = ok ? 0 : r->telemetry_failures + 1;
        r->next_batch = ok ? now
                           : now + ledge__resident_wait(5, r->telemetry_failures, s->retry_after,
                                                        ledge__backoff_random());
        return;
    }
    r->failures = ok ? 0 : r->failures < 16 ? r->failures + 1 : 16;
    r->next_poll =
        now + ledge__resident_wait(wait, r->failures, s->retry_after, ledge__backoff_random());
    r->next_batch = ok ? now : r->next_poll;
    if (r->kind != SYNC && ok) /* damage that could not be mended is looked for again */
        r->next_verify = now + VERIFY_MS;
}

static void turn_ended(Resident *r, int how)
{
    LedgeSyncResult s = {.retry_after = -1, .interval_s = r->o->interval_s};
    char text[LEDGE_FLEET_REASON + 40];
    const bool ended = WIFEXITED(how) && WEXITSTATUS(how) == 0 && read_result(r, &s);
    r->turn = 0;
    r->turns++;
    plan_next(r, &s, ended && !s.problem[0]);
    if (!ended)
        say(r, kinds[r->kind], ": the turn failed");
    else if (s.problem[0])
        say(r, "", s.problem);
    snprintf(text, sizeof text, "STATUS=%s", ended && !s.problem[0] ? "all is well" : s.problem);
    notify(text);
    const bool changed = ended && s.changes != r->changes;
    if (changed)
        r->changes = s.changes;
    /* One that was killed may have moved a link and not come to say so. */
    if (changed || WIFSIGNALED(how))
        tell_server(r);
}

/* ---- telemetry that waits ---- */

static void count_waiting(const Resident *r, const char *name, int64_t *records, int64_t *alerts)
{
    char file[300], path[LEDGE_AGENT_PATH], *text;
    size_t n;
    LedgeProducerMetrics *m = malloc(sizeof *m);
    snprintf(file, sizeof file, "queue/%.64s/metrics.json", name);
    if (m && ledge__agent_read(&r->dir, file, METRICS_MAX, NULL, &text, &n) == LEDGE_OK) {
        if (ledge__metrics_read(text, n, NULL, m) == LEDGE_OK) {
            ledge__agent_path(&r->dir, path, "queue/%.64s", name);
            *records += ledge__metrics_waiting(path, m->next);
            ledge__agent_path(&r->dir, path, "queue/%.64s.alerts", name);
            *alerts += ledge__metrics_waiting(path, m->next_alert);
        }
        free(text);
    }
    free(m);
}

/* Whether something is to be sent before the next poll. */
static bool wants_batch(const Resident *r, int64_t now)
{
    char path[LEDGE_AGENT_PATH];
    int64_t records = 0, alerts = 0;
    if (now < r->next_batch)
        return false;
    ledge__agent_path(&r->dir, path, "queue");
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (ledge__fleet_is_name(e->d_name))
            count_waiting(r, e->d_name, &records, &alerts);
    if (d)
        closedir(d);
    return alerts > 0 || records >= BATCH || (records > 0 && now - r->next_batch >= BATCH_MS);
}

/* ---- the loop ---- */

static void reap(Resident *r)
{
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;) {
        if (pid == r->turn)
            turn_ended(r, how);
        else if (pid == r->server)
            server_ended(r, how);
    }
}

static void on_signals(Resident *r, int fd)
{
    struct signalfd_siginfo s;
    while (read(fd, &s, sizeof s) == (ssize_t)sizeof s) {
        if (s.ssi_signo == SIGTERM || s.ssi_signo == SIGINT)
            r->stops = true;
        else if (s.ssi_signo == SIGHUP)
            r->next_poll = 0;
    }
    reap(r);
}

static void tick(Resident *r)
{
    const int64_t now = now_ms();
    if (r->notify_ms && now >= r->notify_at) {
        notify("WATCHDOG=1");
        r->notify_at = now + r->notify_ms;
    }
    if (r->turn && now - r->turn_began > TURN_MS)
        kill(r->turn, SIGKILL);
    if (!r->turn) {
        if (r->crashes >= CRASHES && !r->fell_back) {
            r->fell_back = true;
            begin_turn(r, FALL_BACK);
        } else if (now >= r->next_poll) {
            begin_turn(r, now >= r->next_verify ? VERIFY : SYNC);
        } else if (wants_batch(r, now)) {
            begin_turn(r, TELEMETRY);
        }
    }
    /* Without a model there is nothing to serve. */
    if (r->o->serve && !r->server && now >= r->next_server && r->links > 0)
        begin_server(r);
}

static void stop_all(Resident *r)
{
    notify("STOPPING=1");
    if (r->turn)
        kill(r->turn, SIGTERM);
    if (r->server)
        kill(r->server, SIGTERM);
    for (int ms = 0; (r->turn || r->server) && ms < 30000; ms += 50) {
        const struct timespec t = {0, 50000000};
        nanosleep(&t, NULL);
        reap(r);
    }
    if (r->turn)
        kill(r->turn, SIGKILL);
    if (r->server)
        kill(r->server, SIGKILL);
}

static void loop(Resident *r, int fd)
{
    while (!r->stops && !(r->o->most_turns && r->turns >= r->o->most_turns)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        tick(r);
        (void)poll(&wait, 1, TICK_MS);
        on_signals(r, fd);
    }
    r->stops = true;
    stop_all(r);
}

/* What lies in it is made by turns, as the folder's owner. */
static LedgeStatus make_state(const char *path, LedgeError *err)
{
    struct stat st;
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return ledge__fail_errno(err, path, "create the folder");
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode)
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_IO, path, "is no folder");
}

LedgeStatus ledge__resident_run(const LedgeResidentOptions *o, LedgeError *err)
{
    Resident *r = calloc(1, sizeof *r);
    LedgeSyncResult last;
    sigset_t set;
    if (!r)
        return ledge__no_memory(err);
    r->o = o;
    LedgeStatus status = make_state(o->state, err);
    if (!status)
        status = ledge__agent_open(&r->dir, o->state, false, err);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    const int fd = status ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!status && (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) != 0))
        status = ledge__fail(err, LEDGE_ERROR_IO, o->state, "no signals: %s", strerror(errno));
    if (!status) {
        if (read_result(r, &last))
            r->changes = last.changes;
        r->links = count_links(r);
        /* What is on the disk is checked, and served, before the network is asked: the first turn
         * does both. */
        r->next_poll = now_ms() + (o->most_turns ? 0 : ledge__backoff_random() % FIRST_MS);
        r->switched = now_ms();
        begin_notify(r);
        loop(r, fd);
    }
    if (fd >= 0)
        close(fd);
    free(r);
    return status;
}
