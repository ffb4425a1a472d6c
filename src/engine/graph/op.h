/* The contract between an operator and those who infer shapes, plan and run.
 *
 * An operator is one LedgeOp: its names and versions, its shape inference, and its run
 * function; heavy ones also prepare (choose kernels, pack weights, size scratch). The same
 * `infer` serves load time (dimensions may be -1, data mostly absent), planning (all shapes
 * known where they do not depend on data) and run time (all data present). */
#ifndef LEDGE_ENGINE_OP_H
#define LEDGE_ENGINE_OP_H

#include "base/pool.h"
#include "engine/graph/graph.h"

typedef struct LedgeOpCtx LedgeOpCtx;

enum {
    LEDGE_OP_INPLACE = 1u << 0,      /* output 0 may share input 0's memory (same byte size) */
    LEDGE_OP_VIEW = 1u << 1,         /* output 0 is input 0's bytes under another shape; no run */
    LEDGE_OP_IMPURE = 1u << 2,       /* random or otherwise not to be folded */
    LEDGE_OP_ANY_ALIGN = 1u << 3,    /* reads constants by memcpy-safe loads (packers) */
    LEDGE_OP_INPLACE_1 = 1u << 4,    /* output 0 may share input 1's memory (same byte size) */
    LEDGE_OP_INPLACE_LAST = 1u << 5, /* output 0 MUST share the last input's memory when that input
                                        is present: the operator adds its part to it */
    LEDGE_OP_OWN_VALUES = 1u << 6    /* run sets outputs that are containers or whose shape it alone
                                        knows, by ledge__op_output */
};

typedef struct LedgeOp {
    const char *domain;  /* "" is ONNX's own */
    const char *op_type;
    int since, until;    /* opset versions, both included; until 0: still valid */
    uint32_t flags;
    /* Sets type, rank and dims of every wanted output; -1 for what cannot be known yet. May set
     * out->data (from ledge__op_alloc) when the answer follows from shapes alone. */
    LedgeStatus (*infer)(LedgeOpCtx *c);
    /* Optional. All input shapes are known, constants have data. Fills c->state and
     * c->scratch_bytes. */
    LedgeStatus (*prepare)(LedgeOpCtx *c);
    /* Inputs have data; outputs have data wherever `infer` gave a full shape. */
    LedgeStatus (*run)(LedgeOpCtx *c);
    /* Optional: multiply-accumulates of one run, for inspect and provider reports. */
    int64_t (*macs)(const LedgeOpCtx *c);
} LedgeOp;

/* Services of whoever calls the operator; the callee never looks inside. */
typedef struct LedgeOpHost {
    /* Zeroed. Lives as long as the plan (in prepare and infer when planning) or, called at run
     * time, until the next run; bytes of strings and elements of containers come from here. */
    void *(*alloc)(LedgeOpCtx *c, size_t bytes);
    /* Gives out[i] memory for its type, rank and dims, which are final now. */
    LedgeStatus (*output)(LedgeOpCtx *c, uint32_t i);
    /* Packed form of constant input `i`, made once per model by `pack` and shared by all plans
     * and sessions; `key` names the form and all that it depends on but the constant. */
    LedgeStatus (*packed)(LedgeOpCtx *c, uint32_t i, const char *key, size_t bytes,
                          LedgeStatus (*pack)(void *arg, void *to), void *arg, const void **out);
    /* Runs a subgraph of this node. `in` are its formal inputs; captured values are added from
     * the node's own inputs. Fills out[] with views that stay valid during the next call for
     * the same subgraph (so they can be its inputs) and end with the call after that. */
    LedgeStatus (*subgraph)(LedgeOpCtx *c, LedgeGraph *g, const LedgeTensor *in, uint32_t n_in,
                            LedgeTensor *out, uint32_t n_out);
    /* Makes output i a deep copy of `value`: tensor, strings, sequence or optional. */
    LedgeStatus (*store)(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value);
} LedgeOpHost;

struct LedgeOpCtx {
    const LedgeNode *node;
    uint32_t n_in, n_out;
    const LedgeTensor **in;   /* NULL: omitted. data NULL: not known (infer only) */
    LedgeTensor **out;        /* NULL: not wanted */
    const uint8_t *in_constant; /* per input: 1 if a constant of the model */
    bool complete;            /* infer: every input has data; what stays -1 is then an error */
    LedgePool *pool;          /* may be NULL */
    uint32_t cpu;             /* CPU flags that kernels may use */
    void *state;              /* what prepare left */
    size_t scratch_bytes;     /* prepare: asked for; run: given */
    void *scratch;            /* run only, LEDGE_ALIGN-aligned, shared by all steps */
    LedgeError *err;
    const LedgeOpHost *host;
    void *host_data;
};

/* Who runs a node of operator ledge.External: an execution provider. Lives as long as the graph. */
typedef struct LedgeExternal {
    void *self;
    LedgeStatus (*infer)(void *self, LedgeOpCtx *c); /* as LedgeOp's */
    LedgeStatus (*run)(void *self, LedgeOpCtx *c);
    int64_t macs;
} LedgeExternal;

/* ---- for operators ---- */

static inline void *ledge__op_alloc(LedgeOpCtx *c, size_t bytes)
{
    return c->host->alloc(c, bytes);
}
/* In run, for outputs whose data is NULL: set type, rank and dims first. */
static inline LedgeStatus ledge__op_output(LedgeOpCtx *c, uint32_t i)
{
    return c->host->output(c, i);
}
/* Deep copy of any value into memory of ledge__op_alloc: elements of a container are copied too,
 * so that a container never points into another value. */
LedgeStatus ledge__op_copy_elements(LedgeOpCtx *c, const LedgeTensor *from, void *to); /* no containers */
LedgeStatus ledge__op_copy_value(LedgeOpCtx *c, const LedgeTensor *from, LedgeTensor *to);
/* In run, for outputs whose data is NULL or which are containers. */
static inline LedgeStatus ledge__op_store(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value)
{
    return c->host->store(c, i, value);
}
/* An error that names this node and its operator. */
LedgeStatus ledge__op_fail(LedgeOpCtx *c, LedgeStatus status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
/* Input i as a fault when it is missing or (where `type` is not NONE) of another type. */
LedgeStatus ledge__op_need(LedgeOpCtx *c, uint32_t i, LedgeType type);
static inline const LedgeTensor *ledge__op_in(const LedgeOpCtx *c, uint32_t i)
{
    return i < c->n_in ? c->in[i] : NULL;
}
static inline LedgeTensor *ledge__op_out(const LedgeOpCtx *c, uint32_t i)
{
    return i < c->n_out ? c->out[i] : NULL;
}
/* Sets type and shape of output i, if wanted. rank -1: unknown. */
void ledge__op_set_out(LedgeOpCtx *c, uint32_t i, LedgeType type, int32_t rank, const int64_t *dims);
/* Axis in -rank … rank-1 made 0 … rank-1; fails with a sentence otherwise. */
LedgeStatus ledge__op_axis(LedgeOpCtx *c, int64_t axis, int32_t rank, int32_t *out);
/* Numpy broadcasting of two shapes (unknown dims stay -1 unless the other decides). */
LedgeStatus ledge__op_broadcast(LedgeOpCtx *c, const LedgeTensor *a, const LedgeTensor *b,
                                int32_t *rank, int64_t *dims);
/* int64 values of a small int32/int64 input, at most `max`; *n = -1 when not known (yet). */
LedgeStatus ledge__op_int_input(LedgeOpCtx *c, uint32_t i, int64_t *values, int max, int *n);

/* ---- registry (ops/registry.c) ---- */

/* The operator for a domain, type and opset version, or NULL. */
const LedgeOp *ledge__op_find(const char *domain, const char *op_type, int opset);
/* Sets node->op over the graph and its subgraphs; with `err`, the first one without an
 * operator is UNSUPPORTED and named. */
LedgeStatus ledge__ops_bind(LedgeGraph *g, LedgeError *err);
/* The i-th registered operator, or NULL past the end; for documentation and tests. */
const LedgeOp *ledge__op_at(size_t i);

/* ---- shape inference (ops/infer.c) ---- */

/* Infers types and shapes over a graph before inputs are known, and folds what is constant
 * (values of at most `fold_limit` bytes). Keeps what the file said where inference cannot
 * tell, and fails where the two contradict each other. */
LedgeStatus ledge__graph_infer(LedgeGraph *g, size_t fold_limit, LedgeError *err);

#endif
