/* Cutting a graph into convex parts for providers, and putting ledge.External nodes in their
 * place. The CPU's part is what is left. */
#ifndef LEDGE_PROVIDER_PARTITION_H
#define LEDGE_PROVIDER_PARTITION_H

#include "engine/provider/view.h"

#define OWNER_CPU UINT8_MAX

/* One part: nodes of one provider that run in one go. */
typedef struct Part {
    uint8_t owner;
    const LedgeProvider *api;
    LedgeGraph *graph;      /* a copy of its nodes, with inputs and outputs of its own */
    LedgeValue **outer_in;  /* in the whole graph, one per input of `graph` */
    LedgeValue **outer_out;
    LedgeNode **nodes;      /* of the whole graph, in order */
    size_t n_nodes;
    ProviderView *view;
    void *program;
    LedgeTensor *known;     /* types and shapes of `graph`'s values before any input is seen */
    LedgeTensor *in, *out;  /* for calls: one per input and output */
    LedgeExternal external;
    LedgeStatus failed;     /* of the last run, where the provider said no */
} Part;

typedef struct PartList {
    LedgeArena *arena;
    Part **items;
    size_t n;
} PartList;

/* Gathers the nodes of each owner (by node in order; OWNER_CPU: none) into parts. The graph is not
 * changed yet. */
LedgeStatus ledge__partition_plan(const LedgeAllocator *a, LedgeGraph *g, const OnnxModel *model,
                                  const uint8_t *owners, const int64_t *macs, LedgeError *err,
                                  PartList *list);
/* Puts the parts, compiled by now, into the graph. Afterwards its operators are bound and its order
 * is topological; nothing is inferred anew. */
LedgeStatus ledge__partition_apply(LedgeGraph *g, PartList *list, LedgeError *err);
void ledge__partition_free(PartList *list);

#endif
