/* Transpose, DepthToSpace and SpaceToDepth: one strided copy each. */
#include "engine/kernels/kernels.h"
#include "engine/kernels/vec.h"
#include "engine/ops/shape/move.h"

static LedgeStatus get_perm(LedgeOpCtx *c, int32_t rank, int32_t *perm)
{
    size_t n = 0;
    const int64_t *attr = ledge__node_ints(c->node, "perm", &n);
    bool seen[LEDGE_MAX_RANK] = {false};
    if (!attr) {
        for (int32_t d = 0; d < rank; d++)
            perm[d] = rank - 1 - d;
        return LEDGE_OK;
    }
    if (n != (size_t)rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "perm has %zu entries, the input %d dimensions",
                              n, rank);
    for (int32_t d = 0; d < rank; d++) {
        LEDGE_TRY(ledge__op_axis(c, attr[d], rank, &perm[d]));
        if (seen[perm[d]])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "perm names dimension %d twice", perm[d]);
        seen[perm[d]] = true;
    }
    return LEDGE_OK;
}

static LedgeStatus infer_transpose(LedgeOpCtx *c)
{
    int32_t perm[LEDGE_MAX_RANK];
    int64_t dims[LEDGE_MAX_RANK];
    size_t n = 0;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_rank(c, 0, in->type,
                               ledge__node_ints(c->node, "perm", &n) ? (int32_t)n : -1);
    LEDGE_TRY(get_perm(c, in->rank, perm));
    for (int32_t d = 0; d < in->rank; d++)
        dims[d] = in->dims[perm[d]];
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

/* A permutation that swaps two blocks of neighbouring axes is a batch of matrix transposes. */
static bool as_matrix(const LedgeTensor *in, const int32_t *perm, size_t *batch, size_t *rows,
                      size_t *cols)
{
    int32_t d = 0, r = in->rank;
    *batch = *rows = *cols = 1;
    for (; d < r && perm[d] == d; d++)
        *batch *= (size_t)in->dims[d];
    if (d == r)
        return false;
    const int32_t first = d, split = perm[d];
    for (int32_t k = first; k < r; k++)
        if (perm[k] != first + (k - first + split - first) % (r - first))
            return false;
    for (int32_t k = first; k < r; k++)
        *(k < split ? rows : cols) *= (size_t)in->dims[k];
    return true;
}

typedef struct Planes {
    const LedgeF32Kernels *k;
    const float *x;
    float *y;
    size_t rows, cols, chunk;
} Planes;

static void run_planes(void *arg, size_t begin, size_t end, int thread)
{
    const Planes *p = arg;
    (void)thread;
    const size_t from = begin * p->chunk, to = end * p->chunk < p->cols ? end * p->chunk : p->cols;
    p->k->interleave(p->x + from, p->cols, p->rows, to - from, p->y + from * p->rows);
}

static bool run_as_matrix(LedgeOpCtx *c, const int32_t *perm)
{
    const LedgeTensor *in = c->in[0];
    const unsigned bits = ledge_type_bits(in->type);
    size_t batch, rows, cols;
    if ((bits != 8 && bits != 16 && bits != 32 && bits != 64) ||
        !as_matrix(in, perm, &batch, &rows, &cols))
        return false;
    if (bits != 32 || rows > 4) {
        ledge__vec_transpose((LedgeRunner){c->pool, c->cpu}, in->data, c->out[0]->data, batch, rows,
                             cols, bits / 8);
        return true;
    }
    Planes p = {ledge__f32_kernels(c->cpu), in->data, c->out[0]->data, rows, cols, 8192};
    for (; batch > 0; batch--, p.x += rows * cols, p.y += rows * cols)
        ledge__pool_run(c->pool, (cols + p.chunk - 1) / p.chunk, 1, run_planes, &p);
    return true;
}

static LedgeStatus run_transpose(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    LedgeTensor *out = c->out[0];
    int32_t perm[LEDGE_MAX_RANK];
    int64_t from[LEDGE_MAX_RANK], to[LEDGE_MAX_RANK];
    LedgeMove m = {.bits = ledge_type_bits(in->type)};
    LEDGE_TRY(get_perm(c, in->rank, perm));
    if (run_as_matrix(c, perm))
        return LEDGE_OK;
    ledge__strides(in->rank, in->dims, from);
    ledge__strides(out->rank, out->dims, to);
    for (int32_t d = 0; d < out->rank; d++)
        ledge__move_dim(&m, out->dims[d], from[perm[d]], to[d]);
    if (m.bits < 8) /* the last byte may be half used */
        memset(out->data, 0, ledge_tensor_bytes(out));
    ledge__move(&m, in->data, out->data, c->pool);
    return LEDGE_OK;
}

static LedgeStatus get_block(LedgeOpCtx *c, int64_t *block)
{
    *block = ledge__node_int(c->node, "blocksize", 0);
    if (*block < 1 || *block > 65536)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "blocksize is %lld", (long long)*block);
    return LEDGE_OK;
}

static LedgeStatus need_rank_4(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    if (c->in[0]->rank >= 0 && c->in[0]->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions, must have 4",
                              c->in[0]->rank);
    return LEDGE_OK;
}

static LedgeStatus divide(LedgeOpCtx *c, int64_t n, int64_t by, int64_t *out)
{
    if (n >= 0 && n % by)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%lld does not divide by %lld", (long long)n,
                              (long long)by);
    *out = n < 0 ? -1 : n / by;
    return LEDGE_OK;
}

static LedgeStatus infer_depth_to_space(LedgeOpCtx *c)
{
    int64_t b, dims[4];
    LEDGE_TRY(need_rank_4(c));
    LEDGE_TRY(get_block(c, &b));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_rank(c, 0, in->type, 4);
    dims[0] = in->dims[0];
    LEDGE_TRY(divide(c, in->dims[1], b * b, &dims[1]));
    for (int d = 2; d < 4; d++)
        if (in->dims[d] < 0)
            dims[d] = -1;
        else if (__builtin_mul_overflow(in->dims[d], b, &dims[d]))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result would have too many elements");
    LEDGE_TRY(ledge__check_dims(c, 4, dims));
    ledge__op_set_out(c, 0, in->type, 4, dims);
    return LEDGE_OK;
}

static LedgeStatus infer_space_to_depth(LedgeOpCtx *c)
{
    int64_t b, dims[4];
    LEDGE_TRY(need_rank_4(c));
    LEDGE_TRY(get_block(c, &b));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_rank(c, 0, in->type, 4);
    dims[0] = in->dims[0];
    dims[1] = -1;
    if (in->dims[1] >= 0 && __builtin_mul_overflow(in->dims[1], b * b, &dims[1]))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result would have too many elements");
    LEDGE_TRY(divide(c, in->dims[2], b, &dims[2]));
    LEDGE_TRY(divide(c, in->dims[3], b, &dims[3]));
    LEDGE_TRY(ledge__check_dims(c, 4, dims));
    ledge__op_set_out(c, 0, in->type, 4, dims);
    return LEDGE_OK;
}

/* Element [n, c, h, i, w, j] of the wide side is [n, (i, j, c) or (c, i, j), h, w] of the deep
 * one; `crd` says which of the two. */
static LedgeMove block_move(const LedgeTensor *deep, const LedgeTensor *wide, int64_t b, bool crd,
                            bool to_wide)
{
    int64_t n = wide->dims[0], channels = wide->dims[1], h = deep->dims[2], w = deep->dims[3];
    int64_t plane = h * w;
    int64_t deep_c = crd ? b * b * plane : plane;
    int64_t deep_j = crd ? plane : channels * plane, deep_i = deep_j * b;
    const int64_t dims[6] = {n, channels, h, b, w, b};
    const int64_t deep_stride[6] = {channels * b * b * plane, deep_c, w, deep_i, 1, deep_j};
    const int64_t wide_stride[6] = {
        channels * b * b * plane, b * b * plane, b * b * w, b * w, b, 1};
    static const int order_deep_dcr[6] = {0, 3, 5, 1, 2, 4}, order_deep_crd[6] = {0, 1, 3, 5, 2, 4};
    LedgeMove m = {.bits = ledge_type_bits(deep->type)};
    for (int d = 0; d < 6; d++) {
        int k = to_wide ? d : crd ? order_deep_crd[d] : order_deep_dcr[d];
        ledge__move_dim(&m, dims[k], to_wide ? deep_stride[k] : wide_stride[k],
                        to_wide ? wide_stride[k] : deep_stride[k]);
    }
    return m;
}

static LedgeStatus run_depth_to_space(LedgeOpCtx *c)
{
    size_t size;
    LEDGE_TRY(ledge__element_size(c, c->in[0], &size));
    bool crd = strcmp(ledge__node_string(c->node, "mode", "DCR"), "CRD") == 0;
    LedgeMove m =
        block_move(c->in[0], c->out[0], ledge__node_int(c->node, "blocksize", 1), crd, true);
    ledge__move(&m, c->in[0]->data, c->out[0]->data, c->pool);
    return LEDGE_OK;
}

static LedgeStatus run_space_to_depth(LedgeOpCtx *c)
{
    size_t size;
    LEDGE_TRY(ledge__element_size(c, c->in[0], &size));
    LedgeMove m =
        block_move(c->out[0], c->in[0], ledge__node_int(c->node, "blocksize", 1), false, false);
    ledge__move(&m, c->in[0]->data, c->out[0]->data, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_transpose[] = {
    {.domain = "",
     .op_type = "Transpose",
     .since = 1,
     .infer = infer_transpose,
     .run = run_transpose},
    {.domain = "",
     .op_type = "DepthToSpace",
     .since = 1,
     .infer = infer_depth_to_space,
     .run = run_depth_to_space},
    {.domain = "",
     .op_type = "SpaceToDepth",
     .since = 1,
     .infer = infer_space_to_depth,
     .run = run_space_to_depth},
    {0},
};
