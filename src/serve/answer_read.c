/* From bytes to a model's inputs, and to the key that stands for them. */
#include "serve/answer.h"

#include <stdio.h>
#include <string.h>

#include "trust/sha256.h"

static LedgeStatus read_raw(LedgeAsked *a, LedgeError *err)
{
    const LedgeServed *m = a->work->model;
    if (m->n_inputs != 1)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, m->name,
                           "a raw body is for models of one input; this one has %zu", m->n_inputs);
    return ledge__oip_read_raw(a->work->body, a->work->size, ledge_model_input(m->model, 0), err,
                               a->request);
}

static LedgeStatus read_tensors(LedgeAsked *a, size_t limit, LedgeError *err)
{
    LedgeWork *w = a->work;
    if (w->reader)
        ledge__read_ahead_end(w->reader, &w->ahead);
    LEDGE_TRY(ledge__oip_read(w->body, w->size, w->json_bytes, limit, &w->ahead, a->arena, err,
                              a->request));
    if (!a->request->shares)
        return LEDGE_OK;
    if (!w->regions)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "request", "%s", w->no_regions);
    return ledge__oip_fetch(a->request, w->regions, limit, a->arena, err);
}

LedgeStatus ledge__asked_read(LedgeAsked *a, size_t tensor_limit, LedgeError *err)
{
    a->request = ledge__arena_alloc(a->arena, 1, sizeof *a->request);
    if (!a->request)
        return ledge__no_memory(err);
    a->request->binary_default = a->work->kind == LEDGE_WORK_RAW;
    if (a->work->kind == LEDGE_WORK_INFER)
        LEDGE_TRY(read_tensors(a, tensor_limit, err));
    return ledge__asked_bind(a, err);
}

LedgeStatus ledge__asked_bind(LedgeAsked *a, LedgeError *err)
{
    const LedgeServed *m = a->work->model;
    bool bound = false;
    if (!a->inputs || m->n_inputs > a->inputs_room) {
        a->inputs = ledge__arena_alloc(a->arena, m->n_inputs + 1, sizeof *a->inputs);
        a->inputs_room = m->n_inputs;
        if (!a->inputs)
            return ledge__no_memory(err);
    }
    a->rows = 1;
    a->inputs[0].data = NULL;
    if (m->guest)
        LEDGE_TRY(ledge__asked_by_guest(a, err, &bound));
    if (!bound && a->work->kind == LEDGE_WORK_CLASSIFY)
        return m->takes_pictures
                   ? LEDGE_OK
                   : ledge__fail(err, LEDGE_ERROR_ARGUMENT, m->name, "the model takes no pictures");
    if (!bound && a->work->kind == LEDGE_WORK_RAW)
        LEDGE_TRY(read_raw(a, err));
    if (!bound)
        LEDGE_TRY(ledge__oip_bind(a->request, m->model, m->name, err, a->inputs));
    if (m->n_inputs && a->inputs[0].rank > 0)
        a->rows = a->inputs[0].dims[0];
    return LEDGE_OK;
}

LedgeStatus ledge__asked_picture(LedgeAsked *a, LedgeError *err)
{
    const LedgePreprocess *pre = &a->work->model->pre;
    LedgeTensor *t = &a->inputs[0];
    if (!a->image.pixels)
        LEDGE_TRY(
            ledge__image_decode(NULL, "picture", a->work->body, a->work->size, err, &a->image));
    if (a->work->model->pixels) {
        ledge__free(NULL, a->pixels); /* of a lower rung */
        a->pixels = NULL;
        LEDGE_TRY(ledge__preprocess_bytes(pre, NULL, &a->image, err, t));
        a->pixels = t->data;
        return LEDGE_OK;
    }
    *t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 4};
    LEDGE_TRY(ledge__preprocess_dims(pre, a->image.width, a->image.height, err, t->dims));
    t->bytes = (size_t)ledge_tensor_count(t) * sizeof(float);
    t->data = ledge__arena_room(a->arena, t->bytes);
    return t->data ? ledge__preprocess_run(pre, &a->image, err, t->data) : ledge__no_memory(err);
}

/* ---- keys ---- */

/* Every part goes in with its length, so that no two requests look alike. */
static LedgeStatus add(LedgeSha256 *sha, const void *p, size_t n)
{
    const uint64_t size = n;
    LEDGE_TRY(ledge__sha256_add(sha, &size, sizeof size));
    return n ? ledge__sha256_add(sha, p, n) : LEDGE_OK;
}

static LedgeStatus add_tensor(LedgeSha256 *sha, const char *name, const LedgeTensor *t)
{
    const int32_t type = (int32_t)t->type;
    LEDGE_TRY(add(sha, name, strlen(name)));
    LEDGE_TRY(add(sha, &type, sizeof type));
    LEDGE_TRY(add(sha, t->dims, (size_t)t->rank * sizeof *t->dims));
    if (t->type != LEDGE_STRING)
        return add(sha, t->data, ledge_tensor_bytes(t));
    const LedgeString *s = t->data;
    for (int64_t i = 0; i < ledge_tensor_count(t); i++)
        LEDGE_TRY(add(sha, s[i].data, s[i].size));
    return LEDGE_OK;
}

static LedgeStatus add_inputs(LedgeSha256 *sha, const LedgeAsked *a)
{
    const LedgeServed *m = a->work->model;
    const bool picture = a->work->kind == LEDGE_WORK_CLASSIFY && !a->inputs[0].data;
    LEDGE_TRY(add(sha, m->hash, sizeof m->hash));
    LEDGE_TRY(add(sha, &picture, sizeof picture));
    if (picture)
        return add(sha, a->work->body, a->work->size);
    for (size_t i = 0; i < m->n_inputs; i++)
        LEDGE_TRY(add_tensor(sha, ledge_model_input(m->model, i)->name, &a->inputs[i]));
    return LEDGE_OK;
}

LedgeStatus ledge__asked_key(LedgeAsked *a, LedgeError *err)
{
    LedgeSha256 *sha = ledge__sha256_new();
    LedgeStatus s = sha ? add_inputs(sha, a) : LEDGE_ERROR_MEMORY;
    if (s == LEDGE_OK)
        s = ledge__sha256_hex(sha, a->key);
    ledge__sha256_free(sha);
    return s == LEDGE_OK ? s : ledge__no_memory(err);
}
