/* Channel pruning on small models, many of them random: the smaller model answers as the whole
 * one does with the same channels set to zero. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compress/prune/prune_internal.h"
#include "model_maker.h"

enum { SIDE = 8, BATCH = 2 };

static const LedgePruneOptions by_two = {.round = 2, .layer_limit = 1};

/* ---- random models ---- */

/* A picture of `channels` channels and `side` pixels squared. */
typedef struct Picture {
    char name[16];
    int channels, side;
} Picture;

typedef struct Maker {
    TestModel *t;
    uint32_t seed;
    int n_names;
    Picture pictures[64];
    int n_pictures;
    int used[32];     /* how often each kind of block came up */
    const char *gate; /* an activation */
} Maker;

static uint32_t draw(Maker *m, uint32_t n)
{
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 10) % n;
}

static const char *fresh(Maker *m, char out[16])
{
    snprintf(out, 16, "v%d", m->n_names++);
    return out;
}

/* A constant of noise; positive ones lie around 1. */
static void weights(Maker *m, char name[16], int rank, const int64_t *dims, bool positive)
{
    static float w[1 << 16];
    size_t n = 1;
    for (int d = 0; d < rank; d++)
        n *= (size_t)dims[d];
    assert_true(n <= sizeof w / sizeof *w);
    test_fill(w, n, m->seed ^ (uint32_t)m->n_names);
    for (size_t i = 0; i < n; i++)
        w[i] = positive ? 1 + 0.5f * w[i] : 0.5f * w[i];
    test_floats(m->t, fresh(m, name), rank, dims, w);
}

static Picture *push(Maker *m, const char *name, int channels, int side)
{
    Picture *p = &m->pictures[m->n_pictures++];
    assert_true(m->n_pictures < 64);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->channels = channels;
    p->side = side;
    return p;
}

static Picture any(Maker *m)
{
    /* the newer the likelier, so that models grow deep */
    const int n = m->n_pictures, back = (int)draw(m, 4);
    return m->pictures[back < n ? n - 1 - back : n - 1];
}

static Picture op1(Maker *m, const char *op, const char *inputs, int channels, int side)
{
    char out[16];
    test_node(m->t, op, inputs, fresh(m, out));
    return *push(m, out, channels, side);
}

static Picture conv(Maker *m, Picture x, int out, int k, int groups)
{
    char w[16], b[16], y[16], in[64];
    const bool bias = draw(m, 2);
    weights(m, w, 4, (int64_t[]){out, x.channels / groups, k, k}, false);
    if (bias)
        weights(m, b, 1, (int64_t[]){out}, false);
    snprintf(in, sizeof in, "%s %s %s", x.name, w, bias ? b : "");
    OnnxNode *n = test_node(m->t, "Conv", in, fresh(m, y));
    test_attr_ints(m->t, n, "pads", 4, (int64_t[]){k / 2, k / 2, k / 2, k / 2});
    test_attr_int(m->t, n, "group", groups);
    return *push(m, y, out, x.side);
}

static Picture norm(Maker *m, Picture x)
{
    char p[4][16], y[16], in[96];
    for (int i = 0; i < 4; i++)
        weights(m, p[i], 1, (int64_t[]){x.channels}, i == 3 || i == 0);
    snprintf(in, sizeof in, "%s %s %s %s %s", x.name, p[0], p[1], p[2], p[3]);
    test_node(m->t, "BatchNormalization", in, fresh(m, y));
    return *push(m, y, x.channels, x.side);
}

static Picture two(Maker *m, const char *op, Picture a, Picture b)
{
    char in[40];
    snprintf(in, sizeof in, "%s %s", a.name, b.name);
    return op1(m, op, in, a.channels, a.side);
}

/* Brings x to the side of y. */
static Picture same_side(Maker *m, Picture x, int side)
{
    while (x.side > side) {
        char y[16];
        OnnxNode *n = test_node(m->t, draw(m, 2) ? "MaxPool" : "AveragePool", x.name, fresh(m, y));
        test_attr_ints(m->t, n, "kernel_shape", 2, (int64_t[]){2, 2});
        test_attr_ints(m->t, n, "strides", 2, (int64_t[]){2, 2});
        x = *push(m, y, x.channels, x.side / 2);
    }
    return x;
}

static void residual(Maker *m, Picture x)
{
    Picture y = norm(m, conv(m, x, x.channels, 3, 1));
    y = op1(m, "Relu", y.name, y.channels, y.side);
    y = conv(m, y, x.channels, 1, 1);
    y = draw(m, 2) ? two(m, "Add", x, y) : two(m, "Add", y, x);
    op1(m, "Relu", y.name, y.channels, y.side);
}

static void concat(Maker *m, Picture x)
{
    Picture y = any(m);
    if (y.side < x.side) {
        const Picture z = x;
        x = y;
        y = z;
    }
    y = same_side(m, y, x.side);
    if (x.channels + y.channels > 48)
        return;
    char in[40], out[16];
    snprintf(in, sizeof in, "%s %s", x.name, y.name);
    OnnxNode *n = test_node(m->t, "Concat", in, fresh(m, out));
    test_attr_int(m->t, n, "axis", draw(m, 2) ? 1 : -3);
    push(m, out, x.channels + y.channels, x.side);
}

/* A path with fewer pixels and more channels, its shortcut by Slice and Pad. */
static void shortcut(Maker *m, Picture x)
{
    if (x.side < 4 || x.channels > 16)
        return;
    const int out = x.channels + 8, before = (int)draw(m, 9);
    char a[16], b[16], c[16], d[16], p[16], s[16], q[16], in[96];
    test_ints(m->t, fresh(m, a), 2, (int64_t[]){0, 0});
    test_ints(m->t, fresh(m, b), 2, (int64_t[]){1000, 1000});
    test_ints(m->t, fresh(m, c), 2, (int64_t[]){2, 3});
    test_ints(m->t, fresh(m, d), 2, (int64_t[]){2, 2});
    test_ints(m->t, fresh(m, p), 8, (int64_t[]){0, before, 0, 0, 0, 8 - before, 0, 0});
    snprintf(in, sizeof in, "%s %s %s %s %s", x.name, a, b, c, d);
    test_node(m->t, "Slice", in, fresh(m, s));
    snprintf(in, sizeof in, "%s %s", s, p);
    test_node(m->t, "Pad", in, fresh(m, q));
    Picture side = *push(m, q, out, x.side / 2);
    Picture y = conv(m, same_side(m, x, x.side / 2), out, 3, 1);
    two(m, "Add", norm(m, y), side);
}

static void squeeze_excite(Maker *m, Picture x)
{
    Picture y = op1(m, "GlobalAveragePool", x.name, x.channels, 1);
    y = conv(m, y, 4, 1, 1);
    y = op1(m, "Relu", y.name, 4, 1);
    y = conv(m, y, x.channels, 1, 1);
    y = op1(m, m->gate, y.name, x.channels, 1);
    two(m, "Mul", x, y);
}

static void channel_slice(Maker *m, Picture x)
{
    if (x.channels < 4)
        return;
    const int begin = (int)draw(m, (uint32_t)x.channels / 2);
    const int end = begin + x.channels / 2;
    char a[16], b[16], c[16], in[64];
    test_ints(m->t, fresh(m, a), 1, (int64_t[]){begin - (draw(m, 2) ? x.channels : 0)});
    test_ints(m->t, fresh(m, b), 1, (int64_t[]){end});
    test_ints(m->t, fresh(m, c), 1, (int64_t[]){1});
    snprintf(in, sizeof in, "%s %s %s %s", x.name, a, b, c);
    op1(m, "Slice", in, end - begin, x.side);
}

static void split(Maker *m, Picture x)
{
    char a[16], b[16], out[40];
    if (x.channels % 2 || x.channels < 4)
        return;
    fresh(m, a);
    fresh(m, b);
    snprintf(out, sizeof out, "%s %s", a, b);
    OnnxNode *n = test_node(m->t, "Split", x.name, out);
    test_attr_int(m->t, n, "axis", 1);
    Picture p = *push(m, a, x.channels / 2, x.side), q = *push(m, b, x.channels / 2, x.side);
    two(m, draw(m, 2) ? "Mul" : "Sub", p, q);
}

static void shuffle(Maker *m, Picture x)
{
    int64_t order[64];
    char i[16], in[40], y[16];
    for (int c = 0; c < x.channels; c++)
        order[c] = (c * 5 + 3) % x.channels; /* some twice, where 5 divides */
    test_ints(m->t, fresh(m, i), x.channels, order);
    snprintf(in, sizeof in, "%s %s", x.name, i);
    OnnxNode *n = test_node(m->t, "Gather", in, fresh(m, y));
    test_attr_int(m->t, n, "axis", 1);
    push(m, y, x.channels, x.side);
}

/* Channels last and back, with a product over them in between. */
static void channels_last(Maker *m, Picture x)
{
    char a[16], b[16], w[16], c[16], d[16], in[40];
    OnnxNode *n = test_node(m->t, "Transpose", x.name, fresh(m, a));
    test_attr_ints(m->t, n, "perm", 4, (int64_t[]){0, 2, 3, 1});
    weights(m, w, 2, (int64_t[]){x.channels, 12}, false);
    snprintf(in, sizeof in, "%s %s", a, w);
    test_node(m->t, "MatMul", in, fresh(m, b));
    weights(m, w, 1, (int64_t[]){12}, false);
    snprintf(in, sizeof in, "%s %s", w, b);
    test_node(m->t, "Add", in, fresh(m, c));
    n = test_node(m->t, "Transpose", c, fresh(m, d));
    test_attr_ints(m->t, n, "perm", 4, (int64_t[]){0, 3, 1, 2});
    push(m, d, 12, x.side);
}

static void slope(Maker *m, Picture x)
{
    char s[16], in[40];
    weights(m, s, 3, (int64_t[]){x.channels, 1, 1}, false);
    snprintf(in, sizeof in, "%s %s", x.name, s);
    op1(m, "PRelu", in, x.channels, x.side);
}

/* Softmax over the channels, which must keep them all. */
static void barrier(Maker *m, Picture x)
{
    char y[16];
    OnnxNode *n = test_node(m->t, "Softmax", x.name, fresh(m, y));
    test_attr_int(m->t, n, "axis", 1);
    push(m, y, x.channels, x.side);
}

static void deconv(Maker *m, Picture x)
{
    char w[16], y[16], in[40];
    if (x.side > 4)
        return;
    weights(m, w, 4, (int64_t[]){x.channels, 8, 2, 2}, false);
    snprintf(in, sizeof in, "%s %s", x.name, w);
    OnnxNode *n = test_node(m->t, "ConvTranspose", in, fresh(m, y));
    test_attr_ints(m->t, n, "strides", 2, (int64_t[]){2, 2});
    push(m, y, 8, x.side * 2);
}

enum { KINDS = 16 };

static void block(Maker *m)
{
    const uint32_t kind = draw(m, KINDS);
    Picture x = any(m);
    m->used[kind]++;
    switch (kind) {
    case 0:
        conv(m, x, 16, 3, 1);
        break;
    case 1:
        norm(m, conv(m, x, 8, 1, 1));
        break;
    case 2:
        conv(m, x, x.channels, 3, x.channels);
        break; /* depthwise */
    case 3:
        conv(m, conv(m, x, 8, 1, 1), 16, 3, 8);
        break; /* two each */
    case 4:
        conv(m, conv(m, x, 16, 1, 1), 8, 3, 4);
        break; /* grouped */
    case 5:
        conv(m, conv(m, x, 16, 1, 1), 4, 1, 4);
        break; /* one out each */
    case 6:
        residual(m, x);
        break;
    case 7:
        concat(m, x);
        break;
    case 8:
        shortcut(m, x);
        break;
    case 9:
        squeeze_excite(m, x);
        break;
    case 10:
        channel_slice(m, x);
        break;
    case 11:
        split(m, x);
        break;
    case 12:
        shuffle(m, x);
        break;
    case 13:
        channels_last(m, x);
        break;
    case 14:
        slope(m, x);
        break;
    default:
        draw(m, 4) ? deconv(m, x) : barrier(m, x);
        break;
    }
}

/* Flatten or Reshape, then Gemm or MatMul. */
static void head(Maker *m)
{
    char f[16], s[16], w[16], in[64];
    Picture x = same_side(m, any(m), 2);
    const int n = x.channels * x.side * x.side;
    const uint32_t how = draw(m, 3);
    if (how == 0) {
        test_node(m->t, "Flatten", x.name, fresh(m, f));
    } else {
        test_ints(m->t, fresh(m, s), 2, how == 1 ? (int64_t[]){0, -1} : (int64_t[]){-1, n});
        snprintf(in, sizeof in, "%s %s", x.name, s);
        test_node(m->t, "Reshape", in, fresh(m, f));
    }
    const bool gemm = draw(m, 2);
    weights(m, w, 2, gemm ? (int64_t[]){10, n} : (int64_t[]){n, 10}, false);
    snprintf(in, sizeof in, "%s %s", f, w);
    OnnxNode *node = test_node(m->t, gemm ? "Gemm" : "MatMul", in, "scores");
    if (gemm)
        test_attr_int(m->t, node, "transB", 1);
    test_output(m->t, "scores");
}

static void random_model(Maker *m, uint32_t seed, const char *gate)
{
    int used[32];
    memcpy(used, m->used, sizeof used);
    *m = (Maker){.t = test_model_new(13), .seed = seed * 2654435761u + 1, .gate = gate};
    memcpy(m->used, used, sizeof used);
    test_input(m->t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, SIDE, SIDE});
    push(m, "x", 3, SIDE);
    conv(m, m->pictures[0], 16, 3, 1);
    const int blocks = 2 + (int)draw(m, 8);
    for (int i = 0; i < blocks && m->n_pictures < 40; i++)
        block(m);
    head(m);
}

/* ---- running ---- */

static void run_bytes(const void *bytes, size_t size, float *out, size_t n)
{
    static float x[BATCH * 3 * SIDE * SIDE];
    LedgeError err = {0};
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    const LedgeModelOptions mo = {.no_optimize = true};
    const LedgeSessionOptions so = {.threads = 1};
    test_fill(x, sizeof x / sizeof *x, 77);
    const LedgeTensor in = {.type = LEDGE_FLOAT,
                            .rank = 4,
                            .dims = {BATCH, 3, SIDE, SIDE},
                            .data = x,
                            .bytes = sizeof x};
    LedgeTensor y = {.data = out, .bytes = n * sizeof *out};
    if (ledge_model_load_memory(bytes, size, &mo, &err, &model) ||
        ledge_session_create(model, &so, &err, &session) ||
        ledge_session_run(session, &in, 1, &y, 1, &err))
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge_tensor_count(&y), n);
    ledge_session_free(session);
    ledge_model_free(model);
}

static void run_onnx(const OnnxModel *onnx, float *out, size_t n)
{
    LedgeError err = {0};
    void *bytes;
    size_t size;
    if (ledge__onnx_write_memory(onnx, NULL, &bytes, &size, &err))
        fail_msg("%s: %s", err.where, err.message);
    run_bytes(bytes, size, out, n);
    ledge__free(NULL, bytes);
}

/* NULL: a model whose channels all have to stay. */
static LedgePruner *open_any(TestModel *t, const LedgePruneOptions *o)
{
    LedgeError err = {0};
    LedgePruner *p = NULL;
    size_t size;
    const void *bytes = test_bytes(t, &size);
    const LedgeStatus status = ledge__pruner_open(NULL, bytes, size, o, &err, &p);
    if (status == LEDGE_ERROR_UNSUPPORTED && strstr(err.message, "no channel"))
        return NULL;
    if (status)
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge__pruner_score(p, NULL, NULL, &err), LEDGE_OK);
    assert_int_equal(ledge__pruner_plan(p, &err), LEDGE_OK);
    return p;
}

static LedgePruner *open_model(TestModel *t, const LedgePruneOptions *o)
{
    LedgePruner *p = open_any(t, o);
    assert_non_null(p);
    return p;
}

static LedgePruned *build(const LedgePruner *p)
{
    LedgeError err = {0};
    LedgePruned *m = NULL;
    if (ledge__pruner_build(p, &err, &m))
        fail_msg("%s: %s", err.where, err.message);
    assert_null(ledge__graph_check(m->graph));
    return m;
}

/* Sets what `e` would cut out to zero instead. */
static void clear(const LedgePruner *p, LedgeGraph *g, LedgeNode *n, const PruneEdit *e)
{
    LedgeTensor t = n->in[e->slot].value->t;
    assert_int_equal(t.type, LEDGE_FLOAT);
    LedgeValue *v = ledge__value_constant(g, "cleared", &t, true);
    float *x = v->t.data;
    int64_t outer = 1, inner = 1;
    for (int32_t d = 0; d < t.rank; d++)
        *(d < e->axis ? &outer : &inner) *= d == e->axis ? 1 : t.dims[d];
    for (int64_t i = 0; i < outer * t.dims[e->axis]; i++)
        if (!ledge__prune_stays(p, p->spans[e->span].atoms[i % t.dims[e->axis]]))
            memset(x + i * inner, 0, (size_t)inner * sizeof *x);
    ledge__node_set_input(n, e->slot, v);
}

/* The whole model, with the channels that are gone set to zero where they are read, or where they
 * are made. */
static void run_masked(const LedgePruner *p, bool where_read, float *out, size_t n)
{
    LedgeError err = {0};
    LedgeGraph *g;
    LedgeNode *nodes[512];
    uint32_t count = 0;
    assert_int_equal(ledge__graph_build(NULL, p->onnx, &err, &g), LEDGE_OK);
    for (LedgeNode *node = g->first; node; node = node->next)
        nodes[count++] = node;
    for (size_t i = 0; i < p->n_edits; i++)
        if (p->edits[i].kind == PRUNE_CUT && (p->edits[i].role == PRUNE_READER) == where_read)
            clear(p, g, nodes[p->edits[i].node->mark], &p->edits[i]);
    OnnxModel m = *p->onnx;
    m.arena = g->arena;
    assert_int_equal(ledge__graph_export(g, &m, &err), LEDGE_OK);
    run_onnx(&m, out, n);
    ledge__graph_free(g);
}

static void assert_same(const float *a, const float *b, size_t n, uint32_t seed)
{
    double largest = 1e-3;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 2e-4 * largest))
            fail_msg("model %u: answer %zu is %g, not %g", seed, i, (double)a[i], (double)b[i]);
}

static void equals_masked(bool where_read)
{
    enum { MODELS = 300, ANSWERS = BATCH * 10 };
    static Maker m;
    float masked[ANSWERS], pruned[ANSWERS];
    uint32_t changed = 0;
    memset(&m, 0, sizeof m);
    for (uint32_t seed = 1; seed <= MODELS; seed++) {
        /* Zero must stay zero on its way where it is made. */
        random_model(&m, seed, where_read ? "Sigmoid" : "Tanh");
        LedgePruneOptions o = by_two;
        o.importance = LEDGE_PRUNE_RANDOM;
        o.seed = seed;
        o.round = 1 + (int)draw(&m, 3);
        o.per_layer = draw(&m, 2);
        LedgePruner *p = open_any(m.t, &o);
        for (int k = 0; k < 2 && p; k++) {
            const size_t steps = ledge__pruner_steps(p);
            const size_t step = k ? steps - 1 : draw(&m, (uint32_t)steps);
            changed += step > 0;
            ledge__pruner_take(p, step);
            LedgePruned *built = build(p);
            run_onnx(&built->model, pruned, ANSWERS);
            run_masked(p, where_read, masked, ANSWERS);
            assert_same(pruned, masked, ANSWERS, seed);
            ledge__pruned_free(built);
        }
        ledge__pruner_free(p);
        test_model_free(m.t);
    }
    assert_true(changed > MODELS);
    for (int k = 0; k < KINDS; k++)
        assert_true(m.used[k] > 20);
}

static void removing_channels_equals_masking_them_where_they_are_read(void **state)
{
    (void)state;
    equals_masked(true);
}

static void removing_channels_without_weights_changes_nothing(void **state)
{
    (void)state;
    equals_masked(false);
}

/* ---- single structures ---- */

static const LedgeNode *node_called(const LedgeGraph *g, const char *output)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        if (strcmp(n->out[0]->name, output) == 0)
            return n;
    fail_msg("no node makes '%s'", output);
    return NULL;
}

static const int64_t *weight_dims(const LedgePruned *m, const char *output)
{
    return ledge__node_in(node_called(m->graph, output), 1)->t.dims;
}

/* conv(8) -> depthwise -> conv(12) -> pool -> Gemm; the last two filters of the first are zero. */
static TestModel *plain_model(void)
{
    static float w1[8 * 3 * 9], w3[12 * 8];
    TestModel *t = test_model_new(13);
    test_fill(w1, 8 * 27, 1);
    test_fill(w3, 12 * 8, 3);
    memset(w1 + 6 * 27, 0, 2 * 27 * sizeof *w1);
    for (int i = 0; i < 12; i++)
        w3[i * 8 + 6] = w3[i * 8 + 7] = 0;
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, SIDE, SIDE});
    test_floats(t, "w1", 4, (int64_t[]){8, 3, 3, 3}, w1);
    test_noise(t, "w2", 4, (int64_t[]){8, 1, 3, 3}, 2);
    test_floats(t, "w3", 4, (int64_t[]){12, 8, 1, 1}, w3);
    test_noise(t, "w4", 2, (int64_t[]){10, 12}, 4);
    test_node(t, "Conv", "x w1", "c1");
    OnnxNode *n = test_node(t, "Conv", "c1 w2", "c2");
    test_attr_int(t, n, "group", 8);
    test_node(t, "Relu", "c2", "r2");
    test_node(t, "Conv", "r2 w3", "c3");
    test_node(t, "GlobalAveragePool", "c3", "p");
    test_node(t, "Flatten", "p", "f");
    n = test_node(t, "Gemm", "f w4", "scores");
    test_attr_int(t, n, "transB", 1);
    test_output(t, "scores");
    test_metadata(t, "ledge.preprocess", "{\"x\":1}");
    return t;
}

static void the_channels_without_weights_go_first(void **state)
{
    (void)state;
    const LedgePruneImportance by[] = {LEDGE_PRUNE_L1, LEDGE_PRUNE_L2, LEDGE_PRUNE_BN};
    float whole[BATCH * 10], pruned[BATCH * 10];
    TestModel *t = plain_model();
    run_onnx(test_onnx(t), whole, BATCH * 10);
    for (size_t i = 0; i < 3; i++) {
        LedgePruneOptions o = by_two;
        o.importance = by[i];
        LedgePruner *p = open_model(t, &o);
        ledge__pruner_take(p, 1);
        LedgePruned *m = build(p);
        assert_int_equal(weight_dims(m, "c1")[0], 6);
        assert_int_equal(weight_dims(m, "c2")[0], 6);
        assert_int_equal(ledge__node_int(node_called(m->graph, "c2"), "group", 1), 6);
        assert_int_equal(weight_dims(m, "c3")[1], 6);
        assert_int_equal(weight_dims(m, "c3")[0], 12);
        run_onnx(&m->model, pruned, BATCH * 10);
        assert_same(pruned, whole, BATCH * 10, 0);
        assert_int_equal(m->model.n_metadata, 1);
        assert_int_equal(m->model.graph.n_value_info, 0);
        ledge__pruned_free(m);
        ledge__pruner_free(p);
    }
    test_model_free(t);
}

static void counts_of_macs_follow_the_channels(void **state)
{
    (void)state;
    TestModel *t = plain_model();
    LedgePruner *p = open_model(t, &by_two);
    const double c1 = 8 * 27 * 36, c2 = 8 * 9 * 16, c3 = 12 * 8 * 16, fc = 120;
    assert_true(fabs(ledge__pruner_macs(p) - (c1 + c2 + c3 + fc)) < 0.5);
    assert_int_equal(ledge__pruner_channels(p), 8 + 12);
    ledge__pruner_take(p, 1);
    assert_true(fabs(ledge__pruner_macs(p) - (0.75 * (c1 + c2 + c3) + fc)) < 0.5);
    assert_int_equal(ledge__pruner_channels(p), 6 + 12);
    ledge__pruner_free(p);
    test_model_free(t);
}

static void each_layer_loses_the_same_share(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 0;
    TestModel *t = plain_model();
    LedgePruneOptions o = by_two;
    o.per_layer = true;
    LedgePruner *p = open_model(t, &o);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.5, &err, &step), LEDGE_OK);
    ledge__pruner_take(p, step);
    LedgePruned *m = build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 4);
    assert_int_equal(weight_dims(m, "c3")[0], 6);
    ledge__pruned_free(m);
    ledge__pruner_free(p);
    test_model_free(t);
}

static void a_target_of_macs_is_met_with_the_fewest_steps(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 0;
    TestModel *t = plain_model();
    LedgePruner *p = open_model(t, &by_two);
    const double all = ledge__pruner_macs(p);
    assert_int_equal(ledge__pruner_pick_macs(p, 0.5 * all, &err, &step), LEDGE_OK);
    ledge__pruner_take(p, step);
    assert_true(ledge__pruner_macs(p) <= 0.5 * all);
    ledge__pruner_take(p, step - 1);
    assert_true(ledge__pruner_macs(p) > 0.5 * all);
    assert_int_equal(ledge__pruner_pick_macs(p, 0.001 * all, &err, &step), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "cannot be reached"));
    ledge__pruner_free(p);
    test_model_free(t);
}

static void kept_nodes_stay_whole(void **state)
{
    (void)state;
    TestModel *t = plain_model();
    const char *keep[] = {"Conv_c3"};
    OnnxModel *onnx = test_onnx(t);
    for (size_t i = 0; i < onnx->graph.n_nodes; i++)
        if (ledge__str_eq(onnx->graph.nodes[i].outputs[0], "c3"))
            onnx->graph.nodes[i].name = (LedgeStr){"Conv_c3", 7};
    LedgePruneOptions o = by_two;
    o.keep = keep;
    o.n_keep = 1;
    LedgePruner *p = open_model(t, &o);
    ledge__pruner_take(p, ledge__pruner_steps(p) - 1);
    LedgePruned *m = build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 2);
    assert_int_equal(weight_dims(m, "c3")[0], 12);
    ledge__pruned_free(m);
    bool told = false;
    for (size_t i = 0; i < ledge__pruner_layers(p); i++) {
        const LedgePruneLayer l = ledge__pruner_layer(p, i);
        told |= strcmp(l.name, "Conv_c3") == 0 && l.fixed && strstr(l.barrier->why, "asked");
    }
    assert_true(told);
    ledge__pruner_free(p);
    test_model_free(t);
}

/* Grouped convolutions keep as many channels in each group. */
static void groups_stay_equally_large(void **state)
{
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, SIDE, SIDE});
    test_noise(t, "w1", 4, (int64_t[]){16, 3, 1, 1}, 1);
    test_noise(t, "w2", 4, (int64_t[]){8, 4, 3, 3}, 2);
    test_noise(t, "w3", 4, (int64_t[]){10, 8, 6, 6}, 3);
    test_node(t, "Conv", "x w1", "c1");
    test_attr_int(t, test_node(t, "Conv", "c1 w2", "c2"), "group", 4);
    test_node(t, "Conv", "c2 w3", "scores");
    test_output(t, "scores");
    LedgePruneOptions o = by_two;
    o.round = 8; /* two in each of the four groups; the second has too few for that */
    LedgePruner *p = open_model(t, &o);
    assert_int_equal(ledge__pruner_steps(p), 2);
    ledge__pruner_take(p, 1);
    LedgePruned *m = build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 8);
    assert_int_equal(weight_dims(m, "c2")[0], 8);
    assert_int_equal(weight_dims(m, "c2")[1], 2);
    assert_int_equal(ledge__node_int(node_called(m->graph, "c2"), "group", 1), 4);
    ledge__pruned_free(m);
    ledge__pruner_free(p);
    test_model_free(t);
}

/* ---- refusals ---- */

static void expect_refusal(TestModel *t, const LedgePruneOptions *o, LedgeStatus status,
                           const char *text)
{
    LedgeError err = {0};
    LedgePruner *p = NULL;
    size_t size;
    const void *bytes = test_bytes(t, &size);
    assert_int_equal(ledge__pruner_open(NULL, bytes, size, o, &err, &p), status);
    assert_null(p);
    if (!strstr(err.message, text))
        fail_msg("'%s' is not in: %s", text, err.message);
}

static void a_request_that_empties_a_layer_is_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 99;
    TestModel *t = plain_model();
    for (int per_layer = 0; per_layer < 2; per_layer++) {
        LedgePruneOptions o = by_two;
        o.per_layer = per_layer;
        LedgePruner *p = open_model(t, &o);
        assert_int_equal(ledge__pruner_pick_amount(p, 0.99, &err, &step), LEDGE_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "would empty the layer; at most 0.937"));
        assert_int_equal(ledge__pruner_pick_amount(p, 0.01, &err, &step), LEDGE_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "rounds to none"));
        assert_int_equal(step, 99);
        ledge__pruner_free(p);
    }
    LedgePruneOptions o = by_two;
    o.layer_limit = 0.5;
    LedgePruner *p = open_model(t, &o);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.8, &err, &step), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "at most 0.5 can"));
    ledge__pruner_free(p);
    test_model_free(t);
}

static void models_without_channels_to_remove_are_refused(void **state)
{
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, SIDE, SIDE});
    test_noise(t, "w1", 4, (int64_t[]){16, 3, 1, 1}, 1);
    test_node(t, "Conv", "x w1", "c");
    test_attr_int(t, test_node(t, "Softmax", "c", "y"), "axis", 1);
    test_output(t, "y");
    expect_refusal(t, &by_two, LEDGE_ERROR_UNSUPPORTED, "its Softmax normalises over the channels");
    const char *keep[] = {"nobody"};
    LedgePruneOptions o = by_two;
    o.keep = keep;
    o.n_keep = 1;
    expect_refusal(t, &o, LEDGE_ERROR_ARGUMENT, "no node of the model has this name");
    test_model_free(t);

    t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 3});
    const float scale = 1;
    test_floats(t, "s", 0, NULL, &scale);
    test_tensor(t, "z", LEDGE_INT8, 0, NULL, &(int8_t){0});
    test_node(t, "QuantizeLinear", "x s z", "q");
    test_node(t, "DequantizeLinear", "q s z", "y");
    test_output(t, "y");
    expect_refusal(t, &by_two, LEDGE_ERROR_FORMAT, "quantized already");
    test_model_free(t);
}

static size_t allocations, fail_at;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    (void)context;
    return allocations++ == fail_at ? NULL
                                    : aligned_alloc(align, (size + align - 1) / align * align);
}

static void failing_free(void *context, void *p)
{
    (void)context;
    free(p);
}

static void lack_of_memory_is_an_error_everywhere(void **state)
{
    (void)state;
    static const LedgeAllocator failing = {failing_alloc, failing_free, NULL};
    TestModel *t = plain_model();
    size_t size;
    const void *bytes = test_bytes(t, &size);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    for (fail_at = 0; status != LEDGE_OK; fail_at++) {
        LedgePruneOptions o = by_two;
        LedgeError err = {0};
        LedgePruner *p = NULL;
        LedgePruned *m = NULL;
        o.allocator = &failing;
        allocations = 0;
        status = ledge__pruner_open(NULL, bytes, size, &o, &err, &p);
        if (!status)
            status = ledge__pruner_score(p, NULL, NULL, &err);
        if (!status)
            status = ledge__pruner_plan(p, &err);
        if (!status) {
            ledge__pruner_take(p, ledge__pruner_steps(p) - 1);
            status = ledge__pruner_build(p, &err, &m);
        }
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        ledge__pruned_free(m);
        ledge__pruner_free(p);
    }
    assert_true(fail_at > 10);
    test_model_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removing_channels_equals_masking_them_where_they_are_read),
        cmocka_unit_test(removing_channels_without_weights_changes_nothing),
        cmocka_unit_test(the_channels_without_weights_go_first),
        cmocka_unit_test(counts_of_macs_follow_the_channels),
        cmocka_unit_test(each_layer_loses_the_same_share),
        cmocka_unit_test(a_target_of_macs_is_met_with_the_fewest_steps),
        cmocka_unit_test(kept_nodes_stay_whole),
        cmocka_unit_test(groups_stay_equally_large),
        cmocka_unit_test(a_request_that_empties_a_layer_is_refused),
        cmocka_unit_test(models_without_channels_to_remove_are_refused),
        cmocka_unit_test(lack_of_memory_is_an_error_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
