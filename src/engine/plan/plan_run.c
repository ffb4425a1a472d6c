/* Running a plan, and the services that operators get from it. */
#include "engine/plan/plan_internal.h"

#include <time.h>

/* ---- memory while running ---- */

void ledge__plan_release_heap(LedgePlan *p)
{
    if (!p->has_heap)
        return;
    for (uint32_t i = 0; i < p->g->n_values; i++) {
        ledge__free(p->o.allocator, p->values[i].owned);
        p->values[i].owned = NULL;
    }
    p->has_heap = false;
}

LedgeStatus ledge__plan_heap_alloc(LedgePlan *p, PlanValue *v, LedgeError *err)
{
    size_t bytes = ledge_tensor_bytes(&v->t);
    if (bytes == SIZE_MAX || (p->o.arena_limit && bytes > p->o.arena_limit))
        return ledge__fail(err, LEDGE_ERROR_LIMIT, p->g->name,
                           "a tensor made while running is larger than the limit");
    ledge__free(p->o.allocator, v->owned);
    v->owned = ledge__alloc(p->o.allocator, bytes, 1);
    if (!v->owned)
        return ledge__no_memory(err);
    p->has_heap = true;
    v->t.data = v->owned;
    v->t.bytes = bytes;
    return LEDGE_OK;
}

static void *host_alloc(LedgeOpCtx *c, size_t bytes)
{
    LedgePlan *p = ((PlanStep *)c->host_data)->plan;
    if (!p->running)
        return ledge__arena_alloc(p->arena, bytes, 1);
    if (!p->run_arena)
        p->run_arena = ledge__arena_new(p->o.allocator);
    return p->run_arena ? ledge__arena_alloc(p->run_arena, bytes, 1) : NULL;
}

static LedgeStatus other_shape(LedgeOpCtx *c, uint32_t i)
{
    return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                          "output %u has another type or shape than the model declares for it", i);
}

static LedgeStatus host_output(LedgeOpCtx *c, uint32_t i)
{
    PlanStep *s = c->host_data;
    LedgeTensor *t = ledge__op_out(c, i);
    if (!t)
        return LEDGE_OK;
    PlanValue *v = &s->plan->values[c->node->out[i]->id];
    if (v->place == PLAN_ARENA) /* planned for one size, and other steps rely on it */
        return ledge_tensor_bytes(t) == v->bytes ? LEDGE_OK : other_shape(c, i);
    return ledge__plan_heap_alloc(s->plan, v, c->err);
}

static LedgeStatus host_store(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value)
{
    LedgeTensor *t = ledge__op_out(c, i);
    if (!t)
        return LEDGE_OK;
    const PlanStep *s = c->host_data;
    const PlanValue *v = &s->plan->values[c->node->out[i]->id];
    if (v->place == PLAN_ARENA) { /* the planned shape stays: steps that read it know only that */
        if (value->type != t->type || ledge_tensor_bytes(value) != v->bytes)
            return other_shape(c, i);
        return ledge__op_copy_elements(c, value, t->data);
    }
    if (value->type >= LEDGE_SEQUENCE)
        return ledge__op_copy_value(c, value, t);
    void *data = t->data;
    *t = *value;
    t->data = data;
    LEDGE_TRY(host_output(c, i));
    return ledge__op_copy_elements(c, value, t->data);
}

static LedgeStatus host_packed(LedgeOpCtx *c, uint32_t i, const char *key, size_t bytes,
                               LedgeStatus (*pack)(void *arg, void *to), void *arg,
                               const void **out)
{
    LedgePlan *p = ((PlanStep *)c->host_data)->plan;
    return ledge__weights_get(p->o.weights, c->node->in[i].value, key, bytes, pack, arg, p->g->onnx,
                              c->err, out);
}

/* ---- subgraphs ---- */

void ledge__plan_bodies_free(LedgePlan *p, PlanStep *s)
{
    for (uint32_t i = 0; i < s->n_bodies; i++)
        for (int k = 0; k < 2; k++) {
            ledge__plan_free(s->bodies[i].plan[k]);
            ledge__free(p->o.allocator, s->bodies[i].arena[k]);
        }
}

static LedgeStatus body_plan(PlanStep *s, PlanBody *b, const LedgeTensor *inputs, LedgeError *err)
{
    LedgePlan *p = s->plan;
    int k = b->turn;
    if (!b->plan[k] || !ledge__plan_fits(b->plan[k], inputs)) {
        LedgePlanOptions o = p->o;
        o.depth++;
        ledge__plan_free(b->plan[k]);
        b->plan[k] = NULL;
        LEDGE_TRY(ledge__plan_new(b->graph, &o, inputs, err, &b->plan[k]));
    }
    size_t need = ledge__plan_arena_bytes(b->plan[k]);
    if (need > b->arena_bytes[k] || !b->arena[k]) {
        ledge__free(p->o.allocator, b->arena[k]);
        b->arena_bytes[k] = 0;
        b->arena[k] = ledge__alloc_lasting(p->o.allocator, need);
        if (!b->arena[k])
            return ledge__no_memory(err);
        b->arena_bytes[k] = need;
    }
    ledge__plan_bind(b->plan[k], b->arena[k]);
    return LEDGE_OK;
}

static LedgeStatus host_subgraph(LedgeOpCtx *c, LedgeGraph *g, const LedgeTensor *in, uint32_t n_in,
                                 LedgeTensor *out, uint32_t n_out)
{
    PlanStep *s = c->host_data;
    PlanBody *b = s->bodies;
    while (b && b < s->bodies + s->n_bodies && b->graph != g)
        b++;
    uint32_t formal = g->n_inputs - g->n_captured;
    if (!b || b == s->bodies + s->n_bodies || n_in != formal || n_out > g->n_outputs)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "the subgraph has %u inputs and %u outputs, %u and %u are wanted",
                              formal, g->n_outputs, n_in, n_out);
    LedgeTensor *inputs = ledge__alloc(s->plan->o.allocator, (size_t)g->n_inputs + 1, sizeof *inputs);
    if (!inputs)
        return ledge__no_memory(c->err);
    if (n_in)
        memcpy(inputs, in, n_in * sizeof *inputs);
    for (uint32_t i = 0; i < g->n_captured; i++)
        inputs[formal + i] = *c->in[g->captured_slot[i]];
    LedgeStatus status = body_plan(s, b, inputs, c->err);
    if (status == LEDGE_OK)
        status = ledge__plan_run(b->plan[b->turn], inputs, c->err);
    for (uint32_t i = 0; status == LEDGE_OK && i < n_out; i++)
        out[i] = *ledge__plan_output(b->plan[b->turn], i);
    b->turn ^= 1;
    ledge__free(s->plan->o.allocator, inputs);
    return status;
}

const LedgeOpHost ledge__plan_host = {host_alloc, host_output, host_packed, host_subgraph,
                                      host_store};

/* ---- binding ---- */

size_t ledge__plan_arena_bytes(const LedgePlan *p)
{
    return p->arena_bytes;
}

void ledge__plan_bind(LedgePlan *p, void *arena)
{
    if (p->base == arena)
        return;
    p->base = arena;
    for (uint32_t i = 0; i < p->g->n_values; i++) {
        PlanValue *v = &p->values[i];
        if (v->place == PLAN_ARENA) {
            v->t.data = p->base + p->values[v->root].offset;
            v->t.bytes = v->bytes;
        }
    }
    for (uint32_t i = 0; i < p->n_steps; i++)
        if (!p->steps[i].dynamic)
            p->steps[i].ctx.scratch = p->base + p->scratch_offset;
}

bool ledge__plan_fits(const LedgePlan *p, const LedgeTensor *inputs)
{
    for (uint32_t i = 0; i < p->g->n_inputs; i++) {
        const LedgeTensor *a = &p->values[p->g->inputs[i]->id].t, *b = &inputs[i];
        if (a->type != b->type || a->rank != b->rank)
            return false;
        if (a->type >= LEDGE_SEQUENCE && a->dims[1] != b->dims[1])
            return false; /* of other elements */
        if (a->type < LEDGE_SEQUENCE && a->rank > 0 &&
            memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) != 0)
            return false;
    }
    return true;
}

/* ---- running ---- */

static LedgeStatus scratch_for(LedgePlan *p, LedgeOpCtx *c)
{
    if (c->scratch_bytes > p->heap_scratch_bytes) {
        ledge__free(p->o.allocator, p->heap_scratch);
        p->heap_scratch_bytes = 0;
        p->heap_scratch = ledge__alloc(p->o.allocator, c->scratch_bytes, 1);
        if (!p->heap_scratch)
            return ledge__no_memory(c->err);
        p->heap_scratch_bytes = c->scratch_bytes;
    }
    c->scratch = p->heap_scratch;
    return LEDGE_OK;
}

/* Infers with the data at hand. *done: every output followed from shapes alone. */
static LedgeStatus infer_now(PlanStep *s, bool *done)
{
    LedgeOpCtx *c = &s->ctx;
    LedgePlan *p = s->plan;
    for (uint32_t i = 0; i < c->n_out; i++)
        if (c->out[i]) {
            c->out[i]->data = NULL;
            if (p->values[c->node->out[i]->id].place == PLAN_HEAP)
                *c->out[i] = (LedgeTensor){.rank = -1};
        }
    c->complete = true;
    LEDGE_TRY(c->node->op->infer(c));
    LEDGE_TRY(ledge__plan_check_outputs(s, c->err));
    *done = c->n_out > 0;
    for (uint32_t i = 0; i < c->n_out; i++) {
        LedgeTensor *t = c->out[i];
        if (!t)
            continue;
        PlanValue *v = &p->values[c->node->out[i]->id];
        bool given = t->data != NULL;
        *done &= given;
        if (v->place == PLAN_ARENA) {
            void *own = p->base + p->values[v->root].offset;
            if (ledge_tensor_bytes(t) != v->bytes)
                return other_shape(c, i);
            if (given)
                memcpy(own, t->data, v->bytes);
            t->data = own;
        } else if (!given && !s->view && t->type != LEDGE_TYPE_NONE && t->type < LEDGE_SEQUENCE &&
                   ledge_tensor_count(t) >= 0) {
            LEDGE_TRY(ledge__plan_heap_alloc(p, v, c->err));
        }
    }
    return LEDGE_OK;
}

/* Nothing may read an output that its operator left unset. */
static LedgeStatus check_made(const PlanStep *s)
{
    const LedgeOpCtx *c = &s->ctx;
    for (uint32_t i = 0; i < c->n_out; i++) {
        const LedgeTensor *t = c->out[i];
        bool made = !t || (t->type >= LEDGE_SEQUENCE ? t->dims[0] >= 0 && (t->data || !t->dims[0])
                                                     : t->data && ledge_tensor_bytes(t) != SIZE_MAX);
        if (!made)
            return ledge__fail(c->err, LEDGE_ERROR_RUNTIME, s->node->name,
                               "%s: output %u was not produced", s->node->op_type, i);
    }
    return LEDGE_OK;
}

/* An operator that adds to its last input needs that in its output. */
static LedgeStatus fill_from_last(PlanStep *s)
{
    LedgeOpCtx *c = &s->ctx;
    const LedgeTensor *last = c->n_in ? c->in[c->n_in - 1] : NULL;
    if (!(c->node->op->flags & LEDGE_OP_INPLACE_LAST) || !last || !c->out[0])
        return LEDGE_OK;
    size_t bytes = ledge_tensor_bytes(c->out[0]);
    if (!c->out[0]->data || last->type != c->out[0]->type || ledge_tensor_bytes(last) != bytes)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the last input is not shaped like the output");
    if (bytes)
        memcpy(c->out[0]->data, last->data, bytes);
    return LEDGE_OK;
}

static LedgeStatus run_view(LedgeOpCtx *c)
{
    if (ledge_tensor_bytes(c->out[0]) != ledge_tensor_bytes(c->in[0]))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input and output differ in size");
    c->out[0]->data = c->in[0]->data;
    c->out[0]->bytes = c->in[0]->bytes;
    return LEDGE_OK;
}

static LedgeStatus run_dynamic(PlanStep *s)
{
    LedgeOpCtx *c = &s->ctx;
    bool done;
    LEDGE_TRY(infer_now(s, &done));
    if (done)
        return LEDGE_OK;
    if (s->view)
        return run_view(c);
    c->state = NULL;
    c->scratch_bytes = 0;
    if (c->node->op->prepare)
        LEDGE_TRY(c->node->op->prepare(c));
    LEDGE_TRY(scratch_for(s->plan, c));
    LEDGE_TRY(fill_from_last(s));
    LEDGE_TRY(c->node->op->run(c));
    return check_made(s);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static LedgeStatus run_step(PlanStep *s)
{
    LedgeStatus status;
    if (s->dynamic) {
        status = run_dynamic(s);
    } else {
        if (s->copy_first && s->ctx.out[0]->data != s->ctx.in[s->copy_from]->data)
            memcpy(s->ctx.out[0]->data, s->ctx.in[s->copy_from]->data,
                   s->plan->values[s->node->out[0]->id].bytes);
        status = s->node->op->run(&s->ctx);
    }
    for (uint32_t i = 0; i < s->n_release; i++) {
        PlanValue *v = &s->plan->values[s->release[i]];
        ledge__free(s->plan->o.allocator, v->owned);
        v->owned = NULL;
    }
    return status;
}

static void start(LedgePlan *p, const LedgeTensor *inputs)
{
    ledge__plan_release_heap(p);
    ledge__arena_free(p->run_arena);
    p->run_arena = NULL;
    for (uint32_t i = 0; i < p->g->n_inputs; i++)
        p->values[p->g->inputs[i]->id].t = inputs[i];
    for (uint32_t i = 0; i < p->n_input_views; i++) {
        PlanValue *v = &p->values[p->input_views[i]];
        v->t.data = p->values[v->root].t.data;
        v->t.bytes = p->values[v->root].t.bytes;
    }
}

/* Outputs never point into the caller's inputs nor into constants. */
static LedgeStatus finish(LedgePlan *p, LedgeError *err)
{
    for (uint32_t i = 0; i < p->g->n_outputs; i++) {
        const PlanValue *v = &p->values[p->g->outputs[i]->id];
        p->outputs[i] = v->t;
        PlanPlace place = p->values[v->root].place;
        if (place != PLAN_INPUT && place != PLAN_CONSTANT)
            continue;
        PlanStep none = {.plan = p};
        LedgeOpCtx c = {.err = err, .host = &ledge__plan_host, .host_data = &none};
        if (p->output_copy[i] == PLAN_NO_OFFSET) {
            LEDGE_TRY(ledge__op_copy_value(&c, &v->t, &p->outputs[i]));
        } else {
            p->outputs[i].data = p->base + p->output_copy[i];
            LEDGE_TRY(ledge__op_copy_elements(&c, &v->t, p->outputs[i].data));
        }
    }
    return LEDGE_OK;
}

/* A body without steps is asked about too: a Loop over it may have no end. */
static LedgeStatus go_on(const LedgePlan *p, LedgeError *err)
{
    return p->o.cancelled && p->o.cancelled(p->o.cancel_arg)
               ? ledge__fail(err, LEDGE_ERROR_CANCELLED, NULL, "the run was ended from outside")
               : LEDGE_OK;
}

LedgeStatus ledge__plan_run(LedgePlan *p, const LedgeTensor *inputs, LedgeError *err)
{
    LedgeStatus status = go_on(p, err);
    start(p, inputs);
    p->running = true;
    for (uint32_t i = 0; i < p->n_steps && status == LEDGE_OK; i++) {
        PlanStep *s = &p->steps[i];
        s->ctx.err = err;
        uint64_t t0 = p->timing ? now_ns() : 0;
        status = run_step(s);
        if (p->timing)
            s->ns = now_ns() - t0;
        if (status == LEDGE_OK && i + 1 < p->n_steps)
            status = go_on(p, err);
    }
    if (status == LEDGE_OK)
        status = finish(p, err);
    p->running = false;
    return status;
}

const LedgeTensor *ledge__plan_output(const LedgePlan *p, uint32_t i)
{
    return &p->outputs[i];
}

uint32_t ledge__plan_step_count(const LedgePlan *p)
{
    return p->n_steps;
}

const LedgeNode *ledge__plan_step(const LedgePlan *p, uint32_t i, uint64_t *ns, int64_t *macs)
{
    if (ns)
        *ns = p->steps[i].ns;
    if (macs)
        *macs = p->steps[i].macs;
    return p->steps[i].node;
}

void ledge__plan_set_timing(LedgePlan *p, bool on)
{
    p->timing = on;
}
