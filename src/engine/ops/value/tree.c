/* Tree ensembles of ai.onnx.ml: TreeEnsemble (opset 5), TreeEnsembleRegressor and
 * TreeEnsembleClassifier. The two ways in which a file describes trees become one form: nodes
 * with two successors, of which a negative one names a leaf; a leaf is a run of weights. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/ops/value/ml.h"

typedef enum Mode { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF } Mode;
typedef enum Aggregate { AVERAGE, SUM, MINIMUM, MAXIMUM } Aggregate;

typedef struct TreeNode {
    Mode mode;
    bool missing_is_true;
    int64_t feature, yes, no; /* yes, no below 0: leaf -1 - x */
    double value;
    int64_t member, n_members;
} TreeNode;

typedef struct Weight {
    int64_t target;
    double weight;
} Weight;

typedef struct Leaf {
    int64_t first, count; /* weights */
} Leaf;

typedef struct Forest {
    int64_t n_nodes, n_leaves, n_weights, n_roots, n_targets, features;
    TreeNode *nodes;
    Leaf *leaves;
    Weight *weights;
    int64_t *roots; /* as successors: below 0 a lone leaf */
    double *members;
    Aggregate aggregate;
    LedgePost post;
    const LedgeAttr *base; /* floats or a tensor, or NULL */
    LedgeLabels labels;    /* classifier */
    bool one_class, all_positive;
} Forest;

/* A list attribute of numbers: floats, ints or a tensor. */
static int64_t list_count(const LedgeAttr *a)
{
    if (!a)
        return 0;
    return a->tensors ? ledge_tensor_count(&a->tensors[0]) : (int64_t)a->count;
}

static double list_at(const LedgeAttr *a, int64_t i)
{
    if (a->tensors)
        return ledge__number_at(a->tensors[0].type, a->tensors[0].data, i);
    return a->floats ? (double)a->floats[i] : (double)a->ints[i];
}

/* The attribute, or the same with "_as_tensor"; `n` entries, or any number if -1. */
static LedgeStatus get_list(LedgeOpCtx *c, const char *name, int64_t n, bool must,
                            const LedgeAttr **out)
{
    char tensor[64];
    const LedgeAttr *a = ledge__node_attr(c->node, name);
    if (list_count(a) == 0) {
        snprintf(tensor, sizeof tensor, "%s_as_tensor", name);
        const LedgeAttr *b = ledge__node_attr(c->node, tensor);
        a = list_count(b) ? b : NULL;
    }
    *out = a;
    if (!a && !must)
        return LEDGE_OK;
    if (!a || (n >= 0 && list_count(a) != n) || (!a->floats && !a->ints && !a->tensors))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s is missing or of the wrong length", name);
    return LEDGE_OK;
}

static LedgeStatus bad_trees(LedgeOpCtx *c, const char *what)
{
    return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the trees are damaged: %s", what);
}

static LedgeStatus forest_memory(LedgeOpCtx *c, Forest *f)
{
    f->nodes = ledge__op_alloc(c, (size_t)(f->n_nodes + 1) * sizeof *f->nodes);
    f->leaves = ledge__op_alloc(c, (size_t)(f->n_leaves + 1) * sizeof *f->leaves);
    f->weights = ledge__op_alloc(c, (size_t)(f->n_weights + 1) * sizeof *f->weights);
    f->roots = ledge__op_alloc(c, (size_t)(f->n_roots + 1) * sizeof *f->roots);
    return f->nodes && f->leaves && f->weights && f->roots ? LEDGE_OK : ledge__no_memory(c->err);
}

/* Successors and targets exist; that walks end is seen when walking. */
static LedgeStatus check_forest(LedgeOpCtx *c, const Forest *f)
{
    for (int64_t i = 0; i < f->n_roots; i++)
        if (f->roots[i] >= f->n_nodes || f->roots[i] < -f->n_leaves)
            return bad_trees(c, "a root does not exist");
    for (int64_t i = 0; i < f->n_nodes; i++)
        for (int side = 0; side < 2 && f->nodes[i].mode != LEAF; side++) {
            int64_t to = side ? f->nodes[i].no : f->nodes[i].yes;
            if (to >= f->n_nodes || to < -f->n_leaves)
                return bad_trees(c, "a branch leads nowhere");
        }
    for (int64_t i = 0; i < f->n_weights; i++)
        if (f->weights[i].target < 0 || f->weights[i].target >= f->n_targets)
            return bad_trees(c, "a target does not exist");
    return LEDGE_OK;
}

/* ---- opset 5 ---- */

static LedgeStatus read_members(LedgeOpCtx *c, Forest *f)
{
    const LedgeAttr *a = ledge__node_attr(c->node, "membership_values");
    int64_t n = list_count(a), at = 0;
    f->members = ledge__op_alloc(c, (size_t)(n + 1) * sizeof *f->members);
    if (!f->members)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < n; i++)
        f->members[i] = list_at(a, i);
    for (int64_t i = 0; i < f->n_nodes; i++) {
        if (f->nodes[i].mode != MEMBER)
            continue;
        f->nodes[i].member = at;
        while (at < n && f->members[at] == f->members[at])
            at++;
        f->nodes[i].n_members = at - f->nodes[i].member;
        if (at++ >= n)
            return bad_trees(c, "membership_values ends too early");
    }
    return LEDGE_OK;
}

static LedgeStatus read_nodes_5(LedgeOpCtx *c, Forest *f)
{
    const LedgeAttr *feature, *split, *mode, *yes, *no, *yes_leaf, *no_leaf, *missing;
    LEDGE_TRY(get_list(c, "nodes_featureids", f->n_nodes, true, &feature));
    LEDGE_TRY(get_list(c, "nodes_splits", f->n_nodes, true, &split));
    LEDGE_TRY(get_list(c, "nodes_modes", f->n_nodes, true, &mode));
    LEDGE_TRY(get_list(c, "nodes_truenodeids", f->n_nodes, true, &yes));
    LEDGE_TRY(get_list(c, "nodes_falsenodeids", f->n_nodes, true, &no));
    LEDGE_TRY(get_list(c, "nodes_trueleafs", f->n_nodes, true, &yes_leaf));
    LEDGE_TRY(get_list(c, "nodes_falseleafs", f->n_nodes, true, &no_leaf));
    LEDGE_TRY(get_list(c, "nodes_missing_value_tracks_true", f->n_nodes, false, &missing));
    for (int64_t i = 0; i < f->n_nodes; i++) {
        TreeNode *n = &f->nodes[i];
        double m = list_at(mode, i), y = list_at(yes, i), z = list_at(no, i);
        if (!(m >= LEQ && m <= MEMBER) || !(y >= 0 && y < 1e15) || !(z >= 0 && z < 1e15))
            return bad_trees(c, "a node has a mode or branch out of range");
        n->mode = (Mode)m;
        n->feature = (int64_t)list_at(feature, i);
        n->value = list_at(split, i);
        n->missing_is_true = missing && list_at(missing, i) != 0;
        n->yes = list_at(yes_leaf, i) != 0 ? -1 - (int64_t)y : (int64_t)y;
        n->no = list_at(no_leaf, i) != 0 ? -1 - (int64_t)z : (int64_t)z;
        if (n->feature < 0)
            return bad_trees(c, "a feature index is negative");
    }
    return read_members(c, f);
}

static LedgeStatus read_forest_5(LedgeOpCtx *c, Forest *f)
{
    const LedgeAttr *roots, *targets, *weights;
    LEDGE_TRY(get_list(c, "tree_roots", -1, true, &roots));
    LEDGE_TRY(get_list(c, "leaf_targetids", -1, true, &targets));
    f->n_nodes = list_count(ledge__node_attr(c->node, "nodes_featureids"));
    f->n_leaves = f->n_weights = list_count(targets);
    f->n_roots = list_count(roots);
    LEDGE_TRY(get_list(c, "leaf_weights", f->n_leaves, true, &weights));
    LEDGE_TRY(forest_memory(c, f));
    for (int64_t i = 0; i < f->n_leaves; i++) {
        f->leaves[i] = (Leaf){i, 1};
        f->weights[i] = (Weight){(int64_t)list_at(targets, i), list_at(weights, i)};
    }
    for (int64_t i = 0; i < f->n_roots; i++)
        f->roots[i] = (int64_t)list_at(roots, i) < 0 ? INT64_MAX : (int64_t)list_at(roots, i);
    LEDGE_TRY(read_nodes_5(c, f));
    int64_t aggregate = ledge__node_int(c->node, "aggregate_function", SUM);
    int64_t post = ledge__node_int(c->node, "post_transform", LEDGE_POST_NONE);
    if (aggregate < 0 || aggregate > MAXIMUM || post < 0 || post > LEDGE_POST_PROBIT)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "aggregate_function or post_transform");
    f->aggregate = (Aggregate)aggregate;
    f->post = (LedgePost)post;
    return LEDGE_OK;
}

/* ---- opsets 1 and 3 ---- */

typedef struct NodeKey {
    int64_t tree, node, index;
} NodeKey;

static int compare_keys(const void *a, const void *b)
{
    const NodeKey *x = a, *y = b;
    if (x->tree != y->tree)
        return x->tree < y->tree ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static int64_t find_node(const NodeKey *keys, int64_t n, int64_t tree, int64_t node)
{
    NodeKey wanted = {tree, node, 0};
    const NodeKey *k = n ? bsearch(&wanted, keys, (size_t)n, sizeof *keys, compare_keys) : NULL;
    return k ? k->index : -1;
}

static LedgeStatus mode_of(LedgeOpCtx *c, const LedgeAttr *modes, int64_t i, Mode *out)
{
    static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE", "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "",           "LEAF"};
    LedgeString s = modes->strings[i];
    for (int k = 0; k < 8; k++)
        if (s.size && strlen(names[k]) == s.size && memcmp(names[k], s.data, s.size) == 0) {
            *out = (Mode)k;
            return LEDGE_OK;
        }
    return bad_trees(c, "a node's mode is not known");
}

static LedgeStatus read_nodes_1(LedgeOpCtx *c, Forest *f, NodeKey *keys, const LedgeAttr *trees)
{
    const LedgeAttr *feature, *value, *yes, *no, *missing, *modes;
    modes = ledge__node_attr(c->node, "nodes_modes");
    LEDGE_TRY(get_list(c, "nodes_featureids", f->n_nodes, true, &feature));
    LEDGE_TRY(get_list(c, "nodes_values", f->n_nodes, true, &value));
    LEDGE_TRY(get_list(c, "nodes_truenodeids", f->n_nodes, true, &yes));
    LEDGE_TRY(get_list(c, "nodes_falsenodeids", f->n_nodes, true, &no));
    LEDGE_TRY(get_list(c, "nodes_missing_value_tracks_true", f->n_nodes, false, &missing));
    if (!modes || !modes->strings || (int64_t)modes->count != f->n_nodes)
        return bad_trees(c, "nodes_modes is missing");
    for (int64_t i = 0; i < f->n_nodes; i++) {
        TreeNode *n = &f->nodes[i];
        int64_t tree = (int64_t)list_at(trees, i);
        LEDGE_TRY(mode_of(c, modes, i, &n->mode));
        n->feature = (int64_t)list_at(feature, i);
        n->value = list_at(value, i);
        n->missing_is_true = missing && list_at(missing, i) != 0;
        n->yes = n->no = -1 - i;
        if (n->mode == LEAF)
            continue;
        n->yes = find_node(keys, f->n_nodes, tree, (int64_t)list_at(yes, i));
        n->no = find_node(keys, f->n_nodes, tree, (int64_t)list_at(no, i));
        if (n->yes < 0 || n->no < 0 || n->feature < 0)
            return bad_trees(c, "a branch leads nowhere");
    }
    return LEDGE_OK;
}

/* A node that no branch leads to is the root of a tree; leaves become negative successors. */
static LedgeStatus find_roots(LedgeOpCtx *c, Forest *f)
{
    uint8_t *child = ledge__op_alloc(c, (size_t)f->n_nodes + 1);
    if (!child)
        return ledge__no_memory(c->err);
    memset(child, 0, (size_t)f->n_nodes + 1);
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (f->nodes[i].mode != LEAF)
            child[f->nodes[i].yes] = child[f->nodes[i].no] = 1;
    f->n_roots = 0;
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (!child[i])
            f->roots[f->n_roots++] = f->nodes[i].mode == LEAF ? -1 - i : i;
    for (int64_t i = 0; i < f->n_nodes; i++) {
        TreeNode *n = &f->nodes[i];
        if (n->mode == LEAF)
            continue;
        n->yes = f->nodes[n->yes].mode == LEAF ? -1 - n->yes : n->yes;
        n->no = f->nodes[n->no].mode == LEAF ? -1 - n->no : n->no;
    }
    return LEDGE_OK;
}

/* Weights grouped by leaf: counted, placed, filled. */
static LedgeStatus read_weights_1(LedgeOpCtx *c, Forest *f, const NodeKey *keys, bool classes)
{
    const LedgeAttr *tree, *node, *id, *weight;
    LEDGE_TRY(get_list(c, classes ? "class_treeids" : "target_treeids", f->n_weights, true, &tree));
    LEDGE_TRY(get_list(c, classes ? "class_nodeids" : "target_nodeids", f->n_weights, true, &node));
    LEDGE_TRY(get_list(c, classes ? "class_ids" : "target_ids", f->n_weights, true, &id));
    LEDGE_TRY(
        get_list(c, classes ? "class_weights" : "target_weights", f->n_weights, true, &weight));
    f->one_class = f->all_positive = true;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < f->n_weights; i++) {
            int64_t leaf =
                find_node(keys, f->n_nodes, (int64_t)list_at(tree, i), (int64_t)list_at(node, i));
            if (leaf < 0)
                return bad_trees(c, "a weight belongs to no node");
            if (pass == 0) {
                f->leaves[leaf].count++;
                continue;
            }
            Weight w = {(int64_t)list_at(id, i), list_at(weight, i)};
            f->weights[f->leaves[leaf].first + f->leaves[leaf].count++] = w;
            f->one_class = f->one_class && w.target == (int64_t)list_at(id, 0);
            f->all_positive = f->all_positive && w.weight >= 0;
        }
        int64_t at = 0;
        for (int64_t i = 0; i < f->n_nodes && pass == 0; i++) {
            f->leaves[i].first = at;
            at += f->leaves[i].count;
            f->leaves[i].count = 0;
        }
    }
    return LEDGE_OK;
}

static LedgeStatus read_aggregate(LedgeOpCtx *c, Forest *f)
{
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    const char *name = ledge__node_string(c->node, "aggregate_function", "SUM");
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            f->aggregate = (Aggregate)i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "aggregate_function %s", name);
}

static LedgeStatus read_forest_1(LedgeOpCtx *c, Forest *f, bool classes)
{
    const LedgeAttr *trees, *ids;
    LEDGE_TRY(get_list(c, "nodes_treeids", -1, true, &trees));
    f->n_nodes = f->n_leaves = f->n_roots = list_count(trees);
    f->n_weights = list_count(ledge__node_attr(c->node, classes ? "class_ids" : "target_ids"));
    LEDGE_TRY(get_list(c, "nodes_nodeids", f->n_nodes, true, &ids));
    LEDGE_TRY(forest_memory(c, f));
    NodeKey *keys = ledge__op_alloc(c, (size_t)(f->n_nodes + 1) * sizeof *keys);
    if (!keys)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < f->n_nodes; i++)
        keys[i] = (NodeKey){(int64_t)list_at(trees, i), (int64_t)list_at(ids, i), i};
    qsort(keys, (size_t)f->n_nodes, sizeof *keys, compare_keys);
    for (int64_t i = 1; i < f->n_nodes; i++)
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            return bad_trees(c, "a node is there twice");
    LEDGE_TRY(read_nodes_1(c, f, keys, trees));
    LEDGE_TRY(find_roots(c, f));
    LEDGE_TRY(read_weights_1(c, f, keys, classes));
    LEDGE_TRY(ledge__post_transform(c, &f->post));
    LEDGE_TRY(get_list(c, "base_values", -1, false, &f->base));
    f->aggregate = SUM;
    return classes ? LEDGE_OK : read_aggregate(c, f);
}

/* ---- shapes ---- */

static bool is_new(const LedgeOpCtx *c)
{
    return strcmp(c->node->op_type, "TreeEnsemble") == 0;
}

static LedgeStatus count_targets(LedgeOpCtx *c, int64_t *n)
{
    *n = ledge__node_int(c->node, "n_targets", 1);
    if (*n < 1 || *n > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "n_targets is %lld", (long long)*n);
    return LEDGE_OK;
}

static LedgeStatus infer_regressor(LedgeOpCtx *c)
{
    int64_t dims[2], features;
    LEDGE_TRY(ledge__ml_matrix(c, &dims[0], &features));
    LEDGE_TRY(count_targets(c, &dims[1]));
    LEDGE_TRY(ledge__check_dims(c, 2, dims));
    ledge__op_set_out(c, 0, is_new(c) ? c->in[0]->type : LEDGE_FLOAT, 2, dims);
    return LEDGE_OK;
}

static LedgeStatus infer_classifier(LedgeOpCtx *c)
{
    LedgeLabels labels;
    int64_t dims[2], features;
    LEDGE_TRY(ledge__labels(c, "classlabels_int64s", "classlabels_strings", &labels));
    LEDGE_TRY(ledge__ml_matrix(c, &dims[0], &features));
    dims[1] = (int64_t)labels.count;
    LEDGE_TRY(ledge__check_dims(c, 2, dims));
    ledge__op_set_out(c, 0, labels.type, 1, dims);
    ledge__op_set_out(c, 1, LEDGE_FLOAT, 2, dims);
    return LEDGE_OK;
}

static LedgeStatus prepare_forest(LedgeOpCtx *c)
{
    bool classes = strcmp(c->node->op_type, "TreeEnsembleClassifier") == 0;
    int64_t rows;
    Forest *f = ledge__op_alloc(c, sizeof *f);
    if (!f)
        return ledge__no_memory(c->err);
    memset(f, 0, sizeof *f);
    LEDGE_TRY(ledge__ml_matrix(c, &rows, &f->features));
    if (c->in[0]->type == LEDGE_STRING || ledge_type_bits(c->in[0]->type) < 8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input 0 is %s",
                              ledge_type_name(c->in[0]->type));
    if (classes) {
        LEDGE_TRY(ledge__labels(c, "classlabels_int64s", "classlabels_strings", &f->labels));
        f->n_targets = (int64_t)f->labels.count;
    } else {
        LEDGE_TRY(count_targets(c, &f->n_targets));
    }
    LEDGE_TRY(is_new(c) ? read_forest_5(c, f) : read_forest_1(c, f, classes));
    LEDGE_TRY(check_forest(c, f));
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (f->nodes[i].mode != LEAF && f->nodes[i].feature >= f->features)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "feature %lld of %lld is asked for",
                                  (long long)f->nodes[i].feature, (long long)f->features);
    c->state = f;
    c->scratch_bytes = (size_t)f->n_targets * 2 * sizeof(double) + 32;
    return LEDGE_OK;
}

/* ---- walking ---- */

static bool takes_yes(const Forest *f, const TreeNode *n, double x)
{
    if (x != x && n->missing_is_true)
        return true;
    switch (n->mode) {
    case LEQ:
        return x <= n->value;
    case LT:
        return x < n->value;
    case GTE:
        return x >= n->value;
    case GT:
        return x > n->value;
    case EQ:
        return x == n->value;
    case NEQ:
        return x != n->value;
    case MEMBER:
        for (int64_t i = 0; i < n->n_members; i++)
            if (f->members[n->member + i] == x)
                return true;
        return false;
    case LEAF:
        break;
    }
    return false;
}

static double combine(Aggregate how, double a, double b, bool first)
{
    if (first)
        return b;
    if (how == MINIMUM)
        return b < a ? b : a;
    if (how == MAXIMUM)
        return b > a ? b : a;
    return a + b;
}

/* Scores of one row; seen[t] tells whether any leaf spoke of target t. */
static LedgeStatus score_row(LedgeOpCtx *c, const Forest *f, int64_t row, double *scores,
                             double *seen)
{
    const LedgeTensor *in = c->in[0];
    for (int64_t t = 0; t < f->n_targets; t++)
        scores[t] = seen[t] = 0;
    for (int64_t r = 0; r < f->n_roots; r++) {
        int64_t at = f->roots[r], steps = 0;
        while (at >= 0) {
            const TreeNode *n = &f->nodes[at];
            double x = ledge__number_at(in->type, in->data, row * f->features + n->feature);
            at = takes_yes(f, n, x) ? n->yes : n->no;
            if (++steps > f->n_nodes)
                return bad_trees(c, "a walk does not end");
        }
        const Leaf *leaf = &f->leaves[-1 - at];
        for (int64_t i = leaf->first; i < leaf->first + leaf->count; i++) {
            const Weight *w = &f->weights[i];
            scores[w->target] =
                combine(f->aggregate, scores[w->target], w->weight, seen[w->target] == 0);
            seen[w->target] = 1;
        }
    }
    return LEDGE_OK;
}

static double base_of(const Forest *f, int64_t t)
{
    int64_t n = list_count(f->base);
    return n ? list_at(f->base, n == 1 ? 0 : t < n ? t : n - 1) : 0;
}

static LedgeStatus run_regressor(LedgeOpCtx *c)
{
    const Forest *f = c->state;
    LedgeTensor *out = c->out[0];
    double *scores = ledge__work(c, (size_t)f->n_targets * 2 * sizeof *scores);
    if (!scores)
        return ledge__no_memory(c->err);
    for (int64_t r = 0; r < out->dims[0]; r++) {
        LEDGE_TRY(score_row(c, f, r, scores, scores + f->n_targets));
        for (int64_t t = 0; t < f->n_targets; t++) {
            if (f->aggregate == AVERAGE && f->n_roots)
                scores[t] /= (double)f->n_roots;
            scores[t] += base_of(f, t);
        }
        ledge__post_apply(f->post, scores, f->n_targets);
        for (int64_t t = 0; t < f->n_targets; t++)
            ledge__number_set(out->type, out->data, r * f->n_targets + t, scores[t]);
    }
    return LEDGE_OK;
}

/* Two classes of which the leaves weigh only one. Weights that are all positive are taken for
 * probabilities, others for log-odds. The first class's weights make the other's score; the
 * second class's stand beside a 0 (as ONNX Runtime does it; the operator leaves it open). */
static int64_t binary_scores(const Forest *f, double *scores)
{
    int64_t only = f->n_weights ? f->weights[0].target : 0;
    double p = scores[only];
    if (only == 1) {
        ledge__post_apply(f->post, scores, 2);
    } else if (f->all_positive) {
        scores[1] = f->post == LEDGE_POST_LOGISTIC ? ledge__logistic(p) : p;
        scores[0] = 1 - scores[1];
    } else if (f->post == LEDGE_POST_LOGISTIC) {
        scores[0] = ledge__logistic(-p);
        scores[1] = ledge__logistic(p);
    } else {
        scores[0] = -p;
        scores[1] = p;
    }
    return f->all_positive ? p > 0.5 : p > 0;
}

static LedgeStatus run_classifier(LedgeOpCtx *c)
{
    const Forest *f = c->state;
    LedgeTensor *out = ledge__op_out(c, 1);
    int64_t n = f->n_targets, rows = c->in[0]->rank == 2 ? c->in[0]->dims[0] : 1;
    double *scores = ledge__work(c, ((size_t)n * 2 + 2) * sizeof *scores);
    if (!scores)
        return ledge__no_memory(c->err);
    for (int64_t r = 0; r < rows; r++) {
        int64_t best = 0;
        LEDGE_TRY(score_row(c, f, r, scores, scores + n));
        for (int64_t t = 0; t < n; t++)
            scores[t] += base_of(f, t);
        if (n == 2 && f->one_class) {
            best = binary_scores(f, scores);
        } else {
            for (int64_t t = 1; t < n; t++)
                best = scores[t] > scores[best] ? t : best;
            ledge__post_apply(f->post, scores, n);
        }
        for (int64_t t = 0; t < n && out; t++)
            ((float *)out->data)[r * n + t] = (float)scores[t];
        ledge__label_set(&f->labels, ledge__op_out(c, 0), r, best);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_tree[] = {
    {.domain = "ai.onnx.ml",
     .op_type = "TreeEnsemble",
     .since = 5,
     .infer = infer_regressor,
     .prepare = prepare_forest,
     .run = run_regressor},
    {.domain = "ai.onnx.ml",
     .op_type = "TreeEnsembleRegressor",
     .since = 1,
     .infer = infer_regressor,
     .prepare = prepare_forest,
     .run = run_regressor},
    {.domain = "ai.onnx.ml",
     .op_type = "TreeEnsembleClassifier",
     .since = 1,
     .infer = infer_classifier,
     .prepare = prepare_forest,
     .run = run_classifier},
    {0},
};
