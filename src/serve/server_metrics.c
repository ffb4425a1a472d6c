/* What the server tells Prometheus of its models, of itself and of the machine. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "monitor/prom_text.h"
#include "serve/server_numbers.h"

static void put_models(LedgePromText *t, const LedgeLoaded *l, LedgeNumbers *n)
{
    enum { ANSWERED, FAILED, LATENCY, DRIFT, CONFIDENCE, INFO, FAMILIES };
    static const char *const family[FAMILIES][3] = {
        {"ledge_inferences_total", "counter", "Requests answered by the model."},
        {"ledge_inference_failures_total", "counter", "Requests that the model failed on."},
        {"ledge_inference_latency_seconds", "histogram", "Time in the model."},
        {"ledge_drift_severity", "gauge", "0 fine, 1 warning, 2 high; NaN while not judged."},
        {"ledge_confidence_mean_ratio", "gauge", "Mean confidence over the drift window."},
        {"ledge_model_info", "gauge", "The models that are served."}};
    for (int f = 0; f < FAMILIES; f++) {
        ledge__prom_family(t, family[f][0], family[f][1], family[f][2]);
        for (size_t i = 0; i < l->n; i++) {
            const LedgeServed *m = l->model[i];
            const LedgePromLabel labels[] = {{"model", m->name},
                                             {"version", m->version},
                                             {f == INFO ? "sha256" : NULL, m->hash},
                                             {f == INFO ? "provider" : NULL, "cpu"},
                                             {NULL, NULL}};
            const bool judged = n[i].watched && n[i].drift.judged;
            if (f == LATENCY)
                ledge__prom_histogram(t, labels, &n[i].latency);
            else
                ledge__prom_sample(t, labels,
                                   f == ANSWERED     ? (double)n[i].answered
                                   : f == FAILED     ? (double)n[i].failed
                                   : f == DRIFT      ? judged ? n[i].drift.severity : NAN
                                   : f == CONFIDENCE ? judged ? n[i].drift.confidence_mean : NAN
                                                     : 1);
        }
    }
}

static void put_findings(LedgePromText *t, const LedgeLoaded *l, const LedgeNumbers *n)
{
    ledge__prom_family(t, "ledge_drift_measure", "gauge",
                       "What drift monitoring measures over its window.");
    for (size_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; n[i].watched && k < n[i].drift.n; k++) {
            const LedgeDriftFinding *f = &n[i].drift.finding[k];
            const LedgePromLabel labels[] = {{"model", l->model[i]->name},
                                             {"version", l->model[i]->version},
                                             {"measure", ledge__drift_measure_name(f->measure)},
                                             {f->feature[0] ? "feature" : NULL, f->feature},
                                             {NULL, NULL}};
            ledge__prom_sample(t, labels, f->value);
        }
}

static void put_caches(LedgePromText *t, const LedgeLoaded *l, const LedgeNumbers *n)
{
    enum { HITS, MISSES, JOINED, EVICTED, EXPIRED, ENTRIES, BYTES, FAMILIES };
    static const char *const family[FAMILIES][3] = {
        {"ledge_cache_hits_total", "counter", "Requests answered from the cache."},
        {"ledge_cache_misses_total", "counter", "Requests that the model had to run for."},
        {"ledge_cache_joined_total", "counter", "Requests that shared another one's run."},
        {"ledge_cache_evicted_total", "counter", "Answers dropped to make room."},
        {"ledge_cache_expired_total", "counter", "Answers dropped for their age."},
        {"ledge_cache_entries", "gauge", "Answers that are kept."},
        {"ledge_cache_bytes", "gauge", "Memory of the answers that are kept."}};
    for (int f = 0; f < FAMILIES; f++) {
        ledge__prom_family(t, family[f][0], family[f][1], family[f][2]);
        for (size_t i = 0; i < l->n; i++) {
            const LedgeCacheStats *c = &n[i].cache;
            const LedgePromLabel labels[] = {
                {"model", l->model[i]->name}, {"version", l->model[i]->version}, {NULL, NULL}};
            const double value[FAMILIES] = {
                (double)c->hits,    (double)c->misses,  (double)c->joined, (double)c->evicted,
                (double)c->expired, (double)c->entries, (double)c->bytes};
            if (n[i].cached)
                ledge__prom_sample(t, labels, value[f]);
        }
    }
}

static void put_rungs(LedgePromText *t, const LedgeLoaded *l, bool answers)
{
    for (size_t i = 0; i < l->n_ladders; i++) {
        const LedgeLadderOptions *o = &l->ladder[i]->options;
        LedgeAdaptiveStats s;
        ledge_adaptive_stats(l->ladder[i]->adaptive, &s);
        for (uint32_t r = 0; r < s.rungs; r++) {
            const LedgePromLabel labels[] = {
                {"ladder", o->name}, {"model", o->model[r]}, {NULL, NULL}};
            ledge__prom_sample(t, labels, (double)(answers ? s.rung[r].answers : s.rung[r].runs));
        }
    }
}

static void put_ladders(LedgePromText *t, const LedgeLoaded *l)
{
    ledge__prom_family(t, "ledge_ladder_runs_total", "counter", "Runs of a ladder's models.");
    put_rungs(t, l, false);
    ledge__prom_family(t, "ledge_ladder_answers_total", "counter",
                       "Answers by the model of a ladder that gave them.");
    put_rungs(t, l, true);
    ledge__prom_family(t, "ledge_ladder_open_rungs", "gauge",
                       "Models of a ladder that may run; fewer while the budget is at risk.");
    for (size_t i = 0; i < l->n_ladders; i++) {
        LedgeAdaptiveStats s;
        ledge_adaptive_stats(l->ladder[i]->adaptive, &s);
        ledge__prom_sample(t,
                           (LedgePromLabel[]){{"ladder", l->ladder[i]->options.name}, {NULL, NULL}},
                           s.highest + 1);
    }
}

/* Files in a folder of /proc/self, such as open descriptors. */
static double count_of(const char *folder)
{
    DIR *d = opendir(folder);
    double n = -2; /* "." and ".." */
    if (!d)
        return NAN;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static double cpu_seconds(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0
               ? (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6
               : NAN;
}

static void put_process(LedgePromText *t, const LedgeServer *s)
{
    struct rlimit files;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const double most = getrlimit(RLIMIT_NOFILE, &files) == 0 ? (double)files.rlim_cur : NAN;
    const struct {
        const char *name, *type, *help;
        double value;
    } all[] = {
        {"ledge_process_cpu_seconds_total", "counter", "Processor time that the server has used.",
         cpu_seconds()},
        {"ledge_process_open_fds", "gauge", "Open files and connections.",
         count_of("/proc/self/fd") - 1}, /* that of the folder itself */
        {"ledge_process_max_fds", "gauge", "Most files and connections that may be open.", most},
        {"ledge_process_threads", "gauge", "Threads of the server.", count_of("/proc/self/task")},
        {"ledge_process_start_time_seconds", "gauge", "When the server began, since 1970.",
         (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - (ledge__now() - s->started)}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ledge__prom_family(t, all[i].name, all[i].type, all[i].help);
        ledge__prom_sample(t, NULL, all[i].value);
    }
}

static void put_server(LedgePromText *t, LedgeServer *s)
{
    ledge__prom_family(t, "ledge_http_responses_total", "counter", "Answers by status code.");
    for (int code = 0; code < LEDGE_CODES; code++) {
        char text[8];
        const uint64_t n = atomic_load(&s->codes[code]);
        snprintf(text, sizeof text, "%d", code);
        if (n)
            ledge__prom_sample(t, (LedgePromLabel[]){{"code", text}, {NULL, NULL}}, (double)n);
    }
    ledge__prom_family(t, "ledge_queue_requests", "gauge", "Requests that wait for a worker.");
    ledge__prom_sample(t, NULL, (double)ledge__workers_waiting(s->workers));
    ledge__prom_family(t, "ledge_uptime_seconds", "gauge", "Since the server began.");
    ledge__prom_sample(t, NULL, ledge__now() - s->started);
    ledge__prom_family(t, "ledge_build_info", "gauge", "The version of ledge.");
    ledge__prom_sample(t, (LedgePromLabel[]){{"version", ledge_version()}, {NULL, NULL}}, 1);
}

static void put_alerts(LedgePromText *t, LedgeServer *s)
{
    LedgeAlert *held = calloc(LEDGE_ALERTS_KEPT, sizeof *held);
    const size_t n = held ? ledge__watch_alerts(s->watch, held, LEDGE_ALERTS_KEPT) : 0;
    ledge__prom_family(t, "ledge_alert_severity", "gauge", "Alerts that hold: 1 warning, 2 high.");
    for (size_t i = 0; i < n; i++)
        ledge__prom_sample(
            t,
            (LedgePromLabel[]){{"alert", held[i].name}, {"subject", held[i].subject}, {NULL, NULL}},
            held[i].severity);
    free(held);
    ledge__prom_family(t, "ledge_alert_deliveries_total", "counter",
                       "Alert messages by channel and how they fared.");
    for (int c = 0; c < LEDGE_CHANNEL_COUNT; c++) {
        LedgeOutboxCounts counts;
        ledge__watch_counts(s->watch, (LedgeChannel)c, &counts);
        const char *name = ledge__channel_name((LedgeChannel)c);
        const struct {
            const char *result;
            uint64_t n;
        } all[] = {{"delivered", counts.delivered},
                   {"failed", counts.failed},
                   {"dropped", counts.dropped}};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            ledge__prom_sample(
                t, (LedgePromLabel[]){{"channel", name}, {"result", all[i].result}, {NULL, NULL}},
                (double)all[i].n);
    }
    ledge__prom_family(t, "ledge_state_save_failures_total", "counter",
                       "Drift states that could not be saved.");
    ledge__prom_sample(t, NULL, (double)ledge__watch_save_failures(s->watch));
}

static void put_resources(LedgePromText *t, LedgeServer *s)
{
    LedgeResourceSample r;
    ledge__server_sample(s, &r);
    const struct {
        const char *name, *unit;
        double value;
    } all[] = {
#define ROW(field, name, unit) {name, unit, r.field},
        LEDGE_RESOURCES_LIST(ROW)
#undef ROW
    };
    static char names[sizeof all / sizeof *all][64]; /* the same text whoever writes it */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(names[i], sizeof names[i], "ledge_machine_%s%s%s", all[i].name,
                 all[i].unit[0] ? "_" : "", all[i].unit);
        ledge__prom_family(t, names[i], "gauge", "Of the machine or process that serves.");
        ledge__prom_sample(t, NULL, all[i].value);
    }
}

void ledge__server_metrics(LedgeServer *s, LedgeText *out)
{
    LedgePromText t = {0};
    LedgeLoaded *l = ledge__loaded(s);
    LedgeNumbers *n = l ? calloc(l->n + 1, sizeof *n) : NULL;
    t.text.failed = !n;
    if (n) {
        for (size_t i = 0; i < l->n; i++)
            ledge__numbers_of(l->model[i], &n[i]);
        put_models(&t, l, n);
        put_findings(&t, l, n);
        put_caches(&t, l, n);
        ledge__put_guests(&t, l);
        put_ladders(&t, l);
        put_server(&t, s);
        put_process(&t, s);
        put_alerts(&t, s);
        put_resources(&t, s);
    }
    free(n);
    ledge__loaded_free(l);
    *out = t.text;
}
