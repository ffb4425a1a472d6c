/* ledge.Pixels: the bytes of pictures, as a model wants its input.
 *
 * Inputs: 0 x uint8 [N,H,W,C], C 1 … 4; 1 table [C,256], float32 or uint8, a constant: entry b of
 * row c is what byte b becomes in channel c. Output: table's type, [N,H,W,C], or [N,C,H,W] with
 * layout "nchw" (floats only). Attribute reversed = 1: channel c is read from byte C - 1 - c. */
#include "engine/kernels/bytes.h"
#include "engine/ops/fused/fused_bytes.h"

#include <string.h>

static bool is_planar(const LedgeOpCtx *c)
{
    return strcmp(ledge__node_string(c->node, "layout", ""), "nchw") == 0;
}

static LedgeStatus check_table(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *t = c->in[1];
    if (t->type != LEDGE_FLOAT && t->type != LEDGE_UINT8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "the table is %s, must be float32 or uint8",
                              ledge_type_name(t->type));
    if (is_planar(c) && t->type != LEDGE_FLOAT)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "planes of bytes are not made");
    if (t->rank != 2 || t->dims[0] < 1 || t->dims[0] > 4 || t->dims[1] != 256)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the table must be [C,256], C from 1 to 4");
    if (x->rank >= 0 && x->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has %d dimensions, must have 4",
                              x->rank);
    if (x->rank == 4 && x->dims[3] >= 0 && x->dims[3] != t->dims[0])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "pixels of %lld channels, tables for %lld",
                              (long long)x->dims[3], (long long)t->dims[0]);
    return LEDGE_OK;
}

static LedgeStatus pixels_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_UINT8));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_TYPE_NONE));
    LEDGE_TRY(check_table(c));
    const LedgeTensor *x = c->in[0];
    int64_t dims[4] = {-1, -1, -1, -1};
    static const int as_planes[4] = {0, 3, 1, 2};
    for (int32_t d = 0; d < 4 && x->rank == 4; d++)
        dims[d] = x->dims[is_planar(c) ? as_planes[d] : d];
    ledge__op_set_out(c, 0, c->in[1]->type, 4, dims);
    return LEDGE_OK;
}

static LedgeStatus pixels_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    const LedgeRunner r = {c->pool, c->cpu};
    const LedgePixelTables t = {(size_t)x->dims[3], ledge__node_int(c->node, "reversed", 0) != 0,
                                c->in[1]->data};
    const size_t images = (size_t)x->dims[0], pixels = (size_t)(x->dims[1] * x->dims[2]);
    if (ledge_tensor_count(x) == 0)
        return LEDGE_OK;
    if (c->in[1]->type == LEDGE_UINT8)
        ledge__bytes_pixels(r, &t, x->data, c->out[0]->data, images * pixels);
    else
        ledge__bytes_pixel_floats(r, &t, x->data, c->out[0]->data, images, pixels, is_planar(c));
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_pixels[] = {
    {"ledge", "Pixels", 1, 0, 0, pixels_infer, NULL, pixels_run, NULL},
    {0},
};
