/* OneHot and NonZero: tensors made from positions, and positions from tensors; and Col2Im, which
 * adds overlapping blocks back into an image. */
#include "engine/ops/shape/move.h"

static LedgeStatus get_depth(LedgeOpCtx *c, int64_t *depth)
{
    const LedgeTensor *t = c->in[1];
    *depth = -1;
    if (!t->data)
        return LEDGE_OK;
    if (ledge_tensor_count(t) != 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "depth must be one number");
    double v = ledge__number_at(t->type, t->data, 0);
    if (!(v >= 0 && v < 1e15))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "depth is %g", v);
    *depth = (int64_t)v;
    return LEDGE_OK;
}

static LedgeStatus infer_one_hot(LedgeOpCtx *c)
{
    int64_t depth, dims[LEDGE_MAX_RANK];
    int32_t axis;
    for (uint32_t i = 0; i < 3; i++)
        LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(get_depth(c, &depth));
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, c->in[2]->type);
    LEDGE_TRY(ledge__out_rank(c, 0, c->in[2]->type, in->rank + 1));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), in->rank + 1, &axis));
    for (int32_t d = 0; d <= in->rank; d++)
        dims[d] = d == axis ? depth : in->dims[d - (d > axis)];
    LEDGE_TRY(ledge__check_dims(c, in->rank + 1, dims));
    ledge__op_set_out(c, 0, c->in[2]->type, in->rank + 1, dims);
    return LEDGE_OK;
}

static LedgeStatus run_one_hot(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *values = c->in[2], *out = c->out[0];
    int32_t axis;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, values, &size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), out->rank, &axis));
    if (ledge_tensor_count(values) != 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "values must be [off, on]");
    const char *on = (const char *)values->data + size;
    int64_t depth = out->dims[axis], n = ledge_tensor_count(in);
    int64_t inner = ledge__dims_product(out->dims, axis + 1, out->rank);
    ledge__fill(out->data, values->data, size, ledge_tensor_count(out));
    for (int64_t i = 0; i < n; i++) {
        double v = ledge__number_at(in->type, in->data, i);
        v += v < 0 ? (double)depth : 0;
        if (!(v >= 0 && v < (double)depth))
            continue;
        int64_t to = (i / inner * depth + (int64_t)v) * inner + i % inner;
        memcpy((char *)out->data + (size_t)to * size, on, size);
    }
    return LEDGE_OK;
}

static LedgeStatus infer_nonzero(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    int64_t dims[2] = {c->in[0]->rank < 0 ? -1 : c->in[0]->rank, -1};
    ledge__op_set_out(c, 0, LEDGE_INT64, 2, dims);
    return LEDGE_OK;
}

static bool is_nonzero(const LedgeTensor *t, int64_t i)
{
    if (t->type == LEDGE_INT64 || t->type == LEDGE_UINT64)
        return ((const uint64_t *)t->data)[i] != 0;
    if (t->type == LEDGE_STRING)
        return ((const LedgeString *)t->data)[i].size != 0;
    return ledge__number_at(t->type, t->data, i) != 0;
}

/* A scalar counts as a vector of one, as numpy had it: the result has 0 rows. */
static LedgeStatus run_nonzero(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int64_t total = ledge_tensor_count(in), count = 0, k = 0;
    for (int64_t i = 0; i < total; i++)
        count += is_nonzero(in, i);
    int64_t dims[2] = {in->rank, count};
    ledge__op_set_out(c, 0, LEDGE_INT64, 2, dims);
    LEDGE_TRY(ledge__op_output(c, 0));
    int64_t *out = c->out[0]->data;
    for (int64_t i = 0; i < total && in->rank; i++) {
        if (!is_nonzero(in, i))
            continue;
        int64_t rest = i;
        for (int32_t d = in->rank - 1; d >= 0; d--) {
            out[d * count + k] = rest % in->dims[d];
            rest /= in->dims[d];
        }
        k++;
    }
    return LEDGE_OK;
}

/* ---- Col2Im ---- */

#define MAX_SPACE (LEDGE_MAX_RANK - 2)

typedef struct Col2im {
    int n; /* spatial dimensions; -1: image_shape not known */
    int64_t image[LEDGE_MAX_RANK], block[LEDGE_MAX_RANK], steps[LEDGE_MAX_RANK];
    int64_t stride[LEDGE_MAX_RANK], dilation[LEDGE_MAX_RANK], pad[LEDGE_MAX_RANK];
    bool block_known;
} Col2im;

static LedgeStatus space_attr(LedgeOpCtx *c, const char *name, int n, int64_t absent, int64_t *out)
{
    size_t count = 0;
    const int64_t *v = ledge__node_ints(c->node, name, &count);
    if (v && count != (size_t)n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%s has %zu entries for %d dimensions", name,
                              count, n);
    for (int i = 0; i < n; i++) {
        out[i] = v ? v[i] : absent;
        if (out[i] < absent || out[i] > 1 << 20)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%s has an entry of %lld", name,
                                  (long long)out[i]);
    }
    return LEDGE_OK;
}

static LedgeStatus get_col2im(LedgeOpCtx *c, Col2im *p)
{
    int n_block;
    int64_t pads[2 * LEDGE_MAX_RANK];
    memset(p, 0, sizeof *p);
    LEDGE_TRY(ledge__op_int_input(c, 1, p->image, MAX_SPACE, &p->n));
    LEDGE_TRY(ledge__op_int_input(c, 2, p->block, MAX_SPACE, &n_block));
    p->block_known = n_block >= 0;
    if (p->n < 0 || n_block < 0)
        return LEDGE_OK;
    if (p->n != n_block)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "image_shape and block_shape differ in length");
    LEDGE_TRY(space_attr(c, "strides", p->n, 1, p->stride));
    LEDGE_TRY(space_attr(c, "dilations", p->n, 1, p->dilation));
    LEDGE_TRY(space_attr(c, "pads", 2 * p->n, 0, pads));
    for (int i = 0; i < p->n; i++) {
        if (p->image[i] < 1 || p->block[i] < 1 || p->image[i] > 1 << 30 || p->block[i] > 1 << 20)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "an image or block size is out of range");
        int64_t room =
            p->image[i] + pads[i] + pads[p->n + i] - p->dilation[i] * (p->block[i] - 1) - 1;
        p->pad[i] = pads[i];
        p->steps[i] = room < 0 ? 0 : room / p->stride[i] + 1;
    }
    return LEDGE_OK;
}

static LedgeStatus infer_col2im(LedgeOpCtx *c)
{
    Col2im p;
    int64_t dims[LEDGE_MAX_RANK], blocks = 1, columns = 1;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    LEDGE_TRY(ledge__op_need(c, 2, LEDGE_INT64));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(get_col2im(c, &p));
    if (in->rank >= 0 && in->rank != 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions, must have 3",
                              in->rank);
    if (p.n < 0 || !p.block_known || in->rank < 0)
        return ledge__out_rank(c, 0, in->type, p.n < 0 ? -1 : p.n + 2);
    for (int i = 0; i < p.n; i++) {
        dims[2 + i] = p.image[i];
        if (__builtin_mul_overflow(blocks, p.block[i], &blocks) ||
            __builtin_mul_overflow(columns, p.steps[i], &columns))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the blocks are too large");
    }
    if ((in->dims[1] >= 0 && in->dims[1] % blocks) || (in->dims[2] >= 0 && in->dims[2] != columns))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "expected a multiple of %lld rows and %lld columns",
                              (long long)blocks, (long long)columns);
    dims[0] = in->dims[0];
    dims[1] = in->dims[1] < 0 ? -1 : in->dims[1] / blocks;
    LEDGE_TRY(ledge__check_dims(c, p.n + 2, dims));
    ledge__op_set_out(c, 0, in->type, p.n + 2, dims);
    return LEDGE_OK;
}

/* Position in the image of block element `e` at step `s`, or -1 outside. */
static int64_t image_position(const Col2im *p, int64_t e, int64_t s)
{
    int64_t at = 0, scale = 1;
    for (int d = p->n - 1; d >= 0; d--) {
        int64_t x = s % p->steps[d] * p->stride[d] + e % p->block[d] * p->dilation[d] - p->pad[d];
        if (x < 0 || x >= p->image[d])
            return -1;
        at += x * scale;
        scale *= p->image[d];
        s /= p->steps[d];
        e /= p->block[d];
    }
    return at;
}

static LedgeStatus run_col2im(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    Col2im p;
    LEDGE_TRY(get_col2im(c, &p));
    if (in->type == LEDGE_STRING || ledge_type_bits(in->type) < 8 || in->type == LEDGE_COMPLEX64 ||
        in->type == LEDGE_COMPLEX128)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "sums of %s", ledge_type_name(in->type));
    int64_t planes = out->dims[0] * out->dims[1], columns = in->dims[2];
    int64_t pixels = ledge__dims_product(out->dims, 2, out->rank);
    int64_t blocks = ledge__dims_product(p.block, 0, p.n);
    size_t bytes = ledge_tensor_bytes(out);
    if (bytes)
        memset(out->data, 0, bytes);
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t e = 0; e < blocks; e++)
            for (int64_t s = 0; s < columns; s++) {
                int64_t at = image_position(&p, e, s), to = plane * pixels + at;
                int64_t from = (plane * blocks + e) * columns + s;
                if (at < 0)
                    continue;
                if (in->type == LEDGE_FLOAT)
                    ((float *)out->data)[to] += ((const float *)in->data)[from];
                else
                    ledge__number_set(in->type, out->data, to,
                                      ledge__number_at(in->type, out->data, to) +
                                          ledge__number_at(in->type, in->data, from));
            }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_select[] = {
    {.domain = "", .op_type = "OneHot", .since = 9, .infer = infer_one_hot, .run = run_one_hot},
    {.domain = "",
     .op_type = "NonZero",
     .since = 9,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_nonzero,
     .run = run_nonzero},
    {.domain = "", .op_type = "Col2Im", .since = 18, .infer = infer_col2im, .run = run_col2im},
    {0},
};
