/* The queue, the thread that empties it, and the child process of each delivery. */
#include "serve/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/timed_wait.h"
#include "base/start_program.h"
#include "serve/work.h"

enum { WAITING = 256 };
#define GIVE_UP 900.0 /* seconds that a message is worth sending */
#define LONGEST 60.0  /* between two tries */
#define TICK_NS 5000000

typedef struct Message {
    struct Message *next;
    LedgeChannel channel;
    LedgeText body;
    double born, due, pause;
} Message;

struct LedgeOutbox {
    LedgeOutboxOptions options;
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    Message *first;
    size_t waiting;
    bool stop;
    double until;                     /* when stopping: the last moment */
    bool silent[LEDGE_CHANNEL_COUNT]; /* its failure has been told */
    LedgeOutboxCounts counts[LEDGE_CHANNEL_COUNT];
};

const char *ledge__channel_name(LedgeChannel channel)
{
    static const char *const names[] = {"webhook", "alertmanager", "exec"};
    return names[channel];
}

static void message_free(Message *m)
{
    if (m)
        ledge__text_free(&m->body);
    free(m);
}

/* ---- delivery ---- */

/* Whether a delivery must end: its time is over, or that of the whole outbox. */
static bool late(LedgeOutbox *o, double deadline)
{
    pthread_mutex_lock(&o->lock);
    const double end = o->stop ? fmin(deadline, o->until) : deadline;
    pthread_mutex_unlock(&o->lock);
    return ledge__now() > end;
}

/* Writes it all, as fast as the child reads. */
static void feed(LedgeOutbox *o, int to, const LedgeText *body, double deadline)
{
    for (size_t sent = 0; sent < body->n && !late(o, deadline);) {
        struct pollfd p = {.fd = to, .events = POLLOUT};
        if (poll(&p, 1, 50) <= 0)
            continue;
        const ssize_t n = write(to, body->p + sent, body->n - sent);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return; /* it need not read */
        sent += n > 0 ? (size_t)n : 0;
    }
}

static bool wait_for(LedgeOutbox *o, pid_t pid, double deadline)
{
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (late(o, deadline)) {
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run(LedgeOutbox *o, char *const *words, const LedgeText *body)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    const LedgeSpawn how = {.program = words[0],
                            .args = (const char *const *)words,
                            .in = ends[0],
                            .out = LEDGE_SPAWN_NULL,
                            .err = LEDGE_SPAWN_SAME,
                            .apart = true};
    pid_t pid = -1;
    if (ledge__spawn(&how, &pid) != 0)
        pid = -1;
    (void)close(ends[0]);
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    const double deadline = ledge__now() + o->options.patience;
    if (pid > 0)
        feed(o, ends[1], body, deadline);
    (void)close(ends[1]);
    return pid > 0 && wait_for(o, pid, deadline);
}

static bool deliver(LedgeOutbox *o, const Message *m)
{
    const LedgeOutboxOptions *q = &o->options;
    char *words[6] = {0};
    char url[2048];
    if (m->channel == LEDGE_CHANNEL_EXEC) {
        words[0] = (char *)(uintptr_t)q->to[m->channel];
        return run(o, words, &m->body);
    }
    const int n = snprintf(url, sizeof url, "%s%s", q->to[m->channel],
                           m->channel == LEDGE_CHANNEL_ALERTMANAGER ? "/api/v2/alerts" : "");
    if (n < 0 || (size_t)n >= sizeof url)
        return false;
    words[0] = (char *)(uintptr_t)q->post;
    words[1] = url;
    words[2] = (char *)(uintptr_t)q->token_file;
    return run(o, words, &m->body);
}

/* ---- the queue ---- */

/* The first that is due; with none, *wait says how long to sleep. Lock held. */
static Message *take_due(LedgeOutbox *o, double now, double *wait)
{
    *wait = 3600;
    for (Message **at = &o->first; *at; at = &(*at)->next) {
        Message *m = *at;
        if (m->due <= now || o->stop) {
            *at = m->next;
            o->waiting--;
            return m;
        }
        *wait = fmin(*wait, m->due - now);
    }
    return NULL;
}

static void append(LedgeOutbox *o, Message *m)
{
    Message **at = &o->first;
    while (*at)
        at = &(*at)->next;
    m->next = NULL;
    *at = m;
    o->waiting++;
}

/* Tells of a channel that begins to fail, and of one that works again. */
static void tell(LedgeOutbox *o, LedgeChannel c, bool ok)
{
    if (o->silent[c] == !ok)
        return;
    o->silent[c] = !ok;
    fprintf(stderr, "ledge: alerts: %s '%s' %s\n", ledge__channel_name(c), o->options.to[c],
            ok ? "takes them again" : "took none; trying again");
}

/* Lock held. */
static void settle(LedgeOutbox *o, Message *m, bool ok)
{
    const double now = ledge__now();
    tell(o, m->channel, ok);
    o->counts[m->channel].delivered += ok;
    o->counts[m->channel].failed += !ok;
    const bool again = !ok && !o->stop && now - m->born < GIVE_UP && o->waiting < WAITING;
    o->counts[m->channel].dropped += !ok && !again;
    if (!again) {
        message_free(m);
        return;
    }
    m->due = now + m->pause;
    m->pause = fmin(2 * m->pause, LONGEST);
    append(o, m);
}

static void *work_off(void *arg)
{
    LedgeOutbox *o = arg;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        double wait;
        const double now = ledge__now();
        Message *m = take_due(o, now, &wait);
        if (!m && o->stop)
            break;
        if (!m) {
            (void)ledge__wait_until(&o->more, &o->lock, now + wait);
            continue;
        }
        pthread_mutex_unlock(&o->lock);
        const bool ok = deliver(o, m);
        pthread_mutex_lock(&o->lock);
        settle(o, m, ok);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

void ledge__outbox_put(LedgeOutbox *o, LedgeChannel channel, LedgeText *body)
{
    Message *m = body->failed || !ledge__outbox_has(o, channel) ? NULL : calloc(1, sizeof *m);
    if (!m) {
        ledge__text_free(body);
        return;
    }
    *m = (Message){
        .channel = channel, .body = *body, .born = ledge__now(), .pause = o->options.retry};
    *body = (LedgeText){.allocator = body->allocator};
    m->due = m->born;
    pthread_mutex_lock(&o->lock);
    Message **old = &o->first;
    while (*old && (channel != LEDGE_CHANNEL_ALERTMANAGER || (*old)->channel != channel))
        old = &(*old)->next;
    if (*old) { /* it keeps its turn */
        const LedgeText newer = m->body;
        m->body = (*old)->body;
        (*old)->body = newer;
        (*old)->born = m->born;
    } else if (o->waiting < WAITING) {
        append(o, m);
        m = NULL;
    } else {
        o->counts[channel].dropped++;
    }
    pthread_cond_signal(&o->more);
    pthread_mutex_unlock(&o->lock);
    message_free(m);
}

/* ---- life ---- */

LedgeStatus ledge__outbox_new(const LedgeOutboxOptions *options, LedgeError *err, LedgeOutbox **out)
{
    LedgeOutbox *o = calloc(1, sizeof *o);
    if (!o || !ledge__wait_init(&o->lock, &o->more)) {
        free(o);
        return ledge__no_memory(err);
    }
    o->options = *options;
    o->options.patience = options->patience > 0 ? options->patience : 30;
    o->options.retry = options->retry > 0 ? options->retry : 1;
    if (pthread_create(&o->thread, NULL, work_off, o) != 0) {
        ledge__wait_end(&o->lock, &o->more);
        free(o);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "alerts", "the system gives no thread");
    }
    *out = o;
    return LEDGE_OK;
}

bool ledge__outbox_has(const LedgeOutbox *o, LedgeChannel channel)
{
    return o->options.to[channel] != NULL;
}

void ledge__outbox_counts(LedgeOutbox *o, LedgeChannel channel, LedgeOutboxCounts *out)
{
    pthread_mutex_lock(&o->lock);
    *out = o->counts[channel];
    pthread_mutex_unlock(&o->lock);
}

void ledge__outbox_free(LedgeOutbox *o, double patience)
{
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    o->stop = true;
    o->until = ledge__now() + patience;
    pthread_cond_signal(&o->more);
    pthread_mutex_unlock(&o->lock);
    pthread_join(o->thread, NULL);
    ledge__wait_end(&o->lock, &o->more);
    free(o);
}
