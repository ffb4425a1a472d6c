/* Shared by the files that build a graph from ONNX structures. */
#ifndef LEDGE_ENGINE_GRAPH_BUILD_H
#define LEDGE_ENGINE_GRAPH_BUILD_H

#include "engine/graph/graph.h"

/* Nodes after functions are inlined; hostile nests of functions end here. */
#define GRAPH_MAX_NODES 2000000u

/* Names visible at one place. A subgraph's scope has its owner's as parent; a function
 * body's has none. Open addressing, grown by doubling inside the arena. */
typedef struct GraphScope {
    struct GraphScope *parent;
    LedgeGraph *graph;
    LedgeNode *owner; /* node whose subgraph this is; captured values become its inputs */
    const char *prefix; /* of inner names in an inlined function */
    struct {
        LedgeStr key;
        LedgeValue *value;
    } *slots;
    size_t count, cap;
} GraphScope;

/* Names and attributes of the function call being inlined; NULL outside functions. */
typedef struct GraphCall {
    const struct GraphCall *outer;
    const OnnxFunction *function;
    const OnnxNode *node;
    int depth;
} GraphCall;

typedef struct GraphBuild {
    const OnnxModel *model;
    LedgeArena *arena;
    LedgeError *err;
    uint32_t n_nodes;
    size_t dense_bytes; /* of sparse constants made dense */
} GraphBuild;

/* NULL: not there (in this scope alone). */
LedgeValue *ledge__scope_get(const GraphScope *s, LedgeStr key);
/* false: no memory. */
bool ledge__scope_put(GraphBuild *b, GraphScope *s, LedgeStr key, LedgeValue *v);

/* Turns an ONNX tensor into `t`: data stays where it is, strings are gathered in the arena. */
LedgeStatus ledge__build_tensor(GraphBuild *b, const OnnxTensor *from, LedgeTensor *t);
LedgeStatus ledge__build_sparse(GraphBuild *b, const OnnxSparseTensor *from, LedgeTensor *t);
/* Type and shape; dim_names may be NULL, else gets rank entries or NULL. */
LedgeStatus ledge__build_type(GraphBuild *b, LedgeStr name, const OnnxType *from, LedgeTensor *t,
                              const char ***dim_names);
LedgeStatus ledge__build_attrs(GraphBuild *b, GraphScope *scope, const GraphCall *call,
                               const OnnxNode *from, LedgeNode *to);
LedgeStatus ledge__build_subgraph(GraphBuild *b, GraphScope *parent, LedgeNode *owner,
                                  const GraphCall *call, const OnnxGraph *from,
                                  LedgeGraph **out);
/* Puts the nodes into topological order; FORMAT on a cycle. */
LedgeStatus ledge__graph_sort(LedgeGraph *g, LedgeError *err);

#endif
