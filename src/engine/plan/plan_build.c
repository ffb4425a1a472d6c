/* Building a plan: shapes, values that follow from shapes, steps, kernel preparation. */
#include "engine/plan/plan_internal.h"

#include "base/cpu.h"

static bool is_container(const LedgeTensor *t)
{
    return t->type >= LEDGE_SEQUENCE;
}

static bool known(const LedgeTensor *t)
{
    return t->type != LEDGE_TYPE_NONE && !is_container(t) && ledge_tensor_count(t) >= 0;
}

static PlanValue *value_of(const LedgePlan *p, const LedgeValue *v)
{
    return &p->values[v->id];
}

/* ---- values ---- */

static void init_values(LedgePlan *p)
{
    for (uint32_t i = 0; i < p->g->n_values; i++) {
        const LedgeValue *v = p->g->values[i];
        p->values[i].root = i;
        p->values[i].offset = PLAN_NO_OFFSET;
        if (ledge__value_is_constant(v)) {
            p->values[i].t = v->t;
            p->values[i].place = PLAN_CONSTANT;
        } else {
            p->values[i].t.rank = -1;
        }
    }
}

static LedgeStatus init_inputs(LedgePlan *p, const LedgeTensor *inputs, LedgeError *err)
{
    for (uint32_t i = 0; i < p->g->n_inputs; i++) {
        PlanValue *v = value_of(p, p->g->inputs[i]);
        v->t = inputs[i];
        v->t.data = NULL;
        if (is_container(&inputs[i]))
            v->t.dims[0] = -1; /* a plan serves containers of every length */
        v->place = PLAN_INPUT;
        v->bytes = is_container(&inputs[i]) ? 0 : ledge_tensor_bytes(&inputs[i]);
        if (!is_container(&inputs[i]) && v->bytes == SIZE_MAX)
            return ledge__fail(err, LEDGE_ERROR_SHAPE, p->g->inputs[i]->name,
                               "the input's shape is not known or too large");
    }
    return LEDGE_OK;
}

/* ---- steps ---- */

static LedgeStatus make_context(LedgePlan *p, PlanStep *s, const LedgeNode *n, LedgeError *err)
{
    LedgeOpCtx *c = &s->ctx;
    s->node = n;
    s->plan = p;
    c->in = ledge__arena_alloc(p->arena, n->n_in, sizeof *c->in);
    c->out = ledge__arena_alloc(p->arena, n->n_out, sizeof *c->out);
    uint8_t *constant = ledge__arena_alloc(p->arena, n->n_in, 1);
    if (!c->in || !c->out || !constant)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value) {
            c->in[i] = &value_of(p, n->in[i].value)->t;
            constant[i] = ledge__value_is_constant(n->in[i].value);
        }
    for (uint32_t i = 0; i < n->n_out; i++)
        c->out[i] = n->out[i] ? &value_of(p, n->out[i])->t : NULL;
    c->node = n;
    c->n_in = n->n_in;
    c->n_out = n->n_out;
    c->in_constant = constant;
    c->pool = p->o.pool;
    c->cpu = p->o.cpu;
    c->err = err;
    c->host = &ledge__plan_host;
    c->host_data = s;
    return LEDGE_OK;
}

/* Operators that read constants as arrays get them aligned. */
static LedgeStatus align_constants(LedgePlan *p, const LedgeNode *n, LedgeError *err)
{
    if (n->op->flags & LEDGE_OP_ANY_ALIGN)
        return LEDGE_OK;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        const void *data;
        if (!v || !ledge__value_is_constant(v) || v->t.type == LEDGE_STRING)
            continue;
        LEDGE_TRY(ledge__weights_aligned(p->o.weights, v, err, &data));
        value_of(p, v)->t.data = (void *)(uintptr_t)data;
    }
    return LEDGE_OK;
}

static bool depends_on_run(const LedgePlan *p, const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PlanValue *v = n->in[i].value ? value_of(p, n->in[i].value) : NULL;
        if (v && (v->place == PLAN_HEAP || is_container(&v->t)))
            return true;
    }
    return false;
}

static bool can_fold(const LedgePlan *p, const LedgeNode *n)
{
    if ((n->op->flags & LEDGE_OP_IMPURE) || ledge__node_has_bodies(n))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && value_of(p, n->in[i].value)->place != PLAN_CONSTANT)
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (!known(&value_of(p, n->out[i])->t) ||
                          ledge_tensor_bytes(&value_of(p, n->out[i])->t) > PLAN_FOLD_LIMIT))
            return false;
    return true;
}

static LedgeStatus fold(LedgePlan *p, PlanStep *s, LedgeError *err)
{
    LedgeOpCtx *c = &s->ctx;
    for (uint32_t i = 0; i < c->n_out; i++)
        if (c->out[i] && !c->out[i]->data) {
            c->out[i]->bytes = ledge_tensor_bytes(c->out[i]);
            c->out[i]->data = ledge__arena_alloc(p->arena, c->out[i]->bytes, 1);
            if (!c->out[i]->data)
                return ledge__no_memory(err);
        }
    if (s->node->op->flags & LEDGE_OP_VIEW)
        return ledge__op_copy_elements(c, c->in[0], c->out[0]->data);
    c->complete = true;
    c->cpu &= ledge__cpu_flags_uncapped(); /* the plan may be for another CPU, this runs now */
    if (s->node->op->prepare)
        LEDGE_TRY(s->node->op->prepare(c));
    if (c->scratch_bytes && !(c->scratch = ledge__arena_aligned(p->arena, c->scratch_bytes)))
        return ledge__no_memory(err);
    return s->node->op->run(c);
}

static bool all_out_have_data(const PlanStep *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->ctx.n_out; i++) {
        if (s->ctx.out[i] && !s->ctx.out[i]->data)
            return false;
        any |= s->ctx.out[i] != NULL;
    }
    return any;
}

static uint32_t wanted_outputs(const LedgeNode *n)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->n_out; i++)
        count += n->out[i] != NULL;
    return count;
}

/* What shares memory must be of one size, whatever an operator's inference let pass. */
static LedgeStatus check_shared(const LedgePlan *p, const PlanStep *s, LedgeError *err)
{
    const LedgeNode *n = s->node;
    bool last = (n->op->flags & LEDGE_OP_INPLACE_LAST) != 0;
    if ((!s->view && !last) || !n->n_in || !n->n_out || !n->out[0])
        return LEDGE_OK;
    const LedgeValue *in = n->in[last ? n->n_in - 1 : 0].value;
    const LedgeTensor *a = in ? &value_of(p, in)->t : NULL, *b = &value_of(p, n->out[0])->t;
    if (a && known(a) && known(b) && ledge_tensor_bytes(a) != ledge_tensor_bytes(b))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, n->name,
                           "%s: input '%s' has %zu bytes, the output in its place %zu", n->op_type,
                           in->name, ledge_tensor_bytes(a), ledge_tensor_bytes(b));
    return LEDGE_OK;
}

static void set_places(LedgePlan *p, PlanStep *s)
{
    const LedgeNode *n = s->node;
    for (uint32_t i = 0; i < n->n_out; i++) {
        PlanValue *v = n->out[i] ? value_of(p, n->out[i]) : NULL;
        if (!v)
            continue;
        v->place = known(&v->t) ? PLAN_ARENA : PLAN_HEAP;
        v->bytes = known(&v->t) ? ledge_tensor_bytes(&v->t) : 0;
        v->t.data = NULL;
        s->dynamic |= v->place == PLAN_HEAP;
    }
    PlanValue *from = n->n_in && n->in[0].value ? value_of(p, n->in[0].value) : NULL;
    PlanValue *to = n->n_out && n->out[0] ? value_of(p, n->out[0]) : NULL;
    s->view = (n->op->flags & LEDGE_OP_VIEW) && wanted_outputs(n) == 1 && from && to &&
              !is_container(&from->t) && (from->place != PLAN_HEAP || to->place == PLAN_HEAP);
    if (!s->view)
        return;
    to->root = from->root;
    if (to->place == PLAN_HEAP)
        return; /* its shape comes with the data; the memory is the root's all the same */
    to->place = from->place;
    if (from->place == PLAN_CONSTANT)
        to->t.data = from->t.data;
}

/* Bodies of If, Loop and Scan get their plans when they first run, with the shapes of then. */
static LedgeStatus list_bodies(LedgePlan *p, PlanStep *s, LedgeError *err)
{
    uint32_t count = 0;
    for (size_t a = 0; a < s->node->n_attrs; a++)
        count += s->node->attrs[a].graphs ? (uint32_t)s->node->attrs[a].count : 0;
    if (!count)
        return LEDGE_OK;
    s->bodies = ledge__arena_alloc(p->arena, count, sizeof *s->bodies);
    if (!s->bodies)
        return ledge__no_memory(err);
    for (size_t a = 0; a < s->node->n_attrs; a++)
        for (size_t i = 0; s->node->attrs[a].graphs && i < s->node->attrs[a].count; i++)
            s->bodies[s->n_bodies++].graph = s->node->attrs[a].graphs[i];
    return LEDGE_OK;
}

LedgeStatus ledge__plan_check_outputs(const PlanStep *s, LedgeError *err)
{
    for (uint32_t i = 0; i < s->ctx.n_out; i++) {
        const LedgeTensor *t = s->ctx.out[i];
        if (!t || is_container(t) || t->rank < 0)
            continue;
        bool open = false;
        for (int32_t d = 0; d < t->rank; d++)
            open |= t->dims[d] < 0;
        if (t->rank > LEDGE_MAX_RANK || (!open && ledge_tensor_bytes(t) == SIZE_MAX))
            return ledge__fail(err, LEDGE_ERROR_SHAPE, s->node->name,
                               "%s: output %u would have more elements than memory can hold",
                               s->node->op_type, i);
    }
    return LEDGE_OK;
}

static LedgeStatus add_step(LedgePlan *p, const LedgeNode *n, LedgeError *err)
{
    PlanStep *s = &p->steps[p->n_steps];
    memset(s, 0, sizeof *s);
    if (!wanted_outputs(n))
        return LEDGE_OK; /* nobody would see what it does */
    if (!n->op)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, n->name,
                           "operator %s is not supported by the CPU provider", n->op_type);
    LEDGE_TRY(align_constants(p, n, err));
    LEDGE_TRY(make_context(p, s, n, err));
    LEDGE_TRY(n->op->infer(&s->ctx));
    LEDGE_TRY(ledge__plan_check_outputs(s, err));
    bool folded = all_out_have_data(s);
    if (!folded && can_fold(p, n)) {
        LEDGE_TRY(fold(p, s, err));
        folded = true;
    }
    if (folded) {
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i])
                value_of(p, n->out[i])->place = PLAN_CONSTANT;
        return LEDGE_OK;
    }
    s->dynamic = depends_on_run(p, n);
    set_places(p, s);
    LEDGE_TRY(check_shared(p, s, err));
    LEDGE_TRY(list_bodies(p, s, err));
    if (!s->dynamic && n->op->macs)
        s->macs = n->op->macs(&s->ctx);
    if (s->view && !s->dynamic)
        return LEDGE_OK; /* no step: the planner gives it the same memory */
    if (!s->dynamic && n->op->prepare)
        LEDGE_TRY(n->op->prepare(&s->ctx));
    if (!s->dynamic && s->ctx.scratch_bytes > p->scratch_bytes)
        p->scratch_bytes = s->ctx.scratch_bytes;
    p->n_steps++;
    return LEDGE_OK;
}

static LedgeStatus add_outputs(LedgePlan *p, LedgeError *err)
{
    p->outputs = ledge__arena_alloc(p->arena, p->g->n_outputs, sizeof *p->outputs);
    p->output_copy = ledge__arena_alloc(p->arena, p->g->n_outputs, sizeof *p->output_copy);
    if (!p->outputs || !p->output_copy)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < p->g->n_outputs; i++)
        p->values[value_of(p, p->g->outputs[i])->root].is_output = true;
    return LEDGE_OK;
}

static LedgeStatus list_input_views(LedgePlan *p, LedgeError *err)
{
    p->input_views = ledge__arena_alloc(p->arena, p->g->n_values, sizeof *p->input_views);
    if (!p->input_views)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < p->g->n_values; i++)
        if (p->values[i].place == PLAN_INPUT && p->values[i].root != i)
            p->input_views[p->n_input_views++] = i;
    return LEDGE_OK;
}

static LedgeStatus build(LedgePlan *p, const LedgeTensor *inputs, LedgeError *err)
{
    size_t n_nodes = 0;
    for (const LedgeNode *n = p->g->first; n; n = n->next)
        n_nodes++;
    p->values = ledge__arena_alloc(p->arena, p->g->n_values, sizeof *p->values);
    p->steps = ledge__arena_alloc(p->arena, n_nodes + 1, sizeof *p->steps);
    if (!p->values || !p->steps)
        return ledge__no_memory(err);
    init_values(p);
    LEDGE_TRY(init_inputs(p, inputs, err));
    for (const LedgeNode *n = p->g->first; n; n = n->next)
        LEDGE_TRY(add_step(p, n, err));
    LEDGE_TRY(add_outputs(p, err));
    LEDGE_TRY(list_input_views(p, err));
    LEDGE_TRY(ledge__plan_layout(p, err));
    if (p->o.arena_limit && p->arena_bytes > p->o.arena_limit)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, p->g->name,
                           "activations need %zu bytes, the limit is %zu", p->arena_bytes,
                           p->o.arena_limit);
    return LEDGE_OK;
}

LedgeStatus ledge__plan_new(const LedgeGraph *g, const LedgePlanOptions *o,
                            const LedgeTensor *inputs, LedgeError *err, LedgePlan **out)
{
    if (o->depth > PLAN_MAX_DEPTH)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, g->name, "subgraphs are more than %d deep",
                           PLAN_MAX_DEPTH);
    LedgePlan *p = ledge__calloc(o->allocator, 1, sizeof *p);
    if (!p)
        return ledge__no_memory(err);
    p->g = g;
    p->o = *o;
    p->arena = ledge__arena_new(o->allocator);
    LedgeStatus s = p->arena ? build(p, inputs, err) : ledge__no_memory(err);
    if (s != LEDGE_OK) {
        ledge__plan_free(p);
        return s;
    }
    *out = p;
    return LEDGE_OK;
}

void ledge__plan_free(LedgePlan *p)
{
    if (!p)
        return;
    if (p->values)
        ledge__plan_release_heap(p);
    for (uint32_t i = 0; i < p->n_steps; i++)
        ledge__plan_bodies_free(p, &p->steps[i]);
    ledge__free(p->o.allocator, p->heap_scratch);
    ledge__arena_free(p->run_arena);
    ledge__arena_free(p->arena);
    ledge__free(p->o.allocator, p);
}
