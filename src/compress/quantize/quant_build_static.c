/* QDQ form: each integer node reads DequantizeLinear of its own and is followed by
 * QuantizeLinear; a runtime takes the three for one integer operator.
 *
 * A float node that reads what integers made gets a DequantizeLinear too; one that reads what was
 * float already goes on reading that. A value that must keep its name (graph outputs, what bodies
 * read) is dequantized under it. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

static const LedgeQuantTensor *tensor_of(const LedgeQuantBuild *b, const LedgeValue *v)
{
    return &b->q->tensors[v->id];
}

static LedgeType type_of(const LedgeQuantBuild *b)
{
    if (b->q->o.wide)
        return b->q->symmetric ? LEDGE_INT16 : LEDGE_UINT16;
    return b->q->symmetric ? LEDGE_INT8 : LEDGE_UINT8;
}

/* Element i of such a tensor. */
static void put(const LedgeQuantBuild *b, void *data, int64_t i, int32_t v)
{
    if (b->q->o.wide)
        ((uint16_t *)data)[i] = (uint16_t)v;
    else
        ((uint8_t *)data)[i] = (uint8_t)v;
}

static int32_t quantize(const LedgeQuantBuild *b, const LedgeQuantTensor *t, double x)
{
    const double v = nearbyint(x / (double)t->scale) + t->zero;
    return v < b->q->low ? b->q->low : v > b->q->high ? b->q->high : (int32_t)v;
}

/* Scale and zero point as initializers, one pair for all tied tensors. */
static LedgeStatus parameters(LedgeQuantBuild *b, const LedgeQuantTensor *t, LedgeStr *scale,
                              LedgeStr *zero)
{
    const uint32_t root = t->tied;
    if (!b->scale_name[root].p) {
        const char *name = b->q->tensors[root].value->name;
        const LedgeStr s = ledge__quant_str(b, "%s_s", name);
        const LedgeStr z = ledge__quant_str(b, "%s_z", name);
        float *scale_data = ledge__quant_add_tensor(b, s, LEDGE_FLOAT, 0, NULL);
        void *zero_data = ledge__quant_add_tensor(b, z, type_of(b), 0, NULL);
        if (!scale_data || !zero_data)
            return ledge__no_memory(b->err);
        *scale_data = t->scale;
        put(b, zero_data, 0, t->zero);
        b->scale_name[root] = s;
        b->zero_name[root] = z;
    }
    *scale = b->scale_name[root];
    *zero = b->zero_name[root];
    return LEDGE_OK;
}

/* QuantizeLinear of `raw`, which is value `v` by whatever name. */
static LedgeStatus add_quantize(LedgeQuantBuild *b, const LedgeValue *v, LedgeStr raw)
{
    LedgeStr in[3] = {raw};
    LEDGE_TRY(parameters(b, tensor_of(b, v), &in[1], &in[2]));
    b->quantized_name[v->id] = ledge__quant_str(b, "%s_q", v->name);
    return ledge__quant_add_node(b, "QuantizeLinear", NO_NAME, in, 3, b->quantized_name[v->id])
               ? LEDGE_OK
               : ledge__no_memory(b->err);
}

static LedgeStatus dequantize_as(LedgeQuantBuild *b, const LedgeValue *v, LedgeStr out)
{
    LedgeStr in[3] = {b->quantized_name[v->id]};
    LEDGE_TRY(parameters(b, tensor_of(b, v), &in[1], &in[2]));
    return ledge__quant_add_node(b, "DequantizeLinear", NO_NAME, in, 3, out)
               ? LEDGE_OK
               : ledge__no_memory(b->err);
}

/* A DequantizeLinear for one more reader. */
static LedgeStatus add_dequantize(LedgeQuantBuild *b, const LedgeValue *v, LedgeStr *out)
{
    const uint32_t reader = ++b->n_readers[v->id];
    *out = ledge__quant_str(b, "%s_dq%u", v->name, reader);
    return dequantize_as(b, v, *out);
}

/* ---- inputs and constants ---- */

static LedgeStatus add_constant(LedgeQuantBuild *b, const LedgeValue *v)
{
    const LedgeStr name = ledge__quant_str(b, "%s_q", v->name);
    const int64_t n = ledge_tensor_count(&v->t);
    void *data = ledge__quant_add_tensor(b, name, type_of(b), v->t.rank, v->t.dims);
    if (!data)
        return ledge__no_memory(b->err);
    for (int64_t i = 0; i < n; i++)
        put(b, data, i, quantize(b, tensor_of(b, v), ledge__value_as_double(v, i)));
    b->quantized_name[v->id] = name;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_build_inputs(LedgeQuantBuild *b)
{
    for (uint32_t i = 0; i < b->q->n_tensors; i++) {
        const LedgeQuantTensor *t = &b->q->tensors[i];
        if (!t->quantized)
            continue;
        if (ledge__value_is_constant(t->value))
            LEDGE_TRY(add_constant(b, t->value));
        else if (t->value->is_input)
            LEDGE_TRY(
                add_quantize(b, t->value, (LedgeStr){t->value->name, strlen(t->value->name)}));
    }
    return LEDGE_OK;
}

/* ---- outputs ---- */

static bool keeps_name(const LedgeValue *v)
{
    return v->n_outputs > 0 || ledge__quant_captured(v);
}

/* The name under which an integer node makes `v` before it is quantized. */
static LedgeStr raw_name(LedgeQuantBuild *b, const LedgeValue *v)
{
    return keeps_name(v) ? ledge__quant_str(b, "%s_float", v->name)
                         : (LedgeStr){v->name, strlen(v->name)};
}

static LedgeStatus finish_output(LedgeQuantBuild *b, const LedgeValue *v, LedgeStr raw)
{
    LEDGE_TRY(add_quantize(b, v, raw));
    return keeps_name(v) ? dequantize_as(b, v, (LedgeStr){v->name, strlen(v->name)}) : LEDGE_OK;
}

/* Whether clamping to the integers does what the activation would: its bounds become the ends. */
static bool is_redundant(const LedgeQuantBuild *b, const LedgeNode *activation)
{
    const LedgeQuantTensor *t = tensor_of(b, activation->out[0]);
    double lo, hi;
    if (!ledge__quant_bounds(activation, &lo, &hi))
        return false;
    return (isinf(lo) || quantize(b, t, lo) == b->q->low) &&
           (isinf(hi) || quantize(b, t, hi) == b->q->high);
}

/* Made by integers: only they are there to read. */
static bool is_integer_made(const LedgeQuantBuild *b, const LedgeValue *v)
{
    const LedgeQuantNode *p = v->producer ? ledge__quantizer_node(b->q, v->producer) : NULL;
    return tensor_of(b, v)->quantized && p && p->integer;
}

/* ---- nodes ---- */

static LedgeStatus read_by_float(LedgeQuantBuild *b, const LedgeNode *n, OnnxNode *to)
{
    for (uint32_t i = 0; i < n->n_explicit; i++) {
        const LedgeValue *v = n->in[i].value;
        if (v && is_integer_made(b, v))
            LEDGE_TRY(add_dequantize(b, v, &to->inputs[i]));
    }
    return LEDGE_OK;
}

static OnnxNode *copy_detached(LedgeQuantBuild *b, const OnnxNode *from, OnnxNode *to)
{
    *to = *from;
    /* Room for a bias where there was none. */
    to->inputs = ledge__arena_alloc(b->arena, from->n_inputs + 2, sizeof *to->inputs);
    to->outputs = ledge__arena_alloc(b->arena, from->n_outputs + 1, sizeof *to->outputs);
    if (!to->inputs || !to->outputs)
        return NULL;
    memcpy(to->inputs, from->inputs, from->n_inputs * sizeof *to->inputs);
    memcpy(to->outputs, from->outputs, from->n_outputs * sizeof *to->outputs);
    return to;
}

static LedgeStatus build_float(LedgeQuantBuild *b, const LedgeNode *n, const OnnxNode *from)
{
    OnnxNode node;
    if (!copy_detached(b, from, &node))
        return ledge__no_memory(b->err);
    LEDGE_TRY(read_by_float(b, n, &node));
    if (!ledge__quant_copy_node(b, &node))
        return ledge__no_memory(b->err);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && tensor_of(b, n->out[i])->quantized)
            LEDGE_TRY(add_quantize(b, n->out[i], from->outputs[i]));
    return LEDGE_OK;
}

static LedgeStatus fill_bias(LedgeQuantBuild *b, const float *bias, const float *scales,
                             int64_t count, LedgeStr name)
{
    int32_t *data = ledge__quant_add_tensor(b, name, LEDGE_INT32, 1, &count);
    if (!data)
        return ledge__no_memory(b->err);
    for (int64_t i = 0; i < count; i++) {
        const double v = nearbyint((double)bias[i] / (double)scales[i]);
        data[i] = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
    }
    return LEDGE_OK;
}

/* The scales of a bias as a list, which takes as many bytes as the bias itself, or as the product
 * of what they are made of: runtimes on CPUs fold a Mul of constants when they load the model.
 * Compilers for other targets get the list. */
static LedgeStatus add_bias_scales(LedgeQuantBuild *b, uint32_t index, const LedgeQuantTensor *in,
                                   const float *scales, int64_t count, LedgeStr name)
{
    enum { FEW = 16 }; /* take less than the node */
    LedgeQuantLayer l;
    if (b->q->o.target != LEDGE_QUANT_CPU || count < FEW ||
        !ledge__quantizer_layer(&b->q->nodes[index], &l) || l.channels != count) {
        float *list = ledge__quant_add_tensor(b, name, LEDGE_FLOAT, 1, &count);
        if (!list)
            return ledge__no_memory(b->err);
        memcpy(list, scales, (size_t)count * sizeof *list);
        return LEDGE_OK;
    }
    LedgeStr factors[2], zero;
    LEDGE_TRY(parameters(b, in, &factors[0], &zero));
    factors[1] = ledge__quant_str(b, "%s_s", b->weight_name[index].p);
    return ledge__quant_add_node(b, "Mul", NO_NAME, factors, 2, name) ? LEDGE_OK
                                                                      : ledge__no_memory(b->err);
}

static float *bias_scales(LedgeQuantBuild *b, uint32_t index, float in_scale, int64_t count)
{
    LedgeQuantLayer l;
    float *scales = ledge__quantizer_layer(&b->q->nodes[index], &l)
                        ? ledge__arena_alloc(b->arena, (size_t)count, sizeof *scales)
                        : NULL;
    for (int64_t i = 0; scales && i < count; i++)
        scales[i] = in_scale * b->weight_scales[index][i % l.channels];
    return scales;
}

/* int32 bias in steps of (input scale * weight scale). */
static LedgeStatus add_bias(LedgeQuantBuild *b, uint32_t index, const LedgeQuantTensor *input,
                            LedgeStr *out)
{
    const LedgeStr in[2] = {ledge__quant_str(b, "b%u_q", index),
                            ledge__quant_str(b, "b%u_s", index)};
    int64_t count;
    float *bias;
    LEDGE_TRY(ledge__quant_bias(b->q, index, b->err, &bias, &count));
    if (!bias)
        return LEDGE_OK;
    const float *scales = bias_scales(b, index, input->scale, count);
    const LedgeStatus s =
        scales ? fill_bias(b, bias, scales, count, in[0]) : ledge__no_memory(b->err);
    ledge__free(b->q->allocator, bias);
    LEDGE_TRY(s);
    LEDGE_TRY(add_bias_scales(b, index, input, scales, count, in[1]));
    *out = ledge__quant_str(b, "b%u_dq", index);
    OnnxNode *dq = ledge__quant_add_node(b, "DequantizeLinear", NO_NAME, in, 2, *out);
    return dq && ledge__quant_attr_int(b, dq, "axis", 0) ? LEDGE_OK : ledge__no_memory(b->err);
}

static LedgeStatus read_integers(LedgeQuantBuild *b, uint32_t index, OnnxNode *to)
{
    const LedgeQuantNode *n = &b->q->nodes[index];
    for (uint32_t i = 0; i < ledge__quant_data_inputs(n); i++)
        if (ledge__node_in(n->node, i))
            LEDGE_TRY(add_dequantize(b, n->node->in[i].value, &to->inputs[i]));
    if (n->role != LEDGE_QUANT_WEIGHTED)
        return LEDGE_OK;
    const LedgeQuantTensor *input = tensor_of(b, n->node->in[0].value);
    LEDGE_TRY(ledge__quant_weight_dq(b, index, input->scale, &to->inputs[1]));
    if (ledge__node_is(n->node, "MatMul"))
        return LEDGE_OK;
    /* TensorRT takes no integers but of 8 bits and fewer: its biases stay float. */
    LEDGE_TRY(b->q->o.target == LEDGE_QUANT_TENSORRT
                  ? ledge__quant_float_bias(b, index, &to->inputs[2])
                  : add_bias(b, index, input, &to->inputs[2]));
    to->n_inputs = to->inputs[2].p ? 3 : 2;
    return LEDGE_OK;
}

/* The Relu or Clip of an integer node, where clamping does not stand in for it: float, then
 * quantized. */
static LedgeStatus build_activation(LedgeQuantBuild *b, const LedgeNode *n, const OnnxNode *from)
{
    OnnxNode *made = ledge__quant_copy_node(b, from);
    if (!made)
        return ledge__no_memory(b->err);
    const LedgeStr raw = made->outputs[0] = raw_name(b, n->out[0]);
    return finish_output(b, n->out[0], raw);
}

static LedgeStatus build_integer(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    const LedgeQuantNode *n = &b->q->nodes[index];
    OnnxNode node;
    if (!copy_detached(b, from, &node))
        return ledge__no_memory(b->err);
    LEDGE_TRY(read_integers(b, index, &node));
    const bool separate = n->absorbs && !is_redundant(b, n->absorbs);
    for (uint32_t i = 0; n->output_integer && !separate && i < n->node->n_out; i++)
        if (n->node->out[i])
            node.outputs[i] = raw_name(b, ledge__quant_output(n, i));
    if (!ledge__quant_copy_node(b, &node))
        return ledge__no_memory(b->err);
    for (uint32_t i = 0; n->output_integer && !separate && i < n->node->n_out; i++)
        if (n->node->out[i])
            LEDGE_TRY(finish_output(b, ledge__quant_output(n, i), node.outputs[i]));
    return LEDGE_OK;
}

LedgeStatus ledge__quant_build_static(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    const LedgeQuantNode *n = &b->q->nodes[index];
    if (n->absorbed)
        return is_redundant(b, n->node) ? LEDGE_OK : build_activation(b, n->node, from);
    return n->integer ? build_integer(b, index, from) : build_float(b, n->node, from);
}
