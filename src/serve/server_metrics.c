/* What the server tells of its models, of itself and of the machine: for Prometheus, and as JSON
 * for the page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/prom_text.h"
#include "serve/server_state.h"

enum { MODELS = 1024 };

/* All loaded models, held, so that no lock is kept while text is written. */
typedef struct Loaded {
    LedgeServed *model[MODELS];
    size_t n;
} Loaded;

static void hold(void *arg, const LedgeModelEntry *e)
{
    Loaded *l = arg;
    if (e->served && l->n < MODELS)
        l->model[l->n++] = ledge__served_ref(e->served);
}

static Loaded *loaded(LedgeServer *s)
{
    Loaded *l = calloc(1, sizeof *l);
    if (l)
        ledge__model_table_visit(s->table, hold, l);
    return l;
}

static void let_go(Loaded *l)
{
    for (size_t i = 0; l && i < l->n; i++)
        ledge__served_unref(l->model[i]);
    free(l);
}

/* A moment's copy of a model's numbers. */
typedef struct Numbers {
    uint64_t answered, failed;
    LedgeSketch latency;
    LedgeDriftReport drift;
    LedgeDriftShares shares;
    bool watched;
} Numbers;

static void numbers_of(LedgeServed *m, Numbers *n)
{
    pthread_mutex_lock(&m->lock);
    *n = (Numbers){.answered = m->answered,
                   .failed = m->failed,
                   .latency = m->latency,
                   .drift = m->drift_report,
                   .watched = m->drift != NULL};
    if (n->watched)
        ledge__drift_shares(m->drift, &n->shares);
    pthread_mutex_unlock(&m->lock);
}

static void sample(LedgeServer *s, LedgeResourceSample *out)
{
    pthread_mutex_lock(&s->resources_lock);
    const LedgeResourceSample *last = ledge__resources_at(s->resources, 0);
    const double now = ledge__now();
    if (!last || now - last->time >= 1) /* however often it is asked for */
        ledge__resources_sample(s->resources, now, out);
    else
        *out = *last;
    pthread_mutex_unlock(&s->resources_lock);
}

/* ---- Prometheus ---- */

static void put_models(LedgePromText *t, const Loaded *l, Numbers *n)
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

static void put_findings(LedgePromText *t, const Loaded *l, const Numbers *n)
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
    sample(s, &r);
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
    Loaded *l = loaded(s);
    Numbers *n = l ? calloc(l->n + 1, sizeof *n) : NULL;
    t.text.failed = !n;
    if (n) {
        for (size_t i = 0; i < l->n; i++)
            numbers_of(l->model[i], &n[i]);
        put_models(&t, l, n);
        put_findings(&t, l, n);
        put_server(&t, s);
        put_alerts(&t, s);
        put_resources(&t, s);
    }
    free(n);
    let_go(l);
    *out = t.text;
}

/* ---- the page's JSON ---- */

static void put_number(LedgeText *b, const char *key, double v)
{
    ledge__text_add(b, ",\"");
    ledge__text_add(b, key);
    ledge__text_add(b, "\":");
    ledge__json_put_double(b, v);
}

static void put_text(LedgeText *b, const char *key, const char *text)
{
    ledge__text_add(b, ",\"");
    ledge__text_add(b, key);
    ledge__text_add(b, "\":");
    ledge__json_put_text(b, text);
}

static void put_shares(LedgeText *b, const char *key, const double *share, uint32_t n)
{
    ledge__text_printf(b, ",\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++)
        ledge__text_printf(b, i ? ",%.4f" : "%.4f", share[i]);
    ledge__text_add(b, "]");
}

/* "spread": how confidences and groups of classes are spread in the window and in the baseline. */
static void put_spread(LedgeText *b, const LedgeDriftShares *s)
{
    ledge__text_add(b, ",\"spread\":{\"edges\":[");
    for (uint32_t i = 0; i + 1 < s->confidences; i++)
        ledge__text_printf(b, i ? ",%.4f" : "%.4f", (double)s->edge[i]);
    ledge__text_add(b, "]");
    put_shares(b, "confidence", s->confidence, s->confidences);
    put_shares(b, "confidence_before", s->confidence_before, s->confidences);
    put_shares(b, "classes", s->group, s->groups);
    put_shares(b, "classes_before", s->group_before, s->groups);
    ledge__text_add(b, "}");
}

static void put_drift(LedgeText *b, const LedgeDriftReport *r)
{
    put_text(b, "drift", r->learning ? "learning" : ledge__severity_name(r->severity));
    put_number(b, "confidence", r->judged ? r->confidence_mean : NAN);
    ledge__text_add(b, ",\"findings\":[");
    for (uint32_t i = 0; i < r->n; i++) {
        const LedgeDriftFinding *f = &r->finding[i];
        ledge__text_add(b, i ? ",{\"measure\":" : "{\"measure\":");
        ledge__json_put_text(b, ledge__drift_measure_name(f->measure));
        put_text(b, "feature", f->feature);
        put_text(b, "severity", ledge__severity_name(f->severity));
        put_number(b, "value", f->value);
        put_number(b, "threshold", f->threshold);
        ledge__text_add(b, "}");
    }
    ledge__text_add(b, "]");
}

static void put_model(LedgeText *b, LedgeServed *m)
{
    Numbers n;
    numbers_of(m, &n);
    ledge__text_add(b, "{\"classifies\":");
    ledge__text_add(b, m->takes_pictures ? "true" : "false");
    put_text(b, "name", m->name);
    put_text(b, "version", m->version);
    put_text(b, "sha256", m->hash);
    put_text(b, "provider", "cpu");
    put_number(b, "answered", (double)n.answered);
    put_number(b, "failed", (double)n.failed);
    put_number(b, "p50", ledge__sketch_quantile(&n.latency, 0.5));
    put_number(b, "p90", ledge__sketch_quantile(&n.latency, 0.9));
    put_number(b, "p99", ledge__sketch_quantile(&n.latency, 0.99));
    if (n.watched) {
        put_drift(b, &n.drift);
        put_spread(b, &n.shares);
    }
    ledge__text_add(b, "}");
}

static void put_held(LedgeText *b, LedgeServer *s)
{
    LedgeAlert *held = calloc(LEDGE_ALERTS_KEPT, sizeof *held);
    const size_t n = held ? ledge__watch_alerts(s->watch, held, LEDGE_ALERTS_KEPT) : 0;
    const double now = ledge__now();
    b->failed |= !held;
    for (size_t i = 0; i < n; i++) {
        ledge__text_add(b, i ? ",{\"name\":" : "{\"name\":");
        ledge__json_put_text(b, held[i].name);
        put_text(b, "subject", held[i].subject);
        put_text(b, "severity", ledge__severity_name(held[i].severity));
        put_text(b, "text", held[i].text);
        put_number(b, "age", now - held[i].since);
        ledge__text_add(b, "}");
    }
    free(held);
}

void ledge__server_status(LedgeServer *s, LedgeText *b)
{
    LedgeResourceSample r;
    Loaded *l = loaded(s);
    *b = (LedgeText){.failed = !l};
    sample(s, &r);
    ledge__text_add(b, "{\"ledge\":");
    ledge__json_put_text(b, ledge_version());
    put_number(b, "uptime", ledge__now() - s->started);
    put_number(b, "waiting", (double)ledge__workers_waiting(s->workers));
    put_number(b, "workers", s->options.workers);
    ledge__text_add(b, ",\"machine\":{\"time\":0");
#define ROW(field, name, unit) put_number(b, name, r.field);
    LEDGE_RESOURCES_LIST(ROW)
#undef ROW
    ledge__text_add(b, "},\"alerts\":[");
    put_held(b, s);
    ledge__text_add(b, "],\"models\":[");
    for (size_t i = 0; l && i < l->n; i++) {
        ledge__text_add(b, i ? "," : "");
        put_model(b, l->model[i]);
    }
    ledge__text_add(b, "]}");
    let_go(l);
}
