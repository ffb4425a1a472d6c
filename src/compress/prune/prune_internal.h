/* What the parts of the pruner share.
 *
 * A channel is an "atom": a number. Every value has at most one axis whose channels are followed;
 * a "span" lists the atom at each index of such an axis. Atoms that can only go together are
 * joined (union-find); a pinned one stays. Classes are the joined sets, families those classes
 * that occur in the same spans equally often, and so are alike but for their importance.
 *
 * Three graphs are built from the one OnnxModel, so that their value ids and their order of nodes
 * agree: `graph` is only looked at, `shapes` has gone through inference with free dimensions
 * filled in, and `build` makes a fresh one for each model that it writes. */
#ifndef LEDGE_COMPRESS_PRUNE_INTERNAL_H
#define LEDGE_COMPRESS_PRUNE_INTERNAL_H

#include "compress/prune/prune.h"

#define PRUNE_NONE UINT32_MAX
/* Channels that one span may list, and all together: bounds on hostile shapes. */
#define PRUNE_MOST_SPAN   ((int64_t)1 << 24)
#define PRUNE_MOST_LISTED ((size_t)1 << 26)

typedef struct PruneSpan {
    uint32_t *atoms;
    uint32_t n;
    uint32_t layer; /* PRUNE_NONE, or the layer that makes these channels */
} PruneSpan;

typedef struct PruneTrack {
    int32_t axis;
    uint32_t span; /* PRUNE_NONE: not followed */
} PruneTrack;

typedef enum PruneEditKind {
    PRUNE_CUT,   /* constant input `slot` loses indices of `axis` by `span` */
    PRUNE_GROUP, /* attribute group: `at` = groups, span = input channels */
    PRUNE_PADS,  /* `span` is the padded one; `at` channels before it, `to` behind */
    PRUNE_SLICE, /* of `span`: [at, to) is taken; entry `axis` of starts and ends */
    PRUNE_SPLIT, /* spans span … span + to - 1 are the parts */
    PRUNE_SHAPE, /* entry `at` of integer input `slot` is the count of `span` */
    PRUNE_INDEX  /* indices in `slot` into `span`, by which span `to` was made */
} PruneEditKind;

typedef enum PruneRole {
    PRUNE_OTHER,
    PRUNE_FILTER, /* weights that make the channel */
    PRUNE_READER, /* weights that read it */
    PRUNE_NORM    /* BatchNormalization's scale */
} PruneRole;

typedef struct PruneEdit {
    PruneEditKind kind;
    PruneRole role;
    LedgeNode *node;
    uint32_t slot;
    int32_t axis;
    uint32_t span;
    int64_t at, to;
} PruneEdit;

/* Multiply-accumulates of a node: `macs` times the shares of its spans that remain. */
typedef struct PruneCost {
    double macs;
    uint32_t out, in; /* spans or PRUNE_NONE */
} PruneCost;

typedef struct PruneLayer {
    LedgeNode *node;
    uint32_t span;
    bool counts; /* makes channels of its own: no depthwise convolution */
} PruneLayer;

typedef struct PruneClass {
    uint32_t family; /* PRUNE_NONE: stays */
    bool removed;
    double score;
} PruneClass;

/* How often the classes of a family occur in a span. */
typedef struct PruneShare {
    uint32_t span, times;
} PruneShare;

typedef struct PruneFamily {
    uint32_t *classes; /* least important first */
    uint32_t n;
    uint32_t removed;  /* the first so many */
    uint32_t chunk;    /* classes that keep counts round */
    uint32_t channels; /* of counted layers, per class */
    PruneShare *shares;
    uint32_t n_shares;
    uint32_t layer; /* that names it */
} PruneFamily;

typedef struct PruneStep {
    uint32_t family, classes; /* that go */
    double score;             /* what it was chosen by */
    uint32_t channels;        /* of counted layers gone, with all steps before */
} PruneStep;

struct LedgePruner {
    LedgePruneOptions o;
    const LedgeAllocator *allocator;
    LedgeArena *arena;
    OnnxModel *onnx;
    LedgeGraph *graph, *shapes;
    LedgeNode **nodes; /* by mark */
    uint32_t n_nodes;
    PruneTrack *track; /* by value id */
    bool *is_static;   /* by value id: follows from constants alone */
    /* atoms */
    uint32_t *parent;
    uint32_t *pinned; /* of roots: 0, or 1 + the barrier that says why they stay */
    size_t n_atoms, cap_parent, cap_pinned;
    uint32_t *class_of; /* by atom, when joined for good */
    /* lists */
    PruneSpan *spans;
    size_t n_spans, listed;
    PruneEdit *edits;
    size_t n_edits;
    PruneCost *costs;
    size_t n_costs;
    PruneLayer *layers;
    size_t n_layers;
    LedgePruneBarrier *barriers;
    size_t n_barriers;
    /* made at the end */
    PruneClass *classes;
    uint32_t n_classes;
    PruneFamily *families;
    uint32_t n_families;
    uint32_t *kept;   /* by span */
    PruneStep *steps; /* [0] is the whole model */
    size_t n_steps;
    size_t taken;
    uint32_t prunable; /* channels of counted layers that may go */
    LedgeError *err;   /* of the call that runs */
};

/* ---- atoms and spans (prune_atoms.c) ---- */

/* All give MEMORY, or LIMIT where shapes ask for more channels than any model has. */
LedgeStatus ledge__prune_span_new(LedgePruner *p, int64_t n, uint32_t *span);   /* atoms not set */
LedgeStatus ledge__prune_span_fresh(LedgePruner *p, int64_t n, uint32_t *span); /* new atoms */
LedgeStatus ledge__prune_span_part(LedgePruner *p, uint32_t of, int64_t from, int64_t n,
                                   uint32_t *span);
LedgeStatus ledge__prune_atom_new(LedgePruner *p, uint32_t *atom);
uint32_t ledge__prune_root(LedgePruner *p, uint32_t atom);
void ledge__prune_join(LedgePruner *p, uint32_t a, uint32_t b);
/* By the barrier noted last. */
void ledge__prune_pin(LedgePruner *p, uint32_t span);
/* Atom by atom; both spans have the same length. */
void ledge__prune_join_spans(LedgePruner *p, uint32_t a, uint32_t b);
/* Classes, families, and what they occur in. */
LedgeStatus ledge__prune_classify(LedgePruner *p);
static inline bool ledge__prune_stays(const LedgePruner *p, uint32_t atom)
{
    return !p->classes[p->class_of[atom]].removed;
}
/* Atoms of [from, to) of a span that remain. */
int64_t ledge__prune_count(const LedgePruner *p, uint32_t span, int64_t from, int64_t to);

/* ---- following channels (prune_trace*.c) ---- */

/* Over the whole graph. */
LedgeStatus ledge__prune_trace(LedgePruner *p);
typedef LedgeStatus (*PruneTraceFn)(LedgePruner *p, LedgeNode *n);
/* NULL: the operator is none of those in the file. */
PruneTraceFn ledge__prune_layer_fn(const LedgeNode *n); /* prune_trace_layers.c */
PruneTraceFn ledge__prune_shape_fn(const LedgeNode *n); /* prune_trace_shape.c */

/* Helpers of theirs. Inferred description; rank -1 where nothing is known. */
static inline const LedgeTensor *ledge__prune_shape(const LedgePruner *p, const LedgeValue *v)
{
    return &p->shapes->values[v->id]->t;
}
/* Constant data of input i, or NULL. */
const LedgeTensor *ledge__prune_static(const LedgePruner *p, const LedgeNode *n, uint32_t i);
/* The track of input i; NULL: not followed. */
const PruneTrack *ledge__prune_in(const LedgePruner *p, const LedgeNode *n, uint32_t i);
void ledge__prune_set_out(LedgePruner *p, const LedgeNode *n, uint32_t i, int32_t axis,
                          uint32_t span);
/* The node lets nothing through: pins what it reads and notes why. */
LedgeStatus ledge__prune_barrier(LedgePruner *p, const LedgeNode *n, const char *why);
/* The same for one span, which may be followed on. */
LedgeStatus ledge__prune_hold(LedgePruner *p, const LedgeNode *n, uint32_t span, const char *why);
LedgeStatus ledge__prune_edit(LedgePruner *p, PruneEdit e);
LedgeStatus ledge__prune_cut(LedgePruner *p, LedgeNode *n, uint32_t slot, int32_t axis,
                             uint32_t span, PruneRole role);
LedgeStatus ledge__prune_cost(LedgePruner *p, double macs, uint32_t out, uint32_t in);
LedgeStatus ledge__prune_layer_add(LedgePruner *p, LedgeNode *n, uint32_t span, bool counts);
/* int64 or int32 constants of input i: up to `most` into values, their number in *n; false: it is
 * absent or not constant. */
bool ledge__prune_ints(const LedgePruner *p, const LedgeNode *n, uint32_t i, int64_t *values,
                       int most, int *count);

/* ---- nodes to be left alone (pruner.c) ---- */

/* ARGUMENT, naming the first of `keep` that is no node of the graph. */
LedgeStatus ledge__prune_check_keep(const LedgeGraph *g, const char *const *keep, size_t n_keep,
                                    LedgeError *err);
bool ledge__prune_is_kept(const LedgeNode *n, const char *const *keep, size_t n_keep);

/* ---- doing it (prune_edit.c) ---- */

/* Applies the edits to g, a graph built anew from p->onnx. */
LedgeStatus ledge__prune_apply(const LedgePruner *p, LedgeGraph *g, LedgeError *err);

#endif
