/* Normalisation of rows: LayerNormalization (ONNX 17), RMSNormalization (23), and com.microsoft
 * SkipLayerNormalization, SimplifiedLayerNormalization, SkipSimplifiedLayerNormalization,
 * EmbedLayerNormalization. */
#include "engine/kernels/vec.h"
#include "engine/ops/nn/nn.h"

static bool is_rms(const LedgeOpCtx *c)
{
    return strncmp(c->node->op_type, "RMS", 3) == 0 || strstr(c->node->op_type, "Simplified");
}

/* By the vector kernel where scale and bias are one row for all; else by the plain one. */
static void normalise(const LedgeOpCtx *c, LedgeType type, const LedgeLayerNorm *p)
{
    const bool rows = p->scale && p->scale_each && p->scale_rows == 1 &&
                      (!p->bias || (p->bias_each && p->bias_rows == 1)) &&
                      (!p->skip || p->skip_rows == p->rows);
    if (type != LEDGE_FLOAT || !rows) {
        NN_CALL(type, layer_norm, p, c->pool);
        return;
    }
    const LedgeNorm norm = {.x = p->x,
                            .skip = p->skip,
                            .bias = p->skip_bias,
                            .gamma = p->scale,
                            .beta = p->bias,
                            .sum = p->sum,
                            .y = p->y,
                            .n = p->size,
                            .eps = (float)p->epsilon,
                            .rms = p->rms,
                            .mean = p->mean,
                            .inv_std = p->inv_std};
    ledge__vec_norm((LedgeRunner){c->pool, c->cpu}, &norm, p->rows);
}

/* ---- LayerNormalization, RMSNormalization, SimplifiedLayerNormalization ---- */

/* Rows of scale or bias: its shape must broadcast to x's with the normalised part either
 * whole or ones. */
static LedgeStatus affine(LedgeOpCtx *c, uint32_t i, int32_t axis, size_t *rows, bool *each)
{
    const LedgeTensor *x = c->in[0], *t = ledge__op_in(c, i);
    *rows = 1;
    *each = true;
    if (!t || !ledge__nn_known(x) || !ledge__nn_known(t))
        return LEDGE_OK;
    size_t n = ledge__nn_product(x->dims, axis, x->rank), count = (size_t)ledge_tensor_count(t);
    int32_t lead = x->rank - t->rank;
    bool fits = lead >= 0;
    for (int32_t d = 0; fits && d < t->rank; d++)
        fits = t->dims[d] == x->dims[d + lead] || t->dims[d] == 1;
    *each = count != 1 || n == 1;
    if (fits && *each && n) {
        /* Leading dimensions of the rows may repeat, but only as one block. */
        size_t inner = 1;
        for (int32_t d = axis; d < x->rank; d++)
            inner *= d >= lead ? (size_t)t->dims[d - lead] : 1;
        *each = inner == n;
        fits = *each || inner == 1;
        *rows = count / inner;
        size_t seen = 1;
        for (int32_t d = axis - 1; d >= 0 && fits; d--) {
            int64_t td = d >= lead ? t->dims[d - lead] : 1;
            fits = td == x->dims[d] || seen == *rows;
            seen *= (size_t)td;
        }
    }
    if (!fits)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "shape of input %u does not broadcast to the normalised dimensions",
                              i);
    return LEDGE_OK;
}

static LedgeStatus layer_infer(LedgeOpCtx *c)
{
    int32_t axis = 0;
    int64_t dims[LEDGE_MAX_RANK];
    size_t rows;
    bool each;
    LEDGE_TRY(ledge__nn_need(c, 2, 7));
    const LedgeTensor *x = c->in[0];
    if (x->rank >= 0) {
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), x->rank, &axis));
        LEDGE_TRY(affine(c, 1, axis, &rows, &each));
        LEDGE_TRY(affine(c, 2, axis, &rows, &each));
        for (int32_t d = 0; d < x->rank; d++)
            dims[d] = d < axis ? x->dims[d] : 1;
    }
    ledge__op_set_out(c, 0, c->in[1]->type ? c->in[1]->type : x->type, x->rank, x->dims);
    LedgeType stash = (LedgeType)ledge__node_int(c->node, "stash_type", LEDGE_FLOAT);
    if (!ledge__nn_is_float(stash))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "stash_type must be a floating-point type");
    ledge__op_set_out(c, 1, stash, x->rank, dims);
    ledge__op_set_out(c, 2, stash, x->rank, dims);
    return LEDGE_OK;
}

static void *data_of(const LedgeTensor *t)
{
    return t ? t->data : NULL;
}

static LedgeStatus layer_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *bias = ledge__op_in(c, 2);
    int32_t axis;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), x->rank, &axis));
    LedgeLayerNorm p = {.rows = ledge__nn_product(x->dims, 0, axis),
                        .size = ledge__nn_product(x->dims, axis, x->rank),
                        .x = x->data,
                        .scale = c->in[1]->data,
                        .bias = data_of(bias),
                        .y = c->out[0]->data,
                        .mean = data_of(ledge__op_out(c, is_rms(c) ? 2 : 1)),
                        .inv_std = data_of(ledge__op_out(c, is_rms(c) ? 1 : 2)),
                        .epsilon = ledge__node_float(c->node, "epsilon", 1e-5f),
                        .rms = is_rms(c)};
    LEDGE_TRY(affine(c, 1, axis, &p.scale_rows, &p.scale_each));
    LEDGE_TRY(affine(c, 2, axis, &p.bias_rows, &p.bias_each));
    if (p.size)
        normalise(c, x->type, &p);
    return LEDGE_OK;
}

static LedgeStatus layer_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, layer_body);
}

/* ---- SkipLayerNormalization, SkipSimplifiedLayerNormalization ---- */

static LedgeStatus skip_infer(LedgeOpCtx *c)
{
    bool rms = is_rms(c);
    LEDGE_TRY(ledge__nn_need(c, 3, 0x1f));
    const LedgeTensor *x = c->in[0], *skip = c->in[1];
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, 3));
    int64_t hidden = x->rank > 0 ? x->dims[x->rank - 1] : -1;
    for (uint32_t i = 2; i < (rms ? 4 : 5); i++)
        LEDGE_TRY(ledge__nn_count(c, i, hidden));
    int64_t n = ledge_tensor_count(x), ns = ledge_tensor_count(skip);
    if (n > 0 && ns >= 0 && (ns == 0 || n % ns || ns % hidden))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "skip does not broadcast to the input");
    ledge__nn_like(c, 0, x);
    if (c->n_out > 1) { /* mean and inverse deviation: one number a row */
        LedgeTensor rows = *x;
        if (rows.rank > 0)
            rows.dims[rows.rank - 1] = 1;
        ledge__op_set_out(c, 1, LEDGE_FLOAT, rows.rank, rows.dims);
        ledge__op_set_out(c, 2, LEDGE_FLOAT, rows.rank, rows.dims);
    }
    ledge__op_set_out(c, 3, x->type, x->rank, x->dims);
    return LEDGE_OK;
}

static LedgeStatus skip_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    bool rms = is_rms(c);
    size_t hidden = (size_t)x->dims[x->rank - 1];
    if (ledge_tensor_count(x) == 0)
        return LEDGE_OK;
    LedgeLayerNorm p = {.rows = (size_t)ledge_tensor_count(x) / hidden,
                        .size = hidden,
                        .x = x->data,
                        .skip = c->in[1]->data,
                        .skip_rows = (size_t)ledge_tensor_count(c->in[1]) / hidden,
                        .scale = c->in[2]->data,
                        .bias = rms ? NULL : data_of(ledge__op_in(c, 3)),
                        .skip_bias = data_of(ledge__op_in(c, rms ? 3 : 4)),
                        .scale_rows = 1,
                        .bias_rows = 1,
                        .scale_each = true,
                        .bias_each = true,
                        .y = c->out[0]->data,
                        .mean = data_of(ledge__op_out(c, 1)),
                        .inv_std = data_of(ledge__op_out(c, 2)),
                        .sum = data_of(ledge__op_out(c, 3)),
                        .epsilon = ledge__node_float(c->node, "epsilon", rms ? 1e-5f : 1e-12f),
                        .rms = rms};
    normalise(c, x->type, &p);
    return LEDGE_OK;
}

static LedgeStatus skip_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, skip_body);
}

/* ---- EmbedLayerNormalization ---- */

/* Inputs: ids, segment ids, word, position and segment tables, gamma, beta, mask, position
 * ids. The sum of the three embeddings is normalised. */
static LedgeStatus embed_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__nn_need(c, 1, 0x7c));
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_INT32));
    LEDGE_TRY(ledge__op_need(c, 2, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 3, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 5, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 6, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, 2));
    const LedgeTensor *ids = c->in[0], *word = c->in[2];
    for (uint32_t i = 2; i < 5; i++)
        LEDGE_TRY(ledge__nn_rank(c, i, 2, 2));
    int64_t hidden = word->rank == 2 ? word->dims[1] : -1;
    int64_t dims[3] = {ids->rank == 2 ? ids->dims[0] : -1, ids->rank == 2 ? ids->dims[1] : -1,
                       hidden};
    for (uint32_t i = 3; i < 5; i++)
        if (ledge__op_in(c, i) && c->in[i]->rank == 2)
            LEDGE_TRY(ledge__nn_same(c, "hidden size", c->in[i]->dims[1], hidden));
    LEDGE_TRY(ledge__nn_count(c, 5, hidden));
    LEDGE_TRY(ledge__nn_count(c, 6, hidden));
    static const uint32_t integers[] = {1, 7, 8};
    for (int k = 0; k < 3; k++)
        if (ledge__op_in(c, integers[k]))
            LEDGE_TRY(ledge__op_need(c, integers[k], LEDGE_INT32));
    LEDGE_TRY(ledge__nn_count(c, 1, ledge_tensor_count(ids)));
    LEDGE_TRY(ledge__nn_count(c, 7, ledge_tensor_count(ids)));
    const LedgeTensor *pos = ledge__op_in(c, 8);
    if (ledge__nn_known(pos) && ledge_tensor_count(pos) != dims[1])
        LEDGE_TRY(ledge__nn_count(c, 8, ledge_tensor_count(ids)));
    ledge__op_set_out(c, 0, word->type, 3, dims);
    ledge__op_set_out(c, 1, LEDGE_INT32, 1, dims);
    ledge__op_set_out(c, 2, word->type, 3, dims);
    return LEDGE_OK;
}

static LedgeStatus embed_rows(LedgeOpCtx *c, LedgeTensor *sum)
{
    const LedgeTensor *ids = c->in[0], *seg = ledge__op_in(c, 1), *pos = ledge__op_in(c, 8);
    const LedgeTensor *table[3] = {c->in[2], c->in[3], ledge__op_in(c, 4)};
    size_t n = (size_t)ledge_tensor_count(ids), len = (size_t)ids->dims[1];
    size_t hidden = (size_t)table[0]->dims[1];
    for (size_t r = 0; r < n; r++) {
        int32_t at[3] = {((const int32_t *)ids->data)[r], (int32_t)(r % len),
                         seg ? ((const int32_t *)seg->data)[r] : 0};
        if (pos)
            at[1] =
                ((const int32_t *)pos->data)[(size_t)ledge_tensor_count(pos) == len ? r % len : r];
        for (int k = 0; k < 3; k++)
            if (table[k] && (at[k] < 0 || at[k] >= table[k]->dims[0]))
                return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "id %d is outside its table of %lld",
                                      at[k], (long long)table[k]->dims[0]);
        for (size_t i = 0; i < hidden; i++) {
            double v = 0;
            for (int k = 0; k < 3; k++)
                if (table[k] && (k < 2 || seg))
                    v += ledge__nn_at(table[k], (int64_t)((size_t)at[k] * hidden + i));
            if (sum->type == LEDGE_DOUBLE)
                ((double *)sum->data)[r * hidden + i] = v;
            else
                ((float *)sum->data)[r * hidden + i] = (float)v;
        }
    }
    return LEDGE_OK;
}

static void count_mask(LedgeOpCtx *c)
{
    LedgeTensor *out = ledge__op_out(c, 1);
    const LedgeTensor *mask = ledge__op_in(c, 7), *ids = c->in[0];
    for (int64_t b = 0; out && b < ids->dims[0]; b++) {
        int32_t n = 0;
        for (int64_t i = 0; mask && i < ids->dims[1]; i++)
            n += ((const int32_t *)mask->data)[b * ids->dims[1] + i] == 1;
        ((int32_t *)out->data)[b] = n;
    }
}

static LedgeStatus embed_body(LedgeOpCtx *c)
{
    LedgeTensor *y = c->out[0], *sum = ledge__op_out(c, 2) ? c->out[2] : y;
    size_t hidden = (size_t)y->dims[2];
    count_mask(c);
    if (ledge_tensor_count(y) == 0)
        return LEDGE_OK;
    LEDGE_TRY(embed_rows(c, sum));
    LedgeLayerNorm p = {.rows = (size_t)ledge_tensor_count(y) / hidden,
                        .size = hidden,
                        .x = sum->data,
                        .scale = c->in[5]->data,
                        .bias = c->in[6]->data,
                        .scale_rows = 1,
                        .bias_rows = 1,
                        .scale_each = true,
                        .bias_each = true,
                        .y = y->data,
                        .epsilon = ledge__node_float(c->node, "epsilon", 1e-12f)};
    normalise(c, y->type, &p);
    return LEDGE_OK;
}

static LedgeStatus embed_run(LedgeOpCtx *c)
{
    if (!ledge__op_out(c, 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "must have its first output");
    return ledge__nn_run_float(c, embed_body);
}

const LedgeOp ledge__ops_nn_layer_norm[] = {
    {"", "LayerNormalization", 17, 0, LEDGE_OP_INPLACE, layer_infer, ledge__nn_prepare_float,
     layer_run, NULL},
    {"", "RMSNormalization", 23, 0, LEDGE_OP_INPLACE, layer_infer, ledge__nn_prepare_float,
     layer_run, NULL},
    /* Tools write this one into the default domain too. */
    {"", "SimplifiedLayerNormalization", 1, 0, LEDGE_OP_INPLACE, layer_infer,
     ledge__nn_prepare_float, layer_run, NULL},
    {"com.microsoft", "SimplifiedLayerNormalization", 1, 0, LEDGE_OP_INPLACE, layer_infer,
     ledge__nn_prepare_float, layer_run, NULL},
    {"com.microsoft", "SkipLayerNormalization", 1, 0, LEDGE_OP_INPLACE, skip_infer,
     ledge__nn_prepare_float, skip_run, NULL},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 1, 0, LEDGE_OP_INPLACE, skip_infer,
     ledge__nn_prepare_float, skip_run, NULL},
    {"com.microsoft", "EmbedLayerNormalization", 1, 0, 0, embed_infer, ledge__nn_prepare_float,
     embed_run, NULL},
    {0},
};
