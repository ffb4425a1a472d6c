/* From a graph to the trainer's list of steps: values, layouts, and one builder per operator. */
#include <stdio.h>
#include <string.h>

#include "compress/train/train_internal.h"

const TrainBuilder ledge__train_builders[] = {
    {"Conv", ledge__train_conv},
    {"Gemm", ledge__train_gemm},
    {"MatMul", ledge__train_matmul},
    {"BatchNormalization", ledge__train_batch_norm},
    {"Relu", ledge__train_clamp},
    {"Clip", ledge__train_clamp},
    {"Sigmoid", ledge__train_map},
    {"Tanh", ledge__train_map},
    {"HardSwish", ledge__train_map},
    {"HardSigmoid", ledge__train_map},
    {"LeakyRelu", ledge__train_map},
    {"Gelu", ledge__train_map},
    {"Erf", ledge__train_map},
    {"Add", ledge__train_pair},
    {"Sub", ledge__train_pair},
    {"Mul", ledge__train_pair},
    {"Div", ledge__train_pair},
    {"Concat", ledge__train_concat},
    {"Slice", ledge__train_slice},
    {"Pad", ledge__train_pad},
    {"MaxPool", ledge__train_pool},
    {"AveragePool", ledge__train_pool},
    {"GlobalAveragePool", ledge__train_global_pool},
    {"ReduceMean", ledge__train_reduce_mean},
    {"Reshape", ledge__train_reshape},
    {"Flatten", ledge__train_reshape},
    {"Squeeze", ledge__train_reshape},
    {"Unsqueeze", ledge__train_reshape},
    {"Transpose", ledge__train_transpose},
    {"Softmax", ledge__train_softmax},
    {"LayerNormalization", ledge__train_layer_norm},
    {"Identity", ledge__train_identity},
    {"Dropout", ledge__train_identity},
    {NULL, NULL},
};

LedgeStatus ledge__train_refuse(TrainBuild *b, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, b->node->name, "%s cannot be trained: %s",
                       b->node->op_type, text);
}

/* ---- values ---- */

void ledge__train_lies(const TrainValue *v, int64_t dims[LEDGE_MAX_RANK])
{
    memcpy(dims, v->dims, sizeof v->dims);
    if (v->nhwc) {
        dims[1] = v->dims[2];
        dims[2] = v->dims[3];
        dims[3] = v->dims[1];
    }
}

/* Product of the dims; false when it is 0, unknown or more than memory can hold. */
static bool count_of(int32_t rank, const int64_t *dims, size_t *out)
{
    size_t n = 1;
    for (int32_t i = 0; i < rank; i++)
        if (dims[i] <= 0 || !ledge__mul(n, (size_t)dims[i], &n))
            return false;
    *out = n;
    return n < SIZE_MAX / 64;
}

TrainValue *ledge__train_value(TrainBuild *b, const char *name, int32_t rank, const int64_t *dims,
                               bool nhwc)
{
    Trainer *t = b->t;
    TrainValue *v = ledge__arena_alloc(t->arena, 1, sizeof *v);
    TrainValue **all = ledge__arena_append(t->arena, t->values, t->n_values, sizeof(TrainValue *));
    if (!v || !all || !count_of(rank, dims, &v->count))
        return NULL;
    v->name = name;
    v->rank = rank;
    memcpy(v->dims, dims, (size_t)rank * sizeof *dims);
    v->nhwc = nhwc;
    v->data_slot = v->grad_slot = SIZE_MAX;
    t->values = all;
    t->values[t->n_values++] = v;
    return v;
}

void ledge__train_copy(float *to, const LedgeValue *from, size_t count)
{
    if (count)
        memcpy(to, from->t.data, count * sizeof *to);
}

static LedgeStatus constant(TrainBuild *b, LedgeValue *from, TrainValue **out)
{
    if (from->t.type != LEDGE_FLOAT)
        return ledge__train_refuse(b, "'%s' is %s where float32 is needed", from->name,
                                   ledge_type_name(from->t.type));
    TrainValue *v = ledge__train_value(b, from->name, from->t.rank, from->t.dims, false);
    if (!v)
        return ledge__no_memory(b->err);
    v->data = ledge__arena_aligned(b->t->arena, v->count * sizeof(float));
    if (!v->data)
        return ledge__no_memory(b->err);
    ledge__train_copy(v->data, from, v->count);
    v->source = from;
    v->fixed = true;
    b->by_id[from->id] = *out = v;
    return LEDGE_OK;
}

LedgeStatus ledge__train_in(TrainBuild *b, uint32_t i, TrainValue **out)
{
    LedgeValue *v = ledge__node_in(b->node, i);
    *out = v ? b->by_id[v->id] : NULL;
    if (!v || *out)
        return LEDGE_OK;
    if (!ledge__value_is_constant(v))
        return ledge__train_refuse(b,
                                   b->t->o.freeze
                                       ? "it reads '%s' past the frozen tensor; freeze up to one "
                                         "that all ways lead through"
                                       : "its input '%s' is not made by anything that can",
                                   v->name);
    return constant(b, v, out);
}

/* [N,C,1,1] and [N,1,H,W] lie alike in both orders. */
static bool lies_alike(const TrainValue *v)
{
    return v->dims[1] == 1 || v->dims[2] * v->dims[3] == 1;
}

LedgeStatus ledge__train_layout(TrainBuild *b, TrainValue *v, bool nhwc, TrainValue **out)
{
    static const int32_t to_pixels[] = {0, 2, 3, 1}, to_planes[] = {0, 3, 1, 2};
    *out = v;
    if (v->rank != 4 || v->nhwc == nhwc || v->fixed)
        return LEDGE_OK;
    TrainValue *y = ledge__train_value(b, v->name, 4, v->dims, nhwc);
    if (!y)
        return ledge__no_memory(b->err);
    *out = y;
    return lies_alike(v) ? ledge__train_view(b, v, y)
                         : ledge__train_permute(b, v, nhwc ? to_pixels : to_planes, y);
}

LedgeStatus ledge__train_in_layout(TrainBuild *b, uint32_t i, bool nhwc, TrainValue **out)
{
    TrainValue *v;
    LEDGE_TRY(ledge__train_in(b, i, &v));
    *out = NULL;
    return v ? ledge__train_layout(b, v, nhwc, out) : LEDGE_OK;
}

LedgeStatus ledge__train_output(TrainBuild *b, int32_t rank, const int64_t *dims, bool nhwc,
                                TrainValue **out)
{
    LedgeValue *v = ledge__node_out(b->node, 0);
    size_t count;
    if (!v || rank > LEDGE_MAX_RANK || !count_of(rank, dims, &count))
        return ledge__train_refuse(b, "its output would be empty or larger than memory");
    TrainValue *y = ledge__train_value(b, v->name, rank, dims, nhwc);
    if (!y)
        return ledge__no_memory(b->err);
    y->source = v;
    b->by_id[v->id] = *out = y;
    return LEDGE_OK;
}

bool ledge__train_is_feature(const TrainBuild *b, const TrainValue *v)
{
    for (size_t i = 0; i < b->t->o.n_features; i++)
        if (strcmp(b->t->o.features[i].student, v->name) == 0)
            return true;
    return false;
}

/* ---- steps ---- */

TrainStep *ledge__train_step(TrainBuild *b, const TrainOp *op, TrainValue *const *in, uint32_t n,
                             TrainValue *out, size_t state_bytes)
{
    Trainer *t = b->t;
    TrainStep *s = ledge__arena_alloc(t->arena, 1, sizeof *s);
    TrainStep **all = ledge__arena_append(t->arena, t->steps, t->n_steps, sizeof(TrainStep *));
    if (!s || !all)
        return NULL;
    s->in = ledge__arena_alloc(t->arena, n + 1, sizeof(TrainValue *));
    s->first = ledge__arena_alloc(t->arena, n + 1, sizeof *s->first);
    s->state = ledge__arena_aligned(t->arena, state_bytes + 1);
    if (!s->in || !s->first || !s->state)
        return NULL;
    memcpy(s->in, in, n * sizeof(TrainValue *));
    s->op = op;
    s->flags = op->flags;
    s->name = b->node ? b->node->name : op->name;
    s->kind = b->node ? b->node->op_type : op->name;
    s->n_in = n;
    s->out = out;
    for (uint32_t i = 0; i < n; i++)
        out->needs_grad |= in[i] && in[i]->needs_grad;
    out->producer = s;
    t->steps = all;
    t->steps[t->n_steps++] = s;
    return s;
}

static LedgeStatus add_param(TrainBuild *b, TrainValue *v)
{
    Trainer *t = b->t;
    TrainValue **all = ledge__arena_append(t->arena, t->params, t->n_params, sizeof(TrainValue *));
    if (!all)
        return ledge__no_memory(b->err);
    t->params = all;
    t->params[t->n_params++] = v;
    return LEDGE_OK;
}

LedgeStatus ledge__train_param(TrainBuild *b, TrainValue *v, bool decays)
{
    if (!v || !v->fixed || v->grad || v->buffer)
        return LEDGE_OK;
    v->grad = ledge__arena_aligned(b->t->arena, v->count * sizeof(float));
    if (!v->grad)
        return ledge__no_memory(b->err);
    memset(v->grad, 0, v->count * sizeof(float));
    v->needs_grad = true;
    v->decays = decays;
    return add_param(b, v);
}

LedgeStatus ledge__train_buffer(TrainBuild *b, TrainValue *v)
{
    if (v->buffer)
        return LEDGE_OK;
    v->buffer = true;
    return add_param(b, v);
}

/* ---- the walk ---- */

static LedgeStatus build_node(TrainBuild *b)
{
    const LedgeNode *n = b->node;
    for (const TrainBuilder *f = ledge__train_builders; f->op_type; f++)
        if (ledge__node_is(n, f->op_type))
            return f->build(b);
    const LedgeValue *y = ledge__node_out(n, 0);
    return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, n->name,
                       "operator %s has no gradient here; freeze the model up to '%.200s' "
                       "(--freeze), or a later tensor, to train what comes after it",
                       n->op_type, y ? y->name : "");
}

/* Nodes whose results nothing wants (dead branches) need no gradient. */
static void mark_wanted(LedgeGraph *g, const LedgeValue *input)
{
    for (LedgeNode *n = g->first; n; n = n->next)
        n->mark = 0;
    for (LedgeNode *n = g->last; n; n = n->prev)
        for (uint32_t i = 0; i < n->n_out; i++) {
            const LedgeValue *v = n->out[i];
            if (v == input)
                continue; /* frozen: who makes it is not trained */
            if (v && v == g->outputs[0])
                n->mark = 1;
            for (const LedgeUse *u = v ? v->uses : NULL; u; u = u->next)
                n->mark |= u->node->mark;
        }
}

/* The graph's only input, or the tensor up to which all is frozen. */
static LedgeStatus find_input(TrainBuild *b, LedgeValue **out)
{
    LedgeGraph *g = b->t->graph;
    LedgeValue *in = b->t->o.freeze ? ledge__value_find(g, b->t->o.freeze) : NULL;
    if (b->t->o.freeze && (!in || ledge__value_is_constant(in)))
        return ledge__fail(b->err, LEDGE_ERROR_NOT_FOUND, b->t->o.freeze,
                           "the model computes no tensor of this name to freeze up to");
    for (uint32_t i = 0; i < g->n_inputs && !b->t->o.freeze; i++) {
        if (ledge__value_is_constant(g->inputs[i]) || g->inputs[i]->t.data)
            continue; /* older files list their weights too */
        if (in)
            return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, g->inputs[i]->name,
                               "models with several inputs are not trained here");
        in = g->inputs[i];
    }
    *out = in;
    return LEDGE_OK;
}

static LedgeStatus build_input(TrainBuild *b)
{
    LedgeValue *in = NULL;
    LEDGE_TRY(find_input(b, &in));
    if (!in || in->t.type != LEDGE_FLOAT || in->t.rank < 2)
        return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, in ? in->name : b->t->graph->name,
                           "a model to train needs one float32 input of [batch, ...]");
    int64_t dims[LEDGE_MAX_RANK];
    memcpy(dims, in->t.dims, sizeof dims);
    dims[0] = (int64_t)b->t->o.batch;
    for (int32_t i = 1; i < in->t.rank; i++)
        if (!b->t->o.freeze && b->t->o.input_dims[i] > 0 && dims[i] <= 0)
            dims[i] = b->t->o.input_dims[i];
    for (int32_t i = 1; i < in->t.rank; i++)
        if (dims[i] <= 0)
            return ledge__fail(b->err, LEDGE_ERROR_SHAPE, in->name,
                               "dimension %d of the input is free; training needs it fixed",
                               (int)i);
    TrainValue *v = ledge__train_value(b, in->name, in->t.rank, dims, in->t.rank == 4);
    if (!v)
        return ledge__no_memory(b->err);
    v->source = in;
    b->by_id[in->id] = b->t->input = v;
    return LEDGE_OK;
}

/* The scores: the first output, or what its Softmax reads. */
static LedgeStatus find_scores(TrainBuild *b)
{
    LedgeGraph *g = b->t->graph;
    LedgeValue *out = g->outputs[0];
    const LedgeNode *last = out->producer;
    if (last && ledge__node_is(last, "Softmax") && ledge__node_in(last, 0))
        out = ledge__node_in(last, 0);
    TrainValue *v = b->by_id[out->id];
    int64_t rest = 1;
    for (int32_t i = 2; v && i < v->rank; i++)
        rest *= v->dims[i];
    if (!v || v->fixed || v->rank < 2 || v->dims[0] != (int64_t)b->t->o.batch || rest != 1 ||
        v->dims[1] < 2)
        return ledge__fail(b->err, LEDGE_ERROR_SHAPE, out->name,
                           "the first output must be [batch, classes] scores to be trained on "
                           "labels");
    v->kept = true;
    b->t->scores = v;
    if (!v->needs_grad)
        return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, out->name,
                           "no constant on the way to this output can be trained");
    return LEDGE_OK;
}

static LedgeStatus find_features(TrainBuild *b)
{
    Trainer *t = b->t;
    t->features = ledge__arena_alloc(t->arena, t->o.n_features + 1, sizeof(TrainValue *));
    if (!t->features)
        return ledge__no_memory(b->err);
    for (size_t i = 0; i < t->o.n_features; i++) {
        const LedgeValue *v = ledge__value_find(t->graph, t->o.features[i].student);
        TrainValue *f = v ? b->by_id[v->id] : NULL;
        if (!f || f->fixed || f == t->input)
            return ledge__fail(b->err, LEDGE_ERROR_NOT_FOUND, t->o.features[i].student,
                               "the student computes no tensor of this name");
        f->kept = true;
        t->features[i] = f;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__train_build(Trainer *t, LedgeError *err)
{
    TrainBuild b = {.t = t, .err = err};
    LedgeGraph *g = t->graph;
    if (g->n_outputs == 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, g->name, "the graph has no output");
    b.by_id = ledge__arena_alloc(t->arena, (size_t)g->n_values + 1, sizeof(TrainValue *));
    if (!b.by_id)
        return ledge__no_memory(err);
    LEDGE_TRY(ledge__train_fake_begin(&b));
    LEDGE_TRY(build_input(&b));
    LEDGE_TRY(ledge__train_fake_value(&b, t->input->source));
    mark_wanted(g, t->input->source);
    for (LedgeNode *n = g->first; n; n = n->next) {
        b.node = n;
        if (!n->mark)
            continue;
        LEDGE_TRY(build_node(&b));
        LEDGE_TRY(ledge__train_fake_value(&b, ledge__node_out(n, 0)));
    }
    LEDGE_TRY(ledge__train_fake_weights(&b));
    LEDGE_TRY(find_scores(&b));
    return find_features(&b);
}
