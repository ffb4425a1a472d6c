/* Models made in a few lines, for tests. */
#include "model_maker.h"

#include <stdio.h>
#include <stdlib.h>

struct TestModel {
    OnnxModel m;
    void *bytes;
};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "model_maker: out of memory\n");
        abort();
    }
    return p;
}

static void *grow(TestModel *t, const void *items, size_t count, size_t size)
{
    return must(ledge__arena_append(t->m.arena, (void *)(uintptr_t)items, count, size));
}

static LedgeStr str(TestModel *t, const char *s)
{
    return (LedgeStr){must(ledge__arena_str(t->m.arena, s)), strlen(s)};
}

TestModel *test_model_new(int opset)
{
    TestModel *t = must(ledge__calloc(NULL, 1, sizeof *t));
    t->m.arena = must(ledge__arena_new(NULL));
    t->m.ir_version = 8;
    t->m.n_opsets = 1;
    t->m.opsets = must(ledge__arena_alloc(t->m.arena, 1, sizeof *t->m.opsets));
    t->m.opsets[0].version = opset;
    t->m.graph.name = str(t, "test");
    return t;
}

void test_model_free(TestModel *t)
{
    if (!t)
        return;
    ledge__free(NULL, t->bytes);
    ledge__arena_free(t->m.arena);
    ledge__free(NULL, t);
}

static OnnxValueInfo info(TestModel *t, const char *name)
{
    return (OnnxValueInfo){.name = str(t, name)};
}

void test_input(TestModel *t, const char *name, LedgeType type, int rank, const int64_t *dims)
{
    OnnxGraph *g = &t->m.graph;
    OnnxValueInfo v = info(t, name);
    v.type.kind = ONNX_TYPE_TENSOR;
    v.type.elem_type = (int32_t)type;
    v.type.has_shape = true;
    v.type.n_dims = (size_t)rank;
    v.type.dims = must(ledge__arena_alloc(t->m.arena, (size_t)rank, sizeof *v.type.dims));
    for (int d = 0; d < rank; d++)
        v.type.dims[d].value = dims[d];
    g->inputs = grow(t, g->inputs, g->n_inputs, sizeof v);
    g->inputs[g->n_inputs++] = v;
}

void test_output(TestModel *t, const char *name)
{
    OnnxGraph *g = &t->m.graph;
    g->outputs = grow(t, g->outputs, g->n_outputs, sizeof *g->outputs);
    g->outputs[g->n_outputs++] = info(t, name);
}

void test_tensor(TestModel *t, const char *name, LedgeType type, int rank, const int64_t *dims,
                 const void *data)
{
    OnnxGraph *g = &t->m.graph;
    LedgeTensor shape = {.type = type, .rank = rank};
    OnnxTensor x = {.name = str(t, name), .data_type = (int32_t)type, .n_dims = (size_t)rank,
                    .offset = -1, .length = -1};
    x.dims = must(ledge__arena_alloc(t->m.arena, (size_t)rank, sizeof *x.dims));
    for (int d = 0; d < rank; d++)
        shape.dims[d] = x.dims[d] = dims[d];
    x.data_size = ledge_tensor_bytes(&shape);
    void *copy = must(ledge__arena_alloc(t->m.arena, x.data_size, 1));
    if (x.data_size)
        memcpy(copy, data, x.data_size);
    x.data = copy;
    g->initializers = grow(t, g->initializers, g->n_initializers, sizeof x);
    g->initializers[g->n_initializers++] = x;
}

void test_floats(TestModel *t, const char *name, int rank, const int64_t *dims, const float *data)
{
    test_tensor(t, name, LEDGE_FLOAT, rank, dims, data);
}

void test_fill(float *x, size_t n, uint32_t seed)
{
    uint64_t s = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(s >> 32) / 2147483648.0f;
    }
}

void test_noise(TestModel *t, const char *name, int rank, const int64_t *dims, uint32_t seed)
{
    size_t n = 1;
    for (int d = 0; d < rank; d++)
        n *= (size_t)dims[d];
    float *x = must(ledge__alloc(NULL, n, sizeof *x));
    test_fill(x, n, seed);
    test_floats(t, name, rank, dims, x);
    ledge__free(NULL, x);
}

void test_ints(TestModel *t, const char *name, int n, const int64_t *data)
{
    test_tensor(t, name, LEDGE_INT64, 1, (int64_t[]){n}, data);
}

static LedgeStr *split(TestModel *t, const char *names, size_t *count)
{
    LedgeStr *list = NULL;
    size_t n = 0;
    while (*names) {
        size_t len = strcspn(names, " ");
        char *one = must(ledge__arena_strn(t->m.arena, names, len));
        list = grow(t, list, n, sizeof *list);
        list[n++] = strcmp(one, "_") == 0 ? (LedgeStr){"", 0} : (LedgeStr){one, len};
        names += len + (names[len] == ' ');
    }
    *count = n;
    return list;
}

OnnxNode *test_node(TestModel *t, const char *op_type, const char *inputs, const char *outputs)
{
    OnnxGraph *g = &t->m.graph;
    OnnxNode n = {.op_type = str(t, op_type)};
    n.inputs = split(t, inputs, &n.n_inputs);
    n.outputs = split(t, outputs, &n.n_outputs);
    n.name = n.n_outputs ? n.outputs[0] : (LedgeStr){0};
    g->nodes = grow(t, g->nodes, g->n_nodes, sizeof n);
    g->nodes[g->n_nodes] = n;
    return &g->nodes[g->n_nodes++];
}

static OnnxAttr *attr(TestModel *t, OnnxNode *n, const char *name, OnnxAttrType type)
{
    n->attrs = grow(t, n->attrs, n->n_attrs, sizeof *n->attrs);
    OnnxAttr *a = &n->attrs[n->n_attrs++];
    *a = (OnnxAttr){.name = str(t, name), .type = type, .count = 1};
    return a;
}

void test_attr_int(TestModel *t, OnnxNode *n, const char *name, int64_t v)
{
    attr(t, n, name, ONNX_ATTR_INT)->i = v;
}

void test_attr_float(TestModel *t, OnnxNode *n, const char *name, float v)
{
    attr(t, n, name, ONNX_ATTR_FLOAT)->f = v;
}

void test_attr_ints(TestModel *t, OnnxNode *n, const char *name, int count, const int64_t *v)
{
    OnnxAttr *a = attr(t, n, name, ONNX_ATTR_INTS);
    a->count = (size_t)count;
    a->ints = must(ledge__arena_alloc(t->m.arena, a->count, sizeof *v));
    if (count)
        memcpy(a->ints, v, a->count * sizeof *v);
}

void test_attr_string(TestModel *t, OnnxNode *n, const char *name, const char *v)
{
    attr(t, n, name, ONNX_ATTR_STRING)->s = str(t, v);
}

void test_attr_graph(TestModel *t, OnnxNode *n, const char *name, TestModel *body)
{
    attr(t, n, name, ONNX_ATTR_GRAPH)->graphs = &body->m.graph;
}

void test_metadata(TestModel *t, const char *key, const char *value)
{
    OnnxModel *m = &t->m;
    m->metadata = grow(t, m->metadata, m->n_metadata, sizeof *m->metadata);
    m->metadata[m->n_metadata++] = (OnnxEntry){.key = str(t, key), .value = str(t, value)};
}

OnnxModel *test_onnx(TestModel *t)
{
    return &t->m;
}

const void *test_bytes(TestModel *t, size_t *size)
{
    LedgeError err;
    ledge__free(NULL, t->bytes);
    t->bytes = NULL;
    if (ledge__onnx_write_memory(&t->m, NULL, &t->bytes, size, &err) != LEDGE_OK) {
        fprintf(stderr, "model_maker: %s\n", err.message);
        abort();
    }
    return t->bytes;
}

LedgeModel *test_load(TestModel *t, bool optimize, LedgeError *err)
{
    LedgeModelOptions o = {.no_optimize = !optimize};
    LedgeModel *m = NULL;
    size_t size;
    const void *bytes = test_bytes(t, &size);
    return ledge_model_load_memory(bytes, size, &o, err, &m) == LEDGE_OK ? m : NULL;
}
