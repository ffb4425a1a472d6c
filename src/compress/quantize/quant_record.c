/* The record of how a model was quantized, as JSON for its metadata and for reports. */
#include "compress/quantize/quant_record.h"

#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {"static", "dynamic", "weights", "int4"};
static const char *const targets[] = {"cpu", "tensorrt", "npu"};

const char *ledge__quant_mode_name(LedgeQuantMode mode)
{
    return modes[mode];
}

const char *ledge__quant_target_name(LedgeQuantTarget target)
{
    return targets[target];
}

static json_t *text(const char *s)
{
    json_t *v = json_string(s);
    return v ? v : json_string("?"); /* not UTF-8 */
}

static bool works_on_floats(const LedgeNode *n)
{
    const LedgeValue *out = ledge__node_out(n, 0);
    return out && out->t.type == LEDGE_FLOAT;
}

/* Modes for weights leave all else in float by what they are. */
static bool is_of_interest(const LedgeQuantizer *q, const LedgeNode *n)
{
    if (q->o.mode == LEDGE_QUANT_STATIC)
        return works_on_floats(n);
    return ledge__node_is(n, "Conv") || ledge__node_is(n, "ConvTranspose") ||
           ledge__node_is(n, "Gemm") || ledge__node_is(n, "MatMul");
}

json_t *ledge__quant_float_nodes_json(const LedgeQuantizer *q)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        const LedgeQuantNode *n = &q->nodes[i];
        if (n->integer || !is_of_interest(q, n->node))
            continue;
        json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "node", text(n->node->name),
                                              "op", text(n->node->op_type), "why",
                                              n->why ? n->why : "it has no integer form"));
    }
    return list;
}

static json_t *ranges_json(const LedgeQuantizer *q)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        const LedgeQuantTensor *t = &q->tensors[i];
        if (!t->quantized || ledge__value_is_constant(t->value))
            continue;
        json_object_set_new(o, t->value->name,
                            json_pack("[f, f]", (double)t->lo, (double)t->hi));
    }
    return o;
}

uint32_t ledge__quant_count(const LedgeQuantizer *q, LedgeQuantRole role, bool integer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->n_nodes; i++)
        count += q->nodes[i].role == role && q->nodes[i].integer == integer;
    return count;
}

json_t *ledge__quant_record_json(const LedgeQuantizer *q)
{
    json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:I}", "format", 1, "mode",
                          ledge__quant_mode_name(q->o.mode), "tool_version", ledge_version(),
                          "weights", q->o.weights_mse ? "mse" : "minmax", "samples",
                          (json_int_t)q->samples);
    if (q->o.mode == LEDGE_QUANT_STATIC) {
        json_object_set_new(o, "calibrator", text(ledge__calibrator_name(q->o.calibrator)));
        if (q->o.calibrator == LEDGE_CALIBRATE_PERCENTILE)
            json_object_set_new(o, "percentile", json_real(q->o.percentile));
        json_object_set_new(o, "target", text(ledge__quant_target_name(q->o.target)));
        json_object_set_new(o, "activations", json_integer(q->o.wide ? 16 : 8));
        json_object_set_new(o, "ranges", ranges_json(q));
    }
    if (q->o.mode == LEDGE_QUANT_INT4)
        json_object_set_new(o, "block", json_integer(q->o.block));
    json_object_set_new(
        o, "layers_integer",
        json_integer((json_int_t)ledge__quant_count(q, LEDGE_QUANT_WEIGHTED, true)));
    json_object_set_new(
        o, "layers_float",
        json_integer((json_int_t)ledge__quant_count(q, LEDGE_QUANT_WEIGHTED, false)));
    return o;
}

LedgeStatus ledge__quant_record(LedgeQuantizer *q, LedgeError *err)
{
    json_t *o = ledge__quant_record_json(q);
    char *json = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(7));
    json_decref(o);
    if (!json)
        return ledge__no_memory(err);
    const LedgeStatus s = ledge__onnx_set_metadata(q->onnx, LEDGE_QUANT_RECORD_KEY, json, err);
    free(json);
    return s;
}
