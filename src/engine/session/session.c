/* Sessions: plans for the input shapes seen, one arena for all of them, and the run. */
#include "engine/session/session_state.h"

#include "base/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static size_t memory_limit(size_t asked)
{
    if (asked)
        return asked;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 0;
}

static bool shapes_are_fixed(const LedgeModel *m)
{
    for (uint32_t i = 0; i < m->graph->n_inputs; i++)
        if (m->inputs[i].type == LEDGE_TYPE_NONE || ledge_tensor_count(&m->graph->inputs[i]->t) < 0)
            return false;
    return true;
}

static LedgeStatus reserve(LedgeSession *s, size_t bytes, LedgeError *err)
{
    if (bytes <= s->arena_bytes && s->arena)
        return LEDGE_OK;
    ledge__free(s->allocator, s->arena);
    s->arena_bytes = 0;
    s->arena = ledge__alloc_lasting(s->allocator, bytes);
    if (!s->arena)
        return ledge__fail(err, LEDGE_ERROR_MEMORY, NULL, "no memory for %zu bytes of activations",
                           bytes);
    s->arena_bytes = bytes;
    return LEDGE_OK;
}

static LedgeStatus make_plan(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    LedgePlanOptions o = {.allocator = s->allocator,
                          .weights = s->weights,
                          .pool = s->pool,
                          .cpu = s->model->cpu,
                          .arena_limit = s->arena_limit,
                          .cancelled = s->cancelled,
                          .cancel_arg = s->cancel_arg};
    LedgePlan *p;
    LEDGE_TRY(ledge__plan_new(s->graph, &o, inputs, err, &p));
    LedgeStatus status = reserve(s, ledge__plan_arena_bytes(p), err);
    if (status != LEDGE_OK) {
        ledge__plan_free(p);
        return status;
    }
    if (s->n_plans == MAX_PLANS)
        ledge__plan_free(s->plans[--s->n_plans]);
    memmove(&s->plans[1], &s->plans[0], (size_t)s->n_plans * sizeof s->plans[0]);
    s->plans[0] = p;
    s->n_plans++;
    return LEDGE_OK;
}

static LedgeStatus choose_plan(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    for (int i = 0; i < s->n_plans; i++)
        if (ledge__plan_fits(s->plans[i], inputs)) {
            LedgePlan *p = s->plans[i];
            memmove(&s->plans[1], &s->plans[0], (size_t)i * sizeof s->plans[0]);
            s->plans[0] = p;
            return LEDGE_OK;
        }
    return make_plan(s, inputs, err);
}

LedgeStatus ledge__session_plan_for(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    const LedgeGraph *g = s->graph;
    if (!g || inputs)
        return g ? choose_plan(s, inputs, err) : LEDGE_OK;
    LedgeTensor *own = ledge__calloc(s->allocator, (size_t)g->n_inputs + 1, sizeof *own);
    if (!own)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        own[i] = g->inputs[i]->t;
        for (int32_t d = 0; d < own[i].rank; d++)
            own[i].dims[d] = own[i].dims[d] < 0 ? 1 : own[i].dims[d];
    }
    LedgeStatus status = choose_plan(s, own, err);
    ledge__free(s->allocator, own);
    return status;
}

LedgeStatus ledge__session_adopt(LedgeSession *s, LedgeError *err)
{
    while (s->n_plans)
        ledge__plan_free(s->plans[--s->n_plans]);
    s->graph = NULL;
    if (s->backend && ledge__backend_is_whole(s->backend))
        return LEDGE_OK;
    LedgeGraph *g = s->backend ? ledge__backend_graph(s->backend, &s->weights) : NULL;
    if (!g) {
        LEDGE_TRY(ledge__model_native(s->model, err, &g));
        s->weights = s->model->weights;
    }
    s->graph = g;
    return LEDGE_OK;
}

static LedgeStatus create(LedgeSession *s, const LedgeSessionOptions *o, LedgeError *err)
{
    const size_t n_out = (size_t)s->model->graph->n_outputs + 1;
    s->given = ledge__calloc(s->allocator, n_out, sizeof *s->given);
    s->results = ledge__calloc(s->allocator, n_out, sizeof *s->results);
    s->joined = ledge__calloc(s->allocator, n_out, sizeof *s->joined);
    s->joined_bytes = ledge__calloc(s->allocator, n_out, sizeof *s->joined_bytes);
    if (!s->given || !s->results || !s->joined || !s->joined_bytes)
        return ledge__no_memory(err);
    if (o->providers) {
        int fast = o->threads;
        if (!fast)
            (void)ledge__cpu_cores(&fast);
        LEDGE_TRY(ledge__backend_open(s->model, o, fast, err, &s->backend));
    }
    LEDGE_TRY(ledge__session_adopt(s, err));
    LedgeStatus status = s->graph ? ledge__pool_new(s->allocator, o->threads, &s->pool) : LEDGE_OK;
    if (status != LEDGE_OK)
        return ledge__fail(err, status, NULL, "the thread pool could not be made");
    return shapes_are_fixed(s->model) ? ledge__session_plan_for(s, NULL, err) : LEDGE_OK;
}

LedgeStatus ledge_session_create(LedgeModel *model, const LedgeSessionOptions *options,
                                 LedgeError *error, LedgeSession **out)
{
    LedgeSessionOptions o = options ? *options : (LedgeSessionOptions){0};
    if (!model || !out || o.threads < 0)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL,
                           "model and out must be given, threads must not be negative");
    LedgeSession *s = ledge__calloc(o.allocator, 1, sizeof *s);
    if (!s)
        return ledge__no_memory(error);
    s->allocator = o.allocator;
    s->model = model;
    s->arena_limit = memory_limit(o.arena_limit);
    s->threads = o.threads;
    s->cancelled = o.cancelled;
    s->cancel_arg = o.cancel_arg;
    ledge__model_retain(model);
    LedgeStatus status = create(s, &o, error);
    if (status != LEDGE_OK) {
        ledge_session_free(s);
        return status;
    }
    *out = s;
    return LEDGE_OK;
}

void ledge_session_free(LedgeSession *session)
{
    if (!session)
        return;
    for (int i = 0; i < session->n_plans; i++)
        ledge__plan_free(session->plans[i]);
    for (uint32_t i = 0; session->joined && i < session->model->graph->n_outputs; i++)
        ledge__free(session->allocator, session->joined[i]);
    ledge__free(session->allocator, session->joined);
    ledge__free(session->allocator, session->joined_bytes);
    ledge__free(session->allocator, session->results);
    ledge__free(session->allocator, session->arena);
    ledge__free(session->allocator, session->given);
    ledge__backend_free(session->backend);
    ledge__pool_free(session->pool);
    ledge_model_free(session->model);
    ledge__free(session->allocator, session);
}

static void shape_text(const LedgeTensorInfo *info, const LedgeTensor *t, char *text, size_t size)
{
    int32_t rank = info ? info->rank : t->rank;
    size_t n = 0;
    text[n++] = '[';
    for (int32_t d = 0; d < rank && n + 24 < size; d++) {
        int64_t dim = info ? info->dims[d] : t->dims[d];
        n += (size_t)(dim < 0 ? snprintf(text + n, size - n, "%s?", d ? "," : "")
                              : snprintf(text + n, size - n, "%s%" PRId64, d ? "," : "", dim));
    }
    snprintf(text + n, size - n, "]");
}

static LedgeStatus check_input(const LedgeTensorInfo *info, const LedgeTensor *t, LedgeError *err)
{
    char given[192], wanted[192];
    if (info->type != LEDGE_TYPE_NONE && info->type != t->type)
        return ledge__fail(err, LEDGE_ERROR_TYPE, info->name, "the input is %s, the model takes %s",
                           ledge_type_name(t->type), ledge_type_name(info->type));
    if (t->type >= LEDGE_SEQUENCE)
        return t->data || t->dims[0] == 0
                   ? LEDGE_OK
                   : ledge__fail(err, LEDGE_ERROR_ARGUMENT, info->name, "the input has no data");
    bool fits = t->rank >= 0 && t->rank <= LEDGE_MAX_RANK &&
                (info->rank < 0 || info->rank == t->rank);
    for (int32_t d = 0; fits && d < t->rank; d++)
        fits = t->dims[d] >= 0 && (info->rank < 0 || info->dims[d] < 0 || info->dims[d] == t->dims[d]);
    if (!fits) {
        shape_text(NULL, t, given, sizeof given);
        shape_text(info, t, wanted, sizeof wanted);
        return ledge__fail(err, LEDGE_ERROR_SHAPE, info->name,
                           "the input has shape %s, the model takes %s", given,
                           info->rank < 0 ? "any" : wanted);
    }
    size_t bytes = ledge_tensor_bytes(t);
    if (bytes == SIZE_MAX || bytes > t->bytes || (bytes && !t->data))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, info->name,
                           "the input's buffer holds %zu bytes, its shape needs %zu", t->bytes,
                           bytes);
    return LEDGE_OK;
}

/* A pointer that an earlier run gave out is no buffer of the caller's. */
static LedgeStatus give_output(LedgeSession *s, uint32_t i, LedgeTensor *to, LedgeError *err)
{
    const LedgeTensor *made = &s->results[i];
    bool own_memory = !to->data || to->data == s->given[i] || made->type >= LEDGE_SEQUENCE;
    size_t bytes = made->type < LEDGE_SEQUENCE ? ledge_tensor_bytes(made) : made->bytes;
    if (own_memory) {
        *to = *made;
        to->bytes = bytes;
        s->given[i] = made->data;
        return LEDGE_OK;
    }
    if (bytes > to->bytes)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, s->model->outputs[i].name,
                           "the output needs %zu bytes, its buffer holds %zu", bytes, to->bytes);
    void *data = to->data;
    size_t capacity = to->bytes;
    *to = *made;
    to->data = data;
    to->bytes = capacity;
    if (bytes)
        memcpy(data, made->data, bytes);
    return LEDGE_OK;
}

LedgeStatus ledge__session_run_plan(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    if (!s->pool) /* a provider ran all until now */
        LEDGE_TRY(ledge__pool_new(s->allocator, s->threads, &s->pool));
    LEDGE_TRY(choose_plan(s, inputs, err));
    LedgePlan *p = s->plans[0];
    /* Room for a larger plan may have been tried in vain since this one was made. */
    LEDGE_TRY(reserve(s, ledge__plan_arena_bytes(p), err));
    ledge__plan_bind(p, s->arena);
    LEDGE_TRY(ledge__plan_run(p, inputs, err));
    for (uint32_t i = 0; i < s->graph->n_outputs; i++)
        s->results[i] = *ledge__plan_output(p, i);
    return LEDGE_OK;
}

LedgeStatus ledge_session_run(LedgeSession *session, const LedgeTensor *inputs, size_t n_inputs,
                              LedgeTensor *outputs, size_t n_outputs, LedgeError *error)
{
    const LedgeModel *m = session->model;
    if (n_inputs != m->graph->n_inputs || n_outputs > m->graph->n_outputs)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL,
                           "the model has %u inputs and %u outputs, %zu and %zu were given",
                           m->graph->n_inputs, m->graph->n_outputs, n_inputs, n_outputs);
    if (m->cpu & ~ledge__cpu_flags_uncapped())
        return ledge__fail(error, LEDGE_ERROR_MISMATCH, NULL,
                           "the model was loaded for CPU level %s, which this CPU does not have",
                           ledge__cpu_level_name(m->cpu));
    for (size_t i = 0; i < n_inputs; i++)
        LEDGE_TRY(check_input(&m->inputs[i], &inputs[i], error));
    LEDGE_TRY(session->backend ? ledge__session_run_backend(session, inputs, error)
                               : ledge__session_run_plan(session, inputs, error));
    for (size_t i = 0; i < n_outputs; i++)
        LEDGE_TRY(give_output(session, (uint32_t)i, &outputs[i], error));
    return LEDGE_OK;
}

size_t ledge_session_arena_bytes(const LedgeSession *session)
{
    return session->n_plans ? ledge__plan_arena_bytes(session->plans[0]) : 0;
}

LedgePlan *ledge__session_plan(LedgeSession *s)
{
    return s->n_plans ? s->plans[0] : NULL;
}

/* Without providers everything is the CPU's. */
static void place_on_cpu(LedgeSession *s)
{
    LedgePlacement *p = &s->placement;
    s->cpu = (LedgePlacedProvider){
        .name = "cpu", .version = ledge_version(), .reason = "", .nodes = s->model->onnx->graph.n_nodes};
    const LedgePlan *plan = s->n_plans ? s->plans[0] : NULL;
    for (uint32_t i = 0; plan && i < ledge__plan_step_count(plan); i++) {
        int64_t macs;
        (void)ledge__plan_step(plan, i, NULL, &macs);
        s->cpu.macs += macs > 0 ? macs : 0;
    }
    *p = (LedgePlacement){.asked = "cpu", .got = "cpu", .source = "ledge", .settled = true,
                          .providers = &s->cpu, .n_providers = 1, .n_nodes = s->cpu.nodes,
                          .macs = s->cpu.macs, .note = ""};
}

const LedgePlacement *ledge_session_placement(LedgeSession *session)
{
    if (session->backend)
        return ledge__backend_placement(session->backend);
    place_on_cpu(session);
    return &session->placement;
}
