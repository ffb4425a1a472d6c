/* What the parts of the quantizer share. */
#ifndef LEDGE_COMPRESS_QUANT_INTERNAL_H
#define LEDGE_COMPRESS_QUANT_INTERNAL_H

#include "compress/quantize/quantize.h"

#define LEDGE_QUANT_FOLD_LIMIT ((size_t)32 << 20)

/* Input slots that hold data to be quantized: 0 … n - 1, or for weighted nodes only 0. */
uint32_t ledge__quant_data_inputs(const LedgeQuantNode *n);
/* The value that is quantized as output i: that of the absorbed activation, if there is one. */
LedgeValue *ledge__quant_output(const LedgeQuantNode *n, uint32_t i);
/* Bounds of a Relu or Clip, infinite where it has none; false for other nodes and for bounds
 * that are no constants. */
bool ledge__quant_bounds(const LedgeNode *n, double *lo, double *hi);
/* Output channels of a WEIGHTED node: as many as its bias has numbers. */
int64_t ledge__quant_outputs(const LedgeQuantNode *n);
/* Whether some subgraph reads `v` by its name. */
bool ledge__quant_captured(const LedgeValue *v);
/* role and why of each node. */
void ledge__quant_classify(const LedgeQuantizer *q, LedgeQuantNode *n);

/* Rewrites nodes whose form changed between the graph's opset and `to`. UNSUPPORTED names the
 * node for which that cannot be done. */
LedgeStatus ledge__quant_raise_opset(LedgeGraph *g, int to, LedgeError *err);
/* Gemm without alpha and beta and with a bias per column; Div by a constant as Mul. */
LedgeStatus ledge__quant_normalize(LedgeGraph *g, LedgeError *err);

/* Means of activations without data: note what BatchNormalization says before the optimiser folds
 * it; after `describe`, carry it on into the tensors' means. */
LedgeStatus ledge__quant_note_norms(LedgeQuantizer *q, LedgeError *err);
LedgeStatus ledge__quant_expect_means(LedgeQuantizer *q, LedgeError *err);

/* Elements of a float constant, which may be misaligned; the caller frees by ledge__free. */
float *ledge__quant_floats(const LedgeAllocator *a, const LedgeValue *v);

/* ---- building ---- */

/* The growing lists of the model being built. */
typedef struct LedgeQuantBuild {
    const LedgeQuantizer *q;
    LedgeArena *arena;
    LedgeError *err;
    OnnxNode *nodes;
    size_t n_nodes;
    OnnxTensor *tensors; /* initializers */
    size_t n_tensors;
    LedgeStr *scale_name, *zero_name; /* per tied tensor, by value id; absent until made */
    LedgeStr *quantized_name;         /* by value id */
    uint32_t *n_readers;              /* DequantizeLinear made so far, by value id */
    LedgeStr *weight_name;            /* per node: what the names of its weights begin with */
    const float **weight_scales;      /* per node */
    bool uses_microsoft;
} LedgeQuantBuild;

#define NO_NAME ((LedgeStr){0}) /* QuantizeLinear and DequantizeLinear are known by their values */

/* A name that no value of the float graph has; absent: no memory, which every use reports. */
LedgeStr ledge__quant_str(LedgeQuantBuild *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A node of the default domain with inputs and one output; NULL: no memory. */
OnnxNode *ledge__quant_add_node(LedgeQuantBuild *b, const char *op_type, LedgeStr name,
                                const LedgeStr *inputs, size_t n_inputs, LedgeStr output);
bool ledge__quant_attr_int(LedgeQuantBuild *b, OnnxNode *n, const char *name, int64_t v);
/* An initializer with room for its elements, to be filled; NULL: no memory. */
void *ledge__quant_add_tensor(LedgeQuantBuild *b, LedgeStr name, LedgeType type, int rank,
                              const int64_t *dims);
/* The float node as the export made it, appended; NULL: no memory. */
OnnxNode *ledge__quant_copy_node(LedgeQuantBuild *b, const OnnxNode *from);
/* int8 weights, scales and zero points as initializers weight_name + "_q", "_scale", "_zero"; shared by nodes of the same weights. in_scale: of the input, where the bias will
 * be int32; else 0. */
LedgeStatus ledge__quant_weights(LedgeQuantBuild *b, uint32_t index, const LedgeQuantLayer *l,
                                 float in_scale);
/* The same and their DequantizeLinear, whose output name is *out. */
LedgeStatus ledge__quant_weight_dq(LedgeQuantBuild *b, uint32_t index, float in_scale,
                                   LedgeStr *out);
/* The layer's bias with what correction adds, one number per output channel, to be freed by
 * ledge__free; *n its length, 0 and NULL: there is none. */
LedgeStatus ledge__quant_bias(const LedgeQuantizer *q, uint32_t index, LedgeError *err,
                              float **out, int64_t *n);
/* The same as an initializer: the name in *out, absent where there is none; the layer's own where
 * nothing is added. */
LedgeStatus ledge__quant_float_bias(LedgeQuantBuild *b, uint32_t index, LedgeStr *out);
LedgeStatus ledge__quant_build_static(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from);
LedgeStatus ledge__quant_build_weights(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from);
LedgeStatus ledge__quant_build_dynamic(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from);
LedgeStatus ledge__quant_build_int4(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from);
/* Before the first node: quantized graph inputs and constants. */
LedgeStatus ledge__quant_build_inputs(LedgeQuantBuild *b);

#endif
