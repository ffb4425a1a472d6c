/* What a session calls, see session/backend.h. */
#include "engine/provider/backend_state.h"

#include <stdarg.h>
#include <stdio.h>

/* The sentence of --strict: the first thing that is not as asked. */
static LedgeStatus refuse(const LedgeBackend *b, LedgeError *err)
{
    const LedgePlacement *p = &b->placement;
    const Asked *first = &b->asked[0];
    if (first->status)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, first->name,
                           "strict: it cannot be used, %s would run instead: %.380s", p->got,
                           first->reason);
    size_t off = 0;
    for (size_t i = 0; i < p->n_providers; i++)
        off += strcmp(p->providers[i].name, first->name) != 0 ? p->providers[i].nodes : 0;
    const LedgeFallback *f = p->n_fallbacks ? &p->fallbacks[0] : NULL;
    return ledge__fail(err, LEDGE_ERROR_PROVIDER, first->name,
                       "strict: %zu of %zu nodes would run elsewhere%s%s%s%.80s%s%s%s%.200s", off,
                       p->n_nodes, f ? ", the first being " : "", f ? f->op_type : "",
                       f ? " '" : "", f ? f->node : "", f ? "' on " : "", f ? f->to : "",
                       f && f->reason[0] ? ": " : "", f ? f->reason : "");
}

static LedgeStatus choose_and_place(LedgeBackend *b, LedgeError *err)
{
    LEDGE_TRY(ledge__choose(b, err));
    LEDGE_TRY(ledge__place(b, err));
    return b->strict && b->placement.fell_back ? refuse(b, err) : LEDGE_OK;
}

static LedgeStatus open_all(LedgeBackend *b, const LedgeSessionOptions *o, LedgeError *err)
{
    LEDGE_TRY(ledge__asked_parse(b, o, err));
    for (size_t i = 0; i < b->n_asked; i++) /* a loaded one's name and options are its own */
        LEDGE_TRY(ledge__asked_open(b, &b->asked[i], err));
    LEDGE_TRY(ledge__asked_settings(b, o, err));
    return choose_and_place(b, err);
}

LedgeStatus ledge__backend_open(LedgeModel *m, const LedgeSessionOptions *o, int threads,
                                LedgeError *err, LedgeBackend **out)
{
    LedgeBackend *b = ledge__calloc(o->allocator, 1, sizeof *b);
    if (!b)
        return ledge__no_memory(err);
    b->allocator = o->allocator;
    b->model = m;
    b->threads = threads > 0 ? threads : 1;
    b->strict = o->strict;
    b->whole = NOBODY;
    b->arena = ledge__arena_new(o->allocator);
    b->list = b->arena ? ledge__arena_str(b->arena, o->providers) : NULL;
    LedgeStatus status = b->list ? open_all(b, o, err) : ledge__no_memory(err);
    if (status != LEDGE_OK) {
        ledge__backend_free(b);
        return status;
    }
    *out = b;
    return LEDGE_OK;
}

void ledge__backend_free(LedgeBackend *b)
{
    if (!b)
        return;
    ledge__choice_free(b);
    for (size_t i = 0; i < b->n_asked; i++)
        if (b->asked[i].instance)
            b->asked[i].api->close(b->asked[i].instance);
    ledge__arena_free(b->place_arena);
    ledge__arena_free(b->arena);
    ledge__free(b->allocator, b);
}

bool ledge__backend_is_whole(const LedgeBackend *b)
{
    return b->whole != NOBODY;
}

LedgeGraph *ledge__backend_graph(const LedgeBackend *b, LedgeWeights **weights)
{
    if (b->graph)
        *weights = b->weights;
    return b->graph;
}

static LedgeStatus run_own(LedgeBackend *b, const LedgeTensor *inputs, LedgeTensor *outputs,
                           LedgeError *err)
{
    const Asked *a = &b->asked[b->whole];
    const size_t n = b->view->graph.n_outputs;
    LedgeError said = {0};
    for (size_t i = 0; i < n; i++)
        outputs[i] = (LedgeTensor){.rank = -1};
    const LedgeStatus status = a->api->run(b->program, inputs, outputs, &said);
    if (status)
        return ledge__fail(err, status, a->name, "%s",
                           said.message[0] ? said.message : ledge_status_text(status));
    for (size_t i = 0; i < n; i++) {
        outputs[i].bytes = ledge_tensor_bytes(&outputs[i]);
        if (outputs[i].bytes == SIZE_MAX || (outputs[i].bytes && !outputs[i].data))
            return ledge__fail(err, LEDGE_ERROR_RUNTIME, a->name, "it gave no output %zu", i);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__backend_run(LedgeBackend *b, const LedgeTensor *inputs, LedgeTensor *outputs,
                               LedgeError *err)
{
    b->failed = b->ort ? ledge__ort_program_run(b->ort, inputs, outputs, err)
                       : run_own(b, inputs, outputs, err);
    return b->failed;
}

/* Whose memory gave out, or NOBODY. */
static int exhausted(const LedgeBackend *b)
{
    if (b->whole != NOBODY)
        return b->failed == LEDGE_ERROR_MEMORY ? b->whole : NOBODY;
    for (size_t i = 0; i < b->parts.n; i++)
        if (b->parts.items[i]->failed == LEDGE_ERROR_MEMORY)
            return b->parts.items[i]->owner;
    return NOBODY;
}

bool ledge__backend_out_of_memory(const LedgeBackend *b)
{
    return exhausted(b) != NOBODY;
}

LedgeStatus ledge__backend_step_down(LedgeBackend *b, LedgeError *err)
{
    Asked *a = &b->asked[exhausted(b)];
    a->left_out = true;
    ledge__asked_refuse(a, LEDGE_ERROR_MEMORY, "out of memory, even for one sample at a time");
    if (b->strict)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, a->name, "strict: %s", a->reason);
    LEDGE_TRY(choose_and_place(b, err));
    ledge__backend_note(b, "%s ran out of memory; %s goes on", a->name, b->placement.got);
    return LEDGE_OK;
}

void ledge__backend_note(LedgeBackend *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(b->note, sizeof b->note, fmt, args);
    va_end(args);
}

const LedgePlacement *ledge__backend_placement(LedgeBackend *b)
{
    if (!b->placement.settled)
        (void)ledge__place(b, NULL); /* without memory the last one stays */
    b->placement.note = b->note;
    return &b->placement;
}
