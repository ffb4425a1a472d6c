/* Forms that quantize weights and leave activations float in the graph: int8 weights behind
 * DequantizeLinear, MatMul with dynamically quantized input, MatMul by 4-bit blocks. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

/* A MatMul or Gemm as C = A * B + bias with B [k, n], whatever its attributes. */
typedef struct Product {
    uint32_t index;
    const LedgeNode *node;
    LedgeQuantLayer layer;
    int64_t k, n;
    bool transposed; /* weights lie [n, k] */
    LedgeStr a;      /* name of A */
    LedgeStr out;    /* of the result, bias included */
    LedgeStr bias;   /* absent: none */
} Product;

static LedgeStatus describe(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from, Product *p)
{
    const LedgeQuantNode *q = &b->q->nodes[index];
    const LedgeNode *n = q->node;
    *p = (Product){.index = index, .node = n, .a = from->inputs[0], .out = from->outputs[0]};
    (void)ledge__quantizer_layer(q, &p->layer);
    p->transposed = ledge__node_is(n, "Gemm") && ledge__node_int(n, "transB", 0);
    const LedgeTensor *w = &p->layer.weight->t;
    p->k = w->dims[p->transposed ? 1 : w->rank - 2];
    p->n = w->dims[p->transposed ? 0 : w->rank - 1];
    LEDGE_TRY(ledge__quant_float_bias(b, index, &p->bias));
    if (!ledge__node_is(n, "Gemm") || !ledge__node_int(n, "transA", 0))
        return LEDGE_OK;
    const LedgeStr in[1] = {p->a};
    p->a = ledge__quant_str(b, "%s_transposed", n->name);
    return ledge__quant_add_node(b, "Transpose", ledge__quant_str(b, "%s_Transpose", n->name), in,
                                 1, p->a)
               ? LEDGE_OK
               : ledge__no_memory(b->err);
}

/* Name for the product without the bias. */
static LedgeStr product_name(LedgeQuantBuild *b, const Product *p)
{
    return p->bias.p ? ledge__quant_str(b, "%s_product", p->node->name) : p->out;
}

static LedgeStatus add_bias(LedgeQuantBuild *b, const Product *p, LedgeStr product)
{
    if (!p->bias.p)
        return LEDGE_OK;
    const LedgeStr in[2] = {product, p->bias};
    return ledge__quant_add_node(b, "Add", ledge__quant_str(b, "%s_Add", p->node->name), in, 2,
                                 p->out)
               ? LEDGE_OK
               : ledge__no_memory(b->err);
}

/* ---- int8 weights, float arithmetic ---- */

LedgeStatus ledge__quant_build_weights(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    LedgeStr weight, bias;
    LEDGE_TRY(ledge__quant_weight_dq(b, index, 0, &weight));
    LEDGE_TRY(ledge__quant_float_bias(b, index, &bias));
    LedgeStr *in = ledge__arena_alloc(b->arena, 3, sizeof *in);
    OnnxNode *n = ledge__quant_copy_node(b, from);
    if (!n || !in)
        return ledge__no_memory(b->err);
    in[0] = from->inputs[0];
    in[1] = weight;
    in[2] = bias;
    n->inputs = in;
    n->n_inputs = bias.p ? 3 : 2;
    return LEDGE_OK;
}

/* ---- dynamic ---- */

typedef struct Dynamic {
    LedgeStr quantized, scale, zero;
} Dynamic;

/* DynamicQuantizeLinear of A, one for all that read the same value. */
static LedgeStatus quantize_input(LedgeQuantBuild *b, const Product *p, Dynamic *d)
{
    const LedgeValue *v = p->node->in[0].value;
    const bool own = p->a.p != v->name && strcmp(p->a.p, v->name) != 0;
    const char *name = p->a.p;
    *d = (Dynamic){ledge__quant_str(b, "%s_q", name),
                   ledge__quant_str(b, "%s_q_scale", name),
                   ledge__quant_str(b, "%s_q_zero", name)};
    if (!own && b->quantized_name[v->id].p)
        return LEDGE_OK;
    OnnxNode *n = ledge__quant_add_node(b, "DynamicQuantizeLinear",
                                        ledge__quant_str(b, "%s_DynamicQuantizeLinear", name),
                                        &p->a, 1, d->quantized);
    LedgeStr *outputs = ledge__arena_alloc(b->arena, 3, sizeof *outputs);
    if (!n || !outputs)
        return ledge__no_memory(b->err);
    outputs[0] = d->quantized;
    outputs[1] = d->scale;
    outputs[2] = d->zero;
    n->outputs = outputs;
    n->n_outputs = 3;
    if (!own)
        b->quantized_name[v->id] = d->quantized;
    return LEDGE_OK;
}

/* int8 weights as [k, n] (a stack stays as it lies). */
static LedgeStatus integer_weights(LedgeQuantBuild *b, const Product *p, Dynamic *d)
{
    const LedgeQuantNode *q = &b->q->nodes[p->index];
    const LedgeQuantLayer *l = &p->layer;
    const char *name = l->weight->name;
    const int rank = l->channels > 1 ? 1 : 0;
    int64_t dims[LEDGE_MAX_RANK];
    memcpy(dims, l->weight->t.dims, sizeof dims);
    if (p->transposed) {
        dims[0] = p->k;
        dims[1] = p->n;
    }
    *d = (Dynamic){ledge__quant_str(b, "%s_%u_q", name, p->index),
                   ledge__quant_str(b, "%s_%u_scale", name, p->index),
                   ledge__quant_str(b, "%s_%u_zero", name, p->index)};
    int8_t *data =
        ledge__quant_add_tensor(b, d->quantized, LEDGE_INT8, l->weight->t.rank, dims);
    float *scales = ledge__quant_add_tensor(b, d->scale, LEDGE_FLOAT, rank, &l->channels);
    int8_t *zeros = ledge__quant_add_tensor(b, d->zero, LEDGE_INT8, rank, &l->channels);
    int8_t *rounded = ledge__alloc(b->q->allocator, (size_t)l->count, 1);
    if (!data || !scales || !zeros || !rounded) {
        ledge__free(b->q->allocator, rounded);
        return ledge__no_memory(b->err);
    }
    if (q->weight_scale)
        memcpy(scales, q->weight_scale, (size_t)l->channels * sizeof *scales);
    else
        ledge__quantizer_weight_scales(b->q, l, scales);
    if (q->weight_q)
        memcpy(rounded, q->weight_q, (size_t)l->count);
    else
        ledge__quantizer_round(l, scales, rounded);
    if (!p->transposed)
        memcpy(data, rounded, (size_t)l->count);
    for (int64_t i = 0; p->transposed && i < l->count; i++)
        data[i % p->k * p->n + i / p->k] = rounded[i];
    ledge__free(b->q->allocator, rounded);
    return LEDGE_OK;
}

/* MatMulInteger, Cast, and the product of both scales: the form that runtimes know to fuse. */
static LedgeStatus integer_product(LedgeQuantBuild *b, const Product *p, const Dynamic *x,
                                   const Dynamic *w)
{
    const char *name = p->node->name;
    const LedgeStr sum = ledge__quant_str(b, "%s_int32", name);
    const LedgeStr cast = ledge__quant_str(b, "%s_cast", name);
    const LedgeStr scales = ledge__quant_str(b, "%s_scales", name);
    const LedgeStr product = product_name(b, p);
    const LedgeStr in[4] = {x->quantized, w->quantized, x->zero, w->zero};
    if (!ledge__quant_add_node(b, "MatMulInteger", ledge__quant_str(b, "%s_MatMulInteger", name),
                               in, 4, sum))
        return ledge__no_memory(b->err);
    OnnxNode *n = ledge__quant_add_node(b, "Cast", ledge__quant_str(b, "%s_Cast", name), &sum, 1,
                                        cast);
    if (!n || !ledge__quant_attr_int(b, n, "to", LEDGE_FLOAT) ||
        !ledge__quant_add_node(b, "Mul", ledge__quant_str(b, "%s_scales_Mul", name),
                               (LedgeStr[]){x->scale, w->scale}, 2, scales) ||
        !ledge__quant_add_node(b, "Mul", ledge__quant_str(b, "%s_Mul", name),
                               (LedgeStr[]){cast, scales}, 2, product))
        return ledge__no_memory(b->err);
    return add_bias(b, p, product);
}

LedgeStatus ledge__quant_build_dynamic(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    const LedgeNode *node = b->q->nodes[index].node;
    Product p;
    Dynamic x, w;
    /* A convolution with one scale for its whole input loses accuracy: its weights alone. */
    if (!ledge__node_is(node, "MatMul") && !ledge__node_is(node, "Gemm"))
        return ledge__quant_build_weights(b, index, from);
    LEDGE_TRY(describe(b, index, from, &p));
    LEDGE_TRY(quantize_input(b, &p, &x));
    LEDGE_TRY(integer_weights(b, &p, &w));
    return integer_product(b, &p, &x, &w);
}

/* ---- 4 bits ---- */

enum { MAX_BLOCK = 256, LEVELS4 = 15, SHRINKS4 = 16 };

typedef struct Block {
    float scale;
    int zero; /* 0 … 15 */
} Block;

static int round4(float x, Block s)
{
    const float v = nearbyintf(x / s.scale) + (float)s.zero;
    return v < 0 ? 0 : v > LEVELS4 ? LEVELS4 : (int)v;
}

/* The range of the block, perhaps shrunk, whose rounding has the least squared error. */
static Block fit_block(const float *x, int n)
{
    float lo = 0, hi = 0;
    Block best = {1, 8};
    double least = INFINITY;
    for (int i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    for (int k = 0; k < SHRINKS4; k++) {
        const float part = 1 - 0.4f * (float)k / SHRINKS4;
        Block s = {(hi - lo) * part / LEVELS4, 0};
        double error = 0;
        if (!(s.scale > 0x1p-100f))
            return (Block){hi > lo ? 0x1p-100f : 1, 8};
        const float zero = nearbyintf(-lo * part / s.scale);
        s.zero = zero < 0 ? 0 : zero > LEVELS4 ? LEVELS4 : (int)zero;
        for (int i = 0; i < n; i++) {
            const double d = (double)(x[i] - (float)(round4(x[i], s) - s.zero) * s.scale);
            error += d * d;
        }
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

static void put4(uint8_t *to, int64_t i, int v)
{
    to[i / 2] |= (uint8_t)(v << (i & 1) * 4);
}

/* Where weights, scales and zero points go in one of the two forms. */
typedef struct Packed {
    bool rows; /* MatMulNBits: [n, blocks, block]; else [k, n] */
    uint8_t *data, *zeros;
    float *scales;
    int64_t blocks;
} Packed;

static void pack(const Product *p, const float *w, int block, Packed *to)
{
    float x[MAX_BLOCK];
    /* Zero points of MatMulNBits begin a new byte for every column. */
    const int64_t zero_row = to->rows ? (to->blocks + 1) / 2 * 2 : to->blocks;
    for (int64_t n = 0; n < p->n; n++)
        for (int64_t g = 0; g < to->blocks; g++) {
            const int64_t from = g * block, left = p->k - from;
            const int count = left < block ? (int)left : block;
            for (int i = 0; i < count; i++)
                x[i] = w[p->transposed ? n * p->k + from + i : (from + i) * p->n + n];
            const Block s = fit_block(x, count);
            to->scales[to->rows ? n * to->blocks + g : g * p->n + n] = s.scale;
            put4(to->zeros, to->rows ? n * zero_row + g : g * p->n + n, s.zero);
            for (int i = 0; i < (to->rows ? block : count); i++)
                put4(to->data, to->rows ? (n * to->blocks + g) * block + i : (from + i) * p->n + n,
                     i < count ? round4(x[i], s) : s.zero);
        }
}

static LedgeStatus pack_layer(LedgeQuantBuild *b, const Product *p, Packed *to)
{
    float *w = ledge__quant_floats(b->q->allocator, p->layer.weight);
    if (!w || !to->data || !to->zeros || !to->scales) {
        ledge__free(b->q->allocator, w);
        return ledge__no_memory(b->err);
    }
    pack(p, w, b->q->o.block, to);
    ledge__free(b->q->allocator, w);
    return LEDGE_OK;
}

static LedgeStatus add_nbits(LedgeQuantBuild *b, const Product *p)
{
    const char *name = p->layer.weight->name;
    const int block = b->q->o.block;
    const LedgeStr in[4] = {p->a, ledge__quant_str(b, "%s_%u_Q4", name, p->index),
                            ledge__quant_str(b, "%s_%u_scales", name, p->index),
                            ledge__quant_str(b, "%s_%u_zeros", name, p->index)};
    Packed to = {.rows = true, .blocks = (p->k + block - 1) / block};
    const int64_t zero_bytes = p->n * ((to.blocks + 1) / 2), n_scales = p->n * to.blocks;
    to.data = ledge__quant_add_tensor(b, in[1], LEDGE_UINT8, 3,
                                      (int64_t[]){p->n, to.blocks, block / 2});
    to.scales = ledge__quant_add_tensor(b, in[2], LEDGE_FLOAT, 1, &n_scales);
    to.zeros = ledge__quant_add_tensor(b, in[3], LEDGE_UINT8, 1, &zero_bytes);
    LEDGE_TRY(pack_layer(b, p, &to));
    const LedgeStr product = product_name(b, p);
    OnnxNode *n = ledge__quant_add_node(b, "MatMulNBits",
                                        ledge__quant_str(b, "%s_Q4", p->node->name), in, 4,
                                        product);
    if (!n || !ledge__quant_attr_int(b, n, "K", p->k) || !ledge__quant_attr_int(b, n, "N", p->n) ||
        !ledge__quant_attr_int(b, n, "bits", 4) ||
        !ledge__quant_attr_int(b, n, "block_size", block))
        return ledge__no_memory(b->err);
    n->domain = (LedgeStr){"com.microsoft", 13};
    b->uses_microsoft = true;
    return add_bias(b, p, product);
}

static LedgeStatus add_blocked(LedgeQuantBuild *b, const Product *p)
{
    const char *name = p->layer.weight->name;
    const int block = b->q->o.block;
    const LedgeStr in[3] = {ledge__quant_str(b, "%s_%u_Q4", name, p->index),
                            ledge__quant_str(b, "%s_%u_scales", name, p->index),
                            ledge__quant_str(b, "%s_%u_zeros", name, p->index)};
    const LedgeStr weight = ledge__quant_str(b, "%s_%u_dq", name, p->index);
    Packed to = {.blocks = (p->k + block - 1) / block};
    const int64_t dims[2] = {p->k, p->n}, scale_dims[2] = {to.blocks, p->n};
    to.data = ledge__quant_add_tensor(b, in[0], LEDGE_UINT4, 2, dims);
    to.scales = ledge__quant_add_tensor(b, in[1], LEDGE_FLOAT, 2, scale_dims);
    to.zeros = ledge__quant_add_tensor(b, in[2], LEDGE_UINT4, 2, scale_dims);
    LEDGE_TRY(pack_layer(b, p, &to));
    OnnxNode *n = ledge__quant_add_node(
        b, "DequantizeLinear", NO_NAME, in, 3, weight);
    if (!n || !ledge__quant_attr_int(b, n, "axis", 0) ||
        !ledge__quant_attr_int(b, n, "block_size", block))
        return ledge__no_memory(b->err);
    const LedgeStr product = product_name(b, p), ab[2] = {p->a, weight};
    if (!ledge__quant_add_node(b, "MatMul", ledge__quant_str(b, "%s_Q4", p->node->name), ab, 2,
                               product))
        return ledge__no_memory(b->err);
    return add_bias(b, p, product);
}

LedgeStatus ledge__quant_build_int4(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    Product p;
    LEDGE_TRY(describe(b, index, from, &p));
    return b->q->o.plain_onnx ? add_blocked(b, &p) : add_nbits(b, &p);
}
