/* Zeros among the weights, see prune_weights.h. */
#include "compress/prune/prune_weights.h"

#include <math.h>
#include <stdlib.h>

#include "compress/prune/prune_internal.h"

/* A layer's weights seen as [outer, out, mid, in, inner]: `out` numbers its channels, `in` the
 * inputs that are summed up. One of mid and outer is always 1, as layouts go. */
typedef struct Layer {
    LedgeNode *node;
    float *w; /* a copy in the graph's arena */
    int64_t out, in, inner;
    bool out_first; /* [out, in, inner], else [in, out] */
    double mean;    /* of its units' sizes */
    int64_t units;
    float *size; /* of each unit: a weight or a block */
} Layer;

typedef struct Work {
    const LedgePruneWeightsOptions *o;
    const LedgeAllocator *allocator;
    LedgeGraph *g;
    Layer *layers;
    size_t n;
    LedgeError *err;
} Work;

static float *weight(const Layer *l, int64_t out, int64_t in, int64_t k)
{
    return l->out_first ? &l->w[(out * l->in + in) * l->inner + k] : &l->w[in * l->out + out];
}

/* ---- the layers ---- */

static bool describe(const LedgeNode *n, Layer *l)
{
    const LedgeValue *v = ledge__node_in(n, 1);
    if (!ledge__value_is_constant(v) || v->t.type != LEDGE_FLOAT || n->domain[0])
        return false;
    const LedgeTensor *t = &v->t;
    *l = (Layer){.node = (LedgeNode *)n, .inner = 1};
    if (strcmp(n->op_type, "Conv") == 0 && t->rank >= 3) {
        l->out_first = true;
        l->out = t->dims[0];
        l->in = t->dims[1];
        for (int32_t d = 2; d < t->rank; d++)
            l->inner *= t->dims[d];
    } else if (t->rank == 2 &&
               (strcmp(n->op_type, "Gemm") == 0 || strcmp(n->op_type, "MatMul") == 0)) {
        l->out_first = ledge__node_int(n, "transB", 0) != 0;
        l->out = t->dims[l->out_first ? 0 : 1];
        l->in = t->dims[l->out_first ? 1 : 0];
    } else {
        return false;
    }
    return l->out * l->in * l->inner > 0;
}

static LedgeStatus add_layer(Work *x, LedgeNode *n)
{
    Layer l;
    if (!describe(n, &l) || ledge__prune_is_kept(n, x->o->keep, x->o->n_keep))
        return LEDGE_OK;
    LedgeValue *v = n->in[1].value, *own = v;
    if (v->n_uses > 1 || v->n_outputs) {
        own = ledge__value_constant(x->g, v->name, &v->t, true);
        if (!own)
            return ledge__no_memory(x->err);
        ledge__node_set_input(n, 1, own);
    } else {
        void *copy = ledge__arena_alloc(x->g->arena, ledge_tensor_bytes(&v->t), 1);
        if (!copy)
            return ledge__no_memory(x->err);
        memcpy(copy, v->t.data, ledge_tensor_bytes(&v->t));
        v->t.data = copy;
    }
    l.w = own->t.data;
    Layer *grown = ledge__arena_append(x->g->arena, x->layers, x->n, sizeof *grown);
    if (!grown)
        return ledge__no_memory(x->err);
    x->layers = grown;
    x->layers[x->n++] = l;
    return LEDGE_OK;
}

/* ---- two of four ---- */

static void two_of_four(const Layer *l)
{
    for (int64_t o = 0; o < l->out; o++)
        for (int64_t k = 0; k < l->inner; k++)
            for (int64_t i = 0; i + 4 <= l->in; i += 4)
                for (int round = 0; round < 2; round++) {
                    float *least = NULL;
                    for (int64_t j = i; j < i + 4; j++) {
                        float *w = weight(l, o, j, k);
                        if (*w != 0 && (!least || fabsf(*w) < fabsf(*least)))
                            least = w;
                    }
                    int zeros = 0;
                    for (int64_t j = i; j < i + 4; j++)
                        zeros += *weight(l, o, j, k) == 0;
                    if (least && zeros < 2)
                        *least = 0;
                }
}

/* ---- the smallest ---- */

/* Unit u: `block` output channels, one input and place. Its size is the root of the mean square. */
static void unit_range(const Layer *l, uint32_t block, int64_t u, int64_t *from, int64_t *to,
                       int64_t *in, int64_t *k)
{
    *k = u % l->inner;
    *in = u / l->inner % l->in;
    *from = u / l->inner / l->in * block;
    *to = *from + block < l->out ? *from + block : l->out;
}

static LedgeStatus size_units(Work *x, Layer *l)
{
    const uint32_t block = x->o->block;
    l->units = (l->out + block - 1) / block * l->in * l->inner;
    l->size = ledge__arena_alloc(x->g->arena, (size_t)l->units, sizeof *l->size);
    if (!l->size)
        return ledge__no_memory(x->err);
    for (int64_t u = 0; u < l->units; u++) {
        int64_t from, to, in, k;
        double sum = 0;
        unit_range(l, block, u, &from, &to, &in, &k);
        for (int64_t o = from; o < to; o++)
            sum += (double)*weight(l, o, in, k) * (double)*weight(l, o, in, k);
        l->size[u] = (float)sqrt(sum / (double)(to - from));
        l->mean += (double)l->size[u] / (double)l->units;
    }
    return LEDGE_OK;
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double measure(const Work *x, const Layer *l, int64_t u)
{
    return x->o->per_layer || l->mean <= 0 ? (double)l->size[u] : (double)l->size[u] / l->mean;
}

/* The size below which `amount` of the units of layers [from, to) lie. */
static LedgeStatus threshold(const Work *x, size_t from, size_t to, float *out)
{
    int64_t n = 0, at = 0;
    for (size_t i = from; i < to; i++)
        n += x->layers[i].units;
    float *all = ledge__alloc(x->allocator, (size_t)n, sizeof *all);
    if (!all)
        return ledge__no_memory(x->err);
    for (size_t i = from; i < to; i++)
        for (int64_t u = 0; u < x->layers[i].units; u++)
            all[at++] = (float)measure(x, &x->layers[i], u);
    qsort(all, (size_t)n, sizeof *all, compare_floats);
    *out = all[(int64_t)(x->o->amount * (double)n)];
    ledge__free(x->allocator, all);
    return LEDGE_OK;
}

static void clear_below(const Work *x, const Layer *l, float limit)
{
    for (int64_t u = 0; u < l->units; u++) {
        int64_t from, to, in, k;
        if ((float)measure(x, l, u) >= limit)
            continue;
        unit_range(l, x->o->block, u, &from, &to, &in, &k);
        for (int64_t o = from; o < to; o++)
            *weight(l, o, in, k) = 0;
    }
}

static LedgeStatus clear_smallest(Work *x)
{
    float limit = 0;
    for (size_t i = 0; i < x->n; i++)
        LEDGE_TRY(size_units(x, &x->layers[i]));
    if (!x->o->per_layer)
        LEDGE_TRY(threshold(x, 0, x->n, &limit));
    for (size_t i = 0; i < x->n; i++) {
        if (x->o->per_layer)
            LEDGE_TRY(threshold(x, i, i + 1, &limit));
        clear_below(x, &x->layers[i], limit);
    }
    return LEDGE_OK;
}

/* ---- all together ---- */

static LedgeStatus work(Work *x, const char *path, LedgePrunedWeights *out)
{
    LEDGE_TRY(ledge__onnx_read_file(x->allocator, path, x->err, &out->onnx));
    LEDGE_TRY(ledge__graph_build(x->allocator, out->onnx, x->err, &out->model->graph));
    x->g = out->model->graph;
    LEDGE_TRY(ledge__prune_check_keep(x->g, x->o->keep, x->o->n_keep, x->err));
    for (LedgeNode *n = x->g->first; n; n = n->next)
        LEDGE_TRY(add_layer(x, n));
    if (!x->n)
        return ledge__fail(x->err, LEDGE_ERROR_UNSUPPORTED, path,
                           "the model has no Conv, Gemm or MatMul with constant float weights to "
                           "set to zero");
    for (size_t i = 0; i < x->n && x->o->two_of_four; i++)
        two_of_four(&x->layers[i]);
    if (!x->o->two_of_four)
        LEDGE_TRY(clear_smallest(x));
    out->layers = ledge__arena_alloc(x->g->arena, x->n, sizeof *out->layers);
    if (!out->layers)
        return ledge__no_memory(x->err);
    for (size_t i = 0; i < x->n; i++) {
        const Layer *l = &x->layers[i];
        LedgePruneWeightsLayer *to = &out->layers[out->n_layers++];
        *to =
            (LedgePruneWeightsLayer){l->node->name, l->node->op_type, l->out * l->in * l->inner, 0};
        for (int64_t k = 0; k < to->weights; k++)
            to->zeros += l->w[k] == 0;
        out->weights += to->weights;
        out->zeros += to->zeros;
    }
    out->model->model = *out->onnx;
    out->model->model.arena = x->g->arena;
    return ledge__graph_export(x->g, &out->model->model, x->err);
}

LedgeStatus ledge__prune_weights(const char *path, const LedgePruneWeightsOptions *o,
                                 LedgeError *err, LedgePrunedWeights *out)
{
    Work x = {.o = o, .allocator = ledge__allocator_or_default(o->allocator), .err = err};
    LedgePrunedWeights made = {.model = ledge__calloc(x.allocator, 1, sizeof *made.model)};
    if (!made.model)
        return ledge__no_memory(err);
    made.model->allocator = x.allocator;
    const LedgeStatus s = work(&x, path, &made);
    if (s) {
        ledge__prune_weights_free(&made);
        return s;
    }
    *out = made;
    return LEDGE_OK;
}

void ledge__prune_weights_free(LedgePrunedWeights *w)
{
    ledge__pruned_free(w->model);
    ledge__onnx_free(w->onnx);
    *w = (LedgePrunedWeights){0};
}
