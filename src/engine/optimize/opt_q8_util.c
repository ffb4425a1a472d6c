/* Bytes as real numbers: scales, zero points and constants of quantized graphs. */
#include "engine/optimize/opt_q8.h"

#include <float.h>
#include <math.h>

bool ledge__q8_scale_is_sound(float scale)
{
    return scale >= FLT_MIN && scale <= 1e30f; /* as the operators over bytes take them */
}

bool ledge__q8_params(const LedgeNode *n, LedgeType type, LedgeQ8 *q)
{
    double scale, zero = 0;
    const LedgeValue *s = ledge__node_in(n, 1), *z = ledge__node_in(n, 2);
    if (!s || s->t.type != LEDGE_FLOAT || !ledge__opt_scalar(s, &scale) ||
        (z && (z->t.type != type || !ledge__opt_scalar(z, &zero))) ||
        ledge__node_int(n, "block_size", 0) != 0 ||
        ledge__node_int(n, "precision", LEDGE_FLOAT) != LEDGE_FLOAT ||
        !ledge__q8_scale_is_sound((float)scale))
        return false;
    q->scale = (float)scale;
    q->zero = (int32_t)zero;
    return true;
}

bool ledge__q8_read(const LedgeValue *v, LedgeQ8 *q)
{
    const LedgeNode *n = ledge__opt_made_by(v, "DequantizeLinear");
    LedgeQ8 r = {.v = n ? ledge__node_in(n, 0) : NULL};
    if (!r.v || r.v->t.type != LEDGE_UINT8 || v->t.type != LEDGE_FLOAT ||
        !ledge__q8_params(n, LEDGE_UINT8, &r))
        return false;
    *q = r;
    return true;
}

bool ledge__q8_write(const LedgeNode *n, LedgeQ8 *q)
{
    if (!ledge__node_is(n, "QuantizeLinear") || !n->in[0].value || !n->out[0] ||
        n->in[0].value->t.type != LEDGE_FLOAT || n->out[0]->t.type != LEDGE_UINT8 ||
        !ledge__q8_params(n, LEDGE_UINT8, q))
        return false;
    q->v = n->out[0];
    return true;
}

/* ---- clamps before a QuantizeLinear ---- */

/* Bounds of a node that only clamps its input 0 (or the input that is no constant). */
static LedgeValue *clamped(const LedgeNode *n, double *low, double *high)
{
    double k;
    *low = -INFINITY;
    *high = INFINITY;
    if (ledge__node_is(n, "Relu")) {
        *low = 0;
        return n->in[0].value;
    }
    if (ledge__node_is(n, "Clip"))
        return ledge__opt_clip_bounds(n, low, high) && *low <= *high ? n->in[0].value : NULL;
    bool max = ledge__node_is(n, "Max");
    if (!max && !ledge__node_is(n, "Min"))
        return NULL;
    int side = ledge__opt_scalar_side(n, &k);
    if (side < 0 || isnan(k))
        return NULL;
    *(max ? low : high) = k;
    return n->in[1 - side].value;
}

static double between(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static int32_t byte_of(double x, const LedgeQ8 *q)
{
    float f = (float)x / q->scale;
    f = f < -1000 ? -1000 : f > 1000 ? 1000 : f;
    return (int32_t)between((double)nearbyintf(f) + q->zero, 0, 255);
}

bool ledge__q8_tail(LedgeNode *quantize, LedgeQ8Tail *t)
{
    if (!ledge__q8_write(quantize, &t->y))
        return false;
    double low = -INFINITY, high = INFINITY, l, h;
    t->quantize = quantize;
    t->x = quantize->in[0].value;
    while (ledge__opt_single_use(t->x) && t->x->producer) {
        LedgeValue *x = clamped(t->x->producer, &l, &h);
        if (!x || x->t.type != LEDGE_FLOAT || x->t.rank < 0 || x->t.rank != t->x->t.rank)
            break;
        double new_low = between(l, low, high);
        high = between(h, low, high);
        low = new_low;
        t->x = x;
    }
    t->lo = low == -INFINITY ? 0 : byte_of(low, &t->y);
    t->hi = high == INFINITY ? 255 : byte_of(high, &t->y);
    return true;
}

/* ---- weights ---- */

static bool is_weight_type(LedgeType t)
{
    return t == LEDGE_INT8 || t == LEDGE_UINT8 || t == LEDGE_INT4 || t == LEDGE_UINT4;
}

/* One number, or one for each of `channels`. */
static bool is_list(const LedgeValue *v, int64_t channels)
{
    int64_t n = ledge_tensor_count(&v->t);
    return ledge__value_is_constant(v) && (n == 1 || (n == channels && v->t.rank == 1));
}

static bool scales_fit(const LedgeNode *dq, int32_t axis, int64_t channels)
{
    const LedgeValue *w = dq->in[0].value, *s = ledge__node_in(dq, 1), *z = ledge__node_in(dq, 2);
    if (!s || s->t.type != LEDGE_FLOAT || !is_list(s, channels) || (z && !is_list(z, channels)) ||
        (z && ledge_tensor_count(&z->t) != ledge_tensor_count(&s->t)) ||
        ledge__node_int(dq, "block_size", 0) != 0 || dq->out[0]->t.type != LEDGE_FLOAT)
        return false;
    return ledge_tensor_count(&s->t) == 1 ||
           ledge__opt_axis(ledge__node_int(dq, "axis", 1), w->t.rank) == axis;
}

static int64_t middle(LedgeType t)
{
    return t == LEDGE_UINT8 ? 128 : t == LEDGE_UINT4 ? 8 : 0;
}

/* The constant as int8: less its zero points, or, where `whole`, with them, moved from the middle of
 * an unsigned range to 0. *fits false where a result is no int8. */
static LedgeValue *as_int8(LedgeGraph *g, const LedgeValue *w, const LedgeValue *zero,
                           int32_t axis, bool whole, bool *fits)
{
    LedgeTensor t = w->t;
    int64_t inner = 1, count = ledge_tensor_count(&t), zeros = ledge_tensor_count(&zero->t);
    t.type = LEDGE_INT8;
    t.data = NULL;
    t.bytes = 0;
    for (int32_t d = axis + 1; d < t.rank; d++)
        inner *= t.dims[d];
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    *fits = true;
    for (int64_t i = 0; v && i < count; i++) {
        int64_t channel = zeros == 1 ? 0 : i / inner % t.dims[axis];
        int64_t x = ledge__value_as_int(w, i) -
                    (whole ? middle(w->t.type) : ledge__value_as_int(zero, channel));
        *fits &= x >= -128 && x <= 127;
        ((int8_t *)v->t.data)[i] = (int8_t)(x < -128 ? -128 : x > 127 ? 127 : x);
    }
    return v;
}

static bool all_zero(const LedgeValue *zero)
{
    for (int64_t i = 0; zero && i < ledge_tensor_count(&zero->t); i++)
        if (ledge__value_as_int(zero, i) != 0)
            return false;
    return true;
}

static LedgeStatus read_scales(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *s,
                               LedgeQ8Weights *w, bool *ok)
{
    w->n = ledge_tensor_count(&s->t);
    float *scale = ledge__arena_alloc(g->arena, (size_t)w->n, sizeof *scale);
    if (!scale)
        return ledge__no_memory(c->err);
    ledge__opt_copy_floats(s, scale);
    for (int64_t i = 0; i < w->n; i++)
        *ok &= ledge__q8_scale_is_sound(scale[i]);
    w->scale = scale;
    return LEDGE_OK;
}

/* Weights whose zero points cannot be taken off keep them. */
static LedgeStatus keep_zeros(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *x,
                              const LedgeValue *zero, LedgeQ8Weights *w)
{
    bool fits;
    int64_t *zeros = ledge__arena_alloc(g->arena, (size_t)w->n, sizeof *zeros);
    w->w = as_int8(g, x, zero, 0, true, &fits);
    if (!w->w || !zeros)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < w->n; i++)
        zeros[i] = ledge__value_as_int(zero, i) - middle(x->t.type);
    w->zero = zeros;
    return LEDGE_OK;
}

LedgeStatus ledge__q8_weights(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *v, int32_t axis,
                              int64_t channels, LedgeQ8Weights *w, bool *ok)
{
    LedgeNode *dq = ledge__opt_made_by(v, "DequantizeLinear");
    LedgeValue *x = dq ? ledge__node_in(dq, 0) : NULL, *zero = dq ? ledge__node_in(dq, 2) : NULL;
    *ok = x && ledge__value_is_constant(x) && is_weight_type(x->t.type) && axis < x->t.rank &&
          channels > 0 && x->t.dims[axis] == channels && ledge_tensor_count(&x->t) > 0 &&
          scales_fit(dq, axis, channels);
    if (!*ok)
        return LEDGE_OK;
    *w = (LedgeQ8Weights){.dq = dq};
    LEDGE_TRY(read_scales(g, c, dq->in[1].value, w, ok));
    w->w = x;
    if (!*ok || (x->t.type == LEDGE_INT8 && all_zero(zero)))
        return LEDGE_OK;
    bool fits;
    LedgeValue *none = zero ? zero : ledge__q8_zero_value(g, x->t.type, 0);
    w->w = none ? as_int8(g, x, none, axis, false, &fits) : NULL;
    if (!w->w)
        return ledge__no_memory(c->err);
    return fits ? LEDGE_OK : keep_zeros(g, c, x, none, w);
}

LedgeStatus ledge__q8_scales(LedgeGraph *g, LedgeOptCtx *c, const LedgeQ8Weights *w, float factor,
                             float y_scale, LedgeValue **out, bool *ok)
{
    float *scale;
    LedgeValue *v = ledge__opt_floats(g, NULL, 1, &w->n, &scale);
    if (!v)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < w->n; i++) {
        scale[i] = factor * w->scale[i] / y_scale;
        *ok &= ledge__q8_scale_is_sound(scale[i]);
    }
    *out = v;
    return LEDGE_OK;
}

/* ---- bias ---- */

/* Number i of a bias of `channels`: real value, and its scale where it is quantized. */
typedef struct Bias {
    const LedgeValue *v, *scale, *zero; /* scale NULL: float */
} Bias;

static bool open_bias(const LedgeValue *v, int64_t channels, Bias *b)
{
    const LedgeNode *dq = ledge__opt_made_by(v, "DequantizeLinear");
    *b = (Bias){.v = dq ? ledge__node_in(dq, 0) : v};
    const LedgeTensor *t = &b->v->t;
    if (!ledge__value_is_constant(b->v) || ledge_tensor_count(t) != channels || t->rank < 1 ||
        t->dims[t->rank - 1] != channels)
        return false;
    if (!dq)
        return t->type == LEDGE_FLOAT;
    b->scale = ledge__node_in(dq, 1);
    b->zero = ledge__node_in(dq, 2);
    return (t->type == LEDGE_INT32 || is_weight_type(t->type)) && b->scale &&
           b->scale->t.type == LEDGE_FLOAT && is_list(b->scale, channels) &&
           (!b->zero || is_list(b->zero, channels)) && ledge__node_int(dq, "block_size", 0) == 0;
}

static double at(const LedgeValue *v, int64_t i)
{
    return v ? ledge__value_as_double(v, ledge_tensor_count(&v->t) == 1 ? 0 : i) : 0;
}

/* In units of `unit`. A bias that was quantized by that very unit keeps its integer. */
static double in_units(const Bias *b, int64_t i, double beta, double unit)
{
    if (!b->scale)
        return nearbyint(beta * ledge__value_as_double(b->v, i) / unit);
    double ratio = beta * at(b->scale, i) / unit;
    double whole = ledge__value_as_double(b->v, i) - at(b->zero, i);
    return fabs(ratio - 1) < 1e-5 ? whole : nearbyint(whole * ratio);
}

LedgeStatus ledge__q8_bias(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *v, double beta,
                           const LedgeQ8Weights *w, float factor, int64_t channels,
                           LedgeValue **out, bool *ok)
{
    Bias b;
    LedgeTensor t = {.type = LEDGE_INT32, .rank = 1, .dims = {channels}};
    *out = NULL;
    if (!v || !*ok)
        return LEDGE_OK;
    if (!open_bias(v, channels, &b)) {
        *ok = false;
        return LEDGE_OK;
    }
    LedgeValue *made = ledge__value_constant(g, NULL, &t, false);
    if (!made)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < channels; i++) {
        double unit = (double)factor * (double)w->scale[w->n == 1 ? 0 : i];
        double x = in_units(&b, i, beta, unit);
        bool fits = fabs(x) < 1073741824.0; /* NaN does not */
        *ok &= fits;
        ((int32_t *)made->t.data)[i] = fits ? (int32_t)x : 0;
    }
    *out = made;
    return LEDGE_OK;
}

/* ---- making ---- */

LedgeValue *ledge__q8_scale_value(LedgeGraph *g, float scale)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .data = &scale};
    return ledge__value_constant(g, NULL, &t, true);
}

LedgeValue *ledge__q8_zero_value(LedgeGraph *g, LedgeType type, int32_t zero)
{
    uint8_t byte = (uint8_t)zero;
    LedgeTensor t = {.type = type, .data = &byte};
    return ledge__value_constant(g, NULL, &t, true);
}

LedgeNode *ledge__q8_linear(LedgeGraph *g, const char *op_type, LedgeValue *x, LedgeType type,
                            const LedgeQ8 *q, LedgeNode *before)
{
    LedgeTensor like = x->t;
    like.type = strcmp(op_type, "QuantizeLinear") == 0 ? type : LEDGE_FLOAT;
    LedgeValue *scale = ledge__q8_scale_value(g, q->scale);
    LedgeValue *zero = ledge__q8_zero_value(g, type, q->zero);
    LedgeNode *n = scale && zero ? ledge__opt_onnx(g, op_type, 13, 3, &like, before) : NULL;
    if (!n)
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, scale);
    ledge__node_set_input(n, 2, zero);
    return n;
}

LedgeNode *ledge__q8_map(LedgeGraph *g, LedgeValue *x, const uint8_t *table, LedgeType to,
                         LedgeNode *before)
{
    uint8_t bytes[256];
    LedgeTensor like = x->t, t = {.type = LEDGE_UINT8, .rank = 1, .dims = {256}, .data = bytes};
    memcpy(bytes, table, sizeof bytes);
    like.type = to;
    LedgeValue *v = ledge__value_constant(g, NULL, &t, true);
    LedgeNode *n = v ? ledge__opt_internal(g, "QMap", 2, &like, before) : NULL;
    if (!n || !ledge__node_set_int(g, n, "to", to))
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, v);
    return n;
}

const uint8_t *ledge__q8_table(const LedgeNode *map)
{
    const LedgeValue *v = ledge__node_in(map, 1);
    return ledge__value_is_constant(v) && ledge_tensor_bytes(&v->t) == 256 ? v->t.data : NULL;
}

bool ledge__q8_set_output(LedgeGraph *g, LedgeNode *n, const LedgeQ8Tail *t)
{
    return ledge__node_set_int(g, n, "y_zero", t->y.zero) &&
           (t->lo == 0 || ledge__node_set_int(g, n, "y_lo", t->lo)) &&
           (t->hi == 255 || ledge__node_set_int(g, n, "y_hi", t->hi));
}

LedgeValue *ledge__q8_byte_output(LedgeGraph *g, LedgeNode *n, uint32_t i)
{
    LedgeValue *made = ledge__value_new(g, NULL);
    if (!made)
        return NULL;
    made->t = n->out[i]->t;
    made->t.type = LEDGE_UINT8;
    ledge__node_set_output(n, i, made);
    return made;
}

bool ledge__q8_fill_pad(LedgeGraph *g, LedgeNode *n, int32_t byte)
{
    if (!ledge__node_is(n, "Pad") || strcmp(ledge__node_string(n, "mode", "constant"), "constant"))
        return true;
    LedgeValue *v = ledge__q8_zero_value(g, LEDGE_UINT8, byte);
    while (v && n->n_in < 3) {
        if (!ledge__node_add_input(g, n, NULL))
            return false;
        n->n_explicit = n->n_in;
    }
    if (v)
        ledge__node_set_input(n, 2, v);
    return v != NULL;
}

/* ---- movers ---- */

static bool is_in(const char *op_type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op_type, *list) == 0)
            return true;
    return false;
}

/* Fills with zeros, or with what is there. */
static bool pads_by_zero(const LedgeNode *n)
{
    double value = 0;
    const char *mode = ledge__node_string(n, "mode", "constant");
    const LedgeValue *v = n->opset >= 11 ? ledge__node_in(n, 2) : NULL;
    if (strcmp(mode, "constant") != 0)
        return true;
    return (!v || ledge__opt_scalar(v, &value)) && value == 0 &&
           ledge__node_float(n, "value", 0) == 0;
}

bool ledge__q8_moves(const LedgeNode *n)
{
    static const char *const list[] = {"Reshape",      "Flatten",      "Squeeze", "Unsqueeze",
                                       "Transpose",    "Slice",        "Gather",  "GatherElements",
                                       "GatherND",     "Tile",         "Expand",  "Split",
                                       "DepthToSpace", "SpaceToDepth", NULL};
    if (n->domain[0] || n->n_in == 0 || !n->in[0].value || n->n_explicit != n->n_in)
        return false;
    if (is_in(n->op_type, list))
        return true;
    if (strcmp(n->op_type, "MaxPool") == 0)
        return n->n_out == 1 || !n->out[1];
    if (strcmp(n->op_type, "Resize") == 0 || strcmp(n->op_type, "Upsample") == 0)
        return strcmp(ledge__node_string(n, "mode", "nearest"), "nearest") == 0 &&
               strcmp(ledge__node_string(n, "coordinate_transformation_mode", ""),
                      "tf_crop_and_resize") != 0;
    return strcmp(n->op_type, "Pad") == 0 && pads_by_zero(n);
}
