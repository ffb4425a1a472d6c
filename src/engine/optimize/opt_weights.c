/* Factors and addends per output channel, folded into the weights and bias of Conv,
 * ConvTranspose, Gemm and the internal Conv and Gemm. Reckoned in double, rounded once. */
#include "engine/optimize/pass.h"

static bool has_bias_of(const LedgeNode *n, uint32_t i, int64_t channels)
{
    const LedgeValue *b = ledge__node_in(n, i);
    return !b || (ledge__opt_float_constant(b) && ledge_tensor_count(&b->t) == channels &&
                  (b->t.rank == 1 || b->t.dims[b->t.rank - 1] == channels));
}

static bool is_plain_internal(const LedgeNode *n)
{
    bool conv = ledge__node_is_ledge(n, "Conv");
    return strcmp(ledge__node_string(n, "act", "none"), "none") == 0 && !ledge__node_in(n, 3) &&
           !(conv && ledge__node_in(n, 4));
}

bool ledge__opt_weighted(const LedgeNode *n, LedgeOptWeighted *w)
{
    const LedgeValue *weights = ledge__node_in(n, 1);
    if (!ledge__opt_float_constant(weights))
        return false;
    const LedgeTensor *t = &weights->t;
    bool internal_conv = ledge__node_is_ledge(n, "Conv"), gemm = ledge__node_is(n, "Gemm"),
         internal_gemm = ledge__node_is_ledge(n, "Gemm");
    w->bias = 2;
    w->axis = 1;
    if ((internal_conv || internal_gemm) && !is_plain_internal(n))
        return false;
    if ((ledge__node_is(n, "Conv") || internal_conv) && t->rank >= 3)
        w->channels = t->dims[0];
    else if (ledge__node_is(n, "ConvTranspose") && t->rank >= 3)
        w->channels = t->dims[1] * ledge__node_int(n, "group", 1);
    else if ((gemm || internal_gemm) && t->rank == 2)
        w->channels = t->dims[ledge__node_int(n, "transB", 0) ? 0 : 1];
    else
        return false;
    if (internal_conv || internal_gemm)
        w->axis = n->out[0]->t.rank - 1;
    if (w->axis < 0 || (gemm && ledge__node_float(n, "beta", 1) != 1))
        return false;
    w->plain_bias = has_bias_of(n, 2, w->channels);
    return w->channels > 0 && w->plain_bias;
}

/* Output channel that element i of the weights belongs to. */
typedef struct ChannelMap {
    int64_t inner;                     /* elements in a row that share their output channel */
    int64_t channels;                  /* channels a period */
    int64_t group_elements, per_group; /* ConvTranspose with groups */
} ChannelMap;

static ChannelMap channel_map(const LedgeNode *n, const LedgeOptWeighted *w)
{
    const LedgeTensor *t = &n->in[1].value->t;
    int64_t count = ledge_tensor_count(t);
    ChannelMap m = {count / w->channels, w->channels, count, 0};
    if (ledge__node_is(n, "ConvTranspose")) {
        int64_t groups = ledge__node_int(n, "group", 1);
        m.channels = m.per_group = t->dims[1];
        m.inner = t->dims[0] && t->dims[1] ? count / (t->dims[0] * t->dims[1]) : 1;
        m.group_elements = groups > 0 ? count / groups : count;
    } else if (strcmp(n->op_type, "Gemm") == 0 && !ledge__node_int(n, "transB", 0)) {
        m.inner = 1;
    }
    return m;
}

static void scale_elements(float *x, int64_t count, const ChannelMap *m, const double *scale)
{
    for (int64_t i = 0; i < count; i += m->inner) {
        int64_t ch = i / m->inner % m->channels + i / m->group_elements * m->per_group;
        for (int64_t k = 0; k < m->inner; k++)
            x[i + k] = (float)((double)x[i + k] * scale[ch]);
    }
}

/* ledge.Conv multiplies its weights when it packs them: no copy stays in the graph. */
static LedgeStatus set_scale(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, int64_t channels,
                             const double *scale)
{
    size_t count;
    const float *old = ledge__node_floats(n, "w_scale", &count);
    float *v = ledge__arena_alloc(g->arena, (size_t)channels, sizeof *v);
    for (int64_t i = 0; v && i < channels; i++)
        v[i] = (float)(scale[i] * (old ? (double)old[i] : 1));
    return v && ledge__node_set_floats(g, n, "w_scale", v, (size_t)channels)
               ? LEDGE_OK
               : ledge__no_memory(c->err);
}

static LedgeStatus fold_weights(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n,
                                const LedgeOptWeighted *w, const double *scale)
{
    const LedgeValue *old = n->in[1].value;
    int64_t count = ledge_tensor_count(&old->t);
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, old->t.rank, old->t.dims, &data);
    if (!v)
        return ledge__no_memory(c->err);
    ledge__opt_copy_floats(old, data);
    if (count > 0) {
        ChannelMap m = channel_map(n, w);
        scale_elements(data, count, &m, scale);
    }
    if (g->onnx)
        ledge__onnx_release_pages(g->onnx, old->t.data, (size_t)count * sizeof(float));
    ledge__node_set_input(n, 1, v);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_fold_affine(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n,
                                   const LedgeOptWeighted *w, const double *scale,
                                   const double *shift)
{
    if (scale && ledge__node_is_ledge(n, "Conv"))
        LEDGE_TRY(set_scale(g, c, n, w->channels, scale));
    else if (scale)
        LEDGE_TRY(fold_weights(g, c, n, w, scale));
    const LedgeValue *old = ledge__node_in(n, w->bias);
    if (!old && !shift)
        return LEDGE_OK;
    float *bias;
    LedgeValue *b = ledge__opt_floats(g, NULL, 1, &w->channels, &bias);
    if (!b)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < w->channels; i++) {
        double x = old ? ledge__value_as_double(old, i) : 0;
        bias[i] = (float)(x * (scale ? scale[i] : 1) + (shift ? shift[i] : 0));
    }
    while (n->n_in <= w->bias) {
        if (!ledge__node_add_input(g, n, NULL))
            return ledge__no_memory(c->err);
        n->n_explicit = n->n_in;
    }
    ledge__node_set_input(n, w->bias, b);
    return LEDGE_OK;
}

bool ledge__opt_per_channel(const LedgeValue *v, int32_t rank, int32_t axis, int64_t channels,
                            double *out)
{
    if (!ledge__opt_float_constant(v) || v->t.rank > rank)
        return false;
    int64_t count = ledge_tensor_count(&v->t);
    if (count != 1 && count != channels)
        return false;
    int32_t at = axis - (rank - v->t.rank);
    if (count != 1 && (at < 0 || v->t.dims[at] != channels))
        return false;
    for (int64_t i = 0; i < channels; i++)
        out[i] = ledge__value_as_double(v, count == 1 ? 0 : i);
    return true;
}
