/* Records of what is answered, see serve_telemetry.h. */
#include "cli/serve_telemetry.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* In a record the inputs leave no more than a checksum: enough to tell equal ones, nothing to look
 * at. */
static void hash_inputs(const LedgeServedSeen *s, char out[LEDGE_FLEET_SHA256])
{
    uint64_t h = 0;
    for (size_t i = 0; s->inputs && i < s->model->n_inputs; i++) {
        const size_t n = ledge_tensor_bytes(&s->inputs[i]);
        if (s->inputs[i].type != LEDGE_STRING && s->inputs[i].data && n != SIZE_MAX)
            h = ledge__hash64(s->inputs[i].data, n, h);
    }
    if (h)
        snprintf(out, LEDGE_FLEET_SHA256, "%016" PRIx64, h);
}

/* Inputs as the model's file has them: bytes of pictures become the floats that they stand for, in
 * *floats, for the caller to free. false: no memory. */
static bool put_inputs(const LedgeServedSeen *s, LedgeFieldContent *c, LedgeTensor *floats)
{
    const LedgeServed *m = s->model;
    for (size_t i = 0; s->inputs && i < m->n_inputs && m->n_inputs <= LEDGE_FIELD_SAMPLE_INPUTS;
         i++) {
        c->inputs[c->n_inputs] = s->inputs[i];
        snprintf(c->names[c->n_inputs++], LEDGE_FIELD_SAMPLE_NAME, "%s",
                 ledge_model_input(m->model, i)->name);
    }
    if (!m->pixels || !c->n_inputs)
        return true;
    if (ledge__preprocess_floats(&m->pre, NULL, &s->inputs[0], NULL, floats))
        return false;
    c->inputs[0] = *floats;
    return true;
}

/* What the sample says of the answer is what the record says. */
static void offer(LedgeSampling *to, const LedgeServedSeen *s, const LedgeTelemetryRecord *r)
{
    const LedgeServed *m = s->model;
    LedgeFieldHead head = {
        .confidence_ppm = r->confidence_ppm, .class_id = r->class_id, .drift = r->drift};
    LedgeTensor floats = {.data = NULL};
    LedgeFieldContent *c = calloc(1, sizeof *c);
    char *pre = m->takes_pictures && ledge_model_metadata(m->model, LEDGE_PREPROCESS_KEY)
                    ? ledge__preprocess_to_json(&m->pre)
                    : NULL;
    strcpy(head.model, r->model);
    strcpy(head.version, r->version);
    if (c) {
        c->picture = s->picture.p;
        c->picture_size = s->picture.n;
        if (pre && strlen(pre) < sizeof c->preprocess)
            strcpy(c->preprocess, pre);
        if (put_inputs(s, c, &floats))
            ledge__sampling_offer(to, &head, c);
    }
    ledge__free(NULL, floats.data);
    free(pre);
    free(c);
}

static void put(void *arg, const LedgeServedSeen *s)
{
    const CliServeTelemetry *t = arg;
    LedgeTelemetryRecord r = {.class_id = s->class_id, .confidence_ppm = -1, .error = s->failed};
    snprintf(r.model, sizeof r.model, "%s", s->model->name);
    snprintf(r.version, sizeof r.version, "%s", s->model->release);
    if (!ledge__fleet_is_name(r.model) || !ledge__fleet_is_name(r.version))
        return; /* the fleet knows no such names */
    if (isfinite(s->latency))
        r.latency_us = (int64_t)(s->latency * 1e6);
    if (isfinite(s->confidence))
        r.confidence_ppm = (int32_t)(fmin(fmax(s->confidence, 0), 1) * 1e6);
    (void)!ledge__fleet_drift_of(s->drift, &r.drift);
    if (t->queue) {
        hash_inputs(s, r.request_hash);
        ledge__telemetry_put(t->queue, &r);
    }
    if (t->shadow && !s->failed)
        ledge__shadow_show(t->shadow, s->model->name, s->inputs, s->model->n_inputs, s->class_id);
    if (t->sampling && !s->failed && ledge__sampling_wants(t->sampling, s->confidence, r.drift))
        offer(t->sampling, s, &r);
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

int cli_serve_telemetry(const CliServeTold *o, LedgeServedOptions *how, CliServeTelemetry *t)
{
    LedgeError err = {0};
    if (o->queue.folder && ledge__telemetry_open(&o->queue, &err, &t->queue))
        return cli_fail(o->queue.folder, &err);
    if (o->shadow && t->queue && ledge__shadow_open(o->shadow, t->queue, &err, &t->shadow))
        return cli_fail(o->shadow, &err);
    if (o->sampling.folder && ledge__sampling_open(&o->sampling, &err, &t->sampling))
        return cli_fail(NULL, &err);
    if (t->queue || t->sampling) {
        how->seen = put;
        how->seen_arg = t;
    }
    return CLI_GO;
}

void cli_serve_telemetry_end(CliServeTelemetry *t)
{
    ledge__sampling_close(t->sampling);
    ledge__shadow_close(t->shadow);
    ledge__telemetry_close(t->queue);
}
