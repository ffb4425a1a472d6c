/* ConvTranspose of bytes as a convolution of stride 1 with a block of pixels in each output.
 *
 * Output pixel s * q + a (s the stride, a < s, padding aside) sums x[q - t] * w[a + s * t] over t:
 * for each phase a an ordinary convolution. All phases read the same pixels, so they are one
 * convolution with s × s times the channels and filters of ceil(k / s), filled up with zeros;
 * its channels are then spread as blocks of pixels and what padding takes away is cropped. A
 * depthwise one reads each channel once for each phase, to be depthwise again. */
#include "engine/optimize/opt_q8.h"

enum {
    MOST_SIZE = 1 << 12, /* of filters, strides and pads: nothing overflows */
    MOST_ZEROS = 4,      /* times as many weights in each direction, most of them zeros */
    MOST_COPIES = 64     /* of the input, for a depthwise one */
};

static int64_t phases(const LedgeQ8Up *u)
{
    return u->block[0] * u->block[1];
}

/* Attribute `name` of direction `i` (rows, columns), `absent` where there is none; a 1-D node has
 * columns only, and `half` 1 takes the second half of a list of pads. */
static int64_t number(const LedgeNode *n, const char *name, int i, int half, int64_t absent)
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, name, &count);
    const size_t nd = (size_t)n->in[1].value->t.rank - 2;
    if (nd == 1 && i == 0)
        return absent;
    const size_t at = (size_t)half * nd + (nd == 1 ? 0 : (size_t)i);
    return v && at < count ? v[at] : absent;
}

static bool open_direction(const LedgeNode *n, int i, LedgeQ8Up *u)
{
    const LedgeTensor *x = &n->in[0].value->t, *w = &n->in[1].value->t;
    const bool flat = w->rank == 3 && i == 0;
    const int64_t k = flat ? 1 : w->dims[w->rank - 2 + i], s = number(n, "strides", i, 0, 1);
    const int64_t dilation = number(n, "dilations", i, 0, 1), pad = number(n, "pads", i, 0, 0);
    const int64_t end = number(n, "pads", i, 1, 0), more = number(n, "output_padding", i, 0, 0);
    if (k < 1 || k > MOST_SIZE || s < 1 || s > MOST_SIZE || dilation < 1 || dilation > MOST_SIZE ||
        pad < 0 || pad > MOST_SIZE || end < 0 || end > MOST_SIZE || more < 0 || more > MOST_SIZE ||
        (s > 1 && dilation > 1))
        return false;
    const int64_t taps = (k + s - 1) / s, reach = s > 1 ? taps : (k - 1) * dilation + 1;
    /* pixels from the block of the last input's first pixel on, and the blocks that hold them */
    const int64_t rest = pad % s + (k - 1) * dilation + 1 + more - pad - end;
    const int64_t blocks = rest > 0 ? (rest + s - 1) / s : -(-rest / s);
    const int64_t in = flat ? 1 : x->dims[w->rank - 2 + i];
    u->kernel[i] = k;
    u->block[i] = s;
    u->taps[i] = taps;
    u->dilations[i] = dilation;
    u->pads[i] = reach - 1 - pad / s;
    u->pads[2 + i] = reach - 2 - u->pads[i] + blocks;
    u->crop[i] = pad % s;
    u->crop[2 + i] = s * blocks - rest;
    u->out[i] = in + u->pads[i] + u->pads[2 + i] - reach + 1;
    return taps * s <= MOST_ZEROS * k && in > 0 && in < INT32_MAX && u->pads[i] >= 0 &&
           u->pads[2 + i] >= 0 && u->out[i] > 0;
}

bool ledge__q8_up(const LedgeNode *n, LedgeQ8Up *u)
{
    const LedgeTensor *w = &n->in[1].value->t;
    u->group = ledge__node_int(n, "group", 1);
    if (ledge__node_attr(n, "output_shape") ||
        strcmp(ledge__node_string(n, "auto_pad", "NOTSET"), "NOTSET") != 0 ||
        n->in[0].value->t.dims[0] >= INT32_MAX || w->dims[0] < 1 || w->dims[1] < 1 ||
        u->group < 1 || w->dims[0] % u->group)
        return false;
    u->own = w->dims[1];
    u->depthwise = u->group == w->dims[0] && u->own == 1 && u->group > 1;
    if (u->depthwise) { /* all its channels are one group's, as far as their order goes */
        u->own = u->group;
        u->group = 1;
    }
    return open_direction(n, 0, u) && open_direction(n, 1, u) &&
           u->own * u->group < INT32_MAX / phases(u) && (!u->depthwise || phases(u) <= MOST_COPIES);
}

/* The channel of the ConvTranspose that channel `i` of the convolution belongs to: of a group all
 * phases stand together. */
static int64_t channel(const LedgeQ8Up *u, int64_t i)
{
    return i / (phases(u) * u->own) * u->own + i % u->own;
}

/* Weights [C, own, kh, kw] as [group × phases × own, C / group, taps, taps]. */
static LedgeValue *split_weights(LedgeGraph *g, const LedgeQ8Up *u, const LedgeQ8Weights *w)
{
    const int64_t cg = u->depthwise ? 1 : w->w->t.dims[0] / u->group, kh = u->kernel[0],
                  kw = u->kernel[1];
    LedgeTensor t = {.type = LEDGE_INT8,
                     .rank = 4,
                     .dims = {u->group * phases(u) * u->own, cg, u->taps[0], u->taps[1]}};
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    int8_t *to = v ? v->t.data : NULL;
    const int8_t *from = w->w->t.data;
    for (int64_t i = 0; v && i < t.dims[0]; i++) {
        const int64_t phase = i / u->own % phases(u), group = i / (phases(u) * u->own);
        const int64_t a = phase / u->block[1], b = phase % u->block[1];
        const int64_t none = w->zero ? w->zero[w->n == 1 ? 0 : channel(u, i)] : 0;
        for (int64_t c = 0; c < cg; c++)
            for (int64_t ty = t.dims[2] - 1; ty >= 0; ty--) /* from the last pixel to the first */
                for (int64_t tx = t.dims[3] - 1; tx >= 0; tx--) {
                    const int64_t y = a + u->block[0] * ty, x = b + u->block[1] * tx;
                    const int64_t at = ((group * cg + c) * u->own + i % u->own) * kh * kw;
                    *to++ = y < kh && x < kw ? from[at + y * kw + x] : (int8_t)none;
                }
    }
    return v;
}

/* Four bytes for each channel become as many for each channel of the convolution. */
static LedgeValue *repeat(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *v)
{
    LedgeTensor t = v->t;
    t.dims[0] = u->group * phases(u) * u->own;
    t.data = NULL;
    t.bytes = 0;
    LedgeValue *made = ledge__value_constant(g, NULL, &t, false);
    for (int64_t i = 0; made && i < t.dims[0]; i++)
        memcpy((char *)made->t.data + 4 * i, (const char *)v->t.data + 4 * channel(u, i), 4);
    return made;
}

bool ledge__q8_up_groups(LedgeGraph *g, const LedgeQ8Up *u, LedgeQ8Weights *w)
{
    const int64_t n = u->own * u->group;
    if (w->n == 1 || w->n == n)
        return true;
    float *scale = ledge__arena_alloc(g->arena, (size_t)n, sizeof *scale);
    int64_t *zero = w->zero ? ledge__arena_alloc(g->arena, (size_t)n, sizeof *zero) : NULL;
    if (!scale || (w->zero && !zero))
        return false;
    for (int64_t i = 0; i < n; i++) {
        scale[i] = w->scale[i % w->n];
        if (zero)
            zero[i] = w->zero[i % w->n];
    }
    w->scale = scale;
    w->zero = zero;
    w->n = n;
    return true;
}

bool ledge__q8_up_constants(LedgeGraph *g, const LedgeQ8Up *u, LedgeQ8Weights *w,
                            LedgeValue **scale, LedgeValue **bias)
{
    const int64_t n = w->n == 1 ? 1 : u->group * phases(u) * u->own;
    int64_t *zero = w->zero ? ledge__arena_alloc(g->arena, (size_t)n, sizeof *zero) : NULL;
    LedgeValue *made = split_weights(g, u, w), *more = *bias ? repeat(g, u, *bias) : NULL;
    *scale = n == 1 ? *scale : repeat(g, u, *scale);
    if (!made || !*scale || (*bias && !more) || (w->zero && !zero))
        return false;
    for (int64_t i = 0; zero && i < n; i++)
        zero[i] = w->zero[n == 1 ? 0 : channel(u, i)];
    *w = (LedgeQ8Weights){.w = made, .dq = w->dq, .n = n, .zero = zero};
    *bias = more;
    return true;
}

LedgeValue *ledge__q8_up_input(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *x, LedgeNode *before)
{
    LedgeTensor like = x->t;
    if (!u->depthwise || phases(u) == 1)
        return x;
    like.dims[3] *= phases(u);
    LedgeNode *n = ledge__opt_onnx(g, "Concat", 4, (uint32_t)phases(u), &like, before);
    if (!n || !ledge__node_set_int(g, n, "axis", 3))
        return NULL;
    for (uint32_t i = 0; i < n->n_in; i++)
        ledge__node_set_input(n, i, x);
    return n->out[0];
}

bool ledge__q8_up_attrs(LedgeGraph *g, const LedgeQ8Up *u, LedgeNode *conv)
{
    return ledge__node_set_ints(g, conv, "kernel_shape", u->taps, 2) &&
           ledge__node_set_ints(g, conv, "dilations", u->dilations, 2) &&
           ledge__node_set_ints(g, conv, "pads", u->pads, 4) &&
           ledge__node_set_int(g, conv, "group", u->depthwise ? u->own * phases(u) : u->group);
}

static LedgeValue *crop(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *x, LedgeNode *before)
{
    LedgeTensor like = x->t;
    const int64_t *c = u->crop, axes[] = {1, 2};
    const int64_t ends[] = {like.dims[1] - c[2], like.dims[2] - c[3]};
    if (!(c[0] | c[1] | c[2] | c[3]))
        return x;
    like.dims[1] = ends[0] - c[0];
    like.dims[2] = ends[1] - c[1];
    LedgeNode *n = ledge__opt_slice(g, x, axes, 2, c, ends, NULL, &like, before);
    return n ? n->out[0] : NULL;
}

LedgeValue *ledge__q8_up_spread(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *y, LedgeNode *before)
{
    static const int32_t perm[] = {0, 3, 1, 4, 2, 5};
    const int64_t rows = u->out[0], columns = u->out[1], bh = u->block[0], bw = u->block[1];
    const int64_t n = y->t.dims[0];
    const int64_t split[] = {-1, columns, u->group, bh, bw, u->own};
    const int64_t whole[] = {-1, rows * bh, columns * bw, u->group * u->own};
    LedgeTensor like = y->t;
    if (phases(u) == 1)
        return crop(g, u, y, before);
    like.rank = 6;
    memcpy(like.dims, split, sizeof split);
    like.dims[0] = n < 0 ? -1 : n * rows;
    LedgeNode *r = ledge__opt_reshape(g, y, split, 6, &like, before);
    LedgeNode *t = r ? ledge__opt_transpose(g, r->out[0], perm, before) : NULL;
    like.rank = 4;
    memcpy(like.dims, whole, sizeof whole);
    like.dims[0] = n;
    r = t ? ledge__opt_reshape(g, t->out[0], whole, 4, &like, before) : NULL;
    return r ? crop(g, u, r->out[0], before) : NULL;
}
