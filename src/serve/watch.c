/* The thread, its rounds, and what others may ask it. */
#include "serve/watch.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/timed_wait.h"
#include "monitor/alert_json.h"
#include "serve/drift_keep.h"
#include "serve/json_write.h"
#include "serve/work.h"

enum { MODELS = 1024, SUBJECT = 96, OVER = 64 };
#define ALIVE 4.0 /* minutes after which Alertmanager lets an alert end that is not said again */

struct LedgeWatch {
    LedgeWatchOptions options;
    LedgeModelTable *table;
    LedgeOutbox *outbox;
    char host[65];
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    pthread_t thread;
    bool stop, save_failed;
    uint64_t save_failures;
    LedgeResources *machine;
    LedgeAlerts *alerts;
    LedgeAlert over[OVER]; /* ended since Alertmanager was told last */
    size_t n_over;
    bool news; /* for Alertmanager */
    double next_minute;
};

/* ---- events ---- */

static double wall_offset(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - ledge__now();
}

static void put_json(LedgeWatch *w, LedgeChannel channel, json_t *o)
{
    LedgeText body = {0};
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text)
        ledge__text_add(&body, text);
    body.failed |= !text;
    free(text);
    ledge__outbox_put(w->outbox, channel, &body);
}

/* Called with the lock held, by the rules. */
static void on_event(void *arg, LedgeAlertEvent event, const LedgeAlert *a)
{
    LedgeWatch *w = arg;
    const bool over = event == LEDGE_ALERT_RESOLVED;
    w->news = true;
    if (w->options.event)
        w->options.event(w->options.event_arg, event, a);
    if (over && w->n_over < OVER)
        w->over[w->n_over++] = *a;
    if (w->options.log)
        fprintf(stderr, "ledge: alert: %s %s: %s%s\n", a->subject, a->name, a->text,
                over                        ? " (over)"
                : a->severity == LEDGE_HIGH ? " (high)"
                                            : " (warning)");
    for (int c = 0; c < LEDGE_CHANNEL_COUNT; c++)
        if (c != LEDGE_CHANNEL_ALERTMANAGER && ledge__outbox_has(w->outbox, (LedgeChannel)c))
            put_json(w, (LedgeChannel)c, ledge__alert_json(a, wall_offset(), w->host));
}

static void tell_alertmanager(LedgeWatch *w, double now)
{
    if (!ledge__outbox_has(w->outbox, LEDGE_CHANNEL_ALERTMANAGER))
        return;
    const double alive = ALIVE * w->options.minute, wall = wall_offset();
    json_t *all = json_array();
    const LedgeAlert *a;
    for (size_t i = 0; (a = ledge__alerts_at(w->alerts, i)) != NULL; i++)
        json_array_append_new(all, ledge__alert_for_alertmanager(a, now, wall, alive, w->host));
    for (size_t i = 0; i < w->n_over; i++)
        json_array_append_new(
            all, ledge__alert_for_alertmanager(&w->over[i], now, wall, alive, w->host));
    if (json_array_size(all) > 0)
        put_json(w, LEDGE_CHANNEL_ALERTMANAGER, json_incref(all));
    json_decref(all);
    w->n_over = 0;
    w->news = false;
}

/* ---- rounds ---- */

typedef struct Round {
    LedgeServed *model[MODELS];
    size_t n;
} Round;

static void hold(void *arg, const LedgeModelEntry *e)
{
    Round *r = arg;
    if (e->served && e->served->drift && r->n < MODELS)
        r->model[r->n++] = ledge__served_ref(e->served);
}

static void subject_of(const LedgeServed *m, char *to, size_t size)
{
    snprintf(to, size, "%s/%s", m->name, m->version);
}

static bool is_loaded(const Round *r, const char *subject)
{
    char other[SUBJECT];
    for (size_t i = 0; i < r->n; i++) {
        subject_of(r->model[i], other, sizeof other);
        if (strcmp(other, subject) == 0)
            return true;
    }
    return false;
}

static void end_unloaded(LedgeWatch *w, const Round *r, double now)
{
    const LedgeAlert *a;
    for (size_t i = 0; (a = ledge__alerts_at(w->alerts, i)) != NULL;) {
        char subject[SUBJECT];
        memcpy(subject, a->subject, sizeof subject);
        if (strcmp(subject, LEDGE_ALERT_MACHINE) == 0 || is_loaded(r, subject))
            i++;
        else
            ledge__alert_end(w->alerts, now, subject, on_event, w);
    }
}

static void judge_models(LedgeWatch *w, const Round *r, double now)
{
    for (size_t i = 0; i < r->n; i++) {
        LedgeServed *m = r->model[i];
        char subject[SUBJECT];
        pthread_mutex_lock(&m->lock);
        const LedgeDriftReport report = m->drift_report;
        pthread_mutex_unlock(&m->lock);
        subject_of(m, subject, sizeof subject);
        if (report.judged)
            ledge__alert_drift(w->alerts, now, subject, &report, on_event, w);
    }
    end_unloaded(w, r, now);
}

/* Without the watchman's lock: disks may be slow. */
static void save_states(LedgeWatch *w, const Round *r)
{
    LedgeError err = {0};
    bool failed = false;
    for (size_t i = 0; w->options.state && i < r->n; i++)
        if (ledge__drift_keep(r->model[i], w->options.state, &err) != LEDGE_OK) {
            failed = true;
            pthread_mutex_lock(&w->lock);
            w->save_failures++;
            pthread_mutex_unlock(&w->lock);
        }
    if (failed && !w->save_failed)
        fprintf(stderr, "ledge: the drift state cannot be saved: %s; serving goes on\n",
                err.message);
    w->save_failed = failed;
}

static void round_of(LedgeWatch *w, bool last)
{
    Round *r = calloc(1, sizeof *r);
    const double now = ledge__now();
    if (!r)
        return;
    ledge__model_table_visit(w->table, hold, r);
    pthread_mutex_lock(&w->lock);
    const bool minute = now >= w->next_minute;
    if (minute && !last) {
        LedgeResourceSample s;
        w->next_minute = now + w->options.minute;
        ledge__resources_sample(w->machine, now, &s);
        ledge__alert_resources(w->alerts, now, &s, &w->options.limits, on_event, w);
    }
    judge_models(w, r, now);
    if (minute || w->news)
        tell_alertmanager(w, now);
    pthread_mutex_unlock(&w->lock);
    if (minute || last)
        save_states(w, r);
    for (size_t i = 0; i < r->n; i++)
        ledge__served_unref(r->model[i]);
    free(r);
}

static void *stand_guard(void *arg)
{
    LedgeWatch *w = arg;
    bool stop = false;
    while (!stop) {
        round_of(w, false);
        const double until = ledge__now() + w->options.interval;
        pthread_mutex_lock(&w->lock);
        while (!w->stop && ledge__wait_until(&w->more, &w->lock, until)) {
        }
        stop = w->stop;
        pthread_mutex_unlock(&w->lock);
    }
    round_of(w, true);
    return NULL;
}

/* ---- life ---- */

static void release(LedgeWatch *w)
{
    ledge__resources_free(w->machine);
    ledge__alerts_free(w->alerts);
    ledge__wait_end(&w->lock, &w->more);
    free(w);
}

LedgeStatus ledge__watch_new(const LedgeWatchOptions *options, LedgeModelTable *table,
                             LedgeError *err, LedgeWatch **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    if (options->state && access(options->state, W_OK) != 0 && mkdir(options->state, 0750) != 0)
        return ledge__fail(err, LEDGE_ERROR_IO, options->state,
                           "the folder for drift states cannot be written: %s", strerror(errno));
    LedgeWatch *w = calloc(1, sizeof *w);
    if (!w || !ledge__wait_init(&w->lock, &w->more)) {
        free(w);
        return ledge__no_memory(err);
    }
    w->options = *options;
    w->options.interval = options->interval > 0 ? options->interval : 5;
    w->options.minute = options->minute > 0 ? options->minute : 60;
    w->table = table;
    if (gethostname(w->host, sizeof w->host - 1) != 0)
        strcpy(w->host, "localhost");
    LedgeStatus s = ledge__resources_new(options->state, "", a, err, &w->machine);
    if (s == LEDGE_OK)
        s = ledge__alerts_new(&options->alerts, a, err, &w->alerts);
    if (s == LEDGE_OK)
        s = ledge__outbox_new(&options->outbox, err, &w->outbox);
    if (s == LEDGE_OK && pthread_create(&w->thread, NULL, stand_guard, w) != 0)
        s = ledge__fail(err, LEDGE_ERROR_RUNTIME, "watch", "the system gives no thread");
    if (s != LEDGE_OK) {
        ledge__outbox_free(w->outbox, 0);
        release(w);
    } else {
        *out = w;
    }
    return s;
}

void ledge__watch_free(LedgeWatch *w, double patience)
{
    if (!w)
        return;
    ledge__wait_stop(&w->lock, &w->more, &w->stop, w->thread);
    ledge__outbox_free(w->outbox, patience);
    release(w);
}

/* ---- questions ---- */

size_t ledge__watch_alerts(LedgeWatch *w, LedgeAlert *to, size_t room)
{
    const LedgeAlert *a;
    size_t n = 0;
    pthread_mutex_lock(&w->lock);
    while (n < room && (a = ledge__alerts_at(w->alerts, n)) != NULL)
        to[n++] = *a;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void ledge__watch_counts(LedgeWatch *w, LedgeChannel channel, LedgeOutboxCounts *out)
{
    ledge__outbox_counts(w->outbox, channel, out);
}

uint64_t ledge__watch_save_failures(LedgeWatch *w)
{
    pthread_mutex_lock(&w->lock);
    const uint64_t n = w->save_failures;
    pthread_mutex_unlock(&w->lock);
    return n;
}

static void put_series(LedgeWatch *w, LedgeText *out, const char *name, size_t offset, size_t n)
{
    ledge__json_put_text(out, name);
    ledge__text_add(out, ":[");
    for (size_t i = n; i-- > 0;) {
        const LedgeResourceSample *s = ledge__resources_at(w->machine, i);
        ledge__json_put_double(out, *(const double *)(const void *)((const char *)s + offset));
        ledge__text_add(out, i ? "," : "]");
    }
    ledge__text_add(out, n ? "" : "]");
}

void ledge__watch_history(LedgeWatch *w, LedgeText *out)
{
    static const struct {
        const char *name;
        size_t offset;
    } all[] = {
#define ROW(field, name, unit) {name, offsetof(LedgeResourceSample, field)},
        LEDGE_RESOURCES_LIST(ROW)
#undef ROW
    };
    size_t n = 0;
    pthread_mutex_lock(&w->lock);
    while (ledge__resources_at(w->machine, n))
        n++;
    const LedgeResourceSample *newest = ledge__resources_at(w->machine, 0);
    ledge__text_printf(out, "{\"interval\":%g,\"age\":%.1f,\"series\":{", w->options.minute,
                       newest ? ledge__now() - newest->time : 0.0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ledge__text_add(out, i ? "," : "");
        put_series(w, out, all[i].name, all[i].offset, n);
    }
    ledge__text_add(out, "}}");
    pthread_mutex_unlock(&w->lock);
}
