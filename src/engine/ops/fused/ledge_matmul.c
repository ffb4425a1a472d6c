/* ledge.MatMul: the product of two tensors that are both made at run time, as in attention.
 *
 * Inputs A [..., M, K] and B [..., K, N], leading dimensions broadcast. Attributes: transA and
 * transB swap the last two dimensions; perm_a, perm_b and perm_y are Transposes that stood
 * before the inputs and after the output and are done by strides here (perm_a and perm_b come
 * before transA and transB); alpha scales the product. perm_y must leave the last dimension
 * last. B is packed at each run, in scratch. */
#include "engine/kernels/gemm_f32.h"
#include "engine/ops/fused/fused_act.h"

#include <math.h>

typedef struct View {
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    size_t strides[LEDGE_MAX_RANK]; /* floats; only of use when all dims are known */
} View;

/* The permutation attribute, or the identity. */
static LedgeStatus permutation(LedgeOpCtx *c, const char *name, int32_t rank, int64_t *perm)
{
    size_t n;
    const int64_t *v = ledge__node_ints(c->node, name, &n);
    unsigned seen = 0;
    if (v && n != (size_t)rank)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s has %zu values for a tensor of rank %d",
                              name, n, rank);
    for (int32_t i = 0; i < rank; i++) {
        perm[i] = v ? v[i] : i;
        if (perm[i] < 0 || perm[i] >= rank || (seen >> perm[i] & 1))
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s is no permutation", name);
        seen |= 1u << perm[i];
    }
    return LEDGE_OK;
}

static LedgeStatus view_of(LedgeOpCtx *c, uint32_t i, const char *perm_name, const char *swap_name,
                           View *v)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_FLOAT));
    const LedgeTensor *t = c->in[i];
    int64_t perm[LEDGE_MAX_RANK];
    size_t strides[LEDGE_MAX_RANK], stride = 1;
    v->rank = t->rank;
    if (t->rank < 0)
        return LEDGE_OK;
    if (t->rank < 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u must have at least 2 dimensions", i);
    LEDGE_TRY(permutation(c, perm_name, t->rank, perm));
    for (int32_t d = t->rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= (size_t)t->dims[d];
    }
    if (ledge__node_int(c->node, swap_name, 0)) {
        const int64_t last = perm[t->rank - 1];
        perm[t->rank - 1] = perm[t->rank - 2];
        perm[t->rank - 2] = last;
    }
    for (int32_t d = 0; d < t->rank; d++) {
        v->dims[d] = t->dims[perm[d]];
        v->strides[d] = strides[perm[d]];
    }
    return LEDGE_OK;
}

typedef struct Product {
    View a, b;
    LedgeTensor y;                /* before perm_y */
    int64_t perm[LEDGE_MAX_RANK]; /* perm_y */
} Product;

static LedgeStatus product_of(LedgeOpCtx *c, Product *p)
{
    LEDGE_TRY(view_of(c, 0, "perm_a", "transA", &p->a));
    LEDGE_TRY(view_of(c, 1, "perm_b", "transB", &p->b));
    p->y.rank = -1;
    if (p->a.rank < 0 || p->b.rank < 0)
        return LEDGE_OK;
    const int32_t ra = p->a.rank, rb = p->b.rank;
    const int64_t k = p->a.dims[ra - 1], kb = p->b.dims[rb - 2];
    if (k >= 0 && kb >= 0 && k != kb)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "rows of A have %lld elements, columns of B %lld",
                              (long long)k, (long long)kb);
    LedgeTensor a = {.rank = ra - 2}, b = {.rank = rb - 2};
    memcpy(a.dims, p->a.dims, sizeof(a.dims));
    memcpy(b.dims, p->b.dims, sizeof(b.dims));
    LEDGE_TRY(ledge__op_broadcast(c, &a, &b, &p->y.rank, p->y.dims));
    p->y.dims[p->y.rank++] = p->a.dims[ra - 2];
    p->y.dims[p->y.rank++] = p->b.dims[rb - 1];
    LEDGE_TRY(permutation(c, "perm_y", p->y.rank, p->perm));
    if (p->perm[p->y.rank - 1] != p->y.rank - 1)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "perm_y moves the last dimension");
    return LEDGE_OK;
}

static LedgeStatus matmul_infer(LedgeOpCtx *c)
{
    Product p;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(product_of(c, &p));
    for (int32_t d = 0; d < p.y.rank; d++)
        dims[d] = p.y.dims[p.perm[d]];
    ledge__op_set_out(c, 0, LEDGE_FLOAT, p.y.rank, dims);
    return LEDGE_OK;
}

static int64_t matmul_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *a = ledge__op_in(c, 0);
    if (!y || !a || a->rank < 2)
        return 0;
    size_t n;
    const int64_t *perm = ledge__node_ints(c->node, "perm_a", &n);
    const int32_t last = a->rank - 1 - (ledge__node_int(c->node, "transA", 0) != 0);
    return ledge_tensor_count(y) * a->dims[perm && n == (size_t)a->rank ? perm[last] : last];
}

typedef struct MatMulState {
    LedgePanels p;
    size_t m, k, n, batch;
    size_t a_row, a_k, b_k, b_n, ldc; /* strides in floats */
    size_t *a_at, *b_at, *c_at;       /* per batch */
    float *zeros;                     /* the bias */
    float alpha;
    size_t b_bytes, a_bytes, thread_bytes; /* parts of scratch: packed B, then rows of A */
    int threads;
} MatMulState;

/* Where in `v` the batch that has these indices in the output begins. */
static size_t place(const View *v, int32_t rank, const int64_t *index)
{
    size_t at = 0;
    for (int32_t d = 0; d < v->rank - 2; d++)
        if (v->dims[d] != 1)
            at += (size_t)index[d + rank - v->rank] * v->strides[d];
    return at;
}

static LedgeStatus fill_places(LedgeOpCtx *c, const Product *p, MatMulState *s)
{
    int64_t index[LEDGE_MAX_RANK] = {0};
    size_t strides[LEDGE_MAX_RANK] = {0}, stride = 1, bytes;
    const int32_t rank = p->y.rank;
    if (!ledge__mul(s->batch + 1, 3 * sizeof(size_t), &bytes) ||
        !(s->a_at = ledge__op_alloc(c, bytes)))
        return ledge__no_memory(c->err);
    s->b_at = s->a_at + s->batch;
    s->c_at = s->b_at + s->batch;
    for (int32_t d = rank - 1; d >= 0; d--) {
        strides[p->perm[d]] = stride;
        stride *= (size_t)p->y.dims[p->perm[d]];
    }
    s->ldc = strides[rank - 2];
    for (size_t g = 0; g < s->batch; g++) {
        s->a_at[g] = place(&p->a, rank, index);
        s->b_at[g] = place(&p->b, rank, index);
        s->c_at[g] = 0;
        for (int32_t d = 0; d < rank - 2; d++)
            s->c_at[g] += (size_t)index[d] * strides[d];
        for (int32_t d = rank - 3; d >= 0 && ++index[d] == p->y.dims[d]; d--)
            index[d] = 0;
    }
    return LEDGE_OK;
}

static LedgeStatus size_scratch(LedgeOpCtx *c, MatMulState *s)
{
    size_t floats = ledge__panels_floats(&s->p), a, threads, sum;
    s->threads = ledge__pool_threads(c->pool);
    s->thread_bytes = ledge__gemm_thread_bytes(1, 0, s->threads);
    if (!ledge__mul(floats, s->batch, &floats) ||
        !ledge__mul(floats, sizeof(float), &s->b_bytes) || !ledge__mul(s->m, s->k, &a) ||
        !ledge__mul(a, s->batch, &a) || !ledge__mul(a, sizeof(float), &a) ||
        s->b_bytes > SIZE_MAX / 4 || a > SIZE_MAX / 4)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    s->b_bytes = ledge__round_up(s->b_bytes, LEDGE_ALIGN);
    s->a_bytes = s->a_k == 1 ? 0 : ledge__round_up(a, LEDGE_ALIGN);
    if (!ledge__mul(s->thread_bytes, (size_t)s->threads, &threads) ||
        !ledge__add(s->b_bytes + s->a_bytes, threads, &sum))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    c->scratch_bytes = sum;
    return LEDGE_OK;
}

static LedgeStatus matmul_prepare(LedgeOpCtx *c)
{
    Product p;
    LEDGE_TRY(product_of(c, &p));
    MatMulState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    const int32_t ra = p.a.rank, rb = p.b.rank;
    *s = (MatMulState){.m = (size_t)p.a.dims[ra - 2], .k = (size_t)p.a.dims[ra - 1],
                       .n = (size_t)p.b.dims[rb - 1], .batch = 1,
                       .a_row = p.a.strides[ra - 2], .a_k = p.a.strides[ra - 1],
                       .b_k = p.b.strides[rb - 2], .b_n = p.b.strides[rb - 1],
                       .alpha = ledge__node_float(c->node, "alpha", 1.0f)};
    c->state = s;
    for (int32_t d = 0; d < p.y.rank - 2; d++)
        if (!ledge__mul(s->batch, (size_t)p.y.dims[d], &s->batch))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    ledge__panels_init(&s->p, ledge__f32_kernels(c->cpu), s->n, s->k);
    const size_t zeros = (ledge__panels_columns(&s->p) + 1) * sizeof(float);
    s->zeros = ledge__op_alloc(c, zeros);
    if (!s->zeros)
        return ledge__no_memory(c->err);
    memset(s->zeros, 0, zeros);
    LEDGE_TRY(fill_places(c, &p, s));
    return size_scratch(c, s);
}

typedef struct MatMulRun {
    const MatMulState *s;
    const float *a, *b;
    float *packed_b, *packed_a;
} MatMulRun;

/* Packs B of some batches, and gathers A where its rows are not contiguous. */
static void pack_batches(void *arg, size_t begin, size_t end, int thread)
{
    const MatMulRun *r = arg;
    const MatMulState *s = r->s;
    const size_t floats = ledge__panels_floats(&s->p);
    (void)thread;
    for (size_t g = begin; g < end; g++) {
        float *to = r->packed_b + g * floats;
        ledge__panels_pack(&s->p, r->b + s->b_at[g], 1, s->k, s->b_n, 0, s->b_k, NULL, to);
        if (s->alpha != 1.0f)
            for (size_t i = 0; i < floats; i++)
                to[i] *= s->alpha;
        if (s->a_k == 1)
            continue;
        float *rows = r->packed_a + g * s->m * s->k;
        for (size_t i = 0; i < s->m; i++)
            for (size_t k = 0; k < s->k; k++)
                rows[i * s->k + k] = r->a[s->a_at[g] + i * s->a_row + k * s->a_k];
    }
}

static void matmul_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                        float *border)
{
    const MatMulRun *r = arg;
    const MatMulState *s = r->s;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = s->a_k == 1 ? r->a + s->a_at[group] + (m0 + i) * s->a_row
                             : r->packed_a + (group * s->m + m0 + i) * s->k;
}

static LedgeStatus matmul_run(LedgeOpCtx *c)
{
    const MatMulState *s = c->state;
    LedgePool *pool = ledge__pool_threads(c->pool) > s->threads ? NULL : c->pool;
    char *scratch = c->scratch;
    MatMulRun r = {s, c->in[0]->data, c->in[1]->data, (float *)(void *)scratch,
                   (float *)(void *)(scratch + s->b_bytes)};
    if (s->batch == 0)
        return LEDGE_OK;
    const LedgeGemmRun g = {.p = s->p,
                            .m = s->m,
                            .groups = s->batch,
                            .taps = 1,
                            .kc = s->k,
                            .mr = ledge__panels_mr(&s->p),
                            .rows = matmul_rows,
                            .rows_arg = &r,
                            .b = r.packed_b,
                            .bias = s->zeros,
                            .shared_bias = true,
                            .c_at = s->c_at,
                            .c = c->out[0]->data,
                            .ldc = s->ldc,
                            .act = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0},
                            .scratch = scratch + s->b_bytes + s->a_bytes,
                            .thread_bytes = s->thread_bytes};
    ledge__pool_run(s->k * s->n < 4096 ? NULL : pool, s->batch, 1, pack_batches, &r);
    ledge__gemm_run(&g, pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_matmul[] = {
    {"ledge", "MatMul", 1, 0, 0, matmul_infer, matmul_prepare, matmul_run, matmul_macs},
    {0},
};
