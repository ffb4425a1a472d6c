/* BatchNormalization (inference) with constant statistics, folded into the Conv,
 * ConvTranspose or Gemm before it, or into the Conv behind it when that adds no padding. A Conv
 * that ledge.Conv will take over is left to bn_split and const_affine, which need no copy of the
 * weights there. */
#include "engine/optimize/pass.h"

#include "engine/optimize/opt_bn.h"
#include "engine/optimize/opt_layout.h"

#include <math.h>

bool ledge__opt_bn_constants(const LedgeNode *n, int64_t *channels)
{
    if (!ledge__node_is(n, "BatchNormalization") || n->n_in != 5 || !n->out[0] || !n->in[0].value ||
        ledge__node_int(n, "training_mode", 0) || !ledge__node_int(n, "spatial", 1))
        return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i])
            return false;
    for (uint32_t i = 1; i < 5; i++) {
        const LedgeValue *v = n->in[i].value;
        if (!ledge__opt_float_constant(v) || v->t.rank != 1 ||
            v->t.dims[0] != n->in[1].value->t.dims[0])
            return false;
    }
    *channels = n->in[1].value->t.dims[0];
    return *channels > 0;
}

void ledge__opt_bn_affine(const LedgeNode *n, int64_t channels, double *scale, double *shift)
{
    double epsilon = (double)ledge__node_float(n, "epsilon", 1e-5f);
    for (int64_t i = 0; i < channels; i++) {
        double gamma = ledge__value_as_double(n->in[1].value, i);
        double beta = ledge__value_as_double(n->in[2].value, i);
        double mean = ledge__value_as_double(n->in[3].value, i);
        double variance = ledge__value_as_double(n->in[4].value, i);
        scale[i] = gamma / sqrt(variance + epsilon);
        shift[i] = beta - mean * scale[i];
    }
}

static bool is_finite(const double *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static LedgeStatus into_producer(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *bn, int64_t channels,
                                 const double *scale, const double *shift, bool *changed)
{
    LedgeValue *x = bn->in[0].value;
    LedgeOptWeighted w;
    if (!ledge__opt_single_use(x) || !x->producer || x->producer->domain[0] ||
        !ledge__opt_weighted(x->producer, &w) || w.channels != channels)
        return LEDGE_OK;
    LEDGE_TRY(ledge__opt_fold_affine(g, c, x->producer, &w, scale, shift));
    *changed = ledge__opt_bypass(g, bn, x);
    return LEDGE_OK;
}

static bool adds_no_padding(const LedgeNode *conv)
{
    const char *pad = ledge__node_string(conv, "auto_pad", "NOTSET");
    size_t count;
    const int64_t *pads = ledge__node_ints(conv, "pads", &count);
    for (size_t i = 0; i < count; i++)
        if (pads[i] != 0)
            return false;
    return strcmp(pad, "NOTSET") == 0 || strcmp(pad, "VALID") == 0;
}

/* Conv(x*scale + shift): each input channel's weights take its scale; what the shifts add up
 * to is a bias. */
static LedgeStatus scale_inputs(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *conv,
                                const LedgeOptWeighted *w, const double *scale, const double *shift,
                                double *addend)
{
    const LedgeTensor *t = &conv->in[1].value->t;
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, t->rank, t->dims, &data);
    if (!v)
        return ledge__no_memory(c->err);
    ledge__opt_copy_floats(conv->in[1].value, data);
    int64_t per_output = ledge_tensor_count(t) / t->dims[0], window = per_output / t->dims[1];
    int64_t outputs_per_group = t->dims[0] / ledge__node_int(conv, "group", 1);
    for (int64_t m = 0; m < t->dims[0]; m++) {
        int64_t first_in = m / outputs_per_group * t->dims[1];
        addend[m] = 0;
        for (int64_t k = 0; k < per_output; k++) {
            double x = (double)data[m * per_output + k];
            addend[m] += x * shift[first_in + k / window];
            data[m * per_output + k] = (float)(x * scale[first_in + k / window]);
        }
    }
    ledge__node_set_input(conv, 1, v);
    return ledge__opt_fold_affine(g, c, conv, w, NULL, addend);
}

static LedgeStatus into_reader(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *bn, int64_t channels,
                               const double *scale, const double *shift, bool *changed)
{
    LedgeNode *conv = ledge__value_only_reader(bn->out[0]);
    LedgeOptWeighted w;
    if (!ledge__node_is(conv, "Conv") || conv->in[0].value != bn->out[0] ||
        !adds_no_padding(conv) || !ledge__opt_weighted(conv, &w))
        return LEDGE_OK;
    const LedgeTensor *t = &conv->in[1].value->t;
    int64_t group = ledge__node_int(conv, "group", 1);
    if (ledge_tensor_count(t) <= 0 || group <= 0 || t->dims[0] % group ||
        t->dims[1] * group != channels)
        return LEDGE_OK;
    double *addend = ledge__arena_alloc(g->arena, (size_t)w.channels, sizeof *addend);
    if (!addend)
        return ledge__no_memory(c->err);
    LEDGE_TRY(scale_inputs(g, c, conv, &w, scale, shift, addend));
    *changed = ledge__opt_bypass(g, bn, bn->in[0].value);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_bn_fold(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        int64_t channels;
        bool done = false;
        if (!ledge__opt_bn_constants(n, &channels) ||
            (ledge__opt_single_use(n->in[0].value) &&
             ledge__layout_is_native(c, n->in[0].value->producer)))
            continue;
        double *scale = ledge__arena_alloc(g->arena, (size_t)channels, 2 * sizeof *scale);
        if (!scale)
            return ledge__no_memory(c->err);
        ledge__opt_bn_affine(n, channels, scale, scale + channels);
        if (!is_finite(scale, 2 * channels))
            continue;
        LEDGE_TRY(into_producer(g, c, n, channels, scale, scale + channels, &done));
        if (!done)
            LEDGE_TRY(into_reader(g, c, n, channels, scale, scale + channels, &done));
        *changed |= done;
    }
    return LEDGE_OK;
}
