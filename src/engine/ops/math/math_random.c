/* Operators that draw random numbers: Dropout in training, Bernoulli, RandomNormal,
 * RandomUniform, their Like forms, and Multinomial.
 *
 * The generator is MT19937 (Matsumoto and Nishimura, 1998) with 53-bit doubles, drawn in element
 * order on one thread, so that a seed gives the same numbers everywhere. Without a seed attribute
 * every run draws anew. In inference Dropout hands its input on. */
#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/kernels/ref/convert.h"
#include "engine/ops/math/math_types.h"

/* ---- the generator ---- */

#define MT_N 624
#define MT_M 397

typedef struct Random {
    uint32_t state[MT_N];
    int at;
    double spare; /* second number of a normal pair */
    bool has_spare;
} Random;

static void random_seed(Random *r, uint32_t seed)
{
    r->has_spare = false;
    r->state[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ r->state[i - 1] >> 30) + i;
    r->at = MT_N;
}

static void random_turn(Random *r)
{
    for (int i = 0; i < MT_N; i++) {
        uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % MT_N] & 0x7fffffffu);
        r->state[i] = r->state[(i + MT_M) % MT_N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->at = 0;
}

static uint32_t random_u32(Random *r)
{
    if (r->at == MT_N)
        random_turn(r);
    uint32_t y = r->state[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* In [0, 1), in steps of 2^-53. */
static double random_uniform(Random *r)
{
    double high = random_u32(r) >> 5, low = random_u32(r) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

/* Mean 0, variance 1; the polar method gives two at a time. */
static double random_normal(Random *r)
{
    double x, y, square;
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    do {
        x = 2 * random_uniform(r) - 1;
        y = 2 * random_uniform(r) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    double f = sqrt(-2 * log(square) / square);
    r->spare = f * x;
    r->has_spare = true;
    return f * y;
}

/* Seeds from the attribute (an integer in Dropout, else a float), or from the clock. */
static void random_start(const LedgeOpCtx *c, Random *r)
{
    static atomic_uint runs;
    const LedgeAttr *a = ledge__node_attr(c->node, "seed");
    if (a) {
        random_seed(r, (uint32_t)(a->type == ONNX_ATTR_INT ? a->i : ledge__f64_to_i64(a->f)));
        return;
    }
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    uint32_t turn = atomic_fetch_add(&runs, 1);
    random_seed(r, (uint32_t)t.tv_nsec ^ (uint32_t)t.tv_sec * 2654435761u ^ turn * 0x9e3779b9u);
}

/* ---- Dropout ---- */

#define DROPPABLE (LEDGE_SET_FLOATS | LEDGE_SET_FLOAT8)

static LedgeStatus infer_dropout(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_infer_like_input(c, DROPPABLE, LEDGE_TYPE_NONE));
    const LedgeTensor *x = c->in[0], *ratio = ledge__op_in(c, 1), *training = ledge__op_in(c, 2);
    if (ratio)
        LEDGE_TRY(ledge__math_need(c, 1, DROPPABLE));
    if (training)
        LEDGE_TRY(ledge__math_need(c, 2, LEDGE_SET(BOOL)));
    ledge__op_set_out(c, 1, c->node->opset < 10 ? x->type : LEDGE_BOOL, x->rank, x->dims);
    return LEDGE_OK;
}

/* Probability to drop an element; 0 outside training. */
static LedgeStatus dropout_ratio(LedgeOpCtx *c, double *ratio)
{
    int64_t training = 0;
    bool known;
    *ratio = 0;
    if (ledge__op_in(c, 2))
        LEDGE_TRY(ledge__math_scalar_int(c, 2, &training, &known));
    if (!training)
        return LEDGE_OK;
    *ratio = 0.5;
    if (ledge__op_in(c, 1))
        LEDGE_TRY(ledge__math_scalar(c, 1, ratio, &known));
    if (!(*ratio >= 0 && *ratio < 1))
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "ratio is %g, must be in [0, 1)", *ratio);
    return LEDGE_OK;
}

static LedgeStatus run_dropout(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = ledge__op_out(c, 0), *mask = ledge__op_out(c, 1);
    size_t n = (size_t)ledge_tensor_count(x);
    double ratio;
    Random r;
    LEDGE_TRY(dropout_ratio(c, &ratio));
    if (ratio == 0 && y)
        ledge__math_copy(y, x);
    if (ratio > 0)
        random_start(c, &r);
    for (size_t i = 0; i < n && (mask || ratio > 0); i++) {
        int64_t keep = ratio == 0 || random_uniform(&r) >= ratio;
        double v;
        if (mask)
            ledge__store_i64(mask->type, mask->data, i, 1, &keep);
        if (ratio == 0 || !y)
            continue;
        ledge__load_f64(x->type, x->data, i, 1, &v);
        v = keep ? v / (1 - ratio) : 0 * v;
        ledge__store_f64(y->type, y->data, i, 1, &v);
    }
    return LEDGE_OK;
}

/* ---- Bernoulli ---- */

static LedgeStatus infer_bernoulli(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_FLOATS));
    LEDGE_TRY(ledge__math_type_attr(c, "dtype", c->in[0]->type,
                                    LEDGE_SET_NUMBERS | LEDGE_SET(BOOL), &type));
    return ledge__math_infer_like_input(c, LEDGE_SET_FLOATS, type);
}

static LedgeStatus run_bernoulli(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = c->out[0];
    size_t n = (size_t)ledge_tensor_count(x);
    Random r;
    random_start(c, &r);
    for (size_t i = 0; i < n; i++) {
        double p;
        ledge__load_f64(x->type, x->data, i, 1, &p);
        int64_t one = random_uniform(&r) < p;
        ledge__store_i64(y->type, y->data, i, 1, &one);
    }
    return LEDGE_OK;
}

/* ---- RandomNormal, RandomUniform and their Like forms ---- */

static LedgeStatus infer_random(LedgeOpCtx *c)
{
    LedgeType type;
    size_t n;
    const int64_t *shape = ledge__node_ints(c->node, "shape", &n);
    LEDGE_TRY(ledge__math_type_attr(c, "dtype", LEDGE_FLOAT, LEDGE_SET_FLOATS, &type));
    if (!ledge__node_attr(c->node, "shape"))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute shape is missing");
    if (n > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "shape has %zu dimensions, at most %d fit", n,
                              LEDGE_MAX_RANK);
    for (size_t d = 0; d < n; d++)
        if (shape[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %zu would be %lld", d,
                                  (long long)shape[d]);
    ledge__op_set_out(c, 0, type, (int32_t)n, shape);
    return LEDGE_OK;
}

static LedgeStatus infer_random_like(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_TENSORS));
    LEDGE_TRY(ledge__math_type_attr(c, "dtype", c->in[0]->type, LEDGE_SET_FLOATS, &type));
    if (type != LEDGE_TYPE_NONE && !ledge__type_in(type, LEDGE_SET_FLOATS))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "it needs dtype, as its input is %s",
                              ledge_type_name(type));
    return ledge__math_infer_like_input(c, LEDGE_SET_TENSORS, type);
}

static LedgeStatus run_random(LedgeOpCtx *c, double (*draw)(Random *), double offset, double scale)
{
    const LedgeTensor *y = c->out[0];
    size_t n = (size_t)ledge_tensor_count(y);
    Random r;
    random_start(c, &r);
    for (size_t i = 0; i < n; i++) {
        double v = draw(&r) * scale + offset;
        ledge__store_f64(y->type, y->data, i, 1, &v);
    }
    return LEDGE_OK;
}

static LedgeStatus run_random_normal(LedgeOpCtx *c)
{
    return run_random(c, random_normal, (double)ledge__node_float(c->node, "mean", 0),
                      (double)ledge__node_float(c->node, "scale", 1));
}

static LedgeStatus run_random_uniform(LedgeOpCtx *c)
{
    double low = (double)ledge__node_float(c->node, "low", 0);
    return run_random(c, random_uniform, low, (double)ledge__node_float(c->node, "high", 1) - low);
}

/* ---- Multinomial ---- */

static LedgeStatus infer_multinomial(LedgeOpCtx *c)
{
    LedgeType type;
    int64_t samples = ledge__node_int(c->node, "sample_size", 1);
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_FLOATS));
    LEDGE_TRY(ledge__math_type_attr(c, "dtype", LEDGE_INT32, LEDGE_SET_INDICES, &type));
    const LedgeTensor *x = c->in[0];
    if (samples < 0 || (x->rank >= 0 && x->rank != 2))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "needs a matrix [batch, classes] and "
                              "sample_size of at least 0");
    int64_t dims[2] = {x->rank == 2 ? x->dims[0] : -1, samples};
    ledge__op_set_out(c, 0, type, 2, dims);
    return LEDGE_OK;
}

/* The class at which the running sum of exp(log-probability) passes `u` of the whole. */
static int64_t pick_class(const LedgeTensor *x, size_t row, size_t classes, double u)
{
    double top = -INFINITY, sum = 0, v;
    for (size_t k = 0; k < classes; k++) {
        ledge__load_f64(x->type, x->data, row * classes + k, 1, &v);
        top = v > top ? v : top;
    }
    for (size_t k = 0; k < classes; k++) {
        ledge__load_f64(x->type, x->data, row * classes + k, 1, &v);
        sum += exp(v - top);
    }
    double left = u * sum;
    for (size_t k = 0; k < classes; k++) {
        ledge__load_f64(x->type, x->data, row * classes + k, 1, &v);
        left -= exp(v - top);
        if (left < 0)
            return (int64_t)k;
    }
    return (int64_t)classes - 1;
}

static LedgeStatus run_multinomial(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = c->out[0];
    size_t rows = (size_t)y->dims[0], samples = (size_t)y->dims[1], classes = (size_t)x->dims[1];
    Random r;
    random_start(c, &r);
    if (classes == 0 && rows * samples > 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "there are no classes to draw from");
    for (size_t i = 0; i < rows * samples; i++) {
        int64_t k = pick_class(x, i / samples, classes, random_uniform(&r));
        ledge__store_i64(y->type, y->data, i, 1, &k);
    }
    return LEDGE_OK;
}

#define IMPURE LEDGE_OP_IMPURE

const LedgeOp ledge__ops_math_random[] = {
    {"", "Dropout", 7, 0, LEDGE_OP_INPLACE | IMPURE, infer_dropout, NULL, run_dropout, NULL},
    {"", "Bernoulli", 15, 0, IMPURE, infer_bernoulli, NULL, run_bernoulli, NULL},
    {"", "RandomNormal", 1, 0, IMPURE, infer_random, NULL, run_random_normal, NULL},
    {"", "RandomUniform", 1, 0, IMPURE, infer_random, NULL, run_random_uniform, NULL},
    {"", "RandomNormalLike", 1, 0, IMPURE, infer_random_like, NULL, run_random_normal, NULL},
    {"", "RandomUniformLike", 1, 0, IMPURE, infer_random_like, NULL, run_random_uniform, NULL},
    {"", "Multinomial", 7, 0, IMPURE, infer_multinomial, NULL, run_multinomial, NULL},
    {0}};
