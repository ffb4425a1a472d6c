/* Products with constant weights of 2, 4 or 8 bits become ledge.MatMulBlocks, which keeps them
 * packed: com.microsoft MatMulNBits, and MatMul or Gemm of a float by a DequantizeLinear of
 * constants whose scales stand for columns or for blocks along K. */
#include "engine/optimize/pass.h"

enum { IN_A, IN_CODES, IN_BIAS, IN_R, IN_SCALES, IN_ZEROS, IN_SLOTS, UNIT = 16 };

typedef struct Match {
    LedgeValue *in[IN_SLOTS];
    int64_t k, n, bits, block;
    const char *form;
    bool round_a;
} Match;

static bool is_float(LedgeType t)
{
    return t == LEDGE_FLOAT || t == LEDGE_FLOAT16 || t == LEDGE_BFLOAT16;
}

static bool is_constant(const LedgeValue *v)
{
    return ledge__value_is_constant(v) && ledge_tensor_count(&v->t) > 0;
}

/* com.microsoft MatMulNBits: A, B, scales, zero_points, g_idx, bias. */
static bool match_nbits(const LedgeNode *n, Match *m)
{
    *m = (Match){.k = ledge__node_int(n, "K", 0),
                 .n = ledge__node_int(n, "N", 0),
                 .bits = ledge__node_int(n, "bits", 4),
                 .form = "packed",
                 .block = ledge__node_int(n, "block_size", 0),
                 .round_a = ledge__node_int(n, "accuracy_level", 0) == 4};
    LedgeValue *bias = ledge__node_in(n, 5), *zeros = ledge__node_in(n, 3);
    if (ledge__node_in(n, 4) || !is_constant(n->in[1].value) ||
        !is_constant(ledge__node_in(n, 2)) || (zeros && !is_constant(zeros)) ||
        (bias && !is_constant(bias)) || m->k < 1 || m->n < 1 || m->block < UNIT ||
        m->block % UNIT || (m->bits != 2 && m->bits != 4 && m->bits != 8))
        return false;
    m->in[IN_A] = n->in[0].value;
    m->in[IN_CODES] = n->in[1].value;
    m->in[IN_BIAS] = bias;
    m->in[IN_SCALES] = n->in[2].value;
    m->in[IN_ZEROS] = zeros;
    return true;
}

static bool is_code(LedgeType t)
{
    return t == LEDGE_INT8 || t == LEDGE_UINT8 || t == LEDGE_INT4 || t == LEDGE_UINT4 ||
           t == LEDGE_INT2 || t == LEDGE_UINT2;
}

/* Zero points that are absent are 0; for unsigned codes that must be said. */
static LedgeValue *zero_of(LedgeGraph *g, LedgeType type)
{
    LedgeTensor t = {.type = type, .rank = 1, .dims = {1}};
    return ledge__value_constant(g, NULL, &t, false);
}

/* dq: the weights of a product, [K, N] or (trans_b) [N, K]. */
static bool match_weights(LedgeGraph *g, const LedgeNode *dq, bool trans_b, Match *m)
{
    LedgeValue *codes = dq->in[0].value, *scales = ledge__node_in(dq, 1);
    LedgeValue *zeros = ledge__node_in(dq, 2);
    if (!is_constant(codes) || !is_constant(scales) || (zeros && !is_constant(zeros)) ||
        codes->t.rank != 2 || !is_code(codes->t.type) || !is_float(scales->t.type) ||
        scales->t.type != dq->out[0]->t.type)
        return false;
    const int32_t along_k = trans_b ? 1 : 0;
    const int32_t axis = ledge__opt_axis(ledge__node_int(dq, "axis", 1), 2);
    const int64_t count = ledge_tensor_count(&scales->t);
    m->k = codes->t.dims[along_k];
    m->n = codes->t.dims[1 - along_k];
    m->bits = ledge_type_bits(codes->t.type);
    m->block = ledge__node_int(dq, "block_size", 0);
    m->form = trans_b ? "columns" : "rows";
    const bool is_unsigned = codes->t.type == LEDGE_UINT8 || codes->t.type == LEDGE_UINT4 ||
                             codes->t.type == LEDGE_UINT2;
    if (m->block == 0) { /* one scale for all, or one for each column */
        if (count != 1 && (scales->t.rank != 1 || axis != 1 - along_k))
            return false;
        m->block = (m->k + UNIT - 1) / UNIT * UNIT;
    } else if (axis != along_k || m->block % UNIT || m->block > INT32_MAX) {
        return false;
    }
    m->in[IN_CODES] = codes;
    m->in[IN_SCALES] = scales;
    m->in[IN_ZEROS] = zeros ? zeros : is_unsigned ? zero_of(g, codes->t.type) : NULL;
    return zeros || !is_unsigned || m->in[IN_ZEROS];
}

/* MatMul or Gemm of a float by dequantised constants. */
static bool match_dequantized(LedgeGraph *g, const LedgeNode *n, Match *m)
{
    const LedgeNode *dq = ledge__opt_made_by(n->in[1].value, "DequantizeLinear");
    LedgeValue *a = n->in[0].value, *c = ledge__node_in(n, 2);
    const bool gemm = ledge__node_is(n, "Gemm");
    *m = (Match){0};
    if (!dq || !a || a->t.rank < 2 || ledge__value_is_constant(a) ||
        ledge__opt_made_by(a, "DequantizeLinear") || /* that is for whole products of integers */
        !match_weights(g, dq, gemm && ledge__node_int(n, "transB", 0), m))
        return false;
    m->in[IN_A] = a;
    if (!gemm)
        return true;
    if (ledge__node_float(n, "alpha", 1) != 1 || ledge__node_int(n, "transA", 0) ||
        (c && ledge__node_float(n, "beta", 1) != 1))
        return false;
    if (c && is_constant(c) && c->t.rank <= 2 && ledge_tensor_count(&c->t) == m->n &&
        c->t.dims[c->t.rank - 1] == m->n)
        m->in[IN_BIAS] = c;
    else if (c && c->t.type == LEDGE_FLOAT && ledge__opt_same_shape(c, n->out[0]))
        m->in[IN_R] = c;
    else if (c)
        return false;
    return true;
}

static LedgeNode *cast(LedgeGraph *g, LedgeValue *v, LedgeType to, LedgeNode *before)
{
    LedgeTensor like = v->t;
    like.type = to;
    LedgeNode *n = ledge__opt_onnx(g, "Cast", 13, 1, &like, before);
    if (!n || !ledge__node_set_int(g, n, "to", (int64_t)to))
        return NULL;
    ledge__node_set_input(n, 0, v);
    return n;
}

/* The bias as floats. */
static LedgeValue *float_bias(LedgeGraph *g, const LedgeValue *v, int64_t n)
{
    float *data;
    LedgeValue *out = ledge__opt_floats(g, NULL, 1, &n, &data);
    for (int64_t i = 0; out && i < n; i++)
        data[i] = (float)ledge__value_as_double(v, i);
    return out;
}

static LedgeNode *build(LedgeGraph *g, LedgeNode *n, Match *m)
{
    const LedgeType type = m->in[IN_A]->t.type;
    if (type != LEDGE_FLOAT) {
        LedgeNode *wide = cast(g, m->in[IN_A], LEDGE_FLOAT, n);
        if (!wide)
            return NULL;
        m->in[IN_A] = wide->out[0];
    }
    LedgeTensor like = m->in[IN_A]->t;
    like.dims[like.rank - 1] = m->n;
    LedgeNode *made = ledge__opt_internal(g, "MatMulBlocks", IN_SLOTS, &like, n);
    if (m->in[IN_BIAS])
        m->in[IN_BIAS] = float_bias(g, m->in[IN_BIAS], m->n);
    if (!made || (n->n_in > 5 && ledge__node_in(n, 5) && !m->in[IN_BIAS]) ||
        !ledge__node_set_int(g, made, "K", m->k) || !ledge__node_set_int(g, made, "N", m->n) ||
        !ledge__node_set_int(g, made, "bits", m->bits) ||
        !ledge__node_set_int(g, made, "block_size", m->block) ||
        !ledge__node_set_string(g, made, "form", m->form) ||
        (m->round_a && !ledge__node_set_int(g, made, "round_a", 1)))
        return NULL;
    for (uint32_t i = 0; i < IN_SLOTS; i++)
        ledge__node_set_input(made, i, m->in[i]);
    return type == LEDGE_FLOAT ? made : cast(g, made->out[0], type, n);
}

static bool is_nbits(const LedgeNode *n)
{
    return strcmp(n->domain, "com.microsoft") == 0 && strcmp(n->op_type, "MatMulNBits") == 0;
}

LedgeStatus ledge__opt_blocks(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "MatMulBlocks"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        Match m;
        next = n->next;
        if (n->n_in < 2 || !n->out[0] || !n->in[0].value || n->in[0].value->t.rank < 1 ||
            !is_float(n->in[0].value->t.type))
            continue;
        if (!(is_nbits(n) && match_nbits(n, &m)) &&
            !((ledge__node_is(n, "MatMul") || ledge__node_is(n, "Gemm")) &&
              match_dequantized(g, n, &m)))
            continue;
        LedgeNode *made = build(g, n, &m);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, made, n);
        *changed = true;
    }
    return LEDGE_OK;
}
