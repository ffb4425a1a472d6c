/* Requests of models that have a guest (served_guest.h): what came goes through it on its way to
 * the model's inputs, outputs on their way to the answer. Cache, batches and drift monitoring see
 * the model's own inputs and outputs, so they work with a guest as without. */
#include "serve/answer.h"

#include <stdio.h>
#include <string.h>

static LedgeGuestAsk ask_of(const LedgeAsked *a, LedgeGuestStage stage)
{
    const LedgeServed *m = a->work->model;
    return (LedgeGuestAsk){.stage = stage,
                           .top = a->work->kind == LEDGE_WORK_CLASSIFY ? (uint32_t)a->work->top : 0,
                           .model = m->name,
                           .preprocess = ledge_model_metadata(m->model, LEDGE_PREPROCESS_KEY),
                           .labels = ledge_model_metadata(m->model, LEDGE_LABELS_KEY)};
}

/* A request with these outputs wanted and no inputs yet. */
static LedgeOipRequest *new_request(LedgeAsked *a, bool own_outputs)
{
    LedgeOipRequest *r = ledge__arena_alloc(a->arena, 1, sizeof *r);
    if (r && !own_outputs) { /* else the guest's, which are known when they are there */
        r->n_outputs = a->request->n_outputs;
        memcpy(r->output, a->request->output, r->n_outputs * sizeof *r->output);
    }
    return r;
}

/* Tensors of the request as the guest gets them. false: no memory. */
static bool list_inputs(LedgeAsked *a, LedgeGuestAsk *ask)
{
    const size_t n = a->request->n_inputs;
    const char **names = ledge__arena_alloc(a->arena, n, sizeof *names);
    LedgeTensor *tensors = ledge__arena_alloc(a->arena, n, sizeof *tensors);
    for (size_t i = 0; names && tensors && i < n; i++) {
        names[i] = a->request->input[i].name;
        tensors[i] = a->request->input[i].tensor;
    }
    ask->n_tensors = n;
    ask->names = names;
    ask->tensors = tensors;
    return names && tensors;
}

static bool list_wanted(LedgeAsked *a, LedgeGuestAsk *ask)
{
    const LedgeServed *m = a->work->model;
    const LedgeTensorInfo **inputs = ledge__arena_alloc(a->arena, m->n_inputs + 1, sizeof *inputs);
    for (size_t i = 0; inputs && i < m->n_inputs; i++)
        inputs[i] = ledge_model_input(m->model, i);
    ask->n_inputs = m->n_inputs;
    ask->inputs = inputs;
    return inputs != NULL;
}

/* The model's inputs by name from what the guest gave. */
static LedgeStatus bind(LedgeAsked *a, LedgeOipRequest *r, const LedgeGuestSaid *said,
                        LedgeError *err)
{
    const LedgeServed *m = a->work->model;
    LedgeError why = {0};
    for (size_t i = 0; i < said->n_tensors; i++) {
        snprintf(r->input[i].name, sizeof r->input[i].name, "%s", said->names[i]);
        r->input[i].tensor = said->tensors[i];
    }
    r->n_inputs = said->n_tensors;
    if (ledge__oip_bind(r, m->model, m->name, &why, a->inputs))
        return ledge__served_guest_unfit(m->guest, &why, err);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeAsked *a, LedgeOipRequest *r, LedgeError *err)
{
    LedgeGuestAsk ask = ask_of(a, LEDGE_GUEST_PRE);
    LedgeGuestSaid said;
    if (!list_wanted(a, &ask))
        return ledge__no_memory(err);
    if (a->work->kind == LEDGE_WORK_INFER && !list_inputs(a, &ask))
        return ledge__no_memory(err);
    if (a->work->kind != LEDGE_WORK_INFER) {
        ask.body = a->work->body;
        ask.body_bytes = a->work->size;
    }
    LEDGE_TRY(ledge__served_guest_call(a->work->model->guest, &ask, a->arena, &a->guest_seconds,
                                       err, &said));
    a->guest_note = (LedgeStr){said.note, said.note_bytes};
    return bind(a, r, &said, err);
}

LedgeStatus ledge__asked_by_guest(LedgeAsked *a, LedgeError *err, bool *bound)
{
    const LedgeServed *m = a->work->model;
    const bool pre = ledge__served_guest_has(m->guest, LEDGE_GUEST_PRE);
    const bool post = ledge__served_guest_has(m->guest, LEDGE_GUEST_POST);
    a->guest_note = (LedgeStr){NULL, 0};
    if (!pre && a->work->kind != LEDGE_WORK_INFER)
        return LEDGE_OK;
    LedgeOipRequest *r = new_request(a, post);
    if (!r)
        return ledge__no_memory(err);
    *bound = true;
    if (pre)
        return prepare(a, r, err);
    r->n_inputs = a->request->n_inputs;
    memcpy(r->input, a->request->input, r->n_inputs * sizeof *r->input);
    return ledge__oip_bind(r, m->model, m->name, err, a->inputs);
}

LedgeStatus ledge__asked_to_guest(LedgeAsked *a, LedgeError *err, LedgeAnswered *io)
{
    LedgeServedGuest *g = a->work->model->guest;
    LedgeGuestSaid said;
    LedgeGuestAsk ask = ask_of(a, LEDGE_GUEST_POST);
    if (!ledge__served_guest_has(g, LEDGE_GUEST_POST))
        return LEDGE_OK;
    ask.n_tensors = io->n;
    ask.names = io->names;
    ask.tensors = io->outputs;
    ask.note = a->guest_note.p;
    ask.note_bytes = a->guest_note.n;
    LEDGE_TRY(ledge__served_guest_call(g, &ask, a->arena, &a->guest_seconds, err, &said));
    if (!said.json && said.n_tensors == 0) {
        const LedgeError why = {.message = "it has neither JSON nor tensors"};
        return ledge__served_guest_unfit(g, &why, err);
    }
    *io = (LedgeAnswered){.outputs = said.tensors,
                          .names = said.names,
                          .n = said.n_tensors,
                          .json = {said.json, said.json_bytes}};
    return LEDGE_OK;
}
