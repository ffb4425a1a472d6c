/* What the server tells Prometheus of guests (served_guest.h). */
#include <stdlib.h>

#include "serve/server_numbers.h"

static void put_sample(LedgePromText *t, const LedgeServed *m, const char *label, const char *value,
                       double v)
{
    const LedgePromLabel labels[] = {
        {"model", m->name}, {"version", m->version}, {label, value}, {NULL, NULL}};
    ledge__prom_sample(t, labels, v);
}

static void put_times(LedgePromText *t, const LedgeLoaded *l, const LedgeGuestStats *stats)
{
    ledge__prom_family(t, "ledge_guest_latency_seconds", "histogram",
                       "Time of a request in a model's guest.");
    for (size_t i = 0; i < l->n; i++)
        for (int s = 0; s < LEDGE_GUEST_STAGES; s++) {
            const LedgeServed *m = l->model[i];
            const LedgePromLabel labels[] = {{"model", m->name},
                                             {"version", m->version},
                                             {"stage", ledge__guest_stage_name((LedgeGuestStage)s)},
                                             {NULL, NULL}};
            if (ledge__served_guest_has(m->guest, (LedgeGuestStage)s))
                ledge__prom_histogram(t, labels, &stats[i].time[s]);
        }
}

static void put_failures(LedgePromText *t, const LedgeLoaded *l, const LedgeGuestStats *stats)
{
    ledge__prom_family(t, "ledge_guest_failures_total", "counter",
                       "Calls of a model's guest that failed, by cause.");
    for (size_t i = 0; i < l->n; i++)
        for (int f = 0; l->model[i]->guest && f < LEDGE_GUEST_FAILURE_COUNT; f++)
            put_sample(t, l->model[i], "cause", ledge__guest_failure_name((LedgeGuestFailure)f),
                       (double)stats[i].failed[f]);
}

void ledge__put_guests(LedgePromText *t, const LedgeLoaded *l)
{
    LedgeGuestStats *stats = calloc(l->n + 1, sizeof *stats);
    bool some = false;
    for (size_t i = 0; stats && i < l->n; i++)
        if (l->model[i]->guest) {
            ledge__served_guest_stats(l->model[i]->guest, &stats[i]);
            some = true;
        }
    if (some) {
        put_times(t, l, stats);
        put_failures(t, l, stats);
        ledge__prom_family(t, "ledge_guest_instances_total", "counter",
                           "Instances of a guest that were started.");
        for (size_t i = 0; i < l->n; i++)
            if (l->model[i]->guest)
                put_sample(t, l->model[i], NULL, NULL, (double)stats[i].instances);
        ledge__prom_family(t, "ledge_guest_info", "gauge", "The guests that models have.");
        for (size_t i = 0; i < l->n; i++)
            if (l->model[i]->guest)
                put_sample(t, l->model[i], "sha256", ledge__served_guest_hash(l->model[i]->guest),
                           1);
    }
    t->text.failed |= !stats;
    free(stats);
}
