/* Who runs what: goes through the list, and stops where nothing is left over. */
#include "engine/provider/backend_state.h"

#include <stdio.h>

#include "engine/optimize/optimize.h"
#include "engine/provider/probes.h"

void ledge__choice_free(LedgeBackend *b)
{
    ledge__ort_program_free(b->ort);
    if (b->program)
        b->asked[b->whole].api->program_free(b->program);
    ledge__partition_free(&b->parts);
    ledge__view_free(b->view);
    ledge__weights_free(b->weights);
    ledge__graph_free(b->graph);
    ledge__arena_free(b->choice);
    b->ort = NULL;
    b->program = NULL;
    b->view = NULL;
    b->weights = NULL;
    b->graph = NULL;
    b->choice = NULL;
    b->costs = NULL;
    b->owners = NULL;
    b->reasons = NULL;
    b->n_nodes = 0;
    b->whole = NOBODY;
    b->failed = LEDGE_OK;
}

/* ---- the file's graph, and what its nodes cost ---- */

static LedgeStatus file_graph(const LedgeBackend *b, bool free_dims_are_one, LedgeGraph **out,
                              LedgeError *err)
{
    LedgeStatus status = ledge__graph_build(b->allocator, b->model->onnx, err, out);
    if (status == LEDGE_OK)
        status = ledge__ops_bind(*out, NULL);
    for (uint32_t i = 0; status == LEDGE_OK && free_dims_are_one && i < (*out)->n_inputs; i++)
        for (int32_t d = 0; d < (*out)->inputs[i]->t.rank; d++)
            if ((*out)->inputs[i]->t.type < LEDGE_SEQUENCE && (*out)->inputs[i]->t.dims[d] < 0)
                (*out)->inputs[i]->t.dims[d] = 1;
    if (status == LEDGE_OK)
        status = ledge__graph_infer(*out, LEDGE_LOAD_FOLD_LIMIT, err);
    if (status != LEDGE_OK) {
        ledge__graph_free(*out);
        *out = NULL;
    }
    return status;
}

static int64_t node_macs(const LedgeNode *n, LedgeArena *scratch)
{
    LedgeOpCtx c = {.node = n, .n_in = n->n_in, .n_out = n->n_out};
    if (!n->op || !n->op->macs || ledge__node_has_bodies(n))
        return 0;
    c.in = ledge__arena_alloc(scratch, n->n_in, sizeof *c.in);
    c.out = ledge__arena_alloc(scratch, n->n_out, sizeof *c.out);
    uint8_t *constant = ledge__arena_alloc(scratch, n->n_in, 1);
    if (!c.in || !c.out || !constant)
        return 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        c.in[i] = n->in[i].value ? &n->in[i].value->t : NULL;
        constant[i] = n->in[i].value && ledge__value_is_constant(n->in[i].value);
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        c.out[i] = n->out[i] ? &n->out[i]->t : NULL;
    c.in_constant = constant;
    const int64_t macs = n->op->macs(&c);
    return macs > 0 ? macs : 0;
}

/* Costs of g's nodes. They come from a second graph, in which free dimensions are 1; folding may
 * have taken more nodes out of that one, but the order is the same. */
static LedgeStatus count_costs(LedgeBackend *b, const LedgeGraph *g, LedgeError *err)
{
    LedgeGraph *sized = NULL;
    LedgeArena *scratch = ledge__arena_new(b->allocator);
    if (!scratch || file_graph(b, true, &sized, NULL))
        sized = NULL; /* what cannot be sized costs 0 */
    for (const LedgeNode *n = g->first; n; n = n->next)
        b->n_nodes++;
    b->costs = ledge__arena_alloc(b->choice, b->n_nodes, sizeof *b->costs);
    b->owners = ledge__arena_alloc(b->choice, b->n_nodes, 1);
    b->reasons = ledge__arena_alloc(b->choice, b->n_nodes, sizeof *b->reasons);
    const bool ok = scratch && b->costs && b->owners && b->reasons;
    const LedgeNode *s = sized ? sized->first : NULL;
    size_t k = 0;
    bool copied = true;
    for (const LedgeNode *n = g->first; ok && n; n = n->next, k++) {
        NodeCost *c = &b->costs[k];
        c->name = ledge__arena_str(b->choice, n->name);
        c->op_type = ledge__arena_str(b->choice, n->op_type);
        copied &= c->name && c->op_type;
        b->owners[k] = OWNER_CPU;
        if (s && strcmp(s->name, n->name) == 0 && strcmp(s->op_type, n->op_type) == 0) {
            c->macs = node_macs(s, scratch);
            s = s->next;
        }
    }
    ledge__graph_free(sized);
    ledge__arena_free(scratch);
    return ok && copied ? LEDGE_OK : ledge__no_memory(err);
}

/* ---- ONNX Runtime: the whole model ---- */

static bool only_tensors(const LedgeTensorInfo *infos, size_t n, const char **name)
{
    for (size_t i = 0; i < n; i++)
        if (infos[i].type >= LEDGE_SEQUENCE || infos[i].type == LEDGE_STRING) {
            *name = infos[i].name;
            return false;
        }
    return true;
}

static LedgeStatus open_ort(LedgeBackend *b, Asked *a, LedgeError *said)
{
    LedgeModel *m = b->model;
    const uint32_t n_in = m->graph->n_inputs, n_out = m->graph->n_outputs;
    const char *other = NULL;
    ProbeAnswer p;
    if (!only_tensors(m->inputs, n_in, &other) || !only_tensors(m->outputs, n_out, &other))
        return ledge__fail(said, LEDGE_ERROR_UNSUPPORTED, other,
                           "'%s' is a string or a container; only number tensors go to ONNX "
                           "Runtime",
                           other);
    const char **names = ledge__arena_alloc(b->choice, (size_t)n_in + n_out, sizeof *names);
    if (!names)
        return ledge__no_memory(said);
    for (uint32_t i = 0; i < n_in + n_out; i++)
        names[i] = i < n_in ? m->inputs[i].name : m->outputs[i - n_in].name;
    OrtSetup setup = {.allocator = b->allocator,
                      .known = a->known,
                      .threads = b->threads,
                      .settings = a->settings,
                      .n_settings = a->n_settings,
                      .strict = b->strict,
                      .model_path = m->onnx->path,
                      .n_inputs = n_in,
                      .n_outputs = n_out,
                      .input_names = names,
                      .output_names = names + n_in};
    void *bytes = NULL;
    LEDGE_TRY(ledge__provider_probe(a->name, said, &p));
    LEDGE_TRY(ledge__ort_library(p.library, said, &setup.library));
    if (!setup.model_path) {
        LEDGE_TRY(ledge__onnx_write_memory(m->onnx, b->allocator, &bytes, &setup.model_size, said));
        setup.model = bytes;
    }
    LedgeStatus status = ledge__ort_program_new(&setup, said, &b->ort);
    ledge__free(b->allocator, bytes);
    return status;
}

/* ---- a provider of one's own ---- */

static LedgeStatus open_instance(LedgeBackend *b, Asked *a, LedgeError *said)
{
    const LedgeProviderSetup setup = {b->threads, a->settings, a->n_settings};
    return a->instance ? LEDGE_OK : a->api->open(&setup, said, &a->instance);
}

static int64_t *macs_of(LedgeBackend *b)
{
    int64_t *macs = ledge__arena_alloc(b->choice, b->n_nodes, sizeof *macs);
    for (size_t k = 0; macs && k < b->n_nodes; k++)
        macs[k] = b->costs[k].macs;
    return macs;
}

/* Asks which of the nodes that are still the CPU's it takes. *left: how many it leaves. */
static LedgeStatus claim(LedgeBackend *b, size_t index, ProviderView *v, size_t *left,
                         LedgeError *said)
{
    Asked *a = &b->asked[index];
    LedgeProviderNode *nodes = (LedgeProviderNode *)(uintptr_t)v->graph.nodes;
    bool *takes = ledge__arena_alloc(b->choice, b->n_nodes, sizeof *takes);
    const char **reasons = ledge__arena_alloc(b->choice, b->n_nodes, sizeof *reasons);
    if (!takes || !reasons)
        return ledge__no_memory(said);
    for (size_t k = 0; k < b->n_nodes; k++)
        nodes[k].offered &= b->owners[k] == OWNER_CPU;
    LEDGE_TRY(a->api->claim(a->instance, &v->graph, takes, reasons, said));
    *left = 0;
    for (size_t k = 0; k < b->n_nodes; k++) {
        if (takes[k] && nodes[k].offered)
            b->owners[k] = (uint8_t)index;
        else if (b->owners[k] == OWNER_CPU && index == 0)
            b->reasons[k] = reasons[k];
        *left += b->owners[k] != index;
    }
    return LEDGE_OK;
}

static void give_up(LedgeBackend *b, size_t index, LedgeStatus status, const LedgeError *said)
{
    ledge__asked_refuse(&b->asked[index], status, "%s%s%s", said->where[0] ? said->where : "",
                        said->where[0] ? ": " : "",
                        said->message[0] ? said->message : ledge_status_text(status));
    for (size_t k = 0; k < b->n_nodes; k++)
        if (b->owners[k] == index)
            b->owners[k] = OWNER_CPU;
}

/* Whether no output of the model is one of its inputs or a constant, which no node would give. */
static bool nodes_make_all(const LedgeGraph *g)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (!g->outputs[i]->producer)
            return false;
    return g->n_outputs > 0;
}

/* *done: it runs the whole model. */
static LedgeStatus try_own(LedgeBackend *b, size_t index, const LedgeGraph *g, bool *done,
                           LedgeError *said)
{
    Asked *a = &b->asked[index];
    ProviderView *v = NULL;
    size_t left = 0;
    LEDGE_TRY(open_instance(b, a, said));
    LEDGE_TRY(ledge__view_new(b->allocator, g, b->model->onnx, macs_of(b), said, &v));
    LedgeStatus status = claim(b, index, v, &left, said);
    if (status == LEDGE_OK && !left && nodes_make_all(g)) {
        status = a->api->compile(a->instance, &v->graph, said, &b->program);
        *done = status == LEDGE_OK;
    }
    if (*done) {
        b->whole = (int)index;
        b->view = v;
        return LEDGE_OK;
    }
    ledge__view_free(v);
    return status;
}

/* ---- parts ---- */

/* Compiles each part; those of a provider that refuses one go back to the CPU. *again: cut anew. */
static LedgeStatus compile_parts(LedgeBackend *b, bool *again, LedgeError *err)
{
    *again = false;
    for (size_t i = 0; i < b->parts.n; i++) {
        Part *p = b->parts.items[i];
        Asked *a = &b->asked[p->owner];
        LedgeError said = {0};
        p->api = a->api;
        const LedgeStatus status =
            a->api->compile(a->instance, &p->view->graph, &said, &p->program);
        if (status == LEDGE_OK)
            continue;
        p->program = NULL;
        give_up(b, p->owner, status, &said);
        *again = true;
        return LEDGE_OK;
    }
    (void)err;
    return LEDGE_OK;
}

static bool any_owned(const LedgeBackend *b)
{
    for (size_t k = 0; k < b->n_nodes; k++)
        if (b->owners[k] != OWNER_CPU)
            return true;
    return false;
}

static LedgeStatus finish_graph(LedgeBackend *b, LedgeGraph *g, LedgeError *err)
{
    LEDGE_TRY(ledge__partition_apply(g, &b->parts, err));
    LEDGE_TRY(ledge__ops_bind(g, err));
    LEDGE_TRY(ledge__graph_infer(g, LEDGE_LOAD_FOLD_LIMIT, err));
    b->weights = ledge__weights_new(b->allocator);
    if (!b->weights)
        return ledge__no_memory(err);
    if (b->model->no_optimize)
        return LEDGE_OK;
    LedgeOptOptions o = {.cpu = b->model->cpu, .fold_limit = LEDGE_LOAD_FOLD_LIMIT};
    return ledge__graph_optimize(g, &o, err);
}

static LedgeStatus make_parts(LedgeBackend *b, LedgeGraph *g, LedgeError *err)
{
    bool again = true;
    while (again && any_owned(b)) {
        ledge__partition_free(&b->parts);
        LEDGE_TRY(ledge__partition_plan(b->allocator, g, b->model->onnx, b->owners, macs_of(b), err,
                                        &b->parts));
        LEDGE_TRY(compile_parts(b, &again, err));
        if (!again)
            return finish_graph(b, g, err);
    }
    return LEDGE_OK;
}

/* ---- the list ---- */

/* The CPU runs all, if it can. */
static LedgeStatus try_cpu(LedgeBackend *b, Asked *a, LedgeError *err)
{
    LedgeGraph *g;
    LedgeError said = {0};
    const LedgeStatus status = ledge__model_native(b->model, &said, &g);
    if (status == LEDGE_OK)
        return LEDGE_OK;
    if (a)
        ledge__asked_refuse(a, status, "%s", said.message);
    return ledge__fail(err, status, said.where, "%s", said.message);
}

static LedgeStatus try_one(LedgeBackend *b, size_t index, const LedgeGraph *g, bool *done,
                           LedgeError *err)
{
    Asked *a = &b->asked[index];
    LedgeError said = {0};
    LedgeStatus status;
    if (a->known && !a->known->ort_name) {
        *done = any_owned(b) || try_cpu(b, a, &said) == LEDGE_OK;
        return LEDGE_OK;
    }
    if (a->known && any_owned(b)) {
        ledge__asked_refuse(a, LEDGE_ERROR_PROVIDER,
                            "it runs whole models only, and another runs a part of this one");
        a->for_now = true;
        return LEDGE_OK;
    }
    if (a->known) {
        status = open_ort(b, a, &said);
        if (status == LEDGE_OK) {
            b->whole = (int)index;
            *done = true;
        }
    } else {
        status = try_own(b, index, g, done, &said);
    }
    if (status)
        give_up(b, index, status, &said);
    (void)err;
    return LEDGE_OK;
}

/* Where the CPU cannot run what is left: its own sentence, and who else was asked in vain. */
static LedgeStatus nobody(const LedgeBackend *b, LedgeStatus status, LedgeError *said,
                          LedgeError *err)
{
    for (size_t i = 0; i < b->n_asked; i++)
        if (b->asked[i].status && b->asked[i].known && b->asked[i].known->ort_name)
            return ledge__fail(err, status, said->where, "%.200s; and %s: %.220s", said->message,
                               b->asked[i].name, b->asked[i].reason);
    if (err)
        *err = *said;
    return status;
}

static void refuse_compiled(LedgeBackend *b)
{
    b->n_nodes = b->model->onnx->graph.n_nodes;
    for (size_t i = 0; i < b->n_asked; i++)
        if (!b->asked[i].known || b->asked[i].known->ort_name)
            ledge__asked_refuse(&b->asked[i], LEDGE_ERROR_PROVIDER,
                                "a compiled model (.ledge) runs on the CPU alone; use the .onnx "
                                "that it came from");
}

LedgeStatus ledge__choose(LedgeBackend *b, LedgeError *err)
{
    LedgeGraph *g = NULL;
    bool done = false;
    LedgeError said = {0};
    ledge__choice_free(b);
    b->choice = ledge__arena_new(b->allocator);
    if (!b->choice)
        return ledge__no_memory(err);
    if (b->model->file) {
        refuse_compiled(b);
        return LEDGE_OK;
    }
    LEDGE_TRY(file_graph(b, false, &g, err));
    b->graph = g; /* freed with the choice */
    LEDGE_TRY(count_costs(b, g, err));
    for (size_t i = 0; i < b->n_asked; i++)
        if (b->asked[i].for_now) {
            b->asked[i].for_now = false;
            b->asked[i].status = LEDGE_OK;
            b->asked[i].reason[0] = '\0';
        }
    for (size_t i = 0; i < b->n_asked && !done; i++)
        if (!b->asked[i].left_out && !b->asked[i].status)
            LEDGE_TRY(try_one(b, i, g, &done, err));
    if (b->whole != NOBODY) {
        if (b->asked[b->whole].known) { /* ONNX Runtime has its own */
            ledge__graph_free(b->graph);
            b->graph = NULL;
        }
        return LEDGE_OK;
    }
    if (any_owned(b))
        LEDGE_TRY(make_parts(b, g, err));
    if (any_owned(b))
        return LEDGE_OK;
    ledge__graph_free(b->graph);
    b->graph = NULL;
    const LedgeStatus status = try_cpu(b, NULL, &said);
    return status ? nobody(b, status, &said, err) : LEDGE_OK;
}
