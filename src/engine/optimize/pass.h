/* What the passes share: their context, their declarations, and small tools for matching and
 * rewriting. Private to this folder and its tests. */
#ifndef LEDGE_ENGINE_OPTIMIZE_PASS_H
#define LEDGE_ENGINE_OPTIMIZE_PASS_H

#include "engine/optimize/optimize.h"

typedef struct LedgeOptCtx {
    const LedgeOptOptions *options;
    LedgeError *err;
} LedgeOptCtx;

/* A pass looks at the whole graph once and sets *changed when it rewrote anything. It matches
 * from the last node of a pattern upwards and removes only that node and ones before it, so
 * that the walk may go on with the next node. */
typedef LedgeStatus LedgePassFn(LedgeGraph *g, LedgeOptCtx *c, bool *changed);

#define PASS(group, name, portable) LedgePassFn ledge__opt_##name;
#include "engine/optimize/passes.def"
#undef PASS

/* ---- making (NULL or false: no memory) ---- */

/* True when the internal operator may be made: registered, and the result need not be plain. */
bool ledge__opt_has(const LedgeOptCtx *c, const char *op_type);
/* A node with one output of the type, rank and dims of `like`. Set the inputs next. */
LedgeNode *ledge__opt_internal(LedgeGraph *g, const char *op_type, uint32_t n_in,
                               const LedgeTensor *like, LedgeNode *before);
/* The same in the default domain; its opset is the graph's, or `since` where that is newer. */
LedgeNode *ledge__opt_onnx(LedgeGraph *g, const char *op_type, int since, uint32_t n_in,
                           const LedgeTensor *like, LedgeNode *before);
/* Transpose of `x` by `perm` (x's rank known) before `before`; the node. */
LedgeNode *ledge__opt_transpose(LedgeGraph *g, LedgeValue *x, const int32_t *perm,
                                LedgeNode *before);
/* Slice of `x` before `before`, with result `like`: along each of n axes from `from` to before `to`,
 * in `steps` (NULL: of 1). */
LedgeNode *ledge__opt_slice(LedgeGraph *g, LedgeValue *x, const int64_t *axes, int64_t n,
                            const int64_t *from, const int64_t *to, const int64_t *steps,
                            const LedgeTensor *like, LedgeNode *before);
/* Reshape of `x` to `shape` (0 and -1 as in ONNX), with result `like`. */
LedgeNode *ledge__opt_reshape(LedgeGraph *g, LedgeValue *x, const int64_t *shape, int32_t rank,
                              const LedgeTensor *like, LedgeNode *before);
LedgeValue *ledge__opt_ints(LedgeGraph *g, const char *name, const int64_t *v, int64_t n);
/* A float constant with room for its elements, to be filled by the caller. */
LedgeValue *ledge__opt_floats(LedgeGraph *g, const char *name, int32_t rank, const int64_t *dims,
                              float **data);

/* ---- rewriting ---- */

/* `to` becomes `from`'s producer's place: output 0 of `old` is now made by output 0 of `made`
 * (whose own output value is dropped), keeping its name and readers; then drops `old`. */
void ledge__opt_take_over(LedgeGraph *g, LedgeNode *made, LedgeNode *old);
/* Readers of output 0 of `n` read `v` instead and `n` goes; false when that would rename a
 * graph input or constant, or join two graph outputs. */
bool ledge__opt_bypass(LedgeGraph *g, LedgeNode *n, LedgeValue *v);
/* Removes `n` if nothing reads it, then what only it read, as far as a short list reaches. */
void ledge__opt_drop(LedgeGraph *g, LedgeNode *n);

/* ---- matching ---- */

/* v's producer if it is that ONNX operator, else NULL. */
LedgeNode *ledge__opt_made_by(const LedgeValue *v, const char *op_type);
/* The same, and `v` has no other reader and is no graph output. */
LedgeNode *ledge__opt_made_only_by(const LedgeValue *v, const char *op_type);
LedgeNode *ledge__opt_made_only_by_ledge(const LedgeValue *v, const char *op_type);
/* Whether every number of the attribute is `value`; so it is where there is none. */
bool ledge__opt_all_are(const LedgeNode *n, const char *name, int64_t value);
static inline bool ledge__opt_single_use(const LedgeValue *v)
{
    return v && v->n_uses == 1 && v->n_outputs == 0;
}
/* A constant of one element. */
bool ledge__opt_scalar(const LedgeValue *v, double *out);
/* A constant whose only element is `want`, as near as float32 tells. */
bool ledge__opt_is_scalar(const LedgeValue *v, double want);
/* Of a commutative two-input node: the index of the input that is the constant scalar, or -1. */
int ledge__opt_scalar_side(const LedgeNode *n, double *out);
/* Numbers of a constant list input or, where the operator had one, attribute (axes, pads, …);
 * n = -1: not constant or too many for `max`; -2: absent. */
int ledge__opt_list(const LedgeNode *n, uint32_t input, const char *attr, int64_t *out, int max);
/* Bounds of a Clip, infinite where absent; false where not constant. */
bool ledge__opt_clip_bounds(const LedgeNode *clip, double *low, double *high);
bool ledge__opt_float_constant(const LedgeValue *v); /* float32 with a known shape */
/* Copies a float constant's elements (which may be misaligned). */
void ledge__opt_copy_floats(const LedgeValue *v, float *out);
/* Perm of a Transpose; false if the rank is unknown. */
bool ledge__opt_perm(const LedgeNode *transpose, int32_t *perm, int32_t *rank);
/* Whether two values surely have equal shapes, with free dims traced to their origin. */
bool ledge__opt_same_shape(const LedgeValue *a, const LedgeValue *b);
bool ledge__opt_same_dim(const LedgeValue *a, int32_t a_axis, const LedgeValue *b, int32_t b_axis);
/* An axis counted from the front, or -1 when out of range. */
static inline int32_t ledge__opt_axis(int64_t axis, int32_t rank)
{
    axis = axis < 0 ? axis + rank : axis;
    return axis >= 0 && axis < rank ? (int32_t)axis : -1;
}

/* ---- permuting ---- */

/* The constant `v`, seen as one of `rank` dims (leading ones added), transposed by `perm`; ones
 * in front are dropped again unless `keep_rank`. The value itself where nothing moves. NULL: no
 * memory, or an element type that is smaller than a byte. */
LedgeValue *ledge__opt_permuted_constant(LedgeGraph *g, LedgeValue *v, int32_t rank,
                                         const int32_t *perm, bool keep_rank);
void ledge__opt_invert(const int32_t *perm, int32_t rank, int32_t *inverse);
/* y = f(x) for each element, dims unchanged; one tensor input. */
bool ledge__opt_is_unary(const LedgeNode *n);
/* Numpy broadcasting over all inputs. */
bool ledge__opt_is_broadcasting(const LedgeNode *n);
/* Output 0 is input 0's bytes under another shape. */
bool ledge__opt_is_view(const LedgeNode *n);
/* Makes `n` compute in the layout before a Transpose by `perm` that feeds it: its output 0 gets
 * a new value of permuted dims, from which a Transpose right after `n` makes the old one. */
LedgeNode *ledge__opt_transpose_after(LedgeGraph *g, LedgeNode *n, const int32_t *perm);

/* ---- weights of Conv, ConvTranspose, Gemm and the internal forms ---- */

typedef struct LedgeOptWeighted {
    int64_t channels; /* outputs: M or N */
    int32_t axis;     /* of the channels in the output */
    uint32_t bias;    /* input index */
    bool plain_bias;  /* the bias has, or may get, one number a channel */
} LedgeOptWeighted;

/* Describes a node with constant float weights that a factor and an addend per output channel
 * may be folded into; false for any other node, or one with an activation or residual. */
bool ledge__opt_weighted(const LedgeNode *n, LedgeOptWeighted *w);
/* y*scale + shift per channel goes into weights and bias; either may be NULL. Arrays of
 * w->channels doubles. */
LedgeStatus ledge__opt_fold_affine(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n,
                                   const LedgeOptWeighted *w, const double *scale,
                                   const double *shift);
/* Numbers of a constant that broadcasts along one axis only (or is a scalar), spread over
 * `channels`; false if it does not. `rank` is that of the other operand. */
bool ledge__opt_per_channel(const LedgeValue *v, int32_t rank, int32_t axis, int64_t channels,
                            double *out);

#endif
