/* From a model's outputs to the answer, and to what the cache keeps of them. */
#include "serve/answer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/scores.h"

enum { PARAMETERS = 768 };

static const char *why_name(LedgeAdaptiveStep why)
{
    static const char *const names[] = {"climb", "sure", "top", "closed", "budget"};
    return names[why];
}

/* Members of a JSON object; names of models need no escapes. */
static void put_parameters(const LedgeAsked *a, char out[PARAMETERS])
{
    const LedgeWork *w = a->work;
    size_t n = (size_t)snprintf(
        out, PARAMETERS,
        "\"ledge_provider\":\"cpu\",\"ledge_latency_ms\":%.3f,\"ledge_model_sha256\":\"%s\","
        "\"ledge_batch\":%u,\"ledge_cache\":\"%s\",\"ledge_drift\":\"%s\"",
        (a->below + w->ran) * 1e3, w->model->hash, w->batch, a->cache,
        ledge__served_drift(w->model));
    if (w->model->guest)
        n += (size_t)snprintf(out + n, PARAMETERS - n,
                              ",\"ledge_guest_sha256\":\"%s\",\"ledge_guest_ms\":%.3f",
                              ledge__served_guest_hash(w->model->guest), a->guest_seconds * 1e3);
    if (w->ladder)
        snprintf(out + n, PARAMETERS - n, ",\"ledge_model_used\":\"%s\",\"ledge_ladder\":\"%s\"",
                 w->model->name, why_name(a->why));
}

static const char *name_of(const LedgeWork *w)
{
    return w->ladder ? w->ladder->options.name : w->model->name;
}

/* The answer as far as all kinds begin alike. */
static void put_head(const LedgeAsked *a)
{
    char parameters[PARAMETERS];
    LedgeText *t = &a->work->out;
    put_parameters(a, parameters);
    ledge__text_add(t, "{\"model_name\":");
    ledge__json_put_text(t, name_of(a->work));
    ledge__text_add(t, ",\"model_version\":");
    ledge__json_put_text(t, a->work->model->version);
    ledge__text_add(t, ",\"parameters\":{");
    ledge__text_add(t, parameters);
    ledge__text_add(t, "}");
}

static LedgeStatus write_classes(const LedgeAsked *a, const LedgeTensor *out, LedgeError *err)
{
    enum { MOST = 100 };
    int64_t classes[MOST];
    double p[MOST];
    LedgeWork *w = a->work;
    LedgeText *t = &w->out;
    const size_t n = ledge__scores_top(&out[0], 0, w->top < MOST ? w->top : MOST, classes);
    if (n == 0)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, w->model->name,
                           "the model gives no row of scores");
    ledge__scores_probabilities(&out[0], 0, classes, n, p);
    put_head(a);
    ledge__text_add(t, ",\"predictions\":[");
    for (size_t i = 0; i < n; i++) {
        const char *label = ledge__label(&w->model->labels, classes[i]);
        ledge__text_add(t, i ? ",{\"class_id\":" : "{\"class_id\":");
        ledge__json_put_integer(t, classes[i]);
        if (label) {
            ledge__text_add(t, ",\"label\":");
            ledge__json_put_text(t, label);
        }
        ledge__text_add(t, ",\"confidence\":");
        ledge__json_put_floats(t, &(float){(float)p[i]}, 1);
        ledge__text_add(t, "}");
    }
    ledge__text_add(t, "]}");
    return t->failed ? ledge__no_memory(err) : LEDGE_OK;
}

/* What a guest made of the outputs, as it stands. */
static LedgeStatus write_result(const LedgeAsked *a, LedgeStr json, LedgeError *err)
{
    LedgeText *t = &a->work->out;
    put_head(a);
    if (a->request->id[0]) {
        ledge__text_add(t, ",\"id\":");
        ledge__json_put_text(t, a->request->id);
    }
    if (a->work->kind != LEDGE_WORK_CLASSIFY)
        ledge__text_add(t, ",\"outputs\":[]");
    ledge__text_add(t, ",\"result\":");
    ledge__text_put(t, json.p, json.n);
    ledge__text_add(t, "}");
    return t->failed ? ledge__no_memory(err) : LEDGE_OK;
}

LedgeStatus ledge__asked_write(LedgeAsked *a, const LedgeTensor *outputs, LedgeError *err)
{
    LedgeWork *w = a->work;
    LedgeServed *m = w->model;
    char parameters[PARAMETERS];
    LedgeAnswered out = {.outputs = outputs, .names = m->output_names, .n = m->n_outputs};
    if (m->guest)
        LEDGE_TRY(ledge__asked_to_guest(a, err, &out));
    if (out.json.p)
        return write_result(a, out.json, err);
    if (w->kind == LEDGE_WORK_CLASSIFY)
        return write_classes(a, out.outputs, err);
    put_parameters(a, parameters);
    const LedgeOipAnswer answer = {.model = name_of(w),
                                   .version = m->version,
                                   .id = a->request->id,
                                   .names = out.names,
                                   .outputs = out.outputs,
                                   .n_outputs = out.n,
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
