/* A graph as providers see it: plain arrays over a LedgeGraph. */
#ifndef LEDGE_PROVIDER_VIEW_H
#define LEDGE_PROVIDER_VIEW_H

#include "engine/graph/op.h"
#include "ledge/provider.h"

typedef struct ProviderView {
    LedgeProviderGraph graph; /* first: `onnx` gets its address */
    LedgeArena *arena;
    const LedgeGraph *source;
    const OnnxModel *model; /* opsets and versions for `onnx` */
    void *bytes;            /* made by `onnx` */
    size_t n_bytes;
} ProviderView;

/* macs: by node in order, or NULL. The graph must outlive the view. */
LedgeStatus ledge__view_new(const LedgeAllocator *a, const LedgeGraph *g, const OnnxModel *model,
                            const int64_t *macs, LedgeError *err, ProviderView **out);
void ledge__view_free(ProviderView *v); /* NULL is legal */

/* Whether a provider of one's own may be offered the node. */
bool ledge__view_offers(const LedgeNode *n);

#endif
