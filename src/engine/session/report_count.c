/* Counting what an ONNX model holds: operators, weights by type, quantized nodes. */
#include "engine/session/report_internal.h"

#include <stdlib.h>

/* An operator's or function's full name. */
typedef struct OpName {
    LedgeStr domain, op;
} OpName;

/* Names are gathered and sorted rather than looked up one by one: a hostile file may hold a
 * million different ones. */
typedef struct Count {
    LedgeReportBox *box;
    const OnnxModel *model;
    LedgeReport *r;
    OpName *ops, *functions;
    size_t n_ops, cap_ops, cap_weights, cap_files;
    bool no_memory;
} Count;

int ledge__report_compare_str(const void *a, const void *b)
{
    const LedgeStr *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static int compare_names(const void *a, const void *b)
{
    const OpName *x = a, *y = b;
    const int c = ledge__report_compare_str(&x->domain, &y->domain);
    return c ? c : ledge__report_compare_str(&x->op, &y->op);
}

static bool same(LedgeStr s, const char *z)
{
    return ledge__str_eq(s, z);
}

static bool any_of(LedgeStr s, const char *const *names)
{
    for (; *names; names++)
        if (same(s, *names))
            return true;
    return false;
}

static OpName name_of(LedgeStr domain, LedgeStr op)
{
    return (OpName){same(domain, "ai.onnx") ? (LedgeStr){"", 0} : domain, op};
}

/* Room for one more element of an array in the report's arena. */
static bool grow(Count *c, void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    const size_t wanted = *cap ? *cap * 2 : 16;
    void *p = ledge__arena_alloc(c->box->arena, wanted, size);
    if (!p) {
        c->no_memory = true;
        return false;
    }
    if (count)
        memcpy(p, *items, count * size);
    *items = p;
    *cap = wanted;
    return true;
}

static void count_op(Count *c, const OnnxNode *n)
{
    void *ops = c->ops;
    if (!grow(c, &ops, c->n_ops, &c->cap_ops, sizeof *c->ops))
        return;
    c->ops = ops;
    c->ops[c->n_ops++] = name_of(n->domain, n->op_type);
}

static bool sort_functions(Count *c)
{
    const size_t n = c->model->n_functions;
    c->functions = ledge__arena_alloc(c->box->arena, n, sizeof *c->functions);
    if (!c->functions)
        return false;
    for (size_t i = 0; i < n; i++)
        c->functions[i] = name_of(c->model->functions[i].domain, c->model->functions[i].name);
    if (n)
        qsort(c->functions, n, sizeof *c->functions, compare_names);
    return true;
}

static bool is_supported(const Count *c, const OpName *name, const char *domain, const char *op)
{
    const size_t n = c->model->n_functions;
    return (n && bsearch(name, c->functions, n, sizeof *name, compare_names)) ||
           ledge__op_find(domain, op, (int)ledge__onnx_opset(c->model, domain)) != NULL;
}

static int by_count(const void *a, const void *b)
{
    const LedgeReportOp *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->op_type, y->op_type);
}

/* From all names to one entry a kind. */
static bool group_ops(Count *c)
{
    LedgeReport *r = c->r;
    size_t cap = 0;
    if (c->n_ops)
        qsort(c->ops, c->n_ops, sizeof *c->ops, compare_names);
    for (size_t i = 0; i < c->n_ops; i++) {
        const OpName *name = &c->ops[i];
        if (i && compare_names(name - 1, name) == 0) {
            r->ops[r->n_ops - 1].count++;
            continue;
        }
        void *ops = r->ops;
        const char *domain = ledge__arena_strn(c->box->arena, name->domain.p, name->domain.n);
        const char *op = ledge__arena_strn(c->box->arena, name->op.p, name->op.n);
        if (!domain || !op || !grow(c, &ops, r->n_ops, &cap, sizeof *r->ops))
            return false;
        r->ops = ops;
        r->ops[r->n_ops++] = (LedgeReportOp){domain, op, 1, is_supported(c, name, domain, op)};
    }
    if (r->n_ops)
        qsort(r->ops, r->n_ops, sizeof *r->ops, by_count);
    return true;
}

/* The external file's name, once. */
static void note_file(Count *c, LedgeStr location)
{
    LedgeReport *r = c->r;
    for (size_t i = 0; i < r->n_external_files; i++)
        if (ledge__str_eq(location, r->external_files[i]))
            return;
    const char *name = ledge__arena_strn(c->box->arena, location.p, location.n);
    void *files = r->external_files;
    c->no_memory |= !name;
    if (!name || !grow(c, &files, r->n_external_files, &c->cap_files, sizeof *r->external_files))
        return;
    r->external_files = files;
    r->external_files[r->n_external_files++] = name;
}

static void count_tensor(Count *c, const OnnxTensor *t)
{
    LedgeReport *r = c->r;
    int64_t elements = 1;
    size_t bytes = t->data_size;
    for (size_t i = 0; i < t->n_dims; i++)
        elements *= t->dims[i]; /* the reader has checked the product */
    for (size_t i = 0; i < t->n_strings; i++)
        bytes += t->strings[i].n;
    r->n_initializers++;
    r->parameters += elements;
    r->parameter_bytes += bytes;
    r->external_bytes += t->external ? bytes : 0;
    if (t->external)
        note_file(c, t->location);
    size_t i = 0;
    const LedgeType type =
        ledge_type_bits((LedgeType)t->data_type) ? (LedgeType)t->data_type : LEDGE_TYPE_NONE;
    while (i < r->n_weights && r->weights[i].type != type)
        i++;
    if (i == r->n_weights) {
        if (!grow(c, (void **)&r->weights, i, &c->cap_weights, sizeof *r->weights))
            return;
        r->weights[r->n_weights++] = (LedgeReportWeights){.type = type};
    }
    r->weights[i].tensors++;
    r->weights[i].elements += elements;
    r->weights[i].bytes += bytes;
}

/* Names that DequantizeLinear nodes make, sorted. */
typedef struct Names {
    LedgeStr *items;
    size_t n;
} Names;

static bool has_name(const Names *names, LedgeStr s)
{
    return names->n && bsearch(&s, names->items, names->n, sizeof s, ledge__report_compare_str);
}

static Names dequantized_names(Count *c, const OnnxNode *nodes, size_t n_nodes)
{
    Names names = {ledge__arena_alloc(c->box->arena, n_nodes, sizeof(LedgeStr)), 0};
    if (!names.items) {
        c->no_memory = true;
        return names;
    }
    for (size_t i = 0; i < n_nodes; i++)
        if (same(nodes[i].op_type, "DequantizeLinear") && nodes[i].n_outputs)
            names.items[names.n++] = nodes[i].outputs[0];
    if (names.n)
        qsort(names.items, names.n, sizeof *names.items, ledge__report_compare_str);
    return names;
}

static void count_quantization(Count *c, const OnnxNode *n, const Names *dequantized)
{
    static const char *const weighted[] = {
        "Conv", "ConvTranspose", "Gemm",      "MatMul",      "LSTM",
        "GRU",  "RNN",           "FusedConv", "FusedMatMul", NULL};
    static const char *const integer[] = {
        "QLinearConv",           "QLinearMatMul", "ConvInteger",
        "MatMulInteger",         "QGemm",         "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul", "MatMulNBits",   NULL};
    LedgeReport *r = c->r;
    r->n_quantize += same(n->op_type, "QuantizeLinear");
    r->n_dequantize += same(n->op_type, "DequantizeLinear");
    if (any_of(n->op_type, integer)) {
        r->n_weighted++;
        r->n_weighted_quantized++;
    } else if (any_of(n->op_type, weighted)) {
        r->n_weighted++;
        r->n_weighted_quantized += n->n_inputs > 1 && has_name(dequantized, n->inputs[1]);
    }
}

static void count_graph(Count *c, const OnnxGraph *g);

static void count_nodes(Count *c, const OnnxNode *nodes, size_t n_nodes)
{
    const Names dequantized = dequantized_names(c, nodes, n_nodes);
    for (size_t i = 0; i < n_nodes && !c->no_memory; i++) {
        const OnnxNode *n = &nodes[i];
        c->r->n_nodes++;
        count_op(c, n);
        count_quantization(c, n, &dequantized);
        for (size_t k = 0; k < n->n_attrs; k++) {
            const OnnxAttr *a = &n->attrs[k];
            if (a->type != ONNX_ATTR_GRAPH && a->type != ONNX_ATTR_GRAPHS)
                continue;
            c->r->n_subgraphs += a->count;
            for (size_t m = 0; m < a->count; m++)
                count_graph(c, &a->graphs[m]);
        }
    }
}

/* Depth is bounded by the reader's ONNX_MAX_NESTING. */
static void count_graph(Count *c, const OnnxGraph *g)
{
    for (size_t i = 0; i < g->n_initializers; i++)
        count_tensor(c, &g->initializers[i]);
    for (size_t i = 0; i < g->n_sparse_initializers; i++)
        count_tensor(c, &g->sparse_initializers[i].values);
    count_nodes(c, g->nodes, g->n_nodes);
}

LedgeStatus ledge__report_count(LedgeReportBox *box, const OnnxModel *m, LedgeError *err)
{
    Count c = {.box = box, .model = m, .r = &box->report};
    if (!sort_functions(&c))
        return ledge__no_memory(err);
    count_graph(&c, &m->graph);
    for (size_t i = 0; i < m->n_functions; i++)
        count_nodes(&c, m->functions[i].nodes, m->functions[i].n_nodes);
    c.r->n_functions = m->n_functions;
    return c.no_memory || !group_ops(&c) ? ledge__no_memory(err) : LEDGE_OK;
}
