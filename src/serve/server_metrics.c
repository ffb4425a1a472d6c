/* What the server tells of its models, of itself and of the machine: for Prometheus, and as JSON
 * for the page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/prom_text.h"
#include "serve/server_page.h"
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

static void let_go(Loaded *l)
{
    for (size_t i = 0; i < l->n; i++)
        ledge__served_unref(l->model[i]);
    free(l);
}

/* A moment's copy of a model's numbers. */
typedef struct Numbers {
    uint64_t answered, failed;
    LedgeSketch latency;
    LedgeDriftReport drift;
    bool watched;
} Numbers;

static void numbers_of(LedgeServed *m, Numbers *n)
{
    pthread_mutex_lock(&m->lock);
    *n = (Numbers){m->answered, m->failed, m->latency, m->drift_report, m->drift != NULL};
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
            const bool feature =
                f->measure == LEDGE_DRIFT_FEATURE_Z || f->measure == LEDGE_DRIFT_FEATURE_PSI;
            const LedgePromLabel labels[] = {
                {"model", l->model[i]->name},
                {"version", l->model[i]->version},
                {"measure", ledge__drift_measure_name(f->measure)},
                {feature ? "feature" : NULL,
                 feature ? ledge__drift_feature_name(l->model[i]->drift, f->feature) : NULL},
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

char *ledge__server_metrics(LedgeServer *s, size_t *size)
{
    LedgePromText t;
    Loaded *l = calloc(1, sizeof *l);
    Numbers *n = NULL;
    char *out = NULL;
    ledge__prom_init(&t, ledge__allocator_or_default(NULL));
    if (!l)
        return NULL;
    ledge__model_table_visit(s->table, hold, l);
    n = calloc(l->n + 1, sizeof *n);
    for (size_t i = 0; n && i < l->n; i++)
        numbers_of(l->model[i], &n[i]);
    if (n) {
        put_models(&t, l, n);
        put_findings(&t, l, n);
        put_server(&t, s);
        put_resources(&t, s);
        out = t.failed ? NULL : strdup(t.text);
        *size = t.size;
    }
    free(n);
    let_go(l);
    ledge__prom_free(&t);
    return out;
}

/* ---- the page's JSON ---- */

static void put_number(LedgeBytes *b, const char *key, double v)
{
    ledge__bytes_text(b, ",\"");
    ledge__bytes_text(b, key);
    ledge__bytes_text(b, "\":");
    ledge__bytes_json_double(b, v);
}

static void put_text(LedgeBytes *b, const char *key, const char *text)
{
    ledge__bytes_text(b, ",\"");
    ledge__bytes_text(b, key);
    ledge__bytes_text(b, "\":");
    ledge__bytes_json_string(b, text, strlen(text));
}

static void put_drift(LedgeBytes *b, const LedgeServed *m, const LedgeDriftReport *r)
{
    put_text(b, "drift", r->learning ? "learning" : ledge__severity_name(r->severity));
    put_number(b, "confidence", r->judged ? r->confidence_mean : NAN);
    ledge__bytes_text(b, ",\"findings\":[");
    for (uint32_t i = 0; i < r->n; i++) {
        const LedgeDriftFinding *f = &r->finding[i];
        const bool feature =
            f->measure == LEDGE_DRIFT_FEATURE_Z || f->measure == LEDGE_DRIFT_FEATURE_PSI;
        ledge__bytes_text(b, i ? ",{\"measure\":" : "{\"measure\":");
        const char *name = ledge__drift_measure_name(f->measure);
        ledge__bytes_json_string(b, name, strlen(name));
        put_text(b, "feature", feature ? ledge__drift_feature_name(m->drift, f->feature) : "");
        put_text(b, "severity", ledge__severity_name(f->severity));
        put_number(b, "value", f->value);
        put_number(b, "threshold", f->threshold);
        ledge__bytes_text(b, "}");
    }
    ledge__bytes_text(b, "]");
}

static void put_model(LedgeBytes *b, LedgeServed *m)
{
    Numbers n;
    numbers_of(m, &n);
    ledge__bytes_text(b, "{\"classifies\":");
    ledge__bytes_text(b, m->takes_pictures ? "true" : "false");
    put_text(b, "name", m->name);
    put_text(b, "version", m->version);
    put_text(b, "sha256", m->hash);
    put_text(b, "provider", "cpu");
    put_number(b, "answered", (double)n.answered);
    put_number(b, "failed", (double)n.failed);
    put_number(b, "p50", ledge__sketch_quantile(&n.latency, 0.5));
    put_number(b, "p90", ledge__sketch_quantile(&n.latency, 0.9));
    put_number(b, "p99", ledge__sketch_quantile(&n.latency, 0.99));
    if (n.watched)
        put_drift(b, m, &n.drift);
    ledge__bytes_text(b, "}");
}

char *ledge__server_status(LedgeServer *s, size_t *size)
{
    LedgeBytes b;
    LedgeResourceSample r;
    Loaded *l = calloc(1, sizeof *l);
    ledge__bytes_init(&b, ledge__allocator_or_default(NULL));
    if (!l)
        return NULL;
    ledge__model_table_visit(s->table, hold, l);
    sample(s, &r);
    ledge__bytes_text(&b, "{\"ledge\":");
    ledge__bytes_json_string(&b, ledge_version(), strlen(ledge_version()));
    put_number(&b, "uptime", ledge__now() - s->started);
    put_number(&b, "waiting", (double)ledge__workers_waiting(s->workers));
    put_number(&b, "workers", s->options.workers);
    ledge__bytes_text(&b, ",\"machine\":{\"time\":0");
#define ROW(field, name, unit) put_number(&b, name, r.field);
    LEDGE_RESOURCES_LIST(ROW)
#undef ROW
    ledge__bytes_text(&b, "},\"models\":[");
    for (size_t i = 0; i < l->n; i++) {
        ledge__bytes_text(&b, i ? "," : "");
        put_model(&b, l->model[i]);
    }
    ledge__bytes_text(&b, "]}");
    let_go(l);
    char *out = b.failed ? NULL : malloc(b.n);
    if (out)
        memcpy(out, b.p, b.n);
    *size = b.n;
    ledge__bytes_free(&b);
    return out;
}
