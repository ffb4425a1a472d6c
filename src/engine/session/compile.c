/* Writing compiled models: plan the model once for the wanted shapes, then write the graph and
 * the weights in the forms that the plan asked for. */
#include "base/hash.h"
#include "base/out_file.h"
#include "engine/ops/fused/fused_weights.h"
#include "engine/session/ledge_file.h"
#include "engine/session/session.h"

/* Constants below this stay inside the graph's protobuf, unless a packed form belongs to them. */
#define INLINE_LIMIT 64u

typedef struct Writer {
    LedgeModel *m;
    LedgeArena *arena;
    LedgeError *err;
    LedgeFileConstant *constants;
    const LedgeValue **values; /* per constant */
    LedgeFileForm *forms;
    const LedgeWeightEntry **entries; /* per form */
    size_t n_constants, n_forms;
    char *names;
    size_t names_size, names_cap;
    LedgeFileHeader h;
    uint64_t at; /* where the next blob goes */
} Writer;

static bool add_name(Writer *w, const char *name, uint64_t *offset, uint64_t *size)
{
    size_t n = strlen(name);
    if (w->names_cap - w->names_size < n) {
        size_t cap = 2 * (w->names_cap + n) + 4096;
        char *p = ledge__arena_alloc(w->arena, cap, 1);
        if (!p)
            return false;
        if (w->names_size)
            memcpy(p, w->names, w->names_size);
        w->names = p;
        w->names_cap = cap;
    }
    memcpy(w->names + w->names_size, name, n);
    *offset = w->names_size;
    *size = n;
    w->names_size += n;
    return true;
}

static bool is_packed(const LedgeWeights *weights, const void *source)
{
    const LedgeWeightEntry *e;
    for (size_t i = 0; (e = ledge__weights_at(weights, i)); i++)
        if (e->source == source && strcmp(e->key, LEDGE_WEIGHTS_ALIGNED) != 0)
            return true;
    return false;
}

static bool in_table(const LedgeWeights *weights, const LedgeValue *v)
{
    if (!ledge__value_is_constant(v) || (!v->n_uses && !v->n_outputs) || v->t.type == LEDGE_STRING)
        return false;
    return ledge_tensor_bytes(&v->t) >= INLINE_LIMIT || is_packed(weights, v->t.data);
}

/* Raw data may be left out where every reader takes packed forms and has taken one. */
static bool raw_needed(const Writer *w, const LedgeValue *v)
{
    if (v->n_outputs || !is_packed(w->m->weights, v->t.data))
        return true;
    for (const LedgeUse *u = v->uses; u; u = u->next)
        if (!u->node->op || !(u->node->op->flags & LEDGE_OP_ANY_ALIGN))
            return true;
    return false;
}

static LedgeStatus list_constants(Writer *w)
{
    const LedgeGraph *g = w->m->graph;
    w->constants = ledge__arena_alloc(w->arena, g->n_values, sizeof *w->constants);
    w->values = ledge__arena_alloc(w->arena, g->n_values, sizeof *w->values);
    if (!w->constants || !w->values)
        return ledge__no_memory(w->err);
    for (uint32_t i = 0; i < g->n_values; i++) {
        const LedgeValue *v = g->values[i];
        if (!in_table(w->m->weights, v))
            continue;
        LedgeFileConstant *c = &w->constants[w->n_constants];
        c->type = (int32_t)v->t.type;
        c->rank = v->t.rank;
        memcpy(c->dims, v->t.dims, sizeof c->dims);
        c->data.size = raw_needed(w, v) ? ledge_tensor_bytes(&v->t) : 0;
        c->data.hash = ledge__checksum(v->t.data, (size_t)c->data.size);
        w->values[w->n_constants++] = v;
        if (!add_name(w, v->name, &c->name_offset, &c->name_size))
            return ledge__no_memory(w->err);
    }
    return LEDGE_OK;
}

static LedgeStatus list_forms(Writer *w)
{
    const LedgeWeightEntry *e;
    size_t count = 0;
    while (ledge__weights_at(w->m->weights, count))
        count++;
    w->forms = ledge__arena_alloc(w->arena, count, sizeof *w->forms);
    w->entries = ledge__arena_alloc(w->arena, count, sizeof *w->entries);
    if (!w->forms || !w->entries)
        return ledge__no_memory(w->err);
    for (size_t i = 0; (e = ledge__weights_at(w->m->weights, i)); i++) {
        size_t k = 0;
        while (k < w->n_constants && w->values[k]->t.data != e->source)
            k++;
        if (k == w->n_constants || strcmp(e->key, LEDGE_WEIGHTS_ALIGNED) == 0)
            continue; /* of a subgraph, made again on loading, or an alignment copy */
        LedgeFileForm *f = &w->forms[w->n_forms];
        f->constant = k;
        f->data.size = e->bytes;
        f->data.hash = ledge__checksum(e->data, e->bytes);
        w->entries[w->n_forms++] = e;
        if (!add_name(w, e->key, &f->key_offset, &f->key_size))
            return ledge__no_memory(w->err);
    }
    return LEDGE_OK;
}

static void place(Writer *w, LedgeFilePart *p)
{
    p->offset = w->at;
    w->at = ledge__round_up((size_t)(w->at + p->size), LEDGE_ALIGN);
}

/* The packed weights hold their factors, which would cost more to read than all the rest. */
static LedgeStatus replace_scales(Writer *w, OnnxModel *copy)
{
    for (size_t i = 0; i < copy->graph.n_nodes; i++) {
        OnnxNode *n = &copy->graph.nodes[i];
        for (size_t k = 0; k < n->n_attrs; k++) {
            OnnxAttr *a = &n->attrs[k];
            static const char end[] = "w_scale";
            const size_t size = sizeof end - 1;
            if (!ledge__str_eq(n->domain, "ledge") || a->type != ONNX_ATTR_FLOATS ||
                a->name.n < size || memcmp(a->name.p + a->name.n - size, end, size) != 0)
                continue;
            char *name = ledge__arena_alloc(w->arena, a->name.n + 5, 1);
            if (!name)
                return ledge__no_memory(w->err);
            memcpy(name, a->name.p, a->name.n);
            memcpy(name + a->name.n, "_key", 5);
            *a = (OnnxAttr){.name = {name, a->name.n + 4}, .type = ONNX_ATTR_INT, .count = 1,
                            .i = (int64_t)ledge__fused_scale_key(a->floats, a->count)};
        }
    }
    return LEDGE_OK;
}

/* The graph without the constants that the table holds. */
static LedgeStatus serialize_graph(Writer *w, void **bytes, size_t *size)
{
    OnnxModel copy = *w->m->onnx;
    copy.arena = w->arena;
    LEDGE_TRY(ledge__graph_export(w->m->graph, &copy, w->err));
    LEDGE_TRY(replace_scales(w, &copy));
    size_t kept = 0;
    for (size_t i = 0; i < copy.graph.n_initializers; i++) {
        const OnnxTensor *t = &copy.graph.initializers[i];
        bool moved = false;
        for (size_t k = 0; k < w->n_constants && !moved; k++)
            moved = ledge__str_eq(t->name, w->values[k]->name);
        if (!moved)
            copy.graph.initializers[kept++] = *t;
    }
    copy.graph.n_initializers = kept;
    return ledge__onnx_write_memory(&copy, w->m->allocator, bytes, size, w->err);
}

static LedgeStatus write_part(LedgeOutFile *f, const void *bytes, const LedgeFilePart *p,
                              LedgeError *err)
{
    LEDGE_TRY(ledge__out_file_pad(f, LEDGE_ALIGN, err));
    return ledge__out_file_write(f, bytes, (size_t)p->size, err);
}

static LedgeStatus write_all(Writer *w, LedgeOutFile *f, const void *graph, const void *table)
{
    LEDGE_TRY(ledge__out_file_write(f, &w->h, sizeof w->h, w->err));
    LEDGE_TRY(write_part(f, graph, &w->h.graph, w->err));
    LEDGE_TRY(write_part(f, table, &w->h.table, w->err));
    LEDGE_TRY(ledge__out_file_pad(f, LEDGE_FILE_PAGE, w->err));
    for (size_t i = 0; i < w->n_constants; i++)
        LEDGE_TRY(write_part(f, w->values[i]->t.data, &w->constants[i].data, w->err));
    for (size_t i = 0; i < w->n_forms; i++)
        LEDGE_TRY(write_part(f, w->entries[i]->data, &w->forms[i].data, w->err));
    return LEDGE_OK;
}

static LedgeStatus write_file(Writer *w, const char *path, const void *graph, const void *table)
{
    LedgeOutFile *f = NULL;
    LEDGE_TRY(ledge__out_file_open(w->m->allocator, path, w->err, &f));
    LedgeStatus s = write_all(w, f, graph, table);
    if (s != LEDGE_OK) {
        ledge__out_file_abort(f);
        return s;
    }
    return ledge__out_file_commit(f, w->err);
}

/* Offsets of everything; the table's bytes are made last, since they hold them. */
static void *lay_out(Writer *w, const void *graph, size_t graph_size)
{
    size_t constants = w->n_constants * sizeof *w->constants;
    size_t forms = w->n_forms * sizeof *w->forms;
    memcpy(w->h.magic, LEDGE_FILE_MAGIC, 8);
    w->h.format = LEDGE_FILE_FORMAT;
    w->h.packing = LEDGE_FILE_PACKING;
    w->h.cpu = w->m->cpu;
    w->h.n_constants = w->n_constants;
    w->h.n_forms = w->n_forms;
    w->h.names_offset = constants + forms;
    w->h.graph.size = graph_size;
    w->h.graph.hash = ledge__checksum(graph, graph_size);
    w->h.table.size = constants + forms + w->names_size;
    w->at = ledge__round_up(sizeof w->h, LEDGE_ALIGN);
    place(w, &w->h.graph);
    place(w, &w->h.table);
    w->at = ledge__round_up((size_t)(w->h.table.offset + w->h.table.size), LEDGE_FILE_PAGE);
    w->h.file_size = w->at;
    for (size_t i = 0; i < w->n_constants + w->n_forms; i++) {
        LedgeFilePart *p = i < w->n_constants ? &w->constants[i].data
                                              : &w->forms[i - w->n_constants].data;
        place(w, p);
        w->h.file_size = p->offset + p->size;
    }
    uint8_t *table = ledge__arena_alloc(w->arena, (size_t)w->h.table.size, 1);
    if (!table)
        return NULL;
    if (constants)
        memcpy(table, w->constants, constants);
    if (forms)
        memcpy(table + constants, w->forms, forms);
    if (w->names_size)
        memcpy(table + constants + forms, w->names, w->names_size);
    w->h.table.hash = ledge__checksum(table, (size_t)w->h.table.size);
    w->h.hash = ledge__checksum(&w->h, offsetof(LedgeFileHeader, hash));
    return table;
}

static LedgeStatus compile(Writer *w, const char *path)
{
    void *graph = NULL;
    size_t graph_size = 0;
    LEDGE_TRY(list_constants(w));
    LEDGE_TRY(list_forms(w));
    LEDGE_TRY(serialize_graph(w, &graph, &graph_size));
    const void *table = lay_out(w, graph, graph_size);
    LedgeStatus s = table ? write_file(w, path, graph, table) : ledge__no_memory(w->err);
    ledge__free(w->m->allocator, graph);
    return s;
}

/* A session made for the shapes has packed everything that they need. */
static LedgeStatus plan_once(LedgeModel *m, const LedgeTensor *inputs, size_t n, LedgeError *err)
{
    LedgeSessionOptions o = {.threads = 1, .allocator = m->allocator};
    LedgeSession *s = NULL;
    LEDGE_TRY(ledge_session_create(m, &o, err, &s));
    LedgeStatus status = LEDGE_OK;
    if (inputs && n != m->graph->n_inputs)
        status = ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                             "the model has %u inputs, shapes of %zu were given",
                             m->graph->n_inputs, n);
    else
        status = ledge__session_plan_for(s, inputs, err);
    ledge_session_free(s);
    return status;
}

LedgeStatus ledge_model_compile(LedgeModel *model, const LedgeTensor *inputs, size_t n_inputs,
                                const char *path, LedgeError *error)
{
    if (!model || !path)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "model and path must be given");
    if (model->native != model->graph)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL,
                           "a model that was loaded for providers is not compiled; load it without "
                           "for_providers");
    if (model->file)
        return ledge__fail(error, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "the model is compiled already; compile the .onnx file it came from");
    LEDGE_TRY(plan_once(model, inputs, n_inputs, error));
    Writer w = {.m = model, .err = error, .arena = ledge__arena_new(model->allocator)};
    LedgeStatus s = w.arena ? compile(&w, path) : ledge__no_memory(error);
    ledge__arena_free(w.arena);
    return s;
}
