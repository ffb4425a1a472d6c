/* Operators that map each element on its own to one of the same type: activations, roots,
 * logarithms, trigonometry, sign and rounding; and those that test it (IsNaN, IsInf) or turn its
 * bits (Not, BitwiseNot). */
#include <math.h>

#include "engine/kernels/ref/broadcast.h"
#include "engine/kernels/ref/convert.h"
#include "engine/kernels/ref/unary.h"
#include "engine/ops/math/math_types.h"

#define CHUNK 256

typedef struct UnaryJob {
    LedgeUnary kind;
    LedgeType type;
    LedgeUnaryCall f32;
    LedgeUnaryF64 f64;
    double p64[2];
    const void *x;
    void *y;
} UnaryJob;

/* float16, bfloat16 and what else float holds. */
static void narrow_floats(const UnaryJob *j, size_t at, size_t count)
{
    float chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_f32(j->type, j->x, at + done, n, chunk);
        ledge__unary_call(&j->f32, chunk, chunk, n);
        ledge__store_f32(j->type, j->y, at + done, n, chunk);
    }
}

/* The kinds that integers have and that must stay exact; arithmetic wraps. */
static int64_t integer_value(LedgeUnary kind, int64_t v, bool is_uint64)
{
    bool negative = v < 0 && !is_uint64;
    switch (kind) {
    case LEDGE_UNARY_ABS:
        return negative ? (int64_t)(0 - (uint64_t)v) : v;
    case LEDGE_UNARY_NEG:
        return (int64_t)(0 - (uint64_t)v);
    case LEDGE_UNARY_SIGN:
        return negative ? -1 : v != 0;
    case LEDGE_UNARY_RELU:
        return negative ? 0 : v;
    default:
        return v;
    }
}

static void integers(const UnaryJob *j, size_t at, size_t count)
{
    int64_t chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_i64(j->type, j->x, at + done, n, chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = integer_value(j->kind, chunk[i], j->type == LEDGE_UINT64);
        ledge__store_i64(j->type, j->y, at + done, n, chunk);
    }
}

/* What is left for integers (Shrink, Round ...) goes through double. */
static void integers_as_double(const UnaryJob *j, size_t at, size_t count)
{
    double chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_f64(j->type, j->x, at + done, n, chunk);
        j->f64(chunk, chunk, n, j->p64);
        ledge__store_f64(j->type, j->y, at + done, n, chunk);
    }
}

static void unary_piece(void *arg, const LedgeSpan *s)
{
    const UnaryJob *j = arg;
    if (j->type == LEDGE_FLOAT)
        ledge__unary_call(&j->f32, (const float *)j->x + s->out, (float *)j->y + s->out, s->n);
    else if (j->type == LEDGE_DOUBLE)
        j->f64((const double *)j->x + s->out, (double *)j->y + s->out, s->n, j->p64);
    else if (ledge__num_is_float(j->type))
        narrow_floats(j, s->out, s->n);
    else if (j->kind == LEDGE_UNARY_ABS || j->kind == LEDGE_UNARY_NEG ||
             j->kind == LEDGE_UNARY_SIGN || j->kind == LEDGE_UNARY_RELU)
        integers(j, s->out, s->n);
    else
        integers_as_double(j, s->out, s->n);
}

/* a0 and a1 name the attributes that are the function's parameters; NULL: it has none. */
static LedgeStatus run_unary(LedgeOpCtx *c, LedgeUnary kind, const char *a0, double absent0,
                             const char *a1, double absent1)
{
    const LedgeTensor *x = c->in[0];
    UnaryJob j = {.kind = kind, .type = x->type, .f64 = ledge__unary_f64(kind), .x = x->data,
                  .y = c->out[0]->data};
    j.p64[0] = a0 ? (double)ledge__node_float(c->node, a0, (float)absent0) : 0;
    j.p64[1] = a1 ? (double)ledge__node_float(c->node, a1, (float)absent1) : 0;
    j.f32 = ledge__unary_f32(kind, c->cpu, (const float[]){(float)j.p64[0], (float)j.p64[1]});
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(x), unary_piece, &j);
    return LEDGE_OK;
}

/* X(operator, kind, types, attribute, its default, attribute, its default) */
#define UNARY_OPS(X)                                                                               \
    X(Abs, ABS, LEDGE_SET_NUMBERS, NULL, 0, NULL, 0)                                               \
    X(Acos, ACOS, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Acosh, ACOSH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                            \
    X(Asin, ASIN, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Asinh, ASINH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                            \
    X(Atan, ATAN, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Atanh, ATANH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                            \
    X(Ceil, CEIL, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Celu, CELU, LEDGE_SET_FLOATS, "alpha", 1, NULL, 0)                                           \
    X(Cos, COS, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                                \
    X(Cosh, COSH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Elu, ELU, LEDGE_SET_FLOATS, "alpha", 1, NULL, 0)                                             \
    X(Erf, ERF, LEDGE_SET_NUMBERS, NULL, 0, NULL, 0)                                               \
    X(Exp, EXP, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                                \
    X(Floor, FLOOR, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                            \
    X(HardSigmoid, HARDSIGMOID, LEDGE_SET_FLOATS, "alpha", 0.2, "beta", 0.5)                       \
    X(HardSwish, HARDSWISH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                    \
    X(LeakyRelu, LEAKYRELU, LEDGE_SET_FLOATS, "alpha", 0.01, NULL, 0)                              \
    X(Log, LOG, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                                \
    X(Mish, MISH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Neg, NEG, LEDGE_SET_FLOATS | LEDGE_SET_SIGNED, NULL, 0, NULL, 0)                             \
    X(Reciprocal, RECIPROCAL, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                  \
    X(Relu, RELU, LEDGE_SET_FLOATS | LEDGE_SET_SIGNED, NULL, 0, NULL, 0)                           \
    X(Round, ROUND, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                            \
    X(Selu, SELU, LEDGE_SET_FLOATS, "alpha", 1.67326319217681884765625, "gamma",                   \
      1.05070102214813232421875)                                                                   \
    X(Shrink, SHRINK, LEDGE_SET_NUMBERS, "lambd", 0.5, "bias", 0)                                  \
    X(Sigmoid, SIGMOID, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                        \
    X(Sign, SIGN, LEDGE_SET_NUMBERS, NULL, 0, NULL, 0)                                             \
    X(Sin, SIN, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                                \
    X(Sinh, SINH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Softplus, SOFTPLUS, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                      \
    X(Softsign, SOFTSIGN, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                      \
    X(Sqrt, SQRT, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(Swish, SWISH, LEDGE_SET_FLOATS, "alpha", 1, NULL, 0)                                         \
    X(Tan, TAN, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                                \
    X(Tanh, TANH, LEDGE_SET_FLOATS, NULL, 0, NULL, 0)                                              \
    X(ThresholdedRelu, THRESHOLDEDRELU, LEDGE_SET_FLOATS, "alpha", 1, NULL, 0)

#define UNARY_FUNCTIONS(name, kind, types, a0, d0, a1, d1)                                         \
    static LedgeStatus infer_##name(LedgeOpCtx *c)                                                 \
    {                                                                                              \
        return ledge__math_infer_like_input(c, types, LEDGE_TYPE_NONE);                            \
    }                                                                                              \
    static LedgeStatus run_##name(LedgeOpCtx *c)                                                   \
    {                                                                                              \
        return run_unary(c, LEDGE_UNARY_##kind, a0, d0, a1, d1);                                   \
    }
UNARY_OPS(UNARY_FUNCTIONS)

static LedgeStatus infer_gelu(LedgeOpCtx *c)
{
    const char *how = ledge__node_string(c->node, "approximate", "none");
    if (strcmp(how, "none") != 0 && strcmp(how, "tanh") != 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "approximate is \"%s\", must be none or tanh",
                              how);
    return ledge__math_infer_like_input(c, LEDGE_SET_FLOATS, LEDGE_TYPE_NONE);
}

static LedgeStatus run_gelu(LedgeOpCtx *c)
{
    bool approximate = strcmp(ledge__node_string(c->node, "approximate", "none"), "tanh") == 0;
    return run_unary(c, approximate ? LEDGE_UNARY_GELU_TANH : LEDGE_UNARY_GELU, NULL, 0, NULL, 0);
}

/* ---- tests and bits ---- */

typedef struct TestJob {
    const LedgeTensor *x;
    void *y;
    bool nan, positive, negative; /* what counts as true */
} TestJob;

static void test_piece(void *arg, const LedgeSpan *s)
{
    const TestJob *j = arg;
    uint8_t *y = j->y;
    double chunk[CHUNK];
    for (size_t done = 0; done < s->n; done += CHUNK) {
        size_t n = s->n - done < CHUNK ? s->n - done : CHUNK;
        ledge__load_f64(j->x->type, j->x->data, s->out + done, n, chunk);
        for (size_t i = 0; i < n; i++)
            y[s->out + done + i] = isnan(chunk[i])   ? j->nan
                                   : isinf(chunk[i]) ? (chunk[i] > 0 ? j->positive : j->negative)
                                                     : 0;
    }
}

static LedgeStatus infer_test(LedgeOpCtx *c)
{
    return ledge__math_infer_like_input(c, LEDGE_SET_FLOATS | LEDGE_SET_FLOAT8, LEDGE_BOOL);
}

static LedgeStatus run_is_nan(LedgeOpCtx *c)
{
    TestJob j = {.x = c->in[0], .y = c->out[0]->data, .nan = true};
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(j.x), test_piece, &j);
    return LEDGE_OK;
}

static LedgeStatus run_is_inf(LedgeOpCtx *c)
{
    TestJob j = {.x = c->in[0], .y = c->out[0]->data,
                 .positive = ledge__node_int(c->node, "detect_positive", 1) != 0,
                 .negative = ledge__node_int(c->node, "detect_negative", 1) != 0};
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(j.x), test_piece, &j);
    return LEDGE_OK;
}

static LedgeStatus infer_not(LedgeOpCtx *c)
{
    return ledge__math_infer_like_input(c, LEDGE_SET(BOOL), LEDGE_TYPE_NONE);
}

static LedgeStatus run_not(LedgeOpCtx *c)
{
    const uint8_t *x = c->in[0]->data;
    uint8_t *y = c->out[0]->data;
    size_t n = (size_t)ledge_tensor_count(c->in[0]);
    for (size_t i = 0; i < n; i++)
        y[i] = !x[i];
    return LEDGE_OK;
}

static LedgeStatus infer_bitwise_not(LedgeOpCtx *c)
{
    return ledge__math_infer_like_input(c, LEDGE_SET_SIGNED | LEDGE_SET_UNSIGNED, LEDGE_TYPE_NONE);
}

static LedgeStatus run_bitwise_not(LedgeOpCtx *c)
{
    const uint8_t *x = c->in[0]->data;
    uint8_t *y = c->out[0]->data;
    size_t n = ledge_tensor_bytes(c->in[0]);
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)~x[i];
    return LEDGE_OK;
}

#define UNARY_ENTRY(name, kind, types, a0, d0, a1, d1)                                             \
    {"", #name, 1, 0, LEDGE_OP_INPLACE, infer_##name, NULL, run_##name, NULL},

const LedgeOp ledge__ops_math_unary[] = {
    UNARY_OPS(UNARY_ENTRY)
    {"", "Gelu", 20, 0, LEDGE_OP_INPLACE, infer_gelu, NULL, run_gelu, NULL},
    {"", "IsNaN", 9, 0, 0, infer_test, NULL, run_is_nan, NULL},
    {"", "IsInf", 10, 0, 0, infer_test, NULL, run_is_inf, NULL},
    {"", "Not", 1, 0, LEDGE_OP_INPLACE, infer_not, NULL, run_not, NULL},
    {"", "BitwiseNot", 18, 0, LEDGE_OP_INPLACE, infer_bitwise_not, NULL, run_bitwise_not, NULL},
    {0}};
