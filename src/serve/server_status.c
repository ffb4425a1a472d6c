/* What the page shows, as JSON. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/server_numbers.h"

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

static void put_cache(LedgeText *b, const LedgeCacheStats *c)
{
    const uint64_t asked = c->hits + c->joined + c->misses;
    ledge__text_add(b, ",\"cache\":{\"hit_ratio\":");
    ledge__json_put_double(b, asked ? (double)(c->hits + c->joined) / (double)asked : NAN);
    put_number(b, "hits", (double)c->hits);
    put_number(b, "joined", (double)c->joined);
    put_number(b, "misses", (double)c->misses);
    put_number(b, "evicted", (double)c->evicted);
    put_number(b, "expired", (double)c->expired);
    put_number(b, "entries", (double)c->entries);
    put_number(b, "bytes", (double)c->bytes);
    ledge__text_add(b, "}");
}

static void put_ladder(LedgeText *b, const LedgeLadder *l)
{
    LedgeAdaptiveStats s;
    ledge_adaptive_stats(l->adaptive, &s);
    ledge__text_add(b, "{\"name\":");
    ledge__json_put_text(b, l->options.name);
    put_number(b, "threshold", l->options.adaptive.threshold);
    put_number(b, "budget", l->options.adaptive.budget);
    put_number(b, "open", s.highest + 1);
    put_number(b, "first", s.first);
    ledge__text_add(b, ",\"rungs\":[");
    for (uint32_t i = 0; i < s.rungs; i++) {
        ledge__text_add(b, i ? ",{\"model\":" : "{\"model\":");
        ledge__json_put_text(b, l->options.model[i]);
        put_number(b, "runs", (double)s.rung[i].runs);
        put_number(b, "answers", (double)s.rung[i].answers);
        put_number(b, "seconds", s.rung[i].seconds);
        put_number(b, "sure", s.rung[i].sure);
        ledge__text_add(b, "}");
    }
    ledge__text_add(b, "]}");
}

static void put_model(LedgeText *b, LedgeServed *m)
{
    LedgeNumbers n;
    ledge__numbers_of(m, &n);
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
    if (n.cached)
        put_cache(b, &n.cache);
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
    LedgeLoaded *l = ledge__loaded(s);
    *b = (LedgeText){.failed = !l};
    ledge__server_sample(s, &r);
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
    ledge__text_add(b, "],\"ladders\":[");
    for (size_t i = 0; l && i < l->n_ladders; i++) {
        ledge__text_add(b, i ? "," : "");
        put_ladder(b, l->ladder[i]);
    }
    ledge__text_add(b, "]}");
    ledge__loaded_free(l);
}
