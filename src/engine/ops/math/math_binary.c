/* Operators of two tensors, element by element with Numpy broadcasting: arithmetic, comparison,
 * logic, bits, Pow and PRelu. What integers do at their edges is said in kernels/ref/binary.h. */
#include "engine/kernels/ref/binary.h"

#include "engine/kernels/ref/convert.h"
#include "engine/ops/math/math_types.h"

static LedgeStatus infer_binary(LedgeOpCtx *c, LedgeTypeSet set, LedgeType type)
{
    LEDGE_TRY(ledge__math_need(c, 0, set));
    LEDGE_TRY(ledge__math_need_like(c, 1, 0));
    LEDGE_TRY(ledge__math_need(c, 1, set));
    const LedgeTensor *a = c->in[0], *b = c->in[1];
    LedgeType own = a->type == LEDGE_TYPE_NONE ? b->type : a->type;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_broadcast(c, a, b, &rank, dims));
    ledge__op_set_out(c, 0, type == LEDGE_TYPE_NONE ? own : type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_binary(LedgeOpCtx *c, LedgeBinary kind)
{
    if (!ledge__binary_has(kind, c->in[0]->type))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "operator %s is not supported for %s",
                              c->node->op_type, ledge_type_name(c->in[0]->type));
    ledge__binary(kind, c->in[0], c->in[1], c->out[0], (LedgeRunner){c->pool, c->cpu});
    return LEDGE_OK;
}

#define INTEGERS (LEDGE_SET_SIGNED | LEDGE_SET_UNSIGNED)
#define EITHER (LEDGE_OP_INPLACE | LEDGE_OP_INPLACE_1)

/* X(operator, since, kind, types, type of the result, flags) */
#define BINARY_OPS(X)                                                                              \
    X(Add, 7, ADD, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE, EITHER)                                     \
    X(Sub, 7, SUB, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE, EITHER)                                     \
    X(Mul, 7, MUL, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE, EITHER)                                     \
    X(Div, 7, DIV, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE, EITHER)                                     \
    X(And, 7, BIT_AND, LEDGE_SET(BOOL), LEDGE_TYPE_NONE, EITHER)                                   \
    X(Or, 7, BIT_OR, LEDGE_SET(BOOL), LEDGE_TYPE_NONE, EITHER)                                     \
    X(Xor, 7, BIT_XOR, LEDGE_SET(BOOL), LEDGE_TYPE_NONE, EITHER)                                   \
    X(BitwiseAnd, 18, BIT_AND, INTEGERS, LEDGE_TYPE_NONE, EITHER)                                  \
    X(BitwiseOr, 18, BIT_OR, INTEGERS, LEDGE_TYPE_NONE, EITHER)                                    \
    X(BitwiseXor, 18, BIT_XOR, INTEGERS, LEDGE_TYPE_NONE, EITHER)                                  \
    X(Less, 7, LESS, LEDGE_SET_NUMBERS, LEDGE_BOOL, 0)                                             \
    X(LessOrEqual, 12, LESS_EQUAL, LEDGE_SET_NUMBERS, LEDGE_BOOL, 0)                               \
    X(Greater, 7, GREATER, LEDGE_SET_NUMBERS, LEDGE_BOOL, 0)                                       \
    X(GreaterOrEqual, 12, GREATER_EQUAL, LEDGE_SET_NUMBERS, LEDGE_BOOL, 0)

#define BINARY_FUNCTIONS(name, since, kind, types, result, flags)                                  \
    static LedgeStatus infer_##name(LedgeOpCtx *c)                                                 \
    {                                                                                              \
        return infer_binary(c, types, result);                                                     \
    }                                                                                              \
    static LedgeStatus run_##name(LedgeOpCtx *c)                                                   \
    {                                                                                              \
        return run_binary(c, LEDGE_BINARY_##kind);                                                 \
    }
BINARY_OPS(BINARY_FUNCTIONS)

/* ---- Equal, which also compares strings ---- */

typedef struct StringJob {
    const LedgeString *a, *b;
    uint8_t *y;
} StringJob;

static void equal_strings(void *arg, const LedgeSpan *s)
{
    const StringJob *j = arg;
    for (size_t i = 0; i < s->n; i++) {
        const LedgeString *a = j->a + s->at[0] + i * s->step[0];
        const LedgeString *b = j->b + s->at[1] + i * s->step[1];
        j->y[s->out + i] =
            a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
    }
}

static LedgeStatus infer_equal(LedgeOpCtx *c)
{
    return infer_binary(c, LEDGE_SET_NUMBERS | LEDGE_SET(BOOL) | LEDGE_SET(STRING), LEDGE_BOOL);
}

static LedgeStatus run_equal(LedgeOpCtx *c)
{
    if (c->in[0]->type != LEDGE_STRING)
        return run_binary(c, LEDGE_BINARY_EQUAL);
    StringJob j = {c->in[0]->data, c->in[1]->data, c->out[0]->data};
    LedgeBroadcast walk;
    ledge__broadcast_plan(&walk, c->out[0], c->in, 2);
    ledge__broadcast_run(&walk, c->pool, equal_strings, &j);
    return LEDGE_OK;
}

/* ---- Mod, BitShift: the kind is an attribute ---- */

static LedgeStatus infer_mod(LedgeOpCtx *c)
{
    return infer_binary(c, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE);
}

static LedgeStatus run_mod(LedgeOpCtx *c)
{
    bool c_like = ledge__node_int(c->node, "fmod", 0) != 0;
    return run_binary(c, c_like ? LEDGE_BINARY_FMOD : LEDGE_BINARY_MOD);
}

static LedgeStatus infer_bit_shift(LedgeOpCtx *c)
{
    const char *to = ledge__node_string(c->node, "direction", "");
    if (strcmp(to, "LEFT") != 0 && strcmp(to, "RIGHT") != 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "direction is \"%s\", must be LEFT or RIGHT",
                              to);
    return infer_binary(c, LEDGE_SET_UNSIGNED, LEDGE_TYPE_NONE);
}

static LedgeStatus run_bit_shift(LedgeOpCtx *c)
{
    bool left = strcmp(ledge__node_string(c->node, "direction", ""), "LEFT") == 0;
    return run_binary(c, left ? LEDGE_BINARY_SHIFT_LEFT : LEDGE_BINARY_SHIFT_RIGHT);
}

/* ---- Pow, whose exponent may be of another type ---- */

static LedgeStatus infer_pow(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_FLOATS | LEDGE_SET_INDICES));
    LEDGE_TRY(ledge__math_need(c, 1, LEDGE_SET_NUMBERS));
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], c->in[1], &rank, dims));
    ledge__op_set_out(c, 0, c->in[0]->type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_pow(LedgeOpCtx *c)
{
    const LedgeTensor *a = c->in[0], *b = c->in[1];
    if (ledge_tensor_count(b) == 1) { /* squares, as in every variance, and cubes, as in GELU */
        double exponent;
        ledge__load_f64(b->type, b->data, 0, 1, &exponent);
        bool wide = a->type == LEDGE_FLOAT || a->type == LEDGE_DOUBLE;
        bool cube = exponent == 3 && wide && c->out[0]->data != a->data;
        if (exponent == 2 || cube)
            ledge__binary(LEDGE_BINARY_MUL, a, a, c->out[0], (LedgeRunner){c->pool, c->cpu});
        if (cube)
            ledge__binary(LEDGE_BINARY_MUL, c->out[0], a, c->out[0],
                          (LedgeRunner){c->pool, c->cpu});
        if (exponent == 2 || cube)
            return LEDGE_OK;
    }
    if (a->type == b->type)
        ledge__binary(LEDGE_BINARY_POW, a, b, c->out[0], (LedgeRunner){c->pool, c->cpu});
    else
        ledge__pow_mixed(a, b, c->out[0], c->pool);
    return LEDGE_OK;
}

/* ---- PRelu: the slope broadcasts to x, never x to the slope ---- */

static LedgeStatus infer_prelu(LedgeOpCtx *c)
{
    LEDGE_TRY(infer_binary(c, LEDGE_SET_FLOATS | LEDGE_SET_INDICES | LEDGE_SET(UINT32) |
                                  LEDGE_SET(UINT64),
                           LEDGE_TYPE_NONE));
    const LedgeTensor *x = c->in[0], *y = ledge__op_out(c, 0);
    if (!y || x->rank < 0 || y->rank < 0)
        return LEDGE_OK;
    bool fits = y->rank == x->rank;
    for (int32_t d = 0; fits && d < x->rank; d++)
        fits = x->dims[d] < 0 || y->dims[d] < 0 || x->dims[d] == y->dims[d];
    if (!fits)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "slope does not broadcast to x");
    return LEDGE_OK;
}

static LedgeStatus run_prelu(LedgeOpCtx *c)
{
    return run_binary(c, LEDGE_BINARY_PRELU);
}

#define BINARY_ENTRY(name, since, kind, types, result, flags)                                      \
    {"", #name, since, 0, flags, infer_##name, NULL, run_##name, NULL},

const LedgeOp ledge__ops_math_binary[] = {
    BINARY_OPS(BINARY_ENTRY)
    {"", "Equal", 7, 0, 0, infer_equal, NULL, run_equal, NULL},
    {"", "Mod", 10, 0, EITHER, infer_mod, NULL, run_mod, NULL},
    {"", "BitShift", 11, 0, EITHER, infer_bit_shift, NULL, run_bit_shift, NULL},
    {"", "Pow", 7, 0, LEDGE_OP_INPLACE, infer_pow, NULL, run_pow, NULL},
    {"", "PRelu", 7, 0, LEDGE_OP_INPLACE, infer_prelu, NULL, run_prelu, NULL},
    {0}};
