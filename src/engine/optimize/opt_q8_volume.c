/* Conv over three spatial dimensions as one over two: the taps of the filter's depth become input
 * channels. Each output slice reads its few input slices side by side, [N, D, H, W, C] becoming
 * [N × OD, H, W, KD × C]; sums are the same, so are the bytes. */
#include "engine/optimize/opt_q8.h"

enum { MOST_SIZE = 1 << 12, MOST_TAPS = 16 };

/* Three numbers of attribute `name` from `first` on, `absent` where there is none. */
static bool triple(const LedgeNode *n, const char *name, size_t first, int64_t absent,
                   int64_t out[3])
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, name, &count);
    bool fits = true;
    for (size_t i = 0; i < 3; i++) {
        out[i] = v && first + i < count ? v[first + i] : absent;
        fits &= out[i] >= absent && out[i] <= MOST_SIZE;
    }
    return fits;
}

bool ledge__q8_volume(const LedgeNode *n, LedgeQ8Volume *u)
{
    const LedgeTensor *x = &n->in[0].value->t, *w = &n->in[1].value->t;
    int64_t s[3], d[3], begin[3], end[3], size[3];
    if (ledge__node_int(n, "group", 1) != 1 || x->dims[0] >= INT32_MAX || x->dims[1] < 1 ||
        x->dims[1] != w->dims[1] ||
        strcmp(ledge__node_string(n, "auto_pad", "NOTSET"), "NOTSET") != 0 ||
        !triple(n, "strides", 0, 1, s) || !triple(n, "dilations", 0, 1, d) ||
        !triple(n, "pads", 0, 0, begin) || !triple(n, "pads", 3, 0, end))
        return false;
    for (int i = 0; i < 3; i++) {
        const int64_t k = w->dims[2 + i], in = x->dims[2 + i];
        if (k < 1 || k > MOST_SIZE || in < 1 || in >= INT32_MAX)
            return false;
        const int64_t room = in + begin[i] + end[i] - (k - 1) * d[i] - 1;
        size[i] = room < 0 ? 0 : room / s[i] + 1;
    }
    *u = (LedgeQ8Volume){.taps = w->dims[2],
                         .step = s[0],
                         .dilation = d[0],
                         .before = begin[0],
                         .behind = end[0],
                         .strides = {s[1], s[2]},
                         .dilations = {d[1], d[2]},
                         .kernel = {w->dims[3], w->dims[4]},
                         .pads = {begin[1], begin[2], end[1], end[2]},
                         .out = {size[0], size[1], size[2]}};
    return u->taps <= MOST_TAPS && size[0] > 0 && size[1] > 0 && size[2] > 0;
}

/* [M, C, KD, KH, KW] as [M, KD × C, KH, KW]. */
LedgeValue *ledge__q8_volume_weights(LedgeGraph *g, const LedgeValue *w)
{
    const int64_t c = w->t.dims[1], taps = w->t.dims[2], plane = w->t.dims[3] * w->t.dims[4];
    LedgeTensor t = {.type = LEDGE_INT8,
                     .rank = 4,
                     .dims = {w->t.dims[0], taps * c, w->t.dims[3], w->t.dims[4]}};
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    int8_t *to = v ? v->t.data : NULL;
    for (int64_t m = 0; v && m < t.dims[0]; m++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t i = 0; i < c; i++, to += plane)
                memcpy(to, (const int8_t *)w->t.data + ((m * c + i) * taps + k) * plane,
                       (size_t)plane);
    return v;
}

bool ledge__q8_volume_attrs(LedgeGraph *g, const LedgeQ8Volume *u, LedgeNode *conv)
{
    return ledge__node_set_ints(g, conv, "kernel_shape", u->kernel, 2) &&
           ledge__node_set_ints(g, conv, "strides", u->strides, 2) &&
           ledge__node_set_ints(g, conv, "dilations", u->dilations, 2) &&
           ledge__node_set_ints(g, conv, "pads", u->pads, 4);
}

/* NDHWC with slices of zeros on either side. */
static LedgeValue *pad(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *x, int32_t zero,
                       LedgeNode *before)
{
    const int64_t pads[10] = {0, u->before, 0, 0, 0, 0, u->behind};
    LedgeTensor like = x->t;
    if (u->before == 0 && u->behind == 0)
        return x;
    like.dims[1] += u->before + u->behind;
    LedgeNode *n = ledge__opt_onnx(g, "Pad", 13, 3, &like, before);
    LedgeValue *list = ledge__opt_ints(g, NULL, pads, 10);
    LedgeValue *fill = ledge__q8_zero_value(g, LEDGE_UINT8, zero);
    if (!n || !list || !fill)
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, list);
    ledge__node_set_input(n, 2, fill);
    return n->out[0];
}

/* Every slice that tap `k` of the filter's depth reads. */
static LedgeValue *slices(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *x, int64_t k,
                          LedgeNode *before)
{
    const int64_t axis = 1, from = k * u->dilation, to = from + (u->out[0] - 1) * u->step + 1;
    LedgeTensor like = x->t;
    like.dims[1] = u->out[0];
    LedgeNode *n = ledge__opt_slice(g, x, &axis, 1, &from, &to, &u->step, &like, before);
    return n ? n->out[0] : NULL;
}

LedgeValue *ledge__q8_volume_input(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *x,
                                   int32_t zero, LedgeNode *before)
{
    static const int32_t last[] = {0, 2, 3, 4, 1};
    const int64_t flat[] = {-1, x->t.dims[3], x->t.dims[4], u->taps * x->t.dims[1]};
    LedgeNode *t = ledge__opt_transpose(g, x, last, before);
    x = t ? pad(g, u, t->out[0], zero, before) : NULL;
    if (!x)
        return NULL;
    LedgeTensor like = x->t;
    like.dims[1] = u->out[0];
    like.dims[4] = flat[3];
    LedgeNode *n = ledge__opt_onnx(g, "Concat", 4, (uint32_t)u->taps, &like, before);
    if (!n || !ledge__node_set_int(g, n, "axis", 4))
        return NULL;
    for (uint32_t k = 0; k < n->n_in; k++) {
        LedgeValue *v = slices(g, u, x, k, n);
        if (!v)
            return NULL;
        ledge__node_set_input(n, k, v);
    }
    like.rank = 4;
    memcpy(like.dims, flat, sizeof flat);
    like.dims[0] = x->t.dims[0] < 0 ? -1 : x->t.dims[0] * u->out[0];
    LedgeNode *r = ledge__opt_reshape(g, n->out[0], flat, 4, &like, before);
    return r ? r->out[0] : NULL;
}

LedgeNode *ledge__q8_volume_output(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *y,
                                   LedgeNode *before)
{
    static const int32_t first[] = {0, 4, 1, 2, 3};
    const int64_t whole[] = {-1, u->out[0], u->out[1], u->out[2], y->t.dims[3]};
    LedgeTensor like = y->t;
    like.rank = 5;
    memcpy(like.dims, whole, sizeof whole);
    like.dims[0] = y->t.dims[0] < 0 ? -1 : y->t.dims[0] / u->out[0];
    LedgeNode *r = ledge__opt_reshape(g, y, whole, 5, &like, before);
    return r ? ledge__opt_transpose(g, r->out[0], first, before) : NULL;
}
