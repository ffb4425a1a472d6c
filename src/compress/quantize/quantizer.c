/* Opening a model for quantization: read, optimise portably, raise the opset, describe. */
#include "compress/quantize/quant_internal.h"

#include <string.h>

#include "engine/optimize/optimize.h"

LedgeQuantNode *ledge__quantizer_node(const LedgeQuantizer *q, const LedgeNode *n)
{
    return n->mark < q->n_nodes && q->nodes[n->mark].node == n ? &q->nodes[n->mark] : NULL;
}

/* ---- what is refused ---- */

static bool is_quantized_op(const LedgeNode *n)
{
    static const char *const ops[] = {"QuantizeLinear",      "DequantizeLinear", "QLinearConv",
                                      "QLinearMatMul",       "ConvInteger",      "MatMulInteger",
                                      "DynamicQuantizeLinear"};
    static const char *const microsoft[] = {"QLinear", "QGemm", "DynamicQuantize", "MatMulNBits",
                                            "MatMulInteger"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (ledge__node_is(n, ops[i]))
            return true;
    for (size_t i = 0; strcmp(n->domain, "com.microsoft") == 0 &&
                       i < sizeof microsoft / sizeof *microsoft;
         i++)
        if (strncmp(n->op_type, microsoft[i], strlen(microsoft[i])) == 0)
            return true;
    return false;
}

static LedgeStatus refuse_quantized(const LedgeGraph *g, LedgeError *err)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        if (is_quantized_op(n))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, n->name,
                               "the model is quantized already (%s); quantize the float model "
                               "that it was made from",
                               n->op_type);
    return LEDGE_OK;
}

static bool names_node(const OnnxGraph *g, const char *word)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (ledge__str_eq(g->nodes[i].name, word) || ledge__str_eq(g->nodes[i].op_type, word))
            return true;
    return false;
}

/* A node that the optimiser took away may be excluded too: nothing is left to exclude then. */
static LedgeStatus check_exclusions(const LedgeQuantizer *q, LedgeError *err)
{
    for (size_t i = 0; i < q->o.n_exclude; i++) {
        const char *word = q->o.exclude[i];
        bool found = names_node(&q->onnx->graph, word);
        for (const LedgeNode *n = q->graph->first; n && !found; n = n->next)
            found = strcmp(n->name, word) == 0 || strcmp(n->op_type, word) == 0;
        if (!found)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, word,
                               "no node and no operator of the model has this name; 'ledge "
                               "inspect --graph' lists them");
    }
    return LEDGE_OK;
}

/* ---- describing ---- */

static bool is_excluded(const LedgeQuantizer *q, const LedgeNode *n)
{
    for (size_t i = 0; i < q->o.n_exclude; i++)
        if (strcmp(n->name, q->o.exclude[i]) == 0 || strcmp(n->op_type, q->o.exclude[i]) == 0)
            return true;
    return false;
}

static LedgeStatus describe_nodes(LedgeQuantizer *q, LedgeError *err)
{
    uint32_t count = 0;
    for (const LedgeNode *n = q->graph->first; n; n = n->next)
        count++;
    LedgeQuantNode *nodes = ledge__arena_alloc(q->arena, (size_t)count + 1, sizeof *nodes);
    if (!nodes)
        return ledge__no_memory(err);
    uint32_t i = 0;
    for (LedgeNode *n = q->graph->first; n; n = n->next, i++) {
        const LedgeQuantNode *old = ledge__quantizer_node(q, n);
        nodes[i].node = n;
        nodes[i].excluded = is_excluded(q, n);
        if (old) {
            nodes[i].keep_float = old->keep_float;
            nodes[i].weight_q = old->weight_q;
            nodes[i].weight_scale = old->weight_scale;
            nodes[i].bias_shift = old->bias_shift;
        }
    }
    /* Only now: the old records are found by the old marks. */
    q->nodes = nodes;
    q->n_nodes = count;
    for (i = 0; i < count; i++) {
        nodes[i].node->mark = i;
        ledge__quant_classify(q, &nodes[i]);
    }
    return LEDGE_OK;
}

static LedgeStatus describe_tensors(LedgeQuantizer *q, LedgeError *err)
{
    const uint32_t count = q->graph->n_values;
    if (count == q->n_tensors)
        return LEDGE_OK;
    LedgeQuantTensor *t = ledge__arena_alloc(q->arena, count, sizeof *t);
    if (!t)
        return ledge__no_memory(err);
    if (q->n_tensors)
        memcpy(t, q->tensors, q->n_tensors * sizeof *t);
    for (uint32_t i = q->n_tensors; i < count; i++) {
        t[i].value = q->graph->values[i];
        t[i].tied = i;
    }
    q->tensors = t;
    q->n_tensors = count;
    return LEDGE_OK;
}

LedgeStatus ledge__quantizer_describe(LedgeQuantizer *q, LedgeError *err)
{
    LEDGE_TRY(describe_nodes(q, err));
    return describe_tensors(q, err);
}

/* ---- opening ---- */

static LedgeStatus needs_something(const LedgeQuantizer *q, LedgeError *err)
{
    bool any = false;
    for (uint32_t i = 0; i < q->n_nodes && !any; i++)
        any = q->nodes[i].role == LEDGE_QUANT_WEIGHTED;
    if (any)
        return LEDGE_OK;
    return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, q->onnx->path,
                       q->o.mode == LEDGE_QUANT_INT4
                           ? "the model has no MatMul or Gemm with constant weights, which 4 bits "
                             "are for; '--mode weights' takes convolutions too"
                           : "the model has no layer with constant weights, so there is nothing to "
                             "quantize");
}

static int needed_opset(const LedgeQuantOptions *o)
{
    if (o->mode == LEDGE_QUANT_INT4)
        return o->plain_onnx ? 21 : 7;
    return o->mode == LEDGE_QUANT_STATIC && o->wide ? 21 : 13;
}

static LedgeStatus prepare_graph(LedgeQuantizer *q, LedgeError *err)
{
    const LedgeOptOptions portable = {.portable = true, .fold_limit = LEDGE_QUANT_FOLD_LIMIT};
    const int opset = needed_opset(&q->o);
    LEDGE_TRY(ledge__graph_build(q->allocator, q->onnx, err, &q->graph));
    LEDGE_TRY(ledge__ops_bind(q->graph, err));
    LEDGE_TRY(refuse_quantized(q->graph, err));
    LEDGE_TRY(ledge__graph_infer(q->graph, LEDGE_QUANT_FOLD_LIMIT, err));
    LEDGE_TRY(ledge__quant_note_norms(q, err));
    LEDGE_TRY(ledge__graph_optimize(q->graph, &portable, err));
    LEDGE_TRY(ledge__quant_raise_opset(q->graph, opset, err));
    LEDGE_TRY(ledge__quant_normalize(q->graph, err));
    LEDGE_TRY(ledge__ops_bind(q->graph, err));
    q->opset = q->graph->opset;
    /* Opset 13 came with IR 7, opset 21 with IR 10; 4-bit types are newer than that. */
    const int64_t ir = q->opset >= 21 ? 10 : q->opset >= 19 ? 9 : q->opset >= 15 ? 8 : 7;
    q->ir_version = q->onnx->ir_version > ir ? q->onnx->ir_version : ir;
    return LEDGE_OK;
}

static LedgeStatus open_all(LedgeQuantizer *q, const char *path, LedgeError *err)
{
    LEDGE_TRY(ledge__onnx_read_file(q->allocator, path, err, &q->onnx));
    LEDGE_TRY(ledge__onnx_check_versions(q->onnx, err));
    LEDGE_TRY(prepare_graph(q, err));
    LEDGE_TRY(check_exclusions(q, err));
    LEDGE_TRY(ledge__quantizer_describe(q, err));
    LEDGE_TRY(needs_something(q, err));
    LEDGE_TRY(ledge__quant_expect_means(q, err));
    return ledge__quantizer_decide(q, err);
}

LedgeStatus ledge__quantizer_open(const char *path, const LedgeQuantOptions *o, LedgeError *err,
                                  LedgeQuantizer **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    LedgeQuantizer *q = ledge__calloc(a, 1, sizeof *q);
    if (!q)
        return ledge__no_memory(err);
    q->o = *o;
    q->allocator = a;
    q->symmetric = o->target != LEDGE_QUANT_CPU;
    q->high = o->wide ? UINT16_MAX : UINT8_MAX;
    q->low = q->symmetric ? -(q->high / 2) - 1 : 0;
    q->high += q->low;
    q->arena = ledge__arena_new(a);
    const LedgeStatus s = q->arena ? open_all(q, path, err) : ledge__no_memory(err);
    if (s) {
        ledge__quantizer_free(q);
        return s;
    }
    *out = q;
    return LEDGE_OK;
}

void ledge__quantizer_free(LedgeQuantizer *q)
{
    if (!q)
        return;
    ledge__quantizer_observe_end(q);
    ledge__graph_free(q->graph);
    ledge__onnx_free(q->onnx);
    ledge__arena_free(q->arena);
    ledge__free(q->allocator, q);
}
