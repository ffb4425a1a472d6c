/* The built-in students, node by node. */
#include <stdio.h>
#include <string.h>

#include "compress/distill/student.h"
#include "engine/graph/op.h"

typedef struct Net {
    LedgeGraph *g;
    LedgeValue *x;    /* what the next layer reads */
    int64_t channels; /* of x */
    int64_t height, width;
    int layers;  /* numbers names */
    bool failed; /* no memory; shows at the end */
} Net;

static LedgeValue *weight(Net *n, const char *layer, const char *what, int32_t rank,
                          const int64_t *dims, float fill)
{
    char name[80];
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank};
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    const size_t count = (size_t)ledge_tensor_count(&t);
    float *data = ledge__arena_alloc(n->g->arena, count, sizeof *data);
    snprintf(name, sizeof name, "%s.%s", layer, what);
    for (size_t i = 0; data && i < count; i++)
        data[i] = fill;
    t.data = data;
    t.bytes = count * sizeof *data;
    LedgeValue *v = data ? ledge__value_constant(n->g, name, &t, false) : NULL;
    n->failed |= !v;
    return v;
}

/* A node over n->x (and more inputs), whose output n->x becomes. */
static LedgeNode *node(Net *n, const char *op, const char *name, LedgeValue *const *more,
                       uint32_t n_more)
{
    if (n->failed)
        return NULL;
    LedgeNode *made = ledge__node_new(n->g, "", op, name, 1 + n_more, 1, NULL);
    LedgeValue *y = made ? ledge__value_new(n->g, name) : NULL;
    n->failed |= !y;
    if (!y)
        return NULL;
    made->opset = n->g->opset;
    ledge__node_set_input(made, 0, n->x);
    for (uint32_t i = 0; i < n_more; i++)
        ledge__node_set_input(made, 1 + i, more[i]);
    ledge__node_set_output(made, 0, y);
    y->t.type = LEDGE_FLOAT;
    y->t.rank = -1;
    n->x = y;
    return made;
}

static void conv(Net *n, const char *name, int64_t out, int64_t kernel, int64_t stride,
                 int64_t group)
{
    const int64_t pad = kernel / 2, dims[] = {out, n->channels / group, kernel, kernel};
    LedgeValue *w = weight(n, name, "weight", 4, dims, 0);
    LedgeNode *c = node(n, "Conv", name, &w, 1);
    if (!c)
        return;
    n->failed |= !ledge__node_set_ints(n->g, c, "kernel_shape", (int64_t[]){kernel, kernel}, 2) ||
                 !ledge__node_set_ints(n->g, c, "strides", (int64_t[]){stride, stride}, 2) ||
                 !ledge__node_set_ints(n->g, c, "pads", (int64_t[]){pad, pad, pad, pad}, 4) ||
                 !ledge__node_set_int(n->g, c, "group", group);
    n->channels = out;
    n->height = (n->height + stride - 1) / stride;
    n->width = (n->width + stride - 1) / stride;
}

static void norm(Net *n, const char *layer)
{
    static const char *const parts[] = {"gamma", "beta", "mean", "var"};
    char name[64];
    LedgeValue *in[4];
    for (int i = 0; i < 4; i++)
        in[i] = weight(n, layer, parts[i], 1, &n->channels, i == 0 || i == 3 ? 1.0f : 0.0f);
    snprintf(name, sizeof name, "%s.norm", layer);
    LedgeNode *b = node(n, "BatchNormalization", name, in, 4);
    n->failed |= b && !ledge__node_set_float(n->g, b, "epsilon", 1e-5f);
}

typedef enum Act { ACT_NONE, ACT_RELU, ACT_RELU6 } Act;

static void act(Net *n, const char *layer, Act kind)
{
    char name[64];
    if (kind == ACT_NONE)
        return;
    if (kind == ACT_RELU) {
        snprintf(name, sizeof name, "%s.relu", layer);
        node(n, "Relu", name, NULL, 0);
        return;
    }
    LedgeValue *bounds[] = {weight(n, layer, "low", 0, NULL, 0),
                            weight(n, layer, "high", 0, NULL, 6)};
    snprintf(name, sizeof name, "%s.relu6", layer);
    node(n, "Clip", name, bounds, 2);
}

/* Conv, BatchNormalization and activation; `letter` and a number name them. */
static void layer(Net *n, char letter, int64_t out, int64_t kernel, int64_t stride, int64_t group,
                  Act kind)
{
    char name[32];
    snprintf(name, sizeof name, "%c%d", letter, ++n->layers);
    conv(n, name, out, kernel, stride, group);
    norm(n, name);
    act(n, name, kind);
}

static void add(Net *n, LedgeValue *skip, Act kind)
{
    char name[32];
    snprintf(name, sizeof name, "add%d", n->layers);
    node(n, "Add", name, &skip, 1);
    act(n, name, kind);
}

static void head(Net *n, int64_t classes)
{
    const int64_t dims[] = {classes, n->channels};
    node(n, "GlobalAveragePool", "pool", NULL, 0);
    LedgeNode *flat = node(n, "Flatten", "flat", NULL, 0);
    LedgeValue *in[] = {weight(n, "fc", "weight", 2, dims, 0), weight(n, "fc", "bias", 1, dims, 0)};
    LedgeNode *fc = node(n, "Gemm", "logits", in, 2);
    n->failed |= !flat || !fc || !ledge__node_set_int(n->g, flat, "axis", 1) ||
                 !ledge__node_set_int(n->g, fc, "transB", 1);
}

/* ---- the networks ---- */

static void build_tiny(Net *n)
{
    layer(n, 'c', 16, 3, 2, 1, ACT_RELU);
    layer(n, 'c', 32, 3, 2, 1, ACT_RELU);
    LedgeValue *skip = n->x;
    layer(n, 'c', 32, 3, 1, 1, ACT_NONE);
    add(n, skip, ACT_RELU);
    layer(n, 'c', 64, 3, 2, 1, ACT_RELU);
    layer(n, 'c', 56, 3, 1, 1, ACT_RELU);
}

static void build_resnet8(Net *n)
{
    layer(n, 'c', 16, 3, 1, 1, ACT_RELU);
    for (int64_t width = 16; width <= 64; width *= 2) {
        const int64_t stride = width > 16 ? 2 : 1, channels = n->channels;
        const int64_t height = n->height, w = n->width;
        LedgeValue *in = n->x;
        layer(n, 'c', width, 3, stride, 1, ACT_RELU);
        layer(n, 'c', width, 3, 1, 1, ACT_NONE);
        LedgeValue *y = n->x;
        if (stride == 2) { /* the shortcut is a projection */
            n->x = in;
            n->channels = channels;
            n->height = height;
            n->width = w;
            layer(n, 's', width, 1, 2, 1, ACT_NONE);
            in = n->x;
            n->x = y;
        }
        add(n, in, ACT_RELU);
    }
}

static void inverted(Net *n, int64_t out, int64_t stride, int64_t expand)
{
    LedgeValue *skip = n->x;
    const int64_t in = n->channels;
    if (expand > 1)
        layer(n, 'e', in * expand, 1, 1, 1, ACT_RELU6);
    layer(n, 'd', n->channels, 3, stride, n->channels, ACT_RELU6);
    layer(n, 'p', out, 1, 1, 1, ACT_NONE);
    if (stride == 1 && in == out)
        add(n, skip, ACT_NONE);
}

/* Sandler et al., "MobileNetV2", 2018, table 2, channels × 0.25 in multiples of 8. Small pictures
 * keep their size where the first strides would leave nothing. */
static void build_mobilenet(Net *n)
{
    static const struct {
        int64_t expand, out, repeats, stride;
    } rows[] = {{1, 8, 1, 1},  {6, 8, 2, 2},  {6, 8, 3, 2}, {6, 16, 4, 2},
                {6, 24, 3, 1}, {6, 40, 3, 2}, {6, 80, 1, 1}};
    const int64_t side = n->height < n->width ? n->height : n->width;
    int keep = side < 48 ? 2 : side < 96 ? 1 : 0; /* strides of 2 to leave out */
    layer(n, 'c', 8, 3, keep > 0 ? 1 : 2, 1, ACT_RELU6);
    keep--;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int64_t r = 0; r < rows[i].repeats; r++) {
            int64_t stride = r == 0 ? rows[i].stride : 1;
            if (stride == 2 && keep-- > 0)
                stride = 1;
            inverted(n, rows[i].out, stride, rows[i].expand);
        }
    layer(n, 'c', 320, 1, 1, 1, ACT_RELU6);
}

static const struct {
    const char *name;
    void (*build)(Net *n);
} students[] = {
    {"tiny", build_tiny}, {"resnet8", build_resnet8}, {"mobilenet-0.25", build_mobilenet}};

bool ledge__student_is_builtin(const char *name)
{
    for (size_t i = 0; i < sizeof students / sizeof *students; i++)
        if (strcmp(students[i].name, name) == 0)
            return true;
    return false;
}

static bool batch_named(LedgeGraph *g, LedgeValue *v)
{
    v->dim_names = ledge__arena_alloc(g->arena, (size_t)v->t.rank, sizeof *v->dim_names);
    if (v->dim_names)
        v->dim_names[0] = "N";
    return v->dim_names != NULL;
}

static LedgeStatus build(const char *name, const LedgeStudentShape *s, LedgeGraph *g,
                         LedgeError *err)
{
    Net n = {.g = g, .channels = s->channels, .height = s->height, .width = s->width};
    g->opset = 13;
    g->name = "student";
    n.x = ledge__value_new(g, "image");
    if (!n.x || !ledge__graph_add_input(g, n.x))
        return ledge__no_memory(err);
    n.x->t = (LedgeTensor){
        .type = LEDGE_FLOAT, .rank = 4, .dims = {-1, s->channels, s->height, s->width}};
    LedgeValue *image = n.x;
    for (size_t i = 0; i < sizeof students / sizeof *students; i++)
        if (strcmp(students[i].name, name) == 0)
            students[i].build(&n);
    head(&n, s->classes);
    if (n.failed || !ledge__graph_add_output(g, n.x))
        return ledge__no_memory(err);
    n.x->t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 2, .dims = {-1, s->classes}};
    return batch_named(g, image) && batch_named(g, n.x) ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus make_head(LedgeStudent *s, LedgeError *err)
{
    OnnxOpset *opset = ledge__arena_alloc(s->arena, 1, sizeof *opset);
    if (!opset)
        return ledge__no_memory(err);
    *opset = (OnnxOpset){.domain = {"", 0}, .version = s->graph->opset};
    s->head = (OnnxModel){.arena = s->arena,
                          .ir_version = 8,
                          .producer_name = {"ledge", 5},
                          .producer_version = {ledge_version(), strlen(ledge_version())},
                          .opsets = opset,
                          .n_opsets = 1};
    return LEDGE_OK;
}

LedgeStatus ledge__student_build(const LedgeAllocator *a, const char *name,
                                 const LedgeStudentShape *s, LedgeError *err, LedgeStudent *out)
{
    LedgeStudent made = {.allocator = ledge__allocator_or_default(a)};
    if (!ledge__student_is_builtin(name))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name,
                           "is no built-in student: these are tiny, resnet8 and mobilenet-0.25");
    if (s->height < 8 || s->width < 8 || s->height > 4096 || s->width > 4096 || s->channels < 1 ||
        s->channels > 4 || s->classes < 2 || s->classes > 1000000)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, name,
                           "needs pictures of 8 to 4096 pixels and two classes or more; these are "
                           "%lldx%lld with %lld classes",
                           (long long)s->width, (long long)s->height, (long long)s->classes);
    made.arena = ledge__arena_new(made.allocator);
    LedgeStatus status =
        made.arena ? ledge__graph_new(made.allocator, &made.graph) : ledge__no_memory(err);
    if (!status)
        status = build(name, s, made.graph, err);
    if (!status)
        status = ledge__ops_bind(made.graph, err);
    if (!status)
        status = ledge__graph_infer(made.graph, 0, err);
    if (!status)
        status = make_head(&made, err);
    if (status)
        ledge__student_free(&made);
    else
        *out = made;
    return status;
}
