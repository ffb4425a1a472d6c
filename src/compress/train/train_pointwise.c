/* Operators element by element: clamps, smooth activations, and pairs with broadcasting. */
#include <math.h>
#include <string.h>

#include "compress/train/train_norm.h"

enum { GRAIN = 32768 };

/* ---- passing gradients on ---- */

typedef struct PassArg {
    const TrainVec *tv;
    const float *from;
    float *to;
    bool accumulate;
} PassArg;

static void pass(void *arg, size_t begin, size_t end, int thread)
{
    const PassArg *a = arg;
    (void)thread;
    if (a->accumulate)
        a->tv->add(a->from + begin, a->to + begin, end - begin);
    else
        memcpy(a->to + begin, a->from + begin, (end - begin) * sizeof(float));
}

void ledge__train_pass(Trainer *t, const float *from, float *to, size_t n, bool accumulate)
{
    PassArg a = {t->tv, from, to, accumulate};
    if (from != to)
        ledge__pool_run(t->pool, n, GRAIN, pass, &a);
}

/* ---- Relu and Clip ---- */

typedef struct Clamp {
    float lo, hi;
} Clamp;

typedef struct BackArg {
    const TrainStep *s;
    const Trainer *t;
    const float *dy, *x, *y;
    float *dx;
    bool accumulate;
} BackArg;

static void clamp_forward(Trainer *t, TrainStep *s)
{
    const Clamp *c = s->state;
    ledge__vec_unary(t->runner, LEDGE_U_CLIP, s->in[0]->data, s->out->data, s->out->count, c->lo,
                     c->hi);
}

static void clamp_back(void *arg, size_t begin, size_t end, int thread)
{
    const BackArg *a = arg;
    const Clamp *c = a->s->state;
    (void)thread;
    a->t->tv->clamp_back(a->dy + begin, a->y + begin, a->dx + begin, end - begin, c->lo, c->hi,
                         a->accumulate);
}

static void clamp_backward(Trainer *t, TrainStep *s)
{
    BackArg a = {.s = s, .t = t, .dy = s->out->grad, .y = s->out->data};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    if (a.dx)
        ledge__pool_run(t->pool, s->out->count, GRAIN, clamp_back, &a);
}

static const TrainOp clamp_op = {"clamp", TRAIN_BACK_Y | TRAIN_INPLACE | TRAIN_STEAL, clamp_forward,
                                 clamp_backward};

/* A bound of Clip: attribute before opset 11, then a scalar input. */
static LedgeStatus bound(TrainBuild *b, uint32_t i, const char *attr, float absent, float *out)
{
    const LedgeValue *v = ledge__node_in(b->node, i);
    *out = ledge__node_float(b->node, attr, absent);
    if (v && (!ledge__value_is_constant(v) || v->t.type != LEDGE_FLOAT))
        return ledge__train_refuse(b, "its bounds must be constants");
    if (v)
        *out = (float)ledge__value_as_double(v, 0);
    return LEDGE_OK;
}

LedgeStatus ledge__train_clamp(TrainBuild *b)
{
    TrainValue *x, *y;
    Clamp c = {0, INFINITY};
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    if (ledge__node_is(b->node, "Clip")) {
        LEDGE_TRY(bound(b, 1, "min", -INFINITY, &c.lo));
        LEDGE_TRY(bound(b, 2, "max", INFINITY, &c.hi));
    }
    if (ledge__train_norm_clamp(b, x, c.lo, c.hi))
        return LEDGE_OK;
    LEDGE_TRY(ledge__train_output(b, x->rank, x->dims, x->nhwc, &y));
    TrainStep *s = ledge__train_step(b, &clamp_op, &x, 1, y, sizeof c);
    if (!s)
        return ledge__no_memory(b->err);
    memcpy(s->state, &c, sizeof c);
    return LEDGE_OK;
}

/* ---- smooth activations ---- */

typedef struct Map {
    LedgeMap kind;
    float a, b;
} Map;

static void map_forward(Trainer *t, TrainStep *s)
{
    const Map *m = s->state;
    ledge__vec_unary(t->runner, m->kind, s->in[0]->data, s->out->data, s->out->count, m->a, m->b);
}

/* dy/dx from x and y. */
static float slope(const Map *m, float x, float y)
{
    switch (m->kind) {
    case LEDGE_U_SIGMOID:
        return y * (1 - y);
    case LEDGE_U_TANH:
        return 1 - y * y;
    case LEDGE_U_HARD_SIGMOID:
        return y > 0 && y < 1 ? m->a : 0;
    case LEDGE_U_HARD_SWISH:
        return x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6;
    case LEDGE_U_LEAKY_RELU:
        return x < 0 ? m->a : 1;
    case LEDGE_U_ERF:
        return 1.1283791671f * expf(-x * x); /* 2 / sqrt(pi) */
    case LEDGE_U_GELU:                       /* Φ(x) + x φ(x) */
        return 0.5f * (1 + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-x * x / 2);
    case LEDGE_U_GELU_TANH: {
        const float u = 0.79788456f * (x + 0.044715f * x * x * x), th = tanhf(u);
        return 0.5f * (1 + th) +
               0.5f * x * (1 - th * th) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
    }
    default:
        return 0;
    }
}

static void map_back(void *arg, size_t begin, size_t end, int thread)
{
    const BackArg *a = arg;
    const Map *m = a->s->state;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float d = a->dy[i] * slope(m, a->x[i], a->y[i]);
        a->dx[i] = a->accumulate ? a->dx[i] + d : d;
    }
}

static void map_backward(Trainer *t, TrainStep *s)
{
    BackArg a = {.s = s, .t = t, .dy = s->out->grad, .x = s->in[0]->data, .y = s->out->data};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    if (a.dx)
        ledge__pool_run(t->pool, s->out->count, GRAIN, map_back, &a);
}

static const TrainOp map_op = {"map", TRAIN_BACK_X0 | TRAIN_BACK_Y | TRAIN_STEAL, map_forward,
                               map_backward};

LedgeStatus ledge__train_map(TrainBuild *b)
{
    static const struct {
        const char *op_type;
        LedgeMap kind;
        float alpha, beta;
    } kinds[] = {{"Sigmoid", LEDGE_U_SIGMOID, 0, 0},
                 {"Tanh", LEDGE_U_TANH, 0, 0},
                 {"HardSwish", LEDGE_U_HARD_SWISH, 0, 0},
                 {"Erf", LEDGE_U_ERF, 0, 0},
                 {"HardSigmoid", LEDGE_U_HARD_SIGMOID, 0.2f, 0.5f},
                 {"LeakyRelu", LEDGE_U_LEAKY_RELU, 0.01f, 0},
                 {"Gelu", LEDGE_U_GELU, 0, 0}};
    TrainValue *x, *y;
    size_t i = 0;
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    while (!ledge__node_is(b->node, kinds[i].op_type))
        i++;
    Map m = {kinds[i].kind, ledge__node_float(b->node, "alpha", kinds[i].alpha),
             ledge__node_float(b->node, "beta", kinds[i].beta)};
    if (m.kind == LEDGE_U_GELU &&
        strcmp(ledge__node_string(b->node, "approximate", "none"), "tanh") == 0)
        m.kind = LEDGE_U_GELU_TANH;
    LEDGE_TRY(ledge__train_output(b, x->rank, x->dims, x->nhwc, &y));
    TrainStep *s = ledge__train_step(b, &map_op, &x, 1, y, sizeof m);
    if (!s)
        return ledge__no_memory(b->err);
    memcpy(s->state, &m, sizeof m);
    return LEDGE_OK;
}

/* ---- pairs ---- */

typedef enum PairKind { PAIR_ADD, PAIR_SUB, PAIR_MUL, PAIR_DIV } PairKind;

typedef struct Pair {
    PairKind kind;
    bool alike;   /* both operands lie as the output does */
    int32_t rank; /* of the loops, in the output's memory order */
    int64_t dims[LEDGE_MAX_RANK], step[2][LEDGE_MAX_RANK];
} Pair;

typedef struct PairArg {
    const Pair *p;
    const float *a, *b, *dy;
    float *y;  /* forward; backward: the operand's gradient */
    int which; /* backward: of which operand */
    bool set;  /* backward: every element is written once, so need not be zero before */
} PairArg;

/* Where row `row` (all loops but the last) begins in the operands. */
static void row_start(const Pair *p, size_t row, size_t *a, size_t *b)
{
    *a = *b = 0;
    for (int32_t d = p->rank - 1; d-- > 0;) {
        const size_t i = row % (size_t)p->dims[d];
        row /= (size_t)p->dims[d];
        *a += i * (size_t)p->step[0][d];
        *b += i * (size_t)p->step[1][d];
    }
}

static float pair_value(PairKind kind, float a, float b)
{
    switch (kind) {
    case PAIR_ADD:
        return a + b;
    case PAIR_SUB:
        return a - b;
    case PAIR_MUL:
        return a * b;
    default:
        return a / b;
    }
}

/* Gradient of operand `which` per gradient of the result. */
static float pair_slope(PairKind kind, int which, float a, float b)
{
    switch (kind) {
    case PAIR_ADD:
        return 1;
    case PAIR_SUB:
        return which ? -1.0f : 1.0f;
    case PAIR_MUL:
        return which ? a : b;
    default:
        return which ? -a / (b * b) : 1 / b;
    }
}

static void pair_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PairArg *g = arg;
    const Pair *p = g->p;
    const size_t n = (size_t)p->dims[p->rank - 1];
    const size_t sa = (size_t)p->step[0][p->rank - 1], sb = (size_t)p->step[1][p->rank - 1];
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        size_t a, b;
        row_start(p, row, &a, &b);
        for (size_t j = 0; j < n; j++)
            g->y[row * n + j] = pair_value(p->kind, g->a[a + j * sa], g->b[b + j * sb]);
    }
}

static void pair_back_rows(const PairArg *g, size_t begin, size_t end)
{
    const Pair *p = g->p;
    const size_t n = (size_t)p->dims[p->rank - 1];
    const size_t sa = (size_t)p->step[0][p->rank - 1], sb = (size_t)p->step[1][p->rank - 1];
    for (size_t row = begin; row < end; row++) {
        size_t a, b;
        row_start(p, row, &a, &b);
        float *to = g->y + (g->which ? b : a);
        const size_t st = g->which ? sb : sa;
        for (size_t j = 0; j < n; j++) {
            const float d = g->dy[row * n + j] *
                            pair_slope(p->kind, g->which, g->a[a + j * sa], g->b[b + j * sb]);
            to[j * st] = g->set ? d : to[j * st] + d;
        }
    }
}

/* Items are steps of the outermost loop. */
static void pair_back(void *arg, size_t begin, size_t end, int thread)
{
    const PairArg *g = arg;
    size_t rows = 1;
    (void)thread;
    for (int32_t d = 1; d + 1 < g->p->rank; d++)
        rows *= (size_t)g->p->dims[d];
    pair_back_rows(g, begin * rows, end * rows);
}

static size_t row_count(const Pair *p)
{
    size_t rows = 1;
    for (int32_t d = 0; d + 1 < p->rank; d++)
        rows *= (size_t)p->dims[d];
    return rows;
}

static void pair_forward(Trainer *t, TrainStep *s)
{
    const Pair *p = s->state;
    static const LedgePairMap ops[] = {LEDGE_B_ADD, LEDGE_B_SUB, LEDGE_B_MUL, LEDGE_B_DIV};
    if (p->alike) {
        const LedgeAct none = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0};
        ledge__vec_binary(t->runner, ops[p->kind], LEDGE_VV, s->in[0]->data, s->in[1]->data,
                          s->out->data, s->out->count, none);
        return;
    }
    PairArg a = {.p = p, .a = s->in[0]->data, .b = s->in[1]->data, .y = s->out->data};
    const size_t grain = GRAIN / (size_t)p->dims[p->rank - 1];
    ledge__pool_run(t->pool, row_count(p), grain ? grain : 1, pair_rows, &a);
}

/* An operand of one row that is added to every row: the sums of columns. */
static bool is_bias(const Pair *p, int which)
{
    bool bias = p->kind == PAIR_ADD && p->step[which][p->rank - 1] == 1;
    for (int32_t d = 0; d + 1 < p->rank; d++)
        bias &= p->step[which][d] == 0 || p->dims[d] == 1;
    return bias;
}

static void pair_backward_one(Trainer *t, TrainStep *s, int which)
{
    const Pair *p = s->state;
    bool accumulate;
    float *dx = ledge__train_grad(s, (uint32_t)which, &accumulate);
    const TrainValue *x = s->in[which];
    if (!dx)
        return;
    if (p->alike && p->kind == PAIR_ADD) {
        ledge__train_pass(t, s->out->grad, dx, x->count, accumulate);
        return;
    }
    PairArg a = {.p = p,
                 .a = s->in[0]->data,
                 .b = s->in[1]->data,
                 .dy = s->out->grad,
                 .y = dx,
                 .which = which,
                 .set = !accumulate && x->count == s->out->count};
    if (!accumulate && !a.set)
        memset(dx, 0, x->count * sizeof(float));
    if (is_bias(p, which)) {
        ledge__train_column_sums(t, s->out->grad, row_count(p), (size_t)p->dims[p->rank - 1], dx);
        return;
    }
    /* Sums over the outermost loop are made by one thread, so that their order is always one. */
    const bool split = p->rank > 1 && p->step[which][0] != 0;
    ledge__pool_run(split ? t->pool : NULL, p->rank > 1 ? (size_t)p->dims[0] : 1,
                    split ? 1 : SIZE_MAX, pair_back, &a);
}

static void pair_backward(Trainer *t, TrainStep *s)
{
    /* The one that takes over the output's gradient comes last. */
    pair_backward_one(t, s, s->stolen && s->steal == 0 ? 1 : 0);
    pair_backward_one(t, s, s->stolen && s->steal == 0 ? 0 : 1);
}

static const TrainOp add_op = {"Add", TRAIN_INPLACE | TRAIN_STEAL, pair_forward, pair_backward};
static const TrainOp pair_op = {"pair", TRAIN_BACK_X0 | TRAIN_BACK_X1, pair_forward, pair_backward};

/* Steps of one operand along the output's dims as they lie. */
static bool pair_steps(const TrainValue *x, const TrainValue *y, int64_t *steps)
{
    static const int32_t pixels[] = {0, 2, 3, 1};
    int64_t own[LEDGE_MAX_RANK] = {0}, lies[LEDGE_MAX_RANK], step = 1;
    ledge__train_lies(x, lies);
    for (int32_t d = x->rank; d-- > 0; step *= lies[d]) {
        const int32_t logical = x->nhwc ? pixels[d] : d, at = y->rank - x->rank + logical;
        if (x->dims[logical] != 1 && x->dims[logical] != y->dims[at])
            return false;
        own[at] = x->dims[logical] == 1 ? 0 : step;
    }
    for (int32_t d = 0; d < y->rank; d++)
        steps[d] = own[y->nhwc ? pixels[d] : d];
    return true;
}

static LedgeStatus pair_dims(TrainBuild *b, const TrainValue *x, const TrainValue *z, int32_t *rank,
                             int64_t *dims)
{
    *rank = x->rank > z->rank ? x->rank : z->rank;
    for (int32_t d = 0; d < *rank; d++) {
        const int32_t i = d - (*rank - x->rank), j = d - (*rank - z->rank);
        const int64_t m = i < 0 ? 1 : x->dims[i], n = j < 0 ? 1 : z->dims[j];
        if (m != n && m != 1 && n != 1)
            return ledge__train_refuse(b, "its inputs' shapes do not broadcast");
        dims[d] = m == 1 ? n : m;
    }
    return LEDGE_OK;
}

static LedgeStatus pair_inputs(TrainBuild *b, TrainValue *in[2])
{
    LEDGE_TRY(ledge__train_in(b, 0, &in[0]));
    LEDGE_TRY(ledge__train_in(b, 1, &in[1]));
    if (!in[0] || !in[1])
        return ledge__train_refuse(b, "it needs two inputs");
    const bool nhwc = in[0]->nhwc || in[1]->nhwc;
    for (int i = 0; i < 2; i++)
        LEDGE_TRY(ledge__train_layout(b, in[i], nhwc, &in[i]));
    for (int i = 0; i < 2; i++) /* constants behind something trained, not the preprocessing's */
        if (in[i]->fixed && in[!i]->needs_grad && in[i]->count > 1)
            LEDGE_TRY(ledge__train_param(b, in[i], false));
    return LEDGE_OK;
}

static LedgeStatus pair_step(TrainBuild *b, PairKind kind, TrainValue *const in[2])
{
    TrainValue *y;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK] = {0};
    LEDGE_TRY(pair_dims(b, in[0], in[1], &rank, dims));
    if (rank == 0)
        return ledge__train_refuse(b, "it computes one number of no batch");
    LEDGE_TRY(ledge__train_output(b, rank, dims, in[0]->nhwc || in[1]->nhwc, &y));
    TrainStep *s =
        ledge__train_step(b, kind == PAIR_ADD ? &add_op : &pair_op, in, 2, y, sizeof(Pair));
    if (!s)
        return ledge__no_memory(b->err);
    Pair *p = s->state;
    *p = (Pair){.kind = kind, .rank = rank};
    ledge__train_lies(y, p->dims);
    p->alike = in[0]->count == y->count && in[1]->count == y->count && in[0]->nhwc == in[1]->nhwc;
    if (!p->alike)
        s->flags &= ~(unsigned)TRAIN_INPLACE;
    s->scratch = TRAIN_CHUNKS * (size_t)p->dims[rank - 1] * sizeof(double);
    s->steal = in[0]->fixed || in[0]->count != y->count || in[0]->nhwc != y->nhwc;
    return pair_steps(in[0], y, p->step[0]) && pair_steps(in[1], y, p->step[1])
               ? LEDGE_OK
               : ledge__train_refuse(b, "its inputs' shapes do not broadcast");
}

LedgeStatus ledge__train_pair(TrainBuild *b)
{
    TrainValue *in[2];
    bool done = false;
    const PairKind kind = ledge__node_is(b->node, "Add")   ? PAIR_ADD
                          : ledge__node_is(b->node, "Sub") ? PAIR_SUB
                          : ledge__node_is(b->node, "Mul") ? PAIR_MUL
                                                           : PAIR_DIV;
    LEDGE_TRY(pair_inputs(b, in));
    if (kind == PAIR_ADD)
        LEDGE_TRY(ledge__train_norm_add(b, in[0], in[1], &done));
    if (kind == PAIR_ADD && !done)
        LEDGE_TRY(ledge__train_norm_add(b, in[1], in[0], &done));
    return done ? LEDGE_OK : pair_step(b, kind, in);
}
