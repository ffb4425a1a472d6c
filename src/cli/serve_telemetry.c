/* Records of what is answered, see serve_telemetry.h. */
#include "cli/serve_telemetry.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

/* The inputs leave no more than a checksum: enough to tell equal ones, nothing to look at. */
static void hash_inputs(const LedgeServedSeen *s, char out[LEDGE_FLEET_SHA256])
{
    uint64_t h = 0;
    for (size_t i = 0; s->inputs && i < s->n_inputs; i++) {
        const size_t n = ledge_tensor_bytes(&s->inputs[i]);
        if (s->inputs[i].type != LEDGE_STRING && s->inputs[i].data && n != SIZE_MAX)
            h = ledge__hash64(s->inputs[i].data, n, h);
    }
    if (h)
        snprintf(out, LEDGE_FLEET_SHA256, "%016" PRIx64, h);
}

static void put(void *arg, const LedgeServedSeen *s)
{
    const CliServeTelemetry *t = arg;
    LedgeTelemetryRecord r = {.class_id = s->class_id, .confidence_ppm = -1, .error = s->failed};
    snprintf(r.model, sizeof r.model, "%s", s->name);
    snprintf(r.version, sizeof r.version, "%s", s->release);
    if (!ledge__fleet_is_name(r.model) || !ledge__fleet_is_name(r.version))
        return; /* the fleet knows no such names */
    if (isfinite(s->latency))
        r.latency_us = (int64_t)(s->latency * 1e6);
    if (isfinite(s->confidence))
        r.confidence_ppm = (int32_t)(fmin(fmax(s->confidence, 0), 1) * 1e6);
    (void)!ledge__fleet_drift_of(s->drift, &r.drift);
    hash_inputs(s, r.request_hash);
    ledge__telemetry_put(t->queue, &r);
    if (t->shadow && !s->failed)
        ledge__shadow_show(t->shadow, s->name, s->inputs, s->n_inputs, s->class_id);
}

void cli_serve_alert(void *arg, LedgeAlertEvent event, const LedgeAlert *a)
{
    const CliServeTelemetry *t = arg;
    const bool over = event == LEDGE_ALERT_RESOLVED;
    const bool is_machine = strcmp(a->subject, LEDGE_ALERT_MACHINE) == 0;
    LedgeFleetNote n = {0};
    /* "drift_feature_psi(mean)": the text says of which feature it is. */
    snprintf(n.kind, sizeof n.kind, "%.*s", (int)strcspn(a->name, "("), a->name);
    snprintf(n.severity, sizeof n.severity, "%s",
             over ? "info" : ledge__severity_name(a->severity));
    /* The number that the server gave is no version of the fleet's; the poll says which one runs.
     */
    if (!is_machine)
        snprintf(n.model, sizeof n.model, "%.*s", (int)strcspn(a->subject, "/"), a->subject);
    if (!ledge__fleet_is_name(n.kind) || (n.model[0] && !ledge__fleet_is_name(n.model)))
        return;
    snprintf(n.message, sizeof n.message, "%s%s", a->text, over ? " (over)" : "");
    ledge__telemetry_alert(t->queue, &n);
}

int cli_serve_telemetry(const LedgeTelemetryOptions *queue, const char *shadow,
                        LedgeServedOptions *how, CliServeTelemetry *t)
{
    LedgeError err = {0};
    if (ledge__telemetry_open(queue, &err, &t->queue))
        return cli_fail(queue->folder, &err);
    if (shadow && ledge__shadow_open(shadow, t->queue, &err, &t->shadow))
        return cli_fail(shadow, &err);
    how->seen = put;
    how->seen_arg = t;
    return CLI_GO;
}

void cli_serve_telemetry_end(CliServeTelemetry *t)
{
    ledge__shadow_close(t->shadow);
    ledge__telemetry_close(t->queue);
}
