/* From a model's outputs to the answer, and to what the cache keeps of them. */
#include "serve/answer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/scores.h"

enum { PARAMETERS = 512 };

static const char *drift_name(LedgeServed *m)
{
    pthread_mutex_lock(&m->lock);
    const char *name = !m->drift                  ? "off"
                       : m->drift_report.learning ? "learning"
                                                  : ledge__severity_name(m->drift_report.severity);
    pthread_mutex_unlock(&m->lock);
    return name;
}

static const char *why_name(LedgeAdaptiveStep why)
{
    static const char *const names[] = {"climb", "sure", "top", "closed", "budget"};
    return names[why];
}

/* Members of a JSON object; names of models need no escapes. */
static void put_parameters(const LedgeAsked *a, char out[PARAMETERS])
{
    const LedgeWork *w = a->work;
    const int n = snprintf(
        out, PARAMETERS,
        "\"ledge_provider\":\"cpu\",\"ledge_latency_ms\":%.3f,\"ledge_model_sha256\":\"%s\","
        "\"ledge_batch\":%u,\"ledge_cache\":\"%s\",\"ledge_drift\":\"%s\"",
        w->ran * 1e3, w->model->hash, w->batch, a->cache, drift_name(w->model));
    if (w->ladder)
        snprintf(out + n, PARAMETERS - (size_t)n,
                 ",\"ledge_model_used\":\"%s\",\"ledge_ladder\":\"%s\"", w->model->name,
                 why_name(a->why));
}

static const char *name_of(const LedgeWork *w)
{
    return w->ladder ? w->ladder->options.name : w->model->name;
}

static LedgeStatus write_classes(const LedgeAsked *a, const LedgeTensor *out, LedgeError *err)
{
    enum { MOST = 100 };
    int64_t classes[MOST];
    double p[MOST];
    char parameters[PARAMETERS];
    LedgeWork *w = a->work;
    LedgeText *t = &w->out;
    const size_t n = ledge__scores_top(&out[0], 0, w->top < MOST ? w->top : MOST, classes);
    if (n == 0)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, w->model->name,
                           "the model gives no row of scores");
    ledge__scores_probabilities(&out[0], 0, classes, n, p);
    put_parameters(a, parameters);
    ledge__text_add(t, "{\"model_name\":");
    ledge__json_put_text(t, name_of(w));
    ledge__text_add(t, ",\"model_version\":");
    ledge__json_put_text(t, w->model->version);
    ledge__text_add(t, ",\"parameters\":{");
    ledge__text_add(t, parameters);
    ledge__text_add(t, "},\"predictions\":[");
    for (size_t i = 0; i < n; i++) {
        const char *label = ledge__label(&w->model->labels, classes[i]);
        ledge__text_add(t, i ? ",{\"class_id\":" : "{\"class_id\":");
        ledge__json_put_integer(t, classes[i]);
        if (label) {
            ledge__text_add(t, ",\"label\":");
            ledge__json_put_text(t, label);
        }
        ledge__text_add(t, ",\"confidence\":");
        ledge__json_put_float(t, (float)p[i]);
        ledge__text_add(t, "}");
    }
    ledge__text_add(t, "]}");
    return t->failed ? ledge__no_memory(err) : LEDGE_OK;
}

LedgeStatus ledge__asked_write(LedgeAsked *a, const LedgeTensor *outputs, LedgeError *err)
{
    LedgeWork *w = a->work;
    char parameters[PARAMETERS];
    if (w->kind == LEDGE_WORK_CLASSIFY)
        return write_classes(a, outputs, err);
    put_parameters(a, parameters);
    const LedgeOipAnswer answer = {.model = name_of(w),
                                   .version = w->model->version,
                                   .id = a->request->id,
                                   .names = w->model->output_names,
                                   .outputs = outputs,
                                   .n_outputs = w->model->n_outputs,
                                   .parameters = parameters};
    return ledge__oip_write(a->request, &answer, err, &w->out, &w->out_json);
}

/* ---- for the cache ---- */

/* Bytes of a tensor and, of strings, their text; each part aligned. */
static size_t room_of(const LedgeTensor *t)
{
    const size_t own = t->type == LEDGE_STRING ? (size_t)ledge_tensor_count(t) * sizeof(LedgeString)
                                               : ledge_tensor_bytes(t);
    size_t room = ledge__round_up(own, LEDGE_ALIGN), text = 0;
    if (t->type == LEDGE_STRING)
        for (int64_t i = 0; i < ledge_tensor_count(t); i++)
            text += ((const LedgeString *)t->data)[i].size;
    return room + ledge__round_up(text, LEDGE_ALIGN);
}

static void copy_tensor(LedgeTensor *to, const LedgeTensor *from, char *room)
{
    *to = *from;
    to->data = room;
    if (from->type != LEDGE_STRING) {
        to->bytes = ledge_tensor_bytes(from);
        memcpy(room, from->data, to->bytes);
        return;
    }
    const int64_t n = ledge_tensor_count(from);
    const LedgeString *s = from->data;
    to->bytes = (size_t)n * sizeof *s;
    char *text = room + ledge__round_up(to->bytes, LEDGE_ALIGN);
    for (int64_t i = 0; i < n; i++) {
        memcpy(text, s[i].data, s[i].size);
        ((LedgeString *)to->data)[i] = (LedgeString){text, s[i].size};
        text += s[i].size;
    }
}

LedgeCacheValue *ledge__keep_outputs(const LedgeTensor *outputs, size_t n)
{
    size_t bytes = ledge__round_up(sizeof(LedgeKept) + n * sizeof(LedgeTensor), LEDGE_ALIGN);
    for (size_t i = 0; i < n; i++)
        bytes += room_of(&outputs[i]);
    LedgeCacheValue *v = ledge__cache_value(bytes);
    LedgeKept *k = (LedgeKept *)v;
    if (!k)
        return NULL;
    char *at =
        (char *)k + ledge__round_up(sizeof(LedgeKept) + n * sizeof(LedgeTensor), LEDGE_ALIGN);
    k->n_outputs = n;
    for (size_t i = 0; i < n; i++) {
        copy_tensor(&k->outputs[i], &outputs[i], at);
        at += room_of(&outputs[i]);
    }
    return v;
}
