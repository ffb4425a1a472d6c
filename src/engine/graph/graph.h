/* The graph that ledge optimises, plans and runs: nodes and values with use lists.
 *
 * Built from an OnnxModel (functions inlined, subgraphs' captured values made explicit
 * inputs, names unique). Everything lives in one arena and is freed at once; removing a node
 * or value only unlinks it. Nodes stand in a doubly linked list in topological order. */
#ifndef LEDGE_ENGINE_GRAPH_H
#define LEDGE_ENGINE_GRAPH_H

#include "engine/onnx/onnx.h"

struct LedgeOp;
struct LedgeExternal;

typedef struct LedgeNode LedgeNode;
typedef struct LedgeValue LedgeValue;
typedef struct LedgeGraph LedgeGraph;

/* One input slot of a node that reads a value. */
typedef struct LedgeUse {
    LedgeNode *node;
    LedgeValue *value; /* NULL: the optional input is omitted */
    struct LedgeUse *next, *prev;
} LedgeUse;

struct LedgeValue {
    const char *name;
    uint32_t id; /* index into LedgeGraph.values */
    /* Type, rank and dims as far as known before inputs are: rank -1 unknown, dim -1 free.
     * data != NULL: a constant (initializer, Constant, or folded); may be misaligned when it
     * points into the mapped file. */
    LedgeTensor t;
    const char **dim_names; /* of graph inputs and outputs: t.rank entries, each may be NULL */
    LedgeNode *producer;    /* NULL: graph input or constant */
    LedgeUse *uses;
    uint32_t n_uses;
    uint32_t n_outputs; /* how many graph outputs this value is */
    bool is_input;
};

typedef struct LedgeAttr {
    const char *name;
    OnnxAttrType type;
    float f;
    int64_t i;
    LedgeString s; /* also NUL-terminated */
    float *floats;
    int64_t *ints;
    LedgeString *strings;
    LedgeTensor *tensors;
    LedgeGraph **graphs;
    LedgeTensor type_proto; /* TYPE_PROTO: type and dims of a tensor, or a container type */
    size_t count;
} LedgeAttr;

struct LedgeNode {
    const char *name; /* never NULL; made up from operator and output where the file has none */
    const char *op_type;
    const char *domain;       /* "" for ONNX's own, "ledge" for ours */
    int opset;                /* imported version of `domain` */
    const struct LedgeOp *op; /* bound by ledge__ops_bind; NULL: no such operator here */
    uint32_t n_in, n_out;
    uint32_t n_explicit;      /* inputs before this index are the operator's own, from it on they
                                 are values captured by its subgraphs */
    uint32_t cap_in;          /* slots allocated */
    LedgeUse *in;             /* n_in slots; in[i].value may be NULL */
    LedgeValue **out;         /* n_out; NULL: output not wanted */
    LedgeAttr *attrs;
    size_t n_attrs;
    LedgeNode *next, *prev;
    const struct LedgeExternal *external; /* of ledge.External: who runs the node */
    uint32_t mark; /* scratch of whoever walks the graph */
    bool removed;
};

struct LedgeGraph {
    LedgeArena *arena;        /* shared with subgraphs */
    const OnnxModel *onnx;    /* where constants' bytes lie; NULL for graphs made in tests */
    const char *name;
    LedgeGraph *parent;       /* NULL at the top */
    LedgeNode *first, *last;
    LedgeValue **values;      /* all ever made, by id */
    uint32_t n_values;
    size_t cap_values;
    LedgeValue **by_name;     /* open addressing over names, old ones too; cap_names slots */
    size_t n_names, cap_names;
    uint32_t n_nodes;         /* ever made, for bounds and made-up names */
    /* The caller's inputs; in subgraphs then `n_captured` captured ones, captured_slot[i] being
     * the owner node's input slot that gives the i-th. n_inputs counts both. */
    LedgeValue **inputs;
    uint32_t n_inputs;
    uint32_t n_captured;
    uint32_t *captured_slot;
    LedgeNode *owner;         /* the node whose attribute this subgraph is */
    LedgeValue **outputs;
    uint32_t n_outputs;
    int opset;                /* of the default domain */
    size_t folded_bytes;      /* of constants that folding made */
    bool keeps_dequantize;    /* at the top: inference leaves DequantizeLinear of constants, the
                                 optimiser has use for their bytes */
};

/* Builds the graph and binds no operators. `model` must outlive it. Statuses: FORMAT
 * (cycle, undefined name, duplicate definition), SHAPE, TYPE, LIMIT, MEMORY. */
LedgeStatus ledge__graph_build(const LedgeAllocator *a, const OnnxModel *model, LedgeError *err,
                               LedgeGraph **out);
/* Replaces model->graph by what `graph` is now, for writing. Names and data stay where they
 * are, so the graph must outlive the model's use. Functions are gone: they were inlined. */
LedgeStatus ledge__graph_export(const LedgeGraph *graph, OnnxModel *model, LedgeError *err);
/* An empty graph, for tests and subgraphs. */
LedgeStatus ledge__graph_new(const LedgeAllocator *a, LedgeGraph **out);
void ledge__graph_free(LedgeGraph *graph); /* the top one; NULL is legal */

/* ---- change (NULL or false: no memory) ---- */

/* `name` must be unique and live in the arena; NULL fails. */
LedgeValue *ledge__value_new_unchecked(LedgeGraph *g, const char *name);
/* `name` is made unique by a suffix; NULL makes one up. */
LedgeValue *ledge__value_new(LedgeGraph *g, const char *name);
/* The value of this graph that bears `name` now; NULL: none. */
LedgeValue *ledge__value_find(const LedgeGraph *g, const char *name);
/* A constant; the data is copied into the arena unless `data` is to be kept as it is. */
LedgeValue *ledge__value_constant(LedgeGraph *g, const char *name, const LedgeTensor *t, bool copy);
/* Appends to graph inputs / outputs. */
bool ledge__graph_add_input(LedgeGraph *g, LedgeValue *v);
bool ledge__graph_add_output(LedgeGraph *g, LedgeValue *v);
/* A node with empty slots, linked before `before` (NULL: at the end). */
LedgeNode *ledge__node_new(LedgeGraph *g, const char *domain, const char *op_type, const char *name,
                           uint32_t n_in, uint32_t n_out, LedgeNode *before);
void ledge__node_set_input(LedgeNode *n, uint32_t index, LedgeValue *v); /* v may be NULL */
bool ledge__node_add_input(LedgeGraph *g, LedgeNode *n, LedgeValue *v);  /* appended */
void ledge__node_set_output(LedgeNode *n, uint32_t index, LedgeValue *v);
/* Every reader of `from`, and every graph output that it is, gets `to`. When a graph output
 * moves, `to` takes over its name so that outputs keep theirs. */
void ledge__value_replace(LedgeGraph *g, LedgeValue *from, LedgeValue *to);
/* Unlinks the node: clears its inputs; outputs lose their producer. */
void ledge__node_remove(LedgeGraph *g, LedgeNode *n);
/* Moves `n` to stand just before `before`. */
void ledge__node_move_before(LedgeGraph *g, LedgeNode *n, LedgeNode *before);

bool ledge__node_set_int(LedgeGraph *g, LedgeNode *n, const char *name, int64_t v);
bool ledge__node_set_float(LedgeGraph *g, LedgeNode *n, const char *name, float v);
bool ledge__node_set_ints(LedgeGraph *g, LedgeNode *n, const char *name, const int64_t *v,
                          size_t count);
bool ledge__node_set_floats(LedgeGraph *g, LedgeNode *n, const char *name, const float *v,
                            size_t count);
bool ledge__node_set_string(LedgeGraph *g, LedgeNode *n, const char *name, const char *v);
/* As `from`, under this name. */
bool ledge__node_copy_attr(LedgeGraph *g, LedgeNode *n, const char *name, const LedgeAttr *from);
bool ledge__node_copy_attrs(LedgeGraph *g, LedgeNode *to, const LedgeNode *from);
void ledge__node_drop_attr(LedgeNode *n, const char *name); /* absent is fine */

/* ---- look ---- */

const LedgeAttr *ledge__node_attr(const LedgeNode *n, const char *name); /* NULL: absent */
int64_t ledge__node_int(const LedgeNode *n, const char *name, int64_t absent);
float ledge__node_float(const LedgeNode *n, const char *name, float absent);
const char *ledge__node_string(const LedgeNode *n, const char *name, const char *absent);
/* The array of an INTS attribute; NULL and *count 0 when absent. */
const int64_t *ledge__node_ints(const LedgeNode *n, const char *name, size_t *count);
const float *ledge__node_floats(const LedgeNode *n, const char *name, size_t *count);

/* Whether an attribute is a subgraph (If, Loop, Scan). */
bool ledge__node_has_bodies(const LedgeNode *n);
bool ledge__node_is(const LedgeNode *n, const char *op_type);       /* default domain */
bool ledge__node_is_ledge(const LedgeNode *n, const char *op_type); /* ledge domain */
static inline LedgeValue *ledge__node_in(const LedgeNode *n, uint32_t i)
{
    return i < n->n_in ? n->in[i].value : NULL;
}
static inline LedgeValue *ledge__node_out(const LedgeNode *n, uint32_t i)
{
    return i < n->n_out ? n->out[i] : NULL;
}
/* The only node that reads `v`, if there is just one use and `v` is no graph output. */
LedgeNode *ledge__value_only_reader(const LedgeValue *v);
static inline bool ledge__value_is_constant(const LedgeValue *v)
{
    return v && v->t.data && !v->producer && !v->is_input;
}
/* Element `i` of a constant of any number type as double / int64; 0 out of range. */
double ledge__value_as_double(const LedgeValue *v, int64_t i);
int64_t ledge__value_as_int(const LedgeValue *v, int64_t i);

/* Checks the invariants (use lists, order, names); returns NULL or what is broken. For tests
 * and assertions. */
const char *ledge__graph_check(const LedgeGraph *g);
/* One line a node, for tests and `inspect --graph`: "y:f32[1,8] = Relu(x) {attr=1}". Free with
 * ledge__free. */
char *ledge__graph_text(const LedgeGraph *g, const LedgeAllocator *a);

#endif
