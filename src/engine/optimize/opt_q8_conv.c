/* Conv and ConvTranspose of bytes by constant 8-bit weights become ledge.QConv: with clamps and
 * QuantizeLinear behind it where there are any, else with a float result. ledge.QConv works in
 * NHWC: a Transpose stands on either side until the layout pass takes it away. */
#include "engine/kernels/conv_q8.h"
#include "engine/optimize/opt_layout.h"
#include "engine/optimize/opt_q8.h"

typedef struct Match {
    LedgeNode *conv;
    LedgeQ8 x;
    LedgeQ8Weights w;
    LedgeValue *scale, *bias;
    bool transposed, volume;
    LedgeQ8Up up;
    LedgeQ8Volume vol;
} Match;

static bool is_conv(const LedgeNode *n)
{
    return n && (ledge__node_is(n, "Conv") || ledge__node_is(n, "ConvTranspose"));
}

/* Whether the node's shapes and attributes are such as are served. */
static bool open_node(LedgeNode *n, Match *m)
{
    const LedgeValue *w = ledge__node_in(n, 1);
    if (!is_conv(n) || n->n_out != 1 || !n->out[0] || !w ||
        !ledge__q8_read(ledge__node_in(n, 0), &m->x) || ledge__value_is_constant(m->x.v) ||
        w->t.rank != m->x.v->t.rank || w->t.rank < 3 || w->t.rank > 5)
        return false;
    m->conv = n;
    m->transposed = ledge__node_is(n, "ConvTranspose");
    m->volume = w->t.rank == 5;
    if (m->transposed)
        return !m->volume && ledge__q8_up(n, &m->up);
    return !m->volume || ledge__q8_volume(n, &m->vol);
}

/* Weights, scale and bias as the convolution over two dimensions takes them. */
static LedgeStatus shape_constants(LedgeGraph *g, LedgeOptCtx *c, Match *m)
{
    if (m->transposed && !ledge__q8_up_constants(g, &m->up, &m->w, &m->scale, &m->bias))
        return ledge__no_memory(c->err);
    if (m->volume)
        m->w.w = ledge__q8_volume_weights(g, m->w.w);
    return m->w.w ? LEDGE_OK : ledge__no_memory(c->err);
}

/* Whether all can be had; makes the constants. */
static LedgeStatus match(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, float y_scale, Match *m,
                         bool *ok)
{
    *ok = open_node(n, m);
    if (!*ok)
        return LEDGE_OK;
    const LedgeValue *w = n->in[1].value;
    const int32_t axis = m->transposed ? 1 : 0;
    LEDGE_TRY(ledge__q8_weights(g, c, w, axis, w->t.dims[axis], &m->w, ok));
    if (*ok && m->transposed && !ledge__q8_up_groups(g, &m->up, &m->w))
        return ledge__no_memory(c->err);
    if (*ok)
        LEDGE_TRY(ledge__q8_scales(g, c, &m->w, m->x.scale, y_scale, &m->scale, ok));
    if (*ok)
        LEDGE_TRY(ledge__q8_bias(g, c, ledge__node_in(n, 2), 1, &m->w, m->x.scale,
                                 m->transposed ? m->up.own * m->up.group : w->t.dims[0], &m->bias,
                                 ok));
    return *ok ? shape_constants(g, c, m) : LEDGE_OK;
}

/* The same bytes as an image of height 1. */
static LedgeValue *with_height(LedgeGraph *g, LedgeValue *v)
{
    LedgeTensor t = v->t;
    t.rank = 4;
    t.dims[3] = t.dims[2];
    t.dims[2] = 1;
    return ledge__value_constant(g, NULL, &t, false);
}

/* The NHWC form of the input. */
static LedgeValue *input(LedgeGraph *g, const Match *m, LedgeNode *before)
{
    static const int64_t up[] = {0, 0, 1, -1};
    LedgeValue *x = m->x.v;
    if (m->volume)
        return ledge__q8_volume_input(g, &m->vol, x, m->x.zero, before);
    if (x->t.rank == 3) {
        LedgeTensor like = x->t;
        like.rank = 4;
        like.dims[3] = like.dims[2];
        like.dims[2] = 1;
        LedgeNode *r = ledge__opt_reshape(g, x, up, 4, &like, before);
        if (!r)
            return NULL;
        x = r->out[0];
    }
    LedgeNode *t = ledge__opt_transpose(g, x, ledge__to_nhwc, before);
    x = t ? t->out[0] : NULL;
    return x && m->transposed ? ledge__q8_up_input(g, &m->up, x, before) : x;
}

/* The result in the order and shape of `like`, which the Conv or the QuantizeLinear gave. */
static LedgeNode *output(LedgeGraph *g, const Match *m, LedgeValue *y, const LedgeTensor *like,
                         LedgeNode *before)
{
    static const int64_t down[] = {0, 0, -1};
    if (m->volume)
        return ledge__q8_volume_output(g, &m->vol, y, before);
    if (m->transposed)
        y = ledge__q8_up_spread(g, &m->up, y, before);
    LedgeNode *t = y ? ledge__opt_transpose(g, y, ledge__to_nchw, before) : NULL;
    if (!t || m->x.v->t.rank == 4)
        return t;
    LedgeTensor flat = t->out[0]->t;
    flat.rank = 3;
    flat.dims[2] = like->rank == 3 ? like->dims[2] : -1;
    return ledge__opt_reshape(g, t->out[0], down, 3, &flat, before);
}

static bool set_attrs(LedgeGraph *g, const Match *m, LedgeNode *made)
{
    return m->transposed ? ledge__q8_up_attrs(g, &m->up, made)
           : m->volume   ? ledge__q8_volume_attrs(g, &m->vol, made)
                         : ledge__layout_conv_attrs(g, m->conv, made);
}

/* While the weights are here, a convolution that Winograd serves says whether it is exact. */
static bool set_small_sums(LedgeGraph *g, const LedgeQ8Weights *weights, LedgeNode *made)
{
    const LedgeTensor *w = &weights->w->t;
    if (w->rank != 4 || w->dims[2] != 3 || w->dims[3] != 3 || weights->zero ||
        ledge__node_int(made, "group", 1) != 1 || !ledge__opt_all_are(made, "strides", 1) ||
        !ledge__opt_all_are(made, "dilations", 1))
        return true;
    const size_t each = (size_t)w->dims[1] * 9;
    return !ledge__conv_q8_wino_exact(w->data, (size_t)w->dims[0], each) ||
           ledge__node_set_int(g, made, "small_sums", 1);
}

static LedgeNode *new_conv(LedgeGraph *g, const Match *m, const LedgeTensor *out, LedgeType type,
                           LedgeNode *before)
{
    LedgeTensor like = {.type = type, .rank = 4, .dims = {-1, -1, -1, m->w.w->t.dims[0]}};
    if (out->rank == 4) {
        like.dims[0] = out->dims[0];
        like.dims[1] = out->dims[2];
        like.dims[2] = out->dims[3];
    } else if (out->rank == 3) {
        like.dims[0] = out->dims[0];
        like.dims[1] = 1;
        like.dims[2] = out->dims[2];
    }
    if (m->transposed || m->volume)
        memcpy(like.dims + 1, m->volume ? m->vol.out + 1 : m->up.out, 2 * sizeof like.dims[0]);
    if (m->volume)
        like.dims[0] = m->x.v->t.dims[0] < 0 ? -1 : m->x.v->t.dims[0] * m->vol.out[0];
    LedgeValue *w = m->w.w->t.rank == 4 ? m->w.w : with_height(g, m->w.w);
    LedgeValue *x = input(g, m, before);
    LedgeNode *made = w && x ? ledge__opt_internal(g, "QConv", 6, &like, before) : NULL;
    if (!made || !set_attrs(g, m, made) || !ledge__node_set_int(g, made, "x_zero", m->x.zero) ||
        (m->w.zero && !ledge__node_set_ints(g, made, "w_zero", m->w.zero, (size_t)m->w.n)) ||
        !set_small_sums(g, &m->w, made))
        return NULL;
    made->name = m->conv->name;
    ledge__node_set_input(made, 0, x);
    ledge__node_set_input(made, 1, w);
    ledge__node_set_input(made, 2, m->bias);
    ledge__node_set_input(made, 3, m->scale);
    return made;
}

static LedgeStatus to_bytes(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *q, bool *changed)
{
    LedgeQ8Tail t;
    Match m;
    bool ok;
    if (!ledge__q8_tail(q, &t) || !ledge__opt_single_use(t.x) || !is_conv(t.x->producer))
        return LEDGE_OK;
    LEDGE_TRY(match(g, c, t.x->producer, t.y.scale, &m, &ok));
    if (!ok)
        return LEDGE_OK;
    LedgeNode *made = new_conv(g, &m, &t.x->t, LEDGE_UINT8, q);
    if (!made || !ledge__q8_set_output(g, made, &t))
        return ledge__no_memory(c->err);
    LedgeNode *last = output(g, &m, made->out[0], &t.x->t, q);
    if (!last)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, last, q);
    *changed = true;
    return LEDGE_OK;
}

static LedgeStatus to_float(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    Match m;
    bool ok;
    LEDGE_TRY(match(g, c, n, 1, &m, &ok));
    if (!ok)
        return LEDGE_OK;
    LedgeNode *made = new_conv(g, &m, &n->out[0]->t, LEDGE_FLOAT, n);
    LedgeNode *last = made && ledge__node_set_int(g, made, "to_float", 1)
                          ? output(g, &m, made->out[0], &n->out[0]->t, n)
                          : NULL;
    if (!last)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, last, n);
    *changed = true;
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_conv(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QConv"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) { /* first those with a QuantizeLinear */
        next = n->next;
        if (ledge__node_is(n, "QuantizeLinear"))
            LEDGE_TRY(to_bytes(g, c, n, changed));
    }
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (is_conv(n))
            LEDGE_TRY(to_float(g, c, n, changed));
    }
    return LEDGE_OK;
}
