/* Cross-layer equalization, see quant_equalize.h. */
#include "compress/quantize/quant_equalize.h"

#include <math.h>
#include <string.h>

#include "compress/quantize/quant_internal.h"

#define ROUNDS 20
/* A channel of hardly any weight would blow the other side's up. */
#define MOST_SCALE 1e3

/* One layer's weights seen by output and by input channel. */
typedef struct Side {
    LedgeNode *node;
    float *w, *bias;          /* own copies, in place of the constants; bias may be NULL */
    int64_t count, outs, ins; /* elements, channels of the whole layer */
    int64_t per_out;          /* elements of one output channel: Conv and Gemm with transB */
    int64_t group, taps;
    bool by_columns; /* [K, M]: element e has output e % outs and input e / outs */
} Side;

typedef struct Pair {
    Side first, second;
} Pair;

static bool is_plain_constant(const LedgeValue *v)
{
    return v && ledge__value_is_constant(v) && v->t.type == LEDGE_FLOAT && v->n_uses == 1 &&
           !v->n_outputs;
}

/* Conv of groups, and Gemm; transposed convolutions and bare products are passed over. */
static bool describe_side(LedgeNode *n, Side *s)
{
    const LedgeValue *w = ledge__node_in(n, 1), *b = ledge__node_in(n, 2);
    if (!is_plain_constant(w) || (b && !is_plain_constant(b)))
        return false;
    *s = (Side){.node = n, .count = ledge_tensor_count(&w->t), .group = 1, .taps = 1};
    if (ledge__node_is(n, "Conv")) {
        s->group = ledge__node_int(n, "group", 1);
        s->outs = w->t.dims[0];
        s->ins = w->t.dims[1] * s->group;
    } else if (ledge__node_is(n, "Gemm") && w->t.rank == 2 && !ledge__node_int(n, "transA", 0)) {
        s->by_columns = !ledge__node_int(n, "transB", 0);
        s->outs = w->t.dims[s->by_columns];
        s->ins = w->t.dims[!s->by_columns];
    } else {
        return false;
    }
    if (s->outs < 1 || s->ins < 1 || s->count % s->outs || s->group < 1 || s->outs % s->group ||
        (b && ledge_tensor_count(&b->t) != s->outs))
        return false;
    s->per_out = s->count / s->outs;
    s->taps = s->per_out / (s->ins / s->group);
    return s->taps > 0;
}

static int64_t out_of(const Side *s, int64_t e)
{
    return s->by_columns ? e % s->outs : e / s->per_out;
}

static int64_t in_of(const Side *s, int64_t e)
{
    if (s->by_columns)
        return e / s->outs;
    const int64_t out = e / s->per_out, within = e % s->per_out / s->taps;
    return out / (s->outs / s->group) * (s->ins / s->group) + within;
}

/* Whether f(x / s) = f(x) / s for s > 0. */
static bool is_homogeneous(const LedgeNode *n, bool *clipped)
{
    double lo, hi;
    if (ledge__node_is(n, "LeakyRelu"))
        return true;
    if (!ledge__quant_bounds(n, &lo, &hi))
        return false;
    *clipped |= lo == 0 && isfinite(hi);
    return (lo == 0 || isinf(lo)) && isinf(hi);
}

static LedgeNode *next_layer(const LedgeNode *n, bool *clipped)
{
    LedgeNode *reader = ledge__value_only_reader(n->out[0]);
    bool stopped = false;
    if (reader && (ledge__node_is(reader, "Relu") || ledge__node_is(reader, "Clip") ||
                   ledge__node_is(reader, "LeakyRelu"))) {
        if (!is_homogeneous(reader, &stopped)) {
            LedgeNode *behind = ledge__value_only_reader(reader->out[0]);
            *clipped = stopped && behind && ledge__node_is(behind, "Conv");
            return NULL;
        }
        reader = ledge__value_only_reader(reader->out[0]);
    }
    return reader;
}

static bool describe_pair(LedgeNode *n, Pair *p, bool *clipped)
{
    if (!describe_side(n, &p->first))
        return false;
    LedgeNode *next = next_layer(n, clipped);
    return next && next->in[0].value && describe_side(next, &p->second) &&
           p->second.ins == p->first.outs;
}

/* ---- own copies ---- */

/* The constant's data, first time moved into the arena where it may be changed. */
static float *own_data(LedgeQuantizer *q, LedgeValue *v, bool *owned)
{
    const size_t bytes = ledge_tensor_bytes(&v->t);
    if (owned[v->id])
        return v->t.data;
    float *data = ledge__arena_aligned(q->graph->arena, bytes);
    if (!data)
        return NULL;
    memcpy(data, v->t.data, bytes);
    v->t.data = data;
    owned[v->id] = true;
    return data;
}

static bool own_side(LedgeQuantizer *q, Side *s, bool *owned)
{
    LedgeValue *b = ledge__node_in(s->node, 2);
    s->w = own_data(q, ledge__node_in(s->node, 1), owned);
    s->bias = b ? own_data(q, b, owned) : NULL;
    return s->w && (s->bias || !b);
}

/* ---- rescaling ---- */

static void largest_by(const Side *s, bool by_input, float *out)
{
    const int64_t n = by_input ? s->ins : s->outs;
    for (int64_t c = 0; c < n; c++)
        out[c] = 0;
    for (int64_t e = 0; e < s->count; e++) {
        float *most = &out[by_input ? in_of(s, e) : out_of(s, e)];
        const float v = fabsf(s->w[e]);
        *most = v > *most ? v : *most;
    }
}

/* Biases follow their channel. The scale that makes both sides equal: sqrt(r1 / r2). */
static double rescale(Pair *p, float *r1, float *r2)
{
    double most = 1;
    const int64_t n = p->first.outs;
    largest_by(&p->first, false, r1);
    largest_by(&p->second, true, r2);
    for (int64_t c = 0; c < n; c++) {
        const double ratio = r1[c] > 0 && r2[c] > 0 ? sqrt((double)r1[c] / (double)r2[c]) : 1;
        const double s = fmin(MOST_SCALE, fmax(1 / MOST_SCALE, ratio));
        r1[c] = (float)s;
        most = fmax(most, fmax(s, 1 / s));
    }
    for (int64_t e = 0; e < p->first.count; e++)
        p->first.w[e] /= r1[out_of(&p->first, e)];
    for (int64_t c = 0; p->first.bias && c < n; c++)
        p->first.bias[c] /= r1[c];
    for (int64_t e = 0; e < p->second.count; e++)
        p->second.w[e] *= r1[in_of(&p->second, e)];
    return most;
}

static LedgeStatus equalize(LedgeQuantizer *q, Pair *pairs, size_t n, int64_t channels,
                            LedgeError *err)
{
    float *r = ledge__alloc(q->allocator, 2 * (size_t)channels + 2, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    /* Neighbouring pairs share a layer, so it takes rounds until all are even. */
    for (int round = 0; round < ROUNDS; round++) {
        double most = 1;
        for (size_t i = 0; i < n; i++)
            most = fmax(most, rescale(&pairs[i], r, r + channels));
        if (most < 1.001)
            break;
    }
    ledge__free(q->allocator, r);
    return LEDGE_OK;
}

LedgeStatus ledge__quant_equalize(LedgeQuantizer *q, LedgeError *err, LedgeEqualized *out)
{
    LedgeEqualized result = {0};
    int64_t channels = 0;
    Pair *pairs = ledge__calloc(q->allocator, (size_t)q->n_nodes + 1, sizeof *pairs);
    bool *owned = ledge__calloc(q->allocator, (size_t)q->n_tensors + 1, sizeof *owned);
    LedgeStatus status = pairs && owned ? LEDGE_OK : ledge__no_memory(err);
    for (uint32_t i = 0; i < q->n_nodes && !status; i++) {
        Pair *p = &pairs[result.pairs];
        bool clipped = false;
        if (q->nodes[i].role == LEDGE_QUANT_WEIGHTED &&
            describe_pair(q->nodes[i].node, p, &clipped)) {
            channels = p->first.outs > channels ? p->first.outs : channels;
            result.pairs++;
            if (!own_side(q, &p->first, owned) || !own_side(q, &p->second, owned))
                status = ledge__no_memory(err);
        }
        result.clipped += clipped;
    }
    if (!status)
        status = equalize(q, pairs, result.pairs, channels, err);
    ledge__free(q->allocator, pairs);
    ledge__free(q->allocator, owned);
    if (!status)
        *out = result;
    return status;
}
