/* Quantization of ONNX models: what `ledge quantize` and everything built on it calls.
 *
 *   open      reads the model, applies the optimiser's portable passes, describes every node
 *   decide    which nodes run on integers, which tensors that makes 8 bits, whose ranges are one
 *   observe   runs the float model on one sample after the other, into streaming histograms
 *   ranges    picks each tensor's range, scale and zero point
 *   build     the quantized model: standard ONNX, as often as wanted, the quantizer unchanged
 *
 * The float graph may be changed between open and observe (equalization), constants of biases and
 * weights until build (bias correction, rounding); `keep_float` at any time, before `decide`.
 * The tensors that fewer integer nodes need are always among those already observed. */
#ifndef LEDGE_COMPRESS_QUANTIZE_H
#define LEDGE_COMPRESS_QUANTIZE_H

#include "compress/quantize/observer.h"
#include "engine/graph/op.h"
#include "ledge/ledge.h"

typedef enum LedgeQuantMode {
    LEDGE_QUANT_STATIC,  /* weights and activations, ranges by calibration */
    LEDGE_QUANT_DYNAMIC, /* MatMul and Gemm find activations' ranges as they run; Conv: weights */
    LEDGE_QUANT_WEIGHTS, /* weights alone, computed in float */
    LEDGE_QUANT_INT4     /* weights of MatMul and Gemm in blocks of 4 bits */
} LedgeQuantMode;

typedef enum LedgeQuantTarget {
    LEDGE_QUANT_CPU,      /* unsigned activations with a zero point */
    LEDGE_QUANT_TENSORRT, /* signed symmetric ones */
    LEDGE_QUANT_NPU       /* the same */
} LedgeQuantTarget;

typedef struct LedgeQuantOptions {
    LedgeQuantMode mode;
    LedgeQuantTarget target;
    bool wide; /* STATIC: activations of 16 bits, which asks for opset 21 */
    LedgeCalibrator calibrator; /* `wide`: MINMAX or PERCENTILE, the others weigh 8 bits */
    double percentile;  /* of PERCENTILE, 50 < p <= 100 */
    bool weights_mse;   /* weight ranges by least squared error instead of the largest value */
    int block;          /* INT4: 16, 32, 64, 128 or 256 values share a scale */
    bool plain_onnx;    /* INT4: opset 21's DequantizeLinear instead of com.microsoft.MatMulNBits */
    const char *const *exclude; /* names of nodes or operators that stay in float */
    size_t n_exclude;
    int threads;        /* 0: every fast core */
    const LedgeAllocator *allocator;
} LedgeQuantOptions;

/* What a node could be on integers, whatever was decided. */
typedef enum LedgeQuantRole {
    LEDGE_QUANT_FLOAT,    /* nothing; `why` says why */
    LEDGE_QUANT_WEIGHTED, /* Conv, ConvTranspose, Gemm, MatMul by constant weights */
    LEDGE_QUANT_PRODUCT,  /* MatMul of two activations */
    LEDGE_QUANT_OWN,      /* its output has a range of its own: Add, Mul, pools, activations */
    LEDGE_QUANT_MOVE      /* moves values: one range on both sides */
} LedgeQuantRole;

typedef struct LedgeQuantNode {
    LedgeNode *node;
    LedgeQuantRole role;
    bool keep_float;     /* the caller's to set; then decide again */
    bool excluded;       /* by options.exclude */
    bool integer;        /* decided */
    bool output_integer; /* decided: its output is quantized right behind it */
    const char *why;     /* integer false: the reason, a clause; else NULL */
    LedgeNode *absorbs;  /* Relu or Clip whose bounds the output's range takes over, or NULL */
    LedgeNode *absorbed; /* this is one: who absorbs it, or NULL */
    /* WEIGHTED: rounded weights and their scales (`channels` of them) made elsewhere, as the
     * weights lie; NULL: nearest to the float ones when building. */
    const int8_t *weight_q;
    const float *weight_scale;
    /* WEIGHTED: added to the bias (made where there is none) when building, one number per output
     * channel; NULL: nothing. correct_bias sets it, others may. */
    const float *bias_shift;
} LedgeQuantNode;

/* Weights of a WEIGHTED node. */
typedef struct LedgeQuantLayer {
    LedgeValue *weight;  /* a float constant */
    LedgeValue *bias;    /* NULL: none; else [channels] */
    int32_t axis;        /* of output channels in the weights */
    int64_t channels;    /* 1 with one scale for all */
    int64_t inner;       /* values behind the axis: element e has channel e / inner % channels */
    int64_t count;       /* of all elements */
} LedgeQuantLayer;

typedef struct LedgeQuantTensor {
    LedgeValue *value;
    bool quantized;          /* decided: exists as integers */
    uint32_t tied;           /* decided: id of the tensor whose range it shares, or its own */
    LedgeObserver *observer; /* NULL: never observed */
    /* Mean of each channel (axis 1) over all samples, of what a Conv or Gemm reads: sums of
     * `mean_count` values each, or what BatchNormalization lets expect. NULL: not known. */
    double *mean_sum;
    uint64_t mean_count;
    int64_t n_means;
    int64_t dims[LEDGE_MAX_RANK]; /* in the last sample */
    float seen_lo, seen_hi;  /* what the calibrator chose for it alone */
    float lo, hi;            /* range, ties taken in; lo <= 0 <= hi */
    float scale;
    int32_t zero;            /* zero point */
} LedgeQuantTensor;

typedef struct LedgeQuantizer {
    LedgeQuantOptions o;
    const LedgeAllocator *allocator;
    LedgeArena *arena;      /* of what lives as long as the quantizer */
    OnnxModel *onnx;        /* as read; its metadata goes into what is built */
    LedgeGraph *graph;      /* float, optimised, of opset `opset` */
    int64_t opset, ir_version; /* of what will be written */
    LedgeQuantNode *nodes;  /* in the graph's order */
    uint32_t n_nodes;
    LedgeQuantTensor *tensors; /* by LedgeValue.id */
    uint32_t n_tensors;
    bool symmetric;         /* activations signed, without zero point */
    int32_t low, high;      /* their integers: of 8 bits, or 16 where options say `wide` */
    bool has_ranges;
    bool finetuned;         /* trained with rounding: biases stay as they are */
    size_t samples;         /* observed */
    struct LedgeQuantExpect *expect; /* what BatchNormalization said, before it was folded */
    struct LedgeQuantRun *run; /* the float model that is observed; NULL: none */
} LedgeQuantizer;

/* Statuses: those of reading and optimising; ARGUMENT (an exclusion names nothing), FORMAT (the
 * model is quantized already), UNSUPPORTED (nothing to quantize, or an operator whose meaning
 * changes in the opset that is needed, by name). The strings and arrays in `o` must stay. */
LedgeStatus ledge__quantizer_open(const char *path, const LedgeQuantOptions *o, LedgeError *err,
                                  LedgeQuantizer **out);
void ledge__quantizer_free(LedgeQuantizer *q); /* NULL is legal */

/* The node's record; NULL for nodes that came later than the last describe. */
LedgeQuantNode *ledge__quantizer_node(const LedgeQuantizer *q, const LedgeNode *n);
/* The weights of a WEIGHTED node. false: it is none. */
bool ledge__quantizer_layer(const LedgeQuantNode *n, LedgeQuantLayer *out);
/* Anew after the graph gained or lost nodes or values; open does it once. Keeps keep_float of
 * nodes that stay. Status: MEMORY. */
LedgeStatus ledge__quantizer_describe(LedgeQuantizer *q, LedgeError *err);
/* Sets `integer`, `quantized`, `tied` from the roles and keep_float; open does it once. */
LedgeStatus ledge__quantizer_decide(LedgeQuantizer *q, LedgeError *err);

/* ---- observing ---- */

/* The graph as an ONNX model whose outputs are the graph's own and then `extra`. Bytes to be
 * freed by ledge__free(q->allocator, ...). */
LedgeStatus ledge__quantizer_float_model(LedgeQuantizer *q, LedgeValue *const *extra,
                                         size_t n_extra, LedgeError *err, void **bytes,
                                         size_t *size);
/* Loads the float model with what is to be observed as outputs. Forgets what was observed.
 * In modes without calibration nothing but the model's own outputs. */
LedgeStatus ledge__quantizer_observe_start(LedgeQuantizer *q, LedgeError *err);
/* One sample: tensors for the model's inputs. *outputs (may be NULL): the model's own, valid until
 * the next call. NaN or an infinity is a RUNTIME error that names the tensor. */
LedgeStatus ledge__quantizer_observe(LedgeQuantizer *q, const LedgeTensor *inputs, size_t n_inputs,
                                     LedgeError *err, const LedgeTensor **outputs);
/* The float model under observation, for its inputs' description. NULL before observe_start. */
const LedgeModel *ledge__quantizer_model(const LedgeQuantizer *q);
/* Frees the float model's session; what was observed stays. */
void ledge__quantizer_observe_end(LedgeQuantizer *q);
/* Ranges, scales and zero points for what is quantized. ARGUMENT before any sample. May be called
 * again, after `decide` or another choice of q->o.calibrator. */
LedgeStatus ledge__quantizer_ranges(LedgeQuantizer *q, LedgeError *err);

/* ---- weights ---- */

/* Symmetric int8 scales of a layer: one a channel, > 0. */
void ledge__quantizer_weight_scales(const LedgeQuantizer *q, const LedgeQuantLayer *l,
                                    float *scales);
/* Nearest int8 of each weight, -127 … 127. */
void ledge__quantizer_round(const LedgeQuantLayer *l, const float *scales, int8_t *out);

/* Rounding weights shifts the mean of a layer's output by (rounding error * mean input): takes
 * that off each bias (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias
 * Correction", 2019, section 4.2). Means come from observed samples, else from the
 * BatchNormalization before the layer; layers without either are left. After `decide`, and after
 * weight_q was set by others. */
LedgeStatus ledge__quantizer_correct_bias(LedgeQuantizer *q, LedgeError *err);

/* ---- writing ---- */

/* The quantized model in `arena`; names and float constants point into the quantizer's graph,
 * which must outlive it. Write it by ledge__onnx_write_file or _memory. */
LedgeStatus ledge__quantizer_build(const LedgeQuantizer *q, LedgeArena *arena, LedgeError *err,
                                   OnnxModel **out);

#endif
