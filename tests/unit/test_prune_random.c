/* Channel pruning on random models: the smaller model answers as the whole one does with the same
 * channels set to zero. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "prune_testing.h"

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
    test_input(m->t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, PRUNE_SIDE, PRUNE_SIDE});
    push(m, "x", 3, PRUNE_SIDE);
    conv(m, m->pictures[0], 16, 3, 1);
    const int blocks = 2 + (int)draw(m, 8);
    for (int i = 0; i < blocks && m->n_pictures < 40; i++)
        block(m);
    head(m);
}

/* ---- masking ---- */

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
static void run_masked(const LedgePruner *p, bool where_read, float *out)
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
    prune_answers(&m, out);
    ledge__graph_free(g);
}

static void equals_masked(bool where_read)
{
    enum { MODELS = 300 };
    static Maker m;
    float masked[PRUNE_ANSWERS], pruned[PRUNE_ANSWERS];
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
        LedgePruner *p = prune_open_any(m.t, &o);
        for (int k = 0; k < 2 && p; k++) {
            const size_t steps = ledge__pruner_steps(p);
            const size_t step = k ? steps - 1 : draw(&m, (uint32_t)steps);
            changed += step > 0;
            ledge__pruner_take(p, step);
            LedgePruned *built = prune_build(p);
            prune_answers(&built->model, pruned);
            run_masked(p, where_read, masked);
            prune_assert_same(pruned, masked, seed);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removing_channels_equals_masking_them_where_they_are_read),
        cmocka_unit_test(removing_channels_without_weights_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
