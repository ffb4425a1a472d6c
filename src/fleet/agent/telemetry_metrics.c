/* Metrics per model, see telemetry_metrics.h and telemetry_queue.h. */
#include "fleet/agent/telemetry_metrics.h"

#include <string.h>

#include "fleet/agent/spool.h"

enum { TURN_MS = 300000, KEY_SIZE = 32 };

static LedgeMetricsModel *find(LedgeMetrics *m, const char *model, const char *version)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->models[i].m.model, model) == 0 &&
            strcmp(m->models[i].m.version, version) == 0)
            return &m->models[i];
    if (m->n == LEDGE_METRICS_MODELS) { /* versions come and go: the oldest does */
        memmove(&m->models[0], &m->models[1], (m->n - 1) * sizeof *m->models);
        m->n--;
    }
    LedgeMetricsModel *one = &m->models[m->n++];
    memset(one, 0, sizeof *one);
    snprintf(one->m.model, sizeof one->m.model, "%s", model);
    snprintf(one->m.version, sizeof one->m.version, "%s", version);
    return one;
}

void ledge__metrics_add(LedgeMetrics *m, const LedgeTelemetryRecord *r)
{
    LedgeMetricsModel *one = find(m, r->model, r->version);
    one->m.count++;
    one->m.errors += r->error;
    one->m.drift = r->drift;
    if (!r->error)
        ledge__sketch_add(&one->now, (double)r->latency_us * 1e-6);
    m->last = r->timestamp; /* of the newest, whatever the clock did in between */
}

void ledge__metrics_shadow(LedgeMetrics *m, const char *model, const char *version, bool agrees,
                           int64_t latency_us)
{
    LedgeMetricsModel *one = find(m, model, version);
    one->m.shadow_count++;
    one->m.shadow_agree += agrees;
    ledge__sketch_add(&one->now, (double)latency_us * 1e-6);
}

static int64_t us(double seconds)
{
    return (int64_t)(seconds * 1e6 + 0.5);
}

static void tell(const LedgeMetricsModel *one, LedgeModelMetrics *out)
{
    LedgeSketch both = one->before;
    ledge__sketch_merge(&both, &one->now);
    *out = one->m;
    out->avg_us = us(ledge__sketch_mean(&both));
    out->p50_us = us(ledge__sketch_quantile(&both, 0.50));
    out->p90_us = us(ledge__sketch_quantile(&both, 0.90));
    out->p95_us = us(ledge__sketch_quantile(&both, 0.95));
    out->p99_us = us(ledge__sketch_quantile(&both, 0.99));
    out->max_us = both.count ? us(both.max) : 0;
}

void ledge__metrics_tell(LedgeMetrics *m, int64_t now_ms, LedgeProducerMetrics *out)
{
    *out = (LedgeProducerMetrics){.last = m->last, .n_models = m->n};
    for (size_t i = 0; i < m->n; i++)
        tell(&m->models[i], &out->models[i]);
    if (now_ms - m->turned_ms < TURN_MS)
        return;
    m->turned_ms = now_ms;
    for (size_t i = 0; i < m->n; i++) {
        m->models[i].before = m->models[i].now;
        ledge__sketch_clear(&m->models[i].now);
    }
}

void ledge__metrics_start(LedgeMetrics *m, const LedgeProducerMetrics *from)
{
    m->last = from->last;
    for (size_t i = 0; i < from->n_models; i++) {
        LedgeMetricsModel *one = find(m, from->models[i].model, from->models[i].version);
        one->m.count = from->models[i].count;
        one->m.errors = from->models[i].errors;
        one->m.shadow_count = from->models[i].shadow_count;
        one->m.shadow_agree = from->models[i].shadow_agree;
        one->m.drift = from->models[i].drift;
    }
}

/* ---- as text ---- */

#define COUNTS(X)                                                                                  \
    X(count)                                                                                       \
    X(errors)                                                                                      \
    X(shadow_count) X(shadow_agree) X(avg_us) X(p50_us) X(p90_us) X(p95_us) X(p99_us) X(max_us)

void ledge__metrics_write(const LedgeProducerMetrics *m, FILE *to)
{
    putc('{', to);
    ledge__fleet_put_int(to, true, "last", m->last);
    ledge__fleet_put_int(to, false, "next", m->next);
    ledge__fleet_put_int(to, false, "next_alert", m->next_alert);
    ledge__fleet_put_int(to, false, "bytes", m->bytes);
    ledge__fleet_put_int(to, false, "oldest", m->dropped.oldest);
    ledge__fleet_put_int(to, false, "rejected", m->dropped.rejected);
    ledge__fleet_put_int(to, false, "sampled", m->dropped.sampled);
    fputs(",\"models\":[", to);
    for (size_t i = 0; i < m->n_models; i++) {
        const LedgeModelMetrics *one = &m->models[i];
        fputs(i ? ",{" : "{", to);
        ledge__fleet_put(to, true, "model", one->model);
        ledge__fleet_put(to, false, "version", one->version);
        ledge__fleet_put(to, false, "drift", ledge__fleet_drift_name(one->drift));
#define PUT(field) ledge__fleet_put_int(to, false, #field, one->field);
        COUNTS(PUT)
#undef PUT
        putc('}', to);
    }
    fputs("]}\n", to);
}

static void read_model(LedgeJson *j, LedgeModelMetrics *one)
{
    char key[KEY_SIZE], word[LEDGE_FLEET_WORD];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (strcmp(key, "model") == 0)
            ledge__fleet_read(j, one->model, sizeof one->model, ledge__fleet_is_name, "a name");
        else if (strcmp(key, "version") == 0)
            ledge__fleet_read(j, one->version, sizeof one->version, ledge__fleet_is_name, "a name");
        else if (strcmp(key, "drift") == 0) {
            ledge__json_string(j, word, sizeof word);
            if (!ledge__fleet_drift_of(word, &one->drift))
                ledge__json_fault(j, "an unknown drift verdict");
        }
#define GET(field)                                                                                 \
    else if (strcmp(key, #field) == 0) one->field = ledge__fleet_count(j, 0, "a count below zero");
        COUNTS(GET)
#undef GET
        else ledge__json_skip(j);
    }
    if (!j->bad && (!one->model[0] || !one->version[0]))
        ledge__json_fault(j, "a model without name or version");
}

static int64_t *place(LedgeProducerMetrics *m, const char *key)
{
    return strcmp(key, "last") == 0         ? &m->last
           : strcmp(key, "next") == 0       ? &m->next
           : strcmp(key, "next_alert") == 0 ? &m->next_alert
           : strcmp(key, "bytes") == 0      ? &m->bytes
           : strcmp(key, "oldest") == 0     ? &m->dropped.oldest
           : strcmp(key, "rejected") == 0   ? &m->dropped.rejected
           : strcmp(key, "sampled") == 0    ? &m->dropped.sampled
                                            : NULL;
}

LedgeStatus ledge__metrics_read(const char *text, size_t size, LedgeError *err,
                                LedgeProducerMetrics *out)
{
    LedgeJson json, *j = &json;
    char key[KEY_SIZE];
    *out = (LedgeProducerMetrics){0};
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        int64_t *count = place(out, key);
        if (count) {
            *count = ledge__json_integer(j);
        } else if (strcmp(key, "models") == 0) {
            ledge__json_array(j);
            while (ledge__json_element(j)) {
                if (out->n_models == LEDGE_METRICS_MODELS)
                    ledge__json_fault(j, "more than 16 models");
                else
                    read_model(j, &out->models[out->n_models++]);
            }
        } else {
            ledge__json_skip(j);
        }
    }
    ledge__json_finish(j);
    return ledge__json_status(j, "metrics", err);
}

int64_t ledge__metrics_waiting(const char *spool, int64_t next)
{
    const int64_t n = next - 1 - (int64_t)ledge__spool_cursor(spool).record;
    return n > 0 ? n : 0;
}
